import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMPT } from "@ethereumjs/mpt";
import fc from "fast-check";
import { type Bytes, compareBytes, concatBytes, fromHex, toHex } from "../../core/codec/bytes.ts";
import type { StateReader, WrittenKey } from "../adapter.ts";
import { KECCAK_EMPTY } from "./keccak.ts";
import { decodeAccount, encodeAccount } from "./records.ts";
import { bytesOfBigint, bytesOfNumber, rlpEncode } from "./rlp.ts";
import { ENTRIES_PER_STEP, StateTrie } from "./state-trie.ts";
import { EMPTY_TRIE_ROOT } from "./trie.ts";
import { TABLES } from "./types.ts";

/** Tables in memory that note what is written and how many storage entries are scanned. */
class MemoryState implements StateReader {
  readonly version = 1;
  scanned = 0;
  written: WrittenKey[] = [];
  readonly #entries = new Map<string, Bytes>();

  get(table: number, key: Bytes): Bytes | undefined {
    return this.#entries.get(`${table}:${toHex(key)}`);
  }

  versionOf(table: number, key: Bytes): number | undefined {
    return this.get(table, key) && this.version;
  }

  *scan(table: number, from?: Bytes, to?: Bytes): IterableIterator<readonly [Bytes, Bytes]> {
    const prefix = `${table}:`;
    const keys = [...this.#entries.keys()]
      .filter((key) => key.startsWith(prefix))
      .map((key) => fromHex(key.slice(prefix.length)));
    for (const key of keys.sort(compareBytes)) {
      if ((from !== undefined && compareBytes(key, from) < 0) || (to !== undefined && compareBytes(key, to) >= 0))
        continue;
      if (table === TABLES.storage) this.scanned++;
      yield [key, this.get(table, key) as Bytes];
    }
  }

  put(table: number, key: Bytes, value: Bytes | undefined): void {
    this.written.push({ table, key });
    if (value === undefined) this.#entries.delete(`${table}:${toHex(key)}`);
    else this.#entries.set(`${table}:${toHex(key)}`, value);
  }

  /** The entries as they are now. */
  copy(): MemoryState {
    const copy = new MemoryState();
    for (const [key, value] of this.#entries) copy.#entries.set(key, value);
    return copy;
  }

  /** What was written since the last call. */
  takeWritten(): WrittenKey[] {
    const written = this.written;
    this.written = [];
    return written;
  }
}

/** Account `seed`; 255 is the last address there is. */
function addressOf(seed: number): Bytes {
  return new Uint8Array(20).fill(seed);
}

function slotOf(seed: number): Bytes {
  return new Uint8Array(32).fill(seed, 31);
}

function account(nonce: number, codeHash?: Bytes): Bytes {
  return encodeAccount({ nonce, balance: BigInt(nonce) * 10n ** 18n, codeHash });
}

/** The state root by the independent implementation, from scratch. */
async function oracleRoot(state: StateReader): Promise<string> {
  const accounts = await createMPT({ useKeyHashing: true });
  for (const [address, record] of state.scan(TABLES.accounts)) {
    const storage = await createMPT({ useKeyHashing: true });
    for (const [key, value] of state.scan(TABLES.storage)) {
      if (toHex(key).startsWith(toHex(address))) await storage.put(key.subarray(20), rlpEncode(value));
    }
    const { nonce, balance, codeHash } = decodeAccount(record);
    const fields = [bytesOfNumber(nonce), bytesOfBigint(balance), storage.root(), codeHash ?? KECCAK_EMPTY];
    await accounts.put(address, rlpEncode(fields));
  }
  return toHex(accounts.root());
}

const SEEDS = [1, 2, 3, 254, 255];
const change = fc.oneof(
  fc.record({ kind: fc.constant("account"), seed: fc.constantFrom(...SEEDS), value: fc.nat(3), slot: fc.constant(0) }),
  fc.record({ kind: fc.constant("storage"), seed: fc.constantFrom(...SEEDS), value: fc.nat(3), slot: fc.nat(4) }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function apply(state: MemoryState, { kind, seed, value, slot }: Change): void {
  if (kind === "account") state.put(TABLES.accounts, addressOf(seed), value === 0 ? undefined : account(value));
  else
    state.put(
      TABLES.storage,
      concatBytes(addressOf(seed), slotOf(slot)),
      value === 0 ? undefined : Uint8Array.of(value),
    );
}

const SMALL = { storageTries: 2, storageTrieEntries: 6, dirtyKeys: 8 };

describe("state trie", () => {
  test("of an empty state has the empty root", () => {
    assert.deepEqual(new StateTrie().root(new MemoryState()), EMPTY_TRIE_ROOT);
  });

  test("agrees with the independent implementation after every batch, whatever is kept in memory", async () => {
    const batches = fc.array(fc.array(change, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(batches, fc.constantFrom(SMALL, undefined), async (changes, limits) => {
        const state = new MemoryState();
        const trie = new StateTrie(limits);
        for (const batch of changes) {
          for (const one of batch) apply(state, one);
          trie.markDirty(state.takeWritten());
          const root = toHex(trie.root(state));
          assert.equal(root, await oracleRoot(state));
          assert.equal(toHex(new StateTrie(limits).root(state)), root, "built from the tables");
        }
      }),
      { numRuns: 40 },
    );
  });

  test("comes back to the earlier root when the marked keys are rolled back", () => {
    const state = new MemoryState();
    for (const seed of SEEDS) apply(state, { kind: "account", seed, value: 1, slot: 0 });
    apply(state, { kind: "storage", seed: 1, value: 1, slot: 1 });
    const trie = new StateTrie();
    const before = trie.root(state);
    state.takeWritten();
    for (const value of [2, 1]) {
      apply(state, { kind: "storage", seed: 1, value, slot: 1 });
      apply(state, { kind: "account", seed: 2, value, slot: 0 });
      trie.markDirty(state.takeWritten());
      assert.equal(toHex(trie.root(state)) === toHex(before), value === 1);
    }
  });

  test("does not read storage again when a balance changes, nor other accounts' storage when a slot does", () => {
    const state = new MemoryState();
    for (const seed of SEEDS) {
      apply(state, { kind: "account", seed, value: 1, slot: 0 });
      for (const slot of [1, 2, 3]) apply(state, { kind: "storage", seed, value: 1, slot });
    }
    const trie = new StateTrie(SMALL);
    trie.root(state);
    state.takeWritten();
    state.scanned = 0;
    apply(state, { kind: "account", seed: 1, value: 2, slot: 0 });
    trie.markDirty(state.takeWritten());
    trie.root(state);
    assert.equal(state.scanned, 0);
    apply(state, { kind: "storage", seed: 1, value: 2, slot: 1 });
    trie.markDirty(state.takeWritten());
    trie.root(state);
    assert.equal(state.scanned, 3, "the trie of the account was dropped and is rebuilt from its three slots");
    assert.ok(trie.storageTriesHeld <= SMALL.storageTries);
  });

  test("hashes code and storage into the account", () => {
    const state = new MemoryState();
    const root = (): string => toHex(new StateTrie().root(state));
    state.put(TABLES.accounts, addressOf(1), account(1));
    const plain = root();
    state.put(TABLES.accounts, addressOf(1), account(1, KECCAK_EMPTY));
    assert.equal(root(), plain, "the hash of no code is written for accounts without code");
    state.put(TABLES.accounts, addressOf(1), account(1, new Uint8Array(32)));
    const withCode = root();
    state.put(TABLES.storage, concatBytes(addressOf(1), slotOf(1)), Uint8Array.of(1));
    assert.equal(new Set([plain, withCode, root()]).size, 3);
  });

  test("ignores other tables and refuses storage keys of another length", () => {
    const trie = new StateTrie();
    const root = trie.root(new MemoryState());
    trie.markDirty([{ table: TABLES.code, key: new Uint8Array(32) }]);
    assert.deepEqual(trie.root(new MemoryState()), root);
    assert.throws(() => trie.markDirty([{ table: TABLES.storage, key: new Uint8Array(51) }]), { code: "Internal" });
  });

  test("is the same when it is built in steps, while keys are written and whenever a root is asked for", async () => {
    for (const turnsToRoot of [0, 3, 10_000]) {
      const state = new MemoryState();
      const write = (seed: number, nonce: number) => {
        const hash = fromHex(toHex(Uint8Array.of(seed >> 8, seed & 255)).repeat(10));
        state.put(TABLES.accounts, hash, account(nonce));
        if (seed % 3 === 0)
          for (let slot = 1; slot < 5; slot++)
            state.put(TABLES.storage, concatBytes(hash, slotOf(slot)), bytesOfNumber(nonce));
      };
      for (let seed = 1; seed < 3 * ENTRIES_PER_STEP; seed++) write(seed, 1);
      const before = state.copy();
      const trie = new StateTrie();
      let turns = 0;
      await trie.build(before, () => {
        assert.equal(trie.isBuilding, true);
        if (turns === turnsToRoot) assert.equal(toHex(trie.root(state)), toHex(new StateTrie().root(state)));
        state.takeWritten();
        write(turns++, 2);
        trie.markDirty(state.takeWritten());
        return Promise.resolve();
      });
      assert.ok(turns > Math.min(turnsToRoot, 8));
      assert.equal(trie.isBuilding, false);
      assert.equal(toHex(trie.root(state)), toHex(new StateTrie().root(state)));
    }
  });
});
