/** Receipts as JSON-RPC gives them, put together again to the receipts root of the block they come from. */
import { type Bytes, fromHex } from "../../src/core/codec/bytes.ts";
import { CocoError } from "../../src/errors.ts";
import { receiptsRootOf } from "../../src/adapters/ethereum/header.ts";
import type { Log, Receipt } from "../../src/adapters/ethereum/types.ts";
import { hex } from "./wallet.ts";

/** A receipt as far as a receipts root needs it, with the gas of its transaction alone. */
export interface RpcReceipt {
  readonly type: string;
  readonly status: string;
  readonly gasUsed: string;
  readonly logsBloom: string;
  readonly logs: readonly { readonly address: string; readonly topics: readonly string[]; readonly data: string }[];
}

const bytesOf = (text: string): Bytes => fromHex(text.slice(2));

/** Checks that an answer of `eth_getTransactionReceipt` is a receipt. */
export function toReceipt(value: unknown): RpcReceipt {
  if (typeof value === "object" && value !== null && "logsBloom" in value) return value as RpcReceipt;
  throw new CocoError("TransactionNotCommitted", `expected a receipt, got ${JSON.stringify(value)}`);
}

function receiptOf(json: RpcReceipt, cumulativeGasUsed: number): Receipt {
  const type = Number(json.type) as Receipt["type"];
  const logs: Log[] = json.logs.map(({ address, topics, data }) => ({
    address: bytesOf(address),
    topics: topics.map(bytesOf),
    data: bytesOf(data),
  }));
  return {
    type,
    success: json.status === "0x1",
    cumulativeGasUsed,
    gasUsed: Number(json.gasUsed),
    logsBloom: bytesOf(json.logsBloom),
    logs,
    contractAddress: undefined,
    effectiveGasPrice: 0n,
    blobGasUsed: undefined,
    blobGasPrice: undefined,
  };
}

/** Gas and receipts root of a block with these receipts, in order. */
export function blockOfReceipts(receipts: readonly RpcReceipt[]): {
  readonly gasUsed: number;
  readonly receiptsRoot: string;
} {
  let gasUsed = 0;
  const counted = receipts.map((json) => {
    gasUsed += Number(json.gasUsed);
    return receiptOf(json, gasUsed);
  });
  return { gasUsed, receiptsRoot: hex(receiptsRootOf(counted)) };
}
