/**
 * From a block reference of a client to the state or the block it names.
 *
 * Blocks of the whole chain stand in the newest committed version. State of an older block is in the version that block
 * made, while the framework keeps it. `pending` is the newest executed version, which only the leader has: a query that
 * needs it says so before it runs ({@link needsPending}), so that the request can be sent to the leader.
 */
import { toHex } from "../../../core/codec/bytes.ts";
import type { RequestViews, StateReader } from "../../adapter.ts";
import { readHead } from "../block.ts";
import { blockByNumber, blockNumberByHash } from "../chain.ts";
import type { BlockRecord } from "../types.ts";
import type { BlockReference } from "./decode.ts";
import { RPC_CODES, RpcError, serverError } from "./fault.ts";

/** Whether only the leader can answer a query about this block. */
export function needsPending(reference: BlockReference): boolean {
  return reference.type === "tag" && reference.tag === "pending";
}

/** The newest executed version. Throws when this node stopped leading between taking the request and answering it. */
export function pendingState(views: RequestViews): StateReader {
  if (views.pending !== undefined) return views.pending;
  throw new RpcError(RPC_CODES.internal, "pending state is not available: this node no longer leads, ask again");
}

/** Number of the block; for a number, whether or not there is such a block; undefined for an unknown hash. */
export function resolveNumber(views: RequestViews, reference: BlockReference): number | undefined {
  if (reference.type === "number") return reference.number;
  if (reference.type === "hash") return blockNumberByHash(views.committed, reference.hash);
  if (reference.tag === "earliest") return 0;
  return readHead(reference.tag === "pending" ? pendingState(views) : views.committed);
}

/** The block; undefined when there is none. */
export function resolveBlock(views: RequestViews, reference: BlockReference): BlockRecord | undefined {
  const number = resolveNumber(views, reference);
  if (number === undefined) return undefined;
  return blockByNumber(needsPending(reference) ? pendingState(views) : views.committed, number);
}

/** State after the block. Throws when there is no such block or its state is not kept any more. */
export function resolveState(views: RequestViews, reference: BlockReference): StateReader {
  if (needsPending(reference)) return pendingState(views);
  const number = resolveNumber(views, reference);
  if (number === undefined) throw serverError("header for hash not found");
  const head = readHead(views.committed);
  if (number > head) throw serverError("header not found");
  return number === head ? views.committed : keptState(views, number, head);
}

/**
 * The newest kept version whose head is block `number`. A version adds at most one block, so going back as many versions
 * as there are blocks too many never passes it; versions without a block only make the walk take more steps.
 */
function keptState(views: RequestViews, number: number, head: number): StateReader {
  let version = views.committed.version - (head - number);
  for (;;) {
    const state = version < 0 ? undefined : views.at(version);
    if (state === undefined) throw stateNotKept(views, number, head);
    const tooMany = readHead(state) - number;
    if (tooMany === 0) return state;
    if (tooMany < 0) throw stateNotKept(views, number, head);
    version -= tooMany;
  }
}

function stateNotKept(views: RequestViews, number: number, head: number): RpcError {
  const root = blockByNumber(views.committed, number)?.header.stateRoot;
  const node = root === undefined ? "" : ` ${toHex(root)} (path )`;
  const kept = `blocks ${oldestKept(views)} to ${head}`;
  return serverError(`missing trie node${node}: the state of block ${number} is not available, kept: ${kept}`);
}

/** Oldest block whose state is kept: kept versions are the newest ones without a gap, so the first is found by halving. */
function oldestKept(views: RequestViews): number {
  let missing = -1;
  let kept = views.committed.version;
  while (kept - missing > 1) {
    const middle = Math.floor((kept + missing) / 2);
    if (views.at(middle) === undefined) missing = middle;
    else kept = middle;
  }
  return readHead(views.at(kept) ?? views.committed);
}
