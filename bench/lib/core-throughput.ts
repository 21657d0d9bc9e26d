/** Throughput of in-process nodes: transactions from a client's request to the answer that they are committed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { VersionedStore } from "../../src/core/kv/store.ts";
import { CocoError } from "../../src/errors.ts";
import { foundCoreNetwork } from "./core-founding.ts";
import { makeRequests, runLoad } from "./core-load.ts";
import { type CoreNetwork, startCoreNetwork } from "./core-network.ts";
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

interface Sample {
  readonly rate: number;
  readonly processorUs: number;
}

async function runRound({ batch, keys }: Subject, network: CoreNetwork, transactions: number): Promise<Sample> {
  const time = await runLoad(network.leader, makeRequests(transactions, keys), batch);
  if (time.failed > 0) throw new CocoError("Internal", `${time.failed} requests of the benchmark failed`);
  return {
    rate: (time.transactions / time.wallMs) * 1000,
    processorUs: (time.processorMs / time.transactions) * 1000,
  };
}

/** Measures networks in turns, one round of each after the other, so that what else the machine does meets all of them. */
export async function measureThroughput(
  subjects: readonly Subject[],
  directory: string,
  { rounds, transactions }: Effort,
): Promise<readonly Throughput[]> {
  const runs: { subject: Subject; network: CoreNetwork; samples: Sample[]; warm: number }[] = [];
  for (const [at, subject] of subjects.entries()) {
    const { nodes, batch, prefill } = subject;
    const founded = foundCoreNetwork(nodes, { maxBatch: { transactions: batch } });
    const folder = join(directory, `network${at}`);
    mkdirSync(folder);
    const network = await startCoreNetwork(founded, folder, prefill === undefined ? {} : { prefill });
    await runRound(subject, network, transactions);
    runs.push({ subject, network, samples: [], warm: network.syncs.length });
  }
  for (let round = 0; round < rounds; round++)
    for (const run of runs) run.samples.push(await runRound(run.subject, run.network, transactions));
  const figures = runs.map(({ subject, network, samples, warm }) => {
    const syncs = network.syncs.slice(warm);
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
      perSync: (rounds * transactions * subject.nodes) / syncs.length,
    };
  });
  for (const { network } of runs) await network.close();
  return figures;
}
