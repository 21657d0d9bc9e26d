/**
 * Metering of a WebAssembly module (WebAssembly core specification 2.0): gives every path of execution a bound that counts
 * work and not time.
 *
 * A counter, the fuel, is taken from at the start of each function, at each turn of each loop, and by the length of each
 * bulk operation on memory; the module stops with a trap (`unreachable`) when it has used it up. Between two checks there
 * is only straight-line code, so no code of the module, a loop in a built-in function included, runs longer than its fuel
 * allows, and the same input takes the same fuel on every machine.
 *
 * Calls have two bounds: the stack the module keeps in its memory, and an estimate of what the platform's own stack holds
 * for the functions that are under way. With the second, the module stops before the platform's stack ends, which would
 * be at another place on another machine. Unknown instructions are an error: what is not understood cannot be metered.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import { lebSigned, lebUnsigned, WasmReader, WasmWriter } from "./wasm-bytes.ts";

/** Names under which a metered module exports its own counters, each a mutable `i32`. */
export const METER_EXPORTS = {
  /** What is left of the fuel; below zero the module has stopped. The caller sets it before each use. */
  fuel: "fuel",
  /** The module's stack pointer. */
  stack: "stack",
  /** Estimated bytes of the platform's stack that the functions under way take; 0 before each use. */
  depth: "depth",
} as const;

/** Bounds of the calls in a metered module, in bytes. */
export interface StackBounds {
  /** Of the stack in the module's memory, below its start. */
  readonly stackBytes: number;
  /** Of the estimate for the platform's stack. */
  readonly depthBytes: number;
}

/** Fuel a metered module has when it is instantiated: its start function takes some. */
const INITIAL_FUEL = 1_000_000_000;
/** Bytes of a bulk operation that take one unit of fuel, as a power of two. */
const BULK_BYTES_SHIFT = 4;
/** Estimate of a function's frame: so much for itself, and so much for each local and each operand. */
const FRAME_BYTES = 128;
const SLOT_BYTES = 8;
/** Operands of a function at once, as far as the estimate goes. */
const OPERANDS = 24;

const SECTION = { import: 2, global: 6, export: 7, code: 10 } as const;
const OP = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  end: 0x0b,
  branch: 0x0c,
  return: 0x0f,
  localGet: 0x20,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessSigned: 0x48,
  i32LessUnsigned: 0x49,
  i32GreaterSigned: 0x4a,
  i32Add: 0x6a,
  i32Subtract: 0x6b,
  i32ShiftRightUnsigned: 0x76,
} as const;
const TYPE_I32 = 0x7f;
const NO_RESULT = 0x40;
const KIND_GLOBAL = 3;

/** Opcodes whose immediates are this many LEB128 numbers; those that are not listed have none. */
const LEB_IMMEDIATES: ReadonlyMap<number, number> = new Map([
  ...[0x02, 0x03, 0x04, 0x0c, 0x0d, 0x10, 0x3f, 0x40, 0x41, 0x42, 0xd0, 0xd2].map((opcode) => [opcode, 1] as const),
  ...[0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26].map((opcode) => [opcode, 1] as const),
  [0x11, 2],
  ...Array.from({ length: 0x3e - 0x28 + 1 }, (_, at) => [0x28 + at, 2] as const),
]);
/** Opcodes after the prefix 0xfc, with the number of their immediates. */
const PREFIXED_IMMEDIATES: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1];
const PREFIX = 0xfc;
/** memory.init, memory.copy and memory.fill: the length is on top of the stack. */
const BULK_MEMORY: readonly number[] = [8, 10, 11];

/** Numbers of the globals that checks use, and their bounds. */
interface Meters {
  readonly fuel: number;
  readonly depth: number;
  readonly stackPointer: number;
  readonly stackFloor: number;
  readonly depthBytes: number;
}

const trapIf = [OP.if, NO_RESULT, OP.unreachable, OP.end];
const constant = (value: number): number[] => [OP.i32Const, ...lebSigned(value)];
const getGlobal = (global: number): number[] => [OP.globalGet, ...lebUnsigned(global)];
const setGlobal = (global: number): number[] => [OP.globalSet, ...lebUnsigned(global)];

/** Takes the number that `amount` puts on the stack from the fuel, and traps below zero. */
function takeFuel({ fuel }: Meters, amount: readonly number[]): number[] {
  const take = [...getGlobal(fuel), ...amount, OP.i32Subtract, ...setGlobal(fuel)];
  return [...take, ...getGlobal(fuel), ...constant(0), OP.i32LessSigned, ...trapIf];
}

/** Traps unless there is room for a function's frame, and counts it. */
function enter(meters: Meters, frameBytes: number): number[] {
  const { depth, stackPointer, stackFloor, depthBytes } = meters;
  const stack = [...getGlobal(stackPointer), ...constant(stackFloor), OP.i32LessUnsigned, ...trapIf];
  const count = [...getGlobal(depth), ...constant(frameBytes), OP.i32Add, ...setGlobal(depth)];
  return [...stack, ...count, ...getGlobal(depth), ...constant(depthBytes), OP.i32GreaterSigned, ...trapIf];
}

function leave({ depth }: Meters, frameBytes: number): number[] {
  return [...getGlobal(depth), ...constant(frameBytes), OP.i32Subtract, ...setGlobal(depth)];
}

/** Skips the immediates of an instruction; for bulk operations on memory it returns the opcode after the prefix. */
function skipImmediates(code: WasmReader, opcode: number): number | undefined {
  if (opcode === PREFIX) {
    const prefixed = code.number();
    const immediates = PREFIXED_IMMEDIATES[prefixed];
    invariant(immediates !== undefined, `the script engine has an unknown instruction 0xfc ${prefixed}`);
    for (let left = immediates; left > 0; left -= 1) code.skipNumber();
    return prefixed;
  }
  if (opcode === 0x0e) for (let left = code.number() + 1; left > 0; left -= 1) code.skipNumber();
  else if (opcode === 0x43) code.skip(4);
  else if (opcode === 0x44) code.skip(8);
  else if (opcode === 0x1c) code.skip(code.number());
  else {
    invariant(isKnown(opcode), `the script engine has an unknown instruction 0x${opcode.toString(16)}`);
    for (let left = LEB_IMMEDIATES.get(opcode) ?? 0; left > 0; left -= 1) code.skipNumber();
  }
  return undefined;
}

/** Instructions of version 2 without vectors: neither tail calls nor exceptions, whose paths would need other checks. */
function isKnown(opcode: number): boolean {
  return (
    opcode <= 0x05 ||
    (opcode >= 0x0b && opcode <= 0x11) ||
    (opcode >= 0x1a && opcode <= 0x1b) ||
    (opcode >= 0x20 && opcode <= 0xc4) ||
    (opcode >= 0xd0 && opcode <= 0xd2)
  );
}

/** A function type: how many parameters, and what a block with the same results is. */
interface FunctionType {
  readonly parameters: number;
  readonly blockType: number;
}

/**
 * Rewrites the body of one function. The whole body becomes a block, so that every way out of it passes the end of that
 * block, where its frame is given back: `return` becomes a branch there, and branches out of the body lead there already.
 */
class FunctionMeter {
  readonly #body: WasmReader;
  readonly #meters: Meters;
  readonly #written = new WasmWriter();
  /** Number of a local of our own, after parameters and locals: the length of a bulk operation. */
  readonly #length: number;
  #nesting = 0;
  /** Up to where the body was taken over. */
  #copied: number;

  constructor(body: WasmReader, type: FunctionType, meters: Meters) {
    this.#body = body;
    this.#meters = meters;
    this.#length = type.parameters + this.#locals();
    this.#copied = body.at;
    const frameBytes = FRAME_BYTES + SLOT_BYTES * (this.#length + OPERANDS);
    this.#written
      .add(takeFuel(meters, constant(1)))
      .add(enter(meters, frameBytes))
      .add([OP.block, type.blockType]);
    while (body.at < body.end) this.#instruction();
    this.#take(body.at, []).add(leave(meters, frameBytes)).add([OP.end]);
  }

  get written(): WasmWriter {
    return this.#written;
  }

  /** Takes over the declarations of locals and adds one; the number of those there were. */
  #locals(): number {
    const groups = this.#body.number();
    const from = this.#body.at;
    let locals = 0;
    for (let left = groups; left > 0; left -= 1) {
      locals += this.#body.number();
      this.#body.byte();
    }
    this.#written
      .add(lebUnsigned(groups + 1))
      .add(this.#body.bytes(from))
      .add([1, TYPE_I32]);
    return locals;
  }

  /** Takes over the body up to a place, and adds instructions of our own there. */
  #take(to: number, added: readonly number[]): WasmWriter {
    this.#written.add(this.#body.range(this.#copied, to)).add(added);
    this.#copied = to;
    return this.#written;
  }

  #instruction(): void {
    const start = this.#body.at;
    const opcode = this.#body.byte();
    const prefixed = skipImmediates(this.#body, opcode);
    if (opcode === OP.block || opcode === OP.loop || opcode === OP.if) this.#nesting += 1;
    if (opcode === OP.end) this.#nesting -= 1;
    if (opcode === OP.loop) this.#take(this.#body.at, takeFuel(this.#meters, constant(1)));
    if (opcode === OP.return) {
      this.#take(start, [OP.branch, ...lebUnsigned(this.#nesting)]);
      this.#copied = this.#body.at;
    }
    if (prefixed !== undefined && BULK_MEMORY.includes(prefixed)) this.#take(start, this.#takeBulk());
  }

  /** The length is on top of the stack, and stays there for the instruction. */
  #takeBulk(): number[] {
    const length = lebUnsigned(this.#length);
    const amount = [OP.localGet, ...length, ...constant(BULK_BYTES_SHIFT), OP.i32ShiftRightUnsigned];
    return [OP.localTee, ...length, ...takeFuel(this.#meters, amount)];
  }
}

/** What of a module the checks depend on. */
interface ModuleShape {
  readonly types: FunctionType[];
  /** Number of the type of each function with a body. */
  readonly functions: number[];
  globals: number;
  /** Where the stack begins: the initial value of global 0, which is the stack pointer in what clang makes. */
  stackStart: number;
}

function readTypes(section: WasmReader, shape: ModuleShape): void {
  for (let left = section.number(); left > 0; left -= 1) {
    invariant(section.byte() === 0x60, "the script engine has an unknown kind of type");
    const parameters = section.number();
    section.skip(parameters);
    const results = section.number();
    invariant(results < 2, "the script engine has a function with several results");
    shape.types.push({ parameters, blockType: results === 1 ? section.byte() : NO_RESULT });
  }
}

/** Imported globals would shift the numbers of all others; there must be none. */
function checkImports(section: WasmReader): void {
  for (let left = section.number(); left > 0; left -= 1) {
    section.skip(section.number());
    section.skip(section.number());
    const kind = section.byte();
    invariant(kind === 0 || kind === 2, "the script engine imports something other than functions and memory");
    if (kind === 0) section.skipNumber();
    else for (let limits = (section.byte() & 1) + 1; limits > 0; limits -= 1) section.skipNumber();
  }
}

function readGlobals(section: WasmReader, shape: ModuleShape): Bytes {
  shape.globals = section.number();
  const from = section.at;
  const isPointer = section.byte() === TYPE_I32 && section.byte() === 1 && section.byte() === OP.i32Const;
  invariant(isPointer, "the script engine has no stack pointer");
  shape.stackStart = section.number();
  section.at = section.end;
  return section.bytes(from);
}

function writeGlobals(section: WasmReader, shape: ModuleShape): WasmWriter {
  const globals = readGlobals(section, shape);
  const own = [INITIAL_FUEL, 0].flatMap((initial) => [TYPE_I32, 1, ...constant(initial), OP.end]);
  return new WasmWriter()
    .add(lebUnsigned(shape.globals + 2))
    .add(globals)
    .add(own);
}

function writeExports(section: WasmReader, shape: ModuleShape): WasmWriter {
  const own = [
    [METER_EXPORTS.fuel, shape.globals],
    [METER_EXPORTS.depth, shape.globals + 1],
    [METER_EXPORTS.stack, 0],
  ] as const;
  const count = section.number();
  const written = new WasmWriter().add(lebUnsigned(count + own.length)).add(section.range(section.at, section.end));
  for (const [name, index] of own) {
    const letters = [...name].map((letter) => letter.charCodeAt(0));
    written.add([letters.length, ...letters, KIND_GLOBAL, ...lebUnsigned(index)]);
  }
  return written;
}

function writeCode(section: WasmReader, shape: ModuleShape, bounds: StackBounds): WasmWriter {
  const meters: Meters = {
    fuel: shape.globals,
    depth: shape.globals + 1,
    stackPointer: 0,
    stackFloor: shape.stackStart - bounds.stackBytes,
    depthBytes: bounds.depthBytes,
  };
  const count = section.number();
  const written = new WasmWriter().add(lebUnsigned(count));
  for (let at = 0; at < count; at += 1) {
    const type = shape.types[shape.functions[at] ?? -1];
    invariant(type !== undefined, "the script engine has a function without a type");
    written.addSized(new FunctionMeter(section.part(section.number()), type, meters).written);
  }
  return written;
}

/** The sections of a module; those that the checks change are rewritten, all others stay as they are. */
function meterSection(id: number, section: WasmReader, shape: ModuleShape, bounds: StackBounds): WasmWriter {
  const from = section.at;
  switch (id) {
    case 1:
      readTypes(section, shape);
      break;
    case SECTION.import:
      checkImports(section);
      break;
    case 3:
      for (let left = section.number(); left > 0; left -= 1) shape.functions.push(section.number());
      break;
    case SECTION.global:
      return writeGlobals(section, shape);
    case SECTION.export:
      return writeExports(section, shape);
    case SECTION.code:
      return writeCode(section, shape, bounds);
  }
  return new WasmWriter().add(section.range(from, section.end));
}

/**
 * The module with its checks, and its counters under the names of {@link METER_EXPORTS}. Throws `Internal` for a module it
 * does not understand.
 */
export function meterModule(bytes: Bytes, bounds: StackBounds): Bytes {
  const reader = new WasmReader(bytes, 0, bytes.length);
  reader.skip(8);
  const written = new WasmWriter().add(reader.bytes(0));
  const shape: ModuleShape = { types: [], functions: [], globals: 0, stackStart: 0 };
  while (reader.at < reader.end) {
    const id = reader.byte();
    const section = reader.part(reader.number());
    written.add([id]).addSized(meterSection(id, section, shape, bounds));
  }
  return written.finish();
}
