/**
 * The engine contract: runs one message (a call or the creation of a contract) on an {@link EvmState}. Everything around
 * it - intrinsic gas, fees, nonces, refund limits, receipts - belongs to the transaction rules (execute.ts), so that an
 * engine can be replaced without touching them.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { EvmState } from "./evm-state.ts";
import type { Pace } from "./pace.ts";
import type { AccessList, BlockEnvironment, Log } from "./types.ts";

/** A message at call depth zero. The sender's nonce is already raised and its gas already bought. */
export interface Message {
  readonly from: Bytes;
  /** Undefined creates a contract at the address that follows from `from` and its nonce minus one. */
  readonly to: Bytes | undefined;
  readonly value: bigint;
  readonly data: Bytes;
  /** Gas left after the intrinsic gas. */
  readonly gasLimit: number;
  /** What GASPRICE yields. */
  readonly gasPrice: bigint;
  /** Warm from the start, besides sender, recipient, precompiles and (since Shanghai) the coinbase. */
  readonly accessList: AccessList;
  /** Further warm addresses: authorities of EIP-7702. */
  readonly warmAddresses: readonly Bytes[];
  readonly blobVersionedHashes: readonly Bytes[];
  /** Asks for {@link EngineResult.accessList}. */
  readonly reportAccessList?: boolean;
}

/** What running a message yields. The state holds its effects, or none of them when it failed. */
export interface EngineResult {
  readonly success: boolean;
  /** True when REVERT ended the message: `returnData` is then its reason and the gas left is kept. */
  readonly reverted: boolean;
  /** Why it failed, in go-ethereum's words ("out of gas", say); undefined on success. */
  readonly error: string | undefined;
  readonly returnData: Bytes;
  readonly gasUsed: number;
  /** Refund counter at the end; zero after a failure. Not limited yet. */
  readonly gasRefund: number;
  readonly logs: readonly Log[];
  /** Address of the contract made by the message itself. */
  readonly createdAddress: Bytes | undefined;
  /** Accounts to remove at the end of the transaction. */
  readonly selfDestructed: readonly Bytes[];
  /** Every address and slot touched, when asked for. */
  readonly accessList: AccessList | undefined;
}

/** Runs messages. Calls may overlap as long as their states differ. */
export interface Engine {
  /**
   * With a pace the run lets other work go first now and then, and throws `RequestTimeout` when its time is used up; the
   * state is then left half way. Transactions run without.
   */
  run(message: Message, environment: BlockEnvironment, state: EvmState, pace?: Pace): Promise<EngineResult>;
}
