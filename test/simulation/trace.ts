/**
 * What a run did, as a hash: two runs with the same hash did the same. Every event gives its kind and a few numbers; the
 * text of an event is only made when somebody listens, because making it would cost more than the event.
 */

/** Hashes of event kinds, kept because there are few kinds and many events. */
const KINDS = new Map<string, number>();

function kindHash(kind: string): number {
  const known = KINDS.get(kind);
  if (known !== undefined) return known;
  let hash = 0x811c9dc5;
  for (let at = 0; at < kind.length; at++) hash = Math.imul(hash ^ kind.charCodeAt(at), 0x01000193);
  KINDS.set(kind, hash);
  return hash;
}

/** See the module's header. */
export class Trace {
  readonly #now: () => number;
  readonly #listener: ((line: string) => void) | undefined;
  #low = 0x243f6a88;
  #high = 0x85a308d3;

  /** @param listener gets every line, with its end */
  constructor(now: () => number, listener: ((line: string) => void) | undefined) {
    this.#now = now;
    this.#listener = listener;
  }

  /** Whether somebody reads the lines. */
  get isRead(): boolean {
    return this.#listener !== undefined;
  }

  /** Notes an event of a kind, at a place (a node's name, a link), with numbers that tell it from others of its kind. */
  event(kind: string, place: string, ...numbers: readonly number[]): void {
    const now = this.#now();
    this.#mix(kindHash(kind) ^ kindHash(place));
    this.#mix((now * 1000) | 0);
    for (const number of numbers) this.#mix(number | 0);
    this.#listener?.(`${now.toFixed(3)} ${place} ${kind}${numbers.length > 0 ? ` ${numbers.join(" ")}` : ""}\n`);
  }

  /** A line for a reader alone; not part of the hash. */
  say(text: () => string): void {
    this.#listener?.(`${this.#now().toFixed(3)} ${text()}\n`);
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x85ebca6b);
    this.#low ^= this.#low >>> 13;
    this.#high = Math.imul((this.#high + this.#low) | 0, 0xc2b2ae35);
    this.#high ^= this.#high >>> 16;
  }

  /** The hash over everything so far, hex. */
  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}
