/**
 * Methods that read accounts, at the newest committed block unless the client names another.
 * Source: execution-apis `src/eth/state.yaml`, EIP-1898.
 */
import type { StateReader } from "../../adapter.ts";
import { balanceOf, codeOf, nonceOf, storageOf } from "../chain.ts";
import { type BlockReference, Parameters, toFixed, toObject, toArray, toStorageSlot } from "./decode.ts";
import { data, type JsonValue, quantity, word } from "./encode.ts";
import { invalidParameters, RpcError } from "./fault.ts";
import type { MethodTable, Query } from "./method.ts";
import { needsPending, resolveState } from "./views.ts";

/** Most slots of one `eth_getStorageValues`. */
export const MAX_STORAGE_VALUES = 1024;
/** go-ethereum's code for a query beyond its limits in newer methods. */
const CLIENT_LIMIT_EXCEEDED = -38026;

/** A query of the state after a block. */
export function stateQuery(
  reference: BlockReference,
  answer: (state: StateReader) => JsonValue | Promise<JsonValue>,
): Query {
  return { type: "query", pending: needsPending(reference), run: (views) => answer(resolveState(views, reference)) };
}

/** Methods that read accounts. */
export const STATE_METHODS: MethodTable = {
  eth_getBalance: (values) => {
    const parameters = new Parameters(values, 2);
    const address = parameters.address(0);
    return stateQuery(parameters.block(1), (state) => quantity(balanceOf(state, address)));
  },
  eth_getTransactionCount: (values) => {
    const parameters = new Parameters(values, 2);
    const address = parameters.address(0);
    return stateQuery(parameters.block(1), (state) => quantity(nonceOf(state, address)));
  },
  eth_getCode: (values) => {
    const parameters = new Parameters(values, 2);
    const address = parameters.address(0);
    return stateQuery(parameters.block(1), (state) => data(codeOf(state, address)));
  },
  eth_getStorageAt: (values) => {
    const parameters = new Parameters(values, 3);
    const address = parameters.address(0);
    const slot = parameters.required(1, toStorageSlot);
    return stateQuery(parameters.block(2), (state) => word(storageOf(state, address, slot)));
  },
  eth_getStorageValues: (values) => {
    const parameters = new Parameters(values, 2);
    const requests = parameters.required(0, toSlotRequests);
    return stateQuery(parameters.block(1), (state) => {
      const answers = requests.map(
        ({ name, address, slots }) => [name, slots.map((slot) => word(storageOf(state, address, slot)))] as const,
      );
      return Object.fromEntries(answers);
    });
  },
};

/** The slots asked for, by account. */
function toSlotRequests(value: unknown) {
  const requests = [...toObject(value, "map[common.Address][]string")].map(([name, slots]) => {
    const address = toFixed(name, 20);
    return { name: data(address), address, slots: toArray(slots, "[]string").map(toStorageSlot) };
  });
  const total = requests.reduce((sum, { slots }) => sum + slots.length, 0);
  if (total === 0) throw invalidParameters("empty request");
  if (total > MAX_STORAGE_VALUES)
    throw new RpcError(CLIENT_LIMIT_EXCEEDED, `too many slots (max ${MAX_STORAGE_VALUES})`);
  return requests;
}
