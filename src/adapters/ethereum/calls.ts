/**
 * Calls that leave nothing behind: `eth_call`, `eth_estimateGas`, `eth_createAccessList`. They run the same engine on an
 * overlay over a read-only version, one at a time and at a bounded pace (call-gate.ts, pace.ts). Order of checks
 * and words follow go-ethereum (`internal/ethapi`, `eth/gasestimator`).
 */
import { type Bytes, bytesEqual, EMPTY, toHex } from "../../core/codec/bytes.ts";
import type { BatchContext, StateReader } from "../adapter.ts";
import { applyAuthorizations } from "./authorizations.ts";
import { CallGate } from "./call-gate.ts";
import { environmentOfHeader, nextEnvironment, readBlock, readHeadBlock } from "./block.ts";
import type { Engine, EngineResult } from "./engine.ts";
import { EMPTY_ACCOUNT, EvmState } from "./evm-state.ts";
import { finalGas } from "./execute.ts";
import { isAtLeast, MAXIMUM_INITCODE_BYTES, MAXIMUM_TRANSACTION_GAS } from "./forks.ts";
import { floorGas, intrinsicGas, TRANSFER_GAS } from "./gas.ts";
import type { Clock, Pace } from "./pace.ts";
import { revertFault } from "./revert-reason.ts";
import type { AccessList, Authorization, BlockEnvironment, EthereumOptions, RpcFault } from "./types.ts";
import { refusal } from "./validate.ts";

/** Most gas a call may use (go-ethereum's RPC gas cap). */
export const CALL_GAS_LIMIT = 50_000_000;

/** An estimate may be this much above the least sufficient gas (go-ethereum's `estimateGasErrorRatio`). */
export const ESTIMATE_ERROR_RATIO = 0.015;

/** Gas a called contract gets for free with a transfer of value. */
const CALL_STIPEND = 2300;

/** Most rounds of {@link EthereumCalls.createAccessList}; the list settles after two or three. */
const ACCESS_LIST_ROUNDS_LIMIT = 16;

const ZERO_ADDRESS = new Uint8Array(20);

/** A call as JSON-RPC describes it, decoded. */
export interface CallRequest {
  /** Zero address unless given. */
  readonly from?: Bytes;
  /** Undefined creates a contract. */
  readonly to?: Bytes;
  readonly data?: Bytes;
  readonly value?: bigint;
  readonly gas?: number;
  readonly gasPrice?: bigint;
  readonly maxFeePerGas?: bigint;
  readonly maxPriorityFeePerGas?: bigint;
  readonly accessList?: AccessList;
  readonly authorizationList?: readonly Authorization[];
  readonly blobVersionedHashes?: readonly Bytes[];
}

/** Changes to an account before a call. `state` replaces all storage, `stateDiff` single slots. */
export interface AccountOverride {
  readonly address: Bytes;
  readonly balance?: bigint;
  readonly nonce?: number;
  readonly code?: Bytes;
  readonly state?: readonly { readonly slot: Bytes; readonly value: Bytes }[];
  readonly stateDiff?: readonly { readonly slot: Bytes; readonly value: Bytes }[];
}

/** Where and on what a call runs. */
export interface CallPlace {
  readonly view: StateReader;
  readonly environment: BlockEnvironment;
  readonly overrides?: readonly AccountOverride[];
}

/** A call that ran, whether or not it succeeded. */
export interface CallResult {
  readonly success: boolean;
  /** What was returned, or the reason of a revert. */
  readonly returnData: Bytes;
  /** Gas a transaction would have used, intrinsic gas and refunds included. */
  readonly gasUsed: number;
  /** Gas used before refunds. */
  readonly peakGasUsed: number;
  /** Why it failed: a revert (code 3, with data) or go-ethereum's words; undefined on success. */
  readonly fault: RpcFault | undefined;
  /** Whether it failed for lack of gas alone. */
  readonly outOfGas: boolean;
  readonly logs: EngineResult["logs"];
  readonly createdAddress: Bytes | undefined;
  readonly accessList: AccessList | undefined;
}

/** The result of a call, or why it could not start. */
export type CallOutcome =
  | { readonly type: "ran"; readonly result: CallResult }
  /** `needsGas` tells that more gas would help. */
  | { readonly type: "refused"; readonly fault: RpcFault; readonly needsGas: boolean };

/** The least gas that suffices (within {@link ESTIMATE_ERROR_RATIO}), or why none does. */
export type EstimateOutcome =
  | { readonly type: "estimated"; readonly gas: number }
  | { readonly type: "failed"; readonly fault: RpcFault };

/** The access list a call would profit from, and the gas it uses with it. */
export type AccessListOutcome =
  | {
      readonly type: "created";
      readonly accessList: AccessList;
      readonly gasUsed: number;
      readonly error: string | undefined;
    }
  | { readonly type: "failed"; readonly fault: RpcFault };

/** The state a call starts from. */
export function overriddenState(place: CallPlace): EvmState {
  const state = new EvmState(place.view);
  for (const { address, balance, nonce, code, state: all, stateDiff } of place.overrides ?? []) {
    const account = state.account(address) ?? EMPTY_ACCOUNT;
    state.setAccount(address, { ...account, balance: balance ?? account.balance, nonce: nonce ?? account.nonce });
    if (code !== undefined) state.setCode(address, code);
    if (all !== undefined) state.clearStorage(address);
    for (const { slot, value } of [...(all ?? []), ...(stateDiff ?? [])]) state.setStorage(address, slot, value);
  }
  state.startTransaction();
  return state;
}

function feeCapOf(request: CallRequest): bigint {
  return request.maxFeePerGas ?? request.gasPrice ?? 0n;
}

/** Calls without a price see a base fee of zero: they pay nothing and must not break `base fee <= gas price`. */
function environmentOfCall(request: CallRequest, environment: BlockEnvironment): BlockEnvironment {
  return environment.baseFeePerGas !== undefined && feeCapOf(request) === 0n
    ? { ...environment, baseFeePerGas: 0n }
    : environment;
}

/** Bounds of one run; `accessList` asks for the list of what it touched. */
interface Bounds {
  readonly gas: number;
  readonly pace: Pace;
  readonly accessList?: boolean;
}

/** Calls, estimates and access lists. */
export class EthereumCalls {
  readonly #options: EthereumOptions;
  readonly #engine: Engine;
  readonly #gate: CallGate;

  constructor(options: EthereumOptions, engine: Engine, clock: Clock) {
    this.#options = options;
    this.#engine = engine;
    this.#gate = new CallGate(clock);
  }

  /** Environment of a call on top of block `number` (as that block's transactions saw it); undefined when there is none. */
  environmentOf(view: StateReader, number: number): BlockEnvironment | undefined {
    const block = readBlock(view, number);
    return block === undefined ? undefined : environmentOfHeader(view, block.header, this.#options);
  }

  /** Environment of a call in the block after the newest of `view`. */
  nextEnvironment(view: StateReader, context: BatchContext): BlockEnvironment {
    return nextEnvironment(view, readHeadBlock(view), this.#options, context);
  }

  /** Runs a call with the gas it names, at most {@link CALL_GAS_LIMIT}. */
  async call(request: CallRequest, place: CallPlace): Promise<CallOutcome> {
    const gas = Math.min(request.gas ?? CALL_GAS_LIMIT, CALL_GAS_LIMIT);
    const passage = await this.#gate.pass((pace) => this.#run(request, place, { gas, pace }));
    if (passage.type === "stopped") return { type: "refused", fault: passage.fault, needsGas: false };
    const outcome = passage.value;
    if (outcome.type === "ran") return outcome;
    return { ...outcome, fault: { ...outcome.fault, message: `err: ${outcome.fault.message} (supplied gas ${gas})` } };
  }

  /** Runs a call with exactly the gas of its bounds. */
  async #run(request: CallRequest, place: CallPlace, { gas, pace, accessList = false }: Bounds): Promise<CallOutcome> {
    await pace.check();
    const environment = environmentOfCall(request, place.environment);
    const { hardfork } = environment;
    const state = overriddenState(place);
    const message = messageOf(request);
    const refused = (words: string, needsGas = false): CallOutcome => ({
      type: "refused",
      fault: refusal(words),
      needsGas,
    });
    const cap = feeCapOf(request);
    const from = `0x${toHex(message.from)}`;
    if (cap > 0n && cap < (environment.baseFeePerGas ?? 0n)) {
      return refused(
        `max fee per gas less than block base fee: address ${from}, maxFeePerGas: ${cap}, baseFee: ${environment.baseFeePerGas}`,
      );
    }
    const sender = state.account(message.from) ?? EMPTY_ACCOUNT;
    const cost = BigInt(gas) * cap + message.value;
    if (sender.balance < cost) {
      return refused(`insufficient funds for gas * price + value: address ${from} have ${sender.balance} want ${cost}`);
    }
    const intrinsic = intrinsicGas(message, hardfork);
    if (gas < intrinsic) return refused(`intrinsic gas too low: have ${gas}, want ${intrinsic}`, true);
    const floor = floorGas(message, hardfork);
    if (gas < floor) return refused(`insufficient gas for floor data gas cost: have ${gas}, want ${floor}`, true);
    if (message.to === undefined && isAtLeast(hardfork, "shanghai") && message.data.length > MAXIMUM_INITCODE_BYTES) {
      return refused(`max initcode size exceeded: code size ${message.data.length} limit ${MAXIMUM_INITCODE_BYTES}`);
    }
    const gasPrice = priceOf(request, environment);
    state.setAccount(message.from, {
      ...sender,
      nonce: sender.nonce + 1,
      balance: sender.balance - BigInt(gas) * gasPrice,
    });
    const applied = applyAuthorizations(message.authorizationList, this.#options.chainId, state);
    const engineMessage = {
      ...message,
      gasLimit: gas - intrinsic,
      gasPrice,
      warmAddresses: applied.warmAddresses,
      reportAccessList: accessList,
    };
    const result = await this.#engine.run(engineMessage, environment, state, pace);
    const peak = Math.max(intrinsic + result.gasUsed, floor);
    const gasUsed = finalGas(intrinsic + result.gasUsed, result.gasRefund + applied.gasRefund, message, hardfork);
    return { type: "ran", result: resultOf(result, gasUsed, peak) };
  }

  /** The least gas with which the call succeeds, found by go-ethereum's search so that both give the same figure. */
  async estimateGas(request: CallRequest, place: CallPlace): Promise<EstimateOutcome> {
    const passage = await this.#gate.pass((pace) => this.#estimate(request, place, pace));
    return passage.type === "done" ? passage.value : { type: "failed", fault: passage.fault };
  }

  async #estimate(request: CallRequest, place: CallPlace, pace: Pace): Promise<EstimateOutcome> {
    const highest = this.#highestGas(request, place);
    if (typeof highest !== "number") return { type: "failed", fault: highest };
    if (await this.#isTransfer(request, place, pace)) return { type: "estimated", gas: TRANSFER_GAS };
    const first = await this.#run(request, place, { gas: highest, pace });
    if (first.type === "refused") {
      return { type: "failed", fault: first.needsGas ? allowanceFault(highest) : failedWith(highest, first.fault) };
    }
    if (!first.result.success) {
      return {
        type: "failed",
        fault: first.result.outOfGas ? allowanceFault(highest) : (first.result.fault ?? allowanceFault(highest)),
      };
    }
    const suffices = (gas: number) => this.#suffices(request, place, { gas, pace });
    return { type: "estimated", gas: await leastGas(first.result, highest, suffices) };
  }

  /** Upper end of the search, or the fault of a sender who cannot even pay the value. */
  #highestGas(request: CallRequest, place: CallPlace): number | RpcFault {
    let highest = request.gas !== undefined && request.gas >= TRANSFER_GAS ? request.gas : place.environment.gasLimit;
    if (isAtLeast(place.environment.hardfork, "osaka")) highest = Math.min(highest, MAXIMUM_TRANSACTION_GAS);
    const cap = feeCapOf(request);
    if (cap > 0n) {
      const balance = overriddenState(place).account(request.from ?? ZERO_ADDRESS)?.balance ?? 0n;
      const value = request.value ?? 0n;
      if (value > 0n && value >= balance) return refusal("insufficient funds for transfer");
      const allowance = (balance - value) / cap;
      if (allowance < BigInt(highest)) highest = Number(allowance);
    }
    return Math.min(highest, CALL_GAS_LIMIT);
  }

  async #isTransfer(request: CallRequest, place: CallPlace, pace: Pace): Promise<boolean> {
    if (
      request.to === undefined ||
      (request.data?.length ?? 0) > 0 ||
      overriddenState(place).code(request.to).length > 0
    )
      return false;
    return this.#suffices(request, place, { gas: TRANSFER_GAS, pace });
  }

  async #suffices(request: CallRequest, place: CallPlace, bounds: Bounds): Promise<boolean> {
    const outcome = await this.#run(request, place, bounds);
    return outcome.type === "ran" && outcome.result.success;
  }

  /** Repeats the call with the list of what it touched until the list no longer changes. */
  async createAccessList(request: CallRequest, place: CallPlace): Promise<AccessListOutcome> {
    const passage = await this.#gate.pass((pace) => this.#accessList(request, place, pace));
    return passage.type === "done" ? passage.value : { type: "failed", fault: passage.fault };
  }

  async #accessList(request: CallRequest, place: CallPlace, pace: Pace): Promise<AccessListOutcome> {
    const gas = Math.min(request.gas ?? CALL_GAS_LIMIT, CALL_GAS_LIMIT);
    let accessList = request.accessList ?? [];
    for (let round = 1; ; round++) {
      const outcome = await this.#run({ ...request, accessList }, place, { gas, pace, accessList: true });
      if (outcome.type === "refused") return { type: "failed", fault: outcome.fault };
      const touched = withoutKnown(outcome.result.accessList ?? [], request, outcome.result.createdAddress);
      if (round === ACCESS_LIST_ROUNDS_LIMIT || sameAccessList(accessList, touched)) {
        return {
          type: "created",
          accessList: touched,
          gasUsed: outcome.result.gasUsed,
          error: outcome.result.fault?.message,
        };
      }
      accessList = touched;
    }
  }
}

/** The search of an estimate, between the gas the call used and what it had at first. */
async function leastGas(
  first: CallResult,
  highest: number,
  suffices: (gas: number) => Promise<boolean>,
): Promise<number> {
  let low = first.gasUsed - 1;
  let high = highest;
  // Most often the gas used, the stipend and the sixty-fourth a call cannot pass on are enough.
  const likely = Math.floor(((first.peakGasUsed + CALL_STIPEND) * 64) / 63);
  if (likely < high) {
    if (await suffices(likely)) high = likely;
    else low = likely;
  }
  while (low + 1 < high && (high - low) / high >= ESTIMATE_ERROR_RATIO) {
    // Skewed to the low side: few calls need much more gas than they use.
    const middle = Math.min(low + Math.floor((high - low) / 2), low * 2);
    if (await suffices(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function messageOf(request: CallRequest) {
  return {
    from: request.from ?? ZERO_ADDRESS,
    to: request.to,
    data: request.data ?? EMPTY,
    value: request.value ?? 0n,
    accessList: request.accessList ?? [],
    authorizationList: request.authorizationList ?? [],
    blobVersionedHashes: request.blobVersionedHashes ?? [],
  };
}

function priceOf(request: CallRequest, environment: BlockEnvironment): bigint {
  if (request.maxFeePerGas === undefined) return request.gasPrice ?? 0n;
  const wanted = (environment.baseFeePerGas ?? 0n) + (request.maxPriorityFeePerGas ?? 0n);
  return wanted < request.maxFeePerGas ? wanted : request.maxFeePerGas;
}

function resultOf(result: EngineResult, gasUsed: number, peakGasUsed: number): CallResult {
  const fault = result.success
    ? undefined
    : result.reverted
      ? revertFault(result.returnData)
      : refusal(result.error ?? "execution failed");
  return {
    success: result.success,
    returnData: result.returnData,
    gasUsed,
    peakGasUsed,
    fault,
    outOfGas: result.error === "out of gas",
    logs: result.logs,
    createdAddress: result.createdAddress,
    accessList: result.accessList,
  };
}

function allowanceFault(gas: number): RpcFault {
  return refusal(`gas required exceeds allowance (${gas})`);
}

function failedWith(gas: number, fault: RpcFault): RpcFault {
  return { ...fault, message: `failed with ${gas} gas: ${fault.message}` };
}

/** Drops the addresses that are warm anyway (sender, recipient, precompiles) unless slots of them were touched. */
function withoutKnown(touched: AccessList, request: CallRequest, created: Bytes | undefined): AccessList {
  const known = [
    request.from ?? ZERO_ADDRESS,
    ...(request.to === undefined ? [] : [request.to]),
    ...(created === undefined ? [] : [created]),
  ];
  return touched.filter(
    ({ address, storageKeys }) => storageKeys.length > 0 || !known.some((other) => bytesEqual(other, address)),
  );
}

function sameAccessList(left: AccessList, right: AccessList): boolean {
  const text = (list: AccessList): string =>
    JSON.stringify(list.map(({ address, storageKeys }) => [toHex(address), storageKeys.map(toHex).sort()]).sort());
  return text(left) === text(right);
}
