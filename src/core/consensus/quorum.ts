/**
 * Who must agree: the one place that knows what a quorum is, of one set of voters or of two.
 *
 * Sources: Raft thesis chapter 3 (majorities); Howard, Malkhi, Spiegelman, "Flexible Paxos" (election and replication
 * quorums need only meet each other). Raft asks for more than Flexible Paxos: candidates share the numbering of terms, so
 * two election quorums must meet as well, or one term could have two leaders. That makes `election` at least a majority.
 *
 * Grouped quorums are majorities of majorities: two of them share a group, and in that group a voter.
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
  /** Voters, or groups of them, an election needs. */
  readonly electionSize: number;
  /** Voters, or groups of them, that must hold an entry durably before it is committed. */
  readonly replicationSize: number;
  /** What is counted instead of voters under a grouped policy: a group counts when a majority of it agrees. */
  readonly #groups: readonly Quorum[] | undefined;
  readonly #indexes: number[];

  /**
   * Throws `ConfigurationInvalid` when voters repeat, when the sizes do not make intersecting quorums, or when not every voter
   * stands in exactly one group.
   */
  constructor(voters: readonly NodeId[], policy: QuorumPolicy) {
    if (voters.length === 0 || voters.length > MAX_VOTERS || new Set(voters).size !== voters.length) {
      throw new CocoError("ConfigurationInvalid", `voters must be 1 to ${MAX_VOTERS} different nodes`);
    }
    this.voters = voters;
    this.#groups = policy.type === "grouped" ? groupQuorums(voters, policy.groups) : undefined;
    const count = this.#groups?.length ?? voters.length;
    const majority = Math.floor(count / 2) + 1;
    this.electionSize = policy.type === "flexible" ? policy.election : majority;
    this.replicationSize = policy.type === "flexible" ? policy.replication : majority;
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
    for (let at = 0; at < indexes.length; at++)
      indexes[at] = this.#groups?.[at]?.replicatedIndex(indexOf) ?? indexOf(this.voters[at] as NodeId);
    indexes.sort((left, right) => right - left);
    const replicated = indexes[this.replicationSize - 1];
    invariant(replicated !== undefined, "a replication quorum is not larger than the set of voters");
    return replicated;
  }

  #count(holds: (voter: NodeId) => boolean): number {
    let count = 0;
    if (this.#groups !== undefined) for (const group of this.#groups) count += group.elects(holds) ? 1 : 0;
    else for (const voter of this.voters) if (holds(voter)) count++;
    return count;
  }
}

function groupQuorums(voters: readonly NodeId[], groups: readonly (readonly NodeId[])[]): readonly Quorum[] {
  const grouped = groups.flat();
  if (grouped.length !== voters.length || !voters.every((voter) => grouped.includes(voter)))
    throw new CocoError("ConfigurationInvalid", "every voter must stand in exactly one group");
  return groups.map((group) => new Quorum(group, MAJORITY));
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
