/** Throughput of in-process nodes: transactions from a client's request to the answer that they are committed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { VersionedStore } from "../../src/core/kv/store.ts";
import { CocoError } from "../../src/errors.ts";
import { foundCoreNetwork } from "./core-founding.ts";
import { makeRequests, runLoad } from "./core-load.ts";
import { startCoreNetwork } from "./core-network.ts";
import { percentile } from "./statistics.ts";

/** One network to measure. */
export interface Subject {
  readonly nodes: number;
  /** Transactions of a batch at most. */
  readonly batch: number;
  /** Keys that are written, in random order. */
  readonly keys: number;
  readonly prefill?: (store: VersionedStore) => void;
}

/** Medians over rounds. */
export interface Throughput {
  readonly transactionsPerSecond: number;
  /** Processor time of all nodes together, collection of garbage and writing included, in microseconds per transaction. */
  readonly processorUs: number;
  /** Median fdatasync in milliseconds. */
  readonly syncMs: number;
  /** Transactions made durable by one fdatasync of the leader, on average. */
  readonly perSync: number;
}

/** How long to measure. */
export interface Effort {
  /** Rounds whose figures count; one more comes before them. */
  readonly rounds: number;
  /** Transactions of a round. */
  readonly transactions: number;
}

/** What one round gave. */
export interface Sample {
  readonly rate: number;
  readonly processorUs: number;
  /** Milliseconds of each fdatasync. */
  readonly syncs: readonly number[];
}

/** A network that runs, here or in another process. */
export interface Runner {
  /** Sends the load of one round. */
  round(): Promise<Sample>;
  close(): Promise<void>;
}

/** Starts a network, with ledgers below `directory`, and warms it up with a round. */
export async function startRunner(subject: Subject, directory: string, transactions: number): Promise<Runner> {
  const { nodes, batch, keys, prefill } = subject;
  mkdirSync(directory);
  const founded = foundCoreNetwork(nodes, { maxBatch: { transactions: batch } });
  const network = await startCoreNetwork(founded, directory, prefill === undefined ? {} : { prefill });
  const round = async (): Promise<Sample> => {
    const before = network.syncs.length;
    const time = await runLoad(network.leader, makeRequests(transactions, keys), batch);
    if (time.failed > 0) throw new CocoError("Internal", `${time.failed} requests of the benchmark failed`);
    return {
      rate: (time.transactions / time.wallMs) * 1000,
      processorUs: (time.processorMs / time.transactions) * 1000,
      syncs: network.syncs.slice(before),
    };
  };
  await round();
  return { round, close: () => network.close() };
}

/** The samples of each network, one round of each after the other, so that what else the machine does meets all. Then the networks are closed. */
export async function runInTurns(runners: readonly Runner[], rounds: number): Promise<readonly (readonly Sample[])[]> {
  const samples: Sample[][] = runners.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [at, runner] of runners.entries()) samples[at]?.push(await runner.round());
  for (const runner of runners) await runner.close();
  return samples;
}

/** What samples of so many transactions each say together. */
export function throughputOf(samples: readonly Sample[], transactions: number): Throughput {
  const syncs = samples.flatMap((sample) => sample.syncs);
  return {
    transactionsPerSecond: percentile(
      samples.map(({ rate }) => rate),
      0.5,
    ),
    processorUs: percentile(
      samples.map(({ processorUs }) => processorUs),
      0.5,
    ),
    syncMs: percentile(syncs, 0.5),
    perSync: (samples.length * transactions) / syncs.length,
  };
}

/** Measures networks of this process in turns. */
export async function measureThroughput(
  subjects: readonly Subject[],
  directory: string,
  effort: Effort,
): Promise<readonly Throughput[]> {
  const runners: Runner[] = [];
  for (const [at, subject] of subjects.entries())
    runners.push(await startRunner(subject, join(directory, `network${at}`), effort.transactions));
  const samples = await runInTurns(runners, effort.rounds);
  return samples.map((own, at) => {
    const figures = throughputOf(own, effort.transactions);
    return { ...figures, perSync: figures.perSync * (subjects[at]?.nodes ?? 1) };
  });
}
