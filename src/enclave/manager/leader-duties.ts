/**
 * What a leader does for the network itself: it brings members' requests into the ledger, settles proposals whose time has
 * come, takes the steps that follow from them (configurations, epochs, grants), records the evidence of nodes and of snapshots,
 * and quarantines nodes whose lease has ended. One
 * administrative batch at a time; application batches wait for it, so that nobody acts on rights that a vote has taken away
 * (R9). A batch has the very time for which its transaction was found to hold: a millisecond later it may not.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import {
  type AdministrativeTransaction,
  encodeAdministrative,
  type RequestTransaction,
} from "../../core/governance/administrative-codec.ts";
import type { AttestTransaction } from "../../core/governance/attest.ts";
import { challengeIsDue, type ChallengeTransaction } from "../../core/governance/challenges.ts";
import { listedNodes } from "../../core/governance/configuration.ts";
import {
  isQuarantined,
  lapsedNodes,
  leaseLengthMs,
  quarantinable,
  type QuarantineTransaction,
} from "../../core/governance/leases.ts";
import type { LeaderView } from "../../core/governance/next-step.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { Refusal } from "../../core/governance/refusal.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Tracer } from "../ports.ts";
import type { Administration } from "./administration.ts";
import { AttestRate } from "./attest-rate.ts";
import type { OwnSnapshot } from "./snapshots.ts";

/** Most requests of members that wait on one node; the next one is refused. */
export const WAITING_REQUESTS_MAX = 64;

/** Longest time a leader waits for a node to renew a lease that has ended before it proposes the quarantine. */
export const QUARANTINE_GRACE_MAX_MS = 10_000;
/** Part of a lease that it waits at most. */
export const QUARANTINE_GRACE_PART = 1 / 4;

/** Time between two challenges of a leader for a quarantined node. */
export const CHALLENGE_INTERVAL_MS = 1_000;

/**
 * Reasons for which evidence is refused that are no news: by its own clock a node may renew its lease early, and something may have
 * been recorded of it while its evidence was under way.
 */
const UNTOLD_REFUSALS: ReadonlySet<string> = new Set<Refusal>(["NothingChanged", "ChallengeStale", "RecordedLately"]);

/** What became of a member's request: it is committed, it does not hold any more, or this node leads no more. */
export type RequestOutcome =
  | { readonly type: "committed" }
  | { readonly type: "refused"; readonly error: CocoError }
  | { readonly type: "unknown" };

interface WaitingRequest {
  readonly message: SignedMessage;
  readonly done: (outcome: RequestOutcome) => void;
}

/** Makes the transactions that need keys. */
export interface EpochMaker {
  /** Undefined when this node does not hold the service identity in force, which the epoch carries on. */
  epoch(state: GovernanceState): AdministrativeTransaction | undefined;
  /** Undefined when this node has none of the keys the other lacks. */
  grant(
    state: GovernanceState,
    nodeId: NodeId,
    keyOf: (epoch: number) => Bytes | undefined,
  ): AdministrativeTransaction | undefined;
}

/** What the duties need of the node around them. */
export interface LeaderDutiesParts {
  readonly nodeId: NodeId;
  readonly administration: Administration;
  readonly maker: EpochMaker;
  readonly keyOf: (epoch: number) => Bytes | undefined;
  readonly view: () => LeaderView;
  readonly snapshot: () => OwnSnapshot | undefined;
  readonly tracer: Tracer;
  /** Monotonic milliseconds. */
  readonly elapsedMs: () => number;
  /** Whether a lease may have ended by this node's own clocks. */
  readonly agrees: (nodeId: NodeId) => boolean;
  /** Tells a node the challenge for its evidence. */
  readonly challenge: (nodeId: NodeId, challenge: Bytes) => void;
  /** Proposes an administrative batch of one transaction and this time. */
  readonly propose: (encoded: Bytes, timeMs: number) => void;
}

/** See the module's header. */
export class LeaderDuties {
  readonly #parts: LeaderDutiesParts;
  #waiting: WaitingRequest[] = [];
  #underWay: WaitingRequest | undefined;
  #pending = false;
  /** Evidence of nodes that is still to be verified, the newest of each. */
  readonly #attestations = new Map<NodeId, AttestTransaction>();
  readonly #attestRate = new AttestRate();
  /** A node sent evidence for a challenge that is too old: it needs another. */
  #challengeWanted = false;
  /** Nodes that the log was told to be on retired code, and needed. */
  #waitingExpulsion = "";
  /** Since when this leader finds leases ended. */
  readonly #lapsedSince = new Map<NodeId, number>();
  #waitingQuarantine = "";
  #challengedAtMs = 0;

  constructor(parts: LeaderDutiesParts) {
    this.#parts = parts;
  }

  /** Whether an administrative batch is on its way, for which application batches wait. */
  get pending(): boolean {
    return this.#pending;
  }

  /**
   * Takes a member's request, and proposes it when nothing else is on its way; `done` tells what became of it. Throws
   * `ProposalInvalid` when it does not hold now, `TooManyRequests` when too many wait.
   */
  submit(message: SignedMessage, done: WaitingRequest["done"]): void {
    const { administration, view } = this.#parts;
    administration.check(message, view().now);
    if (this.#waiting.length >= WAITING_REQUESTS_MAX)
      throw new CocoError("TooManyRequests", "too many requests wait for the ledger");
    this.#waiting.push({ message, done });
    this.next();
  }

  /** Takes a node's evidence, to be verified when it is its turn; what the node sends until then takes its place. */
  attest(attestation: AttestTransaction): void {
    this.#attestations.set(attestation.nodeId, attestation);
  }

  /** Proposes what is due next, unless something is on its way. Called by a leader that has applied its whole log. */
  next(): void {
    this.#challengeQuarantined();
    if (this.#pending) return;
    const view = this.#parts.view();
    const due = this.#due(view);
    if (due === undefined) return;
    this.#pending = true;
    this.#parts.propose(encodeAdministrative(due), view.now);
  }

  /** Tells quarantined nodes what their evidence is to be for, once in a while. */
  #challengeQuarantined(): void {
    const { administration, elapsedMs, challenge } = this.#parts;
    const state = administration.appended;
    const now = elapsedMs();
    if (state === undefined || now - this.#challengedAtMs < CHALLENGE_INTERVAL_MS) return;
    this.#challengedAtMs = now;
    for (const nodeId of listedNodes(state.constitution)) {
      const due = isQuarantined(state, nodeId) ? administration.attestChallenge(nodeId) : undefined;
      if (due !== undefined) challenge(nodeId, due);
    }
  }

  #due(view: LeaderView): AdministrativeTransaction | undefined {
    const { administration, maker } = this.#parts;
    const state = administration.committed;
    if (state === undefined) return undefined;
    // A quarantined leader does nothing for the network any more but to show what it runs, until another one leads.
    if (isQuarantined(state, this.#parts.nodeId)) return this.#nextOfAttestation(view.now);
    const step = administration.nextStep(view);
    this.#tellWaitingExpulsion(view.now);
    if (step?.type === "configure") return { type: "configure", ...step.configuration };
    if (step?.type === "expel") return step;
    const epoch = step?.type === "epoch" ? maker.epoch(state) : undefined;
    if (epoch !== undefined) return epoch;
    const grant = step?.type === "grant" ? maker.grant(state, step.nodeId, this.#parts.keyOf) : undefined;
    if (grant !== undefined) return grant;
    const attestation = this.#nextOfAttestation(view.now);
    if (attestation !== undefined) return attestation;
    const quarantine = this.#quarantine(state, view.now);
    if (quarantine !== undefined) return quarantine;
    const proposalId = administration.dueProposal(view.now);
    if (proposalId !== undefined) return { type: "resolve", proposalId };
    const message = this.#nextRequest(view.now);
    return message === undefined ? this.#evidence() : { type: "request", ...message };
  }

  /** Nodes whose code or machine is not in force, and without which the others could not go on. */
  #tellWaitingExpulsion(nowMs: number): void {
    const { waits = [] } = this.#parts.administration.dueExpulsion(nowMs) ?? {};
    const named = waits.join(" ");
    if (named === this.#waitingExpulsion) return;
    this.#waitingExpulsion = named;
    if (named === "") return;
    const message = "too few nodes would be left without these, whose code or machine is not in force any more";
    this.#parts.tracer.event("warn", "expulsion_waits", { message, nodes: named });
  }

  /**
   * Nodes whose lease has ended, and that had time since to renew it: the whole network may have stood still, or the ledger's
   * clock may have leapt with that of this leader. What the other nodes would not agree to is not proposed.
   */
  #quarantine(state: GovernanceState, nowMs: number): QuarantineTransaction | undefined {
    const lapsed = lapsedNodes(state, nowMs);
    const elapsedMs = this.#parts.elapsedMs();
    for (const nodeId of this.#lapsedSince.keys()) if (!lapsed.includes(nodeId)) this.#lapsedSince.delete(nodeId);
    for (const nodeId of lapsed) if (!this.#lapsedSince.has(nodeId)) this.#lapsedSince.set(nodeId, elapsedMs);
    const graceMs = Math.min(QUARANTINE_GRACE_MAX_MS, leaseLengthMs(state.constitution) * QUARANTINE_GRACE_PART);
    const isLate = (nodeId: NodeId): boolean => elapsedMs - (this.#lapsedSince.get(nodeId) ?? elapsedMs) >= graceMs;
    const late = lapsed.filter((nodeId) => isLate(nodeId) && this.#parts.agrees(nodeId));
    const nodeIds = quarantinable(state, late);
    this.#tellWaitingQuarantine(late.slice(nodeIds.length));
    return nodeIds.length === 0 ? undefined : { type: "quarantine", nodeIds };
  }

  #tellWaitingQuarantine(waits: readonly NodeId[]): void {
    const named = waits.join(" ");
    if (named === this.#waitingQuarantine) return;
    this.#waitingQuarantine = named;
    if (named === "") return;
    const message = "the leases of these nodes have ended, and too few would be left to quarantine them";
    this.#parts.tracer.event("warn", "quarantine_waits", { message, nodes: named });
  }

  /** Evidence that waits, or the challenge that other evidence waits for. */
  #nextOfAttestation(nowMs: number): AttestTransaction | ChallengeTransaction | undefined {
    const attestation = this.#nextAttestation(nowMs);
    const state = this.#parts.administration.appended;
    if (attestation !== undefined || !this.#challengeWanted || state === undefined) return attestation;
    this.#challengeWanted = false;
    return challengeIsDue(state, nowMs) ? { type: "challenge" } : undefined;
  }

  #nextAttestation(nowMs: number): AttestTransaction | undefined {
    const elapsedMs = this.#parts.elapsedMs();
    for (const [nodeId, attestation] of this.#attestations) {
      if (!this.#attestRate.mayVerify(nodeId, elapsedMs)) continue;
      this.#attestations.delete(nodeId);
      const refusal = this.#refusalOfEvidence(attestation, nowMs);
      // Nothing was verified for a challenge that is too old, and the evidence for the newest one may follow at once.
      if (refusal?.data["reason"] !== "ChallengeStale") this.#attestRate.verified(nodeId, elapsedMs);
      if (refusal === undefined) return attestation;
    }
    return undefined;
  }

  /** What does not hold any more is refused: something else came before it. */
  #nextRequest(nowMs: number): SignedMessage | undefined {
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined) return undefined;
      const error = this.#refusalOf({ type: "request", ...next.message }, nowMs);
      if (error === undefined) {
        this.#underWay = next;
        return next.message;
      }
      next.done({ type: "refused", error });
    }
  }

  /** Evidence that cannot be judged is refused: what a node sends must not end its leader, and the next one. */
  #refusalOfEvidence(attestation: AttestTransaction, nowMs: number): CocoError | undefined {
    try {
      return this.#refusalOf(attestation, nowMs);
    } catch (error) {
      this.#tellRefusal(attestation.nodeId, "Internal");
      return new CocoError("Internal", "evidence that could not be judged", {}, { cause: error });
    }
  }

  #refusalOf(transaction: RequestTransaction | AttestTransaction, nowMs: number): CocoError | undefined {
    const { administration } = this.#parts;
    try {
      administration.tryOut(transaction, nowMs);
      return undefined;
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
      const reason = String(error.data["reason"] ?? error.code);
      if (reason === "ChallengeStale") this.#challengeWanted = true;
      if (transaction.type === "attest" && !UNTOLD_REFUSALS.has(reason)) this.#tellRefusal(transaction.nodeId, reason);
      return error;
    }
  }

  #tellRefusal(nodeId: NodeId, reason: string): void {
    const { tracer, elapsedMs } = this.#parts;
    if (this.#attestRate.mayLogRefusal(nodeId, elapsedMs()))
      tracer.event("warn", "attestation_refused", { nodeId, reason });
  }

  #evidence(): AdministrativeTransaction | undefined {
    const own = this.#parts.snapshot();
    if (own === undefined) return undefined;
    const { mark, seqno, digest, bytes } = own;
    return { type: "snapshot", index: mark.index, seqno, digest, bytes };
  }

  /** The administrative batch under way is committed. */
  committed(): void {
    this.#pending = false;
    const { done } = this.#underWay ?? {};
    this.#underWay = undefined;
    done?.({ type: "committed" });
  }

  /** This node leads no more: what was on its way is the next leader's to judge. */
  stopLeading(): void {
    this.#pending = false;
    const lost = [...(this.#underWay === undefined ? [] : [this.#underWay]), ...this.#waiting];
    this.#underWay = undefined;
    this.#waiting = [];
    this.#attestations.clear();
    this.#lapsedSince.clear();
    this.#challengeWanted = false;
    for (const { done } of lost) done({ type: "unknown" });
  }
}

/** What a manager hands on to its duties. */
export interface LeaderDutiesSources extends Pick<LeaderDutiesParts, "nodeId" | "administration" | "keyOf" | "tracer"> {
  readonly sealing: { batchTime(): number };
  readonly clock: Pick<Clock, "now">;
  readonly tail: { readonly lastSeqno: number };
  readonly epochMaker: EpochMaker;
}

/** The duties of a node's manager. */
export function createLeaderDuties(
  { nodeId, administration, sealing, tail, tracer, clock, epochMaker, keyOf }: LeaderDutiesSources,
  around: Pick<LeaderDutiesParts, "snapshot" | "propose" | "challenge" | "agrees"> & {
    learnersCaughtUp(): LeaderView["learnersCaughtUp"];
  },
): LeaderDuties {
  const { snapshot, propose, challenge, agrees } = around;
  const view = () => ({
    now: sealing.batchTime(),
    nextSeqno: tail.lastSeqno + 1,
    learnersCaughtUp: around.learnersCaughtUp(),
  });
  const elapsedMs = () => clock.now();
  const own = { nodeId, administration, tracer, maker: epochMaker, keyOf, view, elapsedMs };
  return new LeaderDuties({ ...own, snapshot, propose, challenge, agrees });
}
