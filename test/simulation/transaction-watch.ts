/**
 * Transaction ids as nodes speak of them: Unknown, then Pending, then Committed or Invalid, which are final. No two nodes
 * ever differ in what is final, and what they say fits the committed ledger.
 *
 * A node that loses an entry again (a new leader's word, or a disk) honestly goes from Pending back to Unknown: whether the
 * entry lives on elsewhere it cannot know. In a new life a node knows its commit index only when it hears of it.
 */
import { invariant } from "../../src/errors.ts";
import type { TransactionStatus } from "../../src/core/ledger/tail.ts";
import type { LogEntry } from "../../src/core/consensus/types.ts";
import { parseBatch } from "../../src/core/ledger/batch-format.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** Most ids followed at a time. */
const FOLLOWED_MAX = 96;
/** Ids a node is asked for at a time. */
const ASKED = 6;

interface Said {
  readonly status: TransactionStatus;
  /** The node's life and how often its log had lost entries when it said so. */
  readonly boots: number;
  readonly losses: number;
}

interface Followed {
  readonly view: number;
  readonly seqno: number;
  final: TransactionStatus | undefined;
  readonly said: Map<string, Said>;
}

/** A node that can be asked. */
export interface AskedNode {
  readonly id: string;
  readonly name: string;
  readonly boots: number;
  transactionStatus(view: number, seqno: number): TransactionStatus | undefined;
}

/** What the watch compares with. */
export interface WatchParts {
  readonly random: SeededRandom;
  /** View of a committed sequence number; undefined while it is not committed. */
  readonly committedView: (seqno: number) => number | undefined;
  /** How often a node's log lost entries. */
  readonly lossesOf: (node: string) => number;
}

/** See the module's header. */
export class TransactionWatch {
  readonly #parts: WatchParts;
  readonly #followed: Followed[] = [];
  /** Answers checked so far. */
  answers = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** An entry that was in no log before: one of its transactions is followed, and at times an id that was never given. */
  entered(entry: LogEntry): void {
    const { random } = this.#parts;
    const { view, firstSeqno, count } = parseBatch(entry.data).header;
    const lie = random.chance(0.05) ? 1 : 0;
    const followed = {
      view: view + lie,
      seqno: firstSeqno + random.below(count + 1),
      final: undefined,
      said: new Map(),
    };
    if (this.#followed.length < FOLLOWED_MAX) this.#followed.push(followed);
    else this.#followed[random.below(FOLLOWED_MAX)] = followed;
  }

  /** Asks a node for a few ids. */
  ask(node: AskedNode): void {
    const { random } = this.#parts;
    for (let left = Math.min(ASKED, this.#followed.length); left > 0; left--) {
      const followed = random.pick(this.#followed);
      const status = node.transactionStatus(followed.view, followed.seqno);
      if (status !== undefined) this.#check(node, followed, status);
    }
  }

  #check(node: AskedNode, followed: Followed, status: TransactionStatus): void {
    const id = `${followed.view}.${followed.seqno}`;
    const { final, said } = followed;
    const isFinal = status === "Committed" || status === "Invalid";
    this.answers++;
    const before = said.get(node.id);
    const losses = this.#parts.lossesOf(node.id);
    if (isFinal) {
      invariant(final === undefined || final === status, `${node.name} says ${id} is ${status}, it was ${final}`);
      followed.final = status;
      const committedView = this.#parts.committedView(followed.seqno);
      const fits =
        status === "Committed"
          ? committedView === followed.view
          : committedView === undefined || committedView !== followed.view;
      invariant(fits, `${node.name} says ${id} is ${status}, which the ledger does not`);
    }
    if (before !== undefined && before.boots === node.boots) this.#checkStep(node, id, { before, status, losses });
    said.set(node.id, { status, boots: node.boots, losses });
  }

  #checkStep(
    node: AskedNode,
    id: string,
    step: { readonly before: Said; readonly status: TransactionStatus; readonly losses: number },
  ): void {
    const { before, status, losses } = step;
    if (before.status === status || before.status === "Unknown") return;
    const forward = before.status === "Pending" && status !== "Unknown";
    const taken = before.status === "Pending" && losses > before.losses;
    invariant(forward || taken, `${node.name} said ${id} is ${before.status}, and now ${status}`);
  }
}
