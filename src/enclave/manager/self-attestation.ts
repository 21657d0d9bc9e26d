/**
 * A node's own part in its attestation: while the ledger does not say what this node runs, it makes evidence for the present
 * challenge and sends it to the leader, again and again until it is recorded. Challenge and record follow from the
 * committed state (core/governance/attest.ts).
 */
import type { Bytes, HashFunction } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { attestChallenge, attestReportData, isRecorded, mayRun } from "../../core/governance/attest.ts";
import type { EvidenceClaims, GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { invariant } from "../../errors.ts";
import type { Clock } from "../ports.ts";

/** Time between two attempts of a node to have its attestation recorded. */
export const ATTEST_RETRY_MS = 1_000;

/** Evidence for the leader. */
export interface OwnEvidence {
  readonly challenge: Bytes;
  readonly evidence: Bytes;
}

/** What it is made of. */
export interface SelfAttestationParts {
  readonly nodeId: NodeId;
  readonly clock: Clock;
  readonly crypto: Pick<GovernanceCrypto, "appraise"> & { readonly sha256: HashFunction };
  /** Evidence of this node's code for 64 bytes of report data. */
  readonly attest: (reportData: Bytes) => Bytes;
  readonly committed: () => GovernanceState | undefined;
  /** Time of the ledger as a batch made now would have it. */
  readonly batchTime: () => number;
  /** Gives evidence to the leader, this node or another; it may be lost. */
  readonly deliver: (evidence: OwnEvidence) => void;
}

/** See the module's header. */
export class SelfAttestation {
  readonly #parts: SelfAttestationParts;
  #own: EvidenceClaims | undefined;
  #waits = false;
  #closed = false;

  constructor(parts: SelfAttestationParts) {
    this.#parts = parts;
  }

  /** Governance in effect changed. */
  governanceChanged(): void {
    if (!this.#waits) this.#attempt();
  }

  /** Attempts no more. */
  close(): void {
    this.#closed = true;
  }

  #attempt(): void {
    this.#waits = false;
    const state = this.#parts.committed();
    if (this.#closed || state === undefined) return;
    const { nodeId, clock, deliver } = this.#parts;
    const made = this.#make(state);
    // Code that is not in force yet is looked at again when it may be.
    if (made === undefined || isRecorded(state, nodeId, made.claims)) return;
    if (mayRun(state.constitution, made.claims, this.#parts.batchTime())) deliver(made);
    this.#waits = true;
    clock.after(ATTEST_RETRY_MS, () => this.#attempt());
  }

  /** Evidence for the present challenge; undefined when this node is not to make any, or is recorded. */
  #make(state: GovernanceState): (OwnEvidence & { readonly claims: EvidenceClaims }) | undefined {
    const { nodeId, crypto, attest } = this.#parts;
    const entry = state.constitution.nodes.find((node) => node.nodeId === nodeId);
    const challenge = attestChallenge(state, nodeId, crypto.sha256);
    if (entry === undefined || challenge === undefined) return undefined;
    if (this.#own !== undefined && isRecorded(state, nodeId, this.#own)) return undefined;
    const reportData = attestReportData(state.networkId, entry, challenge, crypto.sha256);
    const evidence = attest(reportData);
    const claims = crypto.appraise(evidence, reportData);
    invariant(!("problem" in claims), "a node's TEE makes evidence that holds");
    this.#own = claims;
    return { challenge, evidence, claims };
  }
}
