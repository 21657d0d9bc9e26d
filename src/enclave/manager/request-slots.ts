/** Bounds how many requests are under way at once, in all and by whom: a slot is free again when its answer is over. */
import type { AnswerEnd } from "./answer-ends.ts";

/** See the module's header. */
export class RequestSlots<Holder> {
  readonly #all: number;
  readonly #each: number;
  readonly #held = new Map<Holder, number>();
  #taken = 0;

  /** @param each most slots of one holder */
  constructor(all: number, each: number) {
    this.#all = all;
    this.#each = each;
  }

  /** Takes a slot until the answer is over; false when there is none. */
  take(holder: Holder, end: AnswerEnd): boolean {
    const held = this.#held.get(holder) ?? 0;
    if (this.#taken >= this.#all || held >= this.#each) return false;
    this.#taken++;
    this.#held.set(holder, held + 1);
    end.onOver(() => this.#release(holder));
    return true;
  }

  #release(holder: Holder): void {
    this.#taken--;
    const left = (this.#held.get(holder) ?? 0) - 1;
    if (left > 0) this.#held.set(holder, left);
    else this.#held.delete(holder);
  }
}
