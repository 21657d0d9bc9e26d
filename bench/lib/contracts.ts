/**
 * The contracts of a generated load: compiled with solc when they are needed, deployed by transactions like any other.
 * Sources stand in `bench/contracts`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bytes, concatBytes, fromHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import { PACKAGE_FOLDER } from "../../src/host/measure-code.ts";
import { keccak256 } from "../../src/adapters/ethereum/keccak.ts";
import { bytes32OfBigint } from "../../src/adapters/ethereum/rlp.ts";
import { type Connection, postRequest, rpcBatch } from "./connection.ts";
import { sequenceNumbers } from "./commit-watch.ts";
import { type Account, type Signed, sign } from "./wallet.ts";

const CONTRACTS = ["BenchToken", "BenchPool"] as const;
type ContractName = (typeof CONTRACTS)[number];

/** Gas limit of a transfer of the token. */
export const TOKEN_TRANSFER_GAS = 70_000;
/** Gas limit of a swap. */
export const SWAP_GAS = 200_000;

const DEPLOY_GAS = 8_000_000;
const LARGEST = 2n ** 256n - 1n;
const TOKENS_PER_HOLDER = 10n ** 30n;
const RESERVE = 10n ** 29n;

/** What solc gives back of a standard JSON input. */
interface CompilerOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: Readonly<
    Record<string, Readonly<Record<string, { readonly evm: { readonly bytecode: { readonly object: string } } }>>>
  >;
}

/** Creation code of the contracts. Loading the compiler takes about a second. */
async function compileContracts(): Promise<ReadonlyMap<ContractName, Bytes>> {
  const { default: solc } = await import("solc");
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(
      CONTRACTS.map((name) => [
        name,
        { content: readFileSync(join(PACKAGE_FOLDER, "bench/contracts", `${name}.sol`), "utf8") },
      ]),
    ),
    settings: {
      optimizer: { enabled: true, runs: 200 },
      evmVersion: "cancun",
      outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as CompilerOutput;
  const failure = output.errors?.find(({ severity }) => severity === "error");
  invariant(failure === undefined, `solc: ${failure?.formattedMessage}`);
  return new Map(CONTRACTS.map((name) => [name, fromHex(output.contracts?.[name]?.[name]?.evm.bytecode.object ?? "")]));
}

/** The ABI form of a call with arguments of 32 bytes each. */
export function callData(signature: string, ...words: readonly (bigint | boolean | Bytes)[]): Bytes {
  return concatBytes(keccak256(utf8Encode(signature)).subarray(0, 4), ...words.map(word));
}

/** An address, number or truth value as a word of the ABI. */
function word(value: bigint | boolean | Bytes): Bytes {
  if (typeof value === "bigint") return bytes32OfBigint(value);
  if (typeof value === "boolean") return bytes32OfBigint(value ? 1n : 0n);
  return concatBytes(new Uint8Array(32 - value.length), value);
}

/** Addresses of the deployed contracts. */
export interface Contracts {
  readonly tokens: readonly [Bytes, Bytes];
  readonly pool: Bytes;
}

/** Sends transactions in one JSON-RPC batch, waits until they are committed, and requires that they succeeded. */
export async function runAll(
  connection: Connection,
  transactions: readonly Signed[],
): Promise<Record<string, unknown>[]> {
  for (let at = 0; at < transactions.length; at += 100) {
    const part = transactions.slice(at, at + 100).map(({ raw }) => [raw]);
    const answer = await connection.send(
      postRequest(connection.endpoint.path, rpcBatch("eth_sendRawTransaction", part)),
    );
    if (answer.includes('"error"')) throw new CocoError("MalformedInput", answer.toString().slice(0, 300));
  }
  const hashes = transactions.map(({ hash }) => hash);
  await sequenceNumbers(connection, hashes);
  const receipts = await connection.callAll(
    "eth_getTransactionReceipt",
    hashes.map((hash) => [hash]),
  );
  return receipts.map((receipt) => {
    invariant(typeof receipt === "object" && receipt !== null, "a committed transaction has a receipt");
    const fields = Object.fromEntries(Object.entries(receipt));
    invariant(fields["status"] === "0x1", `transaction ${String(fields["transactionHash"])} failed`);
    return fields;
  });
}

/** Deploys two tokens, held by all accounts, and a funded pool all accounts may trade with. */
export async function deployContracts(
  connection: Connection,
  accounts: readonly Account[],
  chainId: number,
): Promise<Contracts> {
  const codes = await compileContracts();
  const owner = accounts[0]!;
  const deploy = async (name: ContractName, ...words: readonly (bigint | Bytes)[]): Promise<Bytes> => {
    const data = concatBytes(codes.get(name) ?? new Uint8Array(), ...words.map(word));
    const [receipt] = await runAll(connection, [sign(owner, chainId, { data, gas: DEPLOY_GAS })]);
    return fromHex(String(receipt?.["contractAddress"]).slice(2));
  };
  const holders = [64n, TOKENS_PER_HOLDER, BigInt(accounts.length), ...accounts.map(({ address }) => address)];
  const tokens = [await deploy("BenchToken", ...holders), await deploy("BenchToken", ...holders)] as const;
  const pool = await deploy("BenchPool", ...tokens);
  const approval = callData("approve(address,uint256)", pool, LARGEST);
  const approvals = accounts.flatMap((account) =>
    tokens.map((to) => sign(account, chainId, { to, data: approval, gas: TOKEN_TRANSFER_GAS })),
  );
  await runAll(connection, approvals);
  const funding = callData("fund(uint256,uint256)", RESERVE, RESERVE);
  await runAll(connection, [sign(owner, chainId, { to: pool, data: funding, gas: SWAP_GAS })]);
  return { tokens, pool };
}
