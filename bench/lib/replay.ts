/**
 * Replays blocks on a network: sets the state and the environment of each block, sends its transactions in order over one
 * connection, and compares gas and receipts with those the block had.
 */
import { CocoError } from "../../src/errors.ts";
import { CommitWatch } from "./commit-watch.ts";
import { Connection, type Endpoint, postRequest } from "./connection.ts";
import { loadRequests, resultOf, type SentRequest, sendInOrder } from "./load.ts";
import { environmentOf, type MainnetBlock } from "../../test/support/mainnet-block.ts";
import { signedTransactionOf, stateChunks } from "./mainnet.ts";
import { blockOfReceipts, toReceipt } from "./receipts.ts";
import { type Latency, latencyOf } from "./statistics.ts";

const WATCH_INTERVAL_MS = 4;

/** Options of the Ethereum adapter on a network that replays blocks of the public one. */
export const REPLAY_OPTIONS = { chainId: 1, replay: true, blockGasLimit: 100_000_000 } as const;

/** How one block went. */
export interface BlockResult {
  readonly number: number;
  readonly transactions: number;
  readonly gasUsed: number;
  readonly gasUsedMatches: boolean;
  readonly receiptsRootMatches: boolean;
  /** From the first batch sent until all are committed on all nodes. */
  readonly durationMs: number;
  /** Per transaction, from sending its batch until all of that was committed on all nodes, in milliseconds. */
  readonly latenciesMs: readonly number[];
}

/** Rates over several blocks. */
export interface ReplayTotals {
  readonly transactions: number;
  readonly committedPerSecond: number;
  readonly millionGasPerSecond: number;
  readonly latencyMs: Latency;
}

/** How blocks are replayed. */
export interface ReplayOptions {
  /** Transactions in a JSON-RPC batch. */
  readonly batch: number;
  /** Transactions of the block answered so far. */
  readonly onProgress?: (block: number, answered: number, of: number) => void;
}

/** A network under replay. */
export class Replay {
  readonly #sender: Connection;
  readonly #checker: Connection;
  readonly #watch: CommitWatch;
  readonly #options: ReplayOptions;

  private constructor(connections: readonly [Connection, Connection], watch: CommitWatch, options: ReplayOptions) {
    [this.#sender, this.#checker] = connections;
    this.#watch = watch;
    this.#options = options;
  }

  /**
   * Connects to a network.
   * @param target node that takes the transactions
   * @param checker node whose receipts are compared
   */
  static async open(
    nodes: readonly Endpoint[],
    roles: { readonly target: number; readonly checker: number },
    options: ReplayOptions,
  ): Promise<Replay> {
    const sender = await Connection.open(nodes[roles.target]!);
    const checker = await Connection.open(nodes[roles.checker]!);
    return new Replay([sender, checker], await CommitWatch.start(nodes, WATCH_INTERVAL_MS), options);
  }

  /** Replays one block. Throws when the network refuses something. */
  async block(content: MainnetBlock): Promise<BlockResult> {
    const number = Number(content.block["number"]);
    const signed = content.block.transactions.map(signedTransactionOf);
    const requests = loadRequests(this.#sender.endpoint.path, signed, this.#options.batch);
    await this.#setUp(content);
    const sent: SentRequest[] = [];
    let answered = 0;
    for (const request of requests) {
      sent.push(...(await sendInOrder(this.#sender, [request])));
      answered += request.transactions;
      this.#options.onProgress?.(number, answered, signed.length);
    }
    const load = await resultOf(sent, this.#watch, this.#sender);
    const receipts = await this.#checker.callAll(
      "eth_getTransactionReceipt",
      signed.map(({ hash }) => [hash]),
    );
    const { gasUsed, receiptsRoot } = blockOfReceipts(receipts.map(toReceipt));
    return {
      number,
      transactions: signed.length,
      gasUsed,
      gasUsedMatches: gasUsed === Number(content.block["gasUsed"]),
      receiptsRootMatches: receiptsRoot === content.block["receiptsRoot"],
      durationMs: load.durationMs,
      latenciesMs: load.commitLatenciesMs,
    };
  }

  async #setUp(content: MainnetBlock): Promise<void> {
    const { path } = this.#sender.endpoint;
    for (const chunk of stateChunks(content)) {
      const body = `{"jsonrpc":"2.0","id":1,"method":"coco_replaySetState","params":[${chunk}]}`;
      const answer = await this.#sender.send(postRequest(path, body));
      if (!answer.includes('"result":true')) {
        throw new CocoError("MalformedInput", `coco_replaySetState: ${answer.toString().slice(0, 300)}`);
      }
    }
    await this.#sender.call("coco_replaySetEnvironment", environmentOf(content));
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await this.#watch.stop();
    this.#sender.close();
    this.#checker.close();
  }
}

/** Sums up blocks; the time between blocks, in which their state is set up, does not count. */
export function totalsOf(blocks: readonly BlockResult[]): ReplayTotals {
  const sum = (value: (block: BlockResult) => number): number =>
    blocks.reduce((total, block) => total + value(block), 0);
  const transactions = sum((block) => block.transactions);
  const seconds = sum((block) => block.durationMs) / 1000;
  return {
    transactions,
    committedPerSecond: transactions / seconds,
    millionGasPerSecond: sum((block) => block.gasUsed) / 1e6 / seconds,
    latencyMs: latencyOf(blocks.flatMap((block) => block.latenciesMs)),
  };
}
