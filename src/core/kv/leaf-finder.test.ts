import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, concatBytes, utf8Encode } from "../codec/bytes.ts";
import { InnerNode, type TreeNode } from "./inner-node.ts";
import { findLeaves } from "./leaf-finder.ts";
import type { Page } from "./page.ts";
import { emptyTree, TreeWriter } from "./tree.ts";

const COUNT = 400_000;

/** Spread over all keys of four bytes, each once. */
function keyOf(number: number, prefix: Bytes): Bytes {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, Math.imul(number, 0x9e3779b1));
  return concatBytes(prefix, key);
}

/** A tree of three levels, as only large ones are searched for many keys at once. */
function largeTree(prefix: Bytes): TreeNode {
  const writer = new TreeWriter(emptyTree(), 1);
  for (let number = 0; number < COUNT; number += 2) writer.put(keyOf(number, prefix), Uint8Array.of(number & 255));
  const { root } = writer;
  assert.ok(root instanceof InnerNode && root.child(0) instanceof InnerNode);
  return root;
}

/** The leaf of one key, by a search of every separator. */
function leafOf(root: TreeNode, key: Bytes): Page {
  let node = root;
  while (node instanceof InnerNode) {
    let at = 0;
    const { separators } = node;
    while (at < separators.count && Buffer.compare(separators.keyAt(at), key) <= 0) at++;
    node = node.child(at);
  }
  return node;
}

describe("leaves of many keys", () => {
  for (const prefix of [new Uint8Array(0), utf8Encode("accounts/"), utf8Encode("0".repeat(40))]) {
    const root = largeTree(prefix);
    const shorter = prefix.subarray(0, -1);
    /** Keys that are there, keys between them, and keys that begin otherwise than all. */
    const keys = [
      ...Array.from({ length: 400 }, (_, at) => keyOf(at * 997, prefix)),
      ...[
        new Uint8Array(0),
        Uint8Array.of(0),
        new Uint8Array(60).fill(255),
        shorter,
        concatBytes(shorter, Uint8Array.of(1)),
      ],
    ];
    const { leaves, starts } = findLeaves(root, keys);
    const name = `behind a prefix of ${prefix.length} bytes`;

    test(`are those that a search for each key alone ends in, ${name}`, () => {
      for (const [at, key] of keys.entries()) assert.equal(leaves[at], leafOf(root, key), `key ${at}`);
      assert.ok(new Set(leaves).size > 50, "they are in many leaves");
    });

    test(`come with where the search of each begins, which finds what a search of the whole leaf does, ${name}`, () => {
      let present = 0;
      for (const [at, key] of keys.entries()) {
        const leaf = leaves[at] ?? assert.fail();
        const start = starts[at] ?? assert.fail();
        let expected = 0;
        while (expected < leaf.count && Buffer.compare(leaf.keyAt(expected), key) < 0) expected++;
        const isThere = expected < leaf.count && Buffer.compare(leaf.keyAt(expected), key) === 0;
        assert.equal(leaf.search(key, start), isThere ? expected : ~expected, `key ${at}`);
        if (!isThere) continue;
        present++;
        assert.ok(start <= expected);
        assert.ok(leaf.search(key, expected + 1) < 0, "a search that begins behind a key does not find it");
        if (start > 0) assert.ok(leaf.search(key, start - 1) < 0, "nor does one that begins at another hint before it");
      }
      assert.ok(present >= 200);
      assert.ok(new Set(starts).size > 50, "they begin in many places");
    });
  }
});
