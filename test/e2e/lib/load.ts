/**
 * Load for fault tests, and the bookkeeping of what must never be lost: senders that send transaction after transaction
 * through all nodes, a probe that measures how long service is interrupted, and the comparison of all nodes at the end.
 */
import assert from "node:assert/strict";
import type { Hex } from "viem";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";
import { keccak256 } from "viem/utils";
import { accountKey, CHAIN_ID, FUNDED_ACCOUNTS, type NetworkNode } from "./network.ts";
import type { Call, RpcAnswer } from "./json-rpc.ts";
import { delay, present, until } from "./processes.ts";

/** What an observed receipt said. */
export interface SeenReceipt {
  readonly transactionHash: Hex;
  readonly blockHash: Hex;
}

/** Where all transfers of a load go. */
export const SINK = "0x00000000000000000000000000000000c0c0c0c0";
const PROBE_ACCOUNT = FUNDED_ACCOUNTS - 1;
/** Transactions a sender sends together. */
const BURST = 10;
/** How long a sender goes on trying. */
const PATIENCE_MS = 40_000;

/** A signed transfer of 1 wei to an account that nobody else uses. */
export async function signTransfer(account: PrivateKeyAccount, nonce: number): Promise<Hex> {
  return account.signTransaction({
    ...{ to: SINK, value: 1n, nonce, gas: 21_000n, chainId: CHAIN_ID, type: "eip1559" },
    ...{ maxFeePerGas: 100_000_000_000n, maxPriorityFeePerGas: 1n },
  });
}

/** Sends transfers of an account through a node, one after the other, and returns their hashes. */
export async function sendTransfers(
  node: Pick<NetworkNode, "rpc">,
  { account, from, count }: { readonly account: number; readonly from: number; readonly count: number },
): Promise<readonly Hex[]> {
  const sender = privateKeyToAccount(accountKey(account));
  const hashes: Hex[] = [];
  for (let nonce = from; nonce < from + count; nonce++)
    hashes.push(await node.rpc.call<Hex>("eth_sendRawTransaction", await signTransfer(sender, nonce)));
  return hashes;
}

/** The nodes that a load goes through. */
export interface LoadedNodes {
  readonly nodes: readonly NetworkNode[];
}

/** Senders and a probe at work; see the module's header. */
export class Load {
  readonly #network: LoadedNodes;
  /** Every receipt any node ever answered, by transaction. */
  readonly receipts = new Map<Hex, SeenReceipt>();
  readonly #done: Promise<unknown>[] = [];
  readonly #problems: string[] = [];
  readonly #completionsMs: number[] = [];
  #probed: NetworkNode;
  #running = true;

  constructor(network: LoadedNodes, senders = 3) {
    this.#network = network;
    this.#probed = present(network.nodes[0]);
    for (let at = 0; at < senders; at++) this.#done.push(this.#send(at));
    this.#done.push(this.#probe());
  }

  /** Measures from now on through this node, which the coming fault leaves alone. */
  probeThrough(node: NetworkNode): void {
    this.#probed = node;
  }

  /** Waits until so many more receipts were seen. */
  async progress(count: number): Promise<void> {
    const target = this.receipts.size + count;
    await until(`${count} more receipts`, () => (this.receipts.size >= target ? true : undefined), {
      timeoutMs: 30_000,
    });
  }

  /** Longest time in milliseconds without a transaction committed through the probed node, since `fromMs`. */
  longestInterruption(fromMs: number): number {
    const times = [fromMs, ...this.#completionsMs.filter((at) => at >= fromMs), performance.now()];
    return Math.max(...times.slice(1).map((at, index) => at - present(times[index])));
  }

  /** Ends the load; fails when an answer was none a client may get. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#done);
    assert.deepEqual(this.#problems, []);
  }

  /** Sends through one node after the other until one has answered for all transactions. */
  async #submit(raw: readonly Hex[], first: number): Promise<void> {
    const { nodes } = this.#network;
    const deadlineMs = performance.now() + PATIENCE_MS;
    let open = raw;
    for (let at = first; open.length > 0 && performance.now() < deadlineMs; at++) {
      const node = present(nodes[at % nodes.length]);
      const calls = open.map((transaction): Call => ["eth_sendRawTransaction", [transaction]]);
      const answers = node.pid === 0 ? undefined : await attempt(() => node.rpc.batch(calls));
      if (answers !== undefined) open = open.filter((_, index) => this.#remains(answers[index]));
      if (!this.#running) return;
      if (open.length > 0) await delay(20);
    }
    if (open.length > 0) this.#problems.push("no node took a transaction");
  }

  /** Whether an answer leaves open what becomes of the transaction. */
  #remains(answer: RpcAnswer | undefined): boolean {
    const error = answer?.error;
    // A transaction may have arrived before, through a node that could not answer any more.
    if (answer !== undefined && (error === undefined || /already known|nonce too low/.test(error.message)))
      return false;
    if (error === undefined || error.code === -32603) return true;
    this.#problems.push(error.message);
    return false;
  }

  /** Asks a node for receipts and keeps what it shows; returns the transactions it has none for. */
  async #collect(hashes: readonly Hex[], node: NetworkNode): Promise<readonly Hex[]> {
    if (node.pid === 0) return hashes;
    const receipts = await attempt(() =>
      node.rpc.many<SeenReceipt | null>(
        "eth_getTransactionReceipt",
        hashes.map((hash) => [hash]),
      ),
    );
    for (const receipt of receipts ?? []) {
      if (receipt === null) continue;
      const { transactionHash: hash, blockHash } = receipt;
      const before = this.receipts.get(hash);
      if (before !== undefined && before.blockHash !== blockHash) this.#problems.push(`${hash} is in two blocks`);
      this.receipts.set(hash, { transactionHash: hash, blockHash });
    }
    return hashes.filter((hash) => !this.receipts.has(hash));
  }

  async #send(sender: number): Promise<void> {
    const account = privateKeyToAccount(accountKey(sender));
    const { nodes } = this.#network;
    for (let round = 0; this.#running; round++) {
      const nonces = Array.from({ length: BURST }, (_, at) => round * BURST + at);
      const raw = await Promise.all(nonces.map((nonce) => signTransfer(account, nonce)));
      await this.#submit(raw, sender + round);
      let open: readonly Hex[] = raw.map((transaction) => keccak256(transaction));
      for (let at = sender + round + 1; open.length > 0 && this.#running; at++) {
        open = await this.#collect(open, present(nodes[at % nodes.length]));
        if (open.length > 0) await delay(10);
      }
    }
  }

  async #probe(): Promise<void> {
    const account = privateKeyToAccount(accountKey(PROBE_ACCOUNT));
    for (let nonce = 0; this.#running; nonce++) {
      const raw = await signTransfer(account, nonce);
      await this.#submit([raw], this.#network.nodes.indexOf(this.#probed));
      const hash = keccak256(raw);
      while (this.#running && (await this.#collect([hash], this.#probed)).length > 0) await delay(5);
      this.#completionsMs.push(performance.now());
    }
  }
}

/** The result, or undefined when a node does not answer. */
async function attempt<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch {
    return undefined;
  }
}

interface BlockSummary {
  readonly hash: Hex;
  readonly stateRoot: Hex;
}

/**
 * Waits until all nodes have the same newest block, then compares every block, every receipt that was ever seen, and the
 * accounts. Returns the number of blocks.
 */
export async function compareNodes(
  nodes: readonly NetworkNode[],
  seen: ReadonlyMap<Hex, SeenReceipt>,
): Promise<number> {
  const height = await until(
    "all nodes have the same newest block",
    async () => {
      const heights = await Promise.all(nodes.map((node) => node.blockNumber()));
      await delay(200);
      const later = await Promise.all(nodes.map((node) => node.blockNumber()));
      return new Set([...heights, ...later]).size === 1 ? heights[0] : undefined;
    },
    { timeoutMs: 40_000 },
  );
  const numbers = Array.from({ length: height + 1 }, (_, number) => [`0x${number.toString(16)}`, false] as const);
  const hashes = [...seen.keys()];
  const accounts = Array.from({ length: FUNDED_ACCOUNTS }, (_, at) => privateKeyToAccount(accountKey(at)).address);
  const [first, ...others] = await Promise.all(
    nodes.map(async ({ rpc }) => ({
      blocks: (await rpc.many<BlockSummary>("eth_getBlockByNumber", numbers)).map(({ hash, stateRoot }) => [
        hash,
        stateRoot,
      ]),
      receipts: (
        await rpc.many<SeenReceipt | null>(
          "eth_getTransactionReceipt",
          hashes.map((hash) => [hash]),
        )
      ).map((receipt) => receipt?.blockHash),
      balances: await rpc.many<Hex>(
        "eth_getBalance",
        [...accounts, SINK].map((address) => [address, "latest"]),
      ),
      nonces: await rpc.many<Hex>(
        "eth_getTransactionCount",
        accounts.map((address) => [address, "latest"]),
      ),
    })),
  );
  assert.deepEqual(
    first?.receipts,
    hashes.map((hash) => seen.get(hash)?.blockHash),
    "every receipt that was seen is there, in the same block",
  );
  for (const other of others) assert.deepEqual(other, first);
  return height;
}
