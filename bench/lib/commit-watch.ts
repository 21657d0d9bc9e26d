/**
 * When was a transaction committed on every node? Each node is asked for its newest committed sequence number every few
 * milliseconds over a connection of its own, and what it said is kept with the time. Which sequence number a transaction
 * got is asked after the measurement, so that watching costs the nodes next to nothing and its cost does not grow with
 * the load. Times are those at which the answer arrived here: never earlier than the commit.
 */
import { CocoError } from "../../src/errors.ts";
import { Connection, type Endpoint, getRequest } from "./connection.ts";
import { sleep } from "./statistics.ts";

/** Longest wait for a commit, in milliseconds. */
const COMMIT_LIMIT_MS = 60_000;

interface Sample {
  readonly timeMs: number;
  readonly seqno: number;
}

/** Watches the nodes of one network. */
export class CommitWatch {
  readonly #connections: readonly Connection[];
  readonly #samples: Sample[][];
  readonly #polling: Promise<unknown>;
  #failure: unknown;
  #stopped = false;

  private constructor(connections: readonly Connection[], intervalMs: number) {
    this.#connections = connections;
    this.#samples = connections.map(() => []);
    this.#polling = Promise.all(connections.map((_, node) => this.#poll(node, intervalMs)));
    this.#polling.catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Starts watching, each node every `intervalMs`. */
  static async start(endpoints: readonly Endpoint[], intervalMs: number): Promise<CommitWatch> {
    return new CommitWatch(await Promise.all(endpoints.map(Connection.open)), intervalMs);
  }

  async #poll(node: number, intervalMs: number): Promise<void> {
    const request = getRequest("/node/commit");
    const samples = this.#samples[node]!;
    while (!this.#stopped) {
      const body = await this.#connections[node]!.send(request);
      const seqno = Number(/"transaction_id":"\d+\.(\d+)"/.exec(body.toString())?.[1]);
      if (seqno > (samples.at(-1)?.seqno ?? 0)) samples.push({ timeMs: performance.now(), seqno });
      await sleep(intervalMs);
    }
  }

  /** When every node had committed a sequence number; undefined when some has not. */
  committedAt(seqno: number): number | undefined {
    let latest = 0;
    for (const samples of this.#samples) {
      const sample = samples[firstAtLeast(samples, seqno)];
      if (sample === undefined) return undefined;
      latest = Math.max(latest, sample.timeMs);
    }
    return latest;
  }

  /** {@link committedAt}, waited for. Throws `RequestTimeout`. */
  async waitFor(seqno: number): Promise<number> {
    for (const endMs = Date.now() + COMMIT_LIMIT_MS; ; await sleep(2)) {
      if (this.#failure !== undefined) throw this.#failure;
      const timeMs = this.committedAt(seqno);
      if (timeMs !== undefined) return timeMs;
      if (Date.now() > endMs)
        throw new CocoError("RequestTimeout", `sequence number ${seqno} is not committed on all nodes`);
    }
  }

  /** Ends the watch. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#polling.catch(() => {});
    for (const connection of this.#connections) connection.close();
  }
}

function firstAtLeast(samples: readonly Sample[], seqno: number): number {
  let [low, high] = [0, samples.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle]!.seqno < seqno) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Sequence numbers of transactions by their hashes, asked until all are committed. Throws `RequestTimeout`. */
export async function sequenceNumbers(connection: Connection, hashes: readonly string[]): Promise<number[]> {
  const found = new Map<string, number>();
  for (const endMs = Date.now() + COMMIT_LIMIT_MS; ; await sleep(20)) {
    const open = hashes.filter((hash) => !found.has(hash));
    const ids = await connection.callAll(
      "coco_getTransactionId",
      open.map((hash) => [hash]),
    );
    for (const [at, id] of ids.entries()) {
      if (typeof id === "string") found.set(open[at]!, Number(id.split(".")[1]));
    }
    if (found.size === new Set(hashes).size) return hashes.map((hash) => found.get(hash) ?? 0);
    if (Date.now() > endMs) {
      throw new CocoError("RequestTimeout", `${open.length} transactions are not committed, ${open[0]} among them`);
    }
  }
}
