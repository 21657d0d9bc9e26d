/**
 * Speed and memory of the store by itself: `node [--expose-gc] dist/bench/core-kv.js [--keys N] [--json]`. One transaction is one
 * put of a 100-byte value under a 32-byte key that exists, batches have 100 transactions, and every batch is published and committed
 * with two older versions kept. Memory is what the process holds for the keys when they were put in random order.
 */
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { VersionedStore } from "../src/core/kv/store.ts";
import { figure, percentile } from "./lib/statistics.ts";
import { renderTable } from "./lib/table.ts";

const TABLE = 1;
const KEY_BYTES = 32;
const VALUE_BYTES = 100;
const BATCH = 100;
const FILL_BATCH = 1000;
const KEPT_VERSIONS = 2;
const SMALL_KEYS = 1000;
const MEASURED_BATCHES = 500;
const WARM_UP_BATCHES = 300;
/** Repetitions, of which the median counts: the machine is shared. */
const ROUNDS = 5;
const DEFAULT_KEYS = 1_000_000;

/** What is measured. */
export interface StoreMeasurement {
  readonly keys: number;
}

/** What was measured. Times are processor microseconds (the machine is shared) per transaction of one put, bytes are per key. */
export interface StoreFigures {
  readonly smallPutUs: number;
  readonly putUs: number;
  /** Throughput with all keys in parts of that with 1,000 keys. */
  readonly ratio: number;
  /** Growth of the resident set per key. */
  readonly residentBytesPerKey: number;
  /** Growth of heap and array buffers per key, after a collection when the process was started with `--expose-gc`. */
  readonly heapBytesPerKey: number;
  readonly fillSeconds: number;
}

/** Key number `number`, in no order: 32 bytes of a mixed counter. */
function makeKey(number: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  const view = new DataView(key.buffer);
  for (let at = 0; at < KEY_BYTES; at += 4) {
    let mixed = Math.imul(number + at + 1, 0x9e3779b1) ^ at;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    view.setUint32(at, mixed ^ (mixed >>> 16));
  }
  view.setUint32(KEY_BYTES - 4, number);
  return key;
}

function runBatch(store: VersionedStore, keys: readonly Uint8Array[], value: Uint8Array): void {
  const draft = store.beginBatch();
  for (const key of keys) {
    const transaction = draft.begin();
    transaction.put(TABLE, key, value);
    transaction.keep();
  }
  store.commit(draft.publish().version);
}

function fill(keys: number): VersionedStore {
  const store = new VersionedStore({ tables: [{ id: TABLE, name: "values" }], keptVersions: KEPT_VERSIONS });
  for (let from = 0; from < keys; from += FILL_BATCH) {
    const draft = store.beginBatch();
    const transaction = draft.begin();
    for (let at = from; at < Math.min(keys, from + FILL_BATCH); at++) {
      transaction.put(TABLE, makeKey(at), new Uint8Array(VALUE_BYTES).fill(at));
    }
    transaction.keep();
    store.commit(draft.publish().version);
  }
  return store;
}

/** Processor microseconds per transaction, collection of garbage included; keys are made outside the measured time. */
function putTime(store: VersionedStore, count: number, batches: number): number {
  const value = new Uint8Array(VALUE_BYTES).fill(7);
  const keys = Array.from({ length: batches }, () =>
    Array.from({ length: BATCH }, () => makeKey(Math.floor(Math.random() * count))),
  );
  const start = process.cpuUsage();
  for (const [batch, chosen] of keys.entries()) {
    value[0] = batch;
    runBatch(store, chosen, value);
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / (batches * BATCH);
}

interface Memory {
  readonly resident: number;
  readonly heap: number;
}

function memory(): Memory {
  const { gc } = globalThis as { gc?: () => void };
  for (let pass = 0; pass < 3; pass++) gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { resident: rss, heap: heapUsed + arrayBuffers };
}

/** Fills one store with 1,000 keys and one with `keys`, and measures both, in turns. */
export function measureStore({ keys }: StoreMeasurement): StoreFigures {
  const small = fill(SMALL_KEYS);
  putTime(small, SMALL_KEYS, WARM_UP_BATCHES);
  const before = memory();
  const started = performance.now();
  const large = fill(keys);
  const fillSeconds = (performance.now() - started) / 1000;
  const after = memory();
  putTime(large, keys, WARM_UP_BATCHES);
  const smallTimes: number[] = [];
  const largeTimes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    smallTimes.push(putTime(small, SMALL_KEYS, MEASURED_BATCHES));
    largeTimes.push(putTime(large, keys, MEASURED_BATCHES));
  }
  const smallPutUs = percentile(smallTimes, 0.5);
  const putUs = percentile(largeTimes, 0.5);
  return {
    smallPutUs,
    putUs,
    ratio: smallPutUs / putUs,
    residentBytesPerKey: (after.resident - before.resident) / keys,
    heapBytesPerKey: (after.heap - before.heap) / keys,
    fillSeconds,
  };
}

function tableOf(keys: number, figures: StoreFigures): string {
  return renderTable([
    ["store", "to reach", "measured"],
    ["put, 1,000 keys", "<= 3 us", `${figure(figures.smallPutUs)} us`],
    [`put, ${figure(keys)} keys`, "", `${figure(figures.putUs)} us`],
    ["throughput in parts of that with 1,000 keys", "", figure(figures.ratio)],
    ["resident memory per key", "<= 400 B", `${figure(figures.residentBytesPerKey)} B`],
    ["heap and buffers per key", "<= 400 B", `${figure(figures.heapBytesPerKey)} B`],
    ["filling in random order", "", `${figure(figures.fillSeconds)} s`],
  ]);
}

function main(): void {
  const { values } = parseArgs({ options: { keys: { type: "string" }, json: { type: "boolean" } } });
  const keys = Number(values.keys ?? DEFAULT_KEYS);
  const figures = measureStore({ keys });
  console.log(values.json ? JSON.stringify(figures) : tableOf(keys, figures));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
