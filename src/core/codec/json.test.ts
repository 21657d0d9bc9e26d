import { test } from "node:test";
import assert from "node:assert/strict";
import { MAX_STRICT_JSON_DEPTH, parseStrictJson, type StrictJson } from "./json.ts";

/** As `JSON.parse` gives it. */
function plain(value: StrictJson): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, field]) => [name, plain(field)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

const refused = { code: "MalformedInput" };

test("what is valid reads as JSON.parse reads it", () => {
  const documents = [
    ...[
      '{"a":[1,-2.5e3,{"b":null}],"c":"\\u00e9\\"\\\\\\/\\n","d":true,"":false}',
      " [ ] ",
      "{}",
      '"x"',
      "0",
      "-0.1E+2",
    ],
    ...["[[[]]]", '{ "a" : { } , "b" : [ 1 , 2 ] }\n', '"\u2028 \ud83d\ude00"', "null"],
  ];
  for (const text of documents) assert.deepEqual(plain(parseStrictJson(text)), JSON.parse(text), text);
});

test("what JSON.parse refuses is refused, and a name that stands twice", () => {
  const documents = [
    ...["", " ", "{", "[1,]", '{"a":1,}', "{a:1}", "01", "1.", "+1", ".5", "NaN", "'x'", '"\u0001"', '"\\x"', "[1 2]"],
    ...['{"a":1}x', "nul", "truefalse", '{"a" 1}', '"\\u12g4"', '"open', "\ufeff{}", "{} {}", "1e999"],
  ];
  for (const text of documents) assert.throws(() => parseStrictJson(text), refused, text);
  assert.throws(() => parseStrictJson('{"a":1,"a":1}'), /twice/);
  assert.throws(() => parseStrictJson('{"a":1,"b":{"c":1,"\\u0063":2}}'), /twice/);
  assert.equal(plain(parseStrictJson('{"a":{"a":1}}')) instanceof Object, true);
});

test("names of prototypes are names", () => {
  const value = parseStrictJson('{"__proto__":{"polluted":1},"constructor":2}');
  assert.ok(value instanceof Map);
  assert.equal(value.get("constructor"), 2);
  assert.equal("polluted" in {}, false);
});

test("depth and length are bounded", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  assert.doesNotThrow(() => parseStrictJson(nested(MAX_STRICT_JSON_DEPTH + 1)));
  assert.throws(() => parseStrictJson(nested(MAX_STRICT_JSON_DEPTH + 2)), refused);
  assert.throws(() => parseStrictJson(nested(100_000)), refused);
  assert.throws(() => parseStrictJson(`"${"x".repeat(1024 * 1024)}"`), refused);
});
