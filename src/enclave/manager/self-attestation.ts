/**
 * A node's own part in its attestation: while the ledger does not say what this node runs, and whenever its lease is to be
 * renewed, it makes evidence for the present challenge and sends it to the leader, again and again until it is recorded.
 * Challenge and record follow from the committed state (core/governance/attest.ts).
 *
 * A TEE takes its time, and the state moves on meanwhile. One piece of evidence is being made at a time: asked for again
 * meanwhile, it is made once; asked for something else, the newest counts, and what comes for a challenge that has passed is
 * dropped.
 */
import { bytesEqual, toHex, type Bytes, type HashFunction } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import {
  attestChallenge,
  attestReportData,
  isRecorded,
  machineConflict,
  mayRun,
  restsFromRecord,
} from "../../core/governance/attest.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { AttestedNode, EvidenceClaims, GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { leaseLengthMs, renewalIsDue } from "../../core/governance/leases.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Tracer } from "../ports.ts";
import type { EvidenceMaker } from "./evidence-maker.ts";

/** Time between two attempts of a node to have its attestation recorded, and between two looks at its lease. */
export const ATTEST_RETRY_MS = 1_000;
/** Shortest time between two answers to challenges of the leader; what it asks in between is not answered. */
export const ANSWER_INTERVAL_MS = 500;

/** Evidence for the leader. */
export interface OwnEvidence {
  readonly challenge: Bytes;
  readonly evidence: Bytes;
}

/** What it is made of. */
export interface SelfAttestationParts {
  readonly nodeId: NodeId;
  readonly clock: Clock;
  readonly crypto: Pick<GovernanceCrypto, "verifyEvidence" | "appraise"> & { readonly sha256: HashFunction };
  readonly evidence: Pick<EvidenceMaker, "make">;
  readonly committed: () => GovernanceState | undefined;
  /** Time of the ledger as a batch made now would have it. */
  readonly batchTime: () => number;
  /** Gives evidence to the leader, this node or another; it may be lost. */
  readonly deliver: (evidence: OwnEvidence) => void;
  /** Whether this node's lease cannot have ended, as far as it knows. */
  readonly leaseIsGood: () => boolean;
  readonly tracer: Tracer;
}

/** What evidence is made for. */
interface Purpose {
  readonly challenge: Bytes;
  readonly reportData: Bytes;
  /** The leader asked: it gets the evidence whatever this node knows of the ledger. */
  readonly isForLeader: boolean;
}

/** See the module's header. */
export class SelfAttestation {
  readonly #parts: SelfAttestationParts;
  #own: EvidenceClaims | undefined;
  /** The challenge that was answered last, hex. */
  #answered = "";
  #waits = false;
  #making: Purpose | undefined;
  /** What comes after it; what was wanted newest. */
  #next: Purpose | undefined;
  #closed = false;
  #fails = false;
  /** The evidence made last. */
  #evidence: Bytes | undefined;
  /** Evidence made since this node's start is recorded: it knows when its lease began. */
  #isRecorded = false;
  #answersAgainMs = 0;
  /** The node found on this machine. */
  #holder: NodeId | undefined;

  constructor(parts: SelfAttestationParts) {
    this.#parts = parts;
  }

  /** Governance in effect changed. */
  governanceChanged(): void {
    const state = this.#parts.committed();
    const recorded = state?.attested.get(this.#parts.nodeId)?.evidence;
    if (recorded !== undefined && this.#evidence !== undefined)
      this.#isRecorded ||= bytesEqual(recorded, this.#evidence);
    // Evidence for another challenge than the one that is under way need not wait.
    if (state !== undefined && (!this.#waits || this.#challenge(state) !== this.#answered)) this.#attempt();
    this.#lookAgain();
  }

  /**
   * The leader asks for evidence: this node is quarantined, and may not be able to read what its challenge follows from, since
   * what it missed can be behind keys that it gets only with its evidence. One that knows that its lease is young
   * does not answer, and none does so all the time: making evidence costs.
   */
  answer(challenge: Bytes, { nodes }: Pick<Constitution, "nodes">, networkId: string): void {
    const { nodeId, clock, crypto, leaseIsGood } = this.#parts;
    const entry = nodes.find((node) => node.nodeId === nodeId);
    const now = clock.now();
    const isNeeded = !this.#isRecorded || !leaseIsGood();
    if (entry === undefined || this.#closed || !isNeeded || now < this.#answersAgainMs) return;
    this.#answersAgainMs = now + ANSWER_INTERVAL_MS;
    const reportData = attestReportData(networkId, entry, challenge, crypto.sha256);
    this.#want({ challenge, reportData, isForLeader: true });
  }

  /** Attempts no more. */
  close(): void {
    this.#closed = true;
  }

  /** Whether another node is recorded on this machine, and this one may not be there too; told once. */
  #machineIsTaken(state: GovernanceState, node: AttestedNode, nowMs: number): boolean {
    const { nodeId, crypto, tracer } = this.#parts;
    const holder = machineConflict(state, { nodeId, node, nowMs }, crypto);
    const message = "another node is recorded on this machine, and the TEE manifest does not let this one be there too";
    if (holder !== undefined && holder !== this.#holder) tracer.event("error", "machine_in_use", { holder, message });
    this.#holder = holder;
    return holder !== undefined;
  }

  #challenge(state: GovernanceState): string {
    const challenge = attestChallenge(state, this.#parts.nodeId, this.#parts.crypto.sha256);
    return challenge === undefined ? "" : toHex(challenge);
  }

  #lookAgain(): void {
    const state = this.#parts.committed();
    const hasWork = state !== undefined && (this.#isDue(state) || leaseLengthMs(state.constitution) > 0);
    if (this.#waits || this.#closed || !hasWork) return;
    this.#waits = true;
    this.#parts.clock.after(ATTEST_RETRY_MS, () => {
      this.#waits = false;
      this.#attempt();
      this.#lookAgain();
    });
  }

  /** Whether this node is listed, and the ledger does not say what it runs, or not for much longer. */
  #isDue(state: GovernanceState): boolean {
    const { nodeId, batchTime } = this.#parts;
    if (state.constitution.nodes.every((node) => node.nodeId !== nodeId)) return false;
    const isKnown = this.#own !== undefined && isRecorded(state, nodeId, this.#own);
    return !isKnown || renewalIsDue(state, nodeId, batchTime());
  }

  /** Has evidence made for the present challenge, if it is this node's turn. */
  #attempt(): void {
    const state = this.#parts.committed();
    if (state === undefined || !this.#isDue(state)) return;
    const { nodeId, crypto, batchTime } = this.#parts;
    if (restsFromRecord(state, nodeId, batchTime())) return;
    const entry = state.constitution.nodes.find((node) => node.nodeId === nodeId);
    const challenge = attestChallenge(state, nodeId, crypto.sha256);
    if (entry === undefined || challenge === undefined) return;
    const reportData = attestReportData(state.networkId, entry, challenge, crypto.sha256);
    this.#want({ challenge, reportData, isForLeader: false });
  }

  #want(purpose: Purpose): void {
    if (this.#closed) return;
    const making = this.#making;
    if (making === undefined) this.#make(purpose);
    else if (!bytesEqual(making.reportData, purpose.reportData)) this.#next = purpose;
    else if (purpose.isForLeader) this.#making = purpose;
  }

  #make(purpose: Purpose): void {
    this.#making = purpose;
    const take = (outcome: Bytes | CocoError): void => {
      const made = this.#making;
      const next = this.#next;
      this.#making = undefined;
      this.#next = undefined;
      if (this.#closed || made === undefined) return;
      this.#made(made, outcome, next);
      if (next !== undefined) this.#want(next);
    };
    this.#parts.evidence.make(purpose.reportData, take, { first: true });
  }

  #made({ challenge, reportData, isForLeader }: Purpose, outcome: Bytes | CocoError, next: Purpose | undefined): void {
    const own = this.#checked(outcome, reportData);
    if (own === undefined) return;
    const { evidence, claims } = own;
    if (!isForLeader) this.#ownMade(claims, { evidence, challenge, reportData });
    else if (next?.isForLeader !== true) this.#parts.deliver({ challenge, evidence });
  }

  /** Evidence that this node made by itself; the state may be another than the one it was made for. */
  #ownMade(claims: EvidenceClaims, made: OwnEvidence & { readonly reportData: Bytes }): void {
    const { deliver, crypto, batchTime } = this.#parts;
    const { evidence, challenge, reportData } = made;
    this.#own = claims;
    const state = this.#parts.committed();
    // A restarted node that finds itself recorded has no more to do than any other.
    if (state === undefined || !this.#isDue(state)) return;
    if (this.#challenge(state) !== toHex(challenge)) {
      this.#attempt();
      return;
    }
    const nowMs = batchTime();
    const node = { ...claims, evidence, reportData, attestedAtMs: nowMs };
    // Code that is not in force yet is looked at again when it may be, a machine in use when it may be free.
    if (!mayRun(state.constitution, node, nowMs, crypto) || this.#machineIsTaken(state, node, nowMs)) return;
    this.#answered = toHex(challenge);
    deliver({ challenge, evidence });
  }

  /** Evidence that holds, with its claims; what others would refuse is not sent to them. */
  #checked(outcome: Bytes | CocoError, reportData: Bytes) {
    const { crypto, batchTime } = this.#parts;
    if (outcome instanceof CocoError) return this.#tellFailure(outcome.message);
    const claims = crypto.verifyEvidence(outcome, reportData, batchTime());
    if ("problem" in claims) return this.#tellFailure(`the evidence does not hold: ${claims.problem}`);
    this.#fails = false;
    this.#evidence = outcome;
    return { evidence: outcome, claims };
  }

  #tellFailure(message: string): undefined {
    if (!this.#fails) this.#parts.tracer.event("error", "attestation_failed", { message });
    this.#fails = true;
  }
}
