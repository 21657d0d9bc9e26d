import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ENTRY_OVERHEAD_BYTES, RaftLog } from "./log.ts";
import { entryAt, logOf } from "./testing/scriptedNode.ts";
import type { LogEntry } from "./types.ts";

const SMALL_WINDOW_BYTES = 3 * (ENTRY_OVERHEAD_BYTES + 3);

describe("RaftLog", () => {
  test("an empty log matches the position before the first entry and nothing else", () => {
    const log = new RaftLog(1000, []);
    assert.deepEqual([log.lastIndex, log.lastTerm, log.firstInMemory], [0, 0, 1]);
    assert.equal(log.matches(0, 0), true);
    assert.equal(log.matches(1, 1), false);
  });

  test("after a restart only the newest entries are in memory, but every term is known", () => {
    const log = new RaftLog(SMALL_WINDOW_BYTES, logOf(1, 1, 2, 2, 2, 4, 4, 4));
    assert.equal(log.firstInMemory, 6);
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 7, 8].map((index) => log.termAt(index)),
      [1, 1, 2, 2, 2, 4, 4, 4],
    );
  });

  test("a restored log with a gap, a falling term or no term is refused", () => {
    for (const entries of [
      [entryAt(2, 1)],
      [entryAt(1, 2), entryAt(2, 1)],
      [entryAt(1, 0)],
      [entryAt(1, 1), entryAt(1, 1)],
    ]) {
      assert.throws(() => new RaftLog(1000, entries), { code: "LedgerCorrupt" });
    }
  });

  test("a slice holds what fits, but at least one entry", () => {
    const log = new RaftLog(10_000, logOf(1, 1, 1));
    assert.equal(log.slice(1, 3, 1).length, 1);
    assert.equal(log.slice(1, 3, 2 * (ENTRY_OVERHEAD_BYTES + 3)).length, 2);
    assert.equal(log.slice(2, 3, 1000).length, 2);
  });

  test("nothing beyond the promised index is released, however large it is", () => {
    const log = new RaftLog(0, []);
    log.append([entryAt(1, 1, 5000), entryAt(2, 1, 5000), entryAt(3, 1, 5000)]);
    log.release(2);
    assert.equal(log.firstInMemory, 3);
    assert.deepEqual(log.slice(3, 3, 1), [entryAt(3, 1, 5000)]);
  });

  test("entries from the disk are used only from the wanted index on and as far as their terms fit", () => {
    const log = new RaftLog(0, logOf(1, 1, 2, 3));
    assert.deepEqual(log.verified([entryAt(1, 1), entryAt(2, 1), entryAt(3, 2)], 2), [entryAt(2, 1), entryAt(3, 2)]);
    assert.deepEqual(log.verified([entryAt(2, 1), entryAt(3, 1), entryAt(4, 3)], 2), [entryAt(2, 1)]);
    assert.deepEqual(log.verified([entryAt(2, 1), entryAt(4, 3)], 2), [entryAt(2, 1)]);
    assert.deepEqual(log.verified([entryAt(3, 2)], 2), []);
    assert.deepEqual(log.verified([entryAt(4, 3), entryAt(5, 3)], 4), [entryAt(4, 3)]);
    assert.deepEqual(log.verified([], 1), []);
  });

  test("appending, truncating and releasing in any order keeps what a plain array keeps", () => {
    const command = fc.oneof(
      fc.record({
        type: fc.constant("append" as const),
        count: fc.integer({ min: 1, max: 5 }),
        termStep: fc.integer({ min: 0, max: 2 }),
      }),
      fc.record({ type: fc.constant("truncate" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ type: fc.constant("release" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), fc.integer({ min: 0, max: 300 }), (commands, windowBytes) => {
        const log = new RaftLog(windowBytes, []);
        const model: LogEntry[] = [];
        for (const step of commands) {
          if (step.type === "append") {
            const term = (model.at(-1)?.term ?? 1) + step.termStep;
            const entries = Array.from({ length: step.count }, (_, at) => entryAt(model.length + 1 + at, term));
            log.append(entries);
            model.push(...entries);
          } else if (step.type === "truncate" && model.length > 0) {
            const fromIndex = 1 + Math.floor(step.share * (model.length - 1));
            log.truncate(fromIndex);
            model.length = fromIndex - 1;
          } else if (step.type === "release") {
            log.release(Math.floor(step.share * model.length));
          }
          assert.equal(log.lastIndex, model.length);
          assert.deepEqual(
            model.map((entry) => log.termAt(entry.index)),
            model.map((entry) => entry.term),
          );
          if (log.firstInMemory <= log.lastIndex) {
            assert.deepEqual(log.slice(log.firstInMemory, log.lastIndex, 1e9), model.slice(log.firstInMemory - 1));
          }
          for (const term of [0, 1, 3, 100]) {
            const expected = model.findLastIndex((entry) => entry.term <= term) + 1;
            assert.equal(log.lastIndexWithTermAtMost(model.length, term), expected);
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});
