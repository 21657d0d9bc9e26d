import { describe, test } from "node:test";
import assert from "node:assert/strict";
import { compareBytes, toHex, type Bytes } from "../codec/bytes.ts";
import { OwnerToken } from "./owner-token.ts";
import { Page } from "./page.ts";
import { INLINE_VALUE_BYTES } from "./record.ts";

/** Repeatable pseudo-random 32-bit numbers (xorshift). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Keys that begin alike, end early, or differ late: what a search by hints has to tell apart. */
function makeKey(next: () => number): Bytes {
  const prefix = [0, 0, 1, 3, 20][next() % 5] as number;
  const rest = 1 + (next() % 4);
  return Uint8Array.from({ length: prefix + rest }, (_, at) => (at < prefix ? 7 : next() % 3));
}

function makeValue(next: () => number): Bytes | undefined {
  if (next() % 15 === 0) return undefined;
  const length = next() % 12 === 0 ? INLINE_VALUE_BYTES + (next() % 2) : 16 * (next() % 4);
  return new Uint8Array(length).fill(next());
}

/** Keys in order, each with its value and the version that wrote it. */
type Model = Map<string, string>;

function textOf(version: number, value: Bytes | undefined): string {
  return `${version} ${value === undefined ? "deleted" : toHex(value)}`;
}

function contentOf(page: Page, version = page.owner.version): Model {
  return new Map(
    Array.from({ length: page.count }, (_, at) => [
      toHex(page.keyAt(at)),
      textOf(page.versionAt(at, version), page.valueAt(at, version)),
    ]),
  );
}

/** One random write; the same in the model. */
function change(page: Page, model: Model, next: () => number): void {
  const key = makeKey(next);
  const at = page.search(key);
  const name = toHex(key);
  assert.equal(at >= 0, model.has(name), name);
  if (at >= 0 && next() % 3 === 0) {
    page.removeAt(at);
    model.delete(name);
    return;
  }
  const value = makeValue(next);
  if (at >= 0) page.replaceAt(at, key, value);
  else page.insertAt(~at, key, value);
  model.set(name, textOf(page.owner.version, value));
}

function assertIs(page: Page, model: Model): void {
  const keys = [...model.keys()].sort();
  assert.deepEqual(
    [...contentOf(page)],
    keys.map((key) => [key, model.get(key)]),
  );
  for (const [at, key] of keys.entries()) assert.equal(page.search(Buffer.from(key, "hex")), at);
}

describe("page", () => {
  test("versions made of one another, in any order, are each what their owner made of them", () => {
    const next = generator(11);
    const versions: { page: Page; model: Model }[] = [{ page: Page.empty(new OwnerToken(0)), model: new Map() }];
    for (let version = 1; version <= 400; version++) {
      const base = versions[Math.max(0, versions.length - 1 - (next() % 5))] as { page: Page; model: Model };
      const page = base.page.owned(new OwnerToken(version));
      const model = new Map(base.model);
      for (let writes = next() % 8; writes > 0; writes--) change(page, model, next);
      assertIs(page, model);
      versions.push({ page, model });
    }
    for (const { page, model } of versions) assertIs(page, model);
  });

  test("a page that nobody has a view on is overwritten without a change of the version it was made of", () => {
    const key = Uint8Array.of(1);
    const before = Page.empty(new OwnerToken(1));
    before.insertAt(0, key, new Uint8Array(50).fill(1));
    const after = before.owned(new OwnerToken(2));
    for (let value = 2; value < 100; value++) after.replaceAt(0, key, new Uint8Array(50).fill(value));
    assert.deepEqual([...contentOf(before)], [["01", textOf(1, new Uint8Array(50).fill(1))]]);
    assert.deepEqual([...contentOf(after)], [["01", textOf(2, new Uint8Array(50).fill(99))]]);
  });

  test("views last while their own page overwrites, removes and moves records", () => {
    const next = generator(12);
    const page = Page.empty(new OwnerToken(1));
    const model: Model = new Map();
    const views: { view: Bytes; copy: string }[] = [];
    for (let step = 0; step < 3000; step++) {
      change(page, model, next);
      if (page.count === 0) continue;
      const at = next() % page.count;
      for (const view of [page.keyAt(at), page.valueAt(at, 1)]) if (view) views.push({ view, copy: toHex(view) });
    }
    assert.ok(views.length > 3000);
    for (const { view, copy } of views) assert.equal(toHex(view), copy);
  });

  test("a search says where a key belongs that is not there", () => {
    const next = generator(13);
    for (let round = 0; round < 200; round++) {
      const keys = Array.from({ length: 1 + (next() % 40) }, () => makeKey(next)).sort(compareBytes);
      const page = Page.empty(new OwnerToken(1));
      for (const key of keys) {
        const at = page.search(key);
        if (at < 0) page.insertAt(~at, key, undefined);
      }
      const copy = page.slice(new OwnerToken(2), 0, page.count);
      const wanted = [...Array.from({ length: 40 }, () => makeKey(next)), Uint8Array.of(0), Uint8Array.of(255)];
      for (const key of wanted) {
        const below = keys.filter((one) => compareBytes(one, key) < 0).map(toHex);
        const index = new Set(below).size;
        const there = keys.some((one) => compareBytes(one, key) === 0);
        assert.equal(page.search(key), there ? index : ~index);
        assert.equal(copy.search(key), there ? index : ~index);
      }
    }
  });

  test("every version sees its own value of a key that newer ones overwrote in the page, and can have the page back", () => {
    const next = generator(14);
    const page = Page.empty(new OwnerToken(1));
    const keys = Array.from({ length: 40 }, (_, at) => Uint8Array.of(at));
    for (const [at, key] of keys.entries()) page.insertAt(at, key, makeValue(next));
    const versions: Model[] = [new Map(), contentOf(page, 1)];
    let taken = 0;
    for (let version = 2; version < 30; version++) {
      const model = new Map(versions.at(-1));
      for (let writes = next() % 4; writes > 0; writes--) {
        const at = next() % keys.length;
        const [key, value] = [keys[at] as Bytes, makeValue(next)];
        const large = [value, page.valueAt(at, version)].some((one) => (one?.length ?? 0) > INLINE_VALUE_BYTES);
        const done = page.overwrite(at, version, key, value);
        assert.ok(!(done && large), "a large value takes another page");
        if (!done) continue;
        model.set(toHex(key), textOf(version, value));
        taken++;
      }
      versions.push(model);
    }
    assert.ok(taken > 10);
    const newest = versions.length - 1;
    for (let version = 1; version <= newest; version++) {
      assert.deepEqual(contentOf(page, version), versions[version]);
      for (const at of keys.keys()) {
        const reverted = page.reverted(new OwnerToken(version), at);
        assert.equal(reverted === page, page.versionAt(at, newest) <= version);
        assert.deepEqual(contentOf(reverted, reverted === page ? version : newest), versions[version]);
      }
    }
  });

  test("a page is not overwritten beyond its log or its limit", () => {
    const page = Page.empty(new OwnerToken(1));
    for (let at = 0; at < 16; at++) page.insertAt(at, Uint8Array.of(at), new Uint8Array(900));
    let version = 2;
    while (page.overwrite(version % 16, version, Uint8Array.of(version % 16), new Uint8Array(900))) version++;
    assert.ok(version < 40);
    assert.equal(page.overwrite(0, version, Uint8Array.of(0), new Uint8Array(INLINE_VALUE_BYTES)), false);
    assert.deepEqual([...contentOf(page, 1).values()], Array<string>(16).fill(textOf(1, new Uint8Array(900))));
  });

  test("a large value stays in the version that has it when another version replaces it", () => {
    const [key, large] = [Uint8Array.of(1), new Uint8Array(INLINE_VALUE_BYTES + 1).fill(5)];
    const before = Page.empty(new OwnerToken(1));
    before.insertAt(0, key, large);
    const after = before.owned(new OwnerToken(2));
    after.replaceAt(0, key, Uint8Array.of(9));
    assert.equal(before.valueAt(0, 1), large);
    assert.deepEqual(after.valueAt(0, 2), Uint8Array.of(9));
  });
});
