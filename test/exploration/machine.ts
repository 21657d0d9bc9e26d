/**
 * One real consensus core with a disk of its own and a driver that does what a validating node's driver does: it writes in
 * order, proposes an entry as soon as it leads, and sees to it that nothing is promised before it is durable.
 *
 * Everything is in memory and in one thread; time moves only when an event says so. The explorer, the restart rules and the
 * scenarios are all built on it. Each step checks what can be seen on one machine alone; what needs several is in history.ts.
 */
import { type Bytes, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { Raft } from "../../src/core/consensus/raft.ts";
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import type {
  Configuration,
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  HardState,
  LogEntry,
  NodeId,
  Outgoing,
  PersistRequest,
  Ready,
  SnapshotMark,
} from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import {
  type CoreOptions,
  configurationLabel,
  configurationOf,
  labelOf,
  makeCore,
  requestEntry,
} from "./core-options.ts";

type WithoutNow<Event> = Event extends unknown ? Omit<Event, "now"> : never;

/** An event of the core, without its time. */
export type TimelessEvent = WithoutNow<ConsensusEvent>;

/** A snapshot that a machine keeps: the place it stands for, and the labels of everything committed up to there. */
export interface KeptSnapshot {
  readonly mark: SnapshotMark;
  readonly applied: readonly string[];
}

/** What a disk holds after a crash. */
export interface Stable {
  /** The newest snapshot. */
  readonly snapshot?: KeptSnapshot | undefined;
  /** The log after the snapshot. */
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
  /** The state was replaced by a snapshot of this index. */
  installed: number | undefined;
  readonly reads: { readonly id: number; readonly index: number | undefined }[];
  /** The machine became leader. */
  leads: boolean;
}

/** Which part of the first unfinished write a crash leaves on the disk: undefined nothing, a number its truncation and so many entries. */
export type Torn = number | undefined;

/** A log on disk or in memory: what comes after a place. */
interface LogImage {
  snapshot: SnapshotMark | undefined;
  entries: readonly LogEntry[];
}

function withRequest(image: LogImage, request: PersistRequest): LogImage {
  let { snapshot, entries } = image;
  if (request.snapshot !== undefined) {
    snapshot = request.snapshot;
    entries = [];
  }
  const base = snapshot?.index ?? 0;
  if (request.truncateFrom !== undefined) entries = entries.slice(0, Math.max(0, request.truncateFrom - 1 - base));
  if (request.entries.length > 0) entries = [...entries, ...request.entries];
  return { snapshot, entries };
}

/** The entry of an index in a log that may begin after a snapshot. */
export function entryIn(entries: readonly LogEntry[], index: number): LogEntry | undefined {
  const first = entries[0];
  return first === undefined ? undefined : entries[index - first.index];
}

/** A core, its disk and its driver. */
export class Machine {
  readonly id: NodeId;
  readonly core: Raft;
  nowMs: number;
  readonly #options: CoreOptions;
  #disk: LogImage;
  #log: LogImage;
  hardState: HardState | undefined;
  /** Writes under way, oldest first. */
  readonly writes: PersistRequest[] = [];
  /** The newest snapshot this machine can send or restart from. */
  snapshot: KeptSnapshot | undefined;
  /** Labels of everything committed that was handed out or came with a snapshot. */
  applied: string[];
  /** Entries up to here were handed out as committed, or came with a snapshot. */
  deliveredIndex: number;
  /** Leaves out the checks of each step, for what was checked before; see {@link checkAgain}. */
  unchecked = false;
  #staged: Bytes[] = [];
  #before: ConsensusStatus;
  /** The newest term this machine's driver knows it leads. */
  #ledTerm = 0;

  constructor(options: CoreOptions, stable: Stable, nowMs = 0) {
    this.id = options.id;
    this.nowMs = nowMs;
    this.#options = options;
    this.snapshot = stable.snapshot;
    this.applied = [...(stable.snapshot?.applied ?? [])];
    this.deliveredIndex = stable.snapshot?.mark.index ?? 0;
    this.#disk = { snapshot: stable.snapshot?.mark, entries: stable.entries };
    this.#log = this.#disk;
    this.hardState = stable.hardState;
    this.core = makeCore(options, stable, nowMs);
    this.#before = this.status;
  }

  /** Checks every step from now on. */
  checkAgain(): void {
    this.unchecked = false;
    this.#before = this.status;
  }

  get status(): ConsensusStatus {
    return this.core.status();
  }

  /** The log as the core has it in memory, rebuilt from its persist requests; without what a snapshot stands for. */
  get log(): readonly LogEntry[] {
    return this.#log.entries;
  }

  /** The log on disk. */
  get disk(): readonly LogEntry[] {
    return this.#disk.entries;
  }

  /** Takes an event after `elapsedMs` and does what a driver does about it, except that writes are only queued. */
  step(event: TimelessEvent, elapsedMs = 0): Effects {
    this.nowMs += elapsedMs;
    const effects: Effects = { sent: [], committed: [], dropped: [], reads: [], leads: false, installed: undefined };
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
    return this.stable;
  }

  /** What the disk holds now. */
  get stable(): Stable {
    const base = this.snapshot?.mark.index ?? 0;
    const entries = this.#disk.entries.filter((entry) => entry.index > base);
    return { snapshot: this.snapshot, entries, hardState: this.hardState, tookPart: true };
  }

  /** Proposes an entry as leader. */
  propose(label: string): Effects {
    const { lastIndex, term } = this.status;
    return this.step({ type: "propose", entries: [requestEntry(lastIndex + 1, term, label)] });
  }

  /** Proposes a change of membership as leader. */
  configure(configuration: Configuration): Effects {
    return this.propose(configurationLabel(configuration));
  }

  /** Proposes the end of a joint configuration as leader. */
  leave(): Effects {
    const { configuration } = this.status;
    return this.configure({ ...configuration, previous: undefined });
  }

  /** Makes a durable snapshot of everything applied and lets the core forget what it stands for. */
  compact(): Effects {
    const last = entryIn(this.log, this.deliveredIndex);
    invariant(last !== undefined, `${this.id} has applied something since its newest snapshot`);
    const mark = { ...this.#configurationAt(last.index), index: last.index, term: last.term };
    this.snapshot = { mark, applied: [...this.applied] };
    const effects = this.step({ type: "compact", snapshot: mark });
    this.#log = { snapshot: mark, entries: this.#log.entries.filter((entry) => entry.index > mark.index) };
    return effects;
  }

  #configurationAt(index: number): Pick<SnapshotMark, "configuration" | "configurationIndex"> {
    for (const entry of [...this.log].reverse()) {
      const configuration = entry.index <= index ? configurationOf(entry.data) : undefined;
      if (configuration !== undefined) return { configuration, configurationIndex: entry.index };
    }
    return this.snapshot?.mark ?? { configuration: this.#options.initial, configurationIndex: 0 };
  }

  #step(event: TimelessEvent, effects: Effects): void {
    const ready: Ready = this.core.step({ ...event, now: this.nowMs } as ConsensusEvent);
    if (ready.persist !== undefined) this.#queue(ready.persist, ready.installed);
    if (!this.unchecked) this.#check(ready);
    effects.sent.push(...ready.send);
    if (ready.installed !== undefined) this.#install(ready.installed, effects);
    for (const entry of ready.committed) this.#deliver(entry, effects);
    effects.dropped.push(...ready.dropped);
    effects.reads.push(...ready.reads);
    this.#serve(ready, effects);
    if (ready.roleChanged) this.#takeRole(effects);
  }

  /** A new leader's driver proposes an entry at once. */
  #takeRole(effects: Effects): void {
    const { role, term, lastIndex } = this.status;
    const leads = role === "leader" && this.#ledTerm !== term;
    if (!leads) return;
    this.#ledTerm = term;
    effects.leads = true;
    this.#step({ type: "propose", entries: [requestEntry(lastIndex + 1, term, `first of term ${term}`)] }, effects);
  }

  /** What a step must keep, as far as it can be seen here. */
  #check(ready: Ready): void {
    const before = this.#before;
    const after = this.status;
    this.#before = after;
    invariant(after.term >= before.term, `${this.id} goes back to term ${after.term}`);
    invariant(after.commitIndex >= before.commitIndex, `${this.id} takes its commit index back`);
    const lastIndex = this.#log.entries.at(-1)?.index ?? this.#log.snapshot?.index ?? 0;
    const known = after.lastIndex === lastIndex && after.durableIndex <= after.lastIndex;
    invariant(known && after.commitIndex <= after.lastIndex, `${this.id} knows its log`);
    const changed = after.role !== before.role || after.term !== before.term || after.leader !== before.leader;
    invariant(ready.roleChanged || !changed, `${this.id} reports changes of role, term and leader`);
    for (const { to, message } of ready.send) this.#checkPromise(to, message);
  }

  /** Reads what the core asks for from the disk, and stages snapshots. */
  #serve(ready: Ready, effects: Effects): void {
    for (const { peer, fromIndex } of ready.load) {
      const entries = this.#disk.entries.filter((entry) => entry.index >= fromIndex);
      this.#step({ type: "loaded", peer, entries }, effects);
    }
    for (const { peer, index, offset, maxBytes } of ready.loadSnapshot) {
      const kept = index === undefined || index === this.snapshot?.mark.index ? this.snapshot : undefined;
      const content = utf8Encode((kept?.applied ?? []).join("\n"));
      const data = content.subarray(offset, offset + maxBytes);
      const last = offset + data.length >= content.length;
      this.#step({ type: "snapshotLoaded", peer, snapshot: kept?.mark, offset, data, last }, effects);
    }
    for (const part of ready.snapshotParts) {
      if (part.offset === 0) this.#staged = [];
      this.#staged.push(part.data);
      if (!part.last) continue;
      const text = this.#staged.map((bytes) => utf8Decode(bytes)).join("");
      this.snapshot = { mark: part.snapshot, applied: text === "" ? [] : text.split("\n") };
      this.#step({ type: "snapshotStored", snapshot: part.snapshot }, effects);
    }
  }

  #install(mark: SnapshotMark, effects: Effects): void {
    invariant(mark.index > this.deliveredIndex, `${this.id} installs a snapshot that takes it forward`);
    invariant(this.snapshot?.mark.index === mark.index, `${this.id} installs the snapshot that it stored`);
    this.applied = [...this.snapshot.applied];
    this.deliveredIndex = mark.index;
    effects.installed = mark.index;
  }

  #deliver(entry: LogEntry, effects: Effects): void {
    invariant(entry.index === ++this.deliveredIndex, `${this.id} hands out committed entries in order`);
    invariant(sameEntry(entry, entryIn(this.log, entry.index)), `${this.id} hands out an entry that it has`);
    this.applied.push(labelOf(entry));
    effects.committed.push(entry);
  }

  #queue(request: PersistRequest, installed: SnapshotMark | undefined): void {
    if (request.truncateFrom !== undefined) {
      invariant(request.truncateFrom > this.deliveredIndex, `${this.id} truncates a committed entry`);
    }
    invariant(request.snapshot?.index === installed?.index, `${this.id} begins its log anew only for a snapshot`);
    this.#log = withRequest(this.#log, request);
    this.writes.push(request);
  }

  #apply(request: PersistRequest, whole: boolean): void {
    this.#disk = withRequest(this.#disk, request);
    if (whole && request.hardState !== undefined) this.hardState = request.hardState;
  }

  /** Whether the disk holds the entry of the log at an index; what a snapshot stands for is durable. */
  #isDurable(index: number): boolean {
    if (index <= (this.snapshot?.mark.index ?? 0)) return true;
    const entry = entryIn(this.disk, index);
    return entry !== undefined && sameEntry(entry, entryIn(this.log, index));
  }

  /** What a message promises must be on the disk of its sender. */
  #checkPromise(to: NodeId, message: ConsensusMessage): void {
    const { id, hardState } = this;
    if (message.type === "appendResponse" && message.success) {
      invariant(
        this.#isDurable(message.matchIndex),
        `${id} acknowledges entry ${message.matchIndex} before it is durable`,
      );
    }
    if (message.type === "voteResponse" && message.granted && !message.preVote) {
      const durable = hardState?.term === message.term && hardState.votedFor === to;
      invariant(durable, `${id} answers a vote before it is durable`);
    }
    if (message.type === "vote" && !message.preVote) {
      const durable = hardState?.term === message.term && hardState.votedFor === id;
      invariant(
        durable && this.#isDurable(message.lastIndex),
        `${id} asks for votes before its term and log are durable`,
      );
    }
  }

  /** Whether a joint configuration can be left now. */
  get mayLeave(): boolean {
    const { role, configuration, configurationCommitted } = this.status;
    return role === "leader" && configuration.previous !== undefined && configurationCommitted;
  }
}
