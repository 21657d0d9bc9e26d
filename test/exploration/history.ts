/**
 * What a run has promised so far, and the properties of Raft (paper, figure 3) that a next step must keep.
 *
 * Election safety: one leader per term. Leader completeness: a leader has every entry committed in earlier terms. State
 * machine safety: all machines commit one sequence. Durability: the first to commit an entry has it, durable, on a replication
 * quorum of every set of voters that its log makes active. Log matching: one index and term, one entry and one past.
 */
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import { Quorum } from "../../src/core/consensus/quorum.ts";
import type { Configuration, LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { showEntry } from "./core-options.ts";

/** An entry that was committed. */
interface Committed {
  readonly entry: LogEntry;
  /** Term of the machine that committed it first. */
  readonly term: number;
}

/** Leaders by term, and all that was committed. */
export interface History {
  readonly leaders: readonly (readonly [term: number, leader: NodeId])[];
  readonly committed: readonly Committed[];
}

/** Nothing has happened. */
export const NO_HISTORY: History = { leaders: [], committed: [] };

/** A log, asked by index; an index that a snapshot stands for has no entry there. */
export interface LogView {
  entryAt(index: number): LogEntry | undefined;
  /** Last index that a snapshot stands for; 0 without one. */
  readonly base: number;
}

/** Whether a replication quorum of every active set of voters satisfies `holds`. */
export function quorumHolds({ current, previous }: Configuration, holds: (id: NodeId) => boolean): boolean {
  return [current, previous].every((set) => {
    if (set === undefined) return true;
    return new Quorum(set.voters, set.quorum).replicatedIndex((voter) => (holds(voter) ? 1 : 0)) === 1;
  });
}

/** A machine becomes leader of a term with this log. */
export function leads(history: History, id: NodeId, term: number, log: LogView): History {
  const other = history.leaders.find(([led]) => led === term)?.[1];
  invariant(other === undefined, `term ${term} has the leaders ${other} and ${id}`);
  for (const [at, committed] of history.committed.entries()) {
    const complete = committed.term >= term || at < log.base || sameEntry(log.entryAt(at + 1), committed.entry);
    invariant(complete, `${id} leads term ${term} without the committed entry ${at + 1}`);
  }
  return { ...history, leaders: [...history.leaders, [term, id]] };
}

/** A machine hands out committed entries; `isDurable` says whether the active quorums hold an entry. */
export function commits(
  history: History,
  entries: readonly LogEntry[],
  term: number,
  isDurable: (entry: LogEntry) => boolean,
): History {
  const committed = [...history.committed];
  for (const entry of entries) {
    const known = committed[entry.index - 1];
    if (known !== undefined) {
      const same = sameEntry(known.entry, entry);
      invariant(same, `committed entry ${entry.index} was ${showEntry(known.entry)} and is ${showEntry(entry)}`);
      continue;
    }
    invariant(entry.index === committed.length + 1, `entry ${entry.index} is committed before the one before it`);
    invariant(isDurable(entry), `entry ${entry.index} is committed without a durable quorum`);
    committed.push({ entry, term });
  }
  return committed.length === history.committed.length ? history : { ...history, committed };
}

/** A history as text. */
export function historyText(history: History): string {
  const leaders = history.leaders.map(([term, id]) => `${term}${id}`).sort();
  return `${leaders.join()}|${history.committed.map(({ entry, term }) => `${term}<${showEntry(entry)}`).join()}`;
}

/** Whether two logs keep the log matching property. */
export function logsMatch(left: readonly LogEntry[], right: readonly LogEntry[]): boolean {
  let index = Math.min(left.length, right.length) - 1;
  while (index >= 0 && left[index]?.term !== right[index]?.term) index--;
  for (; index >= 0; index--) if (!sameEntry(left[index], right[index])) return false;
  return true;
}
