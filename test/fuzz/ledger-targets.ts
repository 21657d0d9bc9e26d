/** Fuzzed: what nodes send each other, and what stands in the ledger or proves what does, over a small ledger made here. */
import { type Bytes, bytesEqual, concatBytes, EMPTY, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { parseStrictJson } from "../../src/core/codec/json.ts";
import { configurationOfBatch, quarantinedByBatch } from "../../src/core/governance/administrative-batch.ts";
import { encodeWriteSet } from "../../src/core/kv/write-set.ts";
import { batchKindOf, batchTimeOf } from "../../src/core/ledger/batch-glance.ts";
import { parseBatch } from "../../src/core/ledger/batch-format.ts";
import { makeCoseReceipt, verifyCoseReceipt } from "../../src/core/ledger/cose-receipt.ts";
import { LedgerKeys } from "../../src/core/ledger/keys.ts";
import { makeReceipt, verifyReceipt } from "../../src/core/ledger/receipt.ts";
import { decodeManifest, encodeManifest } from "../../src/core/ledger/snapshot-format.ts";
import { SnapshotReader, SnapshotWriter } from "../../src/core/ledger/snapshot.ts";
import { decodeFrame, encodeFrame, type Frame } from "../../src/enclave/manager/frames.ts";
import { CHUNK_HEADER_LENGTH, readChunkHeader, readRecordHeader, recordData } from "../../src/host/ledger-record.ts";
import { CocoError } from "../../src/errors.ts";
import { chunkOf } from "../support/real-ledger.ts";
import { SnapshotNetwork, SnapshotNode } from "../support/snapshot-node.ts";
import { appendFrame } from "../support/started-core.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { expectThat, plain } from "./properties.ts";

const CALLER = { actor: "member1", certificate: "ab".repeat(32) };
const SENT = { item: { id: Uint8Array.of(1), body: Uint8Array.of(2) }, sender: CALLER };

const FRAMES: readonly Frame[] = [
  { type: "consensus", message: { type: "vote", preVote: true, transfer: false, term: 3, lastIndex: 7, lastTerm: 2 } },
  { type: "consensus", message: { type: "voteResponse", preVote: false, term: 3, granted: true } },
  { type: "consensus", message: { type: "restartAnswer", term: 5, lastIndex: 4, lastTerm: 3, recovering: true } },
  { type: "forward", adapter: 1, items: [SENT] },
  {
    type: "outcomes",
    adapter: 2,
    outcomes: [
      { id: Uint8Array.of(1), index: 9, outcome: { type: "included", result: Uint8Array.of(3), position: 0 } },
      { id: Uint8Array.of(2), index: 4, outcome: { type: "refused", code: "ActorNotAllowed" } },
    ],
  },
  { type: "query", id: 5, path: "/kv", body: Uint8Array.of(1), caller: CALLER },
  { type: "queryResponse", id: 5, response: { status: 200, contentType: "text/plain", body: Uint8Array.of(1) } },
  { type: "readIndexResponse", id: 5, index: 7 },
  { type: "challenge", challenge: new Uint8Array(32).fill(8) },
  { type: "attest", challenge: new Uint8Array(32).fill(7), evidence: Uint8Array.of(1) },
  { type: "govern", message: Uint8Array.of(1), chain: [Uint8Array.of(2)] },
  {
    type: "governRefused",
    key: "ab".repeat(32),
    error: new CocoError("ProposalInvalid", "no", { reason: "Malformed" }),
  },
];

/** A ledger of a genesis, a batch with a private part and an empty batch, and the receipts and the snapshot of it. */
function makeLedger() {
  const network = new SnapshotNetwork();
  const node = new SnapshotNode(network);
  node.found();
  const write = encodeWriteSet([{ table: 1, key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
  const claimed = {
    id: Uint8Array.of(1),
    publicPart: Uint8Array.of(1),
    privatePart: write,
    claimsDigest: new Uint8Array(32),
  };
  const batch = node.forge([claimed, { ...claimed, id: EMPTY, claimsDigest: undefined }]);
  node.forge([], { kind: "empty", adapterId: 0 });
  const { crypto, epochKeyOf } = node.opening;
  const keys = new LedgerKeys(crypto, (epoch) => {
    const state = node.administration.appended;
    return state && epochKeyOf(epoch, state);
  });
  return { network, node, batch, crypto, keys, receipt: { batch, position: 0, tail: node.tail, keys, crypto } };
}

type MadeLedger = ReturnType<typeof makeLedger>;

function decodeFrames(input: Bytes): void {
  const frame = decodeFrame(input);
  expectThat(bytesEqual(encodeFrame(frame), input), "two encodings of one frame");
}

function decodeBatch(input: Bytes): void {
  quarantinedByBatch(input);
  configurationOfBatch(input);
  const { header, transactions } = parseBatch(input);
  expectThat(transactions.length === header.count, "another number of transactions than the header says");
  expectThat(
    batchKindOf(input) === header.kind && batchTimeOf(input) === header.timeMs,
    "a glance sees something else",
  );
}

function decodeRecord(input: Bytes): void {
  readChunkHeader(input);
  const header = readRecordHeader(input, CHUNK_HEADER_LENGTH);
  const data = header && recordData(input, CHUNK_HEADER_LENGTH, header);
  expectThat(data === undefined || data.length === header?.length, "a record of another length than its header says");
}

/** No key that signs, so that no receipt is good: a change of one is never taken for one. */
function receiptTargets({ receipt, crypto: { sha256 } }: MadeLedger): readonly FuzzTarget[] {
  const certificate = "certificate";
  const json = utf8Encode(
    JSON.stringify(makeReceipt({ ...receipt, certificate, serviceEndorsements: ["endorsement"] })),
  );
  const serviceKey = Uint8Array.of(1);
  const cose = makeCoseReceipt({
    ...receipt,
    serviceKey,
    issuer: "ab".repeat(32),
    signAsService: () => new Uint8Array(64),
  });
  const never = { sha256, verify: () => false };
  return [
    {
      ...{ name: "receipt", seeds: [json], scripts: /\/dist\/src\/core\/(?:ledger|codec)\// },
      run: (input) => {
        const value = plain(parseStrictJson(utf8Decode(input)));
        const found = verifyReceipt(value, { ...never, checkNodeCertificate: () => Uint8Array.of(1) });
        expectThat(found === undefined, "a receipt without a signature holds");
      },
    },
    {
      ...{ name: "cose-receipt", seeds: [cose], scripts: /\/dist\/src\/core\/(?:ledger|codec)\// },
      run: (input) => {
        const found = verifyCoseReceipt(input, { ...never, serviceKeys: [serviceKey] });
        expectThat(found === undefined, "a receipt without a signature holds");
      },
    },
  ];
}

function snapshotTargets({ network, node, crypto }: MadeLedger): readonly FuzzTarget[] {
  const { networkId } = network.founded;
  const epochKey = new Uint8Array(32).fill(3);
  const manifest = {
    ...{ networkId, tail: node.tail.toSnapshot(), configurationIndex: 1, governance: Uint8Array.of(1) },
    ...{ adapters: [{ id: 1, version: 7 }], epoch: 1 },
  };
  const sealing = { signer: new Uint8Array(32).fill(1), salt: new Uint8Array(16).fill(99), counter: 1 };
  const writer = new SnapshotWriter(manifest, sealing, { crypto, epochKey });
  const file = concatBytes(...writer.begin(), writer.part(1, Uint8Array.of(1, 2, 3)), writer.end());
  return [
    {
      ...{ name: "snapshot", seeds: [file], scripts: /\/dist\/src\/core\/(?:ledger|codec)\// },
      run: (input) => {
        const reader = new SnapshotReader(networkId, { crypto, epochKeyOf: () => epochKey });
        reader.feed(input);
        reader.finish();
        expectThat(bytesEqual(input, file), "another file than the one that was sealed");
      },
    },
    {
      ...{
        name: "snapshot-manifest",
        seeds: [encodeManifest(manifest)],
        scripts: /\/dist\/src\/core\/(?:ledger|codec)\//,
      },
      run: (input) =>
        expectThat(bytesEqual(encodeManifest(decodeManifest(input)), input), "two encodings of a manifest"),
    },
  ];
}

/** The targets of the ledger and of what nodes send each other. */
export function ledgerTargets(): readonly FuzzTarget[] {
  const ledger = makeLedger();
  const { entries } = ledger.network;
  return [
    {
      ...{ name: "frame", seeds: [...FRAMES.map(encodeFrame), appendFrame(entries, 3)], run: decodeFrames },
      scripts: /\/dist\/src\/(?:enclave\/manager\/(?:governance-)?frames|core\/(?:codec|consensus\/messages))/,
    },
    {
      ...{ name: "batch", seeds: entries.map(({ data }) => data), run: decodeBatch },
      scripts: /\/dist\/src\/core\/(?:ledger|governance|codec)\//,
    },
    {
      ...{ name: "ledger-record", seeds: [chunkOf(entries.slice(-1)), chunkOf(entries)], run: decodeRecord },
      scripts: /\/dist\/src\/(?:host\/ledger-record|core\/codec\/)/,
    },
    ...snapshotTargets(ledger),
    ...receiptTargets(ledger),
  ];
}
