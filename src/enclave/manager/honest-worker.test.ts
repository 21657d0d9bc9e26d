import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createKvAdapter, KV_BATCH_WEIGHT, prepareKv } from "../../../test/simulation/kv-adapter.ts";
import { bytesKey, utf8Encode } from "../../core/codec/bytes.ts";
import { VersionedStore } from "../../core/kv/store.ts";
import { AdapterHost } from "../worker/adapter-host.ts";
import type { FromWorker, ToWorker, TransactionItem } from "../worker/protocol.ts";
import { WorkerGuard } from "./worker-guard.ts";

const CONTEXT = { timeMs: 1, randomness: new Uint8Array(32) };
const ROUNDS_MAX = 10_000;

/** A worker as it should be, judged by a guard; batches are made as a lane makes them. */
class JudgedWorker {
  readonly #guard = new WorkerGuard({ writtenBytes: () => 0 });
  readonly #host: AdapterHost;
  #last: Extract<FromWorker, { type: "executed" }> | undefined;
  readonly #parked = new Map<string, TransactionItem>();
  #queue: TransactionItem[] = [];
  #generation = 0;
  #version = 0;
  more = false;

  constructor() {
    const adapter = createKvAdapter({
      sha256: (data) => data,
      now: () => 0,
      nextTurn: () => Promise.resolve(),
      randomBytes: (length) => new Uint8Array(length),
      log: () => {},
    });
    this.#host = new AdapterHost({
      adapter,
      recreate: () => adapter,
      store: new VersionedStore({ tables: adapter.tables, keptVersions: 4 }),
      preparer: { prepare: (transactions, done) => done(prepareKv(transactions)) },
      emit: (message) => {
        const taken = this.#guard.take(message);
        if (taken.type === "executed") this.#last = taken;
      },
      defer: (callback) => callback(),
      log: () => {},
    });
    this.#guard.take({ type: "ready", tables: adapter.tables });
    this.#send({ type: "genesis", generation: 0, ...CONTEXT });
    this.#version = 1;
  }

  #send(message: ToWorker): void {
    this.#guard.sent(message);
    this.#host.handle(message);
  }

  get waits(): number {
    return this.#queue.length;
  }

  add(lines: readonly string[]): void {
    for (const line of lines) this.#queue.push({ id: utf8Encode(line.split(/[|>]/)[0] ?? ""), body: utf8Encode(line) });
  }

  execute(transactions: number): void {
    const items = this.#queue.splice(0, transactions);
    this.#send({ type: "execute", generation: this.#generation, ...CONTEXT, items });
    const executed = this.#last;
    assert.ok(executed?.outcomes.length === items.length);
    this.more = executed.more;
    if (executed.transactions.length > 0) this.#version++;
    for (const { id } of [...executed.transactions, ...executed.dropped]) this.#parked.delete(bytesKey(id));
    const deferred = items.filter((item, at) => {
      if (executed.outcomes[at]?.type === "waiting") this.#parked.set(bytesKey(item.id), item);
      return executed.outcomes[at]?.type === "deferred";
    });
    this.#queue.unshift(...deferred);
  }

  rollBack(): void {
    this.#generation++;
    this.#send({ type: "rollback", version: this.#version, generation: this.#generation });
    this.#queue.unshift(...this.#parked.values());
    this.#parked.clear();
    this.more = false;
  }
}

const line = fc
  .tuple(fc.nat(60), fc.option(fc.nat(60)), fc.constantFrom("k", ""))
  .map(([id, other, key]) => `t${id}${other === null ? "" : `>t${other}`}|${key}=v`);
/** Each waits for the one before, and the first comes last: more than a batch has room for is released at once. */
const chain = fc
  .nat(60)
  .map((length) => [...Array.from({ length }, (_, at) => `t${length - at}>t${length - at - 1}|k=v`), "t0|k=v"]);
const step = fc.oneof(
  { weight: 1, arbitrary: chain.map((lines) => ({ type: "add" as const, lines })) },
  { weight: 3, arbitrary: fc.array(line, { maxLength: 30 }).map((lines) => ({ type: "add" as const, lines })) },
  { weight: 4, arbitrary: fc.nat(2 * KV_BATCH_WEIGHT).map((count) => ({ type: "execute" as const, count })) },
  { weight: 1, arbitrary: fc.constant({ type: "rollBack" as const }) },
);

describe("a worker that keeps to the rules", () => {
  test("says nothing that its guard refuses, and comes to an end", () => {
    let wentOn = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const worker = new JudgedWorker();
        for (const one of steps) {
          if (one.type === "add") worker.add(one.lines);
          else if (one.type === "rollBack") worker.rollBack();
          else worker.execute(one.count);
        }
        if (worker.more) wentOn++;
        let rounds = 0;
        for (; (worker.more || worker.waits > 0) && rounds < ROUNDS_MAX; rounds++) worker.execute(KV_BATCH_WEIGHT);
        assert.ok(rounds < ROUNDS_MAX);
      }),
      { numRuns: 300, seed: 1 },
    );
    assert.ok(wentOn > 0, "some of them had more to execute at the end");
  });
});
