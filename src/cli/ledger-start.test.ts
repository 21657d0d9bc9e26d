import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { RealLedger, statesOf, transactionOf } from "../../test/support/real-ledger.ts";
import { type Bytes, concatBytes, fromHex, utf8Encode } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { encodeAdministrative } from "../core/governance/administrative-codec.ts";
import { encodeGovernanceState } from "../core/governance/state-codec.ts";
import { pemOfDer } from "../core/governance/pem.ts";
import { TAG_LENGTH } from "../core/ledger/batch-format.ts";
import { encodeFrameHeader, FRAME_HEADER_LENGTH, type SnapshotManifest } from "../core/ledger/snapshot-format.ts";
import { SnapshotWriter } from "../core/ledger/snapshot.ts";
import { KEEPER_SEAL_LENGTH, makeKeeperSeal } from "../core/ledger/snapshot-keeper.ts";
import { createNodeCrypto, nodeEntropy, sha256 } from "../enclave/manager/node-crypto.ts";
import { openLedgerFiles } from "../host/ledger-files.ts";
import { readSnapshotForm } from "../host/snapshot-head.ts";
import { coco } from "../../test/support/coco-here.ts";
import { SERVICE_CERTIFICATE } from "./test-receipt-sample.ts";

const root = await mkdtemp(join(tmpdir(), "coco-ledger-start-"));
after(() => rm(root, { recursive: true, force: true }));

/** A snapshot of a ledger at its end, on the disk of its second node. */
function snapshotOf(ledger: RealLedger, keeper = 1): { readonly file: Bytes; readonly digest: Bytes } {
  const [state, { networkId }] = [statesOf(ledger.entries).at(-1), ledger.network];
  const [node, other] = [ledger.network.nodes[1], ledger.network.nodes[keeper]];
  assert.ok(state && node && other);
  const manifest: SnapshotManifest = {
    networkId,
    tail: ledger.tail.toSnapshot(),
    configurationIndex: 0,
    governance: encodeGovernanceState(state),
    adapters: [],
    epoch: 1,
  };
  const crypto = createNodeCrypto(other.privateKey);
  const sealing = { signer: fromHex(node.request.nodeId), salt: nodeEntropy.bytes(16), counter: 0 };
  const writer = new SnapshotWriter(manifest, sealing, { crypto, epochKey: sha256(Uint8Array.of(1)) });
  const body = concatBytes(...writer.begin(), writer.end());
  const kept = { networkId, index: ledger.tail.lastIndex, digest: writer.digest() };
  return { file: concatBytes(body, makeKeeperSeal(kept, node.request.nodeId, crypto)), digest: writer.digest() };
}

function evidenceOf(ledger: RealLedger, index: number, digest: Bytes): Bytes {
  const seqno = ledger.tail.record(index)?.signatureSeqno ?? 0;
  return encodeAdministrative({ type: "snapshot", index, seqno, digest, bytes: 100 });
}

/** A folder that begins after an installed snapshot, with these snapshots in it. */
async function writeFolder(
  name: string,
  after: LogEntry | undefined,
  entries: readonly LogEntry[],
  snapshots: ReadonlyMap<number, Bytes>,
): Promise<string> {
  const folder = join(root, name);
  const ledger = await openLedgerFiles(folder, {
    repair: "refuse",
    onRepair: () => undefined,
    onFatal: (error) => assert.fail(error),
    chunkBytes: 600,
  });
  const written = ({ index, term }: LogEntry) => ({ index, term });
  const installed = after === undefined ? [] : [[after.index, new Uint8Array(1)] as const];
  for (const [index, data] of [...installed, ...snapshots]) {
    const file = ledger.disk.createSnapshot(index);
    await new Promise<void>((done) => file.append(data, done));
    await new Promise<void>((done) => file.finish(done));
  }
  const snapshot = after && { snapshot: written(after) };
  const hardState = { term: 3, votedFor: undefined };
  await new Promise<void>((done) => ledger.disk.persist({ id: 1, ...snapshot, hardState, entries: [] }, done));
  for (const entry of entries)
    await new Promise<void>((done) => ledger.disk.persist({ id: entry.index + 1, entries: [entry] }, done));
  if (after !== undefined && !snapshots.has(after.index)) ledger.disk.removeSnapshot(after.index);
  await ledger.close();
  return folder;
}

/** A ledger of 11 batches: snapshots after batches 3 (with complete blocks of the tree) and 7, evidence of both. */
function twiceSnapshotted(keeper = 1) {
  const ledger = new RealLedger();
  ledger.found();
  const one = (at: number) => transactionOf({ publicPart: utf8Encode(`${at}`) });
  ledger.add(Array.from({ length: 1100 }, (_, at) => one(at)));
  ledger.add([one(1)], {}, 1);
  const first = snapshotOf(ledger, keeper);
  ledger.add([one(2)]);
  ledger.administrate([evidenceOf(ledger, 3, first.digest)]);
  ledger.add([one(3)], {}, 1);
  ledger.add([one(4)]);
  const second = snapshotOf(ledger, keeper);
  ledger.add([one(5)]);
  ledger.administrate([evidenceOf(ledger, 7, second.digest)]);
  for (const at of [6, 7]) ledger.add([one(at)], {}, 1);
  return { ledger, first, second };
}

const serviceOf = (state: GovernanceState | undefined): string =>
  pemOfDer(state?.services.at(-1)?.certificate ?? new Uint8Array(), "CERTIFICATE");

describe("the ledger of a node that has taken a snapshot from its leader", () => {
  const { ledger, first, second } = twiceSnapshotted();
  const { entries, network } = ledger;
  const keeper = network.nodes[1]?.request.nodeId;
  const behind = (index: number) => entries.slice(index);
  const verify = async (folder: string, ...args: readonly string[]) => {
    const result = await coco("ledger", "verify", folder, "--json", ...args);
    return { ...result, report: JSON.parse(result.data) };
  };

  test("is verified from the snapshot on, and told to be without what was before", async () => {
    const folder = await writeFolder("behind", entries[2], behind(3), new Map([[3, first.file]]));
    const certificate = join(root, "service.pem");
    await writeFile(certificate, serviceOf(statesOf(entries).at(-1)));
    const { code, report, talk } = await verify(folder, "--service-cert", certificate);
    assert.deepEqual([code, report.valid, report.service], [0, true, true], talk);
    assert.deepEqual([report.networkId, report.lastIndex], [network.networkId, entries.length]);
    assert.deepEqual(report.start, { index: 3, seqno: 1106, firstIndex: 4, evidenceIndex: 5, keeper });
    const { data } = await coco("ledger", "verify", folder);
    assert.match(data, /ledger +valid\n/);
    assert.match(data, /not in this folder +batches 1-3\n/);
    assert.match(data, /taken at its word +the open part of the snapshot of batch 3\n/);
    assert.match(data, /evidence of it +batch 5; sealed with it by node [0-9a-f]{64}\n/);
    assert.match(data, /batches +4-11\n/);
    await writeFile(certificate, SERVICE_CERTIFICATE);
    assert.equal((await verify(folder, "--service-cert", certificate)).code, 1);
    const shown = await coco("ledger", "show", folder);
    assert.match(shown.talk, /^note: what stands in batches 1-3 is not shown/);
    const governance = await coco("ledger", "governance", folder, "--json");
    assert.equal(JSON.parse(governance.data).start.index, 3);
    assert.match(governance.talk, /^note: what stands in batches 1-3 is not shown/);
    assert.deepEqual([shown.code, shown.data.match(/^batch /gm)?.length], [0, entries.length - 3]);
  });

  test("is refused when it has to begin with its genesis", async () => {
    const folder = await writeFolder("strict", entries[2], behind(3), new Map([[3, first.file]]));
    const { code, report, talk } = await verify(folder, "--from-genesis");
    assert.deepEqual([code, report.valid], [1, false]);
    assert.match(talk, /LedgerIncomplete: the ledger begins after the snapshot of batch 3/);
    assert.doesNotMatch((await coco("ledger", "verify", folder, "--from-genesis")).data, /valid/);
    const whole = await writeFolder("whole", undefined, entries, new Map());
    assert.equal((await verify(whole, "--from-genesis")).code, 0);
  });

  test("is verified when only a newer snapshot is left: batches before it by their digests", async () => {
    const folder = await writeFolder("newer", entries[2], behind(3), new Map([[7, second.file]]));
    const { code, report } = await verify(folder);
    assert.deepEqual([code, report.start.index, report.start.firstIndex, report.start.evidenceIndex], [0, 7, 4, 9]);
    assert.match((await coco("ledger", "verify", folder)).data, /batch 7; 4-7 lead to it by their digests/);
    const changed = behind(3).map((entry) => (entry.index === 5 ? { ...entry, data: entry.data.with(-1, 1) } : entry));
    const signature = await writeFolder("signature", entries[2], changed, new Map([[7, second.file]]));
    assert.equal((await verify(signature)).code, 0, "signatures before it are not looked at, all that is signed is");
    for (const [name, position] of [
      ["header", 40],
      ["content", 200],
    ] as const) {
      const other = behind(3).map((entry) =>
        entry.index === 5 ? { ...entry, data: entry.data.with(position, (entry.data[position] ?? 0) ^ 1) } : entry,
      );
      const bad = await verify(await writeFolder(name, entries[2], other, new Map([[7, second.file]])));
      assert.deepEqual([bad.code, bad.report.valid], [1, false], name);
    }
  });

  test("is refused when a batch behind the snapshot does not hold, or a chunk in the middle is missing", async () => {
    const changed = behind(3).map((entry) => (entry.index === 8 ? { ...entry, data: entry.data.with(-1, 1) } : entry));
    const forged = await verify(await writeFolder("forged", entries[2], changed, new Map([[3, first.file]])));
    assert.deepEqual([forged.code, forged.report.bad.index, forged.report.lastIndex], [1, 8, 7]);
    const folder = await writeFolder("gap", entries[2], behind(3), new Map([[3, first.file]]));
    const chunks = (await readdir(folder)).filter((name) => name.startsWith("ledger_")).sort();
    assert.ok(chunks.length > 2);
    await rm(join(folder, chunks[1] ?? ""));
    const { code, talk } = await coco("ledger", "verify", folder);
    assert.equal(code, 1);
    assert.match(talk, /the chunk before it is missing/);
  });

  test("is refused without a snapshot to begin with, and with one of another ledger", async () => {
    const none = await verify(await writeFolder("none", entries[2], behind(3), new Map()));
    assert.deepEqual([none.code, none.report.start], [1, undefined]);
    assert.match(none.talk, /no snapshot for the ledger to begin after, of index 3/);
    const other = twiceSnapshotted();
    const foreign = await verify(await writeFolder("other", entries[2], behind(3), new Map([[3, other.first.file]])));
    assert.deepEqual([foreign.code, foreign.report.bad.index], [1, 4]);
  });

  test("is refused with a snapshot that was cut anywhere, or has bytes behind its end", async () => {
    const { file } = second;
    const form = (bytes: Bytes) => readSnapshotForm({ index: 7, bytes: bytes.length, parts: () => [bytes] });
    assert.equal(form(file).tail.last.index, 7);
    for (let length = 0; length < file.length; length += length > file.length - 300 ? 1 : 11)
      assert.throws(() => form(file.subarray(0, length)), { code: "MalformedInput" }, `cut at ${length}`);
    const longer = Uint8Array.from([...file, 0]);
    assert.throws(() => form(longer), /something follows its end/);
    // The last frame is a header and a tag.
    const end = file.length - KEEPER_SEAL_LENGTH - FRAME_HEADER_LENGTH - TAG_LENGTH;
    const part = encodeFrameHeader({ kind: "part", adapterId: 5, length: TAG_LENGTH + 1 });
    const more = concatBytes(file.subarray(0, end), part, new Uint8Array(TAG_LENGTH + 1), file.subarray(end));
    assert.throws(() => form(more), /frame 1 is of an adapter that is not expected here/);
    for (const [name, changed] of [
      ["cut-snapshot", file.subarray(0, -1)],
      ["long-snapshot", longer],
    ] as const) {
      const folder = await writeFolder(name, undefined, entries, new Map([[7, changed]]));
      const { code, report, talk } = await verify(folder);
      assert.deepEqual([code, report.valid, report.bad], [1, false, undefined]);
      assert.match(talk, /LedgerCorrupt: snapshot 7: /);
    }
  });

  test("is refused when the snapshot was not sealed with its evidence by a node of the network", async () => {
    const tail = (first.file.at(-1) ?? 0) ^ 1;
    const folder = await writeFolder("seal", entries[2], behind(3), new Map([[3, first.file.with(-1, tail)]]));
    const { code, talk } = await verify(folder);
    assert.equal(code, 1);
    assert.match(talk, /no listed node has sealed it with its evidence/);
    const young = await writeFolder("young", entries[2], entries.slice(3, 4), new Map([[3, first.file]]));
    const { code: taken, report } = await verify(young);
    assert.deepEqual([taken, report.start.evidenceIndex], [0, undefined]);
    assert.match((await coco("ledger", "verify", young)).data, /evidence of it +none in what follows/);
  });

  test("is refused when digests in the open part of its snapshot were changed", async () => {
    const { file } = first;
    const tree = ledger.tail.toSnapshot().blocks.subarray(0, 32);
    const last = ledger.tail.record(3)?.digest;
    assert.ok(last);
    for (const [name, digest] of Object.entries({ network: fromHex(network.networkId), last, tree })) {
      const position = Buffer.from(file).indexOf(digest) + 5;
      assert.ok(position > 5, name);
      const changed = file.with(position, (file[position] ?? 0) ^ 1);
      const folder = await writeFolder(`front-${name}`, entries[2], behind(3), new Map([[3, changed]]));
      assert.equal((await verify(folder)).code, 1, name);
    }
  });
});
