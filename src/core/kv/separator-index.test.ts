import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Bytes, compareBytes, concatBytes, EMPTY, toHex } from "../codec/bytes.ts";
import { InnerNode } from "./inner-node.ts";
import { OwnerToken } from "./owner-token.ts";
import { Page } from "./page.ts";
import { SeparatorIndex } from "./separator-index.ts";

function pageOf(separators: readonly Bytes[]): Page {
  const page = Page.empty(new OwnerToken(1));
  for (const separator of separators) page.insertAt(page.count, separator, EMPTY);
  return page;
}

/** Each once, in order. */
function sorted(keys: readonly Bytes[]): Bytes[] {
  return [...new Map(keys.map((key) => [toHex(key), key])).values()].sort(compareBytes);
}

/** How many separators are not greater than a key. */
function countTo(separators: readonly Bytes[], key: Bytes): number {
  return separators.filter((separator) => compareBytes(separator, key) <= 0).length;
}

// Few different bytes, so that many keys begin alike, and lengths on both sides of the four bytes that are side by side.
const byte = fc.constantFrom(0, 1, 127, 128, 255);
const key = fc
  .uint8Array({ maxLength: 9 })
  .chain((bytes) =>
    fc.array(byte, { minLength: bytes.length, maxLength: bytes.length }).map((few) => Uint8Array.from(few)),
  );
const front = fc.constantFrom(EMPTY, Uint8Array.of(7), Uint8Array.of(7, 0, 255, 128, 1, 1));

describe("separators side by side", () => {
  test("the child of a key is the one that a search of all separators finds, wherever it begins", () => {
    let decided = 0;
    fc.assert(
      fc.property(
        fc.array(key, { minLength: 1, maxLength: 40 }),
        fc.array(key),
        front,
        fc.nat(),
        (rest, asked, begin, nat) => {
          const separators = sorted(rest.map((end) => concatBytes(begin, end)));
          const page = pageOf(separators);
          const index = new SeparatorIndex(page);
          const width = page.wideHints().prefix.length + 4;
          const seen = (bytes: Bytes): Bytes => concatBytes(bytes, new Uint8Array(width)).subarray(0, width);
          for (const one of [...separators, ...asked, ...asked.map((end) => concatBytes(begin, end))]) {
            const near = index.guess(one);
            assert.ok(Number.isInteger(near) && near >= 0 && near < separators.length);
            for (const guess of [near, nat % separators.length]) {
              const child = index.childFor(one, guess);
              if (child >= 0) {
                decided++;
                assert.equal(child, countTo(separators, one));
              } else {
                assert.ok(
                  separators.some((separator) => toHex(seen(separator)) === toHex(seen(one))),
                  "the same bytes",
                );
              }
            }
          }
        },
      ),
    );
    assert.ok(decided > 1000, "the numbers decide most often");
  });

  test("an inner node goes on with its records where the numbers do not decide, and with new numbers after a change", () => {
    fc.assert(
      fc.property(fc.array(key, { minLength: 2, maxLength: 40 }), key, (keys, added) => {
        const separators = sorted(keys.filter((one) => compareBytes(one, added) !== 0));
        fc.pre(separators.length > 0);
        const owner = new OwnerToken(1);
        const page = pageOf(separators);
        const leaf = Page.empty(owner);
        const node = new InnerNode(
          owner,
          page,
          Array.from({ length: separators.length + 1 }, () => leaf),
        );
        const check = (): void => {
          for (const one of [...separators, added]) assert.equal(node.childFor(one), countTo(separators, one));
        };
        check();
        const place = countTo(separators, added);
        node.insertAfter(place, { separator: added, right: leaf });
        separators.splice(place, 0, added);
        check();
        node.replacePair(0, leaf);
        separators.splice(0, 1);
        check();
      }),
    );
  });

  test("without separators everything is left open", () => {
    const index = new SeparatorIndex(pageOf([]));
    for (const one of [EMPTY, Uint8Array.of(255, 255)]) {
      assert.equal(index.guess(one), 0);
      assert.equal(index.touchHint(index.guess(one)), 0);
    }
  });
});
