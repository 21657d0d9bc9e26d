/**
 * What members do to participants while these send transactions: ban and limit them, remove them and list them again. Clients
 * try again for as long as it takes; the checker holds that nothing entered the ledger without a right to.
 */
import type { Action } from "../../src/core/governance/actions.ts";
import type { Constitution, Restriction } from "../../src/core/governance/constitution.ts";
import type { FaultContext, FaultKind } from "./fault-context.ts";
import { GUESTS, guestActor } from "./founding.ts";
import type { SeededRandom } from "./seeded-random.ts";

const PER_MINUTE_MAX = 600;

function guestOf({ actors }: Constitution, id: string) {
  return actors.find((actor) => actor.id === id);
}

function listAgain(id: string): Action {
  const { name, certificates, revocations } = guestActor(id);
  return { name: "add_participant", args: { id, name, certificates, revocations } };
}

function restrict(id: string, restriction: Restriction | null): Action {
  return { name: "restrict_participant", args: { actor: id, restriction } };
}

/** Lets the members decide on an action, counted as `<kind>.<its name>`; nothing when there is none, or the leader refuses. */
export function decideOn(
  context: FaultContext,
  kind: string,
  make: (constitution: Constitution) => Action | undefined,
): void {
  const { founded } = context.world;
  let action: Action | undefined;
  const accepted = context.leader().govern((state, nowMs) => {
    action = make(state.constitution);
    return action === undefined ? [] : founded.decide(state, [action], nowMs);
  });
  if (accepted && action !== undefined) context.note(`${kind}.${(action as Action).name}`, "network");
}

function nextRestriction(random: SeededRandom, before: Restriction | undefined): Restriction | null {
  if (before !== undefined && random.chance(0.6)) return null;
  if (before?.type === "banned" || random.chance(0.3))
    return { type: "limited", requestsPerMinute: 1 + random.below(PER_MINUTE_MAX) };
  return { type: "banned" };
}

function strikeRestriction(context: FaultContext): void {
  const id = context.random.pick(GUESTS);
  decideOn(context, "rights", (constitution) => {
    const guest = guestOf(constitution, id);
    return guest && restrict(id, nextRestriction(context.random, guest.restriction));
  });
}

function strikeListing(context: FaultContext): void {
  const id = context.random.pick(GUESTS);
  decideOn(context, "rights.listing", (constitution) =>
    guestOf(constitution, id) === undefined ? listAgain(id) : { name: "remove_participant", args: { actor: id } },
  );
}

/** The actions that give every guest back what the members took from it. */
export function rightsRestored(constitution: Constitution): readonly Action[] {
  return GUESTS.flatMap((id) => {
    const guest = guestOf(constitution, id);
    if (guest === undefined) return [listAgain(id)];
    return guest.restriction === undefined ? [] : [restrict(id, null)];
  });
}

/** What members do to participants. */
export const RIGHTS_FAULTS: readonly FaultKind[] = [
  { name: "rights.restrict", strike: strikeRestriction },
  { name: "rights.listing", strike: strikeListing },
];
