import { describe, test } from "node:test";
import assert from "node:assert/strict";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { type Bytes, toHex } from "../codec/bytes.ts";
import { ASYNC_READS_MAX, ASYNC_TRANSACTIONS_MAX, type AsyncTransaction } from "./async-transaction.ts";
import type { BatchDraft, WriteSetParts } from "./draft.ts";
import { exportState, SMALLEST_PART_BYTES } from "./state-parts.ts";
import { VersionedStore } from "./store.ts";
import type { StateReader, StateWriter } from "./types.ts";

const OPEN = 1;
const SEALED = 2;
const TABLES = [
  { id: OPEN, name: "public:open" },
  { id: SEALED, name: "sealed" },
];

const make = (): VersionedStore => new VersionedStore({ tables: TABLES, keptVersions: 1 });
const b = (...bytes: number[]): Bytes => Uint8Array.from(bytes);

function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === code;
}

/** Repeatable pseudo-random numbers below a bound (mulberry32). */
function generator(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

function run(draft: BatchDraft, write: (writer: StateWriter) => void): WriteSetParts {
  const transaction = draft.begin();
  write(transaction);
  return transaction.keep();
}

function publish(store: VersionedStore, write: (writer: StateWriter) => void): void {
  const draft = store.beginBatch();
  run(draft, write);
  draft.publish();
}

/** Everything a version holds, versions of keys included. */
function stateOf(reader: StateReader | undefined): string {
  assert.ok(reader);
  return [...exportState(reader, TABLES, SMALLEST_PART_BYTES)].map(toHex).join();
}

function merged(store: VersionedStore, transaction: AsyncTransaction): boolean {
  const draft = store.beginBatch();
  const result = draft.merge(transaction);
  if (result === "conflict") draft.abandon();
  else draft.publish();
  return result !== "conflict";
}

const KEYS = 12;

/** A small program over few keys whose writes are all derived from what it read, so that a stale read shows in them. */
class Program {
  readonly #random: (bound: number) => number;
  #sum = 0;

  constructor(seed: number) {
    this.#random = generator(seed);
  }

  /** One step; a program that is run again step by step does the same again as far as it reads the same. */
  step(state: StateWriter): void {
    const random = this.#random;
    const table = random(4) === 0 ? OPEN : SEALED;
    const key = b(1 + random(KEYS));
    const kind = random(12);
    const [low, high, limit] = [random(KEYS), random(KEYS), random(4)];
    if (kind < 4) this.#sum += (state.get(table, key)?.[0] ?? 97) + 1;
    else if (kind === 4) this.#sum += state.versionOf(table, key) === undefined ? 1 : 2;
    else if (kind < 7) this.#scan(state.scan(table, b(low), b(high), kind === 5 ? limit : undefined), limit);
    else if (kind < 10) state.put(table, key, b(this.#sum & 255, random(256)));
    else state.delete(table, key);
  }

  /** Some scans are broken off after a few entries. */
  #scan(entries: Iterable<readonly [Bytes, Bytes]>, most: number): void {
    let count = 0;
    for (const [key, value] of entries) {
      this.#sum += 31 * (key[0] as number) + (value[0] as number);
      if (++count > most) return;
    }
    this.#sum += 7;
  }
}

interface Running {
  readonly transaction: AsyncTransaction;
  readonly program: Program;
  readonly seed: number;
  readonly steps: number;
  done: number;
}

/** A store under test beside one that executes the kept transactions one after the other, in the order they were kept. */
class Interleaving {
  readonly store = make();
  readonly serial = make();
  readonly random: (bound: number) => number;
  readonly running: Running[] = [];
  conflicts = 0;
  merges = 0;

  constructor(seed: number) {
    this.random = generator(seed);
  }

  batch(): void {
    const { random } = this;
    const drafts = [this.store.beginBatch(), this.serial.beginBatch()] as const;
    for (let left = 1 + random(3); left > 0; left--) {
      if (random(2) === 0) this.#ordinary(drafts);
      else if (this.running.length > 0) this.#merge(drafts);
    }
    this.advance();
    const abandons = random(8) === 0;
    for (const draft of drafts) {
      if (abandons) draft.abandon();
      else draft.publish();
    }
    if (random(10) === 0) {
      const to = this.store.committedVersion + random(this.store.headVersion - this.store.committedVersion + 1);
      for (const store of [this.store, this.serial]) store.rollback(to);
    }
    if (random(4) === 0) for (const store of [this.store, this.serial]) store.commit(store.headVersion);
  }

  begin(): void {
    const seed = this.random(1 << 30);
    const uncommitted = this.store.headVersion - this.store.committedVersion;
    const transaction = this.store.beginAsync(this.store.headVersion - this.random(uncommitted + 1));
    this.running.push({ transaction, program: new Program(seed), seed, steps: 1 + this.random(6), done: 0 });
  }

  /** Asynchronous transactions go on a little, each on the version it began on. */
  advance(): void {
    for (const one of this.running) {
      if (one.done < one.steps && this.random(2) === 0) {
        one.program.step(one.transaction);
        one.done++;
      }
    }
  }

  #ordinary([draft, serial]: readonly [BatchDraft, BatchDraft]): void {
    const seed = this.random(1 << 30);
    const program = (writer: StateWriter): void => {
      const one = new Program(seed);
      for (let left = 2; left > 0; left--) one.step(writer);
    };
    assert.deepEqual(run(draft, program), run(serial, program));
  }

  #merge([draft, serial]: readonly [BatchDraft, BatchDraft]): void {
    const [one] = this.running.splice(this.random(this.running.length), 1) as [Running];
    for (; one.done < one.steps; one.done++) one.program.step(one.transaction);
    const kept = draft.merge(one.transaction);
    if (kept === "conflict") {
      this.conflicts++;
      return;
    }
    this.merges++;
    const again = run(serial, (writer) => {
      const program = new Program(one.seed);
      for (let left = one.steps; left > 0; left--) program.step(writer);
    });
    assert.deepEqual(
      [toHex(kept.publicPart), toHex(kept.privatePart)],
      [toHex(again.publicPart), toHex(again.privatePart)],
    );
  }
}

describe("asynchronous transactions", () => {
  test("kept ones give the state of a sequential execution in the order kept; conflicting ones leave nothing behind", () => {
    let conflicts = 0;
    let merges = 0;
    for (let seed = 0; conflicts + merges < 100_000; seed++) {
      const system = new Interleaving(seed);
      for (let step = 0; step < 400; step++) {
        if (system.running.length < 6) system.begin();
        system.advance();
        system.batch();
      }
      const { store, serial } = system;
      assert.equal(stateOf(store.reader(store.headVersion)), stateOf(serial.reader(serial.headVersion)));
      conflicts += system.conflicts;
      merges += system.merges;
    }
    assert.ok(conflicts > 20_000, `${conflicts} conflicts`);
    assert.ok(merges > 20_000, `${merges} merges`);
  });

  /** What is read, what happens meanwhile, and whether it conflicts. Present before: keys 2, 4 and 6. */
  const cases: readonly (readonly [string, (state: StateWriter) => void, (state: StateWriter) => void, boolean])[] = [
    ["a key read and written", (state) => state.get(SEALED, b(2)), (state) => state.put(SEALED, b(2), b(2)), true],
    ["a key read and deleted", (state) => state.get(SEALED, b(2)), (state) => state.delete(SEALED, b(2)), true],
    ["an absent key read and made", (state) => state.get(SEALED, b(3)), (state) => state.put(SEALED, b(3), b(0)), true],
    [
      "an absent key read and deleted again",
      (state) => state.get(SEALED, b(3)),
      (state) => state.delete(SEALED, b(3)),
      false,
    ],
    ["the version of a key", (state) => state.versionOf(SEALED, b(2)), (state) => state.put(SEALED, b(2), b(2)), true],
    ["another key", (state) => state.get(SEALED, b(2)), (state) => state.put(SEALED, b(4), b(2)), false],
    ["the key in another table", (state) => state.get(SEALED, b(2)), (state) => state.put(OPEN, b(2), b(2)), false],
    [
      "a key written without reading",
      (state) => state.put(SEALED, b(2), b(1)),
      (state) => state.put(SEALED, b(2), b(2)),
      false,
    ],
    [
      "a key read back",
      (state) => {
        state.put(SEALED, b(2), b(1));
        state.get(SEALED, b(2));
      },
      (state) => state.put(SEALED, b(2), b(2)),
      false,
    ],
    [
      "an entry of a range",
      (state) => [...state.scan(SEALED, b(3), b(5))],
      (state) => state.put(SEALED, b(4), b(2)),
      true,
    ],
    [
      "a phantom in a range",
      (state) => [...state.scan(SEALED, b(3), b(5))],
      (state) => state.put(SEALED, b(3), b(2)),
      true,
    ],
    [
      "a phantom in an empty range",
      (state) => [...state.scan(SEALED, b(7), b(9))],
      (state) => state.put(SEALED, b(8), b(2)),
      true,
    ],
    [
      "a phantom at an open end",
      (state) => [...state.scan(SEALED, b(5))],
      (state) => state.put(SEALED, b(99), b(2)),
      true,
    ],
    ["an entry of a range deleted", (state) => [...state.scan(SEALED)], (state) => state.delete(SEALED, b(6)), true],
    [
      "a key beside a range",
      (state) => [...state.scan(SEALED, b(3), b(5))],
      (state) => state.put(SEALED, b(5), b(2)),
      false,
    ],
    [
      "a key behind the limit of a scan",
      (state) => [...state.scan(SEALED, b(1), undefined, 1)],
      (state) => state.put(SEALED, b(3), b(2)),
      false,
    ],
    [
      "a key before the limit of a scan",
      (state) => [...state.scan(SEALED, b(1), undefined, 1)],
      (state) => state.put(SEALED, b(1), b(2)),
      true,
    ],
    [
      "a key behind where a scan was broken off",
      (state) => state.scan(SEALED).next(),
      (state) => state.put(SEALED, b(3), b(2)),
      false,
    ],
    ["a scan not begun", (state) => state.scan(SEALED), (state) => state.put(SEALED, b(2), b(2)), false],
    [
      "a scan of nothing",
      (state) => [...state.scan(SEALED, undefined, undefined, 0)],
      (state) => state.put(SEALED, b(2), b(2)),
      false,
    ],
    [
      "a key between the last entry and an own one",
      (state) => {
        state.put(SEALED, b(9), b(1));
        [...state.scan(SEALED, b(5), undefined, 2)];
      },
      (state) => state.put(SEALED, b(8), b(2)),
      true,
    ],
  ];
  for (const [what, read, write, conflicts] of cases) {
    test(`${what}: ${conflicts ? "conflict" : "no conflict"}, in an earlier batch and in the same one`, () => {
      for (const same of [false, true]) {
        const store = make();
        publish(store, (state) => [2, 4, 6].forEach((key) => state.put(SEALED, b(key), b(1))));
        const transaction = store.beginAsync();
        read(transaction);
        transaction.put(OPEN, b(77), b(77));
        if (!same) publish(store, write);
        const draft = store.beginBatch();
        if (same) run(draft, write);
        const before = stateOf(draft.reader);
        const result = draft.merge(transaction);
        assert.equal(result === "conflict", conflicts);
        assert.equal(stateOf(draft.reader) === before, conflicts);
        assert.equal(
          [...draft.publish().written].some(({ key }) => key[0] === 77),
          !conflicts,
        );
      }
    });
  }

  test("a version that was rolled back is not taken for one of the same number", () => {
    const store = make();
    publish(store, (state) => state.put(SEALED, b(1), b(1)));
    const before = store.beginAsync();
    publish(store, (state) => state.put(SEALED, b(2), b(1)));
    const after = store.beginAsync();
    assert.deepEqual(after.get(SEALED, b(2)), b(1));
    before.get(SEALED, b(2));
    store.rollback(1);
    assert.equal(store.reader(1)?.versionOf(SEALED, b(2)), undefined);
    publish(store, (state) => state.put(SEALED, b(2), b(9)));
    assert.equal(merged(store, after), false);
    assert.equal(merged(store, before), false);
    store.rollback(1);
    const again = store.beginAsync(1);
    again.get(SEALED, b(2));
    assert.equal(merged(store, again), true);
  });

  test("it reads its own version and its own writes, and may outlive the version", () => {
    const store = make();
    publish(store, (state) => state.put(SEALED, b(1), b(1)));
    const transaction = store.beginAsync();
    transaction.put(SEALED, b(2), b(2));
    transaction.delete(SEALED, b(1));
    for (let round = 0; round < 5; round++) {
      publish(store, (state) => state.put(SEALED, b(3), b(round)));
      store.commit(store.headVersion);
    }
    assert.equal(store.reader(1), undefined);
    assert.equal(transaction.version, 2);
    assert.deepEqual([transaction.get(SEALED, b(1)), transaction.get(SEALED, b(3))], [undefined, undefined]);
    assert.deepEqual([transaction.versionOf(SEALED, b(1)), transaction.versionOf(SEALED, b(2))], [undefined, 2]);
    assert.deepEqual(
      [...transaction.scan(SEALED)].map(([key]) => toHex(key)),
      ["02"],
    );
    assert.equal(merged(store, transaction), false);
  });

  test("reads and open transactions are bounded", () => {
    const store = make();
    publish(store, (state) => state.put(SEALED, b(1), b(1)));
    const transaction = store.beginAsync();
    for (let left = ASYNC_READS_MAX; left > 0; left--) transaction.get(SEALED, b(1));
    assert.throws(() => transaction.get(SEALED, b(1)), refused("LimitExceeded"));
    assert.throws(() => [...transaction.scan(SEALED)], refused("LimitExceeded"));
    const others = Array.from({ length: ASYNC_TRANSACTIONS_MAX - 1 }, () => store.beginAsync());
    assert.throws(() => store.beginAsync(), refused("TooManyRequests"));
    others[0]?.discard();
    assert.equal(merged(store, transaction), true);
    store.beginAsync().discard();
    store.beginAsync();
    store.beginAsync();
    assert.throws(() => store.beginAsync(), refused("TooManyRequests"));
  });

  test("misuse is refused", () => {
    const store = make();
    assert.throws(() => store.beginAsync(1), refused("Internal"));
    const transaction = store.beginAsync();
    assert.throws(() => make().beginBatch().merge(transaction), refused("Internal"));
    assert.throws(() => transaction.get(3, b(1)), refused("Internal"));
    assert.throws(() => transaction.get(SEALED, b()), refused("MalformedInput"));
    assert.throws(() => transaction.put(SEALED, b(), b(1)), refused("MalformedInput"));
    const draft = store.beginBatch();
    const open = draft.begin();
    assert.throws(() => draft.merge(transaction), refused("Internal"));
    open.discard();
    transaction.discard();
    assert.throws(() => draft.merge(transaction), refused("Internal"));
    assert.throws(() => transaction.get(SEALED, b(1)), refused("Internal"));
    assert.throws(() => transaction.discard(), refused("Internal"));
  });
});
