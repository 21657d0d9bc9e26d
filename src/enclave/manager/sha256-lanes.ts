/**
 * SHA-256 (FIPS 180-4) of four messages of equal length at once, in the four lanes of a vector: for the many short messages
 * of a ledger, where a call into the runtime's cryptography costs several times what the hashing does. The code is
 * WebAssembly, made here instruction by instruction, because JavaScript has no vectors. Nothing hashed here is secret from
 * this process; no secret decides about a branch or an address.
 */
import type { Bytes } from "../../core/codec/bytes.ts";

const DIGEST_BYTES = 32;
const BLOCK_BYTES = 64;
/** Messages hashed at once. */
export const LANES = 4;
const PAGE_BYTES = 65_536;
/** Layout of the memory: round constants, the words of a block, digests, messages. */
const CONSTANTS_AT = 0;
const WORDS_AT = 256;
const DIGESTS_AT = 512;
const MESSAGES_AT = 1024;
/** Longest message: from here on the runtime's own code for one message is faster. */
export const LANE_MESSAGE_BYTES = 256;

/** The first primes. */
function primes(count: number): readonly number[] {
  const found: number[] = [];
  for (let candidate = 2; found.length < count; candidate++)
    if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  return found;
}

/** The first 32 bits of the fraction of a number, as all constants of SHA-256 are made: a double has enough of them. */
function fractionBits(value: number): number {
  return Math.floor((value % 1) * 2 ** 32);
}

const ROUND_CONSTANTS = primes(64).map((prime) => fractionBits(Math.cbrt(prime)));
const INITIAL_STATE = primes(8).map((prime) => fractionBits(Math.sqrt(prime)));

type Code = readonly number[];

function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): Code {
  const rest = value >> 7;
  const done = (rest === 0 && (value & 0x40) === 0) || (rest === -1 && (value & 0x40) !== 0);
  return done ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)];
}

const get = (local: number): Code => [0x20, ...unsigned(local)];
const set = (local: number): Code => [0x21, ...unsigned(local)];
const constant = (value: number): Code => [0x41, ...signed(value | 0)];
const vector = (operation: number, ...rest: number[]): Code => [0xfd, ...unsigned(operation), ...rest];
const at = (offset: number, alignment: number): Code => [alignment, ...unsigned(offset)];

const [I32_LT_S, I32_EQ, I32_GE_S] = [0x48, 0x46, 0x4e];
const [I32_ADD, I32_SUB, I32_MUL, I32_XOR, I32_SHL, I32_SHR_U, I32_AND] = [0x6a, 0x6b, 0x6c, 0x73, 0x74, 0x76, 0x71];
const [IF, ELSE, LOOP, END, BRANCH_IF, NO_RESULT] = [0x04, 0x05, 0x03, 0x0b, 0x0d, 0x40];
const [SPLAT, AND, OR, XOR, SHIFT_LEFT, SHIFT_RIGHT, ADD] = [17, 78, 80, 81, 171, 173, 174];

/** Locals of the function: parameters, then numbers, then vectors. */
const [SOURCE, LENGTH, TARGET, POSITION, LEFT, WORD, ADDRESS] = [0, 1, 2, 3, 4, 5, 6];
const NUMBERS = 4;
const VALUE = 7;
const STATE = 8;
const WORKING = 16;
const WORDS = 24;
const VECTORS = 1 + 8 + 8 + 16;

const load = (address: Code, offset: number): Code => [...address, ...vector(0, ...at(offset, 4))];
const store = (address: Code, value: Code, offset: number): Code => [
  ...address,
  ...value,
  ...vector(11, ...at(offset, 4)),
];
const both = (operation: number, left: Code, right: Code): Code => [...left, ...right, ...vector(operation)];
const sum = (first: Code, ...others: readonly Code[]): Code =>
  others.reduce((left, right) => both(ADD, left, right), first);

function rotated(local: number, bits: number): Code {
  const right = [...get(local), ...constant(bits), ...vector(SHIFT_RIGHT)];
  return both(OR, right, [...get(local), ...constant(32 - bits), ...vector(SHIFT_LEFT)]);
}

const bigSigma = (local: number, [a, b, c]: readonly [number, number, number]): Code =>
  both(XOR, both(XOR, rotated(local, a), rotated(local, b)), rotated(local, c));

const smallSigma = (local: number, [a, b, shift]: readonly [number, number, number]): Code =>
  both(XOR, both(XOR, rotated(local, a), rotated(local, b)), [
    ...get(local),
    ...constant(shift),
    ...vector(SHIFT_RIGHT),
  ]);

/** A vector with the bytes of each of its 32-bit lanes turned around. */
function swapped(local: number): Code {
  return [...get(local), ...get(local), ...vector(13, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)];
}

/** One round, with the roles of the eight working variables turned by `step`, and the constant at `address` + offset. */
function round(step: number, address: Code): Code {
  const role = (which: number): number => WORKING + ((which - step) & 7);
  const [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(role) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const choice = both(XOR, get(g), both(AND, get(e), both(XOR, get(f), get(g))));
  const majority = both(XOR, both(AND, get(a), both(XOR, get(b), get(c))), both(AND, get(b), get(c)));
  const roundConstant = [...address, ...vector(9, ...at(CONSTANTS_AT + 4 * step, 2))];
  const first = sum(get(h), get(WORDS + step), roundConstant, choice, bigSigma(e, [6, 11, 25]));
  return [
    ...first,
    ...set(VALUE),
    ...sum(get(d), get(VALUE)),
    ...set(d),
    ...sum(get(VALUE), bigSigma(a, [2, 13, 22]), majority),
    ...set(h),
  ];
}

/** The word of the schedule that takes the place of the one 16 before it. */
function nextWord(step: number): Code {
  const word = (offset: number): number => WORDS + ((step + offset) & 15);
  const value = sum(get(word(0)), get(word(9)), smallSigma(word(1), [7, 18, 3]), smallSigma(word(14), [17, 19, 10]));
  return [...value, ...set(word(0))];
}

const steps = (count: number, code: (step: number) => Code): Code =>
  Array.from({ length: count }, (_, step) => code(step)).flat();

/** Word `WORD` of a block out of all messages, with the padding behind their end. */
function gatherWord(): Code {
  const lane = (which: number): Code => [
    ...get(ADDRESS),
    ...get(LENGTH),
    ...constant(which),
    I32_MUL,
    I32_ADD,
    ...get(VALUE),
    ...vector(86, ...at(0, 0), which),
    ...set(VALUE),
  ];
  const bitsLeft = [...get(LEFT), ...constant(8), I32_MUL];
  const kept = [...constant(-1), ...bitsLeft, I32_SHR_U, ...constant(-1), I32_XOR, ...vector(SPLAT)];
  const mark = [...constant(0x80000000), ...bitsLeft, I32_SHR_U, ...vector(SPLAT)];
  const zero = [...constant(0), ...vector(SPLAT), ...set(VALUE)];
  return [
    ...[...get(LENGTH), ...get(POSITION), I32_SUB, ...get(WORD), I32_SUB, ...set(LEFT)],
    ...zero,
    ...[...get(LEFT), ...constant(0), I32_GE_S, IF, NO_RESULT],
    ...[...get(SOURCE), ...get(POSITION), I32_ADD, ...get(WORD), I32_ADD, ...set(ADDRESS)],
    ...steps(LANES, lane),
    ...[...swapped(VALUE), ...set(VALUE)],
    ...[...get(LEFT), ...constant(4), I32_LT_S, IF, NO_RESULT],
    ...[...both(OR, both(AND, get(VALUE), kept), mark), ...set(VALUE), END],
    ELSE,
    // The last word of the last block is the length in bits.
    ...[...get(WORD), ...constant(60), I32_EQ, ...get(LEFT), ...constant(-4), I32_LT_S, I32_AND, IF, NO_RESULT],
    ...[...get(LENGTH), ...constant(8), I32_MUL, ...vector(SPLAT), ...set(VALUE), END],
    END,
    // Words stand in rows of 16 bytes.
    ...store([...get(WORD), ...constant(2), I32_SHL], get(VALUE), WORDS_AT),
  ];
}

/** The whole function: four messages of `LENGTH` bytes side by side at `SOURCE`, their digests to `TARGET`. */
function body(): Code {
  const initial = steps(8, (which) => [
    ...constant(INITIAL_STATE[which] ?? 0),
    ...vector(SPLAT),
    ...set(STATE + which),
  ]);
  const gather = [
    ...[...constant(0), ...set(WORD), LOOP, NO_RESULT],
    ...gatherWord(),
    ...[...get(WORD), ...constant(4), I32_ADD, ...set(WORD)],
    ...[...get(WORD), ...constant(BLOCK_BYTES), I32_LT_S, BRANCH_IF, 0, END],
  ];
  const begin = [
    ...steps(16, (which) => [...load(constant(0), WORDS_AT + 16 * which), ...set(WORDS + which)]),
    ...steps(8, (which) => [...get(STATE + which), ...set(WORKING + which)]),
  ];
  const later = [
    ...[...constant(BLOCK_BYTES), ...set(ADDRESS), LOOP, NO_RESULT],
    ...steps(16, (step) => [...nextWord(step), ...round(step, get(ADDRESS))]),
    ...[...get(ADDRESS), ...constant(BLOCK_BYTES), I32_ADD, ...set(ADDRESS)],
    ...[...get(ADDRESS), ...constant(4 * BLOCK_BYTES), I32_LT_S, BRANCH_IF, 0, END],
  ];
  const finish = steps(8, (which) => [...sum(get(STATE + which), get(WORKING + which)), ...set(STATE + which)]);
  const blocks = [
    ...[...constant(0), ...set(POSITION), LOOP, NO_RESULT],
    ...[...gather, ...begin, ...steps(16, (step) => round(step, constant(0))), ...later, ...finish],
    ...[...get(POSITION), ...constant(BLOCK_BYTES), I32_ADD, ...set(POSITION)],
    // Behind the message come a mark of one byte and a length of eight.
    ...[...get(POSITION), ...get(LENGTH), ...constant(9), I32_ADD, I32_LT_S, BRANCH_IF, 0, END],
  ];
  const lane = (which: number, word: number): Code => [
    ...get(TARGET),
    ...swapped(STATE + word),
    ...vector(90, ...at(DIGEST_BYTES * which + 4 * word, 0), which),
  ];
  const digests = steps(8, (word) => steps(LANES, (which) => lane(which, word)));
  const locals = [2, ...unsigned(NUMBERS), 0x7f, ...unsigned(VECTORS), 0x7b];
  return [...locals, ...initial, ...blocks, ...digests, END];
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function named(text: string): Code {
  return [text.length, ...Array.from(text, (letter) => letter.charCodeAt(0))];
}

/** The module: one function of three numbers, one memory; both exported. */
function moduleBytes(): Uint8Array {
  const code = body();
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 3, 0x7f, 0x7f, 0x7f, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, ...named("hash"), 0, 0, ...named("memory"), 2, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}

/** Hashes messages of `length` bytes that stand side by side; their digests stand side by side in `target`. */
export type LaneHash = (messages: Bytes, length: number, target: Uint8Array) => void;

/** The parts of the runtime's WebAssembly that are used; its own types come only with those of a browser. */
interface LaneRuntime {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
  ) => {
    readonly exports: {
      hash(source: number, length: number, target: number): void;
      readonly memory: { readonly buffer: ArrayBuffer };
    };
  };
}

/** Makes the function for multiples of four messages; undefined where the processor or the runtime has no vectors. */
export function createLaneHash(): LaneHash | undefined {
  const bytes = moduleBytes();
  const { WebAssembly: runtime } = globalThis as typeof globalThis & { readonly WebAssembly?: LaneRuntime };
  if (runtime?.validate(bytes) !== true) return undefined;
  const { hash, memory } = new runtime.Instance(new runtime.Module(bytes)).exports;
  const room = new Uint8Array(memory.buffer);
  new Uint32Array(memory.buffer, CONSTANTS_AT, ROUND_CONSTANTS.length).set(ROUND_CONSTANTS);
  const digests = room.subarray(DIGESTS_AT, DIGESTS_AT + LANES * DIGEST_BYTES);
  return (messages, length, target) => {
    const group = LANES * length;
    let place = 0;
    // A piece of whole groups at a time goes through the memory.
    const piece = Math.floor((PAGE_BYTES - MESSAGES_AT - BLOCK_BYTES) / group) * group;
    for (let from = 0; from < messages.length; from += piece) {
      const end = Math.min(messages.length, from + piece);
      room.set(messages.subarray(from, end), MESSAGES_AT);
      for (let source = MESSAGES_AT; source < MESSAGES_AT + end - from; source += group) {
        hash(source, length, DIGESTS_AT);
        target.set(digests, place);
        place += digests.length;
      }
    }
  };
}
