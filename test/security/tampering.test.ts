/**
 * Nothing on disk can be changed unnoticed: every byte and every truncation point of a small chunk and of a small snapshot,
 * samples of a large chunk and a large snapshot, with the node's real cryptography and real governance. The verifier is the one of a starting
 * node and of offline verification; the entry it names is the one that was changed.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, concatBytes } from "../../src/core/codec/bytes.ts";
import { HEADER_LENGTH, parseBatch } from "../../src/core/ledger/batch-format.ts";
import {
  MAX_SNAPSHOT_PART_BYTES,
  type SnapshotManifest,
  snapshotHeadLength,
} from "../../src/core/ledger/snapshot-format.ts";
import { SnapshotReader, SnapshotWriter } from "../../src/core/ledger/snapshot.ts";
import { type LedgerVerification, verifyLedger } from "../../src/core/ledger/verify-ledger.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { createNodeCrypto, nodeEntropy, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { readRecords } from "../../src/host/ledger-chunks.ts";
import {
  CHUNK_HEADER_LENGTH,
  LEDGER_FORMAT_VERSION,
  readChunkHeader,
  RECORD_HEADER_LENGTH,
} from "../../src/host/ledger-record.ts";
import {
  chunkOf,
  largeLedger,
  REAL_VERIFICATION,
  type RealLedger,
  smallLedger,
  statesOf,
  transactionOf,
} from "../support/real-ledger.ts";

const SMALL_BYTES = 32 * 1024;
/** What a snapshot is read by: not of the length of its frames. */
const PIECE = 1000;

interface SnapshotUnderTest {
  readonly file: Bytes;
  readonly evidence: Bytes;
}

/** A chunk, and verification of any part of it from the start of one of its records on. */
class ChunkUnderTest {
  readonly bytes: Uint8Array;
  readonly #ledger: RealLedger;
  readonly #offsets: number[] = [CHUNK_HEADER_LENGTH];
  readonly #states: readonly (GovernanceState | undefined)[];

  constructor(ledger: RealLedger) {
    this.#ledger = ledger;
    this.bytes = Uint8Array.from(chunkOf(ledger.entries));
    for (const { data } of ledger.entries)
      this.#offsets.push(this.#offsets.at(-1)! + RECORD_HEADER_LENGTH + data.length);
    this.#states = statesOf(ledger.entries);
  }

  /** Raft index of the record that holds a byte. */
  indexAt(offset: number): number {
    return this.#offsets.findLastIndex((start) => start <= offset) + 1;
  }

  /** Start of a record in the chunk. */
  offsetOf(index: number): number {
    return this.#offsets[index - 1]!;
  }

  /**
   * Verifies `bytes` from record `index` on. The tail is that of the records before, which are not read again: a failed
   * verification leaves it as it was, so that going backwards through the chunk needs one tail.
   */
  verify(bytes: Bytes, index: number): LedgerVerification<GovernanceState> {
    const { tail, entries } = this.#ledger;
    if (tail.lastIndex >= index) tail.truncate(index);
    for (const { data } of entries.slice(tail.lastIndex, index - 1)) tail.append(parseBatch(data));
    const offset = this.offsetOf(index);
    return verifyLedger(readRecords({ bytes: bytes.subarray(offset), file: "chunk", fromIndex: index, offset }), {
      ...REAL_VERIFICATION,
      start: { tail, state: this.#states[index - 1] },
      expected: { index: entries.length },
    });
  }

  /** Asserts that a change of one byte is found, and in the record it is in. */
  assertFound(at: number, mask: number): void {
    const { bytes } = this;
    const index = this.indexAt(at);
    const original = bytes[at]!;
    bytes[at] = original ^ mask;
    const { bad } = this.verify(bytes, index);
    bytes[at] = original;
    assert.equal(bad?.index, index, `byte ${at} changed by ${mask}: ${bad?.reason ?? "not found"}`);
  }
}

describe("a chunk of the ledger", () => {
  const chunk = new ChunkUnderTest(smallLedger());

  test("is valid as it is, from genesis on and without any key", () => {
    const bytes = chunk.bytes.subarray(CHUNK_HEADER_LENGTH);
    const entries = readRecords({ bytes, file: "chunk", fromIndex: 1, offset: CHUNK_HEADER_LENGTH });
    const verification = verifyLedger(entries, { ...REAL_VERIFICATION, expected: { index: 6 } });
    assert.equal(verification.bad, undefined);
    assert.deepEqual([verification.entries, verification.transactions], [6, 14]);
    assert.equal(verification.state?.epochs.length, 2);
    assert.ok(chunk.bytes.length <= SMALL_BYTES, `${chunk.bytes.length} bytes`);
  });

  test("that holds is not called bad when who visits its batches fails, at the last one either", () => {
    const ledger = smallLedger();
    for (const failing of [3, 6]) {
      const onBatch = (_batch: unknown, { index }: { readonly index: number }): void => {
        if (index === failing) throw new CocoError("LimitExceeded", "the visitor has enough");
      };
      assert.throws(() => verifyLedger(ledger.entries, { ...REAL_VERIFICATION, onBatch }), { code: "LimitExceeded" });
    }
  });

  test("with a batch of an adapter that is not mounted is refused there, though a listed node signed it", () => {
    const ledger = smallLedger();
    ledger.add([transactionOf({ privatePart: nodeEntropy.bytes(10) })], { adapterId: 2, epoch: 2 });
    const { bad, entries } = verifyLedger(ledger.entries, REAL_VERIFICATION);
    assert.deepEqual([entries, bad?.index], [6, 7]);
    assert.match(bad?.reason ?? "", /adapter 2, which is not mounted/);
  });

  test("with any byte changed is refused at the entry that was changed", () => {
    for (let at = chunk.bytes.length - 1; at >= CHUNK_HEADER_LENGTH; at--) {
      const isHeader = at - chunk.offsetOf(chunk.indexAt(at)) < RECORD_HEADER_LENGTH + HEADER_LENGTH;
      for (const mask of isHeader ? [1, 0x80, 0xff] : [1 << (at % 8)]) chunk.assertFound(at, mask);
    }
  });

  test("with any byte of the file's own header changed is not taken for a chunk of this version and place", () => {
    const header = chunk.bytes.slice(0, CHUNK_HEADER_LENGTH);
    for (let at = 0; at < CHUNK_HEADER_LENGTH; at++) {
      const changed = header.map((byte, position) => (position === at ? byte ^ 0x11 : byte));
      const read = readChunkHeader(changed);
      assert.ok(read?.version !== LEDGER_FORMAT_VERSION || read.firstIndex !== 1, `byte ${at}`);
    }
  });

  test("cut off anywhere is refused at the entry that is missing or incomplete", () => {
    for (let length = chunk.bytes.length - 1; length >= CHUNK_HEADER_LENGTH; length--) {
      const index = chunk.indexAt(length);
      const { bad } = chunk.verify(chunk.bytes.subarray(0, length), index);
      assert.equal(bad?.index, index, `cut at ${length}: ${bad?.reason ?? "not found"}`);
    }
  });
});

describe("a large chunk of the ledger", () => {
  const chunk = new ChunkUnderTest(largeLedger(60));

  test("with bytes changed in samples is refused at the entry that was changed", () => {
    assert.ok(chunk.bytes.length > 20 * SMALL_BYTES, `${chunk.bytes.length} bytes`);
    const samples = Array.from({ length: 600 }, (_, sample) =>
      Math.floor(CHUNK_HEADER_LENGTH + ((sample + 0.37) * (chunk.bytes.length - CHUNK_HEADER_LENGTH)) / 600),
    );
    for (const at of samples.toReversed()) chunk.assertFound(at, 1 << (at % 8));
  });
});

describe("a snapshot", () => {
  const ledger = smallLedger();
  const [node] = ledger.network.nodes;
  const crypto = createNodeCrypto(node!.privateKey);
  const epochKey = sha256(Uint8Array.of(1));
  const manifest: SnapshotManifest = {
    networkId: ledger.network.networkId,
    tail: ledger.tail.toSnapshot(4),
    configurationIndex: 1,
    governance: nodeEntropy.bytes(400),
    adapters: [
      { id: 1, version: 2 },
      { id: 2, version: 9 },
    ],
    epoch: 1,
  };
  const sealing = {
    signer: parseBatch(ledger.entries[0]!.data).header.signer,
    salt: nodeEntropy.bytes(16),
    counter: 5,
  };

  /** A snapshot with parts of these lengths, the last of which is of the second adapter; and its evidence. */
  function snapshotOf(lengths: readonly number[]): SnapshotUnderTest {
    const writer = new SnapshotWriter(manifest, sealing, { crypto, epochKey });
    const last = lengths.length - 1;
    const parts = lengths.map((length, at) => writer.part(at === last ? 2 : 1, nodeEntropy.bytes(length)));
    const file = concatBytes(...writer.begin(), ...parts, writer.end());
    return { file, evidence: writer.digest() };
  }
  const { file, evidence } = snapshotOf([900, 1, 600]);

  /** Why the file is refused; undefined when it is taken for the snapshot that the evidence names. */
  function problemOf(bytes: Bytes, expected: Bytes): string | undefined {
    const reader = new SnapshotReader(ledger.network.networkId, {
      crypto,
      epochKeyOf: (epoch) => (epoch === 1 ? epochKey : undefined),
    });
    try {
      for (let at = 0; at < bytes.length; at += PIECE) reader.feed(bytes.subarray(at, at + PIECE));
      const digest = reader.finish();
      return digest.every((byte, at) => byte === expected[at]) ? undefined : "the digest is not that of the evidence";
    } catch (error) {
      assert.ok(error instanceof CocoError, String(error));
      assert.notEqual(error.code, "Internal");
      return error.message;
    }
  }

  test("is read back as it is", () => {
    assert.equal(problemOf(file, evidence), undefined);
    assert.ok(file.length <= SMALL_BYTES);
  });

  test("with any byte changed is refused", () => {
    const bytes = Uint8Array.from(file);
    const headLength = snapshotHeadLength(file.subarray(0, 12));
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of at < headLength ? [1, 0x80, 0xff] : [1 << (at % 8)]) {
        bytes[at] = file[at]! ^ mask;
        assert.notEqual(problemOf(bytes, evidence), undefined, `byte ${at} changed by ${mask}`);
      }
      bytes[at] = file[at]!;
    }
  });

  test("cut off anywhere, or extended, is refused", () => {
    for (let length = 0; length < file.length; length++)
      assert.notEqual(problemOf(file.subarray(0, length), evidence), undefined, `cut at ${length}`);
    assert.notEqual(problemOf(concatBytes(file, Uint8Array.of(0)), evidence), undefined);
  });

  test("that is large, with bytes changed or cut off in samples, is refused", () => {
    const large = snapshotOf(Array.from({ length: 8 }, (_, at) => MAX_SNAPSHOT_PART_BYTES / 8 - at));
    const bytes = Uint8Array.from(large.file);
    assert.ok(bytes.length > 20 * SMALL_BYTES, `${bytes.length} bytes`);
    assert.equal(problemOf(bytes, large.evidence), undefined);
    // All over the file, and around the borders of its frames, whose headers are few among so many bytes.
    const borders = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((frame) => bytes.length - frame * (MAX_SNAPSHOT_PART_BYTES / 8));
    const places = [
      ...Array.from({ length: 150 }, (_, sample) => Math.floor(((sample + 0.37) * bytes.length) / 150)),
      ...borders.flatMap((border) => [-40, -20, -7, -1].map((step) => border + step)),
    ].filter((at) => at >= 0 && at < bytes.length);
    for (const at of places) {
      const original = bytes[at]!;
      bytes[at] = original ^ (1 << (at % 8));
      assert.notEqual(problemOf(bytes, large.evidence), undefined, `byte ${at} changed`);
      bytes[at] = original;
      assert.notEqual(problemOf(bytes.subarray(0, at), large.evidence), undefined, `cut at ${at}`);
    }
    assert.equal(problemOf(bytes, large.evidence), undefined);
  });
});
