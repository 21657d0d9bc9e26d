/**
 * Sending a load and knowing what became of it. Requests are serialised before the clock starts; each connection sends
 * one request after the other, the next as soon as the one before was answered.
 */
import { CocoError } from "../../src/errors.ts";
import { CommitWatch, sequenceNumbers } from "./commit-watch.ts";
import { Connection, type Endpoint, postRequest, rpcBatch, rpcCall } from "./connection.ts";
import { type Latency, latencyOf } from "./statistics.ts";
import type { Signed } from "./wallet.ts";

/** Half of it is what latencies are measured too long, on average; shorter, the watch itself becomes a load. */
const WATCH_INTERVAL_MS = 20;
/** Longest wait for the receipt of one transaction, in milliseconds. */
const RECEIPT_LIMIT_MS = 10_000;

/** A serialised request with one or several transactions. */
export interface LoadRequest {
  readonly payload: Buffer;
  readonly transactions: number;
  /** Hash of the last transaction. */
  readonly lastHash: string;
}

/** A request that was answered; times in milliseconds of `performance.now`. */
export interface SentRequest extends LoadRequest {
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
}

/** What was measured of a load on a network. */
export interface LoadResult {
  readonly transactions: number;
  /** From the first byte sent until all were committed on all nodes. */
  readonly durationMs: number;
  readonly committedPerSecond: number;
  /** Of a transaction, from sending its request until all of that request was committed on all nodes. */
  readonly commitLatency: Latency;
  /** The same per transaction, in the order they were sent. */
  readonly commitLatenciesMs: readonly number[];
  /** From sending a request until it was answered. */
  readonly answerLatency: Latency;
}

/** Transactions as requests of JSON-RPC batches of `batch`; single calls when it is 1. */
export function loadRequests(path: string, transactions: readonly Signed[], batch: number): LoadRequest[] {
  const requests: LoadRequest[] = [];
  for (let at = 0; at < transactions.length; at += batch) {
    const part = transactions.slice(at, at + batch);
    const raws = part.map(({ raw }) => [raw]);
    const body = batch === 1 ? rpcCall("eth_sendRawTransaction", raws[0]!) : rpcBatch("eth_sendRawTransaction", raws);
    requests.push({ payload: postRequest(path, body), transactions: part.length, lastHash: part.at(-1)!.hash });
  }
  return requests;
}

/** Sends requests in order over one connection. Throws `MalformedInput` when a transaction is refused. */
export async function sendInOrder(connection: Connection, requests: readonly LoadRequest[]): Promise<SentRequest[]> {
  const sent: SentRequest[] = [];
  for (const request of requests) {
    const sentAtMs = performance.now();
    const answer = await connection.send(request.payload);
    sent.push({ ...request, sentAtMs, answeredAtMs: performance.now() });
    if (answer.includes('"error":')) {
      throw new CocoError("MalformedInput", `a transaction was refused: ${firstError(answer)}`);
    }
  }
  return sent;
}

function firstError(answer: Buffer): string {
  const text = answer.toString();
  return text.slice(text.indexOf('"error":'), text.indexOf('"error":') + 200);
}

/** Works out times and rates once the sequence numbers are known. */
export async function resultOf(
  sent: readonly SentRequest[],
  watch: CommitWatch,
  connection: Connection,
): Promise<LoadResult> {
  const seqnos = await sequenceNumbers(
    connection,
    sent.map(({ lastHash }) => lastHash),
  );
  const committed = await Promise.all(seqnos.map((seqno) => watch.waitFor(seqno)));
  const commitLatenciesMs = sent.flatMap((request, at) =>
    new Array<number>(request.transactions).fill(committed[at]! - request.sentAtMs),
  );
  const transactions = sent.reduce((sum, request) => sum + request.transactions, 0);
  const durationMs = Math.max(...committed) - Math.min(...sent.map(({ sentAtMs }) => sentAtMs));
  return {
    transactions,
    durationMs,
    committedPerSecond: (transactions * 1000) / durationMs,
    commitLatency: latencyOf(commitLatenciesMs),
    commitLatenciesMs,
    answerLatency: latencyOf(sent.map(({ sentAtMs, answeredAtMs }) => answeredAtMs - sentAtMs)),
  };
}

/** Sends one list of requests per connection, all at once, to `target`, and watches `nodes` commit them. */
export async function runLoad(
  target: Endpoint,
  nodes: readonly Endpoint[],
  lists: readonly (readonly LoadRequest[])[],
): Promise<LoadResult> {
  const connections = await Promise.all(lists.map(() => Connection.open(target)));
  const watch = await CommitWatch.start(nodes, WATCH_INTERVAL_MS);
  try {
    const sent = await Promise.all(lists.map((requests, at) => sendInOrder(connections[at]!, requests)));
    return await resultOf(sent.flat(), watch, connections[0]!);
  } finally {
    await watch.stop();
    for (const connection of connections) connection.close();
  }
}

/** Sends transactions one by one over one connection, each when the one before has a receipt; durations in milliseconds. */
export async function sendUntilReceipt(target: Endpoint, transactions: readonly Signed[]): Promise<number[]> {
  const connection = await Connection.open(target);
  const durations: number[] = [];
  for (const { raw, hash } of transactions) {
    const send = postRequest(target.path, rpcCall("eth_sendRawTransaction", [raw]));
    const receipt = postRequest(target.path, rpcCall("eth_getTransactionReceipt", [hash]));
    const startMs = performance.now();
    const answer = await connection.send(send);
    if (answer.includes('"error":')) throw new CocoError("MalformedInput", `refused: ${firstError(answer)}`);
    while ((await connection.send(receipt)).includes('"result":null')) {
      if (performance.now() - startMs > RECEIPT_LIMIT_MS)
        throw new CocoError("RequestTimeout", `no receipt of ${hash}`);
    }
    durations.push(performance.now() - startMs);
  }
  connection.close();
  return durations;
}

/** Sends the same request over `count` connections for a while; answers per second. */
export async function readRate(target: Endpoint, request: Buffer, count: number, durationMs: number): Promise<number> {
  const connections = await Promise.all(Array.from({ length: count }, () => Connection.open(target)));
  const startMs = performance.now();
  const endMs = startMs + durationMs;
  const counts = await Promise.all(
    connections.map(async (connection) => {
      let answers = 0;
      for (; performance.now() < endMs; answers++) await connection.send(request);
      return answers;
    }),
  );
  const elapsedMs = performance.now() - startMs;
  for (const connection of connections) connection.close();
  return (counts.reduce((sum, answers) => sum + answers, 0) * 1000) / elapsedMs;
}
