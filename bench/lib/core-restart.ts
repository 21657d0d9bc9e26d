/**
 * Restart of a node: from its newest snapshot and what the ledger holds after it. Everything a node does before it serves is
 * in the time: reading the files with their checksums, verifying every batch, opening and applying them.
 */
import { join } from "node:path";
import type { Disk, SnapshotFile } from "../../src/enclave/ports.ts";
import { CocoError } from "../../src/errors.ts";
import { RECORD_HEADER_LENGTH } from "../../src/host/ledger-record.ts";
import { type FoundedNetwork, foundCoreNetwork } from "./core-founding.ts";
import { makeRequests, runLoad } from "./core-load.ts";
import { createCoreNode, openCoreLedger, startCoreNetwork, until } from "./core-network.ts";

const BATCH = 1000;
/** As in the rows of throughput: what the state costs with many keys is measured by itself. */
const KEYS = 1_000;
const SNAPSHOT_EVERY = 5_000;
/** About what a transaction takes in the ledger. */
const TRANSACTION_LEDGER_BYTES = 250;
const ROUND_TRANSACTIONS = 20_000;
const MEGABYTE = 1_000_000;

/** What a restart took. */
export interface RestartTime {
  readonly suffixBytes: number;
  /** Megabytes of the suffix per second, all in. */
  readonly megabytesPerSecond: number;
  /** Reading all files with their checksums, in milliseconds. */
  readonly scanMs: number;
  /** Snapshot and ledger read and verified. */
  readonly verifyMs: number;
  /** State taken over, batches opened and applied. */
  readonly applyMs: number;
  readonly processorMs: number;
}

const UNFINISHED: SnapshotFile = { append: () => undefined, finish: () => undefined, abandon: () => undefined };

/** Lets a node finish one snapshot only, so that all that follows is the suffix. */
function withOneSnapshot(disk: Disk): Disk {
  let made = 0;
  return {
    persist: (request, done) => disk.persist(request, done),
    read: (fromIndex, maxBytes, done) => disk.read(fromIndex, maxBytes, done),
    createSnapshot: (index) => (made++ === 0 ? disk.createSnapshot(index) : UNFINISHED),
    readSnapshot: (index, offset, maxBytes, done) => disk.readSnapshot(index, offset, maxBytes, done),
    removeSnapshot: (index) => disk.removeSnapshot(index),
  };
}

/** Writes a ledger with a snapshot near its beginning; the version of the state at its end. */
async function writeLedger(founded: FoundedNetwork, directory: string, suffixBytes: number): Promise<number> {
  const network = await startCoreNetwork(founded, directory, { disk: withOneSnapshot });
  const { leader } = network;
  for (let left = suffixBytes / TRANSACTION_LEDGER_BYTES + SNAPSHOT_EVERY; left > 0; left -= ROUND_TRANSACTIONS)
    await runLoad(leader, makeRequests(Math.min(left, ROUND_TRANSACTIONS), KEYS), BATCH);
  await until(() => leader.core.administration.committed?.snapshot !== undefined, "evidence of a snapshot");
  const version = leader.store.committedVersion;
  await network.close();
  return version;
}

/** Measures one restart behind a suffix of about this many bytes. */
export async function measureRestart(directory: string, bytes: number): Promise<RestartTime> {
  const founded = foundCoreNetwork(1, {
    maxBatch: { transactions: BATCH },
    snapshot: { everyTransactions: SNAPSHOT_EVERY },
  });
  const version = await writeLedger(founded, directory, bytes);
  const [node] = founded.nodes;
  if (node === undefined) throw new CocoError("Internal", "a network has a node");
  const startCpu = process.cpuUsage();
  const start = performance.now();
  const files = await openCoreLedger(join(directory, node.nodeId), []);
  const scanned = performance.now();
  const place = { founded, node, files, peers: { send: () => false } };
  const { core, store, close } = createCoreNode(place);
  const verified = performance.now();
  core.manager.start();
  await until(() => store.committedVersion === version && core.manager.leadership.serving, "the end of a replay");
  const applied = performance.now();
  const { user, system } = process.cpuUsage(startCpu);
  let suffixBytes = 0;
  const from = (files.content.snapshots[0]?.index ?? 0) + 1;
  for (const { data } of files.content.entriesFrom(from)) suffixBytes += data.length + RECORD_HEADER_LENGTH;
  await close();
  return {
    suffixBytes,
    megabytesPerSecond: suffixBytes / MEGABYTE / ((applied - start) / 1000),
    scanMs: scanned - start,
    verifyMs: verified - scanned,
    applyMs: applied - verified,
    processorMs: (user + system) / 1000,
  };
}
