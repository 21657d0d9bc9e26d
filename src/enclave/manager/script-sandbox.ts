/**
 * The script sandbox: runs scripts of ballots and of the constitution on an engine of their own (R8).
 *
 * Every validating node must come to the same result, so bounds count work (fuel), never time, and each call begins from
 * the same state of the engine; script-engine.ts says how. A script has the language, its arguments and the global
 * `coco`; it has no clock, no randomness, no output, no other module and no object of the host. What it defines or changes
 * is gone with the call.
 */
import { toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { isWellFormed, readJsonValue } from "../../core/governance/json-value.ts";
import {
  MAX_SCRIPT_BYTES,
  MAX_SCRIPT_INPUT_LENGTH,
  MAX_SCRIPT_MESSAGE_LENGTH,
  MAX_SCRIPT_OUTPUT_BYTES,
  type RunScript,
  type ScriptCall,
  type ScriptFailure,
  type ScriptResult,
} from "../../core/governance/script.ts";
import { CocoError } from "../../errors.ts";
import { sha256 } from "./node-crypto.ts";
import { BOOTSTRAP_MARKS, bootstrapSource } from "./script-bootstrap.ts";
import { ScriptEngine } from "./script-engine.ts";

/**
 * Work one call may take: turns of loops and calls of functions inside the engine, a byte code each about one. It is counted,
 * not timed, and takes about 10 ms of a processor.
 */
export const MAX_SCRIPT_FUEL = 2_000_000;

/**
 * Work it may take to hand over arguments and view, before the script begins: about 5 a character of text, 100 a value. Beyond
 * it the call fails with `InputTooLarge`.
 */
export const MAX_SCRIPT_INPUT_FUEL = 4_000_000;

/**
 * SHA-256 of the engine's module, `@jitl/quickjs-wasmfile-release-sync` 0.32.0. Another engine may come to other results, so
 * nodes of one network must have the same one.
 */
export const SCRIPT_ENGINE_DIGEST = "105c3bed22d457e43e3d1c3c1c6959fda62a8fe06f0fc8a985303c3a2be72232";

/** What the engine said before it is a result. */
type RawResult = { readonly type: "text"; readonly text: string } | { readonly type: "asynchronous" };

const FAILURES: Readonly<Record<string, readonly [ScriptFailure, string]>> = {
  [BOOTSTRAP_MARKS.threw]: ["Threw", "the script threw"],
  [BOOTSTRAP_MARKS.syntax]: ["SyntaxError", "the script is no ECMAScript module"],
  [BOOTSTRAP_MARKS.stack]: ["Stack", "functions, expressions or JSON are nested too deeply"],
  [BOOTSTRAP_MARKS.memory]: ["Memory", "the script used up its memory"],
  [BOOTSTRAP_MARKS.notAFunction]: ["NotAFunction", "the script does not export the function"],
  [BOOTSTRAP_MARKS.tooLarge]: ["OutputTooLarge", "the result is too large"],
  [BOOTSTRAP_MARKS.notJson]: ["OutputInvalid", "the result is no JSON"],
};

function failed(reason: ScriptFailure, message: string, fuel: number): ScriptResult {
  return { ok: false, reason, message: message.slice(0, MAX_SCRIPT_MESSAGE_LENGTH), fuel };
}

/** What a script finds. */
interface CallInput {
  readonly argumentsJson: string;
  readonly viewJson: string;
}

/** The call as the engine takes it; undefined when a part of it is beyond its bounds or has no UTF-8 form. */
function encodeCall(call: ScriptCall): (CallInput & { readonly source: Bytes }) | undefined {
  const argumentsJson = JSON.stringify(call.arguments);
  const viewJson = JSON.stringify(call.view);
  const isTooLong = call.source.length > MAX_SCRIPT_BYTES || !isWellFormed(call.source);
  if (isTooLong || argumentsJson.length > MAX_SCRIPT_INPUT_LENGTH || viewJson.length > MAX_SCRIPT_INPUT_LENGTH)
    return undefined;
  const source = utf8Encode(call.source);
  return source.length > MAX_SCRIPT_BYTES ? undefined : { source, argumentsJson, viewJson };
}

/** Runs scripts on one engine, one call after the other. */
export class ScriptRunner {
  readonly #engine: ScriptEngine;

  constructor(engine: ScriptEngine) {
    this.#engine = engine;
  }

  /** Runs one call; the same call has the same result, fuel included, on every node and at any time. */
  readonly runScript: RunScript = (call) => {
    const encoded = encodeCall(call);
    const { maxFuel = MAX_SCRIPT_FUEL + MAX_SCRIPT_INPUT_FUEL } = call;
    const inputFuel = encoded && this.#prepare(encoded, Math.min(MAX_SCRIPT_INPUT_FUEL, maxFuel));
    if (encoded === undefined || inputFuel === undefined)
      return failed("InputTooLarge", "the script, its arguments or its view are too large", 0);
    const most = Math.min(MAX_SCRIPT_FUEL, maxFuel - inputFuel);
    const { outcome, fuel } = this.#engine.run(most, () => this.#call(encoded.source, call.function));
    switch (outcome.type) {
      case "returned":
        return resultOf(outcome.value, fuel);
      case "exhausted":
        return failed("Timeout", `the script did more work than this call may: ${most} steps`, fuel);
      case "overflowed":
        return failed("Stack", "functions, expressions or JSON are nested too deeply", fuel);
      case "failed":
        return failed("EngineFailed", "the script brought the engine to a fault", fuel);
    }
  };

  /** Hands over view and arguments, which is not the script's work; the work it took, undefined when there is no room for them. */
  #prepare({ viewJson, argumentsJson }: CallInput, maxFuel: number): number | undefined {
    const engine = this.#engine;
    engine.reset();
    const { outcome, fuel } = engine.run(maxFuel, () => {
      const prepared = engine.call(engine.bootstrapped(0), [engine.newText(viewJson), engine.newText(argumentsJson)]);
      return engine.exceptionOf(prepared) === undefined;
    });
    return outcome.type === "returned" && outcome.value ? fuel : undefined;
  }

  #call(source: Bytes, name: string): RawResult {
    const engine = this.#engine;
    const exported = engine.evaluate(source, true);
    const thrown = engine.exceptionOf(exported);
    if (thrown === undefined && engine.isPending(exported)) return { type: "asynchronous" };
    const result =
      thrown === undefined
        ? engine.call(engine.bootstrapped(1), [exported, engine.newText(name)])
        : engine.call(engine.bootstrapped(2), [thrown]);
    return { type: "text", text: engine.textOf(result) };
  }
}

function resultOf(raw: RawResult, fuel: number): ScriptResult {
  if (raw.type === "asynchronous") return failed("Asynchronous", "scripts are synchronous: do without await", fuel);
  const mark = raw.text.slice(0, 1);
  const rest = raw.text.slice(1);
  const failure = FAILURES[mark];
  if (failure !== undefined) return failed(failure[0], rest === "" ? failure[1] : rest, fuel);
  if (mark !== BOOTSTRAP_MARKS.value) return failed("EngineFailed", "the script brought the engine to a fault", fuel);
  if (utf8Encode(rest).length > MAX_SCRIPT_OUTPUT_BYTES)
    return failed("OutputTooLarge", "the result is too large", fuel);
  const value = readJsonValue(JSON.parse(rest));
  if (value === undefined) {
    return failed(
      "OutputInvalid",
      "the result is not JSON with whole numbers, within the limits of depth and size",
      fuel,
    );
  }
  return { ok: true, value, fuel };
}

/** Makes a runner of the engine's module; refuses any other module than {@link SCRIPT_ENGINE_DIGEST} names. */
export async function createScriptRunner(module: Bytes): Promise<ScriptRunner> {
  const digest = toHex(sha256(module));
  if (digest !== SCRIPT_ENGINE_DIGEST)
    throw new CocoError(
      "ConfigurationInvalid",
      `the script engine has the digest ${digest}, expected ${SCRIPT_ENGINE_DIGEST}`,
    );
  return new ScriptRunner(
    await ScriptEngine.create(module, bootstrapSource(MAX_SCRIPT_OUTPUT_BYTES, MAX_SCRIPT_MESSAGE_LENGTH)),
  );
}
