/** Calls of the script sandbox for its tests, and scripts that do what a script must not. */
import assert from "node:assert/strict";
import type { JsonValue } from "../../core/governance/json-value.ts";
import type { ScriptCall, ScriptResult } from "../../core/governance/script.ts";
import { loadScriptRunner } from "../../host/script-engine-file.ts";
import type { ScriptRunner } from "./script-sandbox.ts";

const runner: ScriptRunner = await loadScriptRunner();

/** What scripts of the tests see. */
export const VIEW = { constitution: { version: 3, actors: [{ id: "a" }] }, now: 17, networkId: "ab" };

/** Runs a script; what the call does not say is a ballot without arguments. */
export function run(source: string, call: Partial<ScriptCall> = {}): ScriptResult {
  return runner.runScript({ source, function: "vote", arguments: [], view: VIEW, ...call });
}

/** The result of the function's body. */
export const body = (text: string, call: Partial<ScriptCall> = {}): ScriptResult =>
  run(`export function vote(...given) { ${text} }`, call);

/** What a call returned that did not fail. */
export function returned(result: ScriptResult): JsonValue {
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

/** Why a call failed. */
export function reasonOf(result: ScriptResult): string {
  assert.ok(!result.ok, JSON.stringify(result).slice(0, 200));
  return result.reason;
}

/** Scripts that nest something without end. */
export const DEEP: Readonly<Record<string, string>> = {
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

/** Fills the memory before its fuel ends. */
export const MEMORY_BOMB = "const s = 'x'.repeat(30000), all = []; for (;;) all.push(s.slice(1))";
