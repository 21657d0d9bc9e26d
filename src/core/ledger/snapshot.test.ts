import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { type Bytes, concatBytes, toHex } from "../codec/bytes.ts";
import { ADMINISTRATIVE, makeNode, privateTransaction, publicTransaction, sha256, TestLedger } from "./fixture.test.ts";
import { BLOCK_LEAVES } from "./merkle-tree.ts";
import {
  FRAME_HEADER_LENGTH,
  type SnapshotManifest,
  SNAPSHOT_FORMAT_VERSION,
  snapshotHeadLength,
  MAX_SNAPSHOT_PART_BYTES,
} from "./snapshot-format.ts";
import { type SnapshotEvent, SnapshotReader, SnapshotWriter } from "./snapshot.ts";
import type { LedgerTail } from "./tail.ts";

const NETWORK = toHex(sha256(Uint8Array.of(1)));
const EPOCH_KEY = sha256(Uint8Array.of(2));
const node = makeNode();
const ports = { crypto: node.crypto, epochKeyOf: (epoch: number) => (epoch === 1 ? EPOCH_KEY : undefined) };

/** The tail of a ledger of two batches, the second of `count` transactions. */
function tailOf(count: number): LedgerTail {
  const ledger = new TestLedger(node);
  ledger.build([publicTransaction(1)], ADMINISTRATIVE);
  ledger.build(
    Array.from({ length: count }, () => privateTransaction(3)),
    { view: 2 },
  );
  return ledger.tail;
}

const smallTail = tailOf(3).toSnapshot();
const largeTail = tailOf(2 * BLOCK_LEAVES + 5).toSnapshot();

function manifestOf(changes: Partial<SnapshotManifest> = {}): SnapshotManifest {
  return {
    networkId: NETWORK,
    tail: smallTail,
    configurationIndex: 1,
    governance: Uint8Array.of(5),
    adapters: [
      { id: 1, version: 7 },
      { id: 4, version: 0 },
    ],
    epoch: 1,
    ...changes,
  };
}

type Part = readonly [adapterId: number, data: Bytes];
const PARTS: readonly Part[] = [
  [1, Uint8Array.of(1, 2, 3)],
  [1, new Uint8Array(5000).fill(7)],
  [4, Uint8Array.of(9)],
];

/** A snapshot file and its evidence digest. */
function write(
  manifest: SnapshotManifest,
  parts: readonly Part[] = PARTS,
  salt = 1,
): { readonly pieces: readonly Bytes[]; readonly digest: Bytes; readonly nextCounter: number } {
  const sealing = { signer: node.id, salt: new Uint8Array(16).fill(salt), counter: 10 };
  const writer = new SnapshotWriter(manifest, sealing, { crypto: node.crypto, epochKey: EPOCH_KEY });
  const pieces = [...writer.begin(), ...parts.map(([id, data]) => writer.part(id, data)), writer.end()];
  return { pieces, digest: writer.digest(), nextCounter: writer.nextCounter };
}

function read(pieces: readonly Bytes[], networkId = NETWORK): { events: SnapshotEvent[]; digest: Bytes } {
  const reader = new SnapshotReader(networkId, ports);
  const events = pieces.flatMap((piece) => reader.feed(piece));
  return { events, digest: reader.finish() };
}

function refuses(pieces: readonly Bytes[], reason: RegExp, code = "MalformedInput"): void {
  assert.throws(
    () => read(pieces),
    (error) => error instanceof CocoError && error.code === code && reason.test(error.message),
  );
}

describe("snapshot file", () => {
  test("is read back from pieces of any size, with the tail it was made of", () => {
    const manifest = manifestOf({ tail: largeTail });
    const { pieces, digest } = write(manifest);
    const file = concatBytes(...pieces);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 40 }), (sizes) => {
        const cut: Bytes[] = [];
        for (let at = 0, turn = 0; at < file.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          cut.push(file.subarray(at, at + size));
          at += size;
        }
        const { events, digest: found } = read(cut);
        assert.equal(toHex(found), toHex(digest));
        const [first, ...rest] = events;
        assert.ok(first?.type === "manifest");
        assert.deepEqual(first.manifest, manifest);
        assert.deepEqual(first.tail.toSnapshot(), largeTail);
        assert.deepEqual(rest.at(-1), { type: "end", digest });
        const parts = rest
          .filter((event) => event.type === "part")
          .map(({ adapterId, data }) => [adapterId, toHex(data)]);
        assert.deepEqual(
          parts,
          PARTS.map(([id, data]) => [id, toHex(data)]),
        );
      }),
      { numRuns: 20 },
    );
  });

  test("has an evidence digest that does not depend on who sealed it, but on everything it says", () => {
    const { digest, pieces } = write(manifestOf());
    const other = write(manifestOf(), PARTS, 2);
    assert.equal(toHex(other.digest), toHex(digest));
    assert.notEqual(toHex(concatBytes(...other.pieces)), toHex(concatBytes(...pieces)));
    const digests = [
      write(manifestOf({ networkId: toHex(sha256(Uint8Array.of(8))) })),
      write(manifestOf({ governance: Uint8Array.of(6) })),
      write(manifestOf({ configurationIndex: 2 })),
      write(manifestOf({ tail: largeTail })),
      write(manifestOf({ adapters: [...manifestOf().adapters, { id: 9, version: 1 }] })),
      write(manifestOf(), PARTS.slice(1)),
      write(manifestOf(), PARTS.with(2, [1, Uint8Array.of(9)])),
      write(manifestOf(), PARTS.with(0, [1, Uint8Array.of(1, 2, 4)])),
    ].map((made) => toHex(made.digest));
    assert.equal(new Set([...digests, toHex(digest)]).size, digests.length + 1);
  });

  test("takes one nonce per frame", () => {
    assert.equal(write(manifestOf()).nextCounter, 10 + PARTS.length + 1);
    assert.equal(write(manifestOf({ tail: largeTail })).nextCounter, 10 + 1 + PARTS.length + 1);
  });

  test("with frames swapped, left out, doubled, of another file or cut off is refused by name", () => {
    const { pieces } = write(manifestOf());
    const [head, first, second, third, end] = pieces;
    assert.ok(head && first && second && third && end);
    refuses([head, second, first, third, end], /frame 0 does not open/);
    refuses([head, first, third, end], /frame 1 does not open/);
    refuses([head, first, first, second, third, end], /frame 1 does not open/);
    refuses([head, third, first, second, end], /frame 0 does not open/);
    refuses([head, end], /frame 0 does not open/);
    refuses([head, first, second, third], /ends too early/);
    refuses([...pieces, Uint8Array.of(0)], /after the end/);
    refuses([...pieces, end], /after the end/);
    refuses([head, first, write(manifestOf(), PARTS, 2).pieces[2] ?? end, third, end], /frame 1 does not open/);
    refuses([], /ends too early/);
    const large = write(manifestOf({ tail: largeTail })).pieces;
    refuses(large.toSpliced(1, 1), /frame 0 stands where blocks are missing/);
  });

  test("says the blocks of the tree in the open, and the seal behind them holds for them too", () => {
    const [head, blocks, ...frames] = write(manifestOf({ tail: largeTail })).pieces;
    assert.ok(head && blocks);
    assert.deepEqual(blocks.subarray(FRAME_HEADER_LENGTH), largeTail.blocks);
    for (let at = FRAME_HEADER_LENGTH; at < blocks.length; at += 7)
      refuses(
        [head, blocks.map((byte, place) => (place === at ? byte ^ 1 : byte)), ...frames],
        /does not open|do not lead/,
      );
  });

  test("of another network, another epoch, another kind or a newer version is refused with its reason", () => {
    const { pieces } = write(manifestOf());
    assert.throws(
      () => read(pieces, toHex(sha256(Uint8Array.of(0)))),
      (error) => error instanceof CocoError && error.code === "FolderOfAnotherNetwork",
    );
    refuses(write(manifestOf({ epoch: 2 })).pieces, /key of epoch 2/, "NotReady");
    refuses([Uint8Array.from("not a snapshot", (character) => character.charCodeAt(0))], /not a snapshot file/);
    const file = concatBytes(...pieces);
    const [earlier, later] = [SNAPSHOT_FORMAT_VERSION - 1, SNAPSHOT_FORMAT_VERSION + 1];
    refuses([file.with(7, earlier).with(14, earlier)], /format version 1 is not known/);
    refuses([file.with(7, later).with(14, later)], /format version 3 is newer than this program/, "LedgerTooNew");
    // Damage of either place is no later version.
    for (const place of [7, 14]) refuses([file.with(place, later)], /of format version [23], its manifest of [32]/);
  });

  test("announcing lengths that are not there allocates nothing and is refused at once", () => {
    const file = concatBytes(...write(manifestOf()).pieces);
    refuses([file.with(8, 0xff)], /manifest of \d+ bytes/);
    const frame = snapshotHeadLength(file.subarray(0, 12));
    refuses([file.with(frame + 3, 0xff)], /frame 0 has \d+ bytes/);
    refuses([file.with(frame, 9)], /unknown kind/);
    refuses([file.with(frame + 2, 3)], /adapter that is not expected/);
    assert.ok(MAX_SNAPSHOT_PART_BYTES <= 2 ** 20);
  });
});
