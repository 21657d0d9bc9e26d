/**
 * What a search among the separators of an inner node reads: numbers side by side, a few bytes for each separator, instead of
 * records. Separators are short, so the numbers most often say it all; when they do not, the records are searched.
 */
import type { Bytes } from "../codec/bytes.ts";
import type { Page } from "./page.ts";
import { wideHintOf } from "./record.ts";

/** Made of a page of separators, which must not change afterwards. */
export class SeparatorIndex {
  /** What all separators begin with. */
  readonly #prefix: Bytes;
  /** Of each separator, its four bytes behind the prefix. */
  readonly #hints: Int32Array;
  readonly #lowHint: number;
  readonly #highHint: number;

  constructor(separators: Page) {
    const { prefix, hints } = separators.wideHints();
    this.#prefix = prefix;
    this.#hints = hints;
    this.#lowHint = hints[0] ?? 0;
    this.#highHint = hints.at(-1) ?? 0;
  }

  /** About how many separators are not greater than a key: near when they are spread evenly. */
  guess(key: Bytes): number {
    const low = this.#lowHint;
    const high = this.#highHint;
    const last = this.#hints.length - 1;
    const hint = wideHintOf(key, 0, key.length, this.#prefix.length);
    if (hint <= low) return 0;
    return hint >= high ? Math.max(0, last) : Math.floor(((hint - low) * last) / (high - low));
  }

  /** How many separators are not greater than a key; -1 when only a search of the records can tell. @param guess where to begin */
  childFor(key: Bytes, guess: number): number {
    const prefix = this.#prefix;
    const hints = this.#hints;
    const { length } = hints;
    for (let at = 0; at < prefix.length; at++) {
      if (at >= key.length || (key[at] as number) < (prefix[at] as number)) return 0;
      if ((key[at] as number) > (prefix[at] as number)) return length;
    }
    const hint = wideHintOf(key, 0, key.length, prefix.length);
    let at = guess;
    while (at < length && (hints[at] as number) < hint) at++;
    while (at > 0 && (hints[at - 1] as number) >= hint) at--;
    return at < length && hints[at] === hint ? -1 : at;
  }

  /**
   * Reads what {@link childFor} will first, so that reads for many keys can wait for memory at the same time. What is returned means
   * nothing. @param guess what {@link guess} says
   */
  touchHint(guess: number): number {
    return this.#hints[guess] ?? 0;
  }
}
