/**
 * Leases as one node sees them (R32): what follows here from the quarantines in its ledger, and whether those who should see to
 * them do.
 *
 * In consensus a quarantine is lost messages, and nothing else, so that no rule of Raft depends on it: no request for a vote from
 * or to a quarantined node and no vote of one gets through, and a quarantined leader is not heard, which makes the others elect
 * another. A leader that does not quarantine whom this node saw lapse long ago is not heard either: the ledger's clock is the
 * leader's, and its host may hold it. For that the time since a lease began is counted by the monotonic clock of this node.
 *
 * The leader's host may also let its clock run ahead. So a node does not take a batch that quarantines somebody whose lease is
 * young by its own clocks, nor hear the leader that sends it or vote for it, for a while: if most see it so, they elect another. Not for
 * longer: who sees it otherwise, since its own clock is behind or it was away, must not keep the others from going on. It is the
 * same with a batch whose time is far ahead of this node's wall clock: no later one may be earlier.
 */
import type { AppendRequest, ConsensusMessage, ConsensusStatus, NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { batchTimeOf } from "../../core/ledger/batch-glance.ts";
import { quarantinedByBatch } from "../../core/governance/administrative-batch.ts";
import { listedNodes } from "../../core/governance/configuration.ts";
import { isQuarantined, LEASE_REST_PART, leaseLengthMs, quarantinable } from "../../core/governance/leases.ts";
import type { Clock, Tracer } from "../ports.ts";

/** Part of a lease that a leader may let pass while it could quarantine somebody, before this node hears it no more. */
export const LEADER_NEGLECT_PART = 1 / 2;
/** What comes on top of {@link LEADER_NEGLECT_PART}, in milliseconds. */
export const LEADER_NEGLECT_MS = 15_000;
/** How long a leader is not heard: time for several elections. If nobody else is elected, the others do not see it so. */
export const LEADER_UNHEARD_MS = 10_000;
/** Part of a lease that must have passed by a node's own clocks before it takes a quarantine: a healthy node renews before. */
export const QUARANTINE_AGREEMENT_PART = 3 / 4;
/** How long a node does not take a quarantine or a batch that is too early by its own clocks: time for several elections. */
export const QUARANTINE_REFUSED_MS = 5_000;

/** How far ahead of a node's wall clock a batch may be before it is not taken at first. Clocks in order differ by far less. */
export const BATCH_AHEAD_MAX_MS = 86_400_000;

/** How a node stands with its own lease: it serves, it must ask the leader before it does, or it is quarantined. */
export type OwnStanding = "good" | "unsure" | "quarantined";

/** What the watch needs of the node around it. */
export interface LeaseWatchParts {
  readonly nodeId: NodeId;
  readonly clock: Pick<Clock, "now" | "wallTime">;
  /** Governance in effect. */
  readonly administration: { readonly committed: GovernanceState | undefined };
  /** Time of the newest batch of the log. */
  readonly ledgerTimeMs: () => number;
  readonly tracer: Tracer;
}

/** When this node learned of a lease. */
interface Sighting {
  readonly fromMs: number;
  readonly seenAtMs: number;
  readonly wallTimeMs: number;
  /** How old it was then, by this node's wall clock. */
  readonly ageMs: number;
}

/** A quarantine that this node did not take at first. */
interface Refusal {
  /** Of which lease. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** See the module's header. */
export class LeaseWatch {
  readonly #parts: LeaseWatchParts;
  readonly #seen = new Map<NodeId, Sighting>();
  readonly #refused = new Map<NodeId, Refusal>();
  #quarantined: readonly NodeId[] = [];
  #leader: NodeId | undefined;
  #term = 0;
  /** Since when it could have quarantined somebody; undefined: there is nobody. */
  #neglectsSinceMs: number | undefined;
  /** It is not heard before; whoever leads another term is. */
  #unheardUntilMs = 0;
  /** Who sent what was refused last. */
  #mistrusted: { readonly leader: NodeId; readonly untilMs: number } | undefined;
  /** Until when batches far ahead are not taken; and when the first of them came, its time and that of this node's ledger. */
  #ahead: { readonly untilMs: number; readonly timeMs: number; readonly ledgerTimeMs: number } | undefined;
  /** Quarantines that were too early by this node's clocks, and were not taken at first. */
  refusedQuarantines = 0;

  constructor(parts: LeaseWatchParts) {
    this.#parts = parts;
  }

  /** How this node stands now. */
  get own(): OwnStanding {
    const { administration, nodeId } = this.#parts;
    const state = administration.committed;
    if (state === undefined || leaseLengthMs(state.constitution) === 0) return "good";
    if (isQuarantined(state, nodeId)) return "quarantined";
    return this.#sinceOwnLeaseMs() >= leaseLengthMs(state.constitution) ? "unsure" : "good";
  }

  /** Whether this node may lead: a quarantined one may not. */
  get mayLead(): boolean {
    const { administration, nodeId } = this.#parts;
    return administration.committed === undefined || !isQuarantined(administration.committed, nodeId);
  }

  /** Whether a lease may have ended, by what this node saw of it and by its own clocks. */
  agrees(nodeId: NodeId): boolean {
    const { administration, clock } = this.#parts;
    const state = administration.committed;
    const seen = this.#seen.get(nodeId);
    if (state === undefined || seen === undefined) return true;
    const elapsedMs = seen.ageMs + clock.now() - seen.seenAtMs;
    return elapsedMs >= leaseLengthMs(state.constitution) * QUARANTINE_AGREEMENT_PART;
  }

  /** The longest that any clock this node knows of says: it stood still itself, or slept with its machine. */
  #sinceOwnLeaseMs(): number {
    const { nodeId, clock, ledgerTimeMs } = this.#parts;
    const seen = this.#seen.get(nodeId);
    if (seen === undefined) return 0;
    const { fromMs, seenAtMs, wallTimeMs } = seen;
    return Math.max(clock.now() - seenAtMs, clock.wallTime() - wallTimeMs, ledgerTimeMs() - fromMs);
  }

  /** Governance in effect changed. */
  follow(): void {
    const { administration, nodeId, tracer } = this.#parts;
    const state = administration.committed;
    if (state === undefined) return;
    const restMs = leaseLengthMs(state.constitution) * LEASE_REST_PART;
    for (const [listed, { fromMs }] of state.leases) this.#see(listed, fromMs, restMs);
    for (const known of this.#seen.keys()) if (!state.leases.has(known)) this.#forget(known);
    const quarantined = listedNodes(state.constitution).filter((listed) => isQuarantined(state, listed));
    for (const listed of quarantined) {
      if (this.#quarantined.includes(listed)) continue;
      if (listed === this.#leader) this.#unheardUntilMs = this.#parts.clock.now() + LEADER_UNHEARD_MS;
      const message =
        listed === nodeId
          ? "the lease of this node has ended: it serves nobody until evidence of it is recorded again"
          : "the lease of a node has ended: it gets no new keys and has no vote in elections until it renews it";
      tracer.event("warn", "node_quarantined", { message, nodeId: listed });
    }
    for (const listed of this.#quarantined)
      if (!quarantined.includes(listed)) tracer.event("info", "node_out_of_quarantine", { nodeId: listed });
    this.#quarantined = quarantined;
  }

  #forget(nodeId: NodeId): void {
    this.#seen.delete(nodeId);
    this.#refused.delete(nodeId);
  }

  #see(nodeId: NodeId, fromMs: number, restMs: number): void {
    const { clock } = this.#parts;
    const known = this.#seen.get(nodeId);
    if (known?.fromMs === fromMs) return;
    // What this node finds at its start began some time ago: how long, only the wall clock can say.
    const isOld = known === undefined && nodeId === this.#parts.nodeId;
    const wallTimeMs = isOld ? Math.min(fromMs, clock.wallTime()) : clock.wallTime();
    const ageMs = Math.max(0, clock.wallTime() - fromMs);
    const seenAtMs = clock.now();
    // A renewal is younger than the sight of what it renews, whatever the leader's clock says of it. Those that come sooner than
    // they are made are of a ledger that this node catches up with.
    const sinceKnownMs = known === undefined ? 0 : seenAtMs - known.seenAtMs;
    const longestMs = sinceKnownMs < restMs ? ageMs : sinceKnownMs;
    this.#seen.set(nodeId, { fromMs, seenAtMs, wallTimeMs, ageMs: Math.min(ageMs, longestMs) });
  }

  /** Looks who leads, and whether it sees to the leases; lets this node hand over when it leads and is quarantined. */
  tick({ leader, role, term }: Pick<ConsensusStatus, "leader" | "role" | "term">, handOver: () => void): void {
    const now = this.#parts.clock.now();
    // If nobody takes it, the others do not hear this node any more.
    if (role === "leader" && !this.mayLead) handOver();
    // While this node asks the others for their votes it knows no leader: the one of this term is still not heard.
    if ((leader !== undefined && leader !== this.#leader) || term !== this.#term) {
      this.#leader = leader;
      this.#term = term;
      this.#neglectsSinceMs = undefined;
      this.#unheardUntilMs = 0;
    }
    const patienceMs = this.#patienceMs();
    if (patienceMs === undefined || leader === this.#parts.nodeId) this.#neglectsSinceMs = undefined;
    else this.#neglectsSinceMs ??= now;
    if (patienceMs === undefined || now - (this.#neglectsSinceMs ?? now) < patienceMs) return;
    this.#neglectsSinceMs = now;
    this.#unheardUntilMs = now + LEADER_UNHEARD_MS;
    const message = "the leader does not see to leases that ended long ago: this node hears it no more";
    this.#parts.tracer.event("warn", "leader_neglects_leases", { message, leader: leader ?? "none" });
  }

  /** How long a leader may leave it at that somebody has lapsed; undefined: nobody has, or who has cannot be spared. */
  #patienceMs(): number | undefined {
    const { administration, clock } = this.#parts;
    const state = administration.committed;
    const lengthMs = state === undefined ? 0 : leaseLengthMs(state.constitution);
    if (state === undefined || lengthMs === 0) return undefined;
    // It may have renewed its lease since, and told those who hear it: for half of the time it is heard.
    if (this.#leader !== undefined && isQuarantined(state, this.#leader)) return 2 * LEADER_UNHEARD_MS;
    const overdue = listedNodes(state.constitution).filter((listed) => {
      const seen = this.#seen.get(listed);
      return seen !== undefined && !isQuarantined(state, listed) && clock.now() - seen.seenAtMs >= lengthMs;
    });
    return quarantinable(state, overdue).length === 0 ? undefined : lengthMs * LEADER_NEGLECT_PART + LEADER_NEGLECT_MS;
  }

  /** Whether a message of consensus from a peer counts as lost. */
  isDeaf(peer: NodeId, message: ConsensusMessage): boolean {
    const { administration, nodeId } = this.#parts;
    // One that is not committed may never be, and must not keep from voting those who are needed for that.
    const { committed } = administration;
    if (committed === undefined) return false;
    switch (message.type) {
      case "vote":
        return isQuarantined(committed, peer) || isQuarantined(committed, nodeId) || this.#mistrusts(peer);
      case "voteResponse":
        return isQuarantined(committed, peer);
      case "append":
        return (
          this.#isUnheard(peer, message) || (this.#mayBeLeader(peer, message.term) && this.#refuses(peer, message))
        );
      case "snapshotPart":
        return this.#isUnheard(peer, message);
      default:
        return false;
    }
  }

  #isUnheard(peer: NodeId, { term }: Pick<ConsensusMessage, "term">): boolean {
    return peer === this.#leader && term <= this.#term && this.#parts.clock.now() < this.#unheardUntilMs;
  }

  /**
   * Whether a peer may lead: what others send says nothing about what the network is offered, and consensus does not take it. Of a
   * later term anybody may be the leader; a node that claims falsely to be it does not run the code that was attested.
   */
  #mayBeLeader(peer: NodeId, term: number): boolean {
    if (term !== this.#term) return term > this.#term;
    return this.#leader === undefined || this.#leader === peer;
  }

  /**
   * Whether what a leader sends quarantines somebody too early, or is far ahead, by this node's clocks. What is committed the
   * network has decided.
   */
  #refuses(leader: NodeId, { entries, commitIndex, term }: AppendRequest): boolean {
    const now = this.#parts.clock.now();
    const offered = entries.filter(({ index }) => index > commitIndex).map(({ data }) => data);
    const early = offered.flatMap(quarantinedByBatch).map((nodeId) => this.#refusedUntilMs(nodeId, leader));
    const untilMs = Math.max(this.#aheadRefusedUntilMs(offered, leader), ...early);
    if (now >= untilMs) return false;
    if (leader === this.#leader && term <= this.#term) this.#unheardUntilMs = Math.max(this.#unheardUntilMs, untilMs);
    this.#mistrusted = { leader, untilMs };
    return true;
  }

  /**
   * Until when what is far ahead is not taken; 0: nothing is. Once it is taken, it is from whoever leads, as long as this node's own
   * ledger is ahead: others saw it as this node does, and lead.
   */
  #aheadRefusedUntilMs(offered: readonly Bytes[], leader: NodeId): number {
    if (offered.length === 0) return 0;
    const { clock, ledgerTimeMs, tracer } = this.#parts;
    const timeMs = Math.max(...offered.map(batchTimeOf));
    const aheadMs = timeMs - clock.wallTime();
    if (aheadMs <= BATCH_AHEAD_MAX_MS) return 0;
    if (this.#ahead === undefined || this.#wentOn(this.#ahead)) {
      this.#ahead = { untilMs: clock.now() + QUARANTINE_REFUSED_MS, timeMs, ledgerTimeMs: ledgerTimeMs() };
      const message = "the leader's clock is far ahead of this node's: it is not heard for a while; check both clocks";
      tracer.event("warn", "batch_time_refused", { message, leader, aheadMs: Math.round(aheadMs) });
    }
    return this.#ahead.untilMs;
  }

  /** Whether this node's own ledger has gone on since, without what was far ahead, or is not ahead any more. */
  #wentOn(ahead: { readonly timeMs: number; readonly ledgerTimeMs: number }): boolean {
    const { clock, ledgerTimeMs } = this.#parts;
    const timeMs = ledgerTimeMs();
    return timeMs !== ahead.ledgerTimeMs && (timeMs < ahead.timeMs || timeMs <= clock.wallTime());
  }

  /** Whether a node sent what is refused: clocks that run fast would make it win the elections that follow. */
  #mistrusts(peer: NodeId): boolean {
    return peer === this.#mistrusted?.leader && this.#parts.clock.now() < this.#mistrusted.untilMs;
  }

  #refusedUntilMs(nodeId: NodeId, leader: NodeId): number {
    const seen = this.#seen.get(nodeId);
    if (seen === undefined || this.agrees(nodeId)) return 0;
    const known = this.#refused.get(nodeId);
    if (known?.fromMs === seen.fromMs) return known.untilMs;
    const untilMs = this.#parts.clock.now() + QUARANTINE_REFUSED_MS;
    this.#refused.set(nodeId, { fromMs: seen.fromMs, untilMs });
    this.refusedQuarantines++;
    const message =
      "the leader quarantines a node whose lease is young by this node's clocks: it is not heard for a while";
    this.#parts.tracer.event("warn", "quarantine_refused", { message, nodeId, leader });
    return untilMs;
  }
}

/** The watch of a node's manager. */
export function createLeaseWatch({
  tail,
  ...parts
}: Omit<LeaseWatchParts, "ledgerTimeMs"> & {
  readonly tail: { readonly last: { readonly timeMs: number } | undefined };
}): LeaseWatch {
  return new LeaseWatch({ ...parts, ledgerTimeMs: () => tail.last?.timeMs ?? 0 });
}
