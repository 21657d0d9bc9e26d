/**
 * One real consensus core with a disk of its own and a driver that does what a validating node's driver does: it writes in
 * order, proposes an entry as soon as it leads, and sees to it that nothing is promised before it is durable.
 *
 * Everything is in memory and in one thread; time moves only when an event says so. The explorer, the restart rules and the
 * scenarios are all built on it. Each step checks what can be seen on one machine alone; what needs several is in safety.ts.
 */
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import type {
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  HardState,
  LogEntry,
  NodeId,
  Outgoing,
  PersistRequest,
  Ready,
} from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { type CoreOptions, makeCore, requestEntry } from "./core-options.ts";
import type { Raft } from "../../src/core/consensus/raft.ts";

type WithoutNow<Event> = Event extends unknown ? Omit<Event, "now"> : never;

/** An event of the core, without its time. */
export type TimelessEvent = WithoutNow<ConsensusEvent>;

/** What a disk holds after a crash. */
export interface Stable {
  readonly entries: readonly LogEntry[];
  readonly hardState: HardState | undefined;
  /** Whether the node ran before. */
  readonly tookPart: boolean;
}

/** The disk of a node that never ran. */
export const BLANK: Stable = { entries: [], hardState: undefined, tookPart: false };

/** What one event brought about on a machine; collected over the core's steps it took. */
export interface Effects {
  readonly sent: Outgoing[];
  readonly committed: LogEntry[];
  readonly dropped: LogEntry[];
  readonly reads: { readonly id: number; readonly index: number | undefined }[];
  /** The machine became leader. */
  leads: boolean;
}

/** Which part of the first unfinished write a crash leaves on the disk: undefined nothing, a number its truncation and so many entries. */
export type Torn = number | undefined;

/** A core, its disk and its driver. */
export class Machine {
  readonly id: NodeId;
  readonly #options: CoreOptions;
  core: Raft;
  nowMs = 0;
  disk: LogEntry[];
  hardState: HardState | undefined;
  /** Writes under way, oldest first. */
  writes: PersistRequest[] = [];
  /** The log as the core has it in memory, rebuilt from its persist requests. */
  log: LogEntry[];
  /** Entries up to here were handed out as committed. */
  deliveredIndex = 0;
  /** Whether the driver proposes an entry as soon as it leads. */
  readonly #proposesFirst: boolean;

  constructor(options: CoreOptions, stable: Stable, proposesFirst = true) {
    this.id = options.id;
    this.#options = options;
    this.#proposesFirst = proposesFirst;
    this.disk = [...stable.entries];
    this.log = [...stable.entries];
    this.hardState = stable.hardState;
    this.core = makeCore(options, stable, this.nowMs);
  }

  get status(): ConsensusStatus {
    return this.core.status();
  }

  /** Takes an event after `elapsedMs` and does what a driver does about it, except that writes are only queued. */
  step(event: TimelessEvent, elapsedMs = 0): Effects {
    this.nowMs += elapsedMs;
    const effects: Effects = { sent: [], committed: [], dropped: [], reads: [], leads: false };
    this.#step(event, effects);
    return effects;
  }

  /** Finishes the oldest write. */
  finishWrite(): Effects {
    const request = this.writes.shift();
    invariant(request !== undefined, `${this.id} has a write under way`);
    this.#apply(request, true);
    return this.step({ type: "persisted", id: request.id });
  }

  /** What a crash now would leave. */
  crash(torn: Torn): Stable {
    const request = this.writes[0];
    if (torn !== undefined && request !== undefined) {
      this.#apply({ ...request, entries: request.entries.slice(0, torn) }, false);
    }
    return { entries: this.disk, hardState: this.hardState, tookPart: true };
  }

  /** Proposes a request as leader. */
  propose(label: string): Effects {
    const { lastIndex, term } = this.status;
    return this.step({ type: "propose", entries: [requestEntry(lastIndex + 1, term, label)] });
  }

  #step(event: TimelessEvent, effects: Effects): void {
    const before = this.status;
    const ready: Ready = this.core.step({ ...event, now: this.nowMs } as ConsensusEvent);
    const after = this.status;
    invariant(after.term >= before.term, `${this.id} goes back to term ${after.term}`);
    invariant(after.commitIndex >= before.commitIndex, `${this.id} takes its commit index back`);
    if (ready.persist !== undefined) this.#queue(ready.persist);
    const known = after.lastIndex === this.log.length && after.durableIndex <= after.lastIndex;
    invariant(known && after.commitIndex <= after.lastIndex, `${this.id} knows its log`);
    for (const outgoing of ready.send) {
      this.#checkPromise(outgoing.to, outgoing.message);
      effects.sent.push(outgoing);
    }
    for (const entry of ready.committed) this.#deliver(entry, effects);
    effects.dropped.push(...ready.dropped);
    const leads = after.role === "leader" && before.role !== "leader";
    if (!leads) return;
    effects.leads = true;
    invariant(ready.roleChanged, `${this.id} reports that it leads`);
    if (!this.#proposesFirst) return;
    const first = requestEntry(after.lastIndex + 1, after.term, `first of term ${after.term}`);
    this.#step({ type: "propose", entries: [first] }, effects);
  }

  #deliver(entry: LogEntry, effects: Effects): void {
    invariant(entry.index === ++this.deliveredIndex, `${this.id} hands out committed entries in order`);
    invariant(sameEntry(entry, this.log[entry.index - 1]), `${this.id} hands out an entry that it has`);
    effects.committed.push(entry);
  }

  #queue(request: PersistRequest): void {
    if (request.truncateFrom !== undefined) {
      invariant(request.truncateFrom > this.deliveredIndex, `${this.id} truncates a committed entry`);
      this.log = this.log.slice(0, request.truncateFrom - 1);
    }
    if (request.entries.length > 0) this.log = [...this.log, ...request.entries];
    this.writes.push(request);
  }

  #apply(request: PersistRequest, whole: boolean): void {
    if (request.truncateFrom !== undefined) this.disk.length = request.truncateFrom - 1;
    this.disk.push(...request.entries);
    if (whole && request.hardState !== undefined) this.hardState = request.hardState;
  }

  /** What a message promises must be on the disk of its sender. */
  #checkPromise(to: NodeId, message: ConsensusMessage): void {
    const { id, hardState, disk, log } = this;
    if (message.type === "appendResponse" && message.success && message.matchIndex > 0) {
      const at = message.matchIndex - 1;
      invariant(
        disk[at] !== undefined && sameEntry(disk[at], log[at]),
        `${id} acknowledges entry ${at + 1} before it is durable`,
      );
    }
    if (message.type === "voteResponse" && message.granted && !message.preVote) {
      const durable = hardState?.term === message.term && hardState.votedFor === to;
      invariant(durable, `${id} answers a vote before it is durable`);
    }
    if (message.type === "vote" && !message.preVote) {
      const last = message.lastIndex === 0 || sameEntry(disk[message.lastIndex - 1], log[message.lastIndex - 1]);
      const durable = hardState?.term === message.term && hardState.votedFor === id && last;
      invariant(durable, `${id} asks for votes before its term and log are durable`);
    }
  }

  /** The options its core was made with. */
  get options(): CoreOptions {
    return this.#options;
  }
}
