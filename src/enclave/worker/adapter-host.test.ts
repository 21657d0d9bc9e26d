import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKvAdapter, prepareKv } from "../../../test/simulation/kv-adapter.ts";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { VersionedStore } from "../../core/kv/store.ts";
import { AdapterHost } from "./adapter-host.ts";
import type { FromWorker } from "./protocol.ts";

const RANDOMNESS = new Uint8Array(32);
const CALLER = { actor: "a", certificate: "00" };

/** A host of the key-value adapter whose execution waits while `paused` is set. */
function fixture() {
  const world = { paused: undefined as Promise<void> | undefined, emitted: [] as FromWorker[] };
  const adapter = createKvAdapter({ pause: () => world.paused })({
    sha256: (data) => data,
    now: () => 0,
    nextTurn: () => Promise.resolve(),
    randomBytes: (length) => new Uint8Array(length),
    log: () => {},
  });
  const store = new VersionedStore({ tables: adapter.tables, keptVersions: 4 });
  const host = new AdapterHost({
    adapter,
    store,
    preparer: { prepare: (transactions, done) => done(prepareKv(transactions)) },
    emit: (message) => world.emitted.push(message),
    defer: (callback) => callback(),
    log: () => {},
  });
  const request = (id: number, body: string) =>
    host.handle({
      type: "requests",
      leading: false,
      requests: [{ id, path: "/kv", body: utf8Encode(body), caller: CALLER }],
    });
  const commit = (version: number) =>
    host.handle({ type: "commit", batches: [{ version, view: 2, firstSeqno: version, count: 1 }] });
  const execute = (generation: number, ...lines: string[]) => {
    const items = lines.map((line) => ({ id: utf8Encode(line.split("|")[0] ?? ""), body: utf8Encode(line) }));
    host.handle({ type: "execute", generation, timeMs: 0, randomness: RANDOMNESS, items });
  };
  const answers = () =>
    world.emitted.flatMap((message) =>
      message.type === "responses"
        ? message.responses.map(({ id, response }) => `${id} ${utf8Decode(response.body)}`)
        : [],
    );
  host.handle({ type: "genesis", generation: 0, timeMs: 0, randomness: RANDOMNESS });
  commit(1);
  return { world, host, store, request, commit, execute, answers };
}

/** Lets promises settle. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Write sets of a batch with one transaction, as another node would send them. */
async function executedElsewhere(line: string): Promise<Bytes[]> {
  const { world, execute } = fixture();
  execute(0, line);
  await settled();
  const last = world.emitted.at(-1);
  assert.ok(last?.type === "executed");
  return last.transactions.flatMap(({ publicPart, privatePart }) => [publicPart, privatePart]);
}

describe("an adapter host", () => {
  test("executes a batch in order and tells what became of each transaction", async () => {
    const { world, execute, store } = fixture();
    execute(0, "a|k=1", "b|=x", "a|k=2");
    await settled();
    const last = world.emitted.at(-1);
    assert.ok(last?.type === "executed");
    assert.deepEqual(
      last.outcomes.map(({ type }) => type),
      ["included", "rejected", "duplicate"],
    );
    assert.equal(store.headVersion, 2);
  });

  test("answers only after the versions its answer speaks of, also behind a batch that is executing", async () => {
    const parts = await executedElsewhere("a|k=1");
    const { world, host, request, commit, execute, answers } = fixture();
    request(1, "a|k=1");
    let resume = () => {};
    world.paused = new Promise((resolve) => {
      resume = resolve;
    });
    execute(0, "other|k=9");
    // The node stops leading while it executes, and the next leader's batch is committed at once.
    host.handle({ type: "rollback", version: 1, generation: 1 });
    host.handle({ type: "apply", generation: 1, parts });
    commit(2);
    host.handle({
      type: "outcomes",
      requests: [{ id: 1, outcomes: [{ type: "included", result: EMPTY, position: 0 }] }],
    });
    assert.deepEqual(answers(), []);
    resume();
    await settled();
    assert.deepEqual(answers(), ["1 included visible"]);
  });

  test("answers requests and commits while a batch is executing", async () => {
    const { world, request, commit, execute, answers, store } = fixture();
    execute(0, "a|k=1");
    await settled();
    world.paused = new Promise(() => {});
    execute(0, "b|k=2");
    commit(2);
    request(1, "get k");
    assert.equal(store.committedVersion, 2);
    assert.deepEqual(answers(), ["1 1"]);
  });

  test("stops when a change of its state fails", () => {
    const { world, host } = fixture();
    host.handle({ type: "apply", generation: 0, parts: [Uint8Array.of(1, 2, 3)] });
    assert.equal(world.emitted.at(-1)?.type, "failed");
  });
});
