/**
 * The state one transaction (or one simulation) works on: accounts, code and storage as a write overlay over a
 * {@link StateReader}, with an undo log so that a failing call takes its writes back. Synchronous and free of any EVM.
 * "Original" values of storage are those at the last {@link EvmState.startTransaction} (EIP-2200 needs them).
 */
import { type Bytes, bytesEqual, concatBytes, EMPTY, fromHex, toHex } from "../../core/codec/bytes.ts";
import type { StateReader, StateWriter, WrittenKey } from "../adapter.ts";
import { keccak256 } from "./keccak.ts";
import { decodeAccount, encodeAccount } from "./records.ts";
import { type Account, TABLES } from "./types.ts";

/** The account every address has before anything is known about it. */
export const EMPTY_ACCOUNT: Account = { nonce: 0, balance: 0n, codeHash: undefined };

/** Whether EIP-161 calls the account empty: no nonce, no balance, no code. */
export function isEmptyAccount(account: Account): boolean {
  return account.nonce === 0 && account.balance === 0n && account.codeHash === undefined;
}

/** First key after all keys that start with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Bytes): Bytes | undefined {
  const end = prefix.slice();
  for (let at = end.length - 1; at >= 0; at--) {
    if (end[at] !== 0xff) {
      end[at] = (end[at] as number) + 1;
      return end.subarray(0, at + 1);
    }
  }
  return undefined;
}

/** The account without views on the record: the record's page may change under them when this transaction is written. */
function ownedAccount(record: Bytes): Account {
  const account = decodeAccount(record);
  return account.codeHash === undefined ? account : { ...account, codeHash: account.codeHash.slice() };
}

function withoutLeadingZeros(value: Bytes): Bytes {
  let zeros = 0;
  while (zeros < value.length && value[zeros] === 0) zeros++;
  return zeros === 0 ? value : value.subarray(zeros);
}

/** Accounts, code and storage as an overlay with an undo log. */
export class EvmState {
  readonly #reader: StateReader;
  readonly #accounts = new Map<string, Account | undefined>();
  readonly #code = new Map<string, Bytes>();
  /** address -> slot -> value without leading zeros; empty means zero. */
  readonly #storage = new Map<string, Map<string, Bytes>>();
  /** Addresses whose storage in the reader no longer counts. */
  readonly #cleared = new Set<string>();
  /** address ‖ slot -> value before the current transaction's first write to it. */
  readonly #original = new Map<string, Bytes>();
  readonly #undo: (() => void)[] = [];

  constructor(reader: StateReader) {
    this.#reader = reader;
  }

  /** Makes the present values the original ones and forgets how to undo what led to them. */
  startTransaction(): void {
    this.#original.clear();
    this.#undo.length = 0;
  }

  /** A mark for {@link EvmState.revert}. */
  checkpoint(): number {
    return this.#undo.length;
  }

  /** Takes back every write since `mark`. */
  revert(mark: number): void {
    while (this.#undo.length > mark) (this.#undo.pop() as () => void)();
  }

  /** The account at `address` (20 bytes); undefined when there is none. */
  account(address: Bytes): Account | undefined {
    const key = toHex(address);
    if (this.#accounts.has(key)) return this.#accounts.get(key);
    const stored = this.#reader.get(TABLES.accounts, address);
    return stored === undefined ? undefined : ownedAccount(stored);
  }

  /** Sets or (with undefined) removes the account; its storage stays. */
  setAccount(address: Bytes, account: Account | undefined): void {
    const key = toHex(address);
    const known = this.#accounts.has(key);
    const before = this.#accounts.get(key);
    this.#undo.push(() => {
      if (known) this.#accounts.set(key, before);
      else this.#accounts.delete(key);
    });
    this.#accounts.set(key, account);
  }

  /** Adds to (or, with a negative amount, takes from) the balance; makes the account if there is none. */
  addBalance(address: Bytes, amount: bigint): void {
    const account = this.account(address) ?? EMPTY_ACCOUNT;
    this.setAccount(address, { ...account, balance: account.balance + amount });
  }

  /** Removes the account with its storage. */
  deleteAccount(address: Bytes): void {
    this.setAccount(address, undefined);
    this.clearStorage(address);
  }

  /** The code with this hash; empty for undefined. */
  codeOf(codeHash: Bytes | undefined): Bytes {
    if (codeHash === undefined) return EMPTY;
    return this.#code.get(toHex(codeHash)) ?? this.#reader.get(TABLES.code, codeHash) ?? EMPTY;
  }

  /** The code at `address`; empty when there is none. */
  code(address: Bytes): Bytes {
    return this.codeOf(this.account(address)?.codeHash);
  }

  /** Sets the code of an account, which is made if there is none; empty code removes it. */
  setCode(address: Bytes, code: Bytes): void {
    const account = this.account(address) ?? EMPTY_ACCOUNT;
    if (code.length === 0) {
      this.setAccount(address, { ...account, codeHash: undefined });
      return;
    }
    const codeHash = keccak256(code);
    // Content-addressed, hence never undone; unreferenced code is not written.
    this.#code.set(toHex(codeHash), code.slice());
    this.setAccount(address, { ...account, codeHash });
  }

  /** Value of a slot (32 bytes) without leading zeros; empty for zero. */
  storage(address: Bytes, slot: Bytes): Bytes {
    const key = toHex(address);
    const written = this.#storage.get(key)?.get(toHex(slot));
    if (written !== undefined) return written;
    if (this.#cleared.has(key)) return EMPTY;
    return this.#reader.get(TABLES.storage, concatBytes(address, slot)) ?? EMPTY;
  }

  /** Value of a slot when the transaction started. */
  originalStorage(address: Bytes, slot: Bytes): Bytes {
    return this.#original.get(toHex(address) + toHex(slot)) ?? this.storage(address, slot);
  }

  /** Sets a slot; leading zeros of the value are dropped, so zero may be given as 32 bytes or none. */
  setStorage(address: Bytes, slot: Bytes, value: Bytes): void {
    const key = toHex(address);
    const slotKey = toHex(slot);
    if (!this.#original.has(key + slotKey)) this.#original.set(key + slotKey, this.storage(address, slot));
    const slots = this.#slotsOf(key);
    const before = slots.get(slotKey);
    this.#undo.push(() => {
      if (before === undefined) slots.delete(slotKey);
      else slots.set(slotKey, before);
    });
    slots.set(slotKey, withoutLeadingZeros(value).slice());
  }

  #slotsOf(key: string): Map<string, Bytes> {
    let slots = this.#storage.get(key);
    if (slots === undefined) {
      slots = new Map();
      this.#storage.set(key, slots);
    }
    return slots;
  }

  /** Sets every slot of the account to zero. */
  clearStorage(address: Bytes): void {
    const key = toHex(address);
    const slots = this.#storage.get(key);
    const wasCleared = this.#cleared.has(key);
    if (slots === undefined && wasCleared) return;
    this.#undo.push(() => {
      if (slots === undefined) this.#storage.delete(key);
      else this.#storage.set(key, slots);
      if (!wasCleared) this.#cleared.delete(key);
    });
    this.#storage.delete(key);
    this.#cleared.add(key);
  }

  /** Whether any slot of the account is not zero. */
  hasStorage(address: Bytes): boolean {
    const key = toHex(address);
    const slots = this.#storage.get(key);
    if (slots !== undefined) for (const value of slots.values()) if (value.length > 0) return true;
    if (this.#cleared.has(key)) return false;
    for (const [stored] of this.#reader.scan(TABLES.storage, address, prefixEnd(address))) {
      if (slots?.get(toHex(stored.subarray(20))) === undefined) return true;
    }
    return false;
  }

  /**
   * Writes the overlay to `writer`, which must show the same state as this overlay's reader, and returns the keys written.
   * Values that did not change are left alone. With `removeEmpty` (EIP-158) empty accounts are removed.
   */
  writeTo(writer: StateWriter, removeEmpty: boolean): WrittenKey[] {
    const written: WrittenKey[] = [];
    for (const [key, account] of this.#accounts) {
      const kept = account !== undefined && removeEmpty && isEmptyAccount(account) ? undefined : account;
      this.#writeAccount(writer, fromHex(key), kept, written);
      if (kept === undefined) this.clearStorage(fromHex(key));
    }
    for (const key of this.#cleared) this.#removeStorage(writer, fromHex(key), written);
    for (const [key, slots] of this.#storage) {
      const address = fromHex(key);
      for (const [slot, value] of slots) {
        write(
          writer,
          { table: TABLES.storage, key: concatBytes(address, fromHex(slot)) },
          value.length === 0 ? undefined : value,
          written,
        );
      }
    }
    return written;
  }

  #writeAccount(writer: StateWriter, address: Bytes, account: Account | undefined, written: WrittenKey[]): void {
    const value = account === undefined ? undefined : encodeAccount(account);
    write(writer, { table: TABLES.accounts, key: address }, value, written);
    if (account?.codeHash === undefined) return;
    const code = this.#code.get(toHex(account.codeHash));
    if (code !== undefined) write(writer, { table: TABLES.code, key: account.codeHash }, code, written);
  }

  #removeStorage(writer: StateWriter, address: Bytes, written: WrittenKey[]): void {
    const keys: Bytes[] = [];
    for (const [key] of writer.scan(TABLES.storage, address, prefixEnd(address))) keys.push(key.slice());
    for (const key of keys) {
      writer.delete(TABLES.storage, key);
      written.push({ table: TABLES.storage, key });
    }
  }
}

function write(writer: StateWriter, at: WrittenKey, value: Bytes | undefined, written: WrittenKey[]): void {
  const before = writer.get(at.table, at.key);
  if (value === undefined) {
    if (before === undefined) return;
    writer.delete(at.table, at.key);
  } else {
    if (before !== undefined && bytesEqual(before, value)) return;
    writer.put(at.table, at.key, value);
  }
  written.push(at);
}
