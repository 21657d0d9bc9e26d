import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Bytes, toHex } from "../codec/bytes.ts";
import { Arena } from "./arena.ts";
import { TableSet } from "./tables.ts";
import { Cursor, type Tree } from "./tree.ts";
import { ARRAY_WRITES_MAX, WriteBuffer } from "./write-buffer.ts";
import type { Write } from "./write-set.ts";

const TABLES = new TableSet([
  { id: 3, name: "sealed" },
  { id: 1, name: "public:open" },
  { id: 8, name: "public:more" },
]);

const described = ({ table, key, value }: Write): string => `${table}/${toHex(key)}=${value && toHex(value)}`;

function entriesOf(table: number, tree: Tree | undefined): string[] {
  const lines: string[] = [];
  if (tree === undefined) return lines;
  for (const cursor = new Cursor(tree); !cursor.done; cursor.advance()) {
    lines.push(described({ table, key: cursor.key, value: cursor.value }));
  }
  return lines;
}

const write = fc.record({
  table: fc.constantFrom(1, 3, 8),
  key: fc.uint8Array({ minLength: 1, maxLength: 2, max: 6 }),
  value: fc.option(fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constant(new Uint8Array(1500).fill(9))), {
    nil: undefined,
  }),
});

describe("write buffer", () => {
  test("few writes or many, scanned or not, are found and collected as the last of each key, in order", () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 3 * ARRAY_WRITES_MAX, size: "max" }), fc.nat(60), (writes, scanAt) => {
        const buffer = new WriteBuffer(TABLES, new Arena());
        const last = new Map<string, Write>();
        const views: (readonly [view: Bytes, expected: string])[] = [];
        for (const [at, one] of writes.entries()) {
          const key = one.key.slice();
          const value = one.value?.slice();
          buffer.write(one.table, key, value);
          key.fill(0);
          value?.fill(0);
          last.set(`${one.table}/${toHex(one.key)}`, one);
          const found = buffer.find(one.table, one.key);
          assert.deepEqual(found, one.value);
          if (found) views.push([found, toHex(one.value as Bytes)]);
          if (at === scanAt) buffer.snapshot(one.table);
        }
        const sorted = [...last].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, one]) => one);
        const { publicWrites, privateWrites } = buffer.collect();
        assert.deepEqual(publicWrites.map(described), sorted.filter(({ table }) => table !== 3).map(described));
        assert.deepEqual(privateWrites.map(described), sorted.filter(({ table }) => table === 3).map(described));
        for (const table of TABLES.ids) {
          const own = sorted.filter((one) => one.table === table);
          assert.deepEqual(entriesOf(table, buffer.snapshot(table)), own.map(described));
          assert.equal(buffer.snapshot(table) === undefined, own.length === 0);
          assert.equal(buffer.find(table, Uint8Array.of(7)), null);
        }
        for (const [view, expected] of views) assert.equal(toHex(view), expected);
      }),
      { numRuns: 300 },
    );
  });
});
