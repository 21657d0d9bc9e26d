/**
 * Calls that leave nothing behind. They run at the newest committed block unless the client names another, and see the
 * block they run at as its transactions did. Source: execution-apis `src/eth/execute.yaml`.
 */
import { invariant } from "../../../errors.ts";
import { readHead } from "../block.ts";
import type { CallPlace, CallRequest, EthereumCalls } from "../calls.ts";
import type { RpcFault } from "../types.ts";
import type { StateReader } from "../../adapter.ts";
import { type BlockOverrides, toBlockOverrides, toCallRequest, toStateOverrides } from "./call-arguments.ts";
import { Parameters } from "./decode.ts";
import { data, encodeAccessList, type JsonObject, quantity } from "./encode.ts";
import { RpcError } from "./fault.ts";
import type { Method, MethodTable } from "./method.ts";
import { stateQuery } from "./state-methods.ts";

/** What runs calls; {@link EthereumCalls} is one. */
export type Calls = Pick<EthereumCalls, "call" | "estimateGas" | "createAccessList" | "environmentOf">;

/** Calls, estimates and access lists on the chain with this id. */
export function callMethods(calls: Calls, chainId: number): MethodTable {
  return {
    eth_call: callMethod(calls, chainId, async (request, place) => {
      const outcome = await calls.call(request, place);
      if (outcome.type === "refused") throw toError(outcome.fault);
      if (outcome.result.fault !== undefined) throw toError(outcome.result.fault);
      return data(outcome.result.returnData);
    }),
    eth_estimateGas: callMethod(calls, chainId, async (request, place) => {
      const outcome = await calls.estimateGas(request, place);
      if (outcome.type === "failed") throw toError(outcome.fault);
      return quantity(outcome.gas);
    }),
    eth_createAccessList: callMethod(calls, chainId, async (request, place) => {
      const outcome = await calls.createAccessList(request, place);
      if (outcome.type === "failed") throw toError(outcome.fault);
      const list = { accessList: encodeAccessList(outcome.accessList), gasUsed: quantity(outcome.gasUsed) };
      return outcome.error === undefined ? list : { ...list, error: outcome.error };
    }),
  };
}

type Run = (request: CallRequest, place: CallPlace) => Promise<string | JsonObject>;

function callMethod(calls: Calls, chainId: number, run: Run): Method {
  return (values) => {
    const parameters = new Parameters(values, 4);
    const request = parameters.required(0, (value) => toCallRequest(value, chainId));
    const block = parameters.block(1);
    const overrides = parameters.optional(2, toStateOverrides) ?? [];
    const blockOverrides = parameters.optional(3, toBlockOverrides);
    return stateQuery(block, (view) =>
      run(request, { view, environment: environmentAt(calls, view, blockOverrides), overrides }),
    );
  };
}

function environmentAt(
  calls: Calls,
  view: StateReader,
  overrides: BlockOverrides | undefined,
): CallPlace["environment"] {
  const environment = calls.environmentOf(view, readHead(view));
  invariant(environment !== undefined, "the newest block is missing");
  return { ...environment, ...overrides };
}

function toError({ code, message, data: details }: RpcFault): RpcError {
  return new RpcError(code, message, details);
}
