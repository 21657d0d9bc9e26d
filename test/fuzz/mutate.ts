/** Changes of inputs, drawn from a seed: what decoders are given that nobody meant to write. */
import { concatBytes, type Bytes } from "../../src/core/codec/bytes.ts";
import type { SeededRandom } from "../simulation/seeded-random.ts";

/** Longest input. */
export const MAX_INPUT_BYTES = 16 * 1024;
/** Most changes of one input. */
const MAX_CHANGES = 6;

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0x81, 0x82, 0xff, 0x20, 0x30];
const WORDS = [0, 1, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

type Change = (input: Bytes, draw: Draw) => Bytes;

/** What changes draw from. */
export interface Draw {
  /** A whole number from 0 to below `limit`. */
  readonly below: (limit: number) => number;
  /** Inputs to take parts of. */
  readonly corpus: readonly Bytes[];
  /** Byte strings that mean something to the decoder. */
  readonly tokens: readonly Bytes[];
}

function replaced(input: Bytes, at: number, length: number, ...parts: readonly Bytes[]): Bytes {
  return concatBytes(input.subarray(0, at), ...parts, input.subarray(at + length));
}

function withByte(input: Bytes, at: number, value: number): Bytes {
  const changed = Uint8Array.from(input);
  if (at < changed.length) changed[at] = value;
  return changed;
}

/** A place and a length of a part; the part may be empty. */
function part(input: Bytes, { below }: Draw, max = 64): readonly [number, number] {
  const at = below(input.length + 1);
  return [at, below(Math.min(max, input.length - at) + 1)];
}

const CHANGES: readonly Change[] = [
  (input, { below }) => {
    const at = below(input.length + 1);
    return withByte(input, at, (input[at] ?? 0) ^ (1 << below(8)));
  },
  (input, { below }) => withByte(input, below(input.length + 1), below(256)),
  (input, { below }) => withByte(input, below(input.length + 1), INTERESTING[below(INTERESTING.length)] ?? 0),
  (input, { below }) => {
    const at = below(input.length + 1);
    return withByte(input, at, ((input[at] ?? 0) + below(33) - 16) & 0xff);
  },
  (input, draw) => {
    const width = [2, 4][draw.below(2)] ?? 2;
    const word = new Uint8Array(4);
    const isLittle = draw.below(2) === 0;
    new DataView(word.buffer).setUint32(0, WORDS[draw.below(WORDS.length)] ?? 0, isLittle);
    const bytes = isLittle ? word.subarray(0, width) : word.subarray(4 - width);
    return replaced(input, draw.below(input.length + 1), width, bytes);
  },
  (input, draw) => replaced(input, ...part(input, draw)),
  (input, draw) => input.subarray(0, draw.below(input.length + 1)),
  (input, draw) => {
    const [at, length] = part(input, draw);
    return replaced(input, draw.below(input.length + 1), 0, input.subarray(at, at + length));
  },
  (input, draw) => {
    const [at, length] = part(input, draw);
    const repeated = Array.from({ length: 1 + draw.below(32) }, () => input.subarray(at, at + length));
    return replaced(input, at, 0, ...repeated);
  },
  (input, draw) => {
    const other = draw.corpus[draw.below(draw.corpus.length)] ?? input;
    const [at, length] = part(other, draw, other.length);
    const [to, dropped] = part(input, draw);
    return replaced(input, to, dropped, other.subarray(at, at + length));
  },
  (input, draw) => {
    const token = draw.tokens[draw.below(draw.tokens.length)] ?? Uint8Array.of(draw.below(256));
    const [at, length] = part(input, draw, token.length);
    return replaced(input, at, draw.below(2) * length, token);
  },
];

/** A changed input. */
export function mutate(input: Bytes, draw: Draw): Bytes {
  let changed = input;
  for (let left = 1 + draw.below(MAX_CHANGES); left > 0; left--)
    changed = (CHANGES[draw.below(CHANGES.length)] as Change)(changed, draw).subarray(0, MAX_INPUT_BYTES);
  return changed;
}

/** A {@link Draw} from a seeded generator. */
export function drawFrom(random: SeededRandom, corpus: readonly Bytes[], tokens: readonly Bytes[]): Draw {
  return { below: (limit) => random.below(limit), corpus, tokens };
}
