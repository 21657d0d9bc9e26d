/**
 * Snapshots of the whole state (R20): taken by every node at the same places of the ledger while writes go on, confirmed by
 * evidence in the ledger, sent to nodes that are far behind, and begun from after a restart.
 *
 * Each node makes its own and computes the same digest; the leader writes its digest into the ledger as evidence, and a node
 * whose digest differs has another state than the network: it stops. Only a snapshot with evidence compacts the log.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { bytesEqual, concatBytes, fromHex } from "../../core/codec/bytes.ts";
import type { Ready, SnapshotMark } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { encodeGovernanceState } from "../../core/governance/state-codec.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { SnapshotWriter } from "../../core/ledger/snapshot.ts";
import { makeKeeperSeal } from "../../core/ledger/snapshot-keeper.ts";
import { MAX_SNAPSHOT_PART_BYTES, type SnapshotManifest } from "../../core/ledger/snapshot-format.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Clock, Executor } from "../ports.ts";
import type { FromWorker } from "../worker/protocol.ts";
import type { OwnSnapshots, SnapshotEvidence } from "./arrived-batch.ts";
import { SentSnapshots } from "./sent-snapshots.ts";
import { requireContinuation } from "./snapshot-continuation.ts";
import { holdsGrant, type Making, type Place, type SnapshotsParts } from "./snapshots-parts.ts";
import type { SnapshotTransfer } from "./replicator.ts";
import { SnapshotDoubts } from "./snapshot-doubts.ts";
import { type ReceivedSnapshot, SnapshotReceiver, type WorkerImport } from "./snapshot-receiver.ts";
import { type Beginning, importStored } from "./stored-snapshot.ts";

/** A finished snapshot on this node's disk. */
export interface OwnSnapshot {
  readonly mark: SnapshotMark;
  readonly seqno: number;
  readonly digest: Bytes;
  readonly bytes: number;
}

/** See the module's header. */
export class Snapshots implements SnapshotTransfer, OwnSnapshots {
  readonly #parts: SnapshotsParts;
  readonly #receiver: SnapshotReceiver;
  /** By adapter: for which snapshots its worker was asked for a part and has not answered yet, in the order of its answers. */
  readonly #asked = new Map<number, readonly Making[]>();
  #making: Making | undefined;
  /** While the workers take the state this node begins from. */
  #beginning: WorkerImport | undefined;
  /** The newest finished snapshot. */
  #finished: OwnSnapshot | undefined;
  /** Those with evidence, which peers may have. */
  readonly #sent: SentSnapshots;
  /** The newest evidence and the batch that brought it; it counts once that batch is on this node's own disk. */
  #evidence: { readonly record: GovernanceState["snapshot"]; readonly index: number } | undefined;
  #durableIndex = 0;
  /** Where a snapshot was taken or skipped last. */
  #takenSeqno = 0;
  #committedSeqno = 0;
  /** The newest grant: until a snapshot of it or after it is finished, there is none that a new node can open. */
  #grantIndex = 0;
  /** The newest committed batch, once it is applied. */
  #place: Place | undefined;
  #nonceCounter = 0;
  readonly #doubts: SnapshotDoubts;

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
    // One that waits for evidence takes the place of the doubted one anyway.
    const remake = (): boolean => this.unconfirmed === undefined && this.#takeNow(true);
    this.#doubts = new SnapshotDoubts({ clock: parts.clock, remake });
    this.#sent = new SentSnapshots(parts);
    const { networkId, nodeId, crypto, disk, targets, prepare, epochKeyOf, tracer, stored } = parts;
    this.#receiver = new SnapshotReceiver({
      networkId,
      nodeId,
      crypto,
      disk,
      targets,
      prepare,
      epochKeyOf,
      tracer,
      stored,
      publicKeyOf: (listed) => parts.administration.publicKeyOf(listed),
      requireContinuation: (found) => requireContinuation({ ...parts, committedSeqno: this.#committedSeqno }, found),
    });
  }

  /** The newest finished one, with the digest it was made with. */
  get finished(): OwnSnapshot | undefined {
    return this.#finished;
  }

  /** Whether the workers still take the state this node begins from. */
  get isBeginning(): boolean {
    return this.#beginning !== undefined;
  }

  /** A snapshot that has no evidence in the ledger yet: for the leader to propose. */
  get unconfirmed(): OwnSnapshot | undefined {
    const evidence = this.#parts.administration.committed?.snapshot;
    const own = this.#finished;
    return own !== undefined && own.mark.index > (evidence?.index ?? 0) ? own : undefined;
  }

  /** Hands the state this node begins from to the workers; calls back when they have it. */
  begin(beginning: Beginning, clock: Clock, done: () => void): void {
    this.#standsOn(beginning.snapshot, beginning.stored.bytes);
    const { targets, onFatal } = this.#parts;
    const { mark, seqno } = beginning.snapshot;
    this.#beginning = importStored(beginning, this.#parts, { targets, clock, onFatal }, () => {
      this.#beginning = undefined;
      this.#parts.tracer.event("info", "started_from_snapshot", { index: mark.index, seqno });
      done();
    });
  }

  #standsOn(snapshot: ReceivedSnapshot, bytes: number): void {
    const { mark, seqno } = snapshot;
    this.#takenSeqno = seqno;
    this.#committedSeqno = seqno;
    this.#finished = { mark, seqno, digest: snapshot.digest, bytes };
    this.#sent.standsOn(mark);
    this.#place = undefined;
  }

  /**
   * A batch is committed, and applied unless this node waits for keys. Every node decides alike: a snapshot where the number
   * of transactions passes a multiple of the setting, and after a grant, since a new node opens only what is wrapped to it.
   */
  committed(batch: ParsedBatch, applied: boolean): void {
    const { index, firstSeqno, count } = batch.header;
    const seqno = firstSeqno + count;
    this.#committedSeqno = seqno;
    this.#sent.expire();
    const state = this.#parts.administration.committed;
    const every = state?.constitution.settings.snapshot.everyTransactions ?? 0;
    if (state?.snapshot !== this.#evidence?.record) this.#evidence = { record: state?.snapshot, index };
    const passed = every > 0 && Math.floor(seqno / every) > Math.floor(this.#takenSeqno / every);
    this.#confirm();
    this.#place = state !== undefined && applied ? { index, seqno, state } : undefined;
    const grants = holdsGrant(batch);
    if (grants) this.#grantIndex = index;
    this.#takeOwed();
    if (state === undefined || state.epochs.length === 0 || !(passed || grants)) return;
    this.#takenSeqno = seqno;
    if (!applied || this.#making?.mark.index === index) return;
    if (this.#making?.isDoubted === true) this.#giveUp(this.#making, "a regular one is due");
    if (this.#making === undefined) this.#begin({ index, seqno, state });
    else this.#parts.tracer.event("warn", "snapshot_skipped", { index, reason: "the one before is not finished" });
  }

  /** A snapshot after a grant that was skipped or given up is made up for at the newest batch, on this node alone. */
  #takeOwed(): void {
    const isOwed = (this.#finished?.mark.index ?? 0) < this.#grantIndex;
    if (isOwed) this.#takeNow();
  }

  /** Takes one at the newest batch, on this node alone; false when that cannot be. */
  #takeNow(isDoubted = false): boolean {
    if (this.#making !== undefined || this.#place === undefined) return false;
    this.#begin(this.#place, isDoubted);
    return this.#making !== undefined;
  }

  /**
   * Everything up to this index is on this node's own disk. Evidence that is not would be gone after a crash, and with it
   * the reason to begin from the snapshot it confirms: until then the snapshot before it stays.
   */
  durable(index: number): void {
    this.#durableIndex = index;
    this.#confirm();
  }

  #begin({ index, seqno, state }: Place, isDoubted = false): void {
    const { administration, tail, networkId, crypto, epochKeyOf, adapters, disk, nodeId, salt } = this.#parts;
    const epoch = state.epochs.length;
    const epochKey = epochKeyOf(epoch, state);
    if (epochKey === undefined) return;
    const reason = this.#hindrance(isDoubted);
    if (reason !== undefined) {
      this.#parts.tracer.event("warn", "snapshot_skipped", { index, reason });
      return;
    }
    const left = [...adapters]
      .map(([adapterId, adapter]) => ({ adapterId, version: adapter.committedVersion() }))
      .filter(({ version }) => version > 0)
      .sort((one, other) => one.adapterId - other.adapterId);
    const { configuration, configurationIndex } = administration.committedConfiguration;
    const tailSnapshot = tail.toSnapshot(index);
    const manifest: SnapshotManifest = {
      networkId,
      tail: tailSnapshot,
      configurationIndex,
      governance: encodeGovernanceState(state),
      adapters: left.map(({ adapterId, version }) => ({ id: adapterId, version })),
      epoch,
    };
    const sealing = { signer: fromHex(nodeId), salt, counter: this.#nonceCounter };
    const writer = new SnapshotWriter(manifest, sealing, { crypto, epochKey });
    const mark: SnapshotMark = { index, term: tailSnapshot.last.view, configuration, configurationIndex };
    const making: Making = { mark, seqno, writer, file: disk.createSnapshot(index), left, isDoubted, bytes: 0 };
    this.#making = making;
    this.#appendAll(making, writer.begin());
  }

  /** Why no snapshot can be made now. */
  #hindrance(isDoubted: boolean): string | undefined {
    const adapters = [...this.#parts.adapters];
    if (adapters.some(([, { keepsState, isRestoring }]) => !keepsState || isRestoring))
      return "an adapter does not run on this node";
    // Of one that was given up a part may be on its way, not more: the guard has room for that. A doubted one leaves that to a regular one.
    const awaitedMax = isDoubted ? 0 : 1;
    const isAwaited = adapters.some(([adapterId]) => (this.#asked.get(adapterId)?.length ?? 0) > awaitedMax);
    return isAwaited ? "a worker still answers for the one before" : undefined;
  }

  #appendAll(making: Making, pieces: Iterator<Bytes>): void {
    const next = pieces.next();
    if (next.done === true) this.#nextAdapter(making);
    else this.#append(making, next.value, () => this.#appendAll(making, pieces));
  }

  #append(making: Making, bytes: Bytes, done: () => void): void {
    making.bytes += bytes.length;
    making.file.append(bytes, () => {
      if (this.#making === making) done();
    });
  }

  #nextAdapter(making: Making): void {
    const [next] = making.left;
    if (next === undefined) {
      this.#seal(making);
      return;
    }
    const { version } = next;
    const executor = this.#executorOf(next.adapterId);
    executor.send({ type: "exportSnapshot", version, maxBytes: MAX_SNAPSHOT_PART_BYTES });
    this.#askForPart(making, next);
  }

  #askForPart(making: Making, { adapterId, version }: Making["left"][number]): void {
    this.#asked.set(adapterId, [...(this.#asked.get(adapterId) ?? []), making]);
    this.#executorOf(adapterId).send({ type: "nextPart", version });
  }

  #seal(making: Making): void {
    const { networkId, nodeId, crypto } = this.#parts;
    const end = making.writer.end();
    const kept = { networkId, index: making.mark.index, digest: making.writer.digest() };
    const seal = makeKeeperSeal(kept, nodeId, crypto);
    this.#append(making, concatBytes(end, seal), () => making.file.finish(() => this.#finish(making)));
  }

  #executorOf(adapterId: number): Executor {
    const adapter = this.#parts.adapters.get(adapterId);
    invariant(adapter !== undefined, "the adapter is mounted");
    return adapter.executor;
  }

  /** A worker's word about a snapshot. */
  fromWorker(
    adapterId: number,
    message: Extract<FromWorker, { type: "snapshotPart" | "snapshotUnavailable" | "nextPart" | "imported" }>,
  ): void {
    const making = this.#making;
    const [current] = making?.left ?? [];
    if (message.type === "imported") return;
    if (message.type === "nextPart") {
      if (this.#beginning !== undefined) this.#beginning.taken(adapterId);
      else this.#receiver.taken(adapterId);
      return;
    }
    const [asked, ...others] = this.#asked.get(adapterId) ?? [];
    this.#asked.set(adapterId, others);
    if (making === undefined || asked !== making) return;
    if (current?.adapterId !== adapterId || current.version !== message.version) return;
    if (message.type === "snapshotUnavailable") this.#giveUp(making, "the worker does not keep that version");
    else this.#takePart(making, current, message);
  }

  #takePart(
    making: Making,
    { adapterId, version }: Making["left"][number],
    { part, last }: Extract<FromWorker, { type: "snapshotPart" }>,
  ): void {
    this.#append(making, making.writer.part(adapterId, part), () => {
      if (last) {
        making.left.shift();
        this.#nextAdapter(making);
      } else this.#askForPart(making, { adapterId, version });
    });
  }

  /** The worker of an adapter has ended. */
  ended(adapterId: number): void {
    this.#beginning?.ended(adapterId);
    this.#receiver.ended(adapterId);
    this.#giveUpOf(adapterId);
  }

  /** The worker of an adapter was lost, with what it had of a snapshot on its way in or out. */
  workerLost(adapterId: number): void {
    this.#beginning?.ended(adapterId);
    this.#receiver.lost();
    this.#giveUpOf(adapterId);
  }

  #giveUpOf(adapterId: number): void {
    this.#asked.delete(adapterId);
    const making = this.#making;
    if (making?.left.some((left) => left.adapterId === adapterId)) this.#giveUp(making, "the worker has ended");
  }

  #giveUp(making: Making, reason: string): void {
    making.file.abandon();
    this.#leave(making, false);
    this.#parts.tracer.event("warn", "snapshot_skipped", { index: making.mark.index, reason });
  }

  /** It is finished or given up. */
  #leave({ writer, isDoubted }: Making, isFinished: boolean): void {
    this.#making = undefined;
    this.#nonceCounter = writer.nextCounter;
    if (isDoubted) this.#doubts.ended(isFinished);
  }

  /** The disk has no room, or has it again: the snapshot under way gives up its own, and the next one is due at its time. */
  diskFull(full: boolean): void {
    if (!full) this.#takeOwed();
    else if (this.#making !== undefined) this.#giveUp(this.#making, "the disk is full");
  }

  #finish(making: Making): void {
    if (this.#making !== making) return;
    const { mark, seqno, writer, bytes } = making;
    this.#leave(making, true);
    const before = this.#finished?.mark.index;
    this.#finished = { mark, seqno, digest: writer.digest(), bytes };
    if (before !== undefined && before !== mark.index && before !== this.#sent.newest?.index)
      this.#parts.disk.removeSnapshot(before);
    this.#parts.tracer.event("info", "snapshot", { index: mark.index, seqno, bytes });
    this.#confirm();
    this.#takeOwed();
  }

  /** Compares the newest snapshot with the newest evidence. */
  #confirm(): void {
    const evidence = this.#parts.administration.committed?.snapshot;
    const own = this.#finished;
    if (evidence === undefined || own?.mark.index !== evidence.index) return;
    if (!bytesEqual(evidence.digest, own.digest)) {
      const message = `the state after batch ${evidence.index} on this node is not the one of the network`;
      this.#parts.onFatal(new CocoError("StateDiverged", message, { index: evidence.index }));
      return;
    }
    const isKnown = this.#sent.newest?.index === own.mark.index;
    if (isKnown || (this.#evidence?.index ?? 0) > this.#durableIndex) return;
    this.#sent.supersede(own.mark);
    this.#parts.compact(own.mark);
    this.#parts.tail.compact(own.mark.index);
  }

  /** Whether evidence is of the snapshot this node has finished, and names another digest. */
  contradicts({ index, digest }: SnapshotEvidence): boolean {
    const own = this.#finished;
    return own?.mark.index === index && !bytesEqual(digest, own.digest);
  }

  load(request: Ready["loadSnapshot"][number], done: Parameters<SentSnapshots["load"]>[1]): void {
    const { newest } = this.#sent;
    if (newest !== undefined && request.offset === 0 && request.heard) this.#doubts.begins(request.peer, newest.index);
    this.#sent.load(request, (snapshot, data, last) => {
      const isNewest = newest === this.#sent.newest && (request.index ?? newest?.index) === newest?.index;
      if (snapshot === undefined && newest !== undefined && isNewest) this.#doubts.unreadable();
      done(snapshot, data, last);
    });
  }

  whenRoom(callback: () => void): void {
    this.#receiver.whenRoom(callback);
  }

  receive(part: Ready["snapshotParts"][number]): void {
    this.#receiver.receive(part);
  }

  install(mark: SnapshotMark): void {
    const { received, bytes } = this.#receiver.install(mark);
    if (this.#making !== undefined) this.#giveUp(this.#making, "a newer one was installed");
    const { tail, administration } = this.#parts;
    tail.restore(received.tail);
    administration.restore(received.state, mark.index, mark.configurationIndex);
    this.#standsOn(received, bytes);
    this.#parts.tracer.event("info", "snapshot_installed", { index: mark.index, seqno: received.seqno });
    this.#parts.onInstalled(received);
  }
}
