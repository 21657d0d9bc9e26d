/**
 * Everything the enclave sees of the world outside: the whole attack surface on one page.
 *
 * What comes in through a port is hostile until it is decoded and checked. All calls are made from one thread; callbacks
 * come back on the same thread, never inside the call that was given them.
 */
import type { Duplex } from "node:stream";
import type { Bytes } from "../core/codec/bytes.ts";
import type { LogEntry, NodeId, PersistRequest, HardState } from "../core/consensus/types.ts";
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

/** The ledger on disk. One request at a time is carried out, in order; `done` comes when it is durable. */
export interface Disk {
  persist(request: PersistRequest, done: () => void): void;
  /** Entries from `fromIndex`, at most `maxBytes` of them (at least one, if there is one). */
  read(fromIndex: number, maxBytes: number, done: (entries: readonly LogEntry[]) => void): void;
}

/** What was on disk when the node started. */
export interface DiskContent {
  readonly hardState: HardState | undefined;
  readonly entries: Iterable<LogEntry>;
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
}

/** What the manager offers to an executor. */
export type ExecutorEvents = (message: FromWorker) => void;

/** Structured log lines; never secrets, never payload. */
export interface Tracer {
  event(
    level: "debug" | "info" | "warn" | "error",
    event: string,
    fields?: Readonly<Record<string, string | number | boolean>>,
  ): void;
}
