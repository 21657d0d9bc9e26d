/**
 * Methods about the network and this node, and the fee market.
 * Source: execution-apis `src/eth/client.yaml` and `src/eth/fee_market.yaml`, go-ethereum's `net`, `web3` and `rpc`.
 */
import { readHeadBlock } from "../block.ts";
import { keccak256 } from "../keccak.ts";
import type { EthereumOptions } from "../types.ts";
import { Parameters, toArray, toBlockNumber, toData, toQuantity } from "./decode.ts";
import { data, type JsonValue, quantity } from "./encode.ts";
import { baseFeeAfter, blobBaseFeeAfter, feeHistory, suggestedGasPrice, suggestedTip } from "./fee-market.ts";
import { invalidParameters } from "./fault.ts";
import { committedQuery, type Method, type MethodTable } from "./method.ts";
import { needsPending } from "./views.ts";

/** A method without parameters whose answer never changes. */
function constant(value: JsonValue): Method {
  return (values) => {
    new Parameters(values, 0);
    return committedQuery(() => value);
  };
}

/** Methods about the network and this node. */
export function nodeMethods(options: EthereumOptions, clientVersion: string): MethodTable {
  return {
    eth_chainId: constant(quantity(options.chainId)),
    net_version: constant(String(options.chainId)),
    eth_coinbase: constant(data(options.coinbase)),
    // Keys stay with the clients.
    eth_accounts: constant([]),
    // A node that has to catch up answers from what it has committed; there is no point it knows it is behind.
    eth_syncing: constant(false),
    net_listening: constant(true),
    // Validating nodes are not Ethereum peers.
    net_peerCount: constant("0x0"),
    web3_clientVersion: constant(clientVersion),
    rpc_modules: constant({ coco: "1.0", eth: "1.0", net: "1.0", rpc: "1.0", web3: "1.0" }),
    web3_sha3: (values) => {
      const hash = data(keccak256(new Parameters(values, 1).required(0, (value) => toData(value))));
      return committedQuery(() => hash);
    },
    ...feeMethods(options),
  };
}

function feeMethods(options: EthereumOptions): MethodTable {
  return {
    eth_gasPrice: (values) => {
      new Parameters(values, 0);
      return committedQuery(({ committed }) => quantity(suggestedGasPrice(committed, options)));
    },
    eth_maxPriorityFeePerGas: (values) => {
      new Parameters(values, 0);
      return committedQuery(({ committed }) => quantity(suggestedTip(committed, options)));
    },
    eth_baseFee: (values) => {
      new Parameters(values, 0);
      return committedQuery(({ committed }) => quantity(baseFeeAfter(readHeadBlock(committed).header, options)));
    },
    eth_blobBaseFee: (values) => {
      new Parameters(values, 0);
      return committedQuery(({ committed }) =>
        quantity(blobBaseFeeAfter(readHeadBlock(committed).header, options) ?? 0n),
      );
    },
    eth_feeHistory: (values) => {
      const parameters = new Parameters(values, 3);
      const query = {
        blockCount: parameters.required(0, toBlockCount),
        newest: parameters.required(1, toBlockNumber),
        percentiles: parameters.optional(2, toPercentiles) ?? [],
      };
      return { type: "query", pending: needsPending(query.newest), run: (views) => feeHistory(views, query, options) };
    },
  };
}

/** A count as hex, decimal text or number: clients send all three. */
function toBlockCount(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value === "string" && /^[0-9]{1,15}$/.test(value)) return Number(value);
  return Number(toQuantity(value, 64));
}

function toPercentiles(value: unknown): readonly number[] {
  return toArray(value, "[]float64").map((percentile, index) => {
    if (typeof percentile !== "number")
      throw invalidParameters(`invalid argument 2: percentile ${index} is not a number`);
    return percentile;
  });
}
