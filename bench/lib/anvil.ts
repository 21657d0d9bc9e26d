/**
 * anvil (Foundry's development node) under the same loads and the same client, for comparison. It neither replicates nor
 * writes to disk. Mining a block per transaction, its default, it stops for good under concurrent senders sooner or later
 * (foundry#10122); loads therefore run on one that mines at intervals, in which it is also faster.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { CocoError } from "../../src/errors.ts";
import { PACKAGE_FOLDER } from "../../src/host/measure-code.ts";
import { Connection, type Endpoint } from "./connection.ts";
import { type LoadRequest, sendInOrder } from "./load.ts";
import { type Latency, latencyOf, sleep } from "./statistics.ts";
import { ACCOUNT_BALANCE, type Account, hex } from "./wallet.ts";

const BINARY = join(PACKAGE_FOLDER, "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
const START_LIMIT_MS = 10_000;
const LOAD_LIMIT_MS = 60_000;
const WATCH_INTERVAL_MS = 10;
const EMPTY_POOL = /"pending":"0x0","queued":"0x0"/;

/** A running anvil. */
export interface Anvil {
  readonly endpoint: Endpoint;
  stop(): void;
}

/** What was measured of a load on anvil. */
export interface AnvilResult {
  readonly minedPerSecond: number;
  /** From sending a request until it was answered. */
  readonly answerLatency: Latency;
}

/** Whether anvil is installed for this platform. */
export function hasAnvil(): boolean {
  return existsSync(BINARY);
}

/** Starts anvil with balances for the accounts; mines at intervals if one is given. Throws `NotReady`. */
export async function startAnvil(
  accounts: readonly Account[],
  chainId: number,
  intervalSeconds?: number,
): Promise<Anvil> {
  // It would keep hundreds of whole states in memory, gigabytes of them under load.
  const small = ["--accounts", "1", "--prune-history", "10"];
  // Room for all transactions of an interval.
  const interval =
    intervalSeconds === undefined ? [] : ["--block-time", String(intervalSeconds), "--gas-limit", "3000000000"];
  const child = spawn(BINARY, ["--port", "0", "--chain-id", String(chainId), ...small, ...interval], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const stop = (): void => {
    process.off("exit", stop);
    child.kill("SIGKILL");
  };
  process.once("exit", stop);
  const endpoint = { port: await portOf(child), path: "/" };
  // Its log goes on; nobody reads it, but a full pipe would stop it.
  child.stdout?.resume();
  const connection = await Connection.open(endpoint);
  const balance = `0x${ACCOUNT_BALANCE.toString(16)}`;
  await connection.callAll(
    "anvil_setBalance",
    accounts.map(({ address }) => [hex(address), balance]),
  );
  connection.close();
  return { endpoint, stop };
}

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((done, failed) => {
    let output = "";
    const limit = setTimeout(() => failed(new CocoError("NotReady", "anvil does not start")), START_LIMIT_MS);
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const port = /Listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
      if (port === undefined) return;
      clearTimeout(limit);
      child.stdout?.off("data", read);
      done(Number(port));
    };
    child.stdout?.on("data", read);
    child.once("error", (error) => failed(new CocoError("NotReady", `anvil: ${error.message}`)));
  });
}

/** Sends one list of requests per connection and waits until everything is mined. Throws `RequestTimeout`. */
export async function runAnvilLoad(
  { endpoint }: Anvil,
  lists: readonly (readonly LoadRequest[])[],
): Promise<AnvilResult> {
  const connections = await Promise.all(lists.map(() => Connection.open(endpoint)));
  // Anvil may stop answering for good; closing the connections ends the measurement then.
  const close = (): void => connections.forEach((connection) => connection.close());
  const limit = setTimeout(close, LOAD_LIMIT_MS);
  try {
    const startMs = performance.now();
    const sent = (await Promise.all(lists.map((requests, at) => sendInOrder(connections[at]!, requests)))).flat();
    while (!EMPTY_POOL.test(JSON.stringify(await connections[0]!.call("txpool_status"))))
      await sleep(WATCH_INTERVAL_MS);
    const durationMs = performance.now() - startMs;
    return {
      minedPerSecond: (sent.reduce((sum, { transactions }) => sum + transactions, 0) * 1000) / durationMs,
      answerLatency: latencyOf(sent.map(({ sentAtMs, answeredAtMs }) => answeredAtMs - sentAtMs)),
    };
  } finally {
    clearTimeout(limit);
    close();
  }
}
