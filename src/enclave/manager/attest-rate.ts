/**
 * What one node may cost a leader with evidence: each piece is verified in full, and one that is refused is told in the log. A
 * listed node that is compromised could send them without end. Counted for each node, so that none uses up what another has.
 */
import type { NodeId } from "../../core/consensus/types.ts";

/** Shortest time between two pieces of evidence of one node that a leader verifies; of what comes in between the newest waits. */
export const ATTEST_INTERVAL_MS = 500;
/** Most refusals of one node's evidence in the log per {@link ATTEST_REFUSALS_PERIOD_MS}. */
export const ATTEST_REFUSALS_LOGGED_MAX = 5;
/** See {@link ATTEST_REFUSALS_LOGGED_MAX}. */
export const ATTEST_REFUSALS_PERIOD_MS = 60_000;

interface Sender {
  /** When it was verified last. */
  verifiedAtMs: number;
  logged: number;
  loggedSinceMs: number;
}

/** See the module's header. Times are those of one monotonic clock. */
export class AttestRate {
  readonly #senders = new Map<NodeId, Sender>();

  /** Whether evidence of a node may be verified now. */
  mayVerify(nodeId: NodeId, nowMs: number): boolean {
    const sender = this.#senders.get(nodeId);
    return sender === undefined || nowMs - sender.verifiedAtMs >= ATTEST_INTERVAL_MS;
  }

  /** Evidence of a node was verified. */
  verified(nodeId: NodeId, nowMs: number): void {
    this.#of(nodeId, nowMs).verifiedAtMs = nowMs;
  }

  /** Whether one more refusal of a node's evidence goes into the log, which counts it. */
  mayLogRefusal(nodeId: NodeId, nowMs: number): boolean {
    const sender = this.#of(nodeId, nowMs);
    if (nowMs - sender.loggedSinceMs >= ATTEST_REFUSALS_PERIOD_MS) {
      sender.logged = 0;
      sender.loggedSinceMs = nowMs;
    }
    return ++sender.logged <= ATTEST_REFUSALS_LOGGED_MAX;
  }

  #of(nodeId: NodeId, nowMs: number): Sender {
    const known = this.#senders.get(nodeId);
    if (known !== undefined) return known;
    // Nodes that left are forgotten once nothing of theirs counts any more.
    for (const [id, { verifiedAtMs, loggedSinceMs }] of this.#senders)
      if (nowMs - Math.max(verifiedAtMs, loggedSinceMs) >= ATTEST_REFUSALS_PERIOD_MS) this.#senders.delete(id);
    const sender = { verifiedAtMs: Number.NEGATIVE_INFINITY, logged: 0, loggedSinceMs: nowMs };
    this.#senders.set(nodeId, sender);
    return sender;
  }
}
