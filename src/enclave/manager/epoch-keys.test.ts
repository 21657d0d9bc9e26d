import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bytesEqual, toHex, type Bytes } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { constitutionOf, GovernedNetwork } from "../../../test/support/governed-network.ts";
import { ENDED_EPOCH_KEYS_MAX, EpochKeys } from "./epoch-keys.ts";

const CACHE_MS = 1_000;

/** A clock that is moved by hand. */
class HandClock {
  time = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.time;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.time + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const until = this.time + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= until).sort((left, right) => left.at - right.at)[0];
      if (next === undefined) break;
      this.time = next.at;
      this.#timers = this.#timers.filter((other) => other !== next);
      next.callback();
    }
    this.time = until;
  }

  get pending(): number {
    return this.#timers.length;
  }
}

/** A network whose epochs are opened by votes, and the keys one node holds of them. */
class Bench {
  readonly network = new GovernedNetwork([0, 1, 2], { epoch: { lengthMs: 0, keyCacheMs: CACHE_MS } });
  readonly clock = new HandClock();
  readonly opened: { readonly epoch: number; readonly key: Bytes }[] = [];
  readonly wiped: number[] = [];
  committed: GovernanceState | undefined;
  readonly keys = new EpochKeys({
    clock: this.clock,
    committed: () => this.committed,
    open: ({ epoch }) => {
      const key = new Uint8Array(32).fill(epoch);
      this.opened.push({ epoch, key });
      return key;
    },
  });

  constructor() {
    this.keys.onWiped((epoch) => this.wiped.push(epoch));
  }

  commit(): void {
    this.committed = this.network.state;
    this.keys.refresh();
  }

  /** Appends the next epoch to the log, without committing it. */
  append(): void {
    this.network.decide({ name: "open_epoch", args: {} });
    this.network.execute(this.network.epoch());
  }

  /** The buffer in which the key of an epoch was handed out last. */
  buffer(epoch: number): Bytes {
    const found = this.opened.findLast((entry) => entry.epoch === epoch);
    assert.ok(found);
    return found.key;
  }
}

const isZero = (bytes: Bytes): boolean => bytes.every((byte) => byte === 0);

describe("epoch keys", () => {
  test("are there for committed epochs only", () => {
    const bench = new Bench();
    assert.equal(bench.keys.newest, 0);
    assert.equal(bench.keys.keyOf(1), undefined);
    bench.commit();
    assert.equal(bench.keys.newest, 1);
    bench.append();
    assert.equal(bench.network.state.epochs.length, 2);
    assert.equal(bench.keys.newest, 1);
    assert.equal(bench.keys.keyOf(2), undefined);
    bench.commit();
    assert.equal(bench.keys.newest, 2);
    assert.ok(bytesEqual(bench.keys.keyOf(2) ?? new Uint8Array(), new Uint8Array(32).fill(2)));
    for (const epoch of [0, 3, -1, 1.5, Number.MAX_SAFE_INTEGER]) assert.equal(bench.keys.keyOf(epoch), undefined);
  });

  test("of an ended epoch are overwritten when their time is over, and the newest never", () => {
    const bench = new Bench();
    bench.commit();
    const first = bench.buffer(1);
    bench.append();
    bench.commit();
    bench.clock.advance(CACHE_MS - 1);
    assert.ok(!isZero(first));
    assert.deepEqual(bench.wiped, []);
    bench.clock.advance(1);
    assert.ok(isZero(first));
    assert.deepEqual(bench.wiped, [1]);
    bench.clock.advance(1_000 * CACHE_MS);
    assert.ok(!isZero(bench.buffer(2)));
    assert.equal(bench.clock.pending, 0);
  });

  test("are opened again when an old batch has to be read, and overwritten again", () => {
    const bench = new Bench();
    bench.commit();
    bench.append();
    bench.commit();
    bench.clock.advance(CACHE_MS);
    assert.equal(bench.opened.filter(({ epoch }) => epoch === 1).length, 1);
    assert.equal(bench.keys.keyOf(1)?.[0], 1);
    assert.equal(bench.keys.keyOf(1)?.[0], 1);
    assert.equal(bench.opened.filter(({ epoch }) => epoch === 1).length, 2);
    bench.clock.advance(CACHE_MS);
    assert.ok(isZero(bench.buffer(1)));
  });

  test("of ended epochs are few at any time", () => {
    const bench = new Bench();
    for (let epoch = 1; epoch <= 3 * ENDED_EPOCH_KEYS_MAX; epoch++) {
      if (epoch > 1) bench.append();
      bench.commit();
    }
    for (let epoch = 1; epoch < 3 * ENDED_EPOCH_KEYS_MAX; epoch++) bench.keys.keyOf(epoch);
    const held = bench.opened.filter(({ key }) => !isZero(key));
    assert.equal(held.length, ENDED_EPOCH_KEYS_MAX + 1);
    assert.equal(held.filter(({ epoch }) => epoch === 3 * ENDED_EPOCH_KEYS_MAX).length, 1);
  });

  test("are overwritten when the node stops", () => {
    const bench = new Bench();
    bench.commit();
    bench.append();
    bench.commit();
    bench.keys.close();
    assert.ok(bench.opened.every(({ key }) => isZero(key)));
    assert.equal(bench.clock.pending, 0);
  });

  test("leave memory at once when the setting says so", () => {
    const bench = new Bench();
    const { settings } = constitutionOf([0]);
    const epoch = { ...settings.epoch, lengthMs: 0, keyCacheMs: 0 };
    const { constitution } = bench.network.state;
    bench.network.state = {
      ...bench.network.state,
      constitution: { ...constitution, settings: { ...settings, epoch } },
    };
    bench.commit();
    const first = bench.buffer(1);
    bench.committed = {
      ...bench.network.state,
      epochs: [...bench.network.state.epochs, ...bench.network.state.epochs],
    };
    bench.keys.refresh();
    assert.ok(isZero(first), toHex(first));
  });
});
