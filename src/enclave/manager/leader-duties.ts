/**
 * What a leader does for the network itself: it brings members' requests into the ledger, settles proposals whose time has
 * come, takes the steps that follow from them (configurations, epochs, grants), and records the evidence of snapshots. One
 * administrative batch at a time; application batches wait for it, so that nobody acts on rights that a vote has taken away
 * (R9). A batch has the very time for which its transaction was found to hold: a millisecond later it may not.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import {
  type AdministrativeTransaction,
  encodeAdministrative,
  type GovernanceState,
} from "../../core/governance/administrative.ts";
import { type LeaderView, nextStep } from "../../core/governance/next-step.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { OwnSnapshot } from "./snapshots.ts";

/** Most requests of members that wait on one node; the next one is refused. */
export const WAITING_REQUESTS_MAX = 64;

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
  readonly administration: Administration;
  readonly maker: EpochMaker;
  readonly keyOf: (epoch: number) => Bytes | undefined;
  readonly view: () => LeaderView;
  readonly snapshot: () => OwnSnapshot | undefined;
  /** Proposes an administrative batch of one transaction and this time. */
  readonly propose: (encoded: Bytes, timeMs: number) => void;
}

/** See the module's header. */
export class LeaderDuties {
  readonly #parts: LeaderDutiesParts;
  #waiting: WaitingRequest[] = [];
  #underWay: WaitingRequest | undefined;
  #carried: readonly SignedMessage[] = [];
  /** The committed state for which no carried message holds. */
  #carriedUntil: GovernanceState | undefined;
  #pending = false;

  constructor(parts: LeaderDutiesParts) {
    this.#parts = parts;
  }

  /** Whether an administrative batch is on its way, for which application batches wait. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Takes requests that may come to hold later: the approval of code this node carries. */
  carry(messages: readonly SignedMessage[]): void {
    this.#carried = messages;
  }

  /**
   * Takes a member's request; `done` tells what became of it. Throws `ProposalInvalid` when it does not hold now,
   * `TooManyRequests` when too many wait.
   */
  submit(message: SignedMessage, done: WaitingRequest["done"]): void {
    const { administration, view } = this.#parts;
    administration.check(message, view().now);
    if (this.#waiting.length >= WAITING_REQUESTS_MAX)
      throw new CocoError("TooManyRequests", "too many requests wait for the ledger");
    this.#waiting.push({ message, done });
  }

  /** Proposes what is due next, unless something is on its way. Called by a leader that has applied its whole log. */
  next(): void {
    if (this.#pending) return;
    const view = this.#parts.view();
    const due = this.#due(view);
    if (due === undefined) return;
    this.#pending = true;
    this.#parts.propose(encodeAdministrative(due), view.now);
  }

  #due(view: LeaderView): AdministrativeTransaction | undefined {
    const { administration, maker } = this.#parts;
    const state = administration.committed;
    if (state === undefined) return undefined;
    const step = nextStep(state, view);
    if (step?.type === "configure") return { type: "configure", ...step.configuration };
    const epoch = step?.type === "epoch" ? maker.epoch(state) : undefined;
    if (epoch !== undefined) return epoch;
    const grant = step?.type === "grant" ? maker.grant(state, step.nodeId, this.#parts.keyOf) : undefined;
    if (grant !== undefined) return grant;
    const proposalId = administration.dueProposal(view.now);
    if (proposalId !== undefined) return { type: "resolve", proposalId };
    const message = this.#nextRequest(view.now) ?? this.#nextCarried(state, view.now);
    return message === undefined ? this.#evidence() : { type: "request", ...message };
  }

  /** What does not hold any more is refused: something else came before it. */
  #nextRequest(nowMs: number): SignedMessage | undefined {
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined) return undefined;
      const error = this.#refusalOf(next.message, nowMs);
      if (error === undefined) {
        this.#underWay = next;
        return next.message;
      }
      next.done({ type: "refused", error });
    }
  }

  #nextCarried(state: GovernanceState, nowMs: number): SignedMessage | undefined {
    if (this.#carriedUntil === state) return undefined;
    const next = this.#carried.find((message) => this.#refusalOf(message, nowMs) === undefined);
    if (next === undefined) this.#carriedUntil = state;
    return next;
  }

  #refusalOf(message: SignedMessage, nowMs: number): CocoError | undefined {
    try {
      this.#parts.administration.check(message, nowMs);
      return undefined;
    } catch (error) {
      if (error instanceof CocoError && error.code !== "Internal") return error;
      throw error;
    }
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
    for (const { done } of lost) done({ type: "unknown" });
  }
}

/** What a manager hands on to its duties. */
export interface LeaderDutiesSources extends Pick<LeaderDutiesParts, "administration" | "keyOf"> {
  readonly sealing: { batchTime(): number };
  readonly tail: { readonly lastSeqno: number };
  readonly epochMaker: EpochMaker;
  /** See {@link LeaderDuties.carry}. */
  readonly approval: readonly SignedMessage[] | undefined;
}

/** The duties of a node's manager. */
export function createLeaderDuties(
  { administration, sealing, tail, epochMaker, keyOf, approval }: LeaderDutiesSources,
  around: Pick<LeaderDutiesParts, "snapshot" | "propose"> & { learnersCaughtUp(): LeaderView["learnersCaughtUp"] },
): LeaderDuties {
  const { snapshot, propose } = around;
  const view = () => ({
    now: sealing.batchTime(),
    nextSeqno: tail.lastSeqno + 1,
    learnersCaughtUp: around.learnersCaughtUp(),
  });
  const duties = new LeaderDuties({ administration, maker: epochMaker, keyOf, view, snapshot, propose });
  if (approval !== undefined) duties.carry(approval);
  return duties;
}
