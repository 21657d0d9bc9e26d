/**
 * The one typed channel between the manager and a worker. Batches travel, not single messages.
 *
 * State in a worker is a row of versions, each the result of one batch. `execute` and `apply` add one; `commit` names the
 * newest that is committed; `rollback` drops what came after one. Both sides count versions alike. Every message that
 * depends on the uncommitted state carries `generation`, which grows with each rollback: late results of an older one
 * are ignored.
 *
 * Both sides decode strictly (wire-*.ts), and the manager takes a worker for hostile: manager/worker-guard.ts refuses what was not
 * asked for or breaks a bound, and the worker that said it is ended and begun again.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { TransactionRefusal } from "../../core/governance/rights.ts";
import type { TableOptions } from "../../core/kv/types.ts";
import type { Caller, ClientResponse, DroppedTransaction } from "../../adapters/adapter.ts";

/** A prepared transaction on its way; `id` names it in the whole network. */
export interface TransactionItem {
  readonly id: Bytes;
  readonly body: Bytes;
}

/** One executed transaction: what goes into the ledger. Parts are encoded write sets (core/kv). */
export interface ExecutedTransaction {
  /** Id of the prepared transaction; empty for the end-of-batch transaction. */
  readonly id: Bytes;
  readonly publicPart: Bytes;
  readonly privatePart: Bytes;
  readonly claimsDigest: Bytes | undefined;
}

/** Outcome of one item of an `execute` message, in its order. */
export type ItemOutcome =
  | { readonly type: "included"; readonly result: Bytes; readonly position: number }
  | { readonly type: "rejected"; readonly error: Bytes }
  | { readonly type: "waiting"; readonly result: Bytes }
  | { readonly type: "duplicate"; readonly result: Bytes }
  /** No room in this batch: send it again in the next. */
  | { readonly type: "deferred" }
  /** Its sender has no right to transact at the place of the ledger where it would come: it was not executed. */
  | { readonly type: "refused"; readonly code: TransactionRefusal }
  | { readonly type: "unavailable"; readonly code: string };

/** Manager to worker. */
export type ToWorker =
  /** New client requests. `leading`: whether this node leads, so that pending state may be served. */
  | {
      readonly type: "requests";
      readonly leading: boolean;
      readonly requests: readonly {
        readonly id: number;
        readonly path: string;
        readonly body: Bytes;
        readonly caller: Caller;
        /** The committed version the answer must have seen; a linearizable read waits for it. */
        readonly minVersion?: number;
      }[];
    }
  /** Outcomes of the transactions of earlier requests, per request in the order submitted. */
  | {
      readonly type: "outcomes";
      readonly requests: readonly { readonly id: number; readonly outcomes: readonly ItemOutcome[] }[];
    }
  /** Requests that will not be answered any more (client gone, timed out). */
  | { readonly type: "forget"; readonly ids: readonly number[] }
  | { readonly type: "genesis"; readonly generation: number; readonly timeMs: number; readonly randomness: Bytes }
  | {
      readonly type: "execute";
      readonly generation: number;
      readonly timeMs: number;
      readonly randomness: Bytes;
      readonly items: readonly TransactionItem[];
    }
  /** A batch executed elsewhere (or before a restart): encoded write sets in order. */
  | { readonly type: "apply"; readonly generation: number; readonly parts: readonly Bytes[] }
  /** `version` is committed, at this place in the ledger. */
  | {
      readonly type: "commit";
      readonly batches: readonly {
        readonly version: number;
        readonly view: number;
        readonly firstSeqno: number;
        readonly count: number;
      }[];
    }
  /** Asks for a `pong`, behind every change of state that was sent before. */
  | { readonly type: "ping"; readonly id: number }
  /** Drop every version after `version`. */
  | { readonly type: "rollback"; readonly version: number; readonly generation: number }
  /** The adapter goes on under other options, from the head of its state, which is committed. */
  | { readonly type: "configure"; readonly options: unknown }
  /**
   * Hold a committed version for export, in place of the one held before. Execution, commits and queries go on meanwhile.
   * Parts have at most `maxBytes`, which worker/state-transfer.ts bounds on both sides.
   */
  | { readonly type: "exportSnapshot"; readonly version: number; readonly maxBytes: number }
  /** Pulls one part of the version that is held for export. */
  | { readonly type: "nextPart"; readonly version: number }
  /**
   * A part of an exported state, in order. `first` drops what was imported before; with `last` the state as a whole is
   * replaced by this version, which is committed. Parts that are not what an export makes end the worker.
   */
  | {
      readonly type: "importSnapshot";
      readonly version: number;
      readonly part: Bytes;
      readonly first: boolean;
      readonly last: boolean;
    };

/** Worker to manager. */
export type FromWorker =
  /** The adapter is loaded; these are the tables it may write. */
  | { readonly type: "ready"; readonly tables: readonly TableOptions[] }
  | {
      readonly type: "responses";
      readonly responses: readonly { readonly id: number; readonly response: ClientResponse }[];
    }
  /** Requests only the leader can answer. */
  | { readonly type: "leader"; readonly ids: readonly number[] }
  /** Prepared transactions of a request; invalid ones are already answered for and not among them. */
  | {
      readonly type: "submit";
      readonly submissions: readonly { readonly id: number; readonly items: readonly TransactionItem[] }[];
    }
  /**
   * Result of `execute` or `genesis`. Without transactions no version was added. `dropped`: waiting transactions that will
   * never run. `more`: another batch could run at once. `tooLarge`: more was written than any batch holds, and is left out.
   */
  | {
      readonly type: "executed";
      readonly generation: number;
      readonly outcomes: readonly ItemOutcome[];
      readonly transactions: readonly ExecutedTransaction[];
      readonly dropped: readonly DroppedTransaction[];
      readonly more: boolean;
      readonly tooLarge?: boolean;
    }
  /** Answer to `nextPart`. */
  | { readonly type: "snapshotPart"; readonly version: number; readonly part: Bytes; readonly last: boolean }
  /** The version is not held for export: it is not committed, not kept any more, or another took its place. */
  | { readonly type: "snapshotUnavailable"; readonly version: number }
  /** A part was taken in, the next may come: so that no more than one need be under way. */
  | { readonly type: "nextPart"; readonly version: number }
  /** The last part was taken in: the imported version is the state. */
  | { readonly type: "imported"; readonly version: number }
  /**
   * The code of this node has no such adapter, or it cannot take its options. An adapter that ran keeps its state as batches
   * come, and is `ready` again under options it can take; one that never ran has none.
   */
  | { readonly type: "unable"; readonly message: string }
  /** Answer to `ping`. */
  | { readonly type: "pong"; readonly id: number }
  /** A line for the operator's log. */
  | { readonly type: "log"; readonly message: string }
  /** The worker broke and cannot go on. */
  | { readonly type: "failed"; readonly message: string };
