/**
 * A snapshot on its way into this node, from the leader or from its own disk: opened and checked piece by piece, its parts
 * handed to the workers, where they replace the state only when the whole is complete, durable and taken by consensus.
 */
import { type Bytes, bytesEqual, toHex } from "../../core/codec/bytes.ts";
import { sameConfiguration } from "../../core/consensus/configuration.ts";
import type { NodeId, Ready, SnapshotMark } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { signingKeys } from "../../core/governance/departing-nodes.ts";
import { decodeGovernanceState } from "../../core/governance/state-codec.ts";
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { LedgerCrypto } from "../../core/ledger/keys.ts";
import { type SnapshotEvent, SnapshotReader } from "../../core/ledger/snapshot.ts";
import type { SnapshotManifest } from "../../core/ledger/snapshot-format.ts";
import { isKeeperSeal, KeeperSealSplitter, makeKeeperSeal } from "../../core/ledger/snapshot-keeper.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Disk, Executor, SnapshotFile, Tracer } from "../ports.ts";

/** An adapter's side of snapshots. */
export interface SnapshotAdapter {
  readonly executor: Executor;
  /** False: this node's code never ran it, it has no state here. */
  readonly keepsState: boolean;
  /** Its worker was lost; the next one takes nothing before it has the committed state. */
  readonly isRestoring: boolean;
  committedVersion(): number;
  /** The state was replaced by this version, which the batch at `index` made or one before it. */
  restore(version: number, index: number): void;
}

/** Where the states of a snapshot go: adapters by id, undefined for those that are not mounted. */
export type ImportTargets = (adapterId: number) => SnapshotAdapter | undefined;

/** The node on whose disk a snapshot lies. */
export interface Keeper {
  readonly nodeId: NodeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Bytes;
}

/** What reading a snapshot needs. */
export interface SnapshotOpening {
  readonly networkId: string;
  readonly crypto: LedgerCrypto;
  readonly epochKeyOf: (epoch: number, state: GovernanceState) => Bytes | undefined;
  /** A snapshot that was read before: where this one has the same governance, it is not decoded again. */
  readonly known?: Pick<ReceivedSnapshot, "manifest" | "state">;
}

/** What receiving one needs besides. */
export interface SnapshotReceiverParts extends SnapshotOpening {
  readonly disk: Disk;
  readonly targets: ImportTargets;
  /** Starts the workers of adapters that this node has not mounted yet. */
  readonly prepare: (adapters: readonly AdapterEntry[]) => void;
  readonly tracer: Tracer;
  readonly stored: (snapshot: SnapshotMark | undefined) => void;
  readonly nodeId: NodeId;
  /** Public key (SubjectPublicKeyInfo, DER) of a listed node. */
  readonly publicKeyOf: (nodeId: NodeId) => Bytes | undefined;
  /** Throws when a snapshot does not continue what this node knows to be committed. */
  readonly requireContinuation: (found: Omit<ReceivedSnapshot, "digest">) => void;
}

/** A snapshot that was read to its end. */
export interface ReceivedSnapshot {
  readonly mark: SnapshotMark;
  readonly seqno: number;
  readonly tail: LedgerTail;
  readonly state: GovernanceState;
  readonly manifest: SnapshotManifest;
  /** Evidence digest of what was read. */
  readonly digest: Bytes;
}

/** Reads one snapshot from its bytes. */
export class OpenedSnapshot {
  readonly #reader: SnapshotReader;
  readonly #file = new KeeperSealSplitter();
  readonly #crypto: LedgerCrypto;
  readonly #onPart: (adapterId: number, data: Bytes) => void;
  readonly #onFront: (state: GovernanceState) => void;
  readonly #known: SnapshotOpening["known"];
  #state: GovernanceState | undefined;
  #found: Omit<ReceivedSnapshot, "digest"> | undefined;
  #digest: Bytes | undefined;

  /**
   * @param onPart gets the parts of the adapters' states in order
   * @param onFront gets the state of governance before them
   */
  constructor(
    opening: SnapshotOpening,
    onPart: (adapterId: number, data: Bytes) => void,
    onFront: (state: GovernanceState) => void = () => {},
  ) {
    const { networkId, crypto, epochKeyOf, known } = opening;
    this.#known = known;
    this.#onPart = onPart;
    this.#onFront = onFront;
    this.#crypto = crypto;
    this.#reader = new SnapshotReader(networkId, {
      crypto,
      epochKeyOf: (epoch, manifest) => epochKeyOf(epoch, this.#stateOf(manifest)),
    });
  }

  /** Governance as the one manifest of the file says. */
  #stateOf({ governance }: SnapshotManifest): GovernanceState {
    const known = this.#known;
    if (known !== undefined && bytesEqual(known.manifest.governance, governance)) return known.state;
    this.#state ??= decodeGovernanceState(governance, this.#crypto.sha256);
    return this.#state;
  }

  /** Takes the next bytes of the file; returns those before its keeper's seal. Throws when they do not hold. */
  feed(bytes: Bytes): Bytes {
    const body = this.#file.push(bytes);
    for (const event of this.#reader.feed(body)) this.#take(event);
    return body;
  }

  /** Whether the file ends with the seal of this node. */
  isKeptBy(keeper: Keeper): boolean {
    const { complete, crypto } = { complete: this.complete, crypto: this.#crypto };
    if (complete === undefined) return false;
    const kept = { networkId: complete.manifest.networkId, index: complete.mark.index, digest: complete.digest };
    return isKeeperSeal(this.#file.seal, kept, keeper, crypto);
  }

  #take(event: SnapshotEvent): void {
    if (event.type === "part") this.#onPart(event.adapterId, event.data);
    else if (event.type === "end") this.#digest = event.digest;
    else {
      const { manifest, tail } = event;
      const { last } = manifest.tail;
      const state = this.#stateOf(manifest);
      const { configuration } = state;
      const mark = {
        index: last.index,
        term: last.view,
        configuration,
        configurationIndex: manifest.configurationIndex,
      };
      this.#found = { mark, seqno: last.signatureSeqno, tail, state, manifest };
      this.#onFront(state);
    }
  }

  /** Known once the front was read. */
  get found(): Omit<ReceivedSnapshot, "digest"> | undefined {
    return this.#found;
  }

  /** The whole, when it was read to its end. */
  get complete(): ReceivedSnapshot | undefined {
    return this.#found === undefined || this.#digest === undefined
      ? undefined
      : { ...this.#found, digest: this.#digest };
  }
}

/** Parts of a state that wait for a worker before its own disk is read on. */
export const IMPORT_PARTS_WAITING_MAX = 4;

/** Hands the parts of adapters' states to their workers; the last part of each waits for {@link WorkerImport.finish}. */
export class WorkerImport {
  readonly #targetOf: ImportTargets;
  /** The worker that got the first part of an adapter gets them all. */
  readonly #targets = new Map<number, SnapshotAdapter>();
  #waiting = new Map<number, number>();
  #onRoom: (() => void) | undefined;
  readonly #held = new Map<number, { readonly data: Bytes; readonly first: boolean }>();

  constructor(targetOf: ImportTargets) {
    this.#targetOf = targetOf;
  }

  add(adapterId: number, data: Bytes, version: number): void {
    this.#target(adapterId);
    const held = this.#held.get(adapterId);
    if (held !== undefined) this.#send(adapterId, version, held, false);
    this.#held.set(adapterId, { data, first: held === undefined });
  }

  /** Calls back once the workers have taken enough of what was sent. */
  whenRoom(callback: () => void): void {
    if (this.#hasRoom) callback();
    else this.#onRoom = callback;
  }

  get #hasRoom(): boolean {
    let waiting = 0;
    for (const parts of this.#waiting.values()) waiting += parts;
    return waiting < IMPORT_PARTS_WAITING_MAX;
  }

  /** A worker took a part and asks for the next. */
  taken(adapterId: number): void {
    this.#waiting.set(adapterId, Math.max(0, (this.#waiting.get(adapterId) ?? 0) - 1));
    this.#tellRoom();
  }

  /** A worker has ended: nothing waits for it. */
  ended(adapterId: number): void {
    this.#waiting.delete(adapterId);
    this.#tellRoom();
  }

  #tellRoom(): void {
    if (!this.#hasRoom) return;
    const callback = this.#onRoom;
    this.#onRoom = undefined;
    callback?.();
  }

  /** Throws `MalformedInput` unless each adapter in the manifest has a worker here and a state: then nothing is missing to install it. */
  requireStates({ manifest }: ReceivedSnapshot): void {
    for (const { id } of manifest.adapters)
      if (!this.#held.has(id) || this.#targetOf(id) !== this.#targets.get(id))
        throw new CocoError("MalformedInput", `snapshot: adapter ${id} has no state in it, or is not mounted`);
  }

  /** Replaces the states of all adapters in the manifest. */
  finish({ manifest, mark }: ReceivedSnapshot): void {
    for (const { id, version } of manifest.adapters) {
      const held = this.#held.get(id);
      invariant(held !== undefined, "an adapter with a version has a state");
      this.#send(id, version, held, true);
      this.#targets.get(id)?.restore(version, mark.index);
    }
  }

  #send(adapterId: number, version: number, part: { data: Bytes; first: boolean }, last: boolean): void {
    const adapter = this.#target(adapterId);
    if (!adapter.keepsState || adapter.isRestoring) return;
    if (!last) this.#waiting.set(adapterId, (this.#waiting.get(adapterId) ?? 0) + 1);
    adapter.executor.send({ type: "importSnapshot", version, part: part.data, first: part.first, last });
  }

  #target(adapterId: number): SnapshotAdapter {
    const known = this.#targets.get(adapterId) ?? this.#targetOf(adapterId);
    if (known === undefined)
      throw new CocoError("LedgerCorrupt", `the snapshot holds adapter ${adapterId}, which is not mounted`);
    this.#targets.set(adapterId, known);
    return known;
  }
}

/** Bytes of a received snapshot: 256 GiB; a larger one is refused before it fills the disk. */
export const SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024 * 1024;

interface Receiving {
  readonly snapshot: OpenedSnapshot;
  readonly file: SnapshotFile;
  readonly import: WorkerImport;
  /** Length of the file so far. */
  bytes: number;
  /** Whether a part is on its way to the disk. */
  writing: boolean;
}

/** See the module's header. */
export class SnapshotReceiver {
  readonly #parts: SnapshotReceiverParts;
  #receiving: Receiving | undefined;
  #onWritten: (() => void) | undefined;

  constructor(parts: SnapshotReceiverParts) {
    this.#parts = parts;
  }

  /** Calls back when the part before is written and the workers have room; only the newest callback is kept. */
  whenRoom(callback: () => void): void {
    if (this.#receiving === undefined) callback();
    else if (this.#receiving.writing) this.#onWritten = callback;
    else this.#receiving.import.whenRoom(callback);
  }

  #written(): void {
    const callback = this.#onWritten;
    this.#onWritten = undefined;
    if (callback !== undefined) this.whenRoom(callback);
  }

  /** A part from the leader; one that does not hold ends the transfer. */
  receive(part: Ready["snapshotParts"][number]): void {
    try {
      if (part.offset === 0) this.#begin(part.snapshot.index);
      const receiving = this.#receiving;
      if (receiving === undefined) return;
      if (part.offset + part.data.length > SNAPSHOT_BYTES_MAX)
        throw new CocoError("LimitExceeded", `snapshot of more than ${SNAPSHOT_BYTES_MAX} bytes`);
      const known = receiving.snapshot.found;
      const body = receiving.snapshot.feed(part.data);
      const { found } = receiving.snapshot;
      if (known === undefined && found !== undefined) {
        requireMark(found.mark, part.snapshot);
        this.#parts.requireContinuation(found);
      }
      receiving.bytes += part.data.length;
      receiving.writing = true;
      receiving.file.append(body, () => {
        receiving.writing = false;
        if (this.#receiving === receiving) this.#written();
      });
      if (part.last) this.#finish(receiving, part);
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** The file gets this node's own seal in the place of the leader's. */
  #finish(receiving: Receiving, { from, snapshot: mark }: Ready["snapshotParts"][number]): void {
    const { complete } = receiving.snapshot;
    if (complete === undefined) throw new CocoError("MalformedInput", "snapshot: the file ends too early");
    receiving.import.requireStates(complete);
    const { crypto, networkId, nodeId, stored, publicKeyOf } = this.#parts;
    // A new node may not know its leader yet: the key is the one that the leader's id, which the channel proved, is the digest of.
    const stated = signingKeys(complete.state).get(from);
    const isOwnKey = stated !== undefined && toHex(crypto.sha256(stated)) === from;
    const publicKey = publicKeyOf(from) ?? (isOwnKey ? stated : undefined);
    if (publicKey === undefined || !receiving.snapshot.isKeptBy({ nodeId: from, publicKey }))
      throw new CocoError("MalformedInput", "snapshot: not sealed by the leader");
    const seal = makeKeeperSeal({ networkId, index: mark.index, digest: complete.digest }, nodeId, crypto);
    receiving.file.append(seal, () => undefined);
    receiving.file.finish(() => {
      if (this.#receiving === receiving) stored(mark);
    });
  }

  #begin(index: number): void {
    this.#receiving?.file.abandon();
    const workers = new WorkerImport(this.#parts.targets);
    const onPart = (adapterId: number, data: Bytes): void => {
      const adapter = snapshot.found?.manifest.adapters.find(({ id }) => id === adapterId);
      invariant(adapter !== undefined, "a part belongs to an adapter of the manifest");
      workers.add(adapterId, data, adapter.version);
    };
    const snapshot: OpenedSnapshot = new OpenedSnapshot(this.#parts, onPart, ({ constitution }) =>
      this.#parts.prepare(constitution.adapters),
    );
    const file = this.#parts.disk.createSnapshot(index);
    this.#receiving = { snapshot, file, import: workers, bytes: 0, writing: false };
  }

  #refuse(error: unknown): void {
    this.#receiving?.file.abandon();
    this.#receiving = undefined;
    const { code, message } =
      error instanceof CocoError ? error : new CocoError("Internal", "a snapshot could not be read");
    this.#parts.tracer.event("warn", "snapshot_refused", { code, message });
    this.#parts.stored(undefined);
    this.#written();
  }

  /** Consensus has taken the snapshot: the workers' states become the new ones. */
  install(mark: SnapshotMark): { readonly received: ReceivedSnapshot; readonly bytes: number } {
    const receiving = this.#receiving;
    const received = receiving?.snapshot.complete;
    invariant(receiving !== undefined && received?.mark.index === mark.index, "what is installed was received");
    this.#receiving = undefined;
    receiving.import.finish(received);
    return { received, bytes: receiving.bytes };
  }

  /** A worker took a part. Parts from the leader come at their own pace: one is on its way at a time. */
  taken(adapterId: number): void {
    this.#receiving?.import.taken(adapterId);
  }

  /** A worker has ended. */
  ended(adapterId: number): void {
    this.#receiving?.import.ended(adapterId);
  }

  /** A worker was lost, and with it what it took of a snapshot: the leader sends it again. */
  lost(): void {
    if (this.#receiving !== undefined) this.#refuse(new CocoError("WorkerLost", "a worker was lost meanwhile"));
  }
}

/** What the leader's consensus says of a snapshot must be what the snapshot says of itself. */
function requireMark(found: SnapshotMark, expected: SnapshotMark): void {
  const { index, term, configurationIndex, configuration } = found;
  const same = index === expected.index && term === expected.term && configurationIndex === expected.configurationIndex;
  if (!same || !sameConfiguration(configuration, expected.configuration))
    throw new CocoError("MalformedInput", "snapshot: it is not the one that was announced");
}
