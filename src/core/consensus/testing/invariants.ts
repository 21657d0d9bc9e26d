/**
 * The safety properties of Raft (paper, figure 3), checked over everything a simulated network does.
 *
 * Election safety: one leader per term. Log matching: an index and a term name one entry with one predecessor. Leader
 * completeness: a leader has every entry committed in earlier terms. State machine safety: all nodes commit one sequence.
 * Durability: what is committed lies on the disks of a replication quorum, what is acknowledged on the disk of its sender.
 */
import { invariant } from "../../../errors.ts";
import { bytesEqual } from "../../codec/bytes.ts";
import type { ConsensusMessage, LogEntry, NodeId } from "../types.ts";
import { hashEntry, type SimulatedLog, type SimulatedNode } from "./simulatedNode.ts";

interface CommittedEntry {
  readonly entry: LogEntry;
  /** Term of the node that committed it first. */
  readonly term: number;
  /** Hash of the state after it. */
  readonly stateHash: number;
}

interface KnownEntry {
  readonly entry: LogEntry;
  readonly previousTerm: number;
}

/** Whether two entries are the same. */
export function sameEntry(left: LogEntry | undefined, right: LogEntry | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.index === right.index && left.term === right.term && bytesEqual(left.data, right.data);
}

/** Watches a simulated network; each method throws when its property is broken. */
export class SafetyObserver {
  readonly #leaders = new Map<number, NodeId>();
  readonly #known = new Map<string, KnownEntry>();
  readonly #committed: CommittedEntry[] = [];

  /** Entries committed anywhere so far. */
  get committedCount(): number {
    return this.#committed.length;
  }

  /** Terms that had a leader. */
  get termCount(): number {
    return this.#leaders.size;
  }

  /** A node leads: nobody else does in its term, and it has all that was committed before. */
  leads(id: NodeId, term: number, log: SimulatedLog): void {
    const other = this.#leaders.get(term);
    invariant(other === undefined || other === id, `term ${term} has the leaders ${other} and ${id}`);
    this.#leaders.set(term, id);
    for (const [at, committed] of this.#committed.entries()) {
      const { index } = committed.entry;
      const complete = committed.term >= term || index <= log.startIndex || sameEntry(log.at(index), committed.entry);
      invariant(complete, `leader ${id} of term ${term} lacks committed entry ${at + 1}`);
    }
  }

  /** A node appended an entry after one of `previousTerm`. */
  appends(entry: LogEntry, previousTerm: number): void {
    const key = `${entry.index}.${entry.term}`;
    const known = this.#known.get(key);
    if (known === undefined) this.#known.set(key, { entry, previousTerm });
    else invariant(sameEntry(known.entry, entry) && known.previousTerm === previousTerm, `two entries ${key}`);
  }

  /** A node in `term` hands out a committed entry. */
  commits(entry: LogEntry, term: number): void {
    const at = entry.index - 1;
    const known = this.#committed[at];
    if (known !== undefined) {
      invariant(sameEntry(known.entry, entry), `committed entry ${entry.index} changed`);
      return;
    }
    invariant(at === this.#committed.length, `entry ${entry.index} committed before the one before it`);
    this.#committed.push({ entry, term, stateHash: hashEntry(this.#committed[at - 1]?.stateHash ?? 0, entry) });
  }

  /** A node takes over the state of a snapshot: it must be the one after that committed entry. */
  installs(index: number, hash: number): void {
    invariant(this.#committed[index - 1]?.stateHash === hash, `the snapshot of ${index} holds another state`);
  }
}

/** What a message promises must be on the disk of its sender. */
export function checkPromise(node: SimulatedNode, to: NodeId, message: ConsensusMessage): void {
  const { id } = node;
  const { hardState, log } = node.disk;
  if (message.type === "appendResponse" && message.success && message.matchIndex > log.startIndex) {
    const at = message.matchIndex;
    invariant(
      log.at(at) !== undefined && (at <= node.log.startIndex || sameEntry(log.at(at), node.log.at(at))),
      `${id} acknowledges ${at} before it is durable`,
    );
  }
  if (message.type === "voteResponse" && message.granted && !message.preVote) {
    invariant(
      hardState?.term === message.term && hardState.votedFor === to,
      `${id} answers a vote before it is durable`,
    );
  }
  if (message.type === "vote" && !message.preVote) {
    const durable = hardState?.term === message.term && hardState.votedFor === id && log.lastIndex >= message.lastIndex;
    invariant(durable, `${id} asks for votes before its term and log are durable`);
  }
}

/** Whether a node has an entry on disk, by itself or in what its log begins after. */
export function holds({ disk: { log } }: SimulatedNode, entry: LogEntry | undefined): boolean {
  return entry !== undefined && (entry.index <= log.startIndex || sameEntry(log.at(entry.index), entry));
}
