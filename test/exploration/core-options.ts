/**
 * How the cores under test are made, and what their entries contain: plain text, so that traces can be read.
 *
 * A request is its label; a configuration is `members` and its JSON. Timers are not spread: an election timeout is
 * {@link ELECTION_MS}, a heartbeat is due after {@link HEARTBEAT_MS}.
 */
import { utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { MAJORITY, type QuorumPolicy } from "../../src/core/consensus/quorum.ts";
import { Raft } from "../../src/core/consensus/raft.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import type { Stable } from "./machine.ts";

/** Election timeout of every core under test, in milliseconds. */
export const ELECTION_MS = 100;

/** Heartbeat interval of every core under test, in milliseconds. */
export const HEARTBEAT_MS = 50;

/** What distinguishes one core from another. */
export interface CoreOptions {
  readonly id: NodeId;
  readonly voters: readonly NodeId[];
  readonly quorum?: QuorumPolicy;
  /** Appends with entries in flight to one peer. */
  readonly maxInflightAppends?: number;
}

/** A core that starts from a disk. */
export function makeCore(options: CoreOptions, stable: Stable, nowMs: number): Raft {
  return new Raft({
    id: options.id,
    voters: options.voters,
    quorum: options.quorum ?? MAJORITY,
    random: () => 0,
    electionTimeoutMinMs: ELECTION_MS,
    electionTimeoutMaxMs: ELECTION_MS,
    heartbeatIntervalMs: HEARTBEAT_MS,
    maxAppendBytes: 1000,
    maxInflightAppends: options.maxInflightAppends ?? 2,
    windowBytes: 1_000_000,
    hardState: stable.hardState,
    tookPart: stable.tookPart,
    restored: { entries: stable.entries },
    now: nowMs,
  });
}

/** The entry of a request. */
export function requestEntry(index: number, term: number, label: string): LogEntry {
  return { index, term, data: utf8Encode(label) };
}

/** An entry as text: its term and what it contains. */
export function showEntry(entry: LogEntry): string {
  return `${entry.term}:${utf8Decode(entry.data)}`;
}
