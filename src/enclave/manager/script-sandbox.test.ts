import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JsonValue } from "../../core/governance/json-value.ts";
import {
  MAX_SCRIPT_BYTES,
  MAX_SCRIPT_INPUT_LENGTH,
  MAX_SCRIPT_MESSAGE_LENGTH,
  MAX_SCRIPT_OUTPUT_BYTES,
  readScriptVote,
} from "../../core/governance/script.ts";
import { CocoError } from "../../errors.ts";
import { createScriptRunner, MAX_SCRIPT_FUEL } from "./script-sandbox.ts";
import { body, DEEP, MEMORY_BOMB, reasonOf, returned, run, VIEW } from "./test-script-calls.ts";

/** Scripts that work for ever in one way or another, and what must not happen to them. */
const ENDLESS: Readonly<Record<string, string>> = {
  "a loop": "for (;;);",
  "a loop that catches": "for (;;) try { throw 1 } catch {}",
  "a regular expression": "return /(a+)+b/.test('a'.repeat(60))",
  "a native loop over a length": "return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
  "a sparse list": "return new Array(2 ** 32 - 1).sort().length",
  "a product of large numbers": "let x = (1n << 500000n) - 1n; for (;;) x = x * x >> 500000n",
  "a number as text": "return ((1n << 1000000n) - 1n).toString().length",
  "JSON of a sparse list": "return JSON.stringify(new Array(3e7)).length",
  "copies of a text": "let s = 'x'.repeat(50000); for (;;) s = (s + 'y').slice(1)",
  "an endless iterator": "return [...(function* () { for (;;) yield 1 })()]",
  "a proxy that answers for ever": "const p = new Proxy({}, { ownKeys: () => { for (;;); } }); return Object.keys(p)",
  "a getter of what it threw": "throw { get name() { for (;;); } }",
  "toJSON of its result": "return { toJSON() { for (;;); } }",
};

describe("the script sandbox", () => {
  test("runs a ballot of CCF's shape on its arguments and the view", () => {
    const source = `export function vote(rawProposal, proposerId) {
      const { actions } = JSON.parse(rawProposal);
      return proposerId === "a" && actions.every((action) => action.name === "open_epoch") && coco.constitution.version === 3;
    }`;
    const proposal = JSON.stringify({ actions: [{ name: "open_epoch", args: {} }] });
    assert.equal(readScriptVote(returned(run(source, { arguments: [proposal, "a"] }))), "yes");
    assert.equal(readScriptVote(returned(run(source, { arguments: [proposal, "b"] }))), "no");
  });

  test("runs validate, resolve and apply of a constitution", () => {
    const source = `
      export function validate(input) { return { valid: JSON.parse(input).actions.length > 0, description: "" }; }
      export const resolve = (proposal, proposer, votes, id) => votes.filter((each) => each.vote).length > 1 ? "Accepted" : "Open";
      export function apply(proposal, id) { if (id === "more") return { actions: [{ name: "open_epoch", args: {} }] }; }`;
    assert.deepEqual(returned(run(source, { function: "validate", arguments: ['{"actions":[]}'] })), {
      description: "",
      valid: false,
    });
    const votes = [
      { member_id: "a", vote: true },
      { member_id: "b", vote: true },
    ];
    assert.equal(returned(run(source, { function: "resolve", arguments: ["", "a", votes, "x"] })), "Accepted");
    assert.equal(returned(run(source, { function: "resolve", arguments: ["", "a", votes.slice(1), "x"] })), "Open");
    assert.equal(returned(run(source, { function: "apply", arguments: ["", "x"] })), null);
    assert.deepEqual(returned(run(source, { function: "apply", arguments: ["", "more"] })), {
      actions: [{ args: {}, name: "open_epoch" }],
    });
    assert.equal(reasonOf(run(source)), "NotAFunction");
  });

  test("hands over arguments as they are, and the view so that nothing of it can change", () => {
    const given = [null, true, -7, 'ü\u0000😀"', [[], {}], { __proto__x: 1, "": [2] }] satisfies JsonValue[];
    assert.deepEqual(returned(run("export const vote = (...all) => all", { arguments: given })), given);
    assert.deepEqual(returned(body("return coco")), { constitution: VIEW.constitution, networkId: "ab", now: 17 });
    const attempts = [
      "coco = 1",
      "coco.now = 1",
      "coco.constitution.actors.push(1)",
      "delete coco.now",
      "coco.constitution.actors[0].id = 'x'",
    ];
    for (const attempt of [
      ...attempts,
      "globalThis.coco = 1",
      "delete globalThis.coco",
      "Object.setPrototypeOf(coco, {})",
      "console.log = 1",
    ])
      assert.equal(reasonOf(body(`${attempt}; return coco`)), "Threw", attempt);
    assert.equal(returned(body("console.log('x', coco); console.error(); return true")), true);
  });

  for (const [what, text] of Object.entries(ENDLESS)) {
    test(`stops what works for ever: ${what}`, () => {
      const result = body(text);
      assert.equal(reasonOf(result), "Timeout");
      assert.deepEqual(body(text), result);
      assert.equal(result.fuel, MAX_SCRIPT_FUEL);
    });
  }

  for (const [what, text] of Object.entries(DEEP)) {
    test(`stops what is nested too deeply: ${what}`, () => {
      const result = body(text);
      assert.equal(reasonOf(result), "Stack");
      assert.deepEqual(body(text), result);
    });
  }

  test("the end of memory is an error of the script, whatever fills it", () => {
    const bombs = {
      text: MEMORY_BOMB,
      functions: "let f = () => 1; for (;;) f = f.bind(null, ...Array(1000).fill(f))",
      lists: "const all = []; for (;;) all.push(new Array(100000))",
      "one list": "return new Array(5e6).fill(0).length",
      JSON: "let s = '[0]'; for (;;) s = '[' + s + ',' + s + ']'",
    };
    for (const [what, text] of Object.entries(bombs)) {
      const result = body(text);
      assert.ok(["Memory", "Timeout", "Threw"].includes(reasonOf(result)), `${what}: ${JSON.stringify(result)}`);
      assert.deepEqual(body(text), result);
    }
    assert.equal(reasonOf(body(MEMORY_BOMB)), "Memory");
    assert.equal(returned(body("return true")), true);
  });

  test("a result is bounded JSON with whole numbers", () => {
    assert.equal(reasonOf(body(`return "x".repeat(${MAX_SCRIPT_OUTPUT_BYTES})`)), "OutputTooLarge");
    assert.equal(reasonOf(body(`return "ü".repeat(${MAX_SCRIPT_OUTPUT_BYTES / 2})`)), "OutputTooLarge");
    assert.equal(
      returned(body(`return "x".repeat(${MAX_SCRIPT_OUTPUT_BYTES - 2})`)),
      "x".repeat(MAX_SCRIPT_OUTPUT_BYTES - 2),
    );
    for (const text of ["0.5", "1e300", "'\\ud800'", "() => 1", "Symbol()", "eval('['.repeat(11) + ']'.repeat(11))"])
      assert.equal(reasonOf(body(`return ${text}`)), "OutputInvalid", text);
    assert.equal(reasonOf(body("return 7n")), "Threw");
    assert.equal(reasonOf(body("const a = []; a.push(a); return a")), "Threw");
    assert.equal(returned(body("return NaN")), null);
  });

  test("whatever is thrown becomes a bounded message", () => {
    assert.deepEqual(body("throw new TypeError('no')"), {
      ok: false,
      reason: "Threw",
      message: "TypeError: no",
      fuel: body("throw new TypeError('no')").fuel,
    });
    const odd = [
      "{ get message() { throw 1 } }",
      "Symbol('x')",
      "null",
      "undefined",
      "new Proxy({}, { get() { throw this } })",
      "Object.create(null)",
    ];
    for (const thrown of [
      ...odd,
      "new Proxy(() => 1, {})",
      "{ message: { toString() { return 7n ** 2n } } }",
      "'x'.repeat(50000)",
    ]) {
      const result = body(`throw ${thrown}`);
      assert.equal(reasonOf(result), "Threw", thrown);
      assert.ok(!result.ok && result.message.length > 0 && result.message.length <= MAX_SCRIPT_MESSAGE_LENGTH);
    }
  });

  test("a module is one, imports nothing and waits for nothing", () => {
    assert.equal(reasonOf(run("export function vote( {")), "SyntaxError");
    assert.equal(reasonOf(run("")), "NotAFunction");
    assert.equal(reasonOf(run("export const vote = 1")), "NotAFunction");
    assert.equal(reasonOf(run("import * as std from 'std'; export function vote() {}")), "Threw");
    assert.equal(reasonOf(run("await new Promise(() => {}); export function vote() {}")), "Asynchronous");
    assert.equal(reasonOf(run("throw 1; export function vote() {}")), "Threw");
    assert.equal(reasonOf(run("for (;;); export function vote() {}")), "Timeout");
    assert.equal(reasonOf(run("export function vote() { return this.x }")), "Threw");
  });

  test("nothing asynchronous ever runs", () => {
    const source = `let ran = 0; Promise.resolve().then(() => { ran = 1; for (;;); });
      export async function vote() { await 0; for (;;); }
      export function apply() { import("x").catch(() => { ran = 2 }); return ran; }`;
    assert.equal(readScriptVote(returned(run(source))), undefined);
    assert.equal(returned(run(source, { function: "apply" })), 0);
    assert.equal(returned(body("return true")), true);
  });

  test("input beyond its bounds is refused, and what is within runs", () => {
    const comment = (length: number) => `export function vote() { return true } //${"x".repeat(length)}`;
    assert.equal(returned(run(comment(100_000))), true);
    assert.equal(reasonOf(run(comment(MAX_SCRIPT_BYTES))), "InputTooLarge");
    assert.equal(reasonOf(run(comment(0) + "ü".repeat(MAX_SCRIPT_BYTES / 2))), "InputTooLarge");
    assert.equal(reasonOf(run(comment(0) + "\ud800")), "InputTooLarge");
    const text = "x".repeat(MAX_SCRIPT_INPUT_LENGTH - 100);
    assert.equal(returned(body("return given[0].length", { arguments: [text] })), text.length);
    assert.equal(reasonOf(body("return 1", { arguments: [`${text}${text}`] })), "InputTooLarge");
    assert.equal(reasonOf(body("return 1", { view: [`${text}${text}`] })), "InputTooLarge");
    assert.equal(reasonOf(body("return 1", { view: Array(100_000).fill({}) })), "InputTooLarge");
    assert.equal(returned(body("return true")), true);
  });

  test("only the engine it is made for is taken", async () => {
    const refused = (error: unknown) => error instanceof CocoError && error.code === "ConfigurationInvalid";
    await assert.rejects(createScriptRunner(new Uint8Array(8)), refused);
  });
});
