/**
 * Handing over before an orderly end: a leader that just stopped would leave the others without one until their election
 * timeouts, a second or so; told to take over, the next one leads after one round of votes (Raft thesis 3.10).
 */
import type { ConsensusStatus } from "../../core/consensus/types.ts";
import type { Clock } from "../ports.ts";

/** Longest time a stopping node waits for another leader and for the outcomes of its clients' transactions, in milliseconds. */
export const HAND_OVER_MAX_MS = 300;
/** Time between two looks whether the handing over is done. */
export const HAND_OVER_POLL_MS = 5;

/** What handing over needs of the manager. */
export interface HandingOver {
  readonly status: ConsensusStatus;
  /** Transactions of this node's clients whose outcome is not final. */
  readonly pendingTransactions: number;
  transfer(): void;
}

/**
 * Hands the lead over and resolves when another node leads and this node's clients know their outcomes, or when that takes
 * too long. Resolves at once on a node that does not lead, or has nobody to hand over to.
 */
export async function handOver(manager: HandingOver, clock: Pick<Clock, "now" | "after">): Promise<void> {
  const { id, role, configuration } = manager.status;
  if (role !== "leader" || !configuration.current.voters.some((voter) => voter !== id)) return;
  manager.transfer();
  const deadline = clock.now() + HAND_OVER_MAX_MS;
  while (clock.now() < deadline) {
    const { leader } = manager.status;
    if (leader !== undefined && leader !== id && manager.pendingTransactions === 0) return;
    await new Promise<void>((resolve) => void clock.after(HAND_OVER_POLL_MS, resolve));
  }
}
