/**
 * Log matching between all pairs of logs (Raft paper, figure 3): two logs with an entry of the same index and term are the
 * same up to it. It holds for all pairs at every step when, for each (index, term) anybody ever appended, the entry is one
 * and the same and so is the term of the entry before it; that is checked as each entry enters a log, in constant time.
 *
 * Leader completeness with it: who begins to lead has every committed entry.
 */
import { bytesEqual } from "../../src/core/codec/bytes.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";

interface Known {
  readonly entry: LogEntry;
  readonly previousTerm: number;
}

/** See the module's header. */
export class LogMatching {
  /** Every entry that was in any log, by index and term. */
  readonly #known = new Map<number, Known[]>();
  /** Terms of each node's log, the one of index i at i. */
  readonly #terms = new Map<NodeId, number[]>();
  /** How often a node's log lost entries: by a new leader's word, or by a start on less. */
  readonly #losses = new Map<NodeId, number>();
  /** Called with every entry that was not in any log before. */
  onNew: (entry: LogEntry) => void = () => {};

  /** How often the log of a node lost entries so far. */
  lossesOf(node: NodeId): number {
    return this.#losses.get(node) ?? 0;
  }

  /** A node starts with these entries. */
  starts(node: NodeId, entries: Iterable<LogEntry>): void {
    const before = this.#terms.get(node)?.length ?? 1;
    this.#terms.set(node, [0]);
    for (const entry of entries) this.appended(node, entry);
    if (this.#termsOf(node).length < before) this.#losses.set(node, this.lossesOf(node) + 1);
  }

  #termsOf(node: NodeId): number[] {
    const terms = this.#terms.get(node);
    invariant(terms, `the log of ${node} is known`);
    return terms;
  }

  /** An entry enters a node's log. */
  appended(node: NodeId, entry: LogEntry): void {
    const terms = this.#termsOf(node);
    const { index, term } = entry;
    invariant(index === terms.length, `${node} appends entry ${index} to a log of ${terms.length - 1}`);
    const previousTerm = terms[index - 1] as number;
    invariant(term >= previousTerm, `${node} appends entry ${index} of term ${term} after one of term ${previousTerm}`);
    terms.push(term);
    const same = this.#known.get(index);
    const known = same?.find((other) => other.entry.term === term);
    if (known !== undefined) {
      const { data } = known.entry;
      const equal = known.previousTerm === previousTerm && (data === entry.data || bytesEqual(data, entry.data));
      invariant(equal, `${node} has another entry ${index} of term ${term} than a node before it`);
      return;
    }
    if (same === undefined) this.#known.set(index, [{ entry, previousTerm }]);
    else same.push({ entry, previousTerm });
    this.onNew(entry);
  }

  /** A node's log loses its entries from an index on. */
  truncated(node: NodeId, fromIndex: number): void {
    const terms = this.#termsOf(node);
    if (fromIndex >= terms.length) return;
    terms.length = fromIndex;
    this.#losses.set(node, this.lossesOf(node) + 1);
  }

  /** A node begins to lead. */
  leads(node: NodeId, committedIndex: number, committedTerm: number): void {
    if (committedIndex === 0) return;
    const term = this.#termsOf(node)[committedIndex];
    invariant(term === committedTerm, `${node} leads without the committed entry ${committedIndex}`);
  }
}
