import { describe, test } from "node:test";
import assert from "node:assert/strict";
import { compareBytes, toHex, type Bytes } from "../codec/bytes.ts";
import { PAGE_RECORDS } from "./page.ts";
import { INLINE_VALUE_BYTES } from "./record.ts";
import { MAX_CHILDREN, type TreeNode } from "./inner-node.ts";
import { Cursor, emptyTree, find, type Tree, TreeWriter } from "./tree.ts";

/** Repeatable pseudo-random 32-bit numbers (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

function randomBytes(next: () => number, length: number): Bytes {
  return Uint8Array.from({ length }, () => next() & 255);
}

function numberKey(number: number): Bytes {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, number);
  return key;
}

function content(tree: Tree, from?: Bytes): string[] {
  const lines: string[] = [];
  for (const cursor = new Cursor(tree, from); !cursor.done; cursor.advance()) {
    const { key, value } = cursor;
    lines.push(`${toHex(key)}=${value === undefined ? "deleted" : `${value.length}:${toHex(value.subarray(0, 8))}`}`);
  }
  return lines;
}

/** Depth of every leaf, which must be one, and whether the nodes keep their limits. */
function depths(node: TreeNode, depth = 0): Set<number> {
  if (!("children" in node)) {
    assert.ok(node.count <= PAGE_RECORDS);
    return new Set([depth]);
  }
  assert.equal(node.children.length, node.separators.count + 1);
  assert.ok(node.children.length <= MAX_CHILDREN);
  assert.ok(node.children.length >= 2);
  return new Set(node.children.flatMap((child) => [...depths(child, depth + 1)]));
}

describe("tree", () => {
  test("50,000 random keys come back in order, from any bound, and leave an empty tree when removed", () => {
    const next = generator(1);
    const keys = Array.from({ length: 50_000 }, () => randomBytes(next, 32));
    const tree = new TreeWriter(emptyTree(), 1);
    const lengthFor = (key: Bytes): number => ((key[0] as number) & 31) * 32;
    for (const key of keys) tree.put(key, new Uint8Array(lengthFor(key)));
    assert.deepEqual([...depths(tree.root)], [2]);
    for (const key of keys) assert.equal(find(tree, key)?.length, lengthFor(key));
    const order = [...keys].sort(compareBytes);
    let at = 0;
    for (const cursor = new Cursor(tree); !cursor.done; cursor.advance(), at++) {
      assert.ok(compareBytes(cursor.key, order[at] as Bytes) === 0);
    }
    assert.equal(at, keys.length);
    assert.equal(compareBytes(new Cursor(tree, order[31_234]).key, order[31_234] as Bytes), 0);

    for (const key of keys.slice(0, 49_000)) assert.equal(tree.remove(key), true);
    assert.equal(tree.remove(keys[0] as Bytes), false);
    assert.equal(depths(tree.root).size, 1);
    const left = keys.slice(49_000).sort(compareBytes);
    assert.deepEqual(
      content(tree).map((line) => line.split("=")[0]),
      left.map(toHex),
    );
    for (const key of left) tree.remove(key);
    assert.deepEqual(content(tree), []);
    assert.deepEqual([...depths(tree.root)], [0]);
  });

  test("keys that arrive in order, forwards or backwards, come back in order", () => {
    for (const forwards of [true, false]) {
      const tree = new TreeWriter(emptyTree(), 1);
      for (let at = 0; at < 20_000; at++) tree.put(numberKey(forwards ? at : 19_999 - at), new Uint8Array(1000));
      assert.deepEqual([...depths(tree.root)], [2]);
      const found = content(tree, numberKey(10)).map((line) => line.split("=")[0]);
      assert.deepEqual(
        found,
        Array.from({ length: 19_990 }, (_, at) => toHex(numberKey(at + 10))),
      );
    }
  });

  test("random writes with long shared prefixes, large values and deletions agree with a map, and snapshots last", () => {
    const next = generator(2);
    const prefixes = [0, 20, 900, 1020].map((length) => new Uint8Array(length).fill(7));
    const model = new Map<string, string>();
    let tree = new TreeWriter(emptyTree(), 1);
    const snapshots: { tree: Tree; expected: string[] }[] = [];
    const expected = (): string[] =>
      [...model].sort(([left], [right]) => (left < right ? -1 : 1)).map(([key, value]) => `${key}=${value}`);
    for (let step = 0; step < 16_000; step++) {
      const growing = Math.floor(step / 4000) % 2 === 0;
      const prefix = prefixes[next() % prefixes.length] as Bytes;
      const key = new Uint8Array(prefix.length + 2);
      key.set(prefix);
      key[prefix.length] = next() & 255;
      key[prefix.length + 1] = next() & 7;
      if (next() % 10 < (growing ? 2 : 8)) {
        assert.equal(tree.remove(key), model.delete(toHex(key)));
      } else {
        const deleted = next() % 20 === 0;
        const length = next() % 50 === 0 ? INLINE_VALUE_BYTES + (next() % 3) : next() % 300;
        const value = deleted ? undefined : randomBytes(next, length);
        tree.put(key, value);
        model.set(toHex(key), value === undefined ? "deleted" : `${length}:${toHex(value.subarray(0, 8))}`);
      }
      if (step % 4000 === 2999) snapshots.push({ tree: tree.snapshot(), expected: expected() });
      if (step % 5000 === 4999) tree = new TreeWriter(tree.snapshot(), tree.version + 1);
    }
    assert.equal(depths(tree.root).size, 1);
    assert.deepEqual(content(tree), expected());
    for (const snapshot of snapshots) assert.deepEqual(content(snapshot.tree), snapshot.expected);
  });

  test("puts that are gathered do what puts one by one do, in the tree and in every snapshot before it", () => {
    const next = generator(4);
    let gathered = new TreeWriter(emptyTree(), 1);
    let single = new TreeWriter(emptyTree(), 1);
    const snapshots: { tree: Tree; expected: string[] }[] = [];
    for (let step = 0; step < 400; step++) {
      // Few keys and many, so that a key comes twice in a group, and groups split the leaves that they found.
      const range = step % 2 === 0 ? 40 : 60_000;
      for (let puts = next() % 300; puts > 0; puts--) {
        const key = numberKey(next() % range);
        const value = randomBytes(next, next() % 60 === 0 ? INLINE_VALUE_BYTES + 1 : 300 + (next() % 700));
        gathered.gather(key, value);
        single.put(key, value);
        if (next() % 40 === 0) assert.equal(gathered.remove(key), single.remove(key));
      }
      if (step % 40 === 39) snapshots.push({ tree: gathered.snapshot(), expected: content(single) });
      if (step % 3 !== 2) continue;
      gathered = new TreeWriter(gathered.snapshot(), gathered.version + 1);
      single = new TreeWriter(single.snapshot(), single.version + 1);
    }
    assert.deepEqual([...depths(gathered.root)], [2]);
    assert.ok(content(gathered).length > 20_000);
    assert.deepEqual(content(gathered), content(single));
    for (const { tree, expected } of snapshots) assert.deepEqual(content(tree), expected);
  });

  test("a view stays as it is while its record is overwritten, moved and removed in place", () => {
    const tree = new TreeWriter(emptyTree(), 1);
    const views: { view: Bytes; copy: string }[] = [];
    const next = generator(3);
    for (let step = 0; step < 5000; step++) {
      const key = numberKey(next() % 60);
      if (next() % 4 === 0) tree.remove(key);
      else tree.put(key, randomBytes(next, next() % (next() % 100 === 0 ? 1500 : 120)));
      const view = find(tree, numberKey(next() % 60));
      if (view) views.push({ view, copy: toHex(view) });
      const cursor = new Cursor(tree, key);
      if (!cursor.done) views.push({ view: cursor.key, copy: toHex(cursor.key) });
    }
    assert.ok(views.length > 5000);
    for (const { view, copy } of views) assert.equal(toHex(view), copy);
  });

  test("a tree does not read keys and small values again after a write", () => {
    const tree = new TreeWriter(emptyTree(), 1);
    const key = Uint8Array.of(1, 2);
    const value = Uint8Array.of(3, 4);
    tree.put(key, value);
    key.fill(9);
    value.fill(9);
    assert.deepEqual(content(tree), ["0102=2:0304"]);
  });
});
