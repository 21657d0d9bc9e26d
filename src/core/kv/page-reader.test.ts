import { describe, test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { compareBytes } from "../codec/bytes.ts";
import { OwnerToken } from "./owner-token.ts";
import { Page } from "./page.ts";
import { LINE_BYTES, SLOT_BYTES } from "./page-log.ts";

/** Two-byte beginnings of keys: spread evenly, most of them near one end, or few different ones. */
const beginnings = fc
  .tuple(fc.array(fc.nat(0xffff), { maxLength: 250, size: "max" }), fc.constantFrom(1, 4, 0x100, 0x8000))
  .map(([numbers, divisor]) => numbers.map((number, at) => (at % 9 === 0 ? number : Math.floor(number / divisor))));

/** A key that begins like this; with a mark, one of several. */
function keyOf(beginning: number, ...mark: number[]): Uint8Array {
  return Uint8Array.of(beginning >>> 8, beginning, ...mark);
}

function keysOf(page: Page): Uint8Array[] {
  return Array.from({ length: page.count }, (_, at) => page.keyAt(at));
}

describe("search in a page", () => {
  test("it finds every key, and the place of every other, however keys are spread and whichever came and went", () => {
    let large = 0;
    fc.assert(
      fc.property(beginnings, fc.nat(0xffff), fc.integer({ min: 2, max: 9 }), (numbers, any, removed) => {
        const page = Page.empty(new OwnerToken(1));
        for (const [at, number] of numbers.entries()) {
          const key = keyOf(number, at);
          page.insertAt(~page.search(key), key, Uint8Array.of(at));
        }
        // First and last records go too: what the page remembers of them is only good for guesses.
        for (let at = 0; at < page.count; at += removed) page.removeAt(page.count - 1 - at);
        for (let at = page.count; at > removed; at--) page.removeAt(0);
        for (const [at, number] of numbers.slice(0, 40).entries()) {
          const key = keyOf(number, 0xff, at);
          page.insertAt(~page.search(key), key, undefined);
        }
        const keys = keysOf(page);
        if (keys.length > 40) large++;
        for (const [at, key] of keys.entries()) {
          assert.equal(page.search(key), at);
          assert.ok(page.searchStart(key) <= at);
        }
        for (const number of [any, 0, 0xffff, ...numbers]) {
          const key = keyOf(number, 0xfe, 0xfe);
          const before = keys.filter((other) => compareBytes(other, key) < 0).length;
          assert.equal(page.search(key), ~before);
          const start = page.searchStart(key);
          // Where it begins to look decides how long it takes, and nothing else.
          for (let guess = any % 7; guess < page.count; guess += 7) assert.equal(page.searchStart(key, guess), start);
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(large > 100);
  });

  test("what is read ahead of a search stands in the log, and where it says the record is, its key is", () => {
    const page = Page.empty(new OwnerToken(1));
    assert.equal(page.recordPlace(0), 0);
    for (let number = 0; number < 200; number++) {
      const key = keyOf(number * 300, number);
      page.insertAt(page.count, key, number % 2 === 0 ? undefined : new Uint8Array(number).fill(1));
      const { length } = page.memory;
      for (let index = 0; index < page.count; index++) {
        const place = page.recordPlace(index);
        assert.ok(page.slotPlace(index) + SLOT_BYTES <= length);
        assert.ok(place >= 0 && place + LINE_BYTES <= length);
        assert.ok(
          Buffer.from(page.memory.subarray(place, place + LINE_BYTES)).includes(Buffer.from(page.keyAt(index))),
        );
      }
      assert.equal(page.recordPlace(page.count), 0);
    }
  });
});
