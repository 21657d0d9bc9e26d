/**
 * The conformance suite of ethereum/execution-apis: its chain (54 blocks, one fork every three, 249 transactions) is
 * executed by this adapter's rules, then its requests are answered and compared with go-ethereum's answers.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { before, describe, test } from "node:test";
import { type Bytes, utf8Decode } from "../../../core/codec/bytes.ts";
import { invariant } from "../../../errors.ts";
import { blockHashesOf, writeBlock } from "../block.ts";
import { EthereumCalls } from "../calls.ts";
import { EthereumjsEngine } from "../ethereumjs-engine.ts";
import { EvmState } from "../evm-state.ts";
import { executeTransaction } from "../execute.ts";
import { blockSize, EMPTY_OMMERS_HASH, headerHash, headerOfItem, type WithdrawalItem } from "../header.ts";
import { type RlpItem, rlpBigint, rlpBytes, rlpDecode, rlpEncode, rlpList } from "../rlp.ts";
import { applySystemCalls } from "../system-calls.ts";
import { hexBytes, missing } from "../test-vectors.ts";
import { decodeTransaction, senderOf } from "../transactions.ts";
import type { BlockHeader, EthereumOptions, HardforkName, SignedTransaction } from "../types.ts";
import { TEST_COMPONENTS } from "../test-state.ts";
import { MemoryState, OPTIONS, repeated, TestRpc } from "./test-chain.ts";

const folder = join(process.env["COCO_VECTORS"] ?? resolve("../shared/vectors"), "ethereum", "execution-apis");
const skip = missing("execution-apis");

interface GenesisEntry {
  readonly balance: string;
  readonly nonce?: string;
  readonly code?: string;
  readonly storage?: Readonly<Record<string, string>>;
}

interface GenesisFile {
  readonly config: { readonly chainId: number };
  readonly alloc: Readonly<Record<string, GenesisEntry>>;
}

/** First block of each fork; from Shanghai on, forks start at a time, and blocks are ten seconds apart. */
const FORKS: readonly (readonly [block: number, fork: HardforkName])[] = [
  [0, "homestead"],
  [3, "tangerineWhistle"],
  [6, "spuriousDragon"],
  [9, "byzantium"],
  [12, "constantinople"],
  [15, "petersburg"],
  [18, "istanbul"],
  [21, "muirGlacier"],
  [24, "berlin"],
  [27, "london"],
  [30, "arrowGlacier"],
  [33, "grayGlacier"],
  [36, "paris"],
  [39, "shanghai"],
  [42, "cancun"],
  [45, "prague"],
  [48, "osaka"],
];

const hardforkOf = (number: number): HardforkName => FORKS.findLast(([first]) => first <= number)?.[1] ?? "homestead";

/** What the miner of a block gets (EIP-649, EIP-1234, EIP-3675), in wei. */
function miningReward(number: number): bigint {
  if (number >= 36) return 0n;
  return (number >= 12 ? 2n : number >= 9 ? 3n : 5n) * 10n ** 18n;
}

const GWEI = 10n ** 9n;

interface ImportedBlock {
  readonly header: BlockHeader;
  readonly transactions: readonly SignedTransaction[];
  readonly withdrawals: readonly WithdrawalItem[];
}

function toTransaction(item: RlpItem): SignedTransaction {
  const decoded = decodeTransaction(item instanceof Uint8Array ? item : rlpEncode(item));
  return { ...decoded, from: senderOf(decoded) };
}

function toWithdrawal(item: RlpItem): WithdrawalItem {
  const [index, validator, address, amount] = rlpList(item, 4, 4);
  return [rlpBytes(index), rlpBytes(validator), rlpBytes(address), rlpBytes(amount)];
}

/** Blocks stand one behind the other. */
function* readChain(bytes: Bytes): Generator<ImportedBlock> {
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at] as number;
    const lengthBytes = lead <= 0xf7 ? 0 : lead - 0xf7;
    const payload = bytes.subarray(at + 1, at + 1 + lengthBytes).reduce((length, byte) => length * 256 + byte, 0);
    const end = at + 1 + lengthBytes + (lengthBytes === 0 ? lead - 0xc0 : payload);
    const [header, transactions, , withdrawals] = rlpList(rlpDecode(bytes.subarray(at, end)));
    at = end;
    yield {
      header: headerOfItem(rlpList(header)),
      transactions: rlpList(transactions).map(toTransaction),
      withdrawals: withdrawals === undefined ? [] : rlpList(withdrawals).map(toWithdrawal),
    };
  }
}

/** The chain as versions of a state. */
class ImportedChain {
  readonly versions: MemoryState[] = [];
  readonly options: EthereumOptions;
  readonly #engine: EthereumjsEngine;

  constructor(genesis: GenesisFile, genesisHeader: BlockHeader) {
    this.options = {
      ...OPTIONS,
      chainId: genesis.config.chainId,
      hardfork: "osaka",
      coinbase: repeated(0, 20),
      replay: true,
    };
    this.#engine = new EthereumjsEngine(this.options.chainId);
    const state = new MemoryState();
    const overlay = new EvmState(state);
    for (const [address, account] of Object.entries(genesis.alloc)) {
      const key = hexBytes(address);
      overlay.setAccount(key, {
        nonce: Number(account.nonce ?? 0),
        balance: BigInt(account.balance),
        codeHash: undefined,
      });
      overlay.setCode(key, hexBytes(account.code ?? "0x"));
      for (const [slot, value] of Object.entries(account.storage ?? {}))
        overlay.setStorage(key, hexBytes(slot), hexBytes(value));
    }
    overlay.writeTo(state, false);
    this.#finish(state, { header: genesisHeader, transactions: [], withdrawals: [] }, []);
  }

  get newest(): MemoryState {
    return this.versions.at(-1) as MemoryState;
  }

  #finish(
    state: MemoryState,
    { header, transactions, withdrawals }: ImportedBlock,
    entries: Parameters<typeof writeBlock>[2],
  ): void {
    const raws = transactions.map(({ raw }) => raw);
    const transactionHashes = transactions.map(({ hash }) => hash);
    const block = { header, hash: headerHash(header), size: blockSize(header, raws, withdrawals), transactionHashes };
    writeBlock(state, block, entries);
    this.versions.push(state);
  }

  async add(block: ImportedBlock): Promise<void> {
    const { header } = block;
    const state = this.newest.next();
    const hardfork = hardforkOf(header.number);
    const environment = { ...header, hardfork, prevRandao: header.mixHash, blockHash: blockHashesOf(this.newest) };
    const overlay = new EvmState(state);
    applySystemCalls(environment, overlay);
    const entries: Parameters<typeof writeBlock>[2][number][] = [];
    for (const transaction of block.transactions) {
      overlay.startTransaction();
      const cumulativeGasUsed = entries.at(-1)?.receipt.cumulativeGasUsed ?? 0;
      const rules = { chainId: this.options.chainId, allowBlobs: true, maxTransactionBytes: undefined };
      const execution = await executeTransaction(transaction, overlay, {
        engine: this.#engine,
        environment,
        rules,
        cumulativeGasUsed,
      });
      const words = execution.type === "refused" ? execution.fault.message : execution.type;
      invariant(execution.type === "executed", `block ${header.number}: ${words}`);
      entries.push({ transaction, receipt: execution.receipt });
    }
    overlay.startTransaction();
    overlay.addBalance(header.coinbase, miningReward(header.number));
    for (const [, , address, amount] of block.withdrawals) overlay.addBalance(address, rlpBigint(amount) * GWEI);
    overlay.writeTo(state, header.number >= 6);
    assert.equal(entries.at(-1)?.receipt.cumulativeGasUsed ?? 0, header.gasUsed, `gas of block ${header.number}`);
    this.#finish(state, block, entries);
  }
}

interface Case {
  readonly name: string;
  readonly exchanges: readonly (readonly [request: string, answer: string])[];
  /** Only the shape of the answer is fixed. */
  readonly shapeOnly: boolean;
}

function readCases(method: string): readonly Case[] {
  return readdirSync(join(folder, method)).map((file) => {
    const lines = readFileSync(join(folder, method, file), "utf8").split("\n");
    const exchanges = lines.flatMap((line, at) =>
      line.startsWith(">> ") ? [[line.slice(3), (lines[at + 1] ?? "").slice(3)] as const] : [],
    );
    return {
      name: `${method}/${file.replace(".io", "")}`,
      exchanges,
      shapeOnly: lines.some((line) => line.startsWith("// speconly")),
    };
  });
}

/**
 * What is not stored because no network of ours has it: the state root in receipts before Byzantium, where ours hold the
 * status, and withdrawals from the beacon chain.
 */
function withoutForeign(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutForeign);
  if (typeof value !== "object" || value === null) return value;
  const isOldReceipt = "cumulativeGasUsed" in value && "blockNumber" in value && Number(value.blockNumber) < 9;
  const dropped: readonly string[] = isOldReceipt ? ["root", "status"] : ["withdrawals"];
  const kept = Object.entries(value).filter(([name]) => !dropped.includes(name));
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutForeign(field)]));
}

/** Names of fields at every depth, values of type only. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shapeOf(field)]));
}

const METHODS = [
  ..."eth_baseFee eth_blockNumber eth_call eth_chainId eth_createAccessList eth_estimateGas eth_feeHistory eth_getBalance".split(
    " ",
  ),
  ..."eth_getBlockByHash eth_getBlockByNumber eth_getBlockReceipts eth_getBlockTransactionCountByHash eth_getCode eth_getLogs".split(
    " ",
  ),
  ..."eth_getBlockTransactionCountByNumber eth_getStorageAt eth_getStorageValues eth_getTransactionByBlockHashAndIndex".split(
    " ",
  ),
  ..."eth_getTransactionByBlockNumberAndIndex eth_getTransactionByHash eth_getTransactionCount eth_getTransactionReceipt".split(
    " ",
  ),
  ..."eth_sendRawTransaction eth_syncing".split(" "),
];

describe("execution-apis conformance", { skip }, () => {
  let chain: ImportedChain;
  let client: TestRpc;

  before(async () => {
    const genesis = JSON.parse(readFileSync(join(folder, "genesis.json"), "utf8")) as GenesisFile &
      Record<string, string>;
    const first = JSON.parse(
      readFileSync(join(folder, "eth_getBlockByNumber/get-genesis.io"), "utf8").split("<< ")[1] as string,
    ) as {
      readonly result: Record<string, string>;
    };
    chain = new ImportedChain(genesis, genesisHeader(first.result));
    for (const block of readChain(readFileSync(join(folder, "chain.rlp")))) await chain.add(block);
    const engine = new EthereumjsEngine(chain.options.chainId);
    client = new TestRpc(new EthereumCalls(chain.options, engine, TEST_COMPONENTS), chain.options);
  });

  async function answerTo(request: string, expected: string): Promise<unknown> {
    const views = { committed: chain.newest, pending: chain.newest, at: (version: number) => chain.versions[version] };
    const result = await client.request(request, views);
    if (result.type === "answer") return JSON.parse(utf8Decode(result.response.body));
    invariant(result.type === "submit", "only the leader could answer");
    const hash = (JSON.parse(expected) as { readonly result: string }).result;
    return JSON.parse(utf8Decode((await result.finish([{ type: "included", result: hexBytes(hash) }], views)).body));
  }

  for (const method of skip === false ? METHODS : []) {
    for (const { name, exchanges, shapeOnly } of readCases(method)) {
      test(`${name} is answered as specified`, async () => {
        assert.ok(exchanges.length > 0);
        for (const [request, expected] of exchanges) {
          const [ours, theirs] = [await answerTo(request, expected), JSON.parse(expected)].map(withoutForeign);
          if (shapeOnly) assert.deepEqual(shapeOf(ours), shapeOf(theirs));
          else assert.deepEqual(ours, theirs);
        }
      });
    }
  }
});

function genesisHeader(json: Readonly<Record<string, string>>): BlockHeader {
  const bytes = (name: string): Bytes => hexBytes(json[name] as string);
  return {
    parentHash: bytes("parentHash"),
    ommersHash: EMPTY_OMMERS_HASH,
    coinbase: bytes("miner"),
    stateRoot: bytes("stateRoot"),
    transactionsRoot: bytes("transactionsRoot"),
    receiptsRoot: bytes("receiptsRoot"),
    logsBloom: bytes("logsBloom"),
    difficulty: BigInt(json["difficulty"] as string),
    number: 0,
    gasLimit: Number(json["gasLimit"]),
    gasUsed: 0,
    timestamp: 0,
    extraData: bytes("extraData"),
    mixHash: bytes("mixHash"),
    nonce: bytes("nonce"),
    baseFeePerGas: undefined,
    withdrawalsRoot: undefined,
    blobGasUsed: undefined,
    excessBlobGas: undefined,
    parentBeaconBlockRoot: undefined,
    requestsHash: undefined,
  };
}
