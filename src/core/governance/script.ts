/**
 * Scripts in governance: scripted ballots, scripted policies and the constitution's own script, as a port (R8).
 *
 * Every validating node runs them itself while it executes an administrative transaction, so a runner must come to the
 * same result for the same call, everywhere and always: its bounds count work, never time, and a script sees nothing
 * but its arguments and the view. This file holds the port's words and the strict reading of what scripts return.
 */
import { isActionName, type ActionName } from "./action-names.ts";
import type { JsonValue } from "./json-value.ts";
import type { Verdict, Vote } from "./policy.ts";

/** Largest source of one script, in UTF-8 bytes: whatever a constitution or a ballot can hold. */
export const MAX_SCRIPT_BYTES = 768 * 1024;
/** Largest arguments, and largest view, of one call, as JSON in UTF-16 units; beyond it the call fails with `InputTooLarge`. */
export const MAX_SCRIPT_INPUT_LENGTH = 512 * 1024;
/** Largest result of one call, as JSON in UTF-8 bytes; beyond it the call fails with `OutputTooLarge`. */
export const MAX_SCRIPT_OUTPUT_BYTES = 64 * 1024;
/** Longest message of a failed call, in characters; the rest is cut off. */
export const MAX_SCRIPT_MESSAGE_LENGTH = 500;
/** Most actions that `apply` of a script may add to a proposal. */
export const MAX_SCRIPT_ACTIONS = 64;

/** The functions a script may export. */
export type ScriptFunction = "vote" | "validate" | "resolve" | "apply";

/** One call of a function that a script exports. */
export interface ScriptCall {
  /** An ECMAScript module that imports nothing. */
  readonly source: string;
  readonly function: ScriptFunction;
  readonly arguments: readonly JsonValue[];
  /** What the script sees as the global `coco`, deeply frozen. */
  readonly view: JsonValue;
  /**
   * Work that input and script of this call may take together, where that is less than what any call may. Beyond it the call
   * fails with `InputTooLarge` or `Timeout`.
   */
  readonly maxFuel?: number;
}

/** Why a call of a script failed. */
export type ScriptFailure =
  /** It did more work than one call may. */
  | "Timeout"
  | "Memory"
  /** Functions, expressions or JSON are nested too deeply. */
  | "Stack"
  | "Threw"
  | "OutputTooLarge"
  /** What it returned is no JSON of the kind governance takes: whole numbers, bounded depth. */
  | "OutputInvalid"
  /** The source, the arguments or the view are beyond their bounds. */
  | "InputTooLarge"
  /** The module exports no function of this name. */
  | "NotAFunction"
  | "SyntaxError"
  /** The module waits for something (`await` at its top level); scripts are synchronous. */
  | "Asynchronous"
  /** The engine itself gave up, on a fault of its own that the script brought about. */
  | "EngineFailed";

/** What became of a call. `fuel` is the work it took, the same number on every node. */
export type ScriptResult =
  | { readonly ok: true; readonly value: JsonValue; readonly fuel: number }
  | { readonly ok: false; readonly reason: ScriptFailure; readonly message: string; readonly fuel: number };

/** Runs a call of a script, synchronously and within its bounds; never throws because of a script. */
export type RunScript = (call: ScriptCall) => ScriptResult;

/** What `validate` returns. */
export interface ScriptValidation {
  readonly valid: boolean;
  readonly description: string;
}

/** An action that `apply` adds; its arguments are read as those of any action. */
export interface ScriptAction {
  readonly name: ActionName;
  readonly args: JsonValue;
}

/** What each function must return, to be named when it returned something else. */
export const SCRIPT_RETURNS: Readonly<Record<ScriptFunction, string>> = {
  vote: "true, false, or one of the texts yes, no, abstain",
  validate: "{valid: true or false, description: text}",
  resolve: "one of the texts Open, Accepted, Rejected",
  apply: "nothing, or {actions: [{name, args}, ...]} with actions that exist",
};

function fieldsOf(value: JsonValue): ReadonlyMap<string, JsonValue> {
  const isRecord = typeof value === "object" && value !== null && !Array.isArray(value);
  return new Map<string, JsonValue>(isRecord ? Object.entries(value) : []);
}

/** What a ballot's `vote` decided, true and false as CCF has it or the words of a plain ballot; undefined: neither. */
export function readScriptVote(value: JsonValue): Vote | undefined {
  if (value === true || value === "yes") return "yes";
  if (value === false || value === "no") return "no";
  return value === "abstain" ? value : undefined;
}

/** What a constitution's `validate` found; undefined when it is not of the form in {@link SCRIPT_RETURNS}. */
export function readScriptValidation(value: JsonValue): ScriptValidation | undefined {
  const fields = fieldsOf(value);
  const valid = fields.get("valid");
  const description = fields.get("description");
  if (fields.size !== 2 || typeof valid !== "boolean" || typeof description !== "string") return undefined;
  return { valid, description: description.slice(0, MAX_SCRIPT_MESSAGE_LENGTH) };
}

/** How `resolve` judges a proposal; undefined when it says none of the words in {@link SCRIPT_RETURNS}. */
export function readScriptResolution(value: JsonValue): Verdict | undefined {
  if (value === "Open") return "open";
  if (value === "Accepted") return "accepted";
  return value === "Rejected" ? "rejected" : undefined;
}

function readScriptAction(value: JsonValue): ScriptAction | undefined {
  const fields = fieldsOf(value);
  const name = fields.get("name");
  const args = fields.get("args");
  if (fields.size !== 2 || args === undefined || typeof name !== "string" || !isActionName(name)) return undefined;
  return { name, args };
}

/** The actions that `apply` adds, none when it returned nothing; undefined when they are not of the form required. */
export function readAddedActions(value: JsonValue): readonly ScriptAction[] | undefined {
  if (value === null) return [];
  const fields = fieldsOf(value);
  const actions = fields.get("actions");
  if (fields.size !== 1 || !Array.isArray(actions) || actions.length > MAX_SCRIPT_ACTIONS) return undefined;
  const read = actions.flatMap((action) => readScriptAction(action) ?? []);
  return read.length === actions.length ? read : undefined;
}
