/**
 * Transactions this validating node received from clients, kept until their outcome is known.
 *
 * A transaction goes to the leader, and again to the next one if the leader changes or stays silent; ids make that safe,
 * because an adapter includes an id at most once. Inclusion is learned from the ledger itself when the batch is applied
 * here, so that a client's next read sees its own write; refusals come from the leader.
 */
import type { Caller } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { bytesKey } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { ItemOutcome, TransactionItem } from "../worker/protocol.ts";
import type { ForwardedOutcome } from "./frames.ts";
import type { KeyedItem } from "./transaction-queue.ts";

/** Most transactions one node keeps for its clients; a request with more is refused with `TooManyRequests`. */
export const SUBMISSIONS_MAX = 65_536;
/** Most bytes of transactions one node keeps for its clients; a request with more is refused with `TooManyRequests`. */
export const SUBMISSIONS_BYTES_MAX = 64 * 1024 * 1024;
/** A transaction without any word of the leader is sent again after this time. */
export const RESEND_AFTER_MS = 3_000;
/**
 * A transaction that could not be sent to any leader for so long is given up and answered `NoLeader`: it is certain that it
 * was not executed. One that was sent, to a leader that is gone, may have been: it is kept, and answered `RequestTimeout`
 * after {@link OUTCOME_TIMEOUT_MS}, which says that its outcome is not known.
 */
export const NO_LEADER_AFTER_MS = 5_000;
/** A request is answered `RequestTimeout` when an outcome takes longer; its transactions are followed up all the same. */
export const OUTCOME_TIMEOUT_MS = 30_000;
/** A transaction without outcome is dropped after this time; its sender learns the outcome by its hash, if there is one. */
export const SUBMISSION_LIFETIME_MS = 3 * 3_600_000;

interface Waiting {
  readonly request: OpenSubmission;
  readonly position: number;
}

interface Tracked extends KeyedItem {
  /** Who sent it; another actor that sent the same when that one turns out to have no right to. */
  sender: Caller;
  readonly since: number;
  waiting: Waiting[];
  /** Undefined: to be sent. */
  sentAt: number | undefined;
  /** A leader may have got it. */
  everSent: boolean;
  /** A snapshot may have brought it: the leader may call it a duplicate because of this very submission. */
  mayBeRestored: boolean;
  /** The leader keeps it until it can run; nothing to resend while that leader leads. */
  parked: boolean;
  /** The leader judged it a duplicate, or refused it, by the state that this batch made. */
  judgedIndex: number | undefined;
  refusal: Refusal | undefined;
  result: Bytes | undefined;
}

type Refusal = Extract<ItemOutcome, { type: "refused" }>;

interface OpenSubmission {
  readonly id: number;
  readonly sender: Caller;
  readonly outcomes: (ItemOutcome | undefined)[];
  readonly since: number;
  left: number;
}

/** Where transactions went: to the leader, to nobody, or some of them may have reached it. */
export type Routed = "sent" | "none" | "unsure";

/** What submissions need from the node around them. */
export interface SubmissionsParts {
  readonly now: () => number;
  /** Takes transactions to the leader, wherever it is. */
  readonly route: (items: readonly KeyedItem[]) => Routed;
  /** All transactions of a request have an outcome. */
  readonly answer: (requestId: number, outcomes: readonly ItemOutcome[]) => void;
}

/** Tracks the transactions of this node's clients; see the module's header. */
export class Submissions {
  readonly #parts: SubmissionsParts;
  readonly #tracked = new Map<string, Tracked>();
  readonly #requests = new Set<OpenSubmission>();
  /** What the leader judged by its state, in the order it did; some may be settled since. */
  readonly #judged = new Set<Tracked>();
  #bytes = 0;
  /** Index of the newest batch that is committed and applied here. */
  #committedIndex = 0;

  constructor(parts: SubmissionsParts) {
    this.#parts = parts;
  }

  /** Transactions kept now. */
  get size(): number {
    return this.#tracked.size;
  }

  /** Tracks the prepared transactions of a request and sends them on their way. */
  submit(requestId: number, items: readonly TransactionItem[], sender: Caller): void {
    const now = this.#parts.now();
    const request: OpenSubmission = {
      id: requestId,
      sender,
      outcomes: new Array(items.length),
      since: now,
      left: items.length,
    };
    this.#requests.add(request);
    const bytes = items.reduce((sum, item) => sum + item.body.length, this.#bytes);
    if (this.#tracked.size + items.length > SUBMISSIONS_MAX || bytes > SUBMISSIONS_BYTES_MAX) {
      items.forEach((_, position) =>
        this.#settle({ request, position }, { type: "unavailable", code: "TooManyRequests" }),
      );
      return;
    }
    const fresh: Tracked[] = [];
    items.forEach((item, position) => {
      const key = bytesKey(item.id);
      const known = this.#tracked.get(key);
      if (known !== undefined) {
        if (known.parked) this.#settle({ request, position }, { type: "duplicate", result: known.result ?? item.id });
        else known.waiting.push({ request, position });
        return;
      }
      fresh.push(this.#track({ item, key, sender }, { request, position }, now));
    });
    this.#send(fresh);
  }

  #track({ item, key, sender }: KeyedItem, waiting: Waiting, since: number): Tracked {
    const tracked: Tracked = {
      item,
      key,
      sender,
      since,
      waiting: [waiting],
      sentAt: undefined,
      everSent: false,
      mayBeRestored: false,
      parked: false,
      judgedIndex: undefined,
      refusal: undefined,
      result: undefined,
    };
    this.#tracked.set(key, tracked);
    this.#bytes += item.body.length;
    return tracked;
  }

  /** A transaction has its final outcome, or is given up. */
  #end(entry: Tracked, outcome: ItemOutcome): void {
    if (this.#tracked.delete(entry.key)) this.#bytes -= entry.item.body.length;
    this.#settleAll(entry, outcome);
  }

  #send(entries: readonly Tracked[]): void {
    if (entries.length === 0) return;
    const routed = this.#parts.route(entries);
    if (routed === "none") return;
    const now = this.#parts.now();
    for (const entry of entries) {
      entry.everSent = true;
      if (routed === "sent") entry.sentAt = now;
    }
  }

  /**
   * The leader's word on transactions.
   * @param answerNow whether `included` answers the client before the batch is committed (on the leader itself only)
   */
  outcomes(outcomes: readonly (ForwardedOutcome & { readonly key?: string })[], answerNow: boolean): void {
    const now = this.#parts.now();
    for (const { id, outcome, index, key = bytesKey(id) } of outcomes) {
      const entry = this.#tracked.get(key);
      if (entry !== undefined) this.#outcome(entry, { outcome, index, now, answerNow });
    }
  }

  #outcome(
    entry: Tracked,
    {
      outcome,
      index,
      now,
      answerNow,
    }: Omit<ForwardedOutcome, "id"> & { readonly now: number; readonly answerNow: boolean },
  ): void {
    if (outcome.type === "deferred") return;
    if (outcome.type === "rejected" || outcome.type === "unavailable") {
      this.#end(entry, outcome);
      return;
    }
    if (outcome.type === "refused") {
      this.#judge(entry, { index, now, refusal: outcome });
      return;
    }
    entry.result = outcome.result;
    if (outcome.type === "waiting") {
      entry.parked = true;
      this.#settleAll(entry, outcome);
    } else if (outcome.type === "included") {
      entry.sentAt = now;
      if (answerNow) this.#settleAll(entry, outcome);
    } else this.#judge(entry, { index, now, refusal: undefined });
  }

  #judge(
    entry: Tracked,
    { index, now, refusal }: { readonly index: number; readonly now: number; readonly refusal: Refusal | undefined },
  ): void {
    entry.sentAt = now;
    entry.judgedIndex = index;
    entry.refusal = refusal;
    this.#judged.add(entry);
    this.#settleJudged();
  }

  /**
   * A transaction that was in the ledger before it was tracked here never comes in a batch again, and one that was refused is
   * in the ledger only if an earlier leader took it: once everything its leader judged by is applied here, there is nothing
   * left to wait for.
   */
  #settleJudged(): void {
    for (const entry of this.#judged) {
      if ((entry.judgedIndex ?? 0) > this.#committedIndex) return;
      this.#judged.delete(entry);
      if (this.#tracked.get(entry.key) !== entry) continue;
      const result = entry.result ?? entry.item.id;
      if (entry.refusal !== undefined) this.#endRefused(entry, entry.refusal);
      else
        this.#end(
          entry,
          entry.mayBeRestored ? { type: "included", result, position: 0 } : { type: "duplicate", result },
        );
    }
  }

  /** Another actor that sent the same transaction may have the right that the first has not: then it goes on as that one's. */
  #endRefused(entry: Tracked, refusal: Refusal): void {
    const { actor } = entry.sender;
    const others = entry.waiting.filter(({ request }) => request.sender.actor !== actor);
    const [next] = others;
    if (next === undefined) {
      // What a snapshot brought may hold it: then nobody here can tell.
      this.#end(entry, entry.mayBeRestored ? { type: "unavailable", code: "RequestTimeout" } : refusal);
      return;
    }
    entry.waiting = entry.waiting.filter(({ request }) => request.sender.actor === actor);
    this.#settleAll(entry, refusal);
    entry.waiting = others;
    entry.sender = next.request.sender;
    entry.refusal = undefined;
    entry.sentAt = undefined;
    this.#send([entry]);
  }

  /** The batch at this index, with the transactions of these keys (`bytesKey` of their ids), is committed and applied on this node. */
  committed(index: number, keys: () => Iterable<string>): void {
    this.#committedIndex = index;
    if (this.#tracked.size === 0) return;
    for (const key of keys()) {
      const entry = this.#tracked.get(key);
      if (entry === undefined) continue;
      this.#end(entry, { type: "included", result: entry.result ?? entry.item.id, position: 0 });
    }
    this.#settleJudged();
  }

  /**
   * A snapshot that stands for the ledger up to this index took the place of the state, so that nothing is heard of its
   * transactions one by one: what was sent is sent again, and the leader knows whether it is in the state.
   */
  restored(index: number): void {
    this.#committedIndex = index;
    for (const entry of this.#tracked.values()) {
      if (entry.everSent) entry.mayBeRestored = true;
      entry.sentAt = undefined;
    }
    this.#settleJudged();
  }

  /** Another leader, or the same one anew: everything without final outcome goes to it, in the order it came. */
  leaderChanged(): void {
    const all = [...this.#tracked.values()];
    for (const entry of all) {
      entry.sentAt = undefined;
      entry.parked = false;
      entry.judgedIndex = undefined;
      entry.refusal = undefined;
    }
    // They were judged by a state that may be undone.
    this.#judged.clear();
    this.#send(all);
  }

  /** Sends again what got no answer, and gives up what took too long. */
  tick(): void {
    const now = this.#parts.now();
    for (const request of this.#requests) {
      if (now - request.since < OUTCOME_TIMEOUT_MS) break;
      this.#giveUp(request);
    }
    const again: Tracked[] = [];
    for (const entry of this.#tracked.values()) {
      if (now - entry.since > SUBMISSION_LIFETIME_MS) this.#end(entry, { type: "unavailable", code: "RequestTimeout" });
      else if (entry.sentAt === undefined || (!entry.parked && now - entry.sentAt > RESEND_AFTER_MS)) again.push(entry);
    }
    this.#send(again);
    for (const entry of again) {
      if (!entry.everSent && now - entry.since >= NO_LEADER_AFTER_MS)
        this.#end(entry, { type: "unavailable", code: "NoLeader" });
    }
  }

  #giveUp(request: OpenSubmission): void {
    for (let position = 0; position < request.outcomes.length; position++) {
      if (request.outcomes[position] === undefined) {
        this.#settle({ request, position }, { type: "unavailable", code: "RequestTimeout" });
      }
    }
  }

  #settleAll(entry: Tracked, outcome: ItemOutcome): void {
    const waiting = entry.waiting;
    entry.waiting = [];
    for (const one of waiting) this.#settle(one, outcome);
  }

  #settle({ request, position }: Waiting, outcome: ItemOutcome): void {
    if (request.outcomes[position] !== undefined) return;
    request.outcomes[position] = outcome;
    request.left--;
    if (request.left > 0) return;
    this.#requests.delete(request);
    const outcomes = request.outcomes.map((settled) => {
      if (settled === undefined) throw new CocoError("Internal", "request answered before its outcomes are known");
      return settled;
    });
    this.#parts.answer(request.id, outcomes);
  }
}
