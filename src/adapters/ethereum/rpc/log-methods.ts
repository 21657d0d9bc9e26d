/**
 * Log queries and polled filters. Source: execution-apis `src/eth/filter.yaml`, go-ethereum `eth/filters/api.go`.
 */
import type { RequestViews } from "../../adapter.ts";
import { readHead } from "../block.ts";
import { blockByHash } from "../chain.ts";
import { Parameters } from "./decode.ts";
import type { JsonValue } from "./encode.ts";
import { invalidParameters, serverError } from "./fault.ts";
import type { FilterKind, Filters } from "./filters.ts";
import { type LogQuery, logsBetween, logsOfBlock, toLogQuery } from "./logs.ts";
import { committedQuery, type Method, type MethodTable } from "./method.ts";
import { resolveNumber } from "./views.ts";

/** Methods that find logs, once or by polling `filters`. */
export function logMethods(filters: Filters): MethodTable {
  return {
    eth_getLogs: (values) => {
      const query = new Parameters(values, 1).required(0, toLogQuery);
      return committedQuery((views) => findLogs(query, views));
    },
    eth_newFilter: (values) => {
      const query = new Parameters(values, 1).required(0, toLogQuery);
      return committedQuery((views) => installLogFilter(filters, query, views));
    },
    eth_newBlockFilter: installMethod(filters, { type: "blocks" }),
    eth_newPendingTransactionFilter: (values) => {
      // The parameter asks for whole transactions instead of hashes; only hashes are served.
      if (new Parameters(values, 1).optional(0, (value) => value) === true)
        throw invalidParameters("full pending transactions are not supported");
      return installMethod(filters, { type: "transactions" })([]);
    },
    eth_uninstallFilter: (values) => {
      const id = filterId(values);
      return committedQuery(() => filters.uninstall(id));
    },
    eth_getFilterChanges: (values) => {
      const id = filterId(values);
      return committedQuery(({ committed }) => filters.changes(id, committed));
    },
    eth_getFilterLogs: (values) => {
      const id = filterId(values);
      return committedQuery((views) => findLogs(filters.logQuery(id), views));
    },
  };
}

const NOT_AN_ID = "invalid argument 0: json: cannot unmarshal non-string into Go value of type rpc.ID";

function filterId(values: unknown): string {
  return new Parameters(values, 1).required(0, (value) => {
    if (typeof value !== "string") throw invalidParameters(NOT_AN_ID);
    return value.toLowerCase();
  });
}

function installMethod(filters: Filters, kind: FilterKind): Method {
  return (values) => {
    new Parameters(values, 0);
    return committedQuery(({ committed }) => filters.install(kind, readHead(committed) + 1));
  };
}

/** The range of a query; its ends are not compared with the head. */
function rangeOf(query: LogQuery, views: RequestViews): { readonly from: number; readonly to: number } {
  const from = resolveNumber(views, query.from) ?? 0;
  const to = resolveNumber(views, query.to) ?? 0;
  if (from > to) throw invalidParameters("invalid block range params");
  return { from, to };
}

function findLogs(query: LogQuery, views: RequestViews): JsonValue {
  const { committed } = views;
  if (query.blockHash !== undefined) {
    const block = blockByHash(committed, query.blockHash);
    if (block === undefined) throw serverError("unknown block");
    return logsOfBlock(committed, block, query).logs;
  }
  const { from, to } = rangeOf(query, views);
  if (to > readHead(committed)) throw invalidParameters("block range extends beyond current head block");
  return logsBetween(committed, query, from, to);
}

/** A filter reports blocks from the next one on, of its range if it names one. */
function installLogFilter(filters: Filters, query: LogQuery, views: RequestViews): JsonValue {
  if (query.blockHash !== undefined) throw invalidParameters("a filter by block hash never changes: use eth_getLogs");
  const next = readHead(views.committed) + 1;
  const isOpen = query.to.type === "tag" && query.to.tag !== "earliest";
  // An open range has no end to compare with.
  const { from, to } = isOpen
    ? { from: resolveNumber(views, query.from) ?? 0, to: Number.MAX_SAFE_INTEGER }
    : rangeOf(query, views);
  return filters.install({ type: "logs", query, lastBlock: to }, Math.max(next, from));
}
