/**
 * A realistic load where no recorded one is at hand: a third each of value transfers, ERC-20 transfers and swaps in a
 * constant-product pool, mixed, by many senders.
 */
import type { BenchNetwork } from "./network.ts";
import { CommitWatch } from "./commit-watch.ts";
import { Connection } from "./connection.ts";
import { callData, type Contracts, deployContracts, SWAP_GAS, TOKEN_TRANSFER_GAS } from "./contracts.ts";
import { type LoadResult, loadRequests, resultOf, type SentRequest, sendInOrder } from "./load.ts";
import { type Account, type Call, makeAccounts, type Signed, sign } from "./wallet.ts";

/** Chain id of networks with a generated load. */
export const GENERATED_CHAIN_ID = 31_337;
/** Gas of a value transfer. */
export const TRANSFER_GAS = 21_000;

const SENDERS = 100;
const WATCH_INTERVAL_MS = 4;

/** What a generated load did. */
export interface GeneratedResult {
  readonly load: LoadResult;
  readonly gasUsed: number;
  /** Transactions without a receipt of success. */
  readonly failed: number;
  /** Whether every node gives the same receipts. */
  readonly sameOnAllNodes: boolean;
}

/** Accounts that send it; they need a balance. */
export function generatedAccounts(): Account[] {
  return makeAccounts(SENDERS);
}

/** A transfer of value to another account. */
export function transferCall(to: Account): Call {
  return { to: to.address, value: 1n, gas: TRANSFER_GAS };
}

/** A transfer of the first token to another account. */
export function tokenCall({ tokens }: Contracts, to: Account): Call {
  return { to: tokens[0], data: callData("transfer(address,uint256)", to.address, 1n), gas: TOKEN_TRANSFER_GAS };
}

/** A swap in the pool. */
export function swapCall({ pool }: Contracts, at: number): Call {
  const amount = 1_000_000_000_000n + BigInt(at);
  return { to: pool, data: callData("swap(bool,uint256)", at % 2 === 0, amount), gas: SWAP_GAS };
}

/** The mix, signed. */
function generate(accounts: readonly Account[], contracts: Contracts, count: number): Signed[] {
  return Array.from({ length: count }, (_, at) => {
    const other = accounts[(at * 7 + 1) % accounts.length]!;
    const kinds = [() => transferCall(other), () => tokenCall(contracts, other), () => swapCall(contracts, at)];
    // The kind changes faster than the sender, so that every account sends all kinds.
    return sign(
      accounts[Math.floor(at / kinds.length) % accounts.length]!,
      GENERATED_CHAIN_ID,
      kinds[at % kinds.length]!(),
    );
  });
}

/** How a generated load is sent. */
export interface GeneratedOptions {
  /** Transactions in all. */
  readonly count: number;
  /** Transactions in a JSON-RPC batch. */
  readonly batch: number;
  readonly onProgress?: (answered: number, of: number) => void;
}

/** Deploys what is needed, sends the load to node `target` and compares the receipts of all nodes. */
export async function runGenerated(
  network: BenchNetwork,
  target: number,
  options: GeneratedOptions,
): Promise<GeneratedResult> {
  const { endpoints } = network;
  const connections = await Promise.all(endpoints.map(Connection.open));
  const watch = await CommitWatch.start(endpoints, WATCH_INTERVAL_MS);
  try {
    const sender = connections[target]!;
    const accounts = generatedAccounts();
    const contracts = await deployContracts(sender, accounts, GENERATED_CHAIN_ID);
    const signed = generate(accounts, contracts, options.count);
    const sent: SentRequest[] = [];
    for (const request of loadRequests(sender.endpoint.path, signed, options.batch)) {
      sent.push(...(await sendInOrder(sender, [request])));
      options.onProgress?.(Math.min(signed.length, sent.length * options.batch), signed.length);
    }
    const load = await resultOf(sent, watch, sender);
    return { load, ...(await compareReceipts(connections, signed)) };
  } finally {
    await watch.stop();
    for (const connection of connections) connection.close();
  }
}

async function compareReceipts(connections: readonly Connection[], signed: readonly Signed[]) {
  const calls = signed.map(({ hash }) => [hash]);
  const perNode = await Promise.all(connections.map((node) => node.callAll("eth_getTransactionReceipt", calls)));
  const texts = perNode.map((receipts) => JSON.stringify(receipts));
  const receipts = (perNode[0] ?? []).map((receipt) => Object.fromEntries(Object.entries(receipt ?? {})));
  return {
    gasUsed: receipts.reduce((sum, receipt) => sum + Number(receipt["gasUsed"] ?? 0), 0),
    failed: receipts.filter((receipt) => receipt["status"] !== "0x1").length,
    sameOnAllNodes: texts.every((text) => text === texts[0]),
  };
}
