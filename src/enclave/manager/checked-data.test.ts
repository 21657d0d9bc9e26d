import assert from "node:assert/strict";
import { test } from "node:test";
import { RealLedger, transactionOf } from "../../../test/support/real-ledger.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { utf8Encode } from "../../core/codec/bytes.ts";
import { CheckedData } from "./checked-data.ts";
import { sha256 } from "./node-crypto.ts";

/** A ledger of four batches, the last two alike in all but their place. */
function ledger() {
  const real = new RealLedger();
  real.found();
  for (const at of [1, 2, 2]) {
    const publicPart = utf8Encode(`balance=${at}`);
    real.add([transactionOf({ id: new Uint8Array(32).fill(at), publicPart, privatePart: utf8Encode("private") })]);
  }
  const data = new CheckedData(real.tail, sha256);
  const entry = (index: number): LogEntry => {
    const found = real.entries[index - 1];
    assert.ok(found);
    return { ...found, data: found.data.slice() };
  };
  return { data, entry };
}

test("data read back from disk counts only when it is what the tail has at its place", () => {
  const { data, entry } = ledger();
  const genuine = entry(2);
  assert.equal(data.batchOf(genuine).header.index, 2);
  const corrupt = { code: "LedgerCorrupt", data: { index: 2 } };
  // Every byte before the root, which stands in front of the signature.
  for (let at = 0; at < genuine.data.length - 96; at++) {
    const changed = genuine.data.map((byte, position) => (position === at ? byte ^ 1 : byte));
    assert.throws(() => data.batchOf({ ...genuine, data: changed }), corrupt, `byte ${at}`);
  }
  assert.throws(() => data.batchOf({ ...genuine, data: entry(3).data }), corrupt);
  assert.throws(() => data.batchOf({ ...genuine, term: genuine.term + 1 }), corrupt);
  assert.throws(() => data.batchOf({ ...entry(4), index: 5 }), { code: "LedgerCorrupt", data: { index: 5 } });
});

test("data that was verified before is taken as it is, as that very object only", () => {
  const { data, entry } = ledger();
  const other = entry(3);
  data.add(other.data);
  assert.equal(data.batchOf({ ...other, index: 2 }).header.index, 3, "not compared again");
  assert.throws(() => data.batchOf({ ...other, index: 2, data: other.data.slice() }), { code: "LedgerCorrupt" });
});
