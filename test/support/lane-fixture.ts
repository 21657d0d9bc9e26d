/** A lane of the manager with a worker that does what a test says. */
import assert from "node:assert/strict";
import { rightsOf } from "./rights-of.ts";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { CocoError } from "../../src/errors.ts";
import type { ExecutedTransaction, ItemOutcome, ToWorker, TransactionItem } from "../../src/enclave/worker/protocol.ts";
import { AdapterLane } from "../../src/enclave/manager/lane.ts";
import type { SentItem } from "../../src/enclave/manager/transaction-queue.ts";

/** Alice and Bob may transact. */
const RIGHTS = rightsOf({ alice: undefined, bob: undefined });
const SENDER = { actor: "alice", certificate: "00" };
/** A transaction of an actor. */
export const sent = (item: TransactionItem, actor = SENDER.actor): SentItem => ({ item, sender: { ...SENDER, actor } });
/** A small transaction of that name. */
export const item = (name: string, actor?: string): SentItem =>
  sent({ id: utf8Encode(name), body: utf8Encode(`body ${name}`) }, actor);
/** Small transactions of these names. */
export const named = (names: readonly string[]): SentItem[] => names.map((name) => item(name));
const transaction = (id: Bytes): ExecutedTransaction => ({
  id,
  publicPart: EMPTY,
  privatePart: EMPTY,
  claimsDigest: undefined,
});

/** A lane whose worker does what the test says, in a ledger that starts at index 10. */
export function laneFixture(limits = { transactions: 10, bytes: 1000 }, maxDelayMs = 0) {
  const world = {
    leading: true,
    /** An administrative batch is on its way. */
    closed: false,
    rights: RIGHTS,
    /** Most bytes of the ids of a batch that fit the ledger. */
    bytesMax: Infinity,
    dropped: [] as string[],
    index: 10,
    sent: [] as ToWorker[],
    delivered: [] as string[],
    /** Why the lane had its worker ended. */
    ended: [] as string[],
    timers: [] as (() => void)[],
  };
  const lane = new AdapterLane({
    adapterId: 1,
    executor: { send: (message) => world.sent.push(message), close: () => {} },
    limits: () => limits,
    rights: () => world.rights,
    batchTime: () => 1,
    randomBytes: (length) => new Uint8Array(length),
    maxDelayMs: () => maxDelayMs,
    after: (_delayMs, callback) => world.timers.push(callback),
    mayExecute: () => world.leading && !world.closed,
    propose: (transactions) => {
      if (transactions.reduce((sum, { id }) => sum + id.length, 0) > world.bytesMax)
        throw new CocoError("LimitExceeded", "batch of too many bytes");
      return world.leading ? world.index++ : undefined;
    },
    endWorker: (reason) => {
      world.ended.push(reason);
      lane.lose();
    },
    deliver: (origin, outcomes) => {
      for (const { id, outcome, index } of outcomes) {
        world.delivered.push(`${origin ?? "here"} ${utf8Decode(id)} ${outcome.type} ${index}`);
      }
    },
  });
  const executing = () => {
    const last = world.sent.findLast((message) => message.type === "execute");
    return last?.type === "execute" ? last.items.map(({ id }) => utf8Decode(id)) : undefined;
  };
  /** What the worker was given last. */
  const newest = () => world.sent.findLast((message) => message.type === "execute" || message.type === "genesis");
  /** The worker finishes what it was given last, or something from before. */
  const finish = (
    outcome: (at: number) => ItemOutcome = (at) => ({ type: "included", result: EMPTY, position: at }),
    last = newest(),
  ) => {
    assert.ok(last?.type === "execute" || last?.type === "genesis");
    const items = last.type === "execute" ? last.items : [];
    const outcomes = items.map((_, at) => outcome(at));
    const kept = items.filter((_, at) => outcomes[at]?.type === "included").map(({ id }) => transaction(id));
    const transactions = last.type === "genesis" ? [transaction(EMPTY)] : kept;
    const dropped = world.dropped.splice(0).map((name) => ({ id: utf8Encode(name), error: EMPTY }));
    lane.executed({ type: "executed", generation: last.generation, outcomes, transactions, dropped, more: false });
  };
  const commit = (index: number) => lane.committed({ index, view: 2, firstSeqno: index, count: 1 }, () => [EMPTY]);
  const begin = () => {
    lane.executeGenesis();
    finish();
    lane.durable(10);
    commit(10);
  };
  return { world, lane, executing, newest, finish, commit, begin };
}
