/**
 * Everything the enclave sees of the world outside: the whole attack surface on one page.
 *
 * What comes in through a port is hostile until it is decoded and checked. All calls are made from one thread; callbacks
 * come back on the same thread, never inside the call that was given them.
 */
import type { Duplex } from "node:stream";
import type { Bytes } from "../core/codec/bytes.ts";
import type { LogEntry, NodeId, PersistRequest, HardState } from "../core/consensus/types.ts";
import type { AdapterEntry } from "../core/governance/constitution.ts";
import type { LedgerCrypto } from "../core/ledger/keys.ts";
import type { FromWorker, ToWorker } from "./worker/protocol.ts";

/** Time. The host owns it: only liveness depends on it, never safety. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Milliseconds since 1970. */
  wallTime(): number;
  /** Calls back once after `delayMs`; the result cancels. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The one source of randomness. */
export interface Entropy {
  bytes(length: number): Bytes;
}

/** Cryptography the manager uses; synchronous, with this node's key inside, so that a simulator can use a cheap one. */
export type Crypto = LedgerCrypto;

/** What consensus asks the disk for. */
export type DiskRequest = Omit<PersistRequest, "snapshot"> & {
  /** Drop the whole log: it begins anew after this snapshot, which is finished on this disk. Comes before `entries`. */
  readonly snapshot?: { readonly index: number; readonly term: number };
};

/** The ledger on disk. One request at a time is carried out, in order; `done` comes when it is durable. */
export interface Disk {
  persist(request: DiskRequest, done: () => void): void;
  /** Entries from `fromIndex`, at most `maxBytes` of them (at least one, if there is one); empty: not on this disk. */
  read(fromIndex: number, maxBytes: number, done: (entries: readonly LogEntry[]) => void): void;
  /** Begins the file of a snapshot, replacing an unfinished one of that index. */
  createSnapshot(index: number): SnapshotFile;
  /** At most `maxBytes` of a finished snapshot; undefined when there is none of that index, or it cannot be read. */
  readSnapshot(
    index: number,
    offset: number,
    maxBytes: number,
    done: (data: Bytes | undefined, last: boolean) => void,
  ): void;
  removeSnapshot(index: number): void;
}

/** A snapshot that is being written. While the disk is full, what was asked for waits; `abandon` frees its room. */
export interface SnapshotFile {
  append(data: Bytes, done: () => void): void;
  /** `done` comes when the snapshot is durable and will be found after a restart. */
  finish(done: () => void): void;
  /** Drops the file; no callback of it comes any more. */
  abandon(): void;
}

/** A finished snapshot on disk. */
export interface StoredSnapshot {
  /** Raft index of the last batch in it. */
  readonly index: number;
  /** Length of the file. */
  readonly bytes: number;
  /** The file's content in order, in pieces of at most 1 MiB. Throws `DiskFailed` when it cannot be read. */
  parts(): Iterable<Bytes>;
}

/** What was on disk when the node started. */
export interface DiskContent {
  readonly hardState: HardState | undefined;
  /** Finished snapshots, newest first. */
  readonly snapshots: readonly StoredSnapshot[];
  /** Index of the first entry (1 unless a snapshot was installed), also when there is none yet. */
  readonly firstIndex: number;
  /** Entries from an index on; to be consumed before the first `persist`. */
  entriesFrom(index: number): Iterable<LogEntry>;
  /** Set when entries were lost to damage: what is readable ends before `index`; entries up to `lastIndex` of `lastTerm` had been there. */
  readonly damage: { readonly index: number; readonly lastIndex: number; readonly lastTerm: number } | undefined;
}

/** What the disk tells the enclave; given when the disk is opened. */
export interface DiskEvents {
  /** There is no room: nothing becomes durable until `diskFull(false)`. Told once each. */
  diskFull(full: boolean): void;
}

/** Byte streams to and from the network. TLS ends behind this port: what passes here is ciphertext. */
export interface Sockets {
  /** Listens at `host:port`; resolves when the address is bound, throws `PortTaken` otherwise. */
  listen(address: string, onSocket: (socket: Duplex) => void): Promise<{ close(): void }>;
  /** Starts to connect to `host:port`; failure comes as the stream's `error`. */
  connect(address: string): Duplex;
}

/** Frames to and from other validating nodes, over channels that are encrypted and mutually attested. */
export interface PeerTransport {
  /** Queues a frame; false when there is no channel or its queue is full (the frame is lost, as on any network). */
  send(peer: NodeId, frame: Bytes): boolean;
}

/** What the manager offers to the peer transport. */
export interface PeerEvents {
  channelUp(peer: NodeId): void;
  channelDown(peer: NodeId): void;
  frame(peer: NodeId, frame: Bytes): void;
}

/** The worker behind an adapter: messages in order, both ways. */
export interface Executor {
  send(message: ToWorker): void;
  /** Ends the worker: the adapter is not mounted any more. */
  close(): void;
}

/** What the manager offers to an executor. */
export type ExecutorEvents = (message: FromWorker) => void;

/** How far workers are kept from this process, for people to see (R31). */
export interface WorkerIsolation {
  readonly level: "process" | "thread";
  /** `isolated`: they have no network; anything else says why they have. */
  readonly network: string;
  /** `isolated`: they see no file or socket besides the program; anything else says why they do. */
  readonly files: string;
  /** `dropped`: they can gain no privileges, and end with this process; anything else says why not. */
  readonly privileges: string;
}

/** Starts the worker of an adapter that the constitution mounts, with nothing in its state. */
export type StartExecutor = (adapter: AdapterEntry, onMessage: ExecutorEvents) => Executor;

/** Structured log lines; never secrets, never payload. */
export interface Tracer {
  event(
    level: "debug" | "info" | "warn" | "error",
    event: string,
    fields?: Readonly<Record<string, string | number | boolean>>,
  ): void;
}
