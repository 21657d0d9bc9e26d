import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { before, describe, test } from "node:test";
import { promisify } from "node:util";
import { readScriptVote, type ScriptCall, type ScriptResult } from "../../core/governance/script.ts";
import type { JsonValue } from "../../core/governance/json-value.ts";
import {
  MAX_SCRIPT_BYTES,
  MAX_SCRIPT_INPUT_LENGTH,
  MAX_SCRIPT_MESSAGE_LENGTH,
  MAX_SCRIPT_OUTPUT_BYTES,
} from "../../core/governance/script.ts";
import { CocoError } from "../../errors.ts";
import { loadScriptRunner } from "../../host/script-engine-file.ts";
import { createScriptRunner, MAX_SCRIPT_FUEL, type ScriptRunner } from "./script-sandbox.ts";

let runner: ScriptRunner;
before(async () => {
  runner = await loadScriptRunner();
});

const VIEW = { constitution: { version: 3, actors: [{ id: "a" }] }, now: 17, networkId: "ab" };

function run(source: string, call: Partial<ScriptCall> = {}): ScriptResult {
  return runner.runScript({ source, function: "vote", arguments: [], view: VIEW, ...call });
}

/** The result of the function's body. */
const body = (text: string, call: Partial<ScriptCall> = {}): ScriptResult =>
  run(`export function vote(...given) { ${text} }`, call);

function returned(result: ScriptResult): JsonValue {
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

function reasonOf(result: ScriptResult): string {
  assert.ok(!result.ok, JSON.stringify(result).slice(0, 200));
  return result.reason;
}

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

const DEEP: Readonly<Record<string, string>> = {
  functions: "const f = () => f(); return f()",
  "functions that catch": "const f = () => { try { return f() } catch { return f() } }; return f()",
  source: "return eval('['.repeat(1e5))",
  parentheses: "return eval('('.repeat(1e4) + ')'.repeat(1e4))",
  JSON: "return JSON.parse('['.repeat(1e5))",
  "a regular expression": "return new RegExp('(?:'.repeat(1e4)).test('')",
  getters: "const o = { get x() { return this.x } }; return o.x",
  comparison: "const f = () => [2, 1].sort(f); return f()",
  replacement: "const f = () => 'a'.replace(/a/, f); return f()",
  revival: "const f = () => JSON.parse('[1]', f); return f()",
  constructors: "class A { constructor() { new A() } } return new A()",
  "source in source": "globalThis.g = () => new Function('return g()')(); return g()",
  "lists in lists": "let a = []; for (let i = 0; i < 5000; i++) a = [a]; return String(a)",
  toString: "const o = { toString() { return '' + o } }; return '' + o",
};

const MEMORY_BOMB = "const s = 'x'.repeat(30000), all = []; for (;;) all.push(s.slice(1))";

/** Names of all globals. */
const EXPECTED_GLOBALS = (
  "AggregateError Array BigInt Boolean Error EvalError Function Infinity InternalError Iterator JSON Map Math NaN Number Object " +
  "Promise Proxy RangeError ReferenceError Reflect RegExp Set String Symbol SyntaxError TypeError URIError WeakMap WeakSet coco " +
  "console decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt " +
  "undefined unescape"
).split(" ");

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

describe("between calls of the script sandbox", () => {
  test("nothing stays: neither globals nor changed built-in objects, however the call ended", () => {
    const clean = body(
      "return [typeof leaked, [].leaked, {}.leaked, JSON.stringify([1]), Object.keys([1])].map(String)",
    );
    const pollution = `globalThis.leaked = 1; Object.prototype.leaked = 1; Array.prototype.map = () => 7;
      JSON.stringify = () => "9"; JSON.parse = () => 9; Object.keys = () => [9]; Reflect.apply = () => 9;
      Function.prototype.call = () => 9; String.prototype.slice = () => 9; Object.prototype.toJSON = () => 9;`;
    for (const end of ["return 1", "throw 1", "for (;;);", "const f = () => f(); f()", MEMORY_BOMB]) {
      body(pollution + end);
      assert.deepEqual(
        body("return [typeof leaked, [].leaked, {}.leaked, JSON.stringify([1]), Object.keys([1])].map(String)"),
        clean,
        end,
      );
    }
    // Nor does it reach what hands the result over.
    assert.deepEqual(returned(body(`${pollution} delete Object.prototype.toJSON; return { x: [1] }`)), { x: [1] });
  });

  test("the same call takes the same fuel and has the same result, on another runner too", async () => {
    const other = await loadScriptRunner();
    const work = `const m = new Map(); for (let i = 0; i < 500; i++) m.set("k" + (i * 7919) % 997, [i, { i }]);
      return [...m].sort().map(([key, [value]]) => key + value).join().replace(/[02468]+/g, "e").length + Math.round(Math.sin(1e22) * 1e9)`;
    const first = body(work);
    assert.ok(first.ok);
    for (const text of [work, "for (;;);", "throw 1", work]) body(text);
    const source = `export function vote(...given) { ${work} }`;
    assert.deepEqual(body(work), first);
    assert.deepEqual(other.runScript({ source, function: "vote", arguments: [], view: VIEW }), first);
  });

  test("every compiler of the platform comes to the same results", async () => {
    const calls = [
      ...Object.values(DEEP),
      "for (;;);",
      MEMORY_BOMB,
      "return Array.from({ length: 99 }, (_, i) => Math.sin(i) * 1e9 | 0)",
    ];
    const file = new URL("../../host/script-engine-file.js", import.meta.url).href;
    const program = `const { loadScriptRunner } = await import(${JSON.stringify(file)});
      const { runScript } = await loadScriptRunner();
      const results = ${JSON.stringify(calls)}.map((text) =>
        runScript({ source: "export function vote(...given) { " + text + " }", function: "vote", arguments: [], view: ${JSON.stringify(VIEW)} }));
      process.stdout.write(JSON.stringify(results));`;
    const expected = calls.map((text) => body(text));
    for (const flags of [
      ["--liftoff", "--no-wasm-tier-up"],
      ["--no-liftoff", "--stack-size=700"],
    ]) {
      const child = await promisify(execFile)(process.execPath, [...flags, "--input-type=module", "-e", program]);
      assert.deepEqual(JSON.parse(child.stdout), expected, flags.join(" "));
    }
  });

  test("1,000 hostile calls leave memory as it was and the runner usable", () => {
    const cheap = [
      "throw 1",
      "return ''.x.y",
      "const f = () => f(); f()",
      "return eval('['.repeat(1e5))",
      "globalThis.x = 1; throw x",
    ];
    const heavy = ["for (;;);", MEMORY_BOMB, "return 'x'.repeat(70000)"];
    const expected = body("return true");
    for (const text of [...cheap, ...heavy]) body(text);
    const used = process.memoryUsage().arrayBuffers;
    for (let at = 0; at < 1000; at += 1) {
      const scripts = at % 10 === 0 ? heavy : cheap;
      assert.equal(body(scripts[Math.floor(at / 10) % scripts.length] ?? "").ok, false);
    }
    const grown = process.memoryUsage().arrayBuffers - used;
    assert.ok(grown < 64 * 1024 * 1024, `${grown} bytes of buffers more`);
    assert.deepEqual(body("return true"), expected);
  });
});

describe("inside the script sandbox", () => {
  test("there are the language's own globals, without a clock, randomness, or anything of a host", () => {
    const names = returned(body("return Reflect.ownKeys(globalThis).filter((key) => typeof key === 'string').sort()"));
    assert.deepEqual(names, EXPECTED_GLOBALS);
    const absent = [
      "Math.random",
      "globalThis.Date",
      "globalThis.process",
      "globalThis.performance",
      "globalThis.WeakRef",
      "globalThis.WebAssembly",
    ];
    for (const name of [
      ...absent,
      "globalThis.require",
      "globalThis.setTimeout",
      "globalThis.Float64Array",
      "globalThis.Atomics",
      "globalThis.gc",
    ])
      assert.equal(returned(body(`return typeof ${name}`)), "undefined", name);
  });

  test("every object that can be reached leads nowhere else", () => {
    // What is defined here is known; everything else must be native to the engine.
    const walk = `
      const own = [function* () {}, async () => 1, async function* () {}, vote, ...Object.values(console)];
      const queue = [globalThis, ...own, import.meta, (function () { return arguments })(), new Error("x"),
        [][Symbol.iterator](), new Map().keys(), new Set().keys(), "a"[Symbol.iterator](), "a".matchAll(/a/g), own[0](), own[2]()];
      const seen = new Set(queue), known = new Set(own), strange = [];
      const { getPrototypeOf, getOwnPropertyDescriptor } = Object, { ownKeys } = Reflect, { toString } = Function.prototype;
      const see = (value) => {
        if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) return;
        seen.add(value);
        queue.push(value);
      };
      let functions = 0;
      for (const value of queue) {
        if (typeof value === "function" && ++functions && !known.has(value)) {
          const text = toString.call(value);
          if (!text.endsWith("[native code]\\n}")) strange.push(text.slice(0, 100));
        }
        see(getPrototypeOf(value));
        for (const key of ownKeys(value)) {
          const each = getOwnPropertyDescriptor(value, key);
          see(each.value), see(each.get), see(each.set);
        }
      }
      return { functions, strange };`;
    const found = returned(body(walk));
    const { strange, functions } = found as { strange: string[]; functions: number };
    assert.deepEqual(strange, []);
    assert.ok(functions > 300, `${functions} functions were reached`);
  });

  test("code made from text stays inside, and constructors lead to the same globals", () => {
    const ways = [
      "Function('return globalThis')()",
      "(0, eval)('globalThis')",
      "(() => 1).constructor('return globalThis')()",
      "vote.constructor.constructor('return this')()",
      "(function* () {}).constructor('return globalThis')().next().value",
      "console.log.constructor('return globalThis')()",
      "coco.constructor.constructor('return globalThis')()",
      "Reflect.construct(Function, ['return globalThis'])()",
      "new Proxy(Function, {})('return globalThis')()",
      "[].map.constructor('return globalThis')()",
    ];
    for (const way of ways) assert.equal(returned(body(`return ${way} === globalThis`)), true, way);
    assert.deepEqual(returned(body("return Object.keys(import.meta)")), []);
    const stack = returned(body("try { null.x } catch (error) { return error.stack }"));
    assert.ok(typeof stack === "string" && !/file:|node:|\/|wasm/.test(stack), String(stack));
  });
});
