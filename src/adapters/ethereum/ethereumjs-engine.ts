/**
 * The first engine: `@ethereumjs/evm` over {@link EvmState}. No EthereumJS type leaves this file, ethereumjs-state.ts
 * and ethereumjs-pace.ts. EVM objects are expensive to make and hold per-run state, so idle ones are kept for reuse, a few
 * per fork; those that keep a pace are apart from those that run transactions.
 */
import { createCustomCommon, Mainnet, type Common } from "@ethereumjs/common";
import { createEVM, type EVM, getActivePrecompiles, type EVMResult, type Log as EthereumjsLog } from "@ethereumjs/evm";
import { Address, type KZG } from "@ethereumjs/util";
import { type Bytes, EMPTY, fromHex, toHex } from "../../core/codec/bytes.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Engine, EngineResult, Message } from "./engine.ts";
import { paceOpcodes, pacedPrecompiles, type PaceHolder } from "./ethereumjs-pace.ts";
import { EthereumjsState } from "./ethereumjs-state.ts";
import type { EvmState } from "./evm-state.ts";
import { blobBaseFee } from "./fees.ts";
import { isAtLeast } from "./forks.ts";
import { keccak256 } from "./keccak.ts";
import { verifyKzgProof } from "./kzg.ts";
import type { Pace } from "./pace.ts";
import { recoverPublicKey } from "./recover.ts";
import { bigintOfBytes } from "./rlp.ts";
import type { AccessList, BlockEnvironment, HardforkName, Log } from "./types.ts";

/** Idle EVM objects kept per fork and kind; overlapping runs beyond it make and drop their own. */
export const IDLE_MACHINES_LIMIT = 8;

const ZERO_HASH = new Uint8Array(32);

interface Machine {
  readonly evm: EVM;
  readonly state: EthereumjsState;
  /** Only on machines that keep a pace. */
  readonly holder: PaceHolder | undefined;
}

function unavailable(): never {
  throw new CocoError("Internal", "only point evaluation is offered of KZG");
}

/** The precompile needs point evaluation and nothing else of this interface. */
const kzg: KZG = {
  verifyProof: verifyKzgProof,
  blobToKzgCommitment: unavailable,
  computeBlobProof: unavailable,
  verifyBlobProofBatch: unavailable,
  computeCells: unavailable,
  computeCellsAndProofs: unavailable,
  recoverCellsAndProofs: unavailable,
  verifyCellKzgProofBatch: unavailable,
};

/** EthereumJS's words for the failures where they differ from go-ethereum's. */
const GO_ETHEREUM_WORDS: Readonly<Record<string, string>> = {
  revert: "execution reverted",
  "code store out of gas": "contract creation code storage out of gas",
  "code size to deposit exceeds maximum code size": "max code size exceeded",
  "invalid JUMP": "invalid jump destination",
  "static state change": "write protection",
  "create collision": "contract address collision",
  "insufficient balance": "insufficient balance for transfer",
  "invalid bytecode deployed": "invalid code: must not begin with 0xef",
  "initcode exceeds max initcode size": "max initcode size exceeded",
  "value out of range": "return data out of bounds",
};

/** An {@link Engine} made of `@ethereumjs/evm`. */
export class EthereumjsEngine implements Engine {
  readonly #chainId: number;
  readonly #idle = new Map<HardforkName, Machine[]>();
  readonly #idlePaced = new Map<HardforkName, Machine[]>();

  /** `chainId` is what CHAINID yields. */
  constructor(chainId: number) {
    this.#chainId = chainId;
  }

  async run(message: Message, environment: BlockEnvironment, state: EvmState, pace?: Pace): Promise<EngineResult> {
    const { hardfork } = environment;
    const machines = pace === undefined ? this.#idle : this.#idlePaced;
    const machine = machines.get(hardfork)?.pop() ?? (await this.#createMachine(hardfork, pace !== undefined));
    if (machine.holder !== undefined) machine.holder.pace = pace;
    // A machine whose run throws is dropped: its journal may be left half way.
    const result = await runOn(machine, message, environment, state);
    const idle = machines.get(hardfork) ?? [];
    if (idle.length < IDLE_MACHINES_LIMIT) idle.push(machine);
    machines.set(hardfork, idle);
    return result;
  }

  async #createMachine(hardfork: HardforkName, paced: boolean): Promise<Machine> {
    const common: Common = createCustomCommon({ chainId: this.#chainId }, Mainnet, {
      hardfork,
      customCrypto: { keccak256, kzg, ecrecover },
    });
    const state = new EthereumjsState();
    const holder: PaceHolder | undefined = paced ? { pace: undefined } : undefined;
    const evm = await createEVM({
      common,
      stateManager: state,
      ...(holder === undefined ? {} : { customPrecompiles: pacedPrecompiles(common, holder) }),
    });
    evm.events.on("beforeMessage", (call) => state.creating(call.to === undefined));
    if (holder !== undefined) paceOpcodes(evm, holder);
    return { evm, state, holder };
  }
}

/** The ecrecover contract by our native recovery; EthereumJS takes an exception for "no such key". */
function ecrecover(hash: Bytes, v: bigint, r: Bytes, s: Bytes): Bytes {
  const key = recoverPublicKey(hash, bigintOfBytes(r), bigintOfBytes(s), Number(v) - 27);
  if (key === undefined) throw new CocoError("MalformedInput", "the signature has no public key");
  return key;
}

async function runOn(
  machine: Machine,
  message: Message,
  environment: BlockEnvironment,
  state: EvmState,
): Promise<EngineResult> {
  const { evm } = machine;
  machine.state.use(state);
  evm.transientStorage.clear();
  evm.journal.cleanJournal();
  if (message.reportAccessList === true) evm.journal.startReportingAccessList();
  if (isAtLeast(environment.hardfork, "berlin")) warm(evm, message, environment);
  evm.blockchain = {
    getBlock: (number) => Promise.resolve({ hash: () => environment.blockHash(number) ?? ZERO_HASH }),
    putBlock: () => Promise.resolve(),
    shallowCopy: () => evm.blockchain,
  };
  const caller = new Address(message.from);
  const result = await evm.runCall({
    block: { header: headerOf(environment) },
    gasPrice: message.gasPrice,
    origin: caller,
    caller,
    ...(message.to === undefined ? {} : { to: new Address(message.to) }),
    value: message.value,
    data: message.data,
    gasLimit: BigInt(message.gasLimit),
    blobVersionedHashes: message.blobVersionedHashes.map((hash): `0x${string}` => `0x${toHex(hash)}`),
    skipNonceIncrement: true,
  });
  const accessList = evm.journal.accessList;
  delete evm.journal.accessList;
  return resultOf(result, environment.hardfork, accessList === undefined ? undefined : accessListOf(accessList));
}

function warm(evm: EVM, message: Message, environment: BlockEnvironment): void {
  const { journal } = evm;
  for (const precompile of getActivePrecompiles(evm.common).keys()) journal.addAlwaysWarmAddress(precompile);
  journal.addAlwaysWarmAddress(toHex(message.from));
  if (message.to !== undefined) journal.addAlwaysWarmAddress(toHex(message.to));
  if (isAtLeast(environment.hardfork, "shanghai")) journal.addAlwaysWarmAddress(toHex(environment.coinbase));
  for (const address of message.warmAddresses) journal.addAlwaysWarmAddress(toHex(address));
  for (const { address, storageKeys } of message.accessList) {
    journal.addAlwaysWarmAddress(toHex(address), true);
    for (const slot of storageKeys) journal.addAlwaysWarmSlot(toHex(address), toHex(slot), true);
  }
}

function headerOf(environment: BlockEnvironment) {
  return {
    number: BigInt(environment.number),
    coinbase: new Address(environment.coinbase),
    timestamp: BigInt(environment.timestamp),
    difficulty: environment.difficulty,
    prevRandao: environment.prevRandao,
    gasLimit: BigInt(environment.gasLimit),
    ...(environment.baseFeePerGas === undefined ? {} : { baseFeePerGas: environment.baseFeePerGas }),
    getBlobGasPrice: () => blobBaseFee(environment),
  };
}

function bytesOfPrefixedHex(text: string): Bytes {
  return fromHex(text.startsWith("0x") ? text.slice(2) : text);
}

function accessListOf(touched: ReadonlyMap<string, ReadonlySet<string>>): AccessList {
  return [...touched].map(([address, slots]) => ({
    address: bytesOfPrefixedHex(address),
    storageKeys: [...slots].map((slot) => bytesOfPrefixedHex(slot)),
  }));
}

function resultOf(result: EVMResult, hardfork: HardforkName, accessList: AccessList | undefined): EngineResult {
  const { exceptionError, executionGasUsed, gasRefund, logs, returnValue, selfdestruct, createdAddresses } =
    result.execResult;
  // Frontier keeps a contract whose code could not be paid for, without code: no failure.
  const failure =
    exceptionError?.error === "code store out of gas" && hardfork === "chainstart" ? undefined : exceptionError?.error;
  const success = failure === undefined;
  const destroyed = success ? [...(selfdestruct?.keys() ?? [])] : [];
  const removed = isAtLeast(hardfork, "cancun")
    ? destroyed.filter((address) => createdAddresses?.has(address) === true)
    : destroyed;
  const gasUsed = Number(executionGasUsed);
  invariant(Number.isSafeInteger(gasUsed), "gas used is not a safe integer");
  return {
    success,
    reverted: failure === "revert",
    error: failure === undefined ? undefined : (GO_ETHEREUM_WORDS[failure] ?? failure),
    returnData: success || failure === "revert" ? returnValue.slice() : EMPTY,
    gasUsed,
    gasRefund: success ? Number(gasRefund ?? 0n) : 0,
    logs: success ? (logs ?? []).map(logOf) : [],
    createdAddress: result.createdAddress?.bytes,
    selfDestructed: removed.map(bytesOfPrefixedHex),
    accessList,
  };
}

function logOf([address, topics, data]: EthereumjsLog): Log {
  return { address, topics, data };
}
