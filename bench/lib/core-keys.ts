/** What many keys cost: memory, and throughput beside that with few. In a process of its own, so that its memory is its own. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { VersionedStore } from "../../src/core/kv/store.ts";
import { CocoError } from "../../src/errors.ts";
import { measureStore, type StoreFigures } from "../core-kv.ts";
import { CORE_TABLE, KEY_BYTES, VALUE_BYTES } from "./core-adapter.ts";
import { writeKey } from "./core-load.ts";
import { type Effort, measureThroughput, type Throughput } from "./core-throughput.ts";

const FEW_KEYS = 1_000;
const FILL_BATCH = 1_000;
const BATCH = 300;

/** What is measured. */
export interface KeysMeasurement {
  readonly keys: number;
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

async function measureHere({ keys, effort, directory }: KeysMeasurement): Promise<KeysFigures> {
  const store = measureStore({ keys });
  const subjects = [FEW_KEYS, keys].map((count) => ({
    nodes: 1,
    batch: BATCH,
    keys: count,
    prefill: (target: VersionedStore) => fillStore(target, count),
  }));
  const [few, many] = await measureThroughput(subjects, directory, effort);
  if (few === undefined || many === undefined) throw new CocoError("Internal", "two networks were measured");
  return { store, few, many };
}

/** Measures in a process of its own. */
export function measureKeys(measurement: KeysMeasurement): Promise<KeysFigures> {
  const file = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, ["--expose-gc", file, JSON.stringify(measurement)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output) as KeysFigures);
      else reject(new CocoError("Internal", `the measurement with many keys ended with ${code}`));
    });
  });
}

const [, script, argument] = process.argv;
if (script === fileURLToPath(import.meta.url) && argument !== undefined)
  console.log(JSON.stringify(await measureHere(JSON.parse(argument) as KeysMeasurement)));
