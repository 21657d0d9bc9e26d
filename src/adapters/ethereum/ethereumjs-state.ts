/**
 * {@link EvmState} in the clothes `@ethereumjs/evm` expects: its StateManagerInterface, with checkpoints as marks in the
 * undo log. Accounts are handed out as fresh objects because the EVM changes them in place.
 */
import type { AccountFields, StateManagerInterface } from "@ethereumjs/common";
import {
  Account as EthereumjsAccount,
  type Address,
  equalsBytes,
  KECCAK256_NULL,
  KECCAK256_RLP,
} from "@ethereumjs/util";
import { CocoError, invariant } from "../../errors.ts";
import { EMPTY_ACCOUNT, type EvmState } from "./evm-state.ts";

/** Stands for "this account has storage"; the EVM only compares it with the root of no storage (EIP-7610). */
const SOME_STORAGE_ROOT = new Uint8Array(32).fill(1);

function unsupported(): never {
  throw new CocoError("Internal", "the engine asked for something its state does not offer");
}

/** The state manager of one EVM object; {@link EthereumjsState.use} points it at the state of the next run. */
export class EthereumjsState implements StateManagerInterface {
  #state: EvmState | undefined;
  #marks: number[] = [];
  #creating = false;

  readonly originalStorageCache = {
    get: (address: Address, key: Uint8Array) => Promise.resolve(this.#current.originalStorage(address.bytes, key)),
    clear: () => undefined,
  };

  /** Works on `state` from now on. */
  use(state: EvmState): void {
    this.#state = state;
    this.#marks = [];
    this.#creating = false;
  }

  /** Whether the message that starts makes a contract: only then does an account's storage matter before it is read. */
  creating(value: boolean): void {
    this.#creating = value;
  }

  get #current(): EvmState {
    invariant(this.#state !== undefined, "the engine runs without a state");
    return this.#state;
  }

  getAccount(address: Address): Promise<EthereumjsAccount | undefined> {
    const account = this.#current.account(address.bytes);
    const occupied = this.#creating && (account?.nonce ?? 0) === 0 && account?.codeHash === undefined;
    const storageRoot = occupied && this.#current.hasStorage(address.bytes) ? SOME_STORAGE_ROOT : KECCAK256_RLP;
    if (account === undefined && storageRoot === KECCAK256_RLP) return Promise.resolve(undefined);
    const { nonce, balance, codeHash } = account ?? EMPTY_ACCOUNT;
    return Promise.resolve(new EthereumjsAccount(BigInt(nonce), balance, storageRoot, codeHash ?? KECCAK256_NULL));
  }

  putAccount(address: Address, account?: EthereumjsAccount): Promise<void> {
    if (account === undefined) {
      this.#current.setAccount(address.bytes, undefined);
      return Promise.resolve();
    }
    this.#current.setAccount(address.bytes, {
      nonce: Number(account.nonce),
      balance: account.balance,
      codeHash: equalsBytes(account.codeHash, KECCAK256_NULL) ? undefined : account.codeHash,
    });
    return Promise.resolve();
  }

  deleteAccount(address: Address): Promise<void> {
    this.#current.deleteAccount(address.bytes);
    return Promise.resolve();
  }

  async modifyAccountFields(address: Address, fields: AccountFields): Promise<void> {
    const account = (await this.getAccount(address)) ?? new EthereumjsAccount();
    account.nonce = fields.nonce ?? account.nonce;
    account.balance = fields.balance ?? account.balance;
    account.codeHash = fields.codeHash ?? account.codeHash;
    await this.putAccount(address, account);
  }

  putCode(address: Address, value: Uint8Array): Promise<void> {
    this.#current.setCode(address.bytes, value);
    return Promise.resolve();
  }

  getCode(address: Address): Promise<Uint8Array> {
    return Promise.resolve(this.#current.code(address.bytes));
  }

  getCodeSize(address: Address): Promise<number> {
    return Promise.resolve(this.#current.code(address.bytes).length);
  }

  getStorage(address: Address, key: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.#current.storage(address.bytes, key));
  }

  putStorage(address: Address, key: Uint8Array, value: Uint8Array): Promise<void> {
    this.#current.setStorage(address.bytes, key, value);
    return Promise.resolve();
  }

  clearStorage(address: Address): Promise<void> {
    this.#creating = false;
    this.#current.clearStorage(address.bytes);
    return Promise.resolve();
  }

  checkpoint(): Promise<void> {
    this.#marks.push(this.#current.checkpoint());
    return Promise.resolve();
  }

  commit(): Promise<void> {
    this.#marks.pop();
    return Promise.resolve();
  }

  revert(): Promise<void> {
    const mark = this.#marks.pop();
    invariant(mark !== undefined, "the engine reverts more than it started");
    this.#current.revert(mark);
    return Promise.resolve();
  }

  getStateRoot(): Promise<Uint8Array> {
    return unsupported();
  }

  setStateRoot(): Promise<void> {
    return unsupported();
  }

  hasStateRoot(): Promise<boolean> {
    return unsupported();
  }

  clearCaches(): void {
    this.#creating = false;
  }

  shallowCopy(): StateManagerInterface {
    return unsupported();
  }
}
