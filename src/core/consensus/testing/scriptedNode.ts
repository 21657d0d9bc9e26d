/**
 * One Raft core driven by hand: tests say what happens and look at what the core asks for.
 *
 * The node is "a" of the voters a, b, c unless told otherwise. Timers are not spread (random is 0): the first election is
 * due at once, later ones after `electionTimeoutMinMs` = 100; heartbeats go every 20 ms.
 */
import { type Bytes, ByteReader, ByteWriter } from "../../codec/bytes.ts";
import { readConfiguration, writeConfiguration } from "../configuration.ts";
import { Raft } from "../raft.ts";
import type { RaftOptions } from "../state.ts";
import { MAJORITY } from "../quorum.ts";
import type {
  AppendRequest,
  AppendResponse,
  Configuration,
  ConsensusEvent,
  ConsensusMessage,
  ConsensusStatus,
  LogEntry,
  NodeId,
  Ready,
  VoteRequest,
} from "../types.ts";

/** A simple configuration of these voters with majorities. */
export function votersOf(...voters: readonly NodeId[]): Configuration {
  return { current: { voters, quorum: MAJORITY }, previous: undefined, learners: [] };
}

/** First byte of an entry that brings a configuration. */
const CONFIGURATION_MARK = 0xcf;

/** An entry that brings a configuration. */
export function configurationEntry(index: number, term: number, configuration: Configuration): LogEntry {
  const writer = new ByteWriter().u8(CONFIGURATION_MARK);
  writeConfiguration(writer, configuration);
  return { index, term, data: writer.finish() };
}

/** The configuration in the data of an entry made by {@link configurationEntry}. */
export function configurationIn(data: Bytes): Configuration | undefined {
  if (data[0] !== CONFIGURATION_MARK || data.length < 7) return undefined;
  return readConfiguration(new ByteReader(data.subarray(1)));
}

type WithoutNow<Event> = Event extends unknown ? Omit<Event, "now"> : never;

/** An entry whose data name its place, `size` bytes long. */
export function entryAt(index: number, term: number, size = 3): LogEntry {
  return { index, term, data: new Uint8Array(size).fill(index * 16 + term) };
}

/** A log with an entry for each term given, from index 1. */
export function logOf(...terms: readonly number[]): readonly LogEntry[] {
  return terms.map((term, at) => entryAt(at + 1, term));
}

/** An append in `term` after the given position. */
export function append(
  term: number,
  previous: readonly [index: number, term: number],
  entries: readonly LogEntry[],
  commitIndex = 0,
): AppendRequest {
  return {
    type: "append",
    term,
    previousIndex: previous[0],
    previousTerm: previous[1],
    commitIndex,
    round: 0,
    entries,
  };
}

/** A successful answer to an append. */
export function accepted(term: number, matchIndex: number): AppendResponse {
  return {
    type: "appendResponse",
    term,
    success: true,
    matchIndex,
    hintIndex: 0,
    hintTerm: 0,
    round: 0,
    recovering: false,
  };
}

/** A refusal of an append. */
export function refused(term: number, hintIndex: number, hintTerm: number): AppendResponse {
  return {
    type: "appendResponse",
    term,
    success: false,
    matchIndex: 0,
    hintIndex,
    hintTerm,
    round: 0,
    recovering: false,
  };
}

/** A request for a vote from a candidate whose log ends at `last`. */
export function voteFor(
  term: number,
  last: readonly [index: number, term: number] = [0, 0],
  preVote = false,
): VoteRequest {
  return { type: "vote", preVote, transfer: false, term, lastIndex: last[0], lastTerm: last[1] };
}

/** An event at a time that the script keeps. */
export type ScriptedEvent = WithoutNow<ConsensusEvent>;

/** A core driven by hand. */
export class ScriptedNode {
  readonly raft: Raft;
  nowMs = 1000;
  #unsyncedId = 0;

  constructor(options: Partial<RaftOptions> = {}) {
    this.raft = new Raft({
      id: "a",
      initial: votersOf("a", "b", "c"),
      configurationOf: configurationIn,
      random: () => 0,
      electionTimeoutMinMs: 100,
      electionTimeoutMaxMs: 200,
      heartbeatIntervalMs: 20,
      maxAppendBytes: 1000,
      maxInflightAppends: 3,
      maxInflightBytes: 1_000_000,
      windowBytes: 1_000_000,
      hardState: undefined,
      trustDisk: () => true,
      tookPart: false,
      restored: { entries: [] },
      now: this.nowMs,
      ...options,
    });
  }

  get status(): ConsensusStatus {
    return this.raft.status();
  }

  step(event: ScriptedEvent): Ready {
    const ready = this.raft.step({ ...event, now: this.nowMs });
    if (ready.persist !== undefined) this.#unsyncedId = ready.persist.id;
    return ready;
  }

  receive(from: NodeId, message: ConsensusMessage): Ready {
    return this.step({ type: "message", from, message });
  }

  /** Lets time pass in one tick. */
  wait(durationMs: number): Ready {
    this.nowMs += durationMs;
    return this.step({ type: "tick" });
  }

  /** Makes everything asked for durable. */
  sync(): Ready {
    return this.step({ type: "persisted", id: this.#unsyncedId });
  }

  /** Proposes entries of the current term. */
  propose(...sizes: readonly number[]): Ready {
    const { term, lastIndex } = this.status;
    return this.step({ type: "propose", entries: sizes.map((size, at) => entryAt(lastIndex + 1 + at, term, size)) });
  }

  /** Proposes a configuration in the current term. */
  change(configuration: Configuration): Ready {
    const { term, lastIndex } = this.status;
    return this.step({ type: "propose", entries: [configurationEntry(lastIndex + 1, term, configuration)] });
  }

  /** Campaigns in the next term and is given the (pre-)votes of these. */
  elect(...voters: readonly NodeId[]): void {
    this.wait(200);
    const term = this.status.term + 1;
    for (const voter of voters) this.receive(voter, { type: "voteResponse", preVote: true, term, granted: true });
    this.sync();
    for (const voter of voters) this.receive(voter, { type: "voteResponse", preVote: false, term, granted: true });
  }

  /** Becomes a candidate of the next term with b's pre-vote. */
  campaign(): Ready {
    this.wait(200);
    return this.receive("b", { type: "voteResponse", preVote: true, term: this.status.term + 1, granted: true });
  }

  /** Becomes leader of the next term with b's votes. */
  lead(): Ready {
    this.campaign();
    this.sync();
    return this.receive("b", { type: "voteResponse", preVote: false, term: this.status.term, granted: true });
  }
}

/** The messages of one type that a step sends to a node. */
export function sentTo<Type extends ConsensusMessage["type"]>(
  ready: Ready,
  to: NodeId,
  type: Type,
): readonly Extract<ConsensusMessage, { type: Type }>[] {
  return ready.send
    .filter((outgoing) => outgoing.to === to)
    .map(({ message }) => message)
    .filter((message): message is Extract<ConsensusMessage, { type: Type }> => message.type === type);
}
