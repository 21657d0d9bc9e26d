/** A leader's duties on the parts of a manager. */
import { LeaderDuties, type LeaderDutiesParts } from "./leader-duties.ts";
import type { ManagerParts } from "./manager-parts.ts";

/** What the manager around the duties does for them. */
export interface DutiesSurroundings extends Pick<LeaderDutiesParts, "snapshot" | "propose"> {
  readonly learnersCaughtUp: () => boolean;
}

/** Makes the duties, with the approval of code that this node carries. */
export function createLeaderDuties(
  { administration, sealing, tail, tracer, epochMaker, keyOf, approval }: ManagerParts,
  { learnersCaughtUp, ...around }: DutiesSurroundings,
): LeaderDuties {
  const duties = new LeaderDuties({
    ...{ administration, tracer, keyOf, maker: epochMaker },
    ...around,
    view: () => ({
      now: sealing.batchTime(),
      nextSeqno: tail.lastSeqno + 1,
      learnersCaughtUp: learnersCaughtUp(),
    }),
  });
  if (approval !== undefined) duties.carry(approval);
  return duties;
}
