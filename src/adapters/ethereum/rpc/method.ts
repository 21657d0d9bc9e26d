/**
 * The contract of a method: decode the parameters first, then say what is needed to answer. Decoding never touches
 * state, so a payload's faults, its transactions and its need for the leader are known before anything runs.
 */
import type { Bytes } from "../../../core/codec/bytes.ts";
import type { RequestViews } from "../../adapter.ts";
import type { JsonValue } from "./encode.ts";
import type { RpcError } from "./fault.ts";

/** Answers from state. */
export interface Query {
  readonly type: "query";
  /** Whether only the leader, who has the pending state, can answer. */
  readonly pending: boolean;
  /** Throws {@link RpcError}. */
  run(views: RequestViews): JsonValue | Promise<JsonValue>;
}

/** Puts a transaction into the ledger. */
export interface Submission {
  readonly type: "submission";
  /** What the framework prepares and orders. */
  readonly transaction: Bytes;
  /** Why it is refused without being submitted. */
  refusal(views: RequestViews): RpcError | undefined;
  /** The result of a transaction that was executed or is waiting to be; `result` is the executor's. */
  result(result: Bytes): JsonValue;
  /** Tells the client what to do when nobody knows what became of the transaction. */
  readonly remedy: string;
  /** The error for a transaction that is part of the chain already; undefined when that is no error. */
  readonly duplicate: RpcError | undefined;
}

/** Decodes parameters. Throws {@link RpcError} with code -32602. */
export type Method = (parameters: unknown) => Query | Submission;

/** Methods by name. */
export type MethodTable = Readonly<Record<string, Method>>;

/** A query of committed state. */
export function committedQuery(run: Query["run"]): Query {
  return { type: "query", pending: false, run };
}
