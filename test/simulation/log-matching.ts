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
  previousTerm: number | undefined;
}

/** See the module's header. */
export class LogMatching {
  /** Every entry that was in any log, by index and term. */
  readonly #known = new Map<number, Known[]>();
  /** Terms of each node's log, the one of index i at i. */
  readonly #terms = new Map<NodeId, (number | undefined)[]>();
  /** How often a node's log lost entries: by a new leader's word, or by a start on less. */
  readonly #losses = new Map<NodeId, number>();
  /** Called with every entry that was not in any log before. */
  onNew: (entry: LogEntry) => void = () => {};

  /** How often the log of a node lost entries so far. */
  lossesOf(node: NodeId): number {
    return this.#losses.get(node) ?? 0;
  }

  /** A node starts with these entries; the log begins with `firstIndex`, after the state of a snapshot when that is not 1. */
  starts(node: NodeId, firstIndex: number, entries: Iterable<LogEntry>): void {
    const before = this.#terms.get(node)?.length ?? 1;
    this.#terms.set(node, firstIndex === 1 ? [0] : new Array(firstIndex));
    for (const entry of entries) this.appended(node, entry);
    if (this.#termsOf(node).length < before) this.#losses.set(node, this.lossesOf(node) + 1);
  }

  /** A snapshot takes the place of a node's whole log. */
  installed(node: NodeId, mark: { readonly index: number; readonly term: number }): void {
    const terms = new Array<number | undefined>(mark.index + 1);
    terms[mark.index] = mark.term;
    this.#terms.set(node, terms);
    this.#losses.set(node, this.lossesOf(node) + 1);
  }

  #termsOf(node: NodeId): (number | undefined)[] {
    const terms = this.#terms.get(node);
    invariant(terms, `the log of ${node} is known`);
    return terms;
  }

  /** An entry enters a node's log. */
  appended(node: NodeId, entry: LogEntry): void {
    const terms = this.#termsOf(node);
    const { index, term } = entry;
    invariant(index === terms.length, `${node} appends entry ${index} to a log of ${terms.length - 1}`);
    // Unknown where the log begins after a snapshot.
    const previousTerm = terms[index - 1];
    invariant(
      term >= (previousTerm ?? 0),
      `${node} appends entry ${index} of term ${term} after one of term ${previousTerm}`,
    );
    terms.push(term);
    const others = this.#known.get(index);
    const known = others?.find((other) => other.entry.term === term);
    if (known !== undefined) {
      const { data } = known.entry;
      const same = previousTerm === undefined || (known.previousTerm ?? previousTerm) === previousTerm;
      known.previousTerm ??= previousTerm;
      const equal = same && (data === entry.data || bytesEqual(data, entry.data));
      invariant(equal, `${node} has another entry ${index} of term ${term} than a node before it`);
      return;
    }
    if (others === undefined) this.#known.set(index, [{ entry, previousTerm }]);
    else others.push({ entry, previousTerm });
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
    const terms = this.#termsOf(node);
    const term = terms[committedIndex];
    // A log that begins after a snapshot of later entries has them all.
    if (committedIndex === 0 || (term === undefined && committedIndex < terms.length)) return;
    invariant(term === committedTerm, `${node} leads without the committed entry ${committedIndex}`);
  }
}
