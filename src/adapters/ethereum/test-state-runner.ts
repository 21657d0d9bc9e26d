/**
 * Test support: runs state tests (ethereum/tests, execution-spec-tests) through the transaction rules and the engine, and
 * compares the hash of the logs and the state root after the transaction.
 */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import type { StateWriter } from "../adapter.ts";
import { EthereumjsEngine } from "./ethereumjs-engine.ts";
import { EvmState } from "./evm-state.ts";
import { executeTransaction } from "./execute.ts";
import { keccak256 } from "./keccak.ts";
import { logItem } from "./receipts.ts";
import { bytes32OfBigint, rlpEncode } from "./rlp.ts";
import { StateTrie } from "./state-trie.ts";
import { createStore } from "./test-state.ts";
import { hexBytes } from "./test-vectors.ts";
import { decodeTransaction, senderOf } from "./transactions.ts";
import type { BlockEnvironment, HardforkName, Log } from "./types.ts";

/** A state test as its JSON file has it. */
export interface StateTest {
  readonly env: Readonly<Record<string, string>>;
  readonly pre: Readonly<
    Record<
      string,
      {
        readonly balance: string;
        readonly nonce: string;
        readonly code: string;
        readonly storage: Record<string, string>;
      }
    >
  >;
  readonly post: Readonly<Record<string, readonly PostState[]>>;
  readonly config?: { readonly chainid?: string };
}

interface PostState {
  readonly hash: string;
  readonly logs: string;
  readonly txbytes?: string;
  readonly expectException?: string;
}

/** What one case of a state test gave: undefined when it is as expected. */
export interface CaseResult {
  readonly index: number;
  readonly problem: string | undefined;
}

const engines = new Map<number, EthereumjsEngine>();

function engineOf(chainId: number): EthereumjsEngine {
  const engine = engines.get(chainId) ?? new EthereumjsEngine(chainId);
  engines.set(chainId, engine);
  return engine;
}

function environmentOf(env: StateTest["env"], hardfork: HardforkName): BlockEnvironment {
  const word = (name: string): Bytes => bytes32OfBigint(BigInt(env[name] ?? 0));
  return {
    hardfork,
    number: Number(env["currentNumber"]),
    timestamp: Number(env["currentTimestamp"]),
    coinbase: hexBytes(env["currentCoinbase"] as string),
    // Rounded above 2^53 - 1, which matters only to tests that read it.
    gasLimit: Number(env["currentGasLimit"]),
    difficulty: BigInt(env["currentDifficulty"] ?? 0),
    prevRandao: word("currentRandom"),
    baseFeePerGas: BigInt(env["currentBaseFee"] ?? 0),
    excessBlobGas: Number(env["currentExcessBlobGas"] ?? 0),
    parentBeaconBlockRoot: undefined,
    // As the tests' reference clients have it.
    blockHash: (number) => keccak256(new TextEncoder().encode(String(number))),
  };
}

/** The problem of cases with numbers this adapter refuses: nonces and gas limits above 2^53 - 1. */
export const UNSUPPORTED = "number above 2^53 - 1";

function hasLargeNonce({ pre }: StateTest): boolean {
  return Object.values(pre).some(({ nonce }) => BigInt(nonce) > BigInt(Number.MAX_SAFE_INTEGER));
}

function writePreState(pre: StateTest["pre"], state: StateWriter): void {
  const overlay = new EvmState(state);
  for (const [address, account] of Object.entries(pre)) {
    const key = hexBytes(address);
    const nonce = Number(account.nonce);
    overlay.setAccount(key, { nonce, balance: BigInt(account.balance), codeHash: undefined });
    overlay.setCode(key, hexBytes(account.code));
    for (const [slot, value] of Object.entries(account.storage))
      overlay.setStorage(key, bytes32OfBigint(BigInt(slot)), hexBytes(value));
  }
  overlay.writeTo(state, false);
}

function logsHash(logs: readonly Log[]): string {
  return `0x${toHex(keccak256(rlpEncode(logs.map(logItem))))}`;
}

async function runCase(test: StateTest, post: PostState, hardfork: HardforkName): Promise<string | undefined> {
  const chainId = Number(test.config?.chainid ?? 1);
  if (hasLargeNonce(test)) return UNSUPPORTED;
  const state = createStore().beginBatch().begin();
  writePreState(test.pre, state);
  let logs: readonly Log[] = [];
  let refused: string | undefined;
  try {
    invariant(post.txbytes !== undefined, "the case has no transaction");
    const decoded = decodeTransaction(hexBytes(post.txbytes), Number.MAX_SAFE_INTEGER);
    const transaction = { ...decoded, from: senderOf(decoded) };
    const overlay = new EvmState(state);
    const rules = { chainId, allowBlobs: true, maxTransactionBytes: undefined };
    const environment = environmentOf(test.env, hardfork);
    const execution = await executeTransaction(transaction, overlay, {
      engine: engineOf(chainId),
      environment,
      rules,
      cumulativeGasUsed: 0,
    });
    if (execution.type === "executed") {
      logs = execution.receipt.logs;
      overlay.writeTo(state, true);
    } else refused = execution.type === "refused" ? execution.fault.message : "nonce gap";
  } catch (error) {
    refused = error instanceof Error ? error.message : String(error);
    if (refused.includes("above 2^53 - 1")) return UNSUPPORTED;
  }
  if ((refused !== undefined) !== (post.expectException !== undefined)) {
    return refused === undefined ? `executed, though ${post.expectException} was expected` : `refused: ${refused}`;
  }
  if (logsHash(logs) !== post.logs) return "other logs";
  const root = `0x${toHex(new StateTrie().root(state))}`;
  return root === post.hash ? undefined : "other state root";
}

/** Runs all cases of a test under one fork; `fork` is the name in the file. */
export async function runStateTest(test: StateTest, fork: string, hardfork: HardforkName): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const [index, post] of (test.post[fork] ?? []).entries()) {
    results.push({ index, problem: await runCase(test, post, hardfork) });
  }
  return results;
}
