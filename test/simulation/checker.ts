/**
 * What must hold in every run, checked while it goes on. The checker sees every step of every node's consensus core, keeps
 * the one committed ledger, opens it with the epoch key and replays it into a state of its own.
 *
 * At most one leader per term; committed entries are the same bytes on every node, in order, on the disks of a quorum, and
 * never change, whatever crashes; their Merkle roots and signatures hold; each transaction id is included once; every
 * version of every node's state is the replayed one; what a client was told is in the ledger is there.
 */
import type { StateReader } from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { ByteWriter, bytesEqual, EMPTY, toHex, utf8Decode } from "../../src/core/codec/bytes.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { VersionedStore } from "../../src/core/kv/store.ts";
import type { WrittenKey } from "../../src/core/kv/types.ts";
import { unsealBatch, verifyBatch } from "../../src/core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../src/core/ledger/batch-format.ts";
import { LedgerKeys } from "../../src/core/ledger/keys.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { Administration } from "../../src/enclave/manager/administration.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { CommittedBatch } from "../../src/adapters/adapter.ts";
import type { Founded } from "./founding.ts";
import { KV_TABLES, transactionCount } from "./kv-adapter.ts";
import { SIMULATED_GOVERNANCE_CRYPTO } from "./simulated-crypto.ts";

/** Every how many versions the whole state is compared, not only what the version wrote. */
const WHOLE_STATE_EVERY = 32;

interface Version {
  readonly place: CommittedBatch;
  readonly written: readonly WrittenKey[];
  readonly digest: string;
}

/** Digest of the whole state of a version, with the versions that wrote its keys. */
export function stateDigest(state: StateReader, sha256: (data: Bytes) => Bytes): string {
  const writer = new ByteWriter();
  for (const table of Object.values(KV_TABLES)) {
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

/** See the module's header. */
export class Checker {
  readonly #founded: Founded;
  readonly #crypto: Crypto;
  readonly #disks: () => readonly (readonly LogEntry[])[];
  readonly #leaders = new Map<number, NodeId>();
  readonly #committed: LogEntry[] = [];
  readonly #tail: LedgerTail;
  readonly #administration: Administration;
  readonly #epochKeys = new Map<number, Bytes>();
  readonly #keys: LedgerKeys;
  readonly #store: VersionedStore;
  readonly #versions = new Map<number, Version>();
  /** Request ids of the ledger and the index of their batch. */
  readonly #ids = new Map<string, number>();

  /** @param disks the durable entries of every node */
  constructor(founded: Founded, crypto: Crypto, disks: () => readonly (readonly LogEntry[])[]) {
    this.#founded = founded;
    this.#crypto = crypto;
    this.#disks = disks;
    this.#tail = new LedgerTail(crypto.sha256);
    this.#administration = new Administration(founded.constitution, founded.networkId, SIMULATED_GOVERNANCE_CRYPTO);
    this.#keys = new LedgerKeys(crypto, (epoch) => this.#epochKeys.get(epoch));
    const tables = [
      { id: KV_TABLES.values, name: "values" },
      { id: KV_TABLES.counters, name: "public:counters" },
    ];
    this.#store = new VersionedStore({ tables, keptVersions: 1_000_000 });
  }

  /** Index of the newest entry any node committed. */
  get committedIndex(): number {
    return this.#committed.length;
  }

  /** Merkle root over the committed ledger. */
  get root(): Bytes {
    return this.#tail.root();
  }

  /** Transactions in the committed ledger. */
  get includedCount(): number {
    return this.#ids.size;
  }

  /** Whether the committed ledger includes a transaction. */
  includes(id: string): boolean {
    return this.#ids.has(id);
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
        known.term === entry.term && bytesEqual(known.data, entry.data),
        `${node} committed another entry ${entry.index} than the network`,
      );
      return;
    }
    invariant(entry.index === this.#committed.length + 1, `entry ${entry.index} committed before its predecessor`);
    const disks = this.#disks();
    const holders = disks.filter((disk) => {
      const durable = disk[entry.index - 1];
      return durable !== undefined && durable.term === entry.term && bytesEqual(durable.data, entry.data);
    });
    const count = holders.length;
    invariant(count * 2 > disks.length, `entry ${entry.index} is committed on ${count} of ${disks.length} disks`);
    this.#committed.push(entry);
    this.#replay(parseBatch(entry.data));
  }

  #replay(batch: ParsedBatch): void {
    const { header } = batch;
    this.#administration.append(batch);
    this.#administration.commit(header.index);
    for (const record of this.#administration.committed?.epochs ?? []) {
      const nodeId = this.#founded.constitution.nodes[0]?.nodeId ?? "";
      this.#epochKeys.set(record.epoch, this.#founded.openEpoch(record, nodeId));
    }
    verifyBatch(batch, this.#tail, (nodeId) => this.#administration.publicKeyOf(nodeId), this.#crypto);
    if (header.kind !== "application") return;
    const opened = unsealBatch(batch, this.#keys, this.#crypto);
    for (const { id } of opened) if (id.length > 0) this.#include(utf8Decode(id), header.index);
    const parts = opened.flatMap(({ privatePart }, at) => [batch.transactions[at]?.publicPart ?? EMPTY, privatePart]);
    const { version, written } = this.#store.apply(parts);
    this.#store.commit(version);
    const reader = this.#reader(version);
    invariant(transactionCount(reader) === this.#ids.size, "the counter counts the included transactions");
    const { view, firstSeqno, count } = header;
    const digest = version % WHOLE_STATE_EVERY === 0 ? stateDigest(reader, this.#crypto.sha256) : "";
    this.#versions.set(version, { place: { version, view, firstSeqno, count }, written, digest });
  }

  #reader(version: number): StateReader {
    const reader = this.#store.reader(version);
    invariant(reader, `version ${version} is kept`);
    return reader;
  }

  #include(id: string, index: number): void {
    const before = this.#ids.get(id);
    invariant(before === undefined, `transaction ${id} is included in the batches ${before} and ${index}`);
    this.#ids.set(id, index);
  }

  /** A worker was told that a version is committed. */
  commitsVersion(node: NodeId, state: StateReader, place: CommittedBatch): void {
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
      invariant(equal, `${node} has another value of ${utf8Decode(key)} in version ${place.version}`);
    }
    if (known.digest !== "") {
      invariant(
        stateDigest(state, this.#crypto.sha256) === known.digest,
        `${node} has another state in version ${place.version}`,
      );
    }
  }

  /** The state a node ends with is the whole ledger's. */
  endsWith(node: NodeId, state: StateReader): void {
    const version = this.#store.headVersion;
    invariant(state.version === version, `${node} ends with version ${state.version} instead of ${version}`);
    const { sha256 } = this.#crypto;
    invariant(
      stateDigest(state, sha256) === stateDigest(this.#reader(version), sha256),
      `${node} ends with another state`,
    );
  }
}
