/**
 * The engine of the script sandbox: QuickJS (bellard/quickjs 2025-09-13) as WebAssembly, metered, in a memory of fixed size.
 *
 * The module imports nothing of the host that tells anything: no clock, no randomness, no environment, no output. Its
 * whole state is its memory, its stack pointer and its fuel. These are taken down once, when the engine is ready, and put
 * back before each call; so a call finds the same engine, bit by bit, whatever calls came before and however they ended,
 * and takes the same steps on every machine.
 */
import { utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { webAssembly, type WasmGlobal, type WasmImports, type WasmInstance, type WasmMemory } from "./web-assembly.ts";
import { METER_EXPORTS, meterModule } from "./script-metering.ts";

/** Memory of the script engine in bytes: its own data, its stack and everything a script makes. */
export const MAX_SCRIPT_MEMORY_BYTES = 16 * 1024 * 1024;
/** Stack of the script engine in bytes, at which it ends a script by a trap; scripts see their own bound first. */
export const MAX_ENGINE_STACK_BYTES = 256 * 1024;
/** Stack in bytes a script may use before it sees an error. */
export const MAX_SCRIPT_STACK_BYTES = 128 * 1024;

/**
 * Most bytes of the platform's stack that a call may take, by an estimate that is more than twice of what it takes; beyond it
 * the call ends. The platform itself has room for about a megabyte.
 */
export const MAX_ENGINE_DEPTH_BYTES = 512 * 1024;

const BOUNDS = { stackBytes: MAX_ENGINE_STACK_BYTES, depthBytes: MAX_ENGINE_DEPTH_BYTES };
const PAGE_BYTES = 64 * 1024;
/** Fuel for making the engine ready; it takes the same amount each time, far less than this. */
const START_FUEL = 1_000_000_000;
/** JS_EVAL_TYPE_MODULE of QuickJS. */
const EVALUATE_MODULE = 1;
/** JS_PROMISE_PENDING of QuickJS. */
const PENDING = 0;
const ENGINE_TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

/** Names of the engine's exports in the module of `@jitl/quickjs-wasmfile-release-sync` 0.32.0, which shortens them. */
const EXPORTS = {
  initialize: "u",
  allocate: "v",
  setMaxStackSize: "D",
  newRuntime: "K",
  newContext: "N",
  newString: "_",
  getString: "$",
  getItem: "ia",
  call: "ma",
  exception: "na",
  evaluate: "pa",
  promiseState: "wa",
  undefined: "E",
} as const;

/**
 * What a context has, as flags of the engine: base objects (1), eval (4), normalization (8), regular expressions (16, 32),
 * JSON (64), Proxy (128), Map and Set (256), Promise (1024), BigInt (2048). Not Date, which would tell the time, and not
 * typed arrays, which would tell the bits of a NaN: they differ between processors.
 */
const INTRINSICS = 1 + 4 + 8 + 16 + 32 + 64 + 128 + 256 + 1024 + 2048;

type EngineFunction = (...parameters: readonly number[]) => number;

/** A JavaScript value inside the engine, by its address. */
export type EngineValue = number & { readonly kind: "EngineValue" };

/** How a call of the engine ended: with a value, or by a bound. */
export type EngineOutcome<T> =
  | { readonly type: "returned"; readonly value: T }
  /** The fuel is used up. */
  | { readonly type: "exhausted" }
  /** Calls inside the engine were nested too deeply. */
  | { readonly type: "overflowed" }
  /** The engine came upon a fault of its own. */
  | { readonly type: "failed" };

/** Thrown where the engine calls what it must not need. */
class EngineStopped {}

const stop = (): never => {
  throw new EngineStopped();
};
const nothing = (): number => 0;

/** All functions the module imports. Whatever is not answered by a constant stops the engine. */
function importsOf(memory: WasmMemory): WasmImports {
  const imports: Record<string, WasmMemory | (() => number)> = { a: memory };
  for (const name of "bcdefghijklmnopqrst") imports[name] = stop;
  // In this order: the time is always 0; memory never grows; no environment; no time zone; output is dropped.
  for (const name of "pkefnc") imports[name] = nothing;
  return { a: imports };
}

function functionOf(instance: WasmInstance, name: string): EngineFunction {
  const found = instance.exports[name];
  invariant(typeof found === "function", `the script engine does not export ${name}`);
  return (...parameters) => Number(found(...parameters));
}

function functionsOf(instance: WasmInstance): Readonly<Record<keyof typeof EXPORTS, EngineFunction>> {
  const of = (name: keyof typeof EXPORTS) => functionOf(instance, EXPORTS[name]);
  return {
    initialize: of("initialize"),
    allocate: of("allocate"),
    setMaxStackSize: of("setMaxStackSize"),
    newRuntime: of("newRuntime"),
    newContext: of("newContext"),
    newString: of("newString"),
    getString: of("getString"),
    getItem: of("getItem"),
    call: of("call"),
    exception: of("exception"),
    evaluate: of("evaluate"),
    promiseState: of("promiseState"),
    undefined: of("undefined"),
  };
}

function globalOf(instance: WasmInstance, name: string): WasmGlobal {
  const found = instance.exports[name];
  invariant(found instanceof webAssembly.Global, `the script engine does not export ${name}`);
  return found;
}

/** A part of the memory that is not zero when the engine is ready. */
interface ImagePart {
  readonly at: number;
  readonly bytes: Bytes;
}

/** One engine with one context, used for one call at a time. */
export class ScriptEngine {
  readonly #memory: Bytes;
  readonly #fuel: WasmGlobal;
  readonly #stack: WasmGlobal;
  readonly #depth: WasmGlobal;
  readonly #functions: Readonly<Record<keyof typeof EXPORTS, EngineFunction>>;
  readonly #context: number;
  readonly #stackStart: number;
  readonly #bootstrap: readonly EngineValue[];
  readonly #image: readonly ImagePart[];

  private constructor(instance: WasmInstance, memory: WasmMemory, bootstrap: string) {
    this.#memory = new Uint8Array(memory.buffer);
    this.#fuel = globalOf(instance, METER_EXPORTS.fuel);
    this.#stack = globalOf(instance, METER_EXPORTS.stack);
    this.#depth = globalOf(instance, METER_EXPORTS.depth);
    this.#stackStart = this.#stack.value;
    this.#functions = functionsOf(instance);
    this.#fuel.value = START_FUEL;
    this.#functions.initialize();
    const runtime = this.#functions.newRuntime();
    this.#functions.setMaxStackSize(runtime, MAX_SCRIPT_STACK_BYTES);
    this.#context = this.#functions.newContext(runtime, INTRINSICS);
    const list = this.evaluate(utf8Encode(bootstrap), false);
    invariant(this.exceptionOf(list) === undefined, "the bootstrap of the script sandbox failed");
    this.#bootstrap = [0, 1, 2].map((at) => this.#value(this.#functions.getItem(this.#context, list, at)));
    this.#image = imageOf(this.#memory);
  }

  /** Makes an engine of its module, and runs the bootstrap script in it, whose value is a list of three functions. */
  static async create(module: Bytes, bootstrap: string): Promise<ScriptEngine> {
    const pages = MAX_SCRIPT_MEMORY_BYTES / PAGE_BYTES;
    const memory = new webAssembly.Memory({ initial: pages, maximum: pages });
    const metered = await webAssembly.compile(meterModule(module, BOUNDS));
    return new ScriptEngine(await webAssembly.instantiate(metered, importsOf(memory)), memory, bootstrap);
  }

  /** Puts the engine back to how it was when it was ready; everything must begin with it. */
  reset(): void {
    this.#memory.fill(0);
    for (const { at, bytes } of this.#image) this.#memory.set(bytes, at);
    this.#stack.value = this.#stackStart;
    this.#depth.value = 0;
  }

  /** Runs `step` with so much fuel. Says what became of it, and what it took. */
  run<T>(fuel: number, step: () => T): { readonly outcome: EngineOutcome<T>; readonly fuel: number } {
    this.#fuel.value = fuel;
    const outcome = this.#attempt(step);
    return { outcome, fuel: Math.min(fuel, fuel - this.#fuel.value) };
  }

  #attempt<T>(step: () => T): EngineOutcome<T> {
    try {
      return { type: "returned", value: step() };
    } catch (error) {
      // Anything else, the end of the platform's own stack above all, is no result that others come to as well.
      if (!(error instanceof webAssembly.RuntimeError) && !(error instanceof EngineStopped)) throw error;
      if (this.#fuel.value < 0) return { type: "exhausted" };
      const isDeep = this.#stackStart - this.#stack.value > BOUNDS.stackBytes || this.#depth.value > BOUNDS.depthBytes;
      return { type: isDeep ? "overflowed" : "failed" };
    }
  }

  /** One of the functions the bootstrap script made. */
  bootstrapped(at: 0 | 1 | 2): EngineValue {
    return this.#value(this.#bootstrap[at] ?? 0);
  }

  /** Evaluates a script; of a module the value is its exports. */
  evaluate(source: Bytes, isModule: boolean): EngineValue {
    const name = this.#write(utf8Encode("script"));
    const flags = isModule ? EVALUATE_MODULE : 0;
    const code = this.#write(source);
    return this.#value(this.#functions.evaluate(this.#context, code, source.length, name, 0, flags));
  }

  call(called: EngineValue, parameters: readonly EngineValue[]): EngineValue {
    const list = this.#allocate(parameters.length * 4);
    const view = new DataView(this.#memory.buffer);
    for (const [at, parameter] of parameters.entries()) view.setUint32(list + at * 4, parameter, true);
    const self = this.#functions.undefined();
    return this.#value(this.#functions.call(this.#context, called, self, parameters.length, list));
  }

  /** What was thrown, if this value stands for an exception. */
  exceptionOf(value: EngineValue): EngineValue | undefined {
    const thrown = this.#functions.exception(this.#context, value);
    return thrown === 0 ? undefined : this.#value(thrown);
  }

  /** Whether a value is a promise that is not settled. */
  isPending(value: EngineValue): boolean {
    return this.#functions.promiseState(this.#context, value) === PENDING;
  }

  newText(text: string): EngineValue {
    return this.#value(this.#functions.newString(this.#context, this.#write(utf8Encode(text))));
  }

  /** The text of a value that is one; half a character, which text of the language may have, becomes a replacement. */
  textOf(value: EngineValue): string {
    const at = this.#functions.getString(this.#context, value);
    // The script has left no room for it.
    if (at === 0) stop();
    return ENGINE_TEXT.decode(this.#memory.subarray(at, this.#memory.indexOf(0, at)));
  }

  #value(address: number): EngineValue {
    return address as EngineValue;
  }

  #allocate(length: number): number {
    const address = this.#functions.allocate(length);
    if (address === 0) stop();
    return address;
  }

  /** Bytes in the engine's memory, with a zero behind them. */
  #write(bytes: Bytes): number {
    const address = this.#allocate(bytes.length + 1);
    this.#memory.set(bytes, address);
    this.#memory[address + bytes.length] = 0;
    return address;
  }
}

/** The pages of a memory that are not zero, adjacent ones as one part. */
function imageOf(memory: Bytes): readonly ImagePart[] {
  const parts: ImagePart[] = [];
  let from: number | undefined;
  for (let at = 0; at <= memory.length; at += PAGE_BYTES) {
    const isUsed = memory.subarray(at, at + PAGE_BYTES).some((byte) => byte !== 0);
    if (isUsed) from ??= at;
    else if (from !== undefined) {
      parts.push({ at: from, bytes: memory.slice(from, at) });
      from = undefined;
    }
  }
  return parts;
}
