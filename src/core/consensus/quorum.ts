/**
 * Who must agree: the one place that knows what a quorum is, of one set of voters or of two.
 *
 * Sources: Raft thesis chapter 3 (majorities); Howard, Malkhi, Spiegelman, "Flexible Paxos" (election and replication
 * quorums need only meet each other). Raft asks for more than Flexible Paxos: candidates share the numbering of terms, so
 * two election quorums must meet as well, or one term could have two leaders. That makes `election` at least a majority.
 */
import { CocoError, invariant } from "../../errors.ts";
import type { Configuration, NodeId, QuorumPolicy } from "./types.ts";

/** The usual policy: more than half of the voters, for elections and for replication. */
export const MAJORITY: QuorumPolicy = { type: "majority" };

/** The most voters one configuration may list. */
export const MAX_VOTERS = 64;

/** The quorum check over a fixed set of voters. */
export class Quorum {
  readonly voters: readonly NodeId[];
  /** Voters an election needs. */
  readonly electionSize: number;
  /** Voters that must hold an entry durably before it is committed. */
  readonly replicationSize: number;
  readonly #indexes: number[];

  /** Throws `ConfigurationInvalid` when voters repeat or the sizes do not make intersecting quorums. */
  constructor(voters: readonly NodeId[], policy: QuorumPolicy) {
    const count = voters.length;
    if (count === 0 || count > MAX_VOTERS || new Set(voters).size !== count) {
      throw new CocoError("ConfigurationInvalid", `voters must be 1 to ${MAX_VOTERS} different nodes`);
    }
    const majority = Math.floor(count / 2) + 1;
    this.voters = voters;
    this.electionSize = policy.type === "majority" ? majority : policy.election;
    this.replicationSize = policy.type === "majority" ? majority : policy.replication;
    this.#indexes = new Array<number>(count).fill(0);
    const { electionSize, replicationSize } = this;
    const sizes = [electionSize, replicationSize];
    if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 1 && size <= count)) {
      throw new CocoError("ConfigurationInvalid", `quorum sizes must be whole numbers from 1 to ${count}`);
    }
    if (electionSize + replicationSize <= count) {
      throw new CocoError(
        "ConfigurationInvalid",
        "election and replication quorum must add up to more than all voters",
      );
    }
    if (electionSize < majority) {
      throw new CocoError(
        "ConfigurationInvalid",
        "the election quorum must be a majority, or one term could have two leaders",
      );
    }
  }

  /** Whether the id is one of the voters. */
  includes(id: NodeId): boolean {
    return this.voters.includes(id);
  }

  /** Whether the voters that satisfy `granted` elect a leader. */
  elects(granted: (voter: NodeId) => boolean): boolean {
    return this.#count(granted) >= this.electionSize;
  }

  /**
   * Whether a leader that hears from these voters may go on: with either quorum behind it nobody else can be elected,
   * since the voters that hear from it refuse their votes and the others are too few.
   */
  sustains(heard: (voter: NodeId) => boolean): boolean {
    return this.#count(heard) >= Math.min(this.electionSize, this.replicationSize);
  }

  /** The highest index that a replication quorum holds, given the index each voter holds. */
  replicatedIndex(indexOf: (voter: NodeId) => number): number {
    const indexes = this.#indexes;
    for (let at = 0; at < indexes.length; at++) indexes[at] = indexOf(this.voters[at] as NodeId);
    indexes.sort((left, right) => right - left);
    const replicated = indexes[this.replicationSize - 1];
    invariant(replicated !== undefined, "a replication quorum is not larger than the set of voters");
    return replicated;
  }

  #count(holds: (voter: NodeId) => boolean): number {
    let count = 0;
    for (const voter of this.voters) if (holds(voter)) count++;
    return count;
  }
}

/**
 * The quorum check of a configuration: while two sets are active each must agree by itself. A quorum of their union would
 * not do: it may miss every quorum of one of them (CCF found that in its own code).
 */
export class JointQuorum {
  /** Every voter, once. */
  readonly voters: readonly NodeId[];
  readonly #current: Quorum;
  readonly #previous: Quorum | undefined;

  /** Throws `ConfigurationInvalid`; see {@link Quorum}. */
  constructor({ current, previous }: Configuration) {
    this.#current = new Quorum(current.voters, current.quorum);
    this.#previous = previous && new Quorum(previous.voters, previous.quorum);
    this.voters = [...new Set([...current.voters, ...(previous?.voters ?? [])])];
  }

  /** Whether the id is a voter of either set. */
  includes(id: NodeId): boolean {
    return this.voters.includes(id);
  }

  /** Whether the voters that satisfy `granted` elect a leader. */
  elects(granted: (voter: NodeId) => boolean): boolean {
    return this.#current.elects(granted) && (this.#previous === undefined || this.#previous.elects(granted));
  }

  /** Whether a leader that hears from these voters may go on; see {@link Quorum.sustains}. */
  sustains(heard: (voter: NodeId) => boolean): boolean {
    return this.#current.sustains(heard) && (this.#previous === undefined || this.#previous.sustains(heard));
  }

  /** The highest index that a replication quorum of every set holds, given the index each voter holds. */
  replicatedIndex(indexOf: (voter: NodeId) => number): number {
    const index = this.#current.replicatedIndex(indexOf);
    return this.#previous === undefined ? index : Math.min(index, this.#previous.replicatedIndex(indexOf));
  }
}
