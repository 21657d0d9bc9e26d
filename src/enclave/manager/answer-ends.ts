/**
 * When answers of HTTP are over: sent, or their connection gone. Node itself tells this only of the answer that has the
 * connection: requests that a client sends without waiting for their answers (RFC 9112, 9.3.2) wait behind it, and of those
 * that still wait when the connection ends nobody would hear.
 */

/** Something that closes once: a connection, or an answer. */
export interface Closing {
  once(event: "close", callback: () => void): unknown;
}

/** The end of one answer. */
export class AnswerEnd {
  #waiting: (() => void)[] | undefined = [];

  /** Whether the answer is over. */
  get isOver(): boolean {
    return this.#waiting === undefined;
  }

  /** Calls back once when the answer is over; at once when it is already. */
  onOver(callback: () => void): void {
    if (this.#waiting === undefined) callback();
    else this.#waiting.push(callback);
  }

  /** The answer is over. */
  finish(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const callback of waiting) callback();
  }
}

/** The ends of all answers, by connection. */
export class AnswerEnds {
  readonly #open = new WeakMap<Closing, Set<AnswerEnd>>();

  /** Follows an answer on its connection, which is open. */
  of(connection: Closing, answer: Closing): AnswerEnd {
    const open = this.#onConnection(connection);
    const end = new AnswerEnd();
    open.add(end);
    answer.once("close", () => {
      open.delete(end);
      end.finish();
    });
    return end;
  }

  #onConnection(connection: Closing): Set<AnswerEnd> {
    const known = this.#open.get(connection);
    if (known !== undefined) return known;
    const open = new Set<AnswerEnd>();
    this.#open.set(connection, open);
    connection.once("close", () => {
      for (const end of open) end.finish();
      open.clear();
    });
    return open;
  }
}
