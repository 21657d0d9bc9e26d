import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Bytes, compareBytes } from "../../core/codec/bytes.ts";
import { TableSet } from "../../core/kv/tables.ts";
import { decodeWriteSet, encodeWriteSet, type Write } from "../../core/kv/write-set.ts";
import { checkWriteSet } from "./write-set-check.ts";

const TABLES = new TableSet([
  { id: 1, name: "one" },
  { id: 2, name: "two" },
  { id: 7, name: "public:seven" },
]);
const key = fc.uint8Array({ minLength: 1, maxLength: 6 });
const writes = fc
  .uniqueArray(fc.record({ table: fc.constantFrom(1, 2), key, value: fc.option(key, { nil: undefined }) }), {
    selector: (write) => `${write.table} ${write.key.join()}`,
    maxLength: 6,
  })
  .map((list): Write[] => list.sort((one, other) => one.table - other.table || compareBytes(one.key, other.key)));

/** Whether the decoder takes it, and every table is there and private. */
function isDecoded(bytes: Bytes): boolean {
  try {
    for (const { table } of decodeWriteSet(bytes)) TABLES.partPosition(table, false);
    return true;
  } catch {
    return false;
  }
}

function isChecked(bytes: Bytes): boolean {
  try {
    checkWriteSet(bytes, TABLES, false);
    return true;
  } catch {
    return false;
  }
}

describe("the check of write sets", () => {
  test("takes what the decoder takes, and nothing else", () => {
    const change = fc.record({ at: fc.nat(200), to: fc.nat(255), cut: fc.nat(3) });
    fc.assert(
      fc.property(writes, fc.option(change, { nil: undefined }), (list, changed) => {
        let bytes = encodeWriteSet(list).slice();
        if (changed !== undefined && bytes.length > 0) {
          bytes[changed.at % bytes.length] = changed.to;
          bytes = bytes.slice(0, bytes.length - changed.cut);
        }
        assert.equal(isChecked(bytes), isDecoded(bytes));
      }),
      { numRuns: 3_000 },
    );
  });

  test("refuses public tables in private parts, private ones in public parts, and tables that are not there", () => {
    const value = Uint8Array.of(1);
    const to = (table: number) => encodeWriteSet([{ table, key: value, value }]);
    checkWriteSet(to(7), TABLES, true);
    for (const [table, isPublic] of [
      [7, false],
      [1, true],
      [3, false],
    ] as const)
      assert.throws(() => checkWriteSet(to(table), TABLES, isPublic), { code: "MalformedInput" });
  });
});
