/**
 * What a leader does for the network itself: it brings members' decisions into the ledger and takes the steps that follow
 * from them (configurations, epochs, grants), and it records the evidence of snapshots. One administrative batch at a time;
 * application batches wait for it, so that nobody acts on rights that a vote has taken away (R9).
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import {
  type AdministrativeTransaction,
  encodeAdministrative,
  type GovernanceState,
} from "../../core/governance/administrative.ts";
import type { Decision } from "../../core/governance/decision.ts";
import { type LeaderView, nextStep } from "../../core/governance/next-step.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { OwnSnapshot } from "./snapshots.ts";

/** Most decisions of members that wait on one node; the next one is refused. */
export const WAITING_DECISIONS_MAX = 64;

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
  readonly administration: Administration;
  readonly maker: EpochMaker;
  readonly keyOf: (epoch: number) => Bytes | undefined;
  readonly view: () => LeaderView;
  readonly snapshot: () => OwnSnapshot | undefined;
  /** Proposes an administrative batch of one transaction. */
  readonly propose: (encoded: Bytes) => void;
}

/** See the module's header. */
export class LeaderDuties {
  readonly #parts: LeaderDutiesParts;
  #decisions: Decision[] = [];
  #pending = false;

  constructor(parts: LeaderDutiesParts) {
    this.#parts = parts;
  }

  /** Whether an administrative batch is on its way, for which application batches wait. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Takes a decision that may become acceptable later: the approval of code this node carries. */
  carry(decision: Decision): void {
    this.#decisions.push(decision);
  }

  /** Takes a decision of members; throws `ProposalInvalid` when it does not hold now, `TooManyRequests` when too many wait. */
  submit(decision: Decision): void {
    this.#parts.administration.check(decision);
    if (this.#decisions.length >= WAITING_DECISIONS_MAX)
      throw new CocoError("TooManyRequests", "too many decisions wait for the ledger");
    this.#decisions.push(decision);
  }

  /** Proposes what is due next, unless something is on its way. Called by a leader that has applied its whole log. */
  next(): void {
    if (this.#pending) return;
    const due = this.#due();
    if (due === undefined) return;
    this.#pending = true;
    this.#parts.propose(encodeAdministrative(due));
  }

  #due(): AdministrativeTransaction | undefined {
    const { administration, maker, view } = this.#parts;
    const state = administration.committed;
    if (state === undefined) return undefined;
    const step = nextStep(state, view());
    if (step?.type === "configure") return { type: "configure", ...step.configuration };
    const epoch = step?.type === "epoch" ? maker.epoch(state) : undefined;
    if (epoch !== undefined) return epoch;
    const grant = step?.type === "grant" ? maker.grant(state, step.nodeId, this.#parts.keyOf) : undefined;
    if (grant !== undefined) return grant;
    return this.#nextDecision() ?? this.#evidence();
  }

  /** Decisions hold for exactly the constitution they were made for: what does not hold any more is dropped. */
  #nextDecision(): AdministrativeTransaction | undefined {
    this.#decisions = this.#decisions.filter((decision) => this.#parts.administration.accepts(decision));
    const bundle = this.#decisions.shift();
    return bundle && { type: "decision", bundle };
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
  }

  /** This node leads no more: what was on its way is the next leader's to judge. */
  stopLeading(): void {
    this.#pending = false;
  }
}
