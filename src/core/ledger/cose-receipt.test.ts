import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as nodeCrypto from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import { type Bytes, toHex } from "../codec/bytes.ts";
import { type CborValue, encodeCbor } from "../codec/cbor.ts";
import { parseBatch, type ParsedBatch } from "./batch-format.ts";
import { makeCoseReceipt, verifyCoseReceipt, type CoseReceiptPorts } from "./cose-receipt.ts";
import { signatureToDer } from "./ecdsa-der.ts";
import { ADMINISTRATIVE, makeNode, privateTransaction, publicTransaction, sha256, TestLedger } from "./fixture.test.ts";

const service = makeNode();
const ports: CoseReceiptPorts = { sha256, verify: service.crypto.verify, serviceKeys: [service.publicKey] };
const CLAIMS = sha256(Uint8Array.of(1));
const ISSUER = "ab".repeat(32);

const ledger = new TestLedger();
const batches: readonly ParsedBatch[] = [
  ledger.build([publicTransaction(1)], ADMINISTRATIVE),
  ledger.build([privateTransaction(30, CLAIMS), publicTransaction(2), privateTransaction(10)], { view: 3 }),
  ledger.build([privateTransaction(10)]),
].map(({ bytes }) => parseBatch(bytes));

function receiptOf(index: number, position: number, sign = service.crypto.sign): Bytes {
  const batch = batches[index - 1];
  assert.ok(batch !== undefined);
  const { tail, keys, node } = ledger;
  const input = { batch, position, tail, keys, crypto: node.crypto };
  return makeCoseReceipt({ ...input, serviceKey: service.publicKey, issuer: ISSUER, signAsService: sign });
}

function refuses(bytes: Bytes, reason = /./): void {
  assert.throws(
    () => verifyCoseReceipt(bytes, ports),
    (error) => error instanceof CocoError && error.code === "ReceiptInvalid" && reason.test(error.message),
  );
}

/** A second, lenient reader of CBOR, to look at receipts without the code under test. */
function read(bytes: Buffer, from = 0): { readonly value: unknown; readonly end: number } {
  const head = bytes.readUInt8(from);
  const [major, low] = [head >> 5, head & 31];
  if (major === 7) return { value: [false, true, null][low - 20], end: from + 1 };
  const width = low < 24 ? 0 : 2 ** (low - 24);
  const argument = width === 0 ? low : bytes.readUIntBE(from + 1, width);
  let at = from + 1 + width;
  if (major === 0) return { value: argument, end: at };
  if (major === 1) return { value: -1 - argument, end: at };
  if (major === 2) return { value: bytes.subarray(at, at + argument), end: at + argument };
  if (major === 3) return { value: bytes.toString("utf8", at, at + argument), end: at + argument };
  if (major === 6) return read(bytes, at);
  const items: unknown[] = [];
  for (let count = 0; count < argument * (major === 5 ? 2 : 1); count++) {
    const item = read(bytes, at);
    items.push(item.value);
    at = item.end;
  }
  if (major === 4) return { value: items, end: at };
  const pairs = Array.from({ length: argument }, (_, pair) => [items[2 * pair], items[2 * pair + 1]] as const);
  return { value: new Map(pairs), end: at };
}

function field(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((whole, key) => {
    if (whole instanceof Map) return whole.get(key);
    return Array.isArray(whole) && typeof key === "number" ? whole[key] : undefined;
  }, value);
}

function bufferOf(value: unknown): Buffer {
  assert.ok(Buffer.isBuffer(value));
  return value;
}

const digest = (...parts: readonly Uint8Array[]): Buffer =>
  nodeCrypto.createHash("sha256").update(Buffer.concat(parts)).digest();

/** A byte string of less than 64 KiB in CBOR. */
function byteString(bytes: Uint8Array): Buffer {
  const { length } = bytes;
  const head = length < 24 ? [0x40 | length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 255];
  return Buffer.concat([Uint8Array.from(head), bytes]);
}

describe("COSE receipt", () => {
  test("proves id, claims and root of every transaction of the ledger", () => {
    for (const index of [1, 2, 3]) {
      const record = ledger.tail.record(index);
      assert.ok(record !== undefined);
      const { view, firstSeqno, count, signatureSeqno } = record;
      for (let position = 0; position < count; position++) {
        const proven = verifyCoseReceipt(receiptOf(index, position), ports);
        assert.equal(proven.transactionId, `${view}.${firstSeqno + position}`);
        assert.equal(proven.signatureTransactionId, `${view}.${signatureSeqno}`);
        assert.equal(toHex(proven.root), toHex(ledger.tail.root(signatureSeqno)));
        assert.equal(toHex(proven.claimsDigest), index === 2 && position === 0 ? toHex(CLAIMS) : "00".repeat(32));
        assert.deepEqual([proven.issuer, proven.issuedAt], [ISSUER, 1_700_000_000]);
      }
    }
  });

  test("is what the profile says, read and verified without the code under test, at last by openssl", () => {
    const bytes = Buffer.from(receiptOf(2, 0));
    assert.equal(bytes[0], 0xd2);
    const { value: message, end } = read(bytes);
    assert.equal(end, bytes.length);
    const protectedBytes = bufferOf(field(message, 0));
    const headers = read(protectedBytes).value;
    assert.equal(field(headers, 1), -7);
    assert.equal(field(headers, 395), 2);
    assert.equal(bufferOf(field(headers, 4)).toString("hex"), digest(service.publicKey).toString("hex"));
    assert.equal(field(headers, 15, 1), ISSUER);
    assert.equal(field(headers, 15, 6), 1_700_000_000);
    assert.equal(field(headers, "ccf.v1", "txid"), "3.6");
    assert.equal(field(message, 2), null);
    const proof = read(bufferOf(field(message, 1, 396, -1, 0))).value;
    const evidence = field(proof, 1, 1);
    assert.ok(typeof evidence === "string" && /^ce:3\.3:[0-9a-f]{64}$/.test(evidence));
    assert.equal(bufferOf(field(proof, 1, 2)).toString("hex"), toHex(CLAIMS));
    let root = digest(bufferOf(field(proof, 1, 0)), digest(Buffer.from(evidence)), CLAIMS);
    const path = field(proof, 2);
    assert.ok(Array.isArray(path) && path.length > 0);
    for (const step of path) {
      const sibling = bufferOf(field(step, 1));
      root = field(step, 0) === true ? digest(sibling, root) : digest(root, sibling);
    }
    const signed = Buffer.concat([
      Buffer.from("846a5369676e617475726531", "hex"), // array of 4, text "Signature1"
      byteString(protectedBytes),
      byteString(new Uint8Array(0)),
      byteString(root),
    ]);
    const signature = bufferOf(field(message, 3));
    const key = nodeCrypto.createPublicKey({ key: Buffer.from(service.publicKey), format: "der", type: "spki" });
    assert.ok(nodeCrypto.verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature));
    const folder = mkdtempSync(join(tmpdir(), "coco-cose-"));
    try {
      const file = (name: string, content: Uint8Array | string): string => {
        writeFileSync(join(folder, name), content);
        return join(folder, name);
      };
      const keyFile = file("key.pem", key.export({ type: "spki", format: "pem" }));
      const signatureFile = file("signature", signatureToDer(signature));
      const args = ["dgst", "-sha256", "-verify", keyFile, "-signature", signatureFile, file("signed", signed)];
      assert.equal(execFileSync("openssl", args, { encoding: "utf8" }).trim(), "Verified OK");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("with any byte changed in any of three ways, cut off anywhere or extended, is refused", () => {
    const bytes = receiptOf(2, 0);
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [1, 0x20, 0xff]) refuses(bytes.with(at, (bytes[at] ?? 0) ^ mask));
      refuses(bytes.subarray(0, at));
    }
    refuses(Uint8Array.from([...bytes, 0]));
    refuses(new Uint8Array(70_000), /more than/);
  });

  test("signed by the service over what the profile does not allow is refused by name", () => {
    const sign = (headers: CborValue, changes: Partial<Record<"unprotected" | "payload", CborValue>> = {}): Bytes => {
      const original = read(Buffer.from(receiptOf(2, 0))).value;
      const proof = new Uint8Array(bufferOf(field(original, 1, 396, -1, 0)));
      const root = ledger.tail.root(6);
      const encoded = encodeCbor(headers);
      const signature = new Uint8Array(
        service.crypto.sign(encodeCbor(["Signature1", encoded, new Uint8Array(0), root])),
      );
      const unprotected = changes.unprotected ?? new Map([[396, new Map([[-1, [proof]]])]]);
      return encodeCbor({ tag: 18, value: [encoded, unprotected, changes.payload ?? null, signature] });
    };
    const good = new Map<number | string, CborValue>([
      [1, -7],
      [4, new Uint8Array(sha256(service.publicKey))],
      [
        15,
        new Map<number, CborValue>([
          [1, ISSUER],
          [6, 5],
        ]),
      ],
      [395, 2],
      ["ccf.v1", new Map([["txid", "3.6"]])],
    ]);
    const change = (label: number | string, value: CborValue): Bytes => sign(new Map(good).set(label, value));
    assert.equal(verifyCoseReceipt(sign(good), ports).transactionId, "3.3");
    refuses(change(1, -35), /algorithm/);
    refuses(change(395, 1), /verifiable data structure/);
    refuses(change(4, new Uint8Array(32)), /key id/);
    refuses(change(99, 1), /unknown label 99/);
    refuses(change("ccf.v1", new Map([["txid", "3.4"]])), /path is not that/);
    refuses(change("ccf.v1", new Map([["txid", "3.9"]])), /path is not that/);
    refuses(change("ccf.v1", new Map([["txid", "2.6"]])), /txid/);
    refuses(change("ccf.v1", new Map([["txid", "3.2"]])), /txid/);
    refuses(change("ccf.v1", new Map([["txid", "3"]])), /view\.seqno/);
    refuses(change(15, new Map([[1, ISSUER]])), /claims lacks the label 6/);
    refuses(sign(good, { payload: new Uint8Array(ledger.tail.root(6)) }), /not detached/);
    refuses(sign(good, { unprotected: new Map() }), /lacks the label 396/);
    refuses(sign(good, { unprotected: new Map([[396, new Map([[-1, []]])]]) }), /inclusion proof/);
  });

  test("of another service, and one signed by a node instead, are refused", () => {
    const other = makeNode();
    assert.throws(
      () => verifyCoseReceipt(receiptOf(2, 0), { ...ports, serviceKeys: [other.publicKey] }),
      (error) => error instanceof CocoError && /key id is not that of the service/.test(error.message),
    );
    refuses(receiptOf(2, 0, ledger.node.crypto.sign), /signature over the Merkle root/);
  });

  test("does not exist for a signature transaction", () => {
    assert.throws(
      () => receiptOf(2, 3),
      (error) => error instanceof CocoError && error.code === "NotFound",
    );
  });
});
