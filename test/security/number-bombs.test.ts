/**
 * Numbers at the ends of their range in everything of the ledger that others write, signed where it takes a signature: each is
 * refused by name, with nothing changed, or means nothing.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, bytesEqual } from "../../src/core/codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../../src/core/codec/cbor.ts";
import { executeAdministrativeBatch } from "../../src/core/governance/administrative-batch.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { MAX_DATE_MS } from "../../src/core/governance/manifest-codec.ts";
import { BATCH_OVERHEAD, HEADER_LENGTH, MAX_BATCH_TIME_MS, parseBatch } from "../../src/core/ledger/batch-format.ts";
import { batchTimeOf } from "../../src/core/ledger/batch-glance.ts";
import { batchLeaves } from "../../src/core/ledger/leaf.ts";
import { decodeManifest, encodeManifest } from "../../src/core/ledger/snapshot-format.ts";
import { type LedgerGovernance, verifyLedger } from "../../src/core/ledger/verify-ledger.ts";
import { CocoError } from "../../src/errors.ts";
import { EXTREME_NUMBERS, withNumber } from "../support/extreme-numbers.ts";
import { REAL_GOVERNANCE } from "../support/real-ledger.ts";
import { SnapshotNetwork, SnapshotNode } from "../support/snapshot-node.ts";
import { appendFrame, startCore } from "../support/started-core.ts";

/** Where the fields of eight bytes stand in a header. */
const U64_FIELDS = {
  view: 2,
  index: 10,
  firstSeqno: 18,
  governanceVersion: 32,
  timeMs: 40,
  epoch: 48,
  nonceCounter: 72,
};
/** And those of four. */
const U32_FIELDS = { count: 26, publicLength: 144, sealedLength: 148 };
const U64_BOMBS = [2n ** 53n, 2n ** 53n - 1n, 2n ** 64n - 1n];
const U32_BOMBS = [2n ** 32n - 1n, 2n ** 31n];

/** A follower with a ledger of genesis and one empty batch, and the next empty batch of its leader, which it does not have yet. */
function scene() {
  const network = new SnapshotNetwork();
  const leader = new SnapshotNode(network);
  leader.found();
  leader.forge([], { kind: "empty", adapterId: 0 });
  const fatal: string[] = [];
  const core = startCore(network.upTo(2), [], { hasPeers: true, fatal, worker: () => undefined });
  leader.forge([], { kind: "empty", adapterId: 0 });
  return { network, leader, core, fatal };
}

/** A batch with one field of its header changed, with the root and the signature that fit it, if any can. */
function bombed({ network, leader }: ReturnType<typeof scene>, at: number, width: 4 | 8, value: bigint): Bytes {
  const entry = network.entries.at(-1);
  assert.ok(entry);
  const bytes = Uint8Array.from(entry.data);
  const view = new DataView(bytes.buffer);
  if (width === 8) view.setBigUint64(at, value);
  else view.setUint32(at, Number(value));
  leader.tail.truncate(entry.index);
  const { sha256, sign } = network.founded.cryptoOf(0);
  try {
    const batch = parseBatch(bytes);
    const { root } = leader.tail.extend(batch.header, batchLeaves(batch, sha256));
    bytes.set(root, HEADER_LENGTH);
    bytes.set(sign(leader.tail.rootPreimage()), HEADER_LENGTH + 32);
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code !== "Internal", String(error));
  }
  return bytes;
}

describe("a batch with a number at the end of its range in its header", () => {
  const bombs = [
    ...Object.entries(U64_FIELDS).flatMap(([name, at]) =>
      U64_BOMBS.map((value) => ({ name, at, width: 8, value }) as const),
    ),
    ...Object.entries(U32_FIELDS).flatMap(([name, at]) =>
      U32_BOMBS.map((value) => ({ name, at, width: 4, value }) as const),
    ),
  ];
  for (const { name, at, width, value } of bombs) {
    const title = `${name} ${value}`;
    test(`${title} is refused by a follower, which goes on, or means nothing`, () => {
      const here = scene();
      const { network, core, fatal } = here;
      const sound = network.entries.at(-1);
      assert.ok(sound);
      assert.equal(sound.data.length, BATCH_OVERHEAD);
      const data = bombed(here, at, width, value);
      const entries = network.entries.with(-1, { ...sound, data });
      const means = name === "nonceCounter" && value < 2n ** 53n;
      const hear = (sent: typeof entries) =>
        core.manager.frame(here.leader.nodeId, appendFrame(sent, 3, { commitIndex: 2 }));
      if (means) hear(entries);
      else
        assert.throws(
          () => hear(entries),
          (error) => error instanceof CocoError && error.code !== "Internal",
        );
      assert.deepEqual([core.tail.lastIndex, core.manager.refusedFrames, fatal], means ? [3, 0, []] : [2, 1, []]);
      if (means) return;
      hear(network.entries);
      assert.deepEqual([core.tail.lastIndex, core.manager.refusedFrames, fatal], [3, 1, []]);
    });

    test(`${title} is named by who verifies the ledger`, () => {
      const here = scene();
      const { network } = here;
      const sound = network.entries.at(-1);
      assert.ok(sound);
      const entries = network.entries.with(-1, { ...sound, data: bombed(here, at, width, value) });
      const { founded } = network;
      const governance: LedgerGovernance<GovernanceState> = {
        ...REAL_GOVERNANCE,
        execute: (state, batch) => executeAdministrativeBatch(state, batch, founded.governanceCrypto),
      };
      const { bad, tail } = verifyLedger(entries, { crypto: founded.cryptoOf(1), governance });
      if (name === "nonceCounter" && value < 2n ** 53n) assert.deepEqual([bad, tail.lastIndex], [undefined, 3]);
      else assert.deepEqual([bad?.index, tail.lastIndex, bad?.code === "Internal"], [3, 2, false]);
    });
  }

  test("is no later than any date can be, whatever governance adds to it", () => {
    assert.ok(MAX_BATCH_TIME_MS + 10 * 365 * 86_400_000 < MAX_DATE_MS);
    const { network } = scene();
    for (const { data } of network.entries) assert.equal(batchTimeOf(data), parseBatch(data).header.timeMs);
    assert.equal(batchTimeOf(Uint8Array.of(1, 3)), 0);
  });
});

describe("a number at the end of its range", () => {
  test("in the manifest of a snapshot is refused, or comes back as it was", () => {
    const { leader, network } = scene();
    const bytes = encodeManifest({
      networkId: network.founded.networkId,
      tail: leader.tail.toSnapshot(),
      configurationIndex: 1,
      governance: Uint8Array.of(1),
      adapters: [{ id: 1, version: 7 }],
      epoch: 1,
    });
    let tried = 0;
    for (const number of EXTREME_NUMBERS)
      for (const document of withNumber(decodeCbor(bytes), number)) {
        tried++;
        const changed = encodeCbor(document);
        try {
          const manifest = decodeManifest(changed);
          assert.ok(bytesEqual(encodeManifest(manifest), changed));
          assert.ok(manifest.tail.last.timeMs <= MAX_BATCH_TIME_MS);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code !== "Internal", String(error));
        }
      }
    assert.ok(tried >= 10 * EXTREME_NUMBERS.length, String(tried));
  });
});
