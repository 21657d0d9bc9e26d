/**
 * What must hold in every run, checked while it goes on. The checker sees every step of every node's consensus core, keeps
 * the one committed ledger, opens it with the epoch key and replays it into a state of its own.
 *
 * At most one leader per term; committed entries are the same bytes on every node, in order, and
 * never change, whatever crashes; their Merkle roots and signatures hold; each transaction id is included once; every
 * version of every node's state is the replayed one; what a client was told is in the ledger is there.
 */
import type { CommittedBatch, StateReader, TableDefinition } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { ByteWriter, bytesEqual, toHex } from "../../src/core/codec/bytes.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { VersionedStore } from "../../src/core/kv/store.ts";
import type { WrittenKey } from "../../src/core/kv/types.ts";
import { unsealBatch, verifyBatch } from "../../src/core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../src/core/ledger/batch-format.ts";
import { LedgerKeys } from "../../src/core/ledger/keys.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { nodeToRemove } from "../../src/core/governance/removal-proposals.ts";
import { RightsInForce } from "../../src/core/governance/rights.ts";
import { Administration } from "../../src/enclave/manager/administration.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { Founded } from "./founding.ts";
import type { ReplayedVersion, SimulatedProtocol } from "./protocol.ts";
import { OtherAdapters } from "./other-adapters.ts";
import { ReadChecker } from "./read-checker.ts";

/** Every how many versions the whole state is compared, not only what the version wrote. */
const WHOLE_STATE_EVERY = 32;

interface Version {
  readonly place: CommittedBatch;
  readonly written: readonly WrittenKey[];
  readonly digest: string;
}

/** Digest of the whole state of a version, with the versions that wrote its keys. */
function stateDigest(state: StateReader, tables: readonly TableDefinition[], sha256: (data: Bytes) => Bytes): string {
  const writer = new ByteWriter();
  for (const { id: table } of tables) {
    for (const [key, value] of state.scan(table)) {
      writer
        .u16(table)
        .bytes16(key)
        .bytes32(value)
        .u64(state.versionOf(table, key) ?? 0);
    }
  }
  return toHex(sha256(writer.finish()));
}

/** The durable entries of a node, as far as they are whole. */
export interface DurableEntries {
  /** Index the log begins with. */
  readonly firstIndex: number;
  entry(index: number): LogEntry | undefined;
}

/** The first sequence number of a committed batch and its view. */
interface Place {
  readonly firstSeqno: number;
  readonly view: number;
}

/** A worker of a node. */
export interface WorkerPlace {
  readonly node: NodeId;
  readonly adapterId: number;
}

/** See the module's header. */
export class Checker {
  readonly #founded: Founded;
  readonly #crypto: Crypto;
  readonly #leaders = new Map<number, NodeId>();
  readonly #committed: LogEntry[] = [];
  readonly #tail: LedgerTail;
  readonly #administration: Administration;
  readonly #rights = new RightsInForce(() => this.#administration.constitution);
  readonly #epochKeys = new Map<number, Bytes>();
  readonly #keys: LedgerKeys;
  readonly #store: VersionedStore;
  readonly #versions = new Map<number, Version>();
  /** Digests of replayed versions, which do not change. */
  readonly #digests = new WeakMap<StateReader, string>();
  /** Request ids of the ledger and the version they are in. */
  readonly #ids = new Map<string, number>();
  readonly #places: Place[] = [];
  readonly #protocol: SimulatedProtocol;
  readonly #checkVersion: (version: ReplayedVersion) => void;
  readonly reads = new ReadChecker();
  readonly others: OtherAdapters;
  /** States that came from snapshots. */
  restored = 0;

  constructor(founded: Founded, crypto: Crypto, protocol: SimulatedProtocol) {
    this.#founded = founded;
    this.#protocol = protocol;
    this.others = new OtherAdapters(protocol.tables, (state) => this.#digest(state));
    this.#checkVersion = protocol.createReplayCheck(this.reads);
    this.#crypto = crypto;
    this.#tail = new LedgerTail(crypto.sha256);
    this.#administration = new Administration(founded.constitution, founded.networkId, founded.governanceCrypto);
    this.#keys = new LedgerKeys(crypto, (epoch) => this.#epochKeys.get(epoch));
    this.#store = new VersionedStore({ tables: protocol.tables, keptVersions: 1_000_000 });
  }

  /** Governance as the committed ledger has it; undefined before genesis. */
  get governance(): GovernanceState | undefined {
    return this.#administration.committed;
  }

  /** Index of the newest entry any node committed. */
  get committedIndex(): number {
    return this.#committed.length;
  }

  /** Term of the newest entry any node committed. */
  get committedTerm(): number {
    return this.#committed.at(-1)?.term ?? 0;
  }

  /** View of a committed sequence number; undefined while it is not committed. */
  committedView(seqno: number): number | undefined {
    if (seqno < 1 || seqno > this.#tail.lastSeqno) return undefined;
    let low = 0;
    let high = this.#places.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#places[middle]?.firstSeqno ?? 0) <= seqno) low = middle;
      else high = middle - 1;
    }
    return this.#places[low]?.view;
  }

  /** Merkle root over the committed ledger. */
  get root(): Bytes {
    return this.#tail.root();
  }

  /** Transactions in the committed ledger. */
  get includedCount(): number {
    return this.#ids.size;
  }

  /** Version that includes a transaction; undefined when the committed ledger does not. */
  versionOf(id: string): number | undefined {
    return this.#ids.get(id);
  }

  /** A node leads in a term. */
  leads(node: NodeId, term: number): void {
    const other = this.#leaders.get(term);
    invariant(other === undefined || other === node, `term ${term} has the leaders ${other} and ${node}`);
    this.#leaders.set(term, node);
  }

  /** A node hands out a committed entry; `before` is the index it handed out before. */
  commits(node: NodeId, entry: LogEntry, before: number): void {
    invariant(entry.index === before + 1, `${node} hands out entry ${entry.index} after ${before}`);
    const known = this.#committed[entry.index - 1];
    if (known !== undefined) {
      invariant(
        known.term === entry.term && (known.data === entry.data || bytesEqual(known.data, entry.data)),
        `${node} committed another entry ${entry.index} than the network`,
      );
      return;
    }
    invariant(entry.index === this.#committed.length + 1, `entry ${entry.index} committed before its predecessor`);
    this.#committed.push(entry);
    this.#replay(parseBatch(entry.data));
  }

  #replay(batch: ParsedBatch): void {
    const { header } = batch;
    const before = this.#administration.committed;
    this.#administration.append(batch);
    this.#administration.commit(header.index);
    if (header.kind === "administrative") this.#checkLeases(before);
    for (const record of this.#administration.committed?.epochs ?? []) {
      if (this.#epochKeys.has(record.epoch)) continue;
      const key = this.#founded.openEpoch(record, record.wraps[0]?.nodeId ?? "");
      invariant(key, "an epoch is wrapped to somebody");
      this.#epochKeys.set(record.epoch, key);
    }
    verifyBatch(batch, this.#tail, (nodeId) => this.#administration.publicKeyOf(nodeId), this.#crypto);
    this.#places.push({ firstSeqno: header.firstSeqno, view: header.view });
    if (header.kind !== "application") return;
    const opened = unsealBatch(batch, this.#keys, this.#crypto);
    if (header.adapterId !== this.#protocol.adapter.id) {
      this.others.replay(header.adapterId, opened.parts);
      return;
    }
    const next = this.#store.headVersion + 1;
    const included = opened.ids().flatMap((id) => (id.length > 0 ? [this.#protocol.idOf(id)] : []));
    for (const id of included) this.#include(id, next);
    this.#checkRights(included);
    const added = this.#store.apply(opened.parts);
    const { version } = added;
    const written = [...added.written];
    this.#store.commit(version);
    const reader = this.#reader(version);
    this.#checkVersion({ state: reader, written, included, total: this.#ids.size });
    this.reads.committed(version);
    const { view, firstSeqno, count } = header;
    const digest = version % WHOLE_STATE_EVERY === 0 ? this.#digest(reader) : "";
    this.#versions.set(version, { place: { version, view, firstSeqno, count }, written, digest });
  }

  /** Whoever is quarantined has no key of an epoch that was opened since, and with its quarantine came a proposal to remove it. */
  #checkLeases(before: GovernanceState | undefined): void {
    const after = this.#administration.committed;
    if (before === undefined || after === undefined) return;
    const opened = after.epochs.slice(before.epochs.length).flatMap(({ wraps }) => wraps);
    const removals = after.proposals.slice(before.proposals.length).map(nodeToRemove);
    for (const [nodeId, { quarantinedAtMs }] of after.leases) {
      if (quarantinedAtMs === undefined) continue;
      invariant(
        opened.every((wrap) => wrap.nodeId !== nodeId),
        `${nodeId} is quarantined and gets a key`,
      );
      const isNew = before.leases.get(nodeId)?.quarantinedAtMs === undefined;
      invariant(!isNew || removals.includes(nodeId), `${nodeId} is quarantined and nobody is asked to remove it`);
    }
  }

  /** Nothing is in the ledger whose sender had no right to transact at that place. */
  #checkRights(included: readonly string[]): void {
    const { now } = this.#rights;
    for (const id of included) {
      const sender = this.#protocol.senderOf(id);
      const refusal = now.transactionRefusal(sender);
      invariant(refusal === undefined, `transaction ${id} of ${sender} is in the ledger behind ${refusal}`);
    }
  }

  #reader(version: number): StateReader {
    const reader = this.#store.reader(version);
    invariant(reader, `version ${version} is kept`);
    return reader;
  }

  #include(id: string, version: number): void {
    const before = this.#ids.get(id);
    invariant(before === undefined, `transaction ${id} is included in the versions ${before} and ${version}`);
    this.#ids.set(id, version);
  }

  #digest(state: StateReader): string {
    return stateDigest(state, this.#protocol.tables, this.#crypto.sha256);
  }

  /** Digest of a version as the ledger has it: found once for all nodes. */
  #replayedDigest(version: number): string {
    const reader = this.#reader(version);
    const digest = this.#digests.get(reader) ?? this.#digest(reader);
    this.#digests.set(reader, digest);
    return digest;
  }

  /** Every disk ends with the committed ledger, byte for byte. */
  endsOnDisk(node: NodeId, disk: DurableEntries): void {
    for (const entry of this.#committed.slice(disk.firstIndex - 1)) {
      const durable = disk.entry(entry.index);
      const same =
        durable?.term === entry.term && (durable.data === entry.data || bytesEqual(durable.data, entry.data));
      invariant(same, `${node} ends with another entry ${entry.index} on its disk`);
    }
  }

  /** A worker was told that a version is committed. */
  commitsVersion({ node, adapterId }: WorkerPlace, state: StateReader, place: CommittedBatch): void {
    if (adapterId !== this.#protocol.adapter.id) {
      this.others.check(adapterId, node, state);
      return;
    }
    const known = this.#versions.get(place.version);
    invariant(known, `${node} commits version ${place.version}, which the ledger does not have`);
    const same =
      known.place.view === place.view &&
      known.place.firstSeqno === place.firstSeqno &&
      known.place.count === place.count;
    invariant(same, `${node} takes version ${place.version} for another batch`);
    const expected = this.#reader(place.version);
    for (const { table, key } of known.written) {
      const value = state.get(table, key);
      const other = expected.get(table, key);
      const equal = value === undefined || other === undefined ? value === other : bytesEqual(value, other);
      invariant(equal, `${node} has another value of ${toHex(key)} in version ${place.version}`);
    }
    if (known.digest !== "") {
      invariant(this.#digest(state) === known.digest, `${node} has another state in version ${place.version}`);
    }
  }

  /** A worker's state was replaced by a snapshot's. */
  restores({ node, adapterId }: WorkerPlace, state: StateReader): void {
    if (adapterId !== this.#protocol.adapter.id) {
      this.others.check(adapterId, node, state);
      return;
    }
    const same = this.#digest(state) === this.#replayedDigest(state.version);
    invariant(same, `${node} takes another state for version ${state.version} from a snapshot`);
    this.restored++;
  }

  /** The state a node ends with is the whole ledger's. */
  endsWith(node: NodeId, state: StateReader): void {
    const version = this.#store.headVersion;
    invariant(state.version === version, `${node} ends with version ${state.version} instead of ${version}`);
    invariant(this.#digest(state) === this.#replayedDigest(version), `${node} ends with another state`);
  }
}
