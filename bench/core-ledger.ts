/**
 * Speed and size of the ledger's core, without disk and network: leaves and the Merkle tree, building a batch (leaves,
 * seal, root, signature), verifying it as a follower, and the bytes it takes in the ledger. With the node's own
 * cryptography. `measureLedger` is called by `npm run bench:core`; run alone, this file prints its figures.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { pathToFileURL } from "node:url";
import type { Bytes } from "../src/core/codec/bytes.ts";
import { encodeWriteSet } from "../src/core/kv/write-set.ts";
import { parseBatch } from "../src/core/ledger/batch-format.ts";
import { type BatchTransaction, buildBatch, unsealBatch, verifyBatch } from "../src/core/ledger/batch.ts";
import { LedgerKeys } from "../src/core/ledger/keys.ts";
import { transactionLeaf } from "../src/core/ledger/leaf.ts";
import { MerkleTree } from "../src/core/ledger/merkle-tree.ts";
import { LedgerTail } from "../src/core/ledger/tail.ts";
import { createNodeCrypto, sha256 } from "../src/enclave/manager/node-crypto.ts";
import { RECORD_HEADER_LENGTH } from "../src/host/ledger-record.ts";

const BATCH = 100;
const KEY_BYTES = 32;
const VALUE_BYTES = 100;
const REQUEST_ID_BYTES = 32;

/** What the ledger costs; times are medians over rounds, in microseconds per transaction unless named otherwise. */
export interface LedgerFigures {
  /** Leaf of a transaction and its append to the Merkle tree; figure to reach: at most 9. */
  readonly leafAndAppend: number;
  /** A whole batch as leader: commitments, evidence, leaves, seal, root, signature. */
  readonly buildBatch: number;
  /** A whole batch as follower: parse, leaves, root, signature. */
  readonly verifyBatch: number;
  /** Opening a batch to apply it. */
  readonly unsealBatch: number;
  /** One SHA-256 of 64 bytes on this machine, for comparison. */
  readonly sha256: number;
  /** Bytes in the ledger per put of 100 B under a key of 32 B, record included; figure to reach: at most 250. */
  readonly bytesPerPut: number;
  /** The same without request ids. */
  readonly bytesPerPutWithoutId: number;
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

/** Median microseconds of one unit, measured over `rounds` calls that do `units` each. */
function time(rounds: number, units: number, run: () => void): number {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = process.hrtime.bigint();
    run();
    samples.push(Number(process.hrtime.bigint() - start) / 1000 / units);
  }
  return median(samples);
}

function putOf(id: Bytes): BatchTransaction {
  const write = { table: 1, key: randomBytes(KEY_BYTES), value: randomBytes(VALUE_BYTES) };
  const privatePart = encodeWriteSet([write]);
  return { id, publicPart: new Uint8Array(0), privatePart, claimsDigest: undefined };
}

function putsOf(idBytes: number): readonly BatchTransaction[] {
  return Array.from({ length: BATCH }, () => putOf(new Uint8Array(randomBytes(idBytes))));
}

/** A leader's ledger. */
function makeLedger(): {
  readonly build: (transactions: readonly BatchTransaction[]) => Bytes;
  readonly publicKeyOf: () => Bytes;
  readonly crypto: ReturnType<typeof createNodeCrypto>;
  readonly keys: LedgerKeys;
} {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
  const crypto = createNodeCrypto(privateKey);
  const tail = new LedgerTail(crypto.sha256);
  const keys = new LedgerKeys(crypto, () => sha256(Uint8Array.of(1)));
  const [salt, signer] = [new Uint8Array(16), sha256(spki)];
  let nonceCounter = 0;
  const build = (transactions: readonly BatchTransaction[]): Bytes => {
    const fields = { kind: "application", view: 1, adapterId: 1, governanceVersion: 1, timeMs: 1, epoch: 1 } as const;
    return buildBatch({ ...fields, salt, nonceCounter: ++nonceCounter, signer, transactions }, tail, keys, crypto)
      .bytes;
  };
  return { build, publicKeyOf: () => spki, crypto, keys };
}

/** Measures the ledger's core; `rounds` batches of 100 transactions. */
export function measureLedger(rounds = 300): LedgerFigures {
  const { build } = makeLedger();
  const transactions = putsOf(REQUEST_ID_BYTES);
  for (let warmUp = 0; warmUp < 30; warmUp++) build(transactions);
  const building = time(rounds, BATCH, () => build(transactions));

  const other = makeLedger();
  const batches = Array.from({ length: rounds }, () => other.build(transactions));
  const follower = new LedgerTail(sha256);
  let next = 0;
  const verifying = time(rounds, BATCH, () => {
    verifyBatch(parseBatch(batches[next++]!), follower, other.publicKeyOf, other.crypto);
  });
  next = 0;
  const unsealing = time(rounds, BATCH, () => {
    unsealBatch(parseBatch(batches[next++]!), other.keys, other.crypto);
  });
  const parsed = batches.slice(0, 20).map((bytes) => parseBatch(bytes));
  const tree = new MerkleTree(sha256);
  next = 0;
  const leaves = time(rounds, BATCH, () => {
    for (const transaction of parsed[next++ % parsed.length]!.transactions)
      tree.append(transactionLeaf(transaction, sha256));
  });
  const block = randomBytes(64);
  const hashing = time(rounds, BATCH, () => {
    for (let count = 0; count < BATCH; count++) sha256(block);
  });
  const bytesOf = (idBytes: number): number => (build(putsOf(idBytes)).length + RECORD_HEADER_LENGTH) / BATCH;
  return {
    leafAndAppend: leaves,
    buildBatch: building,
    verifyBatch: verifying,
    unsealBatch: unsealing,
    sha256: hashing,
    bytesPerPut: bytesOf(REQUEST_ID_BYTES),
    bytesPerPutWithoutId: bytesOf(0),
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, value] of Object.entries(measureLedger())) console.log(`${name.padEnd(22)} ${value.toFixed(2)}`);
}
