/**
 * The consensus driver: feeds the pure core with messages, time and disk completions, and carries out what it asks for.
 *
 * The ledger's tail and the governance state always follow the log: they grow when entries are appended and shrink when they
 * are truncated, before they are persisted. What consensus would append of a peer's message is verified before consensus
 * sees it: on the log itself where it continues it, on a copy where it would replace entries. So a peer that sends what does
 * not hold loses its channel, and nothing else happens. A committed batch that was read back from disk is compared with the
 * tail before it is applied.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { bytesEqual } from "../../core/codec/bytes.ts";
import { MessageRefused } from "../../core/consensus/acceptance.ts";
import type {
  AppendRequest,
  Consensus,
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  LogEntry,
  NodeId,
  Ready,
  SnapshotMark,
} from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { BuiltBatch } from "../../core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Clock, Disk } from "../ports.ts";
import type { CheckedData } from "./checked-data.ts";
import type { VerifiedLog } from "./verified-log.ts";

/** Time between ticks of the consensus core: a quarter of that between heartbeats, since an idle node does little else. */
export const TICK_INTERVAL_MS = 25;

/** What the driver is made of. */
export interface ReplicatorParts {
  readonly consensus: Consensus;
  /** Tail and governance as the log tells them. */
  readonly log: VerifiedLog;
  /** Data of the entries that were verified while the node started; the driver adds its own. */
  readonly checked: CheckedData;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly send: (peer: NodeId, message: ConsensusMessage) => void;
  /**
   * A verified batch of a peer that this node does not have, and governance after it; throws to refuse the message that
   * brought it.
   */
  readonly onArrived: (batch: ParsedBatch, state: GovernanceState | undefined) => void;
  readonly onCommitted: (batch: ParsedBatch) => void;
  readonly onRoleChanged: (status: ConsensusStatus) => void;
  readonly onDurable: (index: number) => void;
  /** Consensus did not take proposed batches; they are undone in the ledger's tail. */
  readonly onDropped: () => void;
  /** Linearizable reads are confirmed up to an index, or (undefined) this node does not lead any more. */
  readonly onReads: (reads: Ready["reads"]) => void;
  readonly snapshots: SnapshotTransfer;
  /** The node cannot go on: its ledger contradicts what a quorum or a leader signed. */
  readonly onFatal: (error: CocoError) => void;
}

/** Snapshots on their way between nodes, as the driver sees them. */
export interface SnapshotTransfer {
  /** Part of a snapshot for a peer; an undefined snapshot when there is none. */
  load(
    part: Ready["loadSnapshot"][number],
    done: (snapshot: SnapshotMark | undefined, data: Bytes, last: boolean) => void,
  ): void;
  /**
   * Calls back, at once or later, when everything received so far is written and the workers have room for more. Only the
   * newest callback is kept: a peer sends again what was not answered.
   */
  whenRoom(callback: () => void): void;
  /** A part from the leader, in order; offset 0 begins anew. */
  receive(part: Ready["snapshotParts"][number]): void;
  /** The log begins after this snapshot from now on: the state is replaced. */
  install(snapshot: SnapshotMark): void;
}

/** See the module's header. */
export class Replicator {
  readonly #parts: ReplicatorParts;
  readonly #parsed = new WeakMap<Bytes, ParsedBatch>();
  /** Data of batches that were built here: the tail has them when they are proposed, governance when they enter the log. */
  readonly #built = new WeakSet<Bytes>();
  readonly #events: ConsensusEvent[] = [];
  #running = false;
  #stopped = false;

  constructor(parts: ReplicatorParts) {
    this.#parts = parts;
  }

  /** Starts the ticks. */
  start(): void {
    this.#tick();
  }

  /** Takes no more events. */
  stop(): void {
    this.#stopped = true;
  }

  /** What the core knows now. */
  status(): ConsensusStatus {
    return this.#parts.consensus.status();
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#step({ type: "tick", now: this.#parts.clock.now() });
    this.#parts.clock.after(TICK_INTERVAL_MS, () => this.#tick());
  }

  /** A channel to a peer came up or broke. */
  channel(peer: NodeId, up: boolean): void {
    this.#step({ type: "channel", peer, up, now: this.#parts.clock.now() });
  }

  /** Asks for the index a linearizable read must have applied; the answer comes to `onReads`. */
  read(id: number): void {
    this.#step({ type: "read", id, now: this.#parts.clock.now() });
  }

  /** Hands the lead over to another voter. */
  transfer(): void {
    this.#step({ type: "transfer", now: this.#parts.clock.now() });
  }

  /** The members let this node take part again. */
  resume(): void {
    this.#step({ type: "resume", now: this.#parts.clock.now() });
  }

  /** The disk has no room, or has it again. */
  diskFull(full: boolean): void {
    this.#step({ type: "diskFull", full, now: this.#parts.clock.now() });
  }

  /** A snapshot of this node is durable and has its evidence in the ledger. */
  compact(snapshot: SnapshotMark): void {
    this.#step({ type: "compact", snapshot, now: this.#parts.clock.now() });
  }

  /** A snapshot from the leader is complete, verified and durable, or (undefined) not to be had. */
  snapshotStored(snapshot: SnapshotMark | undefined): void {
    const now = this.#parts.clock.now();
    this.#step(snapshot === undefined ? { type: "snapshotRefused", now } : { type: "snapshotStored", snapshot, now });
  }

  /**
   * A consensus message of an authenticated peer. Throws, with nothing changed, when it carries a batch that does not hold or
   * contradicts what is committed here: that is its sender's fault, and never a reason for this node to stop.
   */
  receive(peer: NodeId, message: ConsensusMessage): void {
    if (message.type === "append") this.#receiveAppend(peer, message);
    // The answer asks for the next part: a slow disk slows the leader down instead of filling this node's memory.
    else if (message.type === "snapshotPart") this.#parts.snapshots.whenRoom(() => this.#message(peer, message));
    else this.#message(peer, message);
  }

  #message(from: NodeId, message: ConsensusMessage): void {
    this.#step({ type: "message", from, message, now: this.#parts.clock.now() });
  }

  #receiveAppend(peer: NodeId, message: AppendRequest): void {
    invariant(!this.#running, "messages come between steps");
    if (this.#stopped) return;
    try {
      this.#verifyAhead(message);
      this.#message(peer, message);
    } finally {
      // Takes back what was verified ahead and not taken by consensus.
      if (message.entries.length > 0 && !this.#stopped) this.#parts.log.truncate(this.status().lastIndex + 1);
    }
  }

  /**
   * Verifies what consensus would append of a message: the entries from the first one on that this log does not have. The log
   * is extended by those that continue it; consensus takes them in the same turn or they are cut again. Nothing is verified
   * that consensus takes in no case: of a sender that was deposed, behind a log that differs, in the place of what is committed.
   */
  #verifyAhead({ term, previousIndex, previousTerm, entries }: AppendRequest): void {
    if (entries.length === 0) return;
    const { log, checked, onArrived } = this.#parts;
    const batches = entries.map((entry) => this.#batchOf(entry));
    const status = this.status();
    if (term < status.term || !this.#agrees(previousIndex, previousTerm)) return;
    const start = entries.findIndex((entry) => !this.#agrees(entry.index, entry.term));
    const first = entries[start]?.index;
    if (first === undefined || first <= status.commitIndex) return;
    const continues = first > log.tail.lastIndex;
    const tried = continues ? log : log.before(first);
    for (const batch of batches.slice(start)) {
      tried.append(batch);
      onArrived(batch, tried.governance.appended);
    }
    if (continues) for (const { data } of entries.slice(start)) checked.add(data);
  }

  /** The batch of an entry, which must say the same about its place. */
  #batchOf({ index, term, data }: LogEntry): ParsedBatch {
    const batch = this.#parse(data);
    if (batch.header.index !== index || batch.header.view !== term)
      throw new CocoError("LedgerCorrupt", `batch of entry ${index} names another place`, { index });
    return batch;
  }

  /** Whether this log has an entry of this term at this index; what is compacted is committed, and taken to be the same. */
  #agrees(index: number, term: number): boolean {
    const { tail } = this.#parts.log;
    if (index === 0 || index < tail.firstIndex - 1) return true;
    return tail.record(index)?.view === term;
  }

  #parse(data: Bytes): ParsedBatch {
    const known = this.#parsed.get(data);
    if (known !== undefined) return known;
    const batch = parseBatch(data);
    this.#parsed.set(data, batch);
    return batch;
  }

  /**
   * Proposes a batch as leader.
   * @param build makes it and extends the tail by it; called only while this node leads
   * @returns index of the batch; undefined when this node does not lead or hands over
   */
  propose(build: (view: number, index: number) => Pick<BuiltBatch, "bytes" | "batch">): number | undefined {
    const { role, term } = this.status();
    if (role !== "leader" || this.#stopped) return undefined;
    const index = this.#parts.log.tail.lastIndex + 1;
    const { bytes: data, batch } = build(term, index);
    this.#parsed.set(data, batch);
    this.#built.add(data);
    this.#parts.checked.add(data);
    const nested = this.#running;
    this.#step({ type: "propose", entries: [{ index, term, data }], now: this.#parts.clock.now() });
    // Inside a step the answer comes after it, as `onDropped` if it was not taken.
    return nested || this.status().lastIndex >= index ? index : undefined;
  }

  /**
   * Steps are never nested: what a callback causes is taken up after the step that caused it. Throws `MessageRefused` when
   * the event is a message that consensus refuses.
   */
  #step(event: ConsensusEvent): void {
    if (this.#stopped) return;
    this.#events.push(event);
    if (this.#running) return;
    this.#running = true;
    let refusal: MessageRefused | undefined;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const ready = this.#readyOf(next);
        if (!(ready instanceof MessageRefused)) this.#perform(ready);
        else if (next === event) refusal = ready;
      }
    } catch (error) {
      this.#stopped = true;
      this.#parts.onFatal(
        error instanceof CocoError ? error : new CocoError("Internal", "consensus failed", {}, { cause: error }),
      );
    } finally {
      this.#running = false;
    }
    if (refusal !== undefined) throw refusal;
  }

  #readyOf(event: ConsensusEvent): Ready | MessageRefused {
    try {
      return this.#parts.consensus.step(event);
    } catch (error) {
      if (error instanceof MessageRefused) return error;
      throw error;
    }
  }

  #perform(ready: Ready): void {
    const { disk, clock, consensus } = this.#parts;
    const dropped = ready.dropped[0];
    if (dropped !== undefined) {
      this.#parts.log.truncate(dropped.index);
      this.#parts.onDropped();
    }
    if (ready.installed !== undefined) this.#parts.snapshots.install(ready.installed);
    const persist = ready.persist;
    if (persist !== undefined) {
      if (persist.truncateFrom !== undefined) this.#parts.log.truncate(persist.truncateFrom);
      for (const entry of persist.entries) this.#append(entry);
      disk.persist(persist, () => {
        this.#step({ type: "persisted", id: persist.id, now: clock.now() });
        this.#parts.onDurable(consensus.status().durableIndex);
      });
    }
    for (const outgoing of ready.send) this.#parts.send(outgoing.to, outgoing.message);
    if (ready.roleChanged) this.#parts.onRoleChanged(this.status());
    for (const entry of ready.committed) {
      this.#parts.onCommitted(this.#parts.checked.batchOf(entry, (data) => this.#parse(data)));
      // The entry stays in consensus's window for a while; its parts would take several times its room.
      this.#parsed.delete(entry.data);
    }
    if (ready.reads.length > 0) this.#parts.onReads(ready.reads);
    this.#continueDelivery(ready);
    this.#load(ready);
  }

  #load(ready: Ready): void {
    const { disk, clock, snapshots } = this.#parts;
    for (const part of ready.snapshotParts) snapshots.receive(part);
    for (const part of ready.loadSnapshot) {
      const { peer, offset } = part;
      snapshots.load(part, (snapshot, data, last) => {
        this.#step({ type: "snapshotLoaded", peer, snapshot, offset, data, last, now: clock.now() });
      });
    }
    for (const load of ready.load) {
      disk.read(load.fromIndex, load.maxBytes, (entries) => {
        this.#step({ type: "loaded", peer: load.peer, entries, now: clock.now() });
      });
    }
  }

  /** Consensus hands out what is committed in parts; the rest comes after the input that is already there. */
  #continueDelivery(ready: Ready): void {
    const last = ready.committed.at(-1);
    if (last === undefined || last.index >= this.status().commitIndex) return;
    this.#parts.clock.after(0, () => this.#step({ type: "tick", now: this.#parts.clock.now() }));
  }

  #append(entry: LogEntry): void {
    const { log, checked } = this.#parts;
    const batch = this.#parse(entry.data);
    const record = log.tail.record(entry.index);
    if (record === undefined) {
      // It replaces another one, and was tried on a copy when it arrived.
      log.append(batch);
      checked.add(entry.data);
      return;
    }
    invariant(
      bytesEqual(log.tail.root(record.signatureSeqno), batch.root),
      "the tail holds another batch at this index",
    );
    if (this.#built.has(entry.data)) log.governance.append(batch);
  }
}
