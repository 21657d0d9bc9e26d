/**
 * The world state's trie (Yellow Paper 4.1) kept in step with the tables. Writes only mark accounts and slots; `root`
 * reads the marked ones from the given version and hashes what they changed. Marking too much is harmless, so rollbacks
 * and repeated keys need no care. The account trie and the storage root of every account stay in memory; storage tries
 * are kept for the accounts used last and rebuilt from the tables for others.
 *
 * Building all from the tables takes long (some 20 us per account or slot), so it can be done in steps beside other work.
 */
import { type Bytes, EMPTY, fromHex, toHex } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { StateReader, WrittenKey } from "../adapter.ts";
import { KECCAK_EMPTY, keccak256 } from "./keccak.ts";
import { decodeAccount } from "./records.ts";
import { bytesOfBigint, bytesOfNumber, rlpEncode } from "./rlp.ts";
import { EMPTY_TRIE_ROOT, Trie } from "./trie.ts";
import { TABLES } from "./types.ts";

/** Most storage tries kept in memory. */
export const STORAGE_TRIES_MAX = 1024;

/** Most entries of the storage tries kept in memory, together; a single larger trie is still kept while it is in use. */
export const STORAGE_TRIE_ENTRIES_MAX = 1_000_000;

/** Most keys noted between two roots; beyond it the tries are dropped and built from the tables when next asked for. */
export const DIRTY_KEYS_MAX = 4_000_000;

/** Entries that one step of a build takes in. */
export const ENTRIES_PER_STEP = 128;

const ADDRESS_BYTES = 20;
const SLOT_KEY_BYTES = 52;

/** Hex of an address or slot: a key of maps and sets. */
type HexKey = string;

/** The first key after all keys that start with `prefix`; undefined when there is none. */
function afterPrefix(prefix: Bytes): Bytes | undefined {
  const next = prefix.slice();
  for (let at = next.length - 1; at >= 0; at--) {
    if (next[at] !== 0xff) {
      next[at] = (next[at] as number) + 1;
      return next.subarray(0, at + 1);
    }
  }
  return undefined;
}

function setSlot(trie: Trie, slot: Bytes, value: Bytes | undefined): void {
  if (value === undefined || value.length === 0) trie.delete(keccak256(slot));
  else trie.set(keccak256(slot), rlpEncode(value));
}

/** Bounds of what is kept in memory; tests lower them. */
export interface StateTrieLimits {
  readonly storageTries: number;
  readonly storageTrieEntries: number;
  readonly dirtyKeys: number;
}

const LIMITS: StateTrieLimits = {
  storageTries: STORAGE_TRIES_MAX,
  storageTrieEntries: STORAGE_TRIE_ENTRIES_MAX,
  dirtyKeys: DIRTY_KEYS_MAX,
};

/** Computes state roots of successive versions of the tables. */
export class StateTrie {
  readonly #limits: StateTrieLimits;
  #accounts: Trie | undefined = undefined;
  /** A build that is not finished; it reads a version that what is marked came after. */
  #building: Iterator<void> | undefined = undefined;
  /** Storage roots of accounts that have storage. */
  readonly #storageRoots = new Map<HexKey, Bytes>();
  /** Least recently used first. */
  readonly #storageTries = new Map<HexKey, Trie>();
  #storageEntries = 0;
  readonly #dirtyAccounts = new Set<HexKey>();
  readonly #dirtySlots = new Map<HexKey, Set<HexKey>>();
  #dirtySlotCount = 0;

  /** `limits` are lowered by tests only. */
  constructor(limits: StateTrieLimits = LIMITS) {
    this.#limits = limits;
  }

  /** Storage tries in memory now. */
  get storageTriesHeld(): number {
    return this.#storageTries.size;
  }

  /** Notes keys whose value may have changed since the last {@link StateTrie.root}; keys of other tables are ignored. */
  markDirty(written: readonly WrittenKey[]): void {
    if (this.#accounts === undefined && this.#building === undefined) return; // the first root reads everything
    for (const { table, key } of written) {
      if (table === TABLES.accounts) this.#dirtyAccounts.add(toHex(key));
      else if (table === TABLES.storage) this.#markSlot(key);
    }
    if (this.#dirtyAccounts.size + this.#dirtySlotCount > this.#limits.dirtyKeys) this.clear();
  }

  /** Drops everything; the next root is built from the tables. */
  clear(): void {
    this.#accounts = undefined;
    this.#building = undefined;
    this.#storageRoots.clear();
    this.#storageTries.clear();
    this.#storageEntries = 0;
    this.#clearDirty();
  }

  #clearDirty(): void {
    this.#dirtyAccounts.clear();
    this.#dirtySlots.clear();
    this.#dirtySlotCount = 0;
  }

  #markSlot(key: Bytes): void {
    invariant(key.length === SLOT_KEY_BYTES, "key of the storage table has another length than address and slot");
    const address = toHex(key.subarray(0, ADDRESS_BYTES));
    const slots = this.#dirtySlots.get(address) ?? new Set();
    const sizeBefore = slots.size;
    slots.add(toHex(key.subarray(ADDRESS_BYTES)));
    this.#dirtySlotCount += slots.size - sizeBefore;
    this.#dirtySlots.set(address, slots);
  }

  /** The state root (32 bytes) of `state`, which must differ from the last version asked for in marked keys only. */
  root(state: StateReader): Bytes {
    const accounts = this.#accounts ?? this.#finish(state);
    for (const [address, slots] of this.#dirtySlots) {
      this.#updateStorage(state, address, slots);
      this.#dirtyAccounts.add(address);
    }
    for (const address of this.#dirtyAccounts) {
      const key = fromHex(address);
      this.#setAccount(accounts, key, state.get(TABLES.accounts, key));
    }
    this.#clearDirty();
    return accounts.root();
  }

  /** Whether a build in steps is under way. */
  get isBuilding(): boolean {
    return this.#building !== undefined;
  }

  /**
   * Starts anew from a version of the tables, in steps of a few milliseconds between which others have their turn. Keys
   * written after that version have to be marked. A root that is asked for meanwhile does the rest at once.
   */
  async build(state: StateReader, nextTurn: () => Promise<void>): Promise<void> {
    this.clear();
    const building = this.#buildSteps(state);
    this.#building = building;
    while (this.#building === building && building.next().done !== true) await nextTurn();
  }

  /** Does what is left of a build, or all of it. */
  #finish(state: StateReader): Trie {
    const building = this.#building ?? this.#buildSteps(state);
    while (building.next().done !== true);
    invariant(this.#accounts !== undefined, "a build ends with a trie");
    return this.#accounts;
  }

  #setAccount(accounts: Trie, address: Bytes, record: Bytes | undefined): void {
    if (record === undefined) return accounts.delete(keccak256(address));
    const { nonce, balance, codeHash } = decodeAccount(record);
    const storageRoot = this.#storageRoots.get(toHex(address)) ?? EMPTY_TRIE_ROOT;
    const value = rlpEncode([bytesOfNumber(nonce), bytesOfBigint(balance), storageRoot, codeHash ?? KECCAK_EMPTY]);
    accounts.set(keccak256(address), value);
  }

  /** Reads all of both tables; storage is ordered by address, so one storage trie is built after the other. */
  *#buildSteps(state: StateReader): Generator<void, void, undefined> {
    let address: Bytes = EMPTY;
    let trie = new Trie();
    let entries = 0;
    for (const [key, value] of state.scan(TABLES.storage)) {
      invariant(key.length === SLOT_KEY_BYTES, "key of the storage table has another length than address and slot");
      if (address.length === 0 || !startsWith(key, address)) {
        yield* this.#finishStorage(address, trie);
        address = key.slice(0, ADDRESS_BYTES);
        trie = new Trie();
      }
      setSlot(trie, key.subarray(ADDRESS_BYTES), value);
      if (++entries % ENTRIES_PER_STEP === 0) yield;
    }
    yield* this.#finishStorage(address, trie);
    const accounts = new Trie();
    for (const [key, record] of state.scan(TABLES.accounts)) {
      this.#setAccount(accounts, key, record);
      if (++entries % ENTRIES_PER_STEP === 0) yield;
    }
    yield* accounts.hashSteps();
    this.#accounts = accounts;
    this.#building = undefined;
  }

  *#finishStorage(address: Bytes, trie: Trie): Generator<void, void, undefined> {
    if (address.length === 0) return;
    if (trie.size > ENTRIES_PER_STEP) yield* trie.hashSteps();
    this.#keepStorage(toHex(address), trie);
  }

  #updateStorage(state: StateReader, address: HexKey, slots: ReadonlySet<HexKey>): void {
    const held = this.#take(address);
    const trie = held ?? (this.#storageRoots.has(address) ? rebuildStorage(state, fromHex(address)) : new Trie());
    for (const slot of slots) {
      const slotBytes = fromHex(slot);
      setSlot(trie, slotBytes, state.get(TABLES.storage, fromHex(address + slot)));
    }
    this.#keepStorage(address, trie);
  }

  /** Removes a storage trie from the cache to change it. */
  #take(address: HexKey): Trie | undefined {
    const trie = this.#storageTries.get(address);
    if (trie === undefined) return undefined;
    this.#storageTries.delete(address);
    this.#storageEntries -= trie.size;
    return trie;
  }

  /** Notes the root of a changed storage trie and keeps the trie, dropping those used longest ago. */
  #keepStorage(address: HexKey, trie: Trie): void {
    if (trie.size === 0) {
      this.#storageRoots.delete(address);
      return;
    }
    this.#storageRoots.set(address, trie.root());
    this.#storageTries.set(address, trie);
    this.#storageEntries += trie.size;
    for (const oldest of this.#storageTries.keys()) {
      const overfull =
        this.#storageTries.size > this.#limits.storageTries || this.#storageEntries > this.#limits.storageTrieEntries;
      if (!overfull || oldest === address) return;
      this.#take(oldest);
    }
  }
}

function startsWith(key: Bytes, prefix: Bytes): boolean {
  for (let at = 0; at < prefix.length; at++) if (key[at] !== prefix[at]) return false;
  return true;
}

function rebuildStorage(state: StateReader, address: Bytes): Trie {
  const trie = new Trie();
  for (const [key, value] of state.scan(TABLES.storage, address, afterPrefix(address))) {
    setSlot(trie, key.subarray(ADDRESS_BYTES), value);
  }
  return trie;
}
