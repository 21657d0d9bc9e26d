import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Bytes, bytesEqual, concatBytes, toHex } from "../codec/bytes.ts";
import { sha256 } from "./fixture.test.ts";
import { MerkleTree, rootFromPath } from "./merkle-tree.ts";

const leaf = (value: number): Bytes => sha256(Uint8Array.of(value & 255, value >> 8));

/** The definition: split at the largest power of two below the number of leaves. */
function rootByDefinition(leaves: readonly Bytes[]): Bytes {
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(concatBytes(rootByDefinition(leaves.slice(0, split)), rootByDefinition(leaves.slice(split))));
}

function treeOf(size: number): MerkleTree {
  const tree = new MerkleTree(sha256);
  for (let value = 0; value < size; value++) tree.append(leaf(value));
  return tree;
}

describe("Merkle tree", () => {
  const leaves = Array.from({ length: 70 }, (_, value) => leaf(value));
  const tree = treeOf(70);

  test("the root of every size is the root by definition, also when the tree has grown since", () => {
    for (let size = 1; size <= 70; size++) {
      const expected = toHex(rootByDefinition(leaves.slice(0, size)));
      assert.equal(toHex(treeOf(size).root()), expected);
      assert.equal(toHex(tree.root(size)), expected);
      if (size > 1) assert.equal(toHex(sha256(tree.rootPreimage(size))), expected);
    }
  });

  test("the path of every leaf leads to the root of every size", () => {
    for (let size = 1; size <= 70; size++) {
      for (let position = 0; position < size; position++) {
        assert.ok(bytesEqual(rootFromPath(leaf(position), tree.path(position, size), sha256), tree.root(size)));
      }
    }
  });

  test("another leaf, a changed step or a step on the other side leads to another root", () => {
    const path = tree.path(37, 70);
    assert.ok(!bytesEqual(rootFromPath(leaf(38), path, sha256), tree.root()));
    path.forEach((step, at) => {
      const sibling = "left" in step ? step.left : step.right;
      const changed = Uint8Array.from(sibling, (byte, index) => (index === at ? byte ^ 1 : byte));
      const replacements = [
        "left" in step ? { left: changed } : { right: changed },
        "left" in step ? { right: sibling } : { left: sibling },
      ];
      for (const replacement of replacements) {
        assert.ok(!bytesEqual(rootFromPath(leaf(37), path.with(at, replacement), sha256), tree.root()));
      }
    });
  });

  test("a truncated tree that grows again is the tree that was never truncated", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(70), fc.nat(40), (size, cut, growth) => {
        const kept = Math.min(cut, size);
        const grown = treeOf(size);
        grown.truncate(kept);
        const expected = leaves.slice(0, kept);
        for (let value = 0; value < growth; value++) {
          grown.append(leaf(1000 + value));
          expected.push(leaf(1000 + value));
        }
        assert.equal(grown.size, expected.length);
        if (expected.length > 0) assert.ok(bytesEqual(grown.root(), rootByDefinition(expected)));
      }),
      { numRuns: 60 },
    );
  });

  test("appending costs one hash per leaf on average, and a root at most one per level", () => {
    let hashes = 0;
    const counting = new MerkleTree((data) => {
      hashes++;
      return sha256(data);
    });
    for (let value = 0; value < 4095; value++) counting.append(leaf(value));
    assert.ok(hashes < 4095);
    hashes = 0;
    counting.root();
    assert.ok(hashes <= 12);
  });
});
