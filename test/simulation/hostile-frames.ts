/**
 * A compromised node's or link's frames between those of an honest one: malformed, oversized, tampered with, repeated and
 * out of order. None may change anything; what is not well formed ends its channel.
 *
 * Well-formed lies of a listed node (a false acknowledgement, say) are not among them: consensus bears crashes, not treason.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { ByteWriter, concatBytes } from "../../src/core/codec/bytes.ts";
import { MAX_NUMBER } from "../../src/core/consensus/messages.ts";
import { decodeFrame, encodeFrame, type Frame } from "../../src/enclave/manager/frames.ts";
import { CocoError } from "../../src/errors.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { HostileFrame, PassingFrame } from "./simulated-network.ts";

/** Frames of a channel that are kept to be repeated. */
const KEPT = 24;
const FORWARD_KIND = 2;

type Maker = (passing: PassingFrame, random: SeededRandom) => Bytes | undefined;

function decoded(frame: Bytes): Frame | undefined {
  try {
    return decodeFrame(frame);
  } catch (error) {
    if (error instanceof CocoError) return undefined;
    throw error;
  }
}

function unlessWellFormed(frame: Bytes): Bytes | undefined {
  return decoded(frame) === undefined ? frame : undefined;
}

function flipped(bytes: Bytes, random: SeededRandom): Bytes {
  const copy = new Uint8Array(bytes);
  const at = random.below(copy.length);
  copy[at] = (copy[at] as number) ^ (1 << random.below(8));
  return copy;
}

/** An append whose last batch had a bit flipped on the way: form and place are right, the signature is not. */
function tampered(frame: Bytes, random: SeededRandom): Bytes | undefined {
  const whole = decoded(frame);
  if (whole?.type !== "consensus" || whole.message.type !== "append") return undefined;
  const { message } = whole;
  const last = message.entries.at(-1);
  if (last === undefined) return undefined;
  const entries = [...message.entries.slice(0, -1), { ...last, data: flipped(last.data, random) }];
  return encodeFrame({ type: "consensus", message: { ...message, entries } });
}

/** Bytes of the term in a frame of consensus: after the kinds of frame and message. */
const TERM_AT = 2;

/** 2^64 - 1 in the place of the term. */
function outOfRange(frame: Bytes): Bytes | undefined {
  const copy = new Uint8Array(frame);
  copy.fill(0xff, TERM_AT, TERM_AT + 8);
  return unlessWellFormed(copy);
}

function numberBomb(frame: Bytes): Bytes | undefined {
  const whole = decoded(frame);
  if (whole?.type !== "consensus") return undefined;
  return encodeFrame({ type: "consensus", message: { ...whole.message, term: MAX_NUMBER } });
}

const MAKERS: readonly (readonly [kind: string, make: Maker])[] = [
  ["truncated", ({ frame }, random) => unlessWellFormed(frame.subarray(0, random.below(frame.length)))],
  ["extended", ({ frame }, random) => unlessWellFormed(concatBytes(frame, random.bytes(1 + random.below(8))))],
  ["flipped", ({ frame }, random) => unlessWellFormed(flipped(frame, random))],
  ["noise", (_passing, random) => unlessWellFormed(random.bytes(random.below(200)))],
  ["oversized", () => new ByteWriter(16).u8(FORWARD_KIND).u16(1).u32(0xffffffff).finish()],
  ["outOfRange", ({ frame }) => outOfRange(frame)],
  ["numberBomb", ({ frame }) => numberBomb(frame)],
  ["tamperedBatch", ({ frame }, random) => tampered(frame, random)],
];

/** See the module's header. */
export class HostileFrames {
  readonly #random: SeededRandom;
  readonly #rate: number;
  readonly #seen = new WeakMap<object, Bytes[]>();

  /** @param rate probability that a frame is joined by a hostile one */
  constructor(random: SeededRandom, rate: number) {
    this.#random = random;
    this.#rate = rate;
  }

  /** The frames put before one that passes. */
  intrude(passing: PassingFrame): readonly HostileFrame[] {
    const kept = this.#seen.get(passing.session) ?? [];
    if (kept.length === 0) this.#seen.set(passing.session, kept);
    const random = this.#random;
    const made: HostileFrame[] = [];
    if (random.chance(this.#rate)) {
      const repeated = kept[random.below(kept.length)];
      if (repeated !== undefined) made.push({ kind: "replayed", frame: repeated });
    }
    const previous = kept.at(-1);
    if (previous !== undefined && random.chance(this.#rate)) made.push({ kind: "misordered", frame: previous });
    // Far rarer than repetitions, because each costs the channel.
    if (random.chance(this.#rate / 20)) {
      const [kind, make] = random.pick(MAKERS);
      const frame = make(passing, random);
      if (frame !== undefined) made.push({ kind, frame });
    }
    if (kept.push(passing.frame) > KEPT) kept.shift();
    return made;
  }
}
