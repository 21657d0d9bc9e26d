/**
 * What a simulated network runs: an adapter, the clients that use it, and what must hold of its state besides that all
 * nodes have the same one.
 */
import type {
  Adapter,
  AdapterComponents,
  PrepareFunction,
  StateReader,
  TableDefinition,
} from "../../src/adapters/adapter.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { AdapterEntry } from "../../src/core/governance/constitution.ts";
import type { WrittenKey } from "../../src/core/kv/types.ts";
import type { ClientWorld } from "./client-requests.ts";
import type { ReadChecker } from "./read-checker.ts";
import type { SimulatedNode } from "./simulated-node.ts";

/** A client of a simulated network. */
export interface Client {
  /** Transactions whose outcome is not final. */
  readonly pending: number;
  /** Starts to send jobs. */
  start(): void;
  /** Begins no more jobs. */
  finish(): void;
  /** Sends one transaction to these nodes alone and pursues it until it is included. */
  probe(nodes: readonly SimulatedNode[]): void;
}

/** A version of the committed state, as replaying the ledger makes it. */
export interface ReplayedVersion {
  readonly state: StateReader;
  readonly written: readonly WrittenKey[];
  /** Ids of the transactions that the version includes, in order. */
  readonly included: readonly string[];
  /** Transactions in the ledger so far. */
  readonly total: number;
}

/** See the module's header. */
export interface SimulatedProtocol {
  /** The adapter as the constitution lists it. */
  readonly adapter: AdapterEntry;
  readonly tables: readonly TableDefinition[];
  readonly prepare: PrepareFunction;
  /** Whether the adapter gives promises by itself. */
  readonly isAsynchronous: boolean;
  createAdapter(components: AdapterComponents): Adapter;
  /** A transaction's id in the ledger as text. */
  idOf(id: Bytes): string;
  /** The actor of the client that sent a transaction, or the owner where ids do not tell. */
  senderOf(id: string): string;
  /** Checks the versions of one run, in order, and tells `reads` which values there were. */
  createReplayCheck(reads: ReadChecker): (version: ReplayedVersion) => void;
  /** @param place its number among the clients */
  createClient(world: ClientWorld, name: string, place: number): Client;
}
