/**
 * What an action is made of: its arguments read strictly from the JSON of a proposal and written canonically, and what it
 * does to a constitution. One per name of action-names.ts; actions.ts has them all.
 */
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { IDENTIFIER_BOUNDS } from "./constitution-codec.ts";
import type { Actor, Constitution } from "./constitution.ts";
import { treeToCbor, type FieldReader, type FieldTree } from "./fields.ts";
import type { AttestedNode, GovernanceCrypto } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";

/** What actions are judged by besides the constitution. */
export interface ActionContext {
  /** The ledger's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  readonly networkName: string;
  readonly crypto: GovernanceCrypto;
  /** What is known of the nodes; of a node that is not in it nothing. */
  readonly attested: ReadonlyMap<NodeId, AttestedNode>;
  /** How the vote went; absent while it is only judged what the actions would do. */
  readonly approval?: { readonly yes: number; readonly members: number } | undefined;
}

/** One kind of action. */
export interface ActionKind<Args> {
  /** Reads the arguments; throws an error of the reader's context. */
  readonly read: (fields: FieldReader) => Args;
  readonly tree: (args: Args) => FieldTree;
  /**
   * The constitution after the action. Throws a refusal for what can be told from this action alone; what depends on all
   * actions of a proposal together is judged when they are all applied.
   */
  readonly apply: (constitution: Constitution, args: Args, context: ActionContext) => Constitution;
}

/** Actions that have no arguments. */
export type NoArgs = Readonly<Record<string, never>>;

/** Reads and writes no arguments. */
export const NO_ARGS: Pick<ActionKind<NoArgs>, "read" | "tree"> = { read: () => ({}), tree: () => ({}) };

/** Whether two values of one kind are the same in their canonical form. */
export function sameTree(left: FieldTree, right: FieldTree): boolean {
  return bytesEqual(encodeCbor(treeToCbor(left)), encodeCbor(treeToCbor(right)));
}

/** Refuses an action that changes nothing. */
export function requireChange(before: FieldTree, after: FieldTree, subject: string): void {
  if (sameTree(before, after)) throw refused("NothingChanged", `${subject} is so already`);
}

/** A list with one item replaced, in its place. */
export function withReplaced<T>(list: readonly T[], item: T, replacement: T): readonly T[] {
  return list.map((other) => (other === item ? replacement : other));
}

/** Reads the id of an actor of the constitution. */
export function readActorId(fields: FieldReader): string {
  return fields.text("actor", IDENTIFIER_BOUNDS);
}

/** The actor of this id; refuses when there is none, or when it has another role. */
export function requireActor(constitution: Constitution, id: string, role?: Actor["role"]): Actor {
  const actor = constitution.actors.find((candidate) => candidate.id === id);
  if (actor === undefined) throw refused("ActorUnknown", `${id} is not an actor of this network`);
  if (role !== undefined && actor.role !== role) throw refused("WrongRole", `${id} is a ${actor.role}, not a ${role}`);
  return actor;
}
