/**
 * Linearizable reads: before such a request reaches an adapter, this node learns from the leader an index that was committed
 * when the request came, confirmed by a quorum since (Raft thesis, 6.4), and waits until it has applied it. No clock takes
 * part, so a paused or deposed leader cannot answer with old state.
 */
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError } from "../../errors.ts";

/** Most linearizable reads that wait on one node, its peers' included; the next one is refused. */
export const WAITING_READS_MAX = 10_000;
/** A read without an answer of the leader asks again after this time. */
export const READ_RETRY_MS = 1_000;
/** A read is forgotten after this time; its request was answered by then. */
export const READ_LIFETIME_MS = 40_000;

/** What reads need of the node around them. */
export interface ReadIndexParts {
  readonly now: () => number;
  /** Id of the first read; another in each boot, as that of requests. */
  readonly firstId: number;
  /** Asks this node's consensus; its answer comes to {@link ReadIndex.confirmed}. */
  readonly confirm: (id: number) => void;
  /** Asks the leader; false when it cannot be reached. */
  readonly askLeader: (leader: NodeId, id: number) => boolean;
  readonly answerPeer: (peer: NodeId, id: number, index: number | undefined) => void;
}

interface Waiting {
  /** For a peer: whom to answer, and under which id it asked. */
  readonly peer: { readonly nodeId: NodeId; readonly id: number } | undefined;
  readonly run: () => void;
  readonly since: number;
  /** Known once the leader confirmed it. */
  index: number | undefined;
  askedAt: number | undefined;
}

/** See the module's header. */
export class ReadIndex {
  readonly #parts: ReadIndexParts;
  readonly #waiting = new Map<number, Waiting>();
  #nextId: number;
  #appliedIndex = 0;
  #leader: NodeId | "self" | undefined;

  constructor(parts: ReadIndexParts) {
    this.#parts = parts;
    this.#nextId = parts.firstId;
  }

  /** Reads that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Runs `run` once everything committed before now is applied here. Throws `TooManyRequests`. */
  read(run: () => void): void {
    this.#add(undefined, run);
  }

  /** A peer asks this node as the leader. */
  fromPeer(nodeId: NodeId, id: number): void {
    if (this.#leader !== "self" || this.#waiting.size >= WAITING_READS_MAX)
      this.#parts.answerPeer(nodeId, id, undefined);
    else this.#add({ nodeId, id }, () => undefined);
  }

  #add(peer: Waiting["peer"], run: () => void): void {
    if (this.#waiting.size >= WAITING_READS_MAX) throw new CocoError("TooManyRequests", "too many reads wait");
    const id = this.#nextId++;
    const waiting: Waiting = { peer, run, since: this.#parts.now(), index: undefined, askedAt: undefined };
    this.#waiting.set(id, waiting);
    this.#ask(id, waiting);
  }

  #ask(id: number, waiting: Waiting): void {
    if (this.#leader === undefined) return;
    waiting.askedAt = this.#parts.now();
    if (this.#leader === "self") this.#parts.confirm(id);
    else if (!this.#parts.askLeader(this.#leader, id)) waiting.askedAt = undefined;
  }

  /** The answer of this node's consensus; undefined: it does not lead any more. */
  confirmed(id: number, index: number | undefined): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.peer !== undefined) {
      this.#waiting.delete(id);
      this.#parts.answerPeer(waiting.peer.nodeId, waiting.peer.id, index);
    } else this.#answered(id, index);
  }

  /** The answer of a peer; only the leader's counts. */
  answerOfPeer(peer: NodeId, id: number, index: number | undefined): void {
    if (peer === this.#leader && this.#waiting.get(id)?.peer === undefined) this.#answered(id, index);
  }

  #answered(id: number, index: number | undefined): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || waiting.index !== undefined) return;
    waiting.index = index;
    if (index === undefined) waiting.askedAt = undefined;
    else if (index <= this.#appliedIndex) this.#run(id, waiting);
  }

  #run(id: number, waiting: Waiting): void {
    this.#waiting.delete(id);
    waiting.run();
  }

  /** Everything up to this index is applied. */
  applied(index: number): void {
    this.#appliedIndex = index;
    if (this.#waiting.size === 0) return;
    for (const [id, waiting] of this.#waiting)
      if (waiting.index !== undefined && waiting.index <= index) this.#run(id, waiting);
  }

  /** Who leads now; what was asked of another is asked again. */
  leaderChanged(leader: NodeId | "self" | undefined): void {
    this.#leader = leader;
    for (const [id, waiting] of this.#waiting) {
      if (waiting.index !== undefined) continue;
      if (waiting.peer !== undefined && leader !== "self") {
        this.#waiting.delete(id);
        this.#parts.answerPeer(waiting.peer.nodeId, waiting.peer.id, undefined);
      } else if (waiting.peer === undefined) this.#ask(id, waiting);
    }
  }

  /** Asks again what got no answer, and forgets what took too long. */
  tick(): void {
    const now = this.#parts.now();
    for (const [id, waiting] of this.#waiting) {
      if (now - waiting.since > READ_LIFETIME_MS) {
        this.#waiting.delete(id);
        continue;
      }
      if (waiting.peer !== undefined || waiting.index !== undefined) continue;
      if (waiting.askedAt === undefined || now - waiting.askedAt > READ_RETRY_MS) this.#ask(id, waiting);
    }
  }
}
