/** Actions on members and participants: add, remove, replace, restrict (R1 to R3). */
import type { Bytes } from "../codec/bytes.ts";
import {
  readActorId,
  requireActor,
  requireChange,
  withReplaced,
  type ActionContext,
  type ActionKind,
} from "./action-kind.ts";
import { requireUnlisted, requireUsable } from "./actions-certificates.ts";
import {
  readActorNames,
  readCertificates,
  readRestriction,
  readRevocations,
  restrictionTree,
} from "./constitution-codec.ts";
import { MAX_ACTORS, type Actor, type Constitution, type Restriction } from "./constitution.ts";
import { PemField, type FieldReader, type FieldRecord } from "./fields.ts";
import { refused } from "./refusal.ts";

/** An actor to be listed. */
export interface NewActorArgs {
  readonly id: string;
  readonly name: string;
  readonly certificates: readonly Bytes[];
  readonly revocations: readonly Bytes[];
}

/** An actor of the constitution. */
export interface ActorArgs {
  readonly actor: string;
}

/** An actor to be listed in place of another. */
export interface ReplaceActorArgs extends NewActorArgs {
  readonly actor: string;
}

/** What a participant may do from now on; null: everything its role allows. */
export interface RestrictArgs {
  readonly actor: string;
  readonly restriction: Restriction | null;
}

function readNewActor(fields: FieldReader): NewActorArgs {
  return {
    ...readActorNames(fields),
    certificates: readCertificates(fields),
    revocations: fields.has("revocations") ? readRevocations(fields) : [],
  };
}

function newActorTree({ id, name, certificates, revocations }: NewActorArgs): FieldRecord {
  return {
    id,
    name,
    certificates: certificates.map((certificate) => new PemField(certificate, "CERTIFICATE")),
    revocations: revocations.length === 0 ? undefined : revocations.map((list) => new PemField(list, "X509 CRL")),
  };
}

function newActor(
  constitution: Constitution,
  { id, name, certificates, revocations }: NewActorArgs,
  role: Actor["role"],
  context: ActionContext,
): Actor {
  if (constitution.actors.some((actor) => actor.id === id)) throw refused("ActorExists", `${id} is an actor already`);
  for (const [at, certificate] of certificates.entries()) {
    requireUsable(certificate, context);
    requireUnlisted({ actors: [...constitution.actors, { id, certificates: certificates.slice(0, at) }] }, certificate);
  }
  return { id, name, role, certificates, revocations };
}

function addActor(role: Actor["role"]): ActionKind<NewActorArgs> {
  return {
    read: readNewActor,
    tree: newActorTree,
    apply: (constitution, args, context) => {
      const actor = newActor(constitution, args, role, context);
      if (constitution.actors.length >= MAX_ACTORS)
        throw refused("ActorsFull", `a network has at most ${MAX_ACTORS} actors`);
      return { ...constitution, actors: [...constitution.actors, actor] };
    },
  };
}

function removeActor(role: Actor["role"]): ActionKind<ActorArgs> {
  return {
    read: (fields) => ({ actor: readActorId(fields) }),
    tree: ({ actor }) => ({ actor }),
    apply: (constitution, { actor }) => {
      const removed = requireActor(constitution, actor, role);
      return { ...constitution, actors: constitution.actors.filter((other) => other !== removed) };
    },
  };
}

function replaceActor(role: Actor["role"]): ActionKind<ReplaceActorArgs> {
  return {
    read: (fields) => ({ actor: readActorId(fields), ...readNewActor(fields) }),
    tree: (args) => ({ actor: args.actor, ...newActorTree(args) }),
    apply: (constitution, args, context) => {
      const replaced = requireActor(constitution, args.actor, role);
      const others = { ...constitution, actors: constitution.actors.filter((other) => other !== replaced) };
      const actor = newActor(others, args, role, context);
      requireChange(newActorTree(replaced), newActorTree(actor), `actor ${args.actor}`);
      return { ...constitution, actors: withReplaced(constitution.actors, replaced, actor) };
    },
  };
}

const RESTRICT: ActionKind<RestrictArgs> = {
  read: (fields) => ({
    actor: readActorId(fields),
    restriction: fields.nullable("restriction", () => fields.record("restriction", readRestriction)),
  }),
  tree: ({ actor, restriction }) => ({ actor, restriction: restriction && restrictionTree(restriction) }),
  apply: (constitution, { actor: id, restriction }) => {
    const actor = requireActor(constitution, id, "participant");
    const { restriction: before, ...unrestricted } = actor;
    const tree = (value: Restriction | null | undefined) => (value ? restrictionTree(value) : null);
    requireChange(tree(before), tree(restriction), `the restriction of ${id}`);
    const restricted: Actor = restriction === null ? unrestricted : { ...unrestricted, restriction };
    return { ...constitution, actors: withReplaced(constitution.actors, actor, restricted) };
  },
};

/** The actions of this file. */
export const ACTOR_ACTIONS = {
  add_member: addActor("member"),
  add_participant: addActor("participant"),
  remove_member: removeActor("member"),
  remove_participant: removeActor("participant"),
  replace_member: replaceActor("member"),
  replace_participant: replaceActor("participant"),
  restrict_participant: RESTRICT,
};
