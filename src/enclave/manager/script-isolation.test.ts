import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { loadScriptRunner } from "../../host/script-engine-file.ts";
import { body, DEEP, MEMORY_BOMB, returned, VIEW } from "./test-script-calls.ts";

/** Names of all globals. */
const EXPECTED_GLOBALS = (
  "AggregateError Array BigInt Boolean Error EvalError Function Infinity InternalError Iterator JSON Map Math NaN Number Object " +
  "Promise Proxy RangeError ReferenceError Reflect RegExp Set String Symbol SyntaxError TypeError URIError WeakMap WeakSet coco " +
  "console decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt " +
  "undefined unescape"
).split(" ");

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
    const common = JSON.stringify({ function: "vote", arguments: [], view: VIEW });
    const program = `const { loadScriptRunner } = await import(${JSON.stringify(file)});
      const { runScript } = await loadScriptRunner();
      const call = (text) => ({ ...${common}, source: "export function vote(...given) { " + text + " }" });
      process.stdout.write(JSON.stringify(${JSON.stringify(calls)}.map((text) => runScript(call(text)))));`;
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
