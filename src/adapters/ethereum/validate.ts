/**
 * Whether a transaction may run: the checks before anything is charged, in the order and the words of go-ethereum's
 * transaction pool (`core/txpool/validation.go`), and those its state transition adds. All faults have code -32000.
 */
import type { EvmState } from "./evm-state.ts";
import { EMPTY_ACCOUNT } from "./evm-state.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { delegationOf } from "./authorizations.ts";
import { blobBaseFee, feeCap, tipCap } from "./fees.ts";
import { blobParameters, GAS_PER_BLOB, isAtLeast, MAXIMUM_INITCODE_BYTES, MAXIMUM_TRANSACTION_GAS } from "./forks.ts";
import { floorGas, intrinsicGas } from "./gas.ts";
import type { BlockEnvironment, HardforkName, RpcFault, SignedTransaction } from "./types.ts";

/** JSON-RPC code of every refused transaction (go-ethereum's default code). */
export const REFUSED_CODE = -32000;

/** Version byte of a blob's versioned hash (EIP-4844). */
const BLOB_HASH_VERSION = 1;

/** A fault with code {@link REFUSED_CODE}. */
export function refusal(message: string): RpcFault {
  return { code: REFUSED_CODE, message };
}

/** Rules of the network a transaction is checked against. */
export interface NetworkRules {
  readonly chainId: number;
  /** Blob transactions are executed (a replay); elsewhere refused, since no data layer holds blobs. */
  readonly allowBlobs: boolean;
  /** Largest transaction in bytes; undefined in a replay, since mined transactions may be larger than pools take. */
  readonly maxTransactionBytes: number | undefined;
}

/** What a transaction can cost at most: gas at its highest price, blobs at theirs, and the value. */
export function maximumCost(transaction: SignedTransaction): bigint {
  const blobGas = BigInt(transaction.blobVersionedHashes.length * GAS_PER_BLOB);
  return (
    BigInt(transaction.gasLimit) * feeCap(transaction) +
    transaction.value +
    blobGas * (transaction.maxFeePerBlobGas ?? 0n)
  );
}

const TYPE_FORKS: readonly (readonly [HardforkName, string])[] = [
  ["chainstart", "Frontier"],
  ["berlin", "Berlin"],
  ["london", "London"],
  ["cancun", "Cancun"],
  ["prague", "Prague"],
];

/** Checks that need no account: type, chain, sizes, gas and fees. Undefined when all hold. */
export function checkForm(
  transaction: SignedTransaction,
  environment: BlockEnvironment,
  rules: NetworkRules,
): RpcFault | undefined {
  const { hardfork } = environment;
  const { type, gasLimit } = transaction;
  const [fork, forkName] = TYPE_FORKS[type] as readonly [HardforkName, string];
  const { raw } = transaction;
  if (rules.maxTransactionBytes !== undefined && raw.length > rules.maxTransactionBytes)
    return refusal(`oversized data: transaction size ${raw.length}, limit ${rules.maxTransactionBytes}`);
  if (!isAtLeast(hardfork, fork))
    return refusal(`transaction type not supported: type ${type} rejected, pool not yet in ${forkName}`);
  if (
    transaction.to === undefined &&
    isAtLeast(hardfork, "shanghai") &&
    transaction.data.length > MAXIMUM_INITCODE_BYTES
  ) {
    return refusal(`max initcode size exceeded: code size ${transaction.data.length} limit ${MAXIMUM_INITCODE_BYTES}`);
  }
  if (isAtLeast(hardfork, "osaka") && gasLimit > MAXIMUM_TRANSACTION_GAS) {
    return refusal(`transaction gas limit too high (cap: ${MAXIMUM_TRANSACTION_GAS}, tx: ${gasLimit})`);
  }
  if (gasLimit > environment.gasLimit) return refusal("exceeds block gas limit");
  if (tipCap(transaction) > feeCap(transaction)) return refusal("max priority fee per gas higher than max fee per gas");
  if (transaction.chainId !== undefined && transaction.chainId !== rules.chainId) {
    return refusal(`invalid sender: invalid chain id for signer: have ${transaction.chainId} want ${rules.chainId}`);
  }
  if (transaction.nonce === Number.MAX_SAFE_INTEGER) return refusal("nonce has max value");
  const needed = intrinsicGas(transaction, hardfork);
  if (gasLimit < needed) return refusal(`intrinsic gas too low: gas ${gasLimit}, minimum needed ${needed}`);
  const floor = floorGas(transaction, hardfork);
  if (gasLimit < floor)
    return refusal(`insufficient gas for floor data gas cost: gas ${gasLimit}, minimum needed ${floor}`);
  return checkTypedForm(transaction, environment, rules) ?? checkBaseFee(transaction, environment);
}

function checkTypedForm(
  transaction: SignedTransaction,
  environment: BlockEnvironment,
  rules: NetworkRules,
): RpcFault | undefined {
  if (transaction.type === 4 && transaction.authorizationList.length === 0) {
    return refusal("set code tx must have at least one authorization tuple");
  }
  if (transaction.type !== 3) return undefined;
  if (!rules.allowBlobs) return refusal("transaction type not supported: this network keeps no blobs (type 3)");
  const hashes = transaction.blobVersionedHashes;
  if (hashes.length === 0) return refusal("blobless blob transaction");
  const most = blobParameters(environment.hardfork).maximumPerTransaction;
  if (hashes.length > most) return refusal(`too many blobs in transaction: have ${hashes.length}, permitted ${most}`);
  const wrong = hashes.findIndex((hash) => hash[0] !== BLOB_HASH_VERSION);
  if (wrong >= 0) return refusal(`blob ${wrong} has invalid hash version`);
  const price = blobBaseFee(environment) ?? 0n;
  const cap = transaction.maxFeePerBlobGas ?? 0n;
  if (cap >= price) return undefined;
  return refusal(
    `max fee per blob gas less than block blob gas fee: address 0x${toHex(transaction.from)} blobGasFeeCap: ${cap}, blobBaseFee: ${price}`,
  );
}

function checkBaseFee(transaction: SignedTransaction, environment: BlockEnvironment): RpcFault | undefined {
  const baseFee = environment.baseFeePerGas ?? 0n;
  const cap = feeCap(transaction);
  if (cap >= baseFee) return undefined;
  return refusal(
    `max fee per gas less than block base fee: address 0x${toHex(transaction.from)}, maxFeePerGas: ${cap}, baseFee: ${baseFee}`,
  );
}

/** How a transaction stands to its sender's account. */
export type AccountCheck =
  | { readonly type: "ready" }
  | { readonly type: "gap" }
  | { readonly type: "refused"; readonly fault: RpcFault };

/** Checks nonce, kind and balance of the sender; `gap` when all holds but the nonce is ahead of the account's. */
export function checkAccount(transaction: SignedTransaction, state: EvmState): AccountCheck {
  const account = state.account(transaction.from) ?? EMPTY_ACCOUNT;
  const refused = (message: string): AccountCheck => ({ type: "refused", fault: refusal(message) });
  if (transaction.nonce < account.nonce)
    return refused(`nonce too low: next nonce ${account.nonce}, tx nonce ${transaction.nonce}`);
  if (account.codeHash !== undefined && delegationOf(state.codeOf(account.codeHash)) === undefined) {
    return refused(`sender not an eoa: address 0x${toHex(transaction.from)}, codehash: 0x${toHex(account.codeHash)}`);
  }
  const cost = maximumCost(transaction);
  if (cost > account.balance) {
    return refused(
      `insufficient funds for gas * price + value: balance ${account.balance}, tx cost ${cost}, overshot ${cost - account.balance}`,
    );
  }
  return { type: transaction.nonce > account.nonce ? "gap" : "ready" };
}
