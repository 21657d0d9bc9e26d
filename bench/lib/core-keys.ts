/** What many keys cost: memory, and throughput beside that with few. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { VersionedStore } from "../../src/core/kv/store.ts";
import { CocoError } from "../../src/errors.ts";
import { measureStore, type StoreFigures } from "../core-kv.ts";
import { CORE_TABLE, KEY_BYTES, VALUE_BYTES } from "./core-adapter.ts";
import { writeKey } from "./core-load.ts";
import {
  type Effort,
  runInTurns,
  type Runner,
  type Sample,
  startRunner,
  type Throughput,
  throughputOf,
} from "./core-throughput.ts";

const FEW_KEYS = 1_000;
const FILL_BATCH = 1_000;
const BATCH = 300;

/** What is measured. */
export interface KeysMeasurement {
  readonly keys: number;
  /** Pairs of processes, one with few keys and one with many: one process differs from the next by up to a tenth. */
  readonly pairs: number;
  /** How long each process is measured. */
  readonly effort: Effort;
  readonly directory: string;
}

/** What was measured. */
export interface KeysFigures {
  /** The store by itself. */
  readonly store: StoreFigures;
  /** One node with 1,000 keys. */
  readonly few: Throughput;
  /** One node with all keys. */
  readonly many: Throughput;
  /** Throughput with all keys in parts of that with 1,000, in each pair, in ascending order. */
  readonly pairRatios: readonly number[];
}

/** Fills a store with keys in no order. */
export function fillStore(store: VersionedStore, keys: number): void {
  for (let from = 0; from < keys; from += FILL_BATCH) {
    const draft = store.beginBatch();
    const transaction = draft.begin();
    const key = new Uint8Array(KEY_BYTES);
    for (let at = from; at < Math.min(keys, from + FILL_BATCH); at++) {
      writeKey(key, 0, at);
      transaction.put(CORE_TABLE, key, new Uint8Array(VALUE_BYTES).fill(at));
    }
    transaction.keep();
    store.commit(draft.publish().version);
  }
}

/** What a process of this file is to do. */
type Task =
  | { readonly type: "store"; readonly keys: number }
  | { readonly type: "node"; readonly keys: number; readonly transactions: number; readonly directory: string };

/** Starts a process and gives what it answers, one answer after the other. */
function startTask(task: Task): { readonly child: ChildProcess; readonly answer: () => Promise<unknown> } {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(task)], { execArgv: ["--expose-gc"] });
  const answer = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null): void =>
        reject(new CocoError("Internal", `the measurement with many keys ended with ${code}`));
      child.once("exit", ended).once("message", (message) => {
        child.off("exit", ended);
        resolve(message);
      });
    });
  return { child, answer };
}

async function measureStoreApart(keys: number): Promise<StoreFigures> {
  const { child, answer } = startTask({ type: "store", keys });
  const figures = (await answer()) as StoreFigures;
  child.disconnect();
  return figures;
}

async function startNode(keys: number, transactions: number, directory: string): Promise<Runner> {
  const { child, answer } = startTask({ type: "node", keys, transactions, directory });
  await answer();
  const round = async (): Promise<Sample> => {
    child.send("round");
    return (await answer()) as Sample;
  };
  const close = async (): Promise<void> => {
    child.disconnect();
    await once(child, "exit");
  };
  return { round, close };
}

/** Measures each in a process of its own, so that one collects no garbage of the other; the two nodes of a pair take turns. */
export async function measureKeys(measurement: KeysMeasurement): Promise<KeysFigures> {
  const { keys, pairs, directory } = measurement;
  const { rounds, transactions } = measurement.effort;
  const store = await measureStoreApart(keys);
  const fewSamples: Sample[] = [];
  const manySamples: Sample[] = [];
  const pairRatios: number[] = [];
  const rateOf = (samples: readonly Sample[]): number => throughputOf(samples, transactions).transactionsPerSecond;
  for (let pair = 0; pair < pairs; pair++) {
    const runners = [
      await startNode(FEW_KEYS, transactions, join(directory, `few${pair}`)),
      await startNode(keys, transactions, join(directory, `many${pair}`)),
    ];
    const [few, many] = await runInTurns(runners, rounds);
    if (few === undefined || many === undefined) throw new CocoError("Internal", "two networks were measured");
    pairRatios.push(rateOf(many) / rateOf(few));
    fewSamples.push(...few);
    manySamples.push(...many);
  }
  return {
    store,
    few: throughputOf(fewSamples, transactions),
    many: throughputOf(manySamples, transactions),
    pairRatios: pairRatios.toSorted((left, right) => left - right),
  };
}

async function runTask(task: Task): Promise<void> {
  if (task.type === "store") {
    process.send?.(measureStore({ keys: task.keys }));
    return;
  }
  const { keys, transactions, directory } = task;
  const prefill = (store: VersionedStore): void => fillStore(store, keys);
  const runner = await startRunner({ nodes: 1, batch: BATCH, keys, prefill }, directory, transactions);
  process.on("message", () => void runner.round().then((sample) => process.send?.(sample)));
  process.on("disconnect", () => void runner.close());
  process.send?.("ready");
}

const [, script, argument] = process.argv;
if (script === fileURLToPath(import.meta.url) && argument !== undefined) await runTask(JSON.parse(argument) as Task);
