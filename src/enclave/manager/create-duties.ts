/** A leader's duties on the parts of a manager. */
import type { LeaderView } from "../../core/governance/next-step.ts";
import { LeaderDuties, type LeaderDutiesParts } from "./leader-duties.ts";
import type { ManagerParts } from "./manager-parts.ts";

/** The duties of a node's manager. */
export function createLeaderDuties(
  { administration, sealing, tail, tracer, epochMaker, keyOf, approval }: ManagerParts,
  around: Pick<LeaderDutiesParts, "snapshot" | "propose"> & { learnersCaughtUp(): LeaderView["learnersCaughtUp"] },
): LeaderDuties {
  const { snapshot, propose } = around;
  const view = () => ({
    now: sealing.batchTime(),
    nextSeqno: tail.lastSeqno + 1,
    learnersCaughtUp: around.learnersCaughtUp(),
  });
  const duties = new LeaderDuties({ administration, tracer, maker: epochMaker, keyOf, view, snapshot, propose });
  if (approval !== undefined) duties.carry(approval);
  return duties;
}
