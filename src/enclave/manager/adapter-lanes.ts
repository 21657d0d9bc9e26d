/**
 * The adapters of one node: for each the lane of its executions, the transactions of this node's clients, and the mail to its
 * worker; and the ways of transactions and outcomes between them and the leader.
 */
import { type Bytes, bytesKey } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { UnsealedBatch } from "../../core/ledger/batch.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { type Rights, RightsInForce } from "../../core/governance/rights.ts";
import { CocoError } from "../../errors.ts";
import type { Clock } from "../ports.ts";
import type { Administration } from "./administration.ts";
import type { ExecutedTransaction } from "../worker/protocol.ts";
import { type ForwardedOutcome, type Frame, forwardFrames } from "./frames.ts";
import { AdapterLane } from "./lane.ts";
import type { LaneOutcome } from "./lane-outcomes.ts";
import type { AdapterPart } from "./manager-parts.ts";
import type { BatchLimits, KeyedItem } from "./transaction-queue.ts";
import type { RoutedAdapter } from "./request-router.ts";
import type { SnapshotAdapter } from "./snapshot-receiver.ts";
import { type Routed, Submissions } from "./submissions.ts";
import { WorkerMailbox } from "./worker-mailbox.ts";

/** One adapter on its way through this node. */
export interface Lane extends RoutedAdapter, SnapshotAdapter {
  readonly lane: AdapterLane;
  readonly submissions: Submissions;
}

/** Who leads, as far as transactions need to know. */
export interface LeaderView {
  readonly leads: boolean;
  /** This node leads and executes. */
  readonly serving: boolean;
  readonly leader: NodeId | undefined;
}

/** What the lanes need of the node around them. */
export interface AdapterLanesParts {
  readonly clock: Clock;
  readonly randomBytes: (length: number) => Bytes;
  /** As the network has them now: a vote may change them. */
  readonly settings: () => {
    readonly maxBatch: BatchLimits;
    readonly maxDelayMs: number;
    readonly answerAfter: "commit" | "execution";
  };
  /** What senders may do at the end of the log. */
  readonly rights: () => Rights;
  readonly batchTime: () => number;
  readonly view: () => LeaderView;
  /** Whether a batch may be executed now. */
  readonly mayExecute: () => boolean;
  readonly propose: (
    adapterId: number,
    transactions: readonly ExecutedTransaction[],
    keys: readonly string[],
  ) => number | undefined;
  readonly send: (peer: NodeId, frame: Frame) => boolean;
}

/** See the module's header. */
export class AdapterLanes {
  readonly #parts: AdapterLanesParts;
  readonly #lanes: ReadonlyMap<number, Lane>;

  constructor(adapters: readonly AdapterPart[], parts: AdapterLanesParts) {
    this.#parts = parts;
    this.#lanes = new Map(adapters.map((adapter) => [adapter.id, this.#createLane(adapter)]));
  }

  #createLane(adapter: AdapterPart): Lane {
    const { clock, randomBytes, settings, rights, batchTime, view, mayExecute, propose } = this.#parts;
    const { id, mount, executor } = adapter;
    const mailbox = new WorkerMailbox(executor, clock, () => view().serving);
    const submissions = new Submissions({
      now: () => clock.now(),
      route: (entries) => this.#route(id, entries),
      answer: (request, outcomes) => mailbox.outcomes({ id: request, outcomes }),
    });
    const lane = new AdapterLane({
      adapterId: id,
      executor,
      limits: () => settings().maxBatch,
      rights,
      maxDelayMs: () => settings().maxDelayMs,
      after: (delayMs, callback) => clock.after(delayMs, callback),
      batchTime,
      randomBytes,
      mayExecute,
      propose: (transactions, keys) => propose(id, transactions, keys),
      deliver: (origin, outcomes) => this.#deliver(id, origin, outcomes),
    });
    const committedVersion = () => lane.committedVersion;
    const restore = (version: number, index: number) => lane.restore(version, index);
    return { lane, mount, submissions, mailbox, executor, committedVersion, restore };
  }

  /** By adapter id. */
  get byId(): ReadonlyMap<number, Lane> {
    return this.#lanes;
  }

  /** Transactions of this node's clients whose outcome is not final. */
  get pendingTransactions(): number {
    let pending = 0;
    for (const { submissions } of this.#lanes.values()) pending += submissions.size;
    return pending;
  }

  /** Takes this node's transactions to the leader. */
  #route(adapterId: number, entries: readonly KeyedItem[]): Routed {
    const { leads, leader } = this.#parts.view();
    if (leads) {
      this.#lanes.get(adapterId)?.lane.enqueueKeyed(entries, undefined);
      return "sent";
    }
    if (leader === undefined) return "none";
    let sent = 0;
    let lost = 0;
    for (const frame of forwardFrames(adapterId, entries)) {
      if (this.#parts.send(leader, frame)) sent++;
      else lost++;
    }
    if (lost === 0) return "sent";
    return sent === 0 ? "none" : "unsure";
  }

  #deliver(adapterId: number, origin: NodeId | undefined, outcomes: readonly LaneOutcome[]): void {
    const { send, settings } = this.#parts;
    if (origin !== undefined) send(origin, { type: "outcomes", adapter: adapterId, outcomes });
    else this.takeOutcomes(adapterId, outcomes, settings().answerAfter === "execution");
  }

  /**
   * Takes the leader's word on transactions of this node.
   * @param answerNow whether inclusion answers the client before the commit
   */
  takeOutcomes(adapterId: number, outcomes: readonly (ForwardedOutcome | LaneOutcome)[], answerNow: boolean): void {
    this.#lanes.get(adapterId)?.submissions.outcomes(outcomes, answerNow);
  }

  /** The state was replaced up to this index: what this node sent may be in the part it never saw, and the leader knows. */
  restored(index: number): void {
    for (const { submissions } of this.#lanes.values()) submissions.restored(index);
  }

  /**
   * A batch of an adapter is committed.
   * @param ownKeys the keys of its transactions when this node executed it
   * @param open opens its content otherwise
   */
  committed(batch: ParsedBatch, ownKeys: readonly string[] | undefined, open: () => UnsealedBatch): void {
    const { index, view, firstSeqno, count, adapterId } = batch.header;
    const found = this.#lanes.get(adapterId);
    if (found === undefined)
      throw new CocoError("LedgerCorrupt", `batch ${index} is of adapter ${adapterId}, which is not mounted`, {
        index,
      });
    const opened = ownKeys === undefined ? open() : undefined;
    found.lane.committed({ index, view, firstSeqno, count }, () => opened?.parts ?? []);
    found.submissions.committed(index, () => ownKeys ?? opened?.ids().map(bytesKey) ?? []);
  }

  /** A leader can be reached: what has no final outcome goes to it. */
  leaderChanged(): void {
    for (const { submissions } of this.#lanes.values()) submissions.leaderChanged();
  }

  /** Sends again what got no answer. */
  tick(): void {
    for (const { submissions } of this.#lanes.values()) submissions.tick();
  }

  /** Everything up to this index is durable on this node. */
  durable(index: number): void {
    for (const { lane } of this.#lanes.values()) lane.durable(index);
  }

  /** What this node executed and is not committed is undone. */
  stopLeading(): void {
    for (const { lane } of this.#lanes.values()) lane.stopLeading();
  }

  /** A leader may go on: adapters without state get their first one, the others their next batch. */
  pump(mayBegin: boolean): void {
    for (const { lane } of this.#lanes.values()) {
      if (lane.isEmpty && lane.isIdle && mayBegin) lane.executeGenesis();
      lane.pump();
    }
  }
}

/** What a manager hands on to its lanes. */
export interface AdapterLanesSources extends Pick<AdapterLanesParts, "clock" | "randomBytes"> {
  readonly sealing: { batchTime(): number };
  readonly administration: Pick<Administration, "committed" | "constitution">;
  readonly adapters: readonly AdapterPart[];
}

/** The lanes of a node's manager. */
export function createAdapterLanes(
  { clock, randomBytes, sealing, administration, adapters }: AdapterLanesSources,
  around: Pick<AdapterLanesParts, "view" | "mayExecute" | "propose" | "send">,
): AdapterLanes {
  const rights = new RightsInForce(() => administration.constitution);
  return new AdapterLanes(adapters, {
    ...around,
    clock,
    randomBytes,
    settings: () => (administration.committed ?? administration).constitution.settings,
    rights: () => rights.now,
    batchTime: () => sealing.batchTime(),
  });
}
