import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMPT, type MerklePatriciaTrie } from "@ethereumjs/mpt";
import fc from "fast-check";
import { type Bytes, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { keccak256 } from "./keccak.ts";
import { bytesOfNumber, rlpEncode } from "./rlp.ts";
import { hexBytes, missing, officialTests } from "./test-vectors.ts";
import { EMPTY_TRIE_ROOT, Trie, TRIE_KEY_BYTES_MAX } from "./trie.ts";

interface Operation {
  readonly key: Bytes;
  readonly value: Bytes | undefined;
}

/** Applies operations to both tries and compares the roots after every `stride` of them. */
async function agree(operations: readonly Operation[], stride: number): Promise<void> {
  const trie = new Trie();
  const oracle: MerklePatriciaTrie = await createMPT();
  const entries = new Map<string, Bytes>();
  for (const [index, { key, value }] of operations.entries()) {
    if (value === undefined || value.length === 0) {
      trie.delete(key);
      await oracle.del(key);
      entries.delete(toHex(key));
    } else {
      trie.set(key, value);
      await oracle.put(key, value);
      entries.set(toHex(key), value);
    }
    if (index % stride === stride - 1) assert.equal(toHex(trie.root()), toHex(oracle.root()));
  }
  assert.equal(toHex(trie.root()), toHex(oracle.root()));
  assert.equal(trie.size, entries.size);
  for (const [key, value] of entries) assert.deepEqual(trie.get(fromHex(key)), value);
}

/**
 * Applies operations and compares, after every `stride` of them, with a trie built anew, and in the end with the oracle built
 * anew: when a key is deleted that shares a branch with a value, the oracle itself does not restore the canonical form
 * (`@ethereumjs/mpt` 10.1.3: set 0101, 01, 0110, delete 0101). Keys of one length, as Ethereum's, never have such branches.
 */
async function agreeBuiltAnew(operations: readonly Operation[], stride: number): Promise<void> {
  const trie = new Trie();
  const entries = new Map<string, Bytes>();
  const builtAnew = (): Trie => {
    const fresh = new Trie();
    for (const [key, value] of entries) fresh.set(fromHex(key), value);
    return fresh;
  };
  for (const [index, { key, value }] of operations.entries()) {
    if (value === undefined) {
      trie.delete(key);
      entries.delete(toHex(key));
    } else {
      trie.set(key, value);
      entries.set(toHex(key), value);
    }
    if (index % stride === stride - 1) assert.equal(toHex(trie.root()), toHex(builtAnew().root()));
  }
  const oracle: MerklePatriciaTrie = await createMPT();
  for (const [key, value] of entries) await oracle.put(fromHex(key), value);
  assert.equal(toHex(trie.root()), toHex(oracle.root()));
}

function operations(key: fc.Arbitrary<Bytes>): fc.Arbitrary<Operation[]> {
  const value = fc.oneof(
    { weight: 3, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 80 }) },
    { weight: 2, arbitrary: fc.constant(undefined) },
  );
  return fc.array(fc.record({ key, value }), { maxLength: 60 });
}

describe("trie", () => {
  test("has the known root when it is empty, also again", () => {
    const trie = new Trie();
    assert.deepEqual(trie.root(), EMPTY_TRIE_ROOT);
    trie.set(utf8Encode("key"), utf8Encode("value"));
    assert.notDeepEqual(trie.root(), EMPTY_TRIE_ROOT);
    trie.set(utf8Encode("key"), new Uint8Array(0));
    assert.deepEqual(trie.root(), EMPTY_TRIE_ROOT);
    assert.equal(trie.size, 0);
  });

  test("gives known roots of small tries", () => {
    const trie = new Trie();
    for (const [key, value] of [
      ["doe", "reindeer"],
      ["dog", "puppy"],
      ["dogglesworth", "cat"],
    ] as const)
      trie.set(utf8Encode(key), utf8Encode(value));
    assert.equal(toHex(trie.root()), "8aad789dff2f538bca5d8ea56e8abe10f4c7ba3a5dea95fea4cd6e7c3a1168d3");
    assert.equal(trie.get(utf8Encode("do")), undefined);
    assert.equal(trie.get(utf8Encode("dogglesworthy")), undefined);
  });

  test("agrees with the independent implementation on short keys of mixed lengths that share prefixes", async () => {
    const nibbles = fc.constantFrom(0x00, 0x01, 0x10, 0x11);
    const key = fc.array(nibbles, { minLength: 1, maxLength: 4 }).map((bytes) => Uint8Array.from(bytes));
    const stride = fc.integer({ min: 1, max: 7 });
    await fc.assert(fc.asyncProperty(operations(key), stride, agreeBuiltAnew), { numRuns: 300 });
    const set = (bytes: number[]) => ({ key: Uint8Array.from(bytes), value: Uint8Array.of(0) });
    await agreeBuiltAnew([set([1, 1]), set([1]), set([1, 16]), { key: Uint8Array.of(1, 1), value: undefined }], 1);
  });

  test("agrees with the independent implementation on hashed keys", async () => {
    const key = fc.nat(25).map((seed) => keccak256(Uint8Array.of(seed)));
    await fc.assert(fc.asyncProperty(operations(key), fc.integer({ min: 1, max: 30 }), agree), { numRuns: 60 });
  });

  test("agrees with the independent implementation on a list of 300 long entries", async () => {
    const list = Array.from({ length: 300 }, (_, index) => ({
      key: rlpEncode(bytesOfNumber(index)),
      value: new Uint8Array(index * 20 + 1).fill(index + 1),
    }));
    await agree(list, 100);
  });

  test("does not depend on the order of changes", () => {
    const keys = Array.from({ length: 200 }, (_, seed) => keccak256(bytesOfNumber(seed + 1)));
    const forwards = new Trie();
    const backwards = new Trie();
    for (const key of keys) forwards.set(key, key);
    for (const key of keys.toReversed()) backwards.set(key, key);
    backwards.set(keccak256(Uint8Array.of(0)), Uint8Array.of(1));
    backwards.delete(keccak256(Uint8Array.of(0)));
    assert.deepEqual(forwards.root(), backwards.root());
  });

  test("bounds the length of keys and ignores deletes of absent keys", () => {
    const trie = new Trie();
    assert.throws(() => trie.set(new Uint8Array(TRIE_KEY_BYTES_MAX + 1), Uint8Array.of(1)), { code: "LimitExceeded" });
    trie.set(new Uint8Array(TRIE_KEY_BYTES_MAX), Uint8Array.of(1));
    const root = trie.root();
    trie.delete(new Uint8Array(3));
    trie.delete(new Uint8Array(TRIE_KEY_BYTES_MAX).fill(9));
    assert.deepEqual(trie.root(), root);
  });
});

type JsonEntries = Readonly<Record<string, string | null>> | readonly (readonly [string, string | null])[];

function bytesOfJson(text: string): Bytes {
  return text.startsWith("0x") ? hexBytes(text) : utf8Encode(text);
}

describe("tries of the official suite", { skip: missing("ethereum-tests.tar.gz") }, () => {
  const tests =
    missing("ethereum-tests.tar.gz") === false
      ? officialTests<{ readonly in: JsonEntries; readonly root: string }>("TrieTests")
      : [];

  test("have the roots given (all but trietestnextprev, which tests an iterator this trie does not have)", () => {
    let checked = 0;
    for (const { file, name, test: vector } of tests) {
      if (file.endsWith("trietestnextprev.json")) continue;
      const secure = file.toLowerCase().includes("securetrie");
      const trie = new Trie();
      const entries: readonly (readonly [string, string | null])[] = Array.isArray(vector.in)
        ? vector.in
        : Object.entries(vector.in);
      for (const [key, value] of entries) {
        const keyBytes = secure ? keccak256(bytesOfJson(key)) : bytesOfJson(key);
        trie.set(keyBytes, value === null ? new Uint8Array(0) : bytesOfJson(value));
      }
      assert.equal(toHex(trie.root()), vector.root.slice(2), `${file} ${name}`);
      checked++;
    }
    assert.ok(checked >= 20, `${checked} tries`);
  });
});
