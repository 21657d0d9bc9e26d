/**
 * A node reduced to what snapshots are about: ledger, governance, one adapter's state and a disk for snapshot files, with
 * cheap cryptography that notices a nonce used twice. Batches are built on one node and handed to the others by the test;
 * there is no consensus. Disk and worker answer when the test lets them, never inside a call.
 */
import { type Bytes, concatBytes, EMPTY, fromHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { LogEntry, SnapshotMark } from "../../src/core/consensus/types.ts";
import {
  type AdministrativeTransaction,
  encodeAdministrative,
} from "../../src/core/governance/administrative-codec.ts";
import type { SettingsChange } from "../../src/core/governance/settings.ts";
import { type BatchTransaction, buildBatch, type BatchInput } from "../../src/core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../src/core/ledger/batch-format.ts";
import { LedgerKeys } from "../../src/core/ledger/keys.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { Administration } from "../../src/enclave/manager/administration.ts";
import type { SnapshotOpening } from "../../src/enclave/manager/snapshot-receiver.ts";
import { type OwnSnapshot, Snapshots } from "../../src/enclave/manager/snapshots.ts";
import type { Disk, StoredSnapshot } from "../../src/enclave/ports.ts";
import type { FromWorker, ToWorker } from "../../src/enclave/worker/protocol.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { foundNetwork, KV_ADAPTER_ID } from "../simulation/founding.ts";
import { NonceWatch } from "../simulation/simulated-crypto.ts";

/** Nodes of the network. */
const NODES = 3;

/** A network of three nodes; the first snapshot with every that many transactions. */
export class SnapshotNetwork {
  readonly founded;
  readonly nonces = new NonceWatch();
  /** Batches of its ledger, in order. */
  readonly entries: LogEntry[] = [];

  constructor(everyTransactions = 10, settings: SettingsChange = {}) {
    this.founded = foundNetwork({
      nodeCount: NODES,
      machineCount: NODES + 2,
      settings: { ...settings, snapshot: { everyTransactions } },
    });
  }

  /** The same network whose ledger goes only as far as an index: another one may go on from there. */
  upTo(index: number): SnapshotNetwork {
    const branch = Object.create(this) as SnapshotNetwork;
    return Object.assign(branch, { entries: this.entries.slice(0, index) });
  }

  /** The entries from an index on. */
  entriesFrom(index: number): readonly LogEntry[] {
    return this.entries.slice(index - 1);
  }
}

/** Snapshot files in memory. */
export class SnapshotDisk implements Disk {
  readonly files = new Map<number, Bytes>();
  readonly #later: (task: () => void) => void;

  /** @param later carries a task out after the call under way */
  constructor(later: (task: () => void) => void) {
    this.#later = later;
  }

  persist(): void {
    throw new CocoError("Internal", "snapshots do not write the log");
  }

  read(): void {
    throw new CocoError("Internal", "snapshots do not read the log");
  }

  createSnapshot(index: number) {
    const pieces: Bytes[] = [];
    let open = true;
    const answer = (done: () => void): void => this.#later(() => (open ? done() : undefined));
    return {
      append: (data: Bytes, done: () => void): void => {
        pieces.push(data);
        answer(done);
      },
      finish: (done: () => void): void =>
        answer(() => {
          this.files.set(index, concatBytes(...pieces));
          done();
        }),
      abandon: (): void => {
        open = false;
      },
    };
  }

  readSnapshot(
    index: number,
    offset: number,
    maxBytes: number,
    done: (data: Bytes | undefined, last: boolean) => void,
  ): void {
    const bytes = this.files.get(index);
    const last = bytes === undefined || offset + maxBytes >= bytes.length;
    this.#later(() => done(bytes?.slice(offset, offset + maxBytes), last));
  }

  removeSnapshot(index: number): void {
    this.files.delete(index);
  }

  /** What a starting node finds, newest first. */
  get stored(): readonly StoredSnapshot[] {
    return [...this.files]
      .sort(([left], [right]) => right - left)
      .map(([index, bytes]) => ({ index, bytes: bytes.length, parts: () => [bytes] }));
  }
}

/** An adapter's worker: its state is one byte string per version, exported in parts of four bytes. */
export class StateWorker {
  /** States by version. */
  readonly states = new Map<number, Bytes>();
  readonly sent: ToWorker[] = [];
  /** Whether it still keeps what it is asked to export. */
  keeps = true;
  version = 0;
  /** Index that the newest imported state stands for. */
  restoredIndex = 0;
  #left: Bytes = EMPTY;
  #imported: Bytes = EMPTY;
  readonly #answer: (message: FromWorker) => void;

  constructor(answer: (message: FromWorker) => void) {
    this.#answer = answer;
  }

  /** The next version, which a batch has made. */
  apply(data: Bytes): void {
    const before = this.states.get(this.version) ?? EMPTY;
    this.version++;
    this.states.set(this.version, concatBytes(before, data));
  }

  close(): void {}

  send(message: ToWorker): void {
    this.sent.push(message);
    if (message.type === "exportSnapshot") this.#left = this.states.get(message.version) ?? EMPTY;
    else if (message.type === "nextPart") this.#export(message.version);
    else if (message.type === "importSnapshot") this.#import(message);
  }

  #export(version: number): void {
    if (!this.keeps) {
      this.#answer({ type: "snapshotUnavailable", version });
      return;
    }
    const part = this.#left.slice(0, 4);
    this.#left = this.#left.slice(4);
    this.#answer({ type: "snapshotPart", version, part, last: this.#left.length === 0 });
  }

  #import({ version, part, first, last }: Extract<ToWorker, { type: "importSnapshot" }>): void {
    this.#imported = concatBytes(first ? EMPTY : this.#imported, part);
    if (!last) {
      this.#answer({ type: "nextPart", version });
      return;
    }
    this.states.clear();
    this.states.set(version, this.#imported);
  }

  restore(version: number, index: number): void {
    this.version = version;
    this.restoredIndex = index;
  }
}

/** See the module's header. */
export class SnapshotNode {
  readonly network: SnapshotNetwork;
  readonly nodeId: string;
  readonly publicKey: Bytes;
  readonly administration: Administration;
  readonly tail: LedgerTail;
  readonly opening: SnapshotOpening;
  readonly disk: SnapshotDisk;
  readonly worker: StateWorker;
  readonly snapshots: Snapshots;
  readonly compacted: SnapshotMark[] = [];
  readonly stored: (SnapshotMark | undefined)[] = [];
  readonly fatal: CocoError[] = [];
  /** Names of what was traced. */
  readonly traced: string[] = [];
  /** Monotonic milliseconds. */
  nowMs = 0;
  /** Whether it has the keys that committed batches are sealed under, and applies them. */
  opens = true;
  readonly #keys: LedgerKeys;
  readonly #crypto;
  readonly #salt: Bytes;
  #counter = 0;
  #tasks: (() => void)[] = [];

  constructor(network: SnapshotNetwork, place = 0) {
    this.network = network;
    const { founded, nonces } = network;
    const { nodeId, publicKey } = founded.constitution.nodes[place] ?? { nodeId: "", publicKey: new Uint8Array(0) };
    this.nodeId = nodeId;
    this.publicKey = publicKey;
    this.#crypto = nonces.watch(founded.cryptoOf(place));
    this.#salt = new Uint8Array(16).fill(place + 1);
    this.administration = new Administration(founded.constitution, founded.networkId, founded.governanceCrypto);
    this.tail = new LedgerTail(this.#crypto.sha256);
    this.#keys = new LedgerKeys(this.#crypto, (epoch) => {
      const record = this.administration.appended?.epochs[epoch - 1];
      return record && founded.openEpoch(record, nodeId);
    });
    this.opening = {
      networkId: founded.networkId,
      crypto: this.#crypto,
      epochKeyOf: (epoch, state) => {
        const record = state.epochs[epoch - 1];
        return record && founded.openEpoch(record, nodeId);
      },
    };
    const later = (task: () => void): void => void this.#tasks.push(task);
    this.disk = new SnapshotDisk(later);
    this.worker = new StateWorker((message) => later(() => this.#fromWorker(message)));
    this.snapshots = this.#makeSnapshots();
  }

  #makeSnapshots(): Snapshots {
    const { nodeId, tail, administration, disk, worker, opening } = this;
    const adapter = {
      executor: worker,
      keepsState: true,
      isRestoring: false,
      committedVersion: () => worker.version,
      restore: (version: number, index: number) => worker.restore(version, index),
    };
    // Another salt than that of batches: nonces of both begin at the same number.
    const salt = this.#salt.map((byte) => byte + 0x80);
    return new Snapshots({
      ...opening,
      ...{ nodeId, salt, tail, administration, disk, clock: { now: () => this.nowMs } },
      adapters: new Map([[KV_ADAPTER_ID, adapter]]),
      targets: (adapterId) => (adapterId === KV_ADAPTER_ID ? adapter : undefined),
      prepare: () => undefined,
      tracer: { event: (_level, event) => this.traced.push(event) },
      compact: (mark) => this.compacted.push(mark),
      stored: (mark) => this.stored.push(mark),
      onInstalled: () => undefined,
      onFatal: (error) => this.fatal.push(error),
    });
  }

  #fromWorker(message: FromWorker): void {
    const { type } = message;
    invariant(type === "snapshotPart" || type === "snapshotUnavailable" || type === "nextPart", "about snapshots");
    this.snapshots.fromWorker(KV_ADAPTER_ID, message);
  }

  /** Lets disk and worker carry out what was asked of them, up to so many answers. */
  run(answers = Number.POSITIVE_INFINITY): void {
    for (let left = answers; left > 0 && this.#tasks.length > 0; left--) this.#tasks.shift()?.();
  }

  /** Builds the next batch of the ledger, whether or not anybody would take it; this node's governance does not hear of it. */
  forge(transactions: readonly BatchTransaction[], changes: Partial<BatchInput> = {}): ParsedBatch {
    const input: BatchInput = {
      kind: "application",
      view: 2,
      adapterId: KV_ADAPTER_ID,
      governanceVersion: this.administration.appended?.constitution.version ?? 0,
      timeMs: 1_000,
      epoch: 1,
      salt: this.#salt,
      nonceCounter: ++this.#counter,
      signer: fromHex(this.nodeId),
      transactions,
      ...changes,
    };
    const { bytes, record } = buildBatch(input, this.tail, this.#keys, this.#crypto);
    this.network.entries.push({ index: record.index, term: record.view, data: bytes });
    return parseBatch(bytes);
  }

  #build(transactions: readonly BatchTransaction[], changes: Partial<BatchInput>): ParsedBatch {
    const batch = this.forge(transactions, changes);
    this.administration.append(batch);
    return batch;
  }

  /** Builds and commits a batch of so many transactions, each with its number in its private part. */
  execute(count: number): number {
    const transactions = Array.from({ length: count }, (_, at) => ({
      id: EMPTY,
      publicPart: EMPTY,
      privatePart: utf8Encode(`${this.tail.lastSeqno + at}`),
      claimsDigest: undefined,
    }));
    return this.commit(this.#build(transactions, {}));
  }

  /** Builds and commits an administrative batch. */
  administrate(encoded: readonly Bytes[]): number {
    const transactions = encoded.map((publicPart) => ({
      ...{ id: EMPTY, publicPart, privatePart: EMPTY },
      claimsDigest: undefined,
    }));
    return this.commit(this.#build(transactions, { kind: "administrative", adapterId: 0, epoch: 0 }));
  }

  /** Genesis and first epoch. */
  found(): void {
    this.administrate(this.network.founded.firstTransactions((length) => new Uint8Array(length).fill(9)));
  }

  /** Commits that the members list every machine, and then a grant for each new one. Indexes of the grants. */
  admitAll(): number[] {
    const { founded } = this.network;
    const standing = this.administration.committed;
    invariant(standing, "the network is founded");
    const requests = founded.changeNodes(standing, founded.machines, 0);
    this.administrate(requests.map((message) => encodeAdministrative({ type: "request", ...message })));
    return founded.machines.slice(NODES).map(({ nodeId }) => {
      const state = this.administration.committed;
      invariant(state, "the network is founded");
      const grant = founded
        .epochMaker((length) => new Uint8Array(length))
        .grant(state, nodeId, (epoch) => this.opening.epochKeyOf(epoch, state));
      invariant(grant, "this node has the keys");
      return this.administrate([encodeAdministrative(grant)]);
    });
  }

  /** Commits evidence of a snapshot, with this digest instead of its own if one is given. */
  confirm({ mark, seqno, digest, bytes }: OwnSnapshot, instead: Bytes = digest): number {
    const evidence: AdministrativeTransaction = { type: "snapshot", index: mark.index, seqno, digest: instead, bytes };
    return this.administrate([encodeAdministrative(evidence)]);
  }

  /** Takes in what the ledger has and this node has not, as far as the batch at an index, and commits it. */
  follow(state: (batch: ParsedBatch) => Bytes = stateOf, lastIndex = Number.POSITIVE_INFINITY): void {
    for (const { data } of this.network.entriesFrom(this.tail.lastIndex + 1)) {
      const batch = parseBatch(data);
      if (batch.header.index > lastIndex) return;
      this.tail.append(batch);
      this.administration.append(batch);
      this.commit(batch, state);
    }
  }

  /** A batch of the log is committed, and changes the adapter's state. Its index. */
  commit(batch: ParsedBatch, state: (batch: ParsedBatch) => Bytes = stateOf): number {
    const { index, kind } = batch.header;
    this.administration.commit(index);
    if (kind === "application" && this.opens) this.worker.apply(state(batch));
    this.snapshots.committed(batch, this.opens);
    return index;
  }

  /** Everything this node has is on its own disk. */
  durable(): void {
    this.snapshots.durable(this.tail.lastIndex);
  }

  /** The newest finished snapshot, which has no evidence yet. */
  get unconfirmed(): OwnSnapshot {
    const { unconfirmed } = this.snapshots;
    invariant(unconfirmed !== undefined, "a snapshot waits for evidence");
    return unconfirmed;
  }
}

/** What a batch adds to the adapter's state: ten bytes that say which it was. */
export function stateOf({ header }: ParsedBatch): Bytes {
  return new Uint8Array(10).fill(header.index);
}
