/**
 * The transaction rules: buy gas, run the message, refund, pay fees, make the receipt.
 * Source: yellow paper section 6, EIP-158, 1559, 2028, 2929, 2930, 3529, 3607, 3651, 4844, 6780, 7623, 7702.
 * A plain transfer of value runs without the engine and without a promise.
 */
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import { applyAuthorizations } from "./authorizations.ts";
import type { Engine, EngineResult } from "./engine.ts";
import { EMPTY_ACCOUNT, type EvmState } from "./evm-state.ts";
import { blobBaseFee, effectiveGasPrice } from "./fees.ts";
import { GAS_PER_BLOB, isAtLeast, refundQuotient } from "./forks.ts";
import { floorGas, intrinsicGas } from "./gas.ts";
import { logsBloom } from "./receipts.ts";
import type { BlockEnvironment, Receipt, RpcFault, SignedTransaction } from "./types.ts";
import { checkAccount, checkForm, type NetworkRules } from "./validate.ts";

/** What a transaction is executed with. */
export interface ExecutionContext {
  readonly engine: Engine;
  readonly environment: BlockEnvironment;
  readonly rules: NetworkRules;
  /** Gas used by earlier transactions of the block. */
  readonly cumulativeGasUsed: number;
}

/** What became of a transaction. The state is changed only when it was executed. */
export type Execution =
  | { readonly type: "executed"; readonly receipt: Receipt }
  /** Its nonce is ahead of the account's; everything else holds. */
  | { readonly type: "gap" }
  | { readonly type: "refused"; readonly fault: RpcFault };

/** Gas amounts and prices fixed before the message runs. */
interface Purchase {
  readonly intrinsic: number;
  readonly gasPrice: bigint;
  readonly blobGasUsed: number;
  readonly blobGasPrice: bigint;
}

/** Part of an {@link EngineResult} the rest of the transaction depends on. */
type MessageResult = Pick<
  EngineResult,
  "success" | "gasUsed" | "gasRefund" | "logs" | "createdAddress" | "selfDestructed"
>;

/** Executes one transaction on `state`. */
export function executeTransaction(
  transaction: SignedTransaction,
  state: EvmState,
  context: ExecutionContext,
): Execution | Promise<Execution> {
  const fault = checkForm(transaction, context.environment, context.rules);
  if (fault !== undefined) return { type: "refused", fault };
  const check = checkAccount(transaction, state);
  if (check.type !== "ready") return check;
  const purchase = buyGas(transaction, state, context.environment);
  if (isPlainTransfer(transaction, state, context.environment)) {
    transferValue(transaction, state);
    return settle({ transaction, state, context, purchase }, TRANSFERRED);
  }
  return runMessage({ transaction, state, context, purchase });
}

interface Running {
  readonly transaction: SignedTransaction;
  readonly state: EvmState;
  readonly context: ExecutionContext;
  readonly purchase: Purchase;
}

function buyGas(transaction: SignedTransaction, state: EvmState, environment: BlockEnvironment): Purchase {
  const gasPrice = effectiveGasPrice(transaction, environment.baseFeePerGas ?? 0n);
  const blobGasUsed = transaction.blobVersionedHashes.length * GAS_PER_BLOB;
  const blobGasPrice = blobGasUsed === 0 ? 0n : (blobBaseFee(environment) ?? 0n);
  const account = state.account(transaction.from) ?? EMPTY_ACCOUNT;
  const price = BigInt(transaction.gasLimit) * gasPrice + BigInt(blobGasUsed) * blobGasPrice;
  state.setAccount(transaction.from, { ...account, nonce: account.nonce + 1, balance: account.balance - price });
  return { intrinsic: intrinsicGas(transaction, environment.hardfork), gasPrice, blobGasUsed, blobGasPrice };
}

const TRANSFERRED: MessageResult = {
  success: true,
  gasUsed: 0,
  gasRefund: 0,
  logs: [],
  createdAddress: undefined,
  selfDestructed: [],
};

/** Bytes at the front of an address that are zero for every precompile and for few others. */
const PRECOMPILE_ZERO_BYTES = 18;

function mayBePrecompile(address: Bytes): boolean {
  for (let at = 0; at < PRECOMPILE_ZERO_BYTES; at++) if (address[at] !== 0) return false;
  return true;
}

/** Whether running the transaction does nothing but move value. */
function isPlainTransfer(transaction: SignedTransaction, state: EvmState, environment: BlockEnvironment): boolean {
  const { to } = transaction;
  if (to === undefined || mayBePrecompile(to) || transaction.authorizationList.length > 0) return false;
  return isAtLeast(environment.hardfork, "spuriousDragon") && state.account(to)?.codeHash === undefined;
}

function transferValue({ from, to, value }: SignedTransaction, state: EvmState): void {
  state.addBalance(from, -value);
  // Touched even when nothing moves: EIP-158 removes an empty account that was touched.
  state.addBalance(to ?? EMPTY, value);
}

async function runMessage(running: Running): Promise<Execution> {
  const { transaction, state, context, purchase } = running;
  const applied = applyAuthorizations(transaction.authorizationList, context.rules.chainId, state);
  const result = await context.engine.run(
    {
      from: transaction.from,
      to: transaction.to,
      value: transaction.value,
      data: transaction.data,
      gasLimit: transaction.gasLimit - purchase.intrinsic,
      gasPrice: purchase.gasPrice,
      accessList: transaction.accessList,
      warmAddresses: applied.warmAddresses,
      blobVersionedHashes: transaction.blobVersionedHashes,
    },
    context.environment,
    state,
  );
  return settle(running, { ...result, gasRefund: result.gasRefund + applied.gasRefund });
}

/** Gas used in the end, after refunds and not below the floor of EIP-7623. */
export function finalGas(
  spent: number,
  gasRefund: number,
  transaction: Parameters<typeof floorGas>[0],
  hardfork: BlockEnvironment["hardfork"],
): number {
  const refunded = spent - Math.min(gasRefund, Math.floor(spent / refundQuotient(hardfork)));
  return Math.max(refunded, floorGas(transaction, hardfork));
}

function settle(running: Running, result: MessageResult): Execution {
  const { transaction, state, context, purchase } = running;
  const { environment } = context;
  const gasUsed = finalGas(purchase.intrinsic + result.gasUsed, result.gasRefund, transaction, environment.hardfork);
  state.addBalance(transaction.from, BigInt(transaction.gasLimit - gasUsed) * purchase.gasPrice);
  const reward = purchase.gasPrice - (environment.baseFeePerGas ?? 0n);
  state.addBalance(environment.coinbase, BigInt(gasUsed) * reward);
  for (const address of result.selfDestructed) state.deleteAccount(address);
  return { type: "executed", receipt: receiptOf(running, result, gasUsed) };
}

function receiptOf({ transaction, context, purchase }: Running, result: MessageResult, gasUsed: number): Receipt {
  const isBlob = transaction.type === 3;
  return {
    type: transaction.type,
    success: result.success,
    cumulativeGasUsed: context.cumulativeGasUsed + gasUsed,
    gasUsed,
    logsBloom: logsBloom(result.logs),
    logs: result.logs,
    contractAddress: transaction.to === undefined ? result.createdAddress : undefined,
    effectiveGasPrice: purchase.gasPrice,
    blobGasUsed: isBlob ? purchase.blobGasUsed : undefined,
    blobGasPrice: isBlob ? purchase.blobGasPrice : undefined,
  };
}
