import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKvAdapter, KV_BATCH_WEIGHT, prepareKv } from "../../../test/simulation/kv-adapter.ts";
import { pausingAdapter } from "../../../test/simulation/pausing-adapter.ts";
import type { Adapter } from "../../adapters/adapter.ts";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { VersionedStore } from "../../core/kv/store.ts";
import { AdapterHost } from "./adapter-host.ts";
import type { FromWorker } from "./protocol.ts";

const RANDOMNESS = new Uint8Array(32);
const CALLER = { actor: "a", certificate: "00" };

/** A host without any state of the key-value adapter, whose execution waits while `paused` is set. */
function emptyFixture() {
  const kv = createKvAdapter({
    sha256: (data) => data,
    now: () => 0,
    nextTurn: () => Promise.resolve(),
    randomBytes: (length) => new Uint8Array(length),
    log: () => {},
  });
  const world = {
    paused: undefined as Promise<void> | undefined,
    emitted: [] as FromWorker[],
    recreate: (_options: unknown): Adapter => kv,
    /** Takes its time with preparing. */
    whenPrepared: (done: () => void): unknown => done(),
  };
  const adapter = pausingAdapter(kv, () => world.paused);
  const store = new VersionedStore({ tables: adapter.tables, keptVersions: 4 });
  const host = new AdapterHost({
    adapter,
    recreate: (options) => world.recreate(options),
    store,
    preparer: { prepare: (transactions, done) => void world.whenPrepared(() => done(prepareKv(transactions))) },
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
    const items = lines.map((line) => ({ id: utf8Encode(line.split(/[|>]/)[0] ?? ""), body: utf8Encode(line) }));
    host.handle({ type: "execute", generation, timeMs: 0, randomness: RANDOMNESS, items });
  };
  const answers = () =>
    world.emitted.flatMap((message) =>
      message.type === "responses"
        ? message.responses.map(({ id, response }) => `${id} ${utf8Decode(response.body)}`)
        : [],
    );
  return { world, host, store, adapter, request, commit, execute, answers };
}

/** A host with the first state. */
function fixture() {
  const made = emptyFixture();
  made.host.handle({ type: "genesis", generation: 0, timeMs: 0, randomness: RANDOMNESS });
  made.commit(1);
  return made;
}

/** Pulls all parts of a version. */
function exported({ host, world }: ReturnType<typeof fixture>, version: number, maxBytes = 64): Bytes[] {
  host.handle({ type: "exportSnapshot", version, maxBytes });
  const parts: Bytes[] = [];
  for (;;) {
    host.handle({ type: "nextPart", version });
    const message = world.emitted.at(-1);
    assert.ok(message?.type === "snapshotPart");
    parts.push(message.part);
    if (message.last) return parts;
  }
}

function importAll({ host }: ReturnType<typeof fixture>, version: number, parts: readonly Bytes[]): void {
  parts.forEach((part, at) =>
    host.handle({ type: "importSnapshot", version, part, first: at === 0, last: at === parts.length - 1 }),
  );
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

  test("keeps a request for a version that is still to come, the first one too, until it is committed", () => {
    const { host, request, commit, answers } = emptyFixture();
    request(1, "?k");
    assert.match(answers()[0] ?? "", /^1 .*NotReady/, "nobody says that there will be one");
    const early = { id: 2, path: "/kv", body: utf8Encode("?k"), caller: CALLER, minVersion: 1 };
    host.handle({ type: "requests", leading: false, requests: [early] });
    host.handle({ type: "genesis", generation: 0, timeMs: 0, randomness: RANDOMNESS });
    assert.equal(answers().length, 1, "it is not committed yet");
    commit(1);
    assert.equal(answers().length, 2);
    assert.doesNotMatch(answers()[1] ?? "", /NotReady/);
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

  test("executes a batch of an adapter that makes no promise within the call", () => {
    const { world, execute, store } = fixture();
    execute(0, "a|k=1", "b|k=2");
    assert.equal(world.emitted.at(-1)?.type, "executed");
    assert.equal(store.headVersion, 2);
  });

  test("runs what is released in a batch that only took what the one before had no room for", () => {
    const { world, execute, store } = fixture();
    const taken = () => {
      const last = world.emitted.at(-1);
      assert.ok(last?.type === "executed");
      return { ids: last.transactions.map(({ id }) => utf8Decode(id)), more: last.more };
    };
    execute(0, "c>b|k=3", "b>a|k=2");
    execute(0, ...Array.from({ length: KV_BATCH_WEIGHT - 1 }, (_, at) => `t${at}|k=0`), "a|k=1");
    assert.equal(taken().more, true);
    execute(0);
    assert.deepEqual(taken(), { ids: ["b", "c", ""], more: false });
    assert.equal(store.headVersion, 3);
  });

  test("goes no further with a request that is forgotten while its transactions are prepared", () => {
    const { world, host, request } = fixture();
    const prepared: (() => void)[] = [];
    world.whenPrepared = (done) => prepared.push(done);
    request(1, "a|k=1");
    request(2, "b|k=1");
    host.handle({ type: "forget", ids: [1] });
    for (const done of prepared) done();
    const submitted = world.emitted.flatMap((message) => (message.type === "submit" ? message.submissions : []));
    assert.deepEqual(
      submitted.map(({ id }) => id),
      [2],
    );
  });

  test("tells of what was released and refused when it ran", () => {
    const { world, execute, adapter } = fixture();
    const [a, b] = ["a", "b"].map(utf8Encode);
    let runs = 0;
    const run = adapter.execute.bind(adapter);
    adapter.execute = (state, transaction) =>
      utf8Decode(transaction.id) === "b" && runs++ > 0
        ? { type: "rejected", error: a as Bytes }
        : run(state, transaction);
    execute(0, "b>a|k=2");
    execute(0, "a|k=1");
    const last = world.emitted.at(-1);
    assert.ok(last?.type === "executed");
    assert.deepEqual(last.dropped, [{ id: b, error: a }]);
    assert.equal(last.transactions.length, 2, "a, and the end of the batch");
  });

  test("answers that it is not ready as long as it has no state", () => {
    const { request, answers } = emptyFixture();
    request(1, "get k");
    assert.match(answers().join(), /^1 .*NotReady/);
  });

  test("stops when a change of its state fails", () => {
    const { world, host } = fixture();
    host.handle({ type: "apply", generation: 0, parts: [Uint8Array.of(1, 2, 3)] });
    assert.equal(world.emitted.at(-1)?.type, "failed");
  });
});

describe("a state as a whole", () => {
  test("goes from one worker to another in bounded parts, and is the same there", () => {
    const source = fixture();
    for (let at = 2; at < 12; at++) {
      source.execute(0, `t${at}|k${at % 4}=${String(at).repeat(1000)}`);
      source.commit(at);
    }
    const parts = exported(source, 11);
    assert.ok(parts.length > 3);
    const target = emptyFixture();
    importAll(target, 11, parts);
    assert.deepEqual(target.world.emitted.at(-1), { type: "imported", version: 11 });
    assert.equal(target.store.committedVersion, 11);
    assert.deepEqual(exported(target, 11), parts);
    for (const { execute, commit, request } of [source, target]) {
      execute(0, "t11|k0=12", "u|k0=13");
      commit(12);
      request(1, "get k0");
    }
    assert.deepEqual(target.answers().at(-1), "1 13");
    assert.deepEqual(exported(source, 12), exported(target, 12), "what came after it makes no difference");
  });

  test("is the version that was named, whatever is executed and committed before its last part is pulled", () => {
    const [still, moving] = [fixture(), fixture()];
    for (const { execute, commit } of [still, moving]) {
      execute(0, "a|k=1");
      commit(2);
    }
    const expected = exported(still, 2);
    moving.host.handle({ type: "exportSnapshot", version: 2, maxBytes: 64 });
    moving.world.paused = new Promise(() => {});
    moving.execute(0, "b|k=2");
    const parts = expected.map((_, at) => {
      moving.host.handle({ type: "nextPart", version: 2 });
      const message = moving.world.emitted.at(-1);
      assert.ok(message?.type === "snapshotPart");
      assert.equal(message.last, at === expected.length - 1);
      return message.part;
    });
    assert.deepEqual(parts, expected);
  });

  test("outlives its version in the store of who exports it", () => {
    const source = fixture();
    source.host.handle({ type: "exportSnapshot", version: 1, maxBytes: 64 });
    for (let at = 2; at < 12; at++) {
      source.execute(0, `t${at}|k=${at}`);
      source.commit(at);
    }
    assert.equal(source.store.reader(1), undefined);
    source.host.handle({ type: "nextPart", version: 1 });
    assert.equal(source.world.emitted.at(-1)?.type, "snapshotPart");
  });

  test("is said to be unavailable when it is not committed, not kept, ended, or another took its place", () => {
    const { host, world, execute, commit } = fixture();
    const said = () => world.emitted.filter(({ type }) => type === "snapshotUnavailable").length;
    execute(0, "a|k=1");
    host.handle({ type: "exportSnapshot", version: 2, maxBytes: 64 });
    assert.equal(said(), 1);
    commit(2);
    host.handle({ type: "exportSnapshot", version: 1, maxBytes: 64 });
    host.handle({ type: "exportSnapshot", version: 2, maxBytes: 1_000_000 });
    host.handle({ type: "nextPart", version: 1 });
    assert.equal(said(), 2);
    host.handle({ type: "nextPart", version: 2 });
    host.handle({ type: "nextPart", version: 2 });
    const last = world.emitted.at(-1);
    assert.ok(last?.type === "snapshotPart" && last.last);
    host.handle({ type: "nextPart", version: 2 });
    assert.equal(said(), 3);
  });

  test("takes the old one's place only with its last part, and a new beginning drops what came before", () => {
    const source = fixture();
    source.execute(0, "a|k=new");
    source.commit(2);
    const parts = exported(source, 2);
    const target = fixture();
    target.execute(0, "b|k=old");
    target.commit(2);
    target.execute(0, "c|k=uncommitted");
    parts.slice(0, -1).forEach((part, at) => {
      target.host.handle({ type: "importSnapshot", version: 2, part, first: at === 0, last: false });
      assert.deepEqual(target.world.emitted.at(-1), { type: "nextPart", version: 2 });
    });
    target.request(1, "get k");
    importAll(target, 2, parts);
    target.request(2, "get k");
    assert.deepEqual(target.answers(), ["1 old", "2 new"]);
    assert.equal(target.store.headVersion, 2);
  });

  test("ends the worker when a part of it is not what an export makes", () => {
    const parts = exported(fixture(), 1);
    const [preface, ...rest] = parts as [Bytes, ...Bytes[]];
    const damaged: (readonly Bytes[])[] = [
      [Uint8Array.of(9), ...rest],
      [preface.subarray(0, -1), ...rest],
      [preface, Uint8Array.of(1, 2, 3)],
      [exported(fixture(), 1)[1] as Bytes],
    ];
    for (const wrong of damaged) {
      const target = emptyFixture();
      importAll(target, 1, wrong);
      assert.equal(target.world.emitted.at(-1)?.type, "failed");
      assert.equal(target.store.committedVersion, 0);
    }
    const target = emptyFixture();
    target.host.handle({ type: "importSnapshot", version: 1, part: preface, first: false, last: false });
    assert.equal(target.world.emitted.at(-1)?.type, "failed", "a part of an import that was not begun");
  });
});

describe("an adapter that is configured", () => {
  test("goes on from its state under other options, and hears of it as of a state that came as a whole", () => {
    const { host, world, request, execute, commit, answers } = fixture();
    execute(0, "a|x=1");
    commit(2);
    const options: unknown[] = [];
    const restored: (readonly [version: number, recent: readonly number[]])[] = [];
    const before = world.recreate;
    world.recreate = (given) => {
      options.push(given);
      const made = before(given);
      return {
        ...made,
        restored: (state, recent) => {
          restored.push([state.version, recent.map(({ version }) => version)]);
          made.restored(state, recent);
        },
      };
    };
    host.handle({ type: "configure", options: { limit: 7 } });
    assert.deepEqual([options, restored], [[{ limit: 7 }], [[2, [1, 2]]]]);
    request(1, "get x");
    assert.deepEqual(answers(), ["1 1"]);
    execute(0, "b|x=2");
    commit(3);
    request(2, "get x");
    assert.deepEqual(answers(), ["1 1", "2 2"]);
  });

  test("says so when it cannot take the options, or would have other tables, and keeps its state until it can", () => {
    for (const recreate of [
      (): Adapter => {
        throw new CocoError("ConstitutionInvalid", "limit is not known");
      },
      (made: Adapter): Adapter => ({ ...made, tables: made.tables.slice(1) }),
    ]) {
      const { host, world, execute, commit, request, answers } = fixture();
      const before = world.recreate;
      world.recreate = (options) => recreate(before(options));
      host.handle({ type: "configure", options: {} });
      assert.equal(world.emitted.at(-1)?.type, "unable");
      execute(0, "a|x=1");
      commit(2);
      world.recreate = before;
      host.handle({ type: "configure", options: {} });
      assert.equal(world.emitted.at(-1)?.type, "ready");
      request(1, "get x");
      assert.deepEqual(answers(), ["1 1"]);
    }
  });
});
