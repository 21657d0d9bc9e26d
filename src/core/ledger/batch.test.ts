import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { type Bytes, bytesEqual, toHex } from "../codec/bytes.ts";
import { MAX_BATCH_TRANSACTIONS, parseBatch } from "./batch-format.ts";
import { type BatchTransaction, unsealBatch, verifyBatch } from "./batch.ts";
import { ADMINISTRATIVE, makeNode, privateTransaction, publicTransaction, sha256, TestLedger } from "./fixture.test.ts";
import { type LedgerCrypto, LedgerKeys } from "./keys.ts";
import { LedgerTail } from "./tail.ts";

function isCode(...codes: readonly string[]): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && codes.includes(error.code);
}

/** A ledger of three batches (administrative, application, empty) and their bytes. */
function smallLedger(): { readonly ledger: TestLedger; readonly batches: readonly Bytes[] } {
  const ledger = new TestLedger();
  const claims = sha256(Uint8Array.of(9));
  const batches = [
    ledger.build([publicTransaction(1, 2, 3)], ADMINISTRATIVE),
    ledger.build([privateTransaction(20, claims), publicTransaction(4)]),
    ledger.build([], { kind: "empty", adapterId: 0, view: 2 }),
  ];
  return { ledger, batches: batches.map(({ bytes }) => bytes) };
}

/** Verifies and opens a batch as a follower; throws unless everything fits. */
function accept(bytes: Bytes, tail: LedgerTail, ledger: TestLedger): void {
  const batch = parseBatch(bytes);
  verifyBatch(batch, tail, ledger.publicKeyOf, ledger.node.crypto);
  unsealBatch(batch, ledger.keys, ledger.node.crypto);
}

function follow(batches: readonly Bytes[], ledger: TestLedger): LedgerTail {
  const tail = new LedgerTail(sha256);
  for (const bytes of batches) accept(bytes, tail, ledger);
  return tail;
}

describe("batch", () => {
  test("a follower that verifies what the leader built has the leader's root, digest and place in the ledger", () => {
    const { ledger, batches } = smallLedger();
    const tail = follow(batches, ledger);
    assert.equal(toHex(tail.root()), toHex(ledger.tail.root()));
    assert.deepEqual(tail.last, ledger.tail.last);
    assert.equal(tail.lastSeqno, 6);
    assert.deepEqual(tail.record(2), ledger.tail.record(2));
    assert.equal(tail.record(2)?.signatureSeqno, 5);
  });

  test("what is to be sealed is wiped once it is", () => {
    const node = makeNode();
    const plaintexts: Bytes[] = [];
    const seal: LedgerCrypto["seal"] = (key, nonce, plaintext, associatedData) => {
      assert.ok(plaintext.includes(7));
      plaintexts.push(plaintext);
      return node.crypto.seal(key, nonce, plaintext, associatedData);
    };
    const ledger = new TestLedger({ ...node, crypto: { ...node.crypto, seal } });
    const id = new Uint8Array(32).fill(7);
    ledger.build([{ id, publicPart: id, privatePart: id, claimsDigest: undefined }]);
    assert.equal(plaintexts.length, 1);
    for (const plaintext of plaintexts) assert.ok(plaintext.length > 64 && plaintext.every((byte) => byte === 0));
  });

  test("a sealed section or a signature of another length makes no batch, and the tail is as before", () => {
    const node = makeNode();
    const { seal, sign } = node.crypto;
    const wrong: readonly Partial<LedgerCrypto>[] = [-1, 1].flatMap((by) => [
      { seal: (...input) => new Uint8Array(seal(...input).length + by) },
      { sign: (data) => new Uint8Array(sign(data).length + by) },
    ]);
    for (const changes of wrong) {
      const ledger = new TestLedger({ ...node, crypto: { ...node.crypto, ...changes } });
      const before = toHex(ledger.tail.lastDigest);
      assert.throws(() => ledger.build([privateTransaction(20)]), isCode("Internal"));
      assert.deepEqual([ledger.tail.lastIndex, toHex(ledger.tail.lastDigest)], [0, before]);
    }
  });

  test("what was sealed comes back, transaction by transaction", () => {
    const bytes = fc.uint8Array({ maxLength: 40 });
    const transaction: fc.Arbitrary<BatchTransaction> = fc.record({
      id: fc.uint8Array({ maxLength: 32 }),
      publicPart: bytes,
      privatePart: bytes,
      claimsDigest: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined }),
    });
    const ledger = new TestLedger();
    const tail = new LedgerTail(sha256);
    fc.assert(
      fc.property(fc.array(transaction, { minLength: 1, maxLength: 6 }), (transactions) => {
        const built = ledger.build(transactions);
        const batch = parseBatch(built.bytes);
        assert.deepEqual(verifyBatch(batch, tail, ledger.publicKeyOf, ledger.node.crypto), built.record);
        const opened = unsealBatch(batch, ledger.keys, ledger.node.crypto);
        transactions.forEach(({ id, publicPart, privatePart, claimsDigest }, position) => {
          assert.ok(bytesEqual(opened.id(position), id));
          assert.ok(bytesEqual(opened.privatePart(position), privatePart));
          assert.ok(bytesEqual(batch.transactions[position]?.publicPart ?? id, publicPart));
          assert.deepEqual(batch.transactions[position]?.claimsDigest === undefined, claimsDigest === undefined);
          assert.ok(bytesEqual(opened.parts[2 * position] ?? id, publicPart));
          assert.equal(opened.blinding(position) === undefined, id.length + privatePart.length === 0);
        });
      }),
      { numRuns: 40 },
    );
  });

  test("every flipped byte of a batch is detected, and the tail stays as it was", () => {
    const { ledger, batches } = smallLedger();
    batches.forEach((bytes, at) => {
      const tail = follow(batches.slice(0, at), ledger);
      for (let position = 0; position < bytes.length; position++) {
        const changed = Uint8Array.from(bytes);
        changed[position] = (changed[position] ?? 0) ^ (1 << (position % 8));
        assert.throws(
          () => accept(changed, tail, ledger),
          isCode("MalformedInput", "LimitExceeded", "LedgerTooNew", "LedgerCorrupt", "LedgerForked"),
          `byte ${position}`,
        );
        assert.equal(tail.lastIndex, at);
      }
      accept(bytes, tail, ledger);
    });
  });

  test("every truncation of a batch, and every byte after it, is refused", () => {
    for (const bytes of smallLedger().batches) {
      for (let length = 0; length < bytes.length; length++)
        assert.throws(() => parseBatch(bytes.subarray(0, length)), isCode("MalformedInput"));
      assert.throws(() => parseBatch(Uint8Array.of(...bytes, 0)), isCode("MalformedInput"));
    }
  });

  test("random bytes never crash the parser with anything but a coded error", () => {
    const [first = new Uint8Array(0)] = smallLedger().batches;
    const edit = fc.array(fc.tuple(fc.nat(first.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(edit, fc.uint8Array({ maxLength: 20 }), (edits, extra) => {
        const bytes = Uint8Array.of(...first, ...extra);
        for (const [at, value] of edits) bytes[at] = value;
        try {
          parseBatch(bytes);
        } catch (error) {
          assert.ok(error instanceof CocoError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a batch of another history is named a fork", () => {
    const node = makeNode();
    const [left, right] = [new TestLedger(node), new TestLedger(node)];
    left.build([publicTransaction(1)], ADMINISTRATIVE);
    right.build([publicTransaction(2)], ADMINISTRATIVE);
    const second = right.build([publicTransaction(3)], ADMINISTRATIVE);
    const forked = (error: unknown): boolean =>
      error instanceof CocoError && error.code === "LedgerForked" && error.data["index"] === 2;
    assert.throws(() => verifyBatch(parseBatch(second.bytes), left.tail, left.publicKeyOf, node.crypto), forked);
  });

  test("a batch of a node that may not sign, or signed by another key, is refused", () => {
    const [ledger, other] = [new TestLedger(), makeNode()];
    const batch = parseBatch(ledger.build([publicTransaction(1)], ADMINISTRATIVE).bytes);
    const tail = new LedgerTail(sha256);
    assert.throws(() => verifyBatch(batch, tail, () => undefined, other.crypto), isCode("LedgerCorrupt"));
    assert.throws(() => verifyBatch(batch, tail, () => other.publicKey, other.crypto), isCode("LedgerCorrupt"));
    const forged = { ...batch, signature: other.crypto.sign(ledger.tail.rootPreimage()) };
    assert.throws(() => verifyBatch(forged, tail, ledger.publicKeyOf, other.crypto), isCode("LedgerCorrupt"));
    assert.equal(tail.lastSeqno, 0);
  });

  test("private bytes and request ids do not stand in the batch, and equal ones have different commitments", () => {
    const ledger = new TestLedger();
    const secret = { ...privateTransaction(0), privatePart: new Uint8Array(40).fill(0xab) };
    const built = ledger.build([secret, secret]);
    const text = toHex(built.bytes);
    assert.ok(!text.includes(toHex(secret.privatePart)) && !text.includes(toHex(secret.id)));
    const [first, second] = parseBatch(built.bytes).transactions;
    assert.ok(first?.privateCommitment !== undefined && second?.privateCommitment !== undefined);
    assert.ok(!bytesEqual(first.privateCommitment, second.privateCommitment));
    assert.ok(!bytesEqual(first.commitEvidenceDigest, second.commitEvidenceDigest));
  });

  test("without the key of the epoch a batch is verified but not opened", () => {
    const ledger = new TestLedger();
    const batch = parseBatch(ledger.build([privateTransaction(5)]).bytes);
    verifyBatch(batch, new LedgerTail(sha256), ledger.publicKeyOf, ledger.node.crypto);
    const noKeys = new LedgerKeys(ledger.node.crypto, () => undefined);
    assert.throws(() => unsealBatch(batch, noKeys, ledger.node.crypto), isCode("NotReady"));
    const wrongKeys = new LedgerKeys(ledger.node.crypto, () => new Uint8Array(32));
    assert.throws(() => unsealBatch(batch, wrongKeys, ledger.node.crypto), isCode("LedgerCorrupt"));
  });

  test("a batch that breaks a rule is not built and leaves the tail unchanged", () => {
    const ledger = new TestLedger();
    const empty = { kind: "empty", adapterId: 0 } as const;
    const many = Array.from({ length: MAX_BATCH_TRANSACTIONS + 1 }, () => publicTransaction());
    assert.throws(() => ledger.build([], empty), isCode("MalformedInput"));
    assert.throws(() => ledger.build([privateTransaction(1)], ADMINISTRATIVE), isCode("Internal"));
    assert.throws(() => ledger.build([publicTransaction(1)], { epoch: 0 }), isCode("MalformedInput"));
    assert.throws(() => ledger.build(many), isCode("LimitExceeded"));
    assert.throws(() => ledger.build([privateTransaction(16 * 1024 * 1024)]), isCode("LimitExceeded"));
    assert.throws(() => ledger.build([{ ...publicTransaction(1), id: new Uint8Array(33) }]), isCode("Internal"));
    assert.equal(ledger.tail.lastSeqno, 0);
    ledger.build([publicTransaction(1)], { view: 3 });
    assert.throws(() => ledger.build([publicTransaction(1)], { view: 2 }), isCode("LedgerCorrupt"));
    assert.equal(ledger.tail.lastIndex, 1);
  });

  test("the bytes are those of docs/reference/ledger-format.md, read here by its offsets alone", () => {
    const ledger = new TestLedger();
    ledger.build([publicTransaction(1)], ADMINISTRATIVE);
    const previous = ledger.tail.lastDigest;
    const secret = privateTransaction(3, new Uint8Array(32).fill(5));
    const { bytes } = ledger.build([secret], { view: 4 });
    const at = (offset: number, length: number): Buffer => Buffer.from(bytes.subarray(offset, offset + length));
    const numbers = [
      at(0, 1).readUInt8(),
      at(1, 1).readUInt8(),
      ...[2, 10, 18].map((offset) => Number(at(offset, 8).readBigUInt64BE())),
      at(26, 4).readUInt32BE(),
    ];
    assert.deepEqual(numbers, [1, 1, 4, 2, 3, 1]);
    assert.equal(toHex(at(80, 64)), toHex(previous) + toHex(ledger.node.id));
    assert.deepEqual([at(144, 4).readUInt32BE(), at(148, 4).readUInt32BE()], [1 + 1 + 2 + 96, 1 + 32 + 1 + 3 + 16]);
    const { crypto } = ledger.node;
    const keySalt = Buffer.concat([ledger.node.id, at(56, 16)]);
    const epochKey = sha256(Uint8Array.of(1));
    const plaintext = crypto.open(
      crypto.hkdf(epochKey, keySalt, "coco batch v1", 32),
      Buffer.concat([Buffer.alloc(4), at(72, 8)]),
      at(252, 53),
      at(0, 152),
    );
    assert.equal(toHex(plaintext ?? new Uint8Array(0)), `20${toHex(secret.id)}03${toHex(secret.privatePart)}`);
    const evidenceKey = crypto.hkdf(epochKey, keySalt, "coco evidence v1", 32);
    const stream = Buffer.from(crypto.keystream(evidenceKey, Buffer.concat([at(72, 8), Buffer.alloc(8)]), 64));
    const content = Buffer.concat([Uint8Array.of(32), secret.id, secret.privatePart]);
    const commitment = sha256(Buffer.concat([stream.subarray(32), content]));
    const evidence = sha256(Buffer.from(`ce:4.3:${stream.subarray(0, 32).toString("hex")}`));
    const section = [3, 2, 1, 2, ...commitment, ...evidence, ...new Uint8Array(32).fill(5)];
    assert.equal(toHex(at(152, 100)), toHex(Uint8Array.from(section)));
    const writeSet = sha256(Buffer.concat([commitment, Uint8Array.of(1, 2)]));
    assert.equal(
      toHex(ledger.tail.leaf(3)),
      toHex(sha256(Buffer.concat([writeSet, evidence, new Uint8Array(32).fill(5)]))),
    );
    assert.equal(
      toHex(ledger.tail.leaf(4)),
      toHex(sha256(Buffer.concat([at(0, 152), sha256(at(152, 100)), sha256(at(252, 53))]))),
    );
    assert.equal(toHex(at(305, 32)), toHex(ledger.tail.root()));
    assert.equal(
      toHex(ledger.tail.lastDigest),
      toHex(sha256(Buffer.concat([ledger.tail.leaf(4), ledger.tail.root()]))),
    );
    assert.equal(bytes.length, 305 + 32 + 64);
  });

  test("lengths of parts have one form each", () => {
    for (const length of [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
      const ledger = new TestLedger();
      const transaction = { ...publicTransaction(), publicPart: new Uint8Array(length).fill(7) };
      const { bytes } = ledger.build([transaction, publicTransaction(1)], ADMINISTRATIVE);
      assert.equal(parseBatch(bytes).transactions[0]?.publicPart.length, length);
      const opened = ledger.build([{ ...privateTransaction(length), id: new Uint8Array(0) }]).bytes;
      const content = unsealBatch(parseBatch(opened), ledger.keys, ledger.node.crypto);
      assert.equal(content.privatePart(0).length, length);
    }
    const ledger = new TestLedger();
    const { bytes } = ledger.build([publicTransaction(1, 2)], ADMINISTRATIVE);
    // The length of the part, 2, in two bytes, and the section one byte longer.
    const longer = Uint8Array.from([...bytes.subarray(0, 153), 0x82, 0, ...bytes.subarray(154)]);
    longer[147] = (longer[147] ?? 0) + 1;
    assert.throws(() => parseBatch(longer), /shortest form/);
    assert.throws(() => parseBatch(bytes.with(153, 0x82)), isCode("MalformedInput"));
    const endless = Uint8Array.from([...bytes.subarray(0, 153), ...[128, 128, 128, 128], ...bytes.subarray(157)]);
    assert.throws(() => parseBatch(endless), /more than four bytes/);
  });

  test("when signing fails the tail is as before", () => {
    const node = makeNode();
    let broken = false;
    const sign = (data: Bytes): Bytes => {
      if (broken) throw new CocoError("Internal", "no signature");
      return node.crypto.sign(data);
    };
    const ledger = new TestLedger({ ...node, crypto: { ...node.crypto, sign } });
    ledger.build([publicTransaction(1)]);
    const root = toHex(ledger.tail.root());
    broken = true;
    assert.throws(() => ledger.build([publicTransaction(2)]), isCode("Internal"));
    assert.equal(toHex(ledger.tail.root()), root);
    assert.equal(ledger.tail.lastIndex, 1);
  });
});
