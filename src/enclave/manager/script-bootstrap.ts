/**
 * The first script that runs in the sandbox, before any other: it takes away what is not the same everywhere, and makes
 * the functions through which the sandbox is used. It keeps its own references to what it needs, so that nothing a later
 * script does to the built-in objects reaches it.
 */

/** First character of what the functions of {@link BOOTSTRAP_SOURCE} return; the rest is a value as JSON, or a message. */
export const BOOTSTRAP_MARKS = {
  value: "V",
  threw: "T",
  syntax: "X",
  stack: "S",
  memory: "M",
  notAFunction: "N",
  tooLarge: "L",
  notJson: "J",
} as const;

const { value, threw, syntax, stack, memory, notAFunction, tooLarge, notJson } = BOOTSTRAP_MARKS;

/**
 * Its value is a list: `prepare(viewJson, argumentsJson)`, `finish(exports, name)`, `describe(error)`. Bounds are put in
 * as numbers: of the result's length, and of a message's.
 */
export function bootstrapSource(outputLength: number, messageLength: number): string {
  return `(() => {
"use strict";
const { parse, stringify } = JSON;
const { apply, ownKeys, defineProperty, deleteProperty } = Reflect;
const { freeze } = Object;
const { slice } = String.prototype;
const isList = Array.isArray;
const isPrototypeOf = Object.prototype.isPrototypeOf;
const isA = (error, kind) => apply(isPrototypeOf, kind.prototype, [error]);
const Syntax = SyntaxError, Internal = InternalError;
deleteProperty(Math, "random");
for (const name of ["Date", "WeakRef", "FinalizationRegistry", "performance"]) deleteProperty(globalThis, name);
const freezeAll = (value) => {
  const isItem = isList(value);
  const keys = isItem ? value : ownKeys(value);
  for (let at = 0; at < keys.length; at += 1) {
    const inner = isItem ? value[at] : value[keys[at]];
    if (typeof inner === "object" && inner !== null) freezeAll(inner);
  }
  freeze(value);
};
const setGlobal = (name, value) => defineProperty(globalThis, name, { value, writable: false, configurable: false });
const drop = () => undefined;
setGlobal("console", freeze({ log: drop, info: drop, warn: drop, error: drop, debug: drop }));
const describe = (error) => {
  let mark = "${threw}";
  try {
    if (typeof error !== "object" || error === null) return mark + apply(slice, \`\${error}\`, [0, ${messageLength}]);
    const { name, message } = error;
    const text = apply(slice, \`\${name}: \${message}\`, [0, ${messageLength}]);
    if (isA(error, Syntax)) mark = "${syntax}";
    else if (isA(error, Internal) && message === "out of memory") mark = "${memory}";
    else if (message === "stack overflow" || message === "Maximum call stack size exceeded") mark = "${stack}";
    return mark + text;
  } catch {
    return mark + "threw something that cannot be described";
  }
};
let given;
const prepare = (viewJson, argumentsJson) => {
  given = parse(argumentsJson);
  const view = parse(viewJson);
  if (typeof view === "object" && view !== null) freezeAll(view);
  setGlobal("coco", view);
};
const finish = (exported, name) => {
  try {
    const called = exported[name];
    if (typeof called !== "function") return "${notAFunction}";
    const value = apply(called, undefined, given);
    if (value === undefined) return "${value}null";
    const text = stringify(value);
    if (typeof text !== "string") return "${notJson}";
    return text.length > ${outputLength} ? "${tooLarge}" : "${value}" + text;
  } catch (error) {
    return describe(error);
  }
};
return [prepare, finish, describe];
})()`;
}
