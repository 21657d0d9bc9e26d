/**
 * How the cores under test are made, and what their entries contain: plain text, so that traces can be read.
 *
 * A request is its label; a configuration is `members` and its JSON. Timers are not spread: an election timeout is
 * {@link ELECTION_MS}, a heartbeat is due after {@link HEARTBEAT_MS}.
 */
import { type Bytes, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { MAJORITY } from "../../src/core/consensus/quorum.ts";
import { Raft } from "../../src/core/consensus/raft.ts";
import type { Configuration, LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import type { Stable } from "./machine.ts";

/** Election timeout of every core under test, in milliseconds. */
export const ELECTION_MS = 100;

/** Heartbeat interval of every core under test, in milliseconds. */
export const HEARTBEAT_MS = 50;

/** Room for entries in memory, in bytes; more than any model needs. */
const WINDOW_BYTES = 1_000_000;

/** What entries that change the membership begin with. */
const MEMBERS = "members ";

/** What distinguishes one core from another. */
export interface CoreOptions {
  readonly id: NodeId;
  readonly initial: Configuration;
  /** False: after every restart the node recovers as if its disk were rolled back. */
  readonly trustDisk?: boolean;
  /** Appends with entries in flight to one peer. */
  readonly maxInflightAppends?: number;
  /** Bytes of one append, and of one part of a snapshot. */
  readonly maxAppendBytes?: number;
  /** Bytes of entries kept in memory. */
  readonly windowBytes?: number;
}

/** A configuration of voters that decide by majority. */
export function simple(voters: readonly NodeId[], learners: readonly NodeId[] = []): Configuration {
  return { current: { voters, quorum: MAJORITY }, previous: undefined, learners };
}

/** The configuration between two. */
export function joint(from: Configuration, voters: readonly NodeId[], learners: readonly NodeId[] = []): Configuration {
  return { current: { voters, quorum: MAJORITY }, previous: from.current, learners };
}

const configurations = new Map<string, Configuration>();

/** The configuration in an entry's data, if it is one. */
export function configurationOf(data: Bytes): Configuration | undefined {
  // "m" of members: the cheap look that a driver would take too.
  if (data[0] !== 0x6d) return undefined;
  const text = utf8Decode(data);
  if (!text.startsWith(MEMBERS)) return undefined;
  const known = configurations.get(text);
  if (known !== undefined) return known;
  const fields = JSON.parse(text.slice(MEMBERS.length)) as Configuration;
  const configuration: Configuration = { ...fields, previous: fields.previous };
  configurations.set(text, configuration);
  return configuration;
}

/** The content of an entry that brings a configuration. */
export function configurationLabel(configuration: Configuration): string {
  return `${MEMBERS}${JSON.stringify(configuration)}`;
}

/** A core that starts from a disk. */
export function makeCore(options: CoreOptions, stable: Stable, nowMs: number): Raft {
  const { snapshot } = stable;
  return new Raft({
    id: options.id,
    initial: options.initial,
    configurationOf,
    random: () => 0,
    electionTimeoutMinMs: ELECTION_MS,
    electionTimeoutMaxMs: ELECTION_MS,
    heartbeatIntervalMs: HEARTBEAT_MS,
    maxAppendBytes: options.maxAppendBytes ?? 1000,
    maxInflightAppends: options.maxInflightAppends ?? 2,
    maxInflightBytes: WINDOW_BYTES,
    windowBytes: options.windowBytes ?? WINDOW_BYTES,
    hardState: stable.hardState,
    tookPart: stable.tookPart,
    trustDisk: () => options.trustDisk ?? true,
    restored: { entries: stable.entries, ...(snapshot && { snapshot: snapshot.mark }) },
    now: nowMs,
  });
}

/** The entry of a request. */
export function requestEntry(index: number, term: number, label: string): LogEntry {
  return { index, term, data: utf8Encode(label) };
}

/** What an entry contains. */
export function labelOf(entry: LogEntry): string {
  return utf8Decode(entry.data);
}

/** An entry as text: its term and what it contains. */
export function showEntry(entry: LogEntry): string {
  return `${entry.term}:${labelOf(entry)}`;
}
