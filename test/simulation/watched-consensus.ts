/** Lets the checkers see every step of a consensus core, without a part in it. */
import type { Consensus, ConsensusStatus, LogEntry, NodeId, Ready } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import type { Checker } from "./checker.ts";
import type { LogMatching } from "./log-matching.ts";

/** Who watches. */
export interface ConsensusWatchers {
  readonly checker: Checker;
  readonly logs: LogMatching;
  readonly now: () => number;
  /** Whether the disk of a node holds an entry, or did when it said so. */
  readonly holds: (node: NodeId, entry: LogEntry) => boolean;
}

/** See the module's header. */
export class WatchedConsensus implements Consensus {
  readonly #core: Consensus;
  readonly #id: NodeId;
  readonly #watchers: ConsensusWatchers;
  #deliveredIndex: number;
  #leads = false;
  /** When the node last stopped to lead. */
  stoppedLeadingAt = Number.NEGATIVE_INFINITY;

  constructor(core: Consensus, id: NodeId, watchers: ConsensusWatchers) {
    this.#core = core;
    this.#id = id;
    this.#watchers = watchers;
    this.#deliveredIndex = core.status().firstIndex - 1;
  }

  step(event: Parameters<Consensus["step"]>[0]): Ready {
    const ready = this.#core.step(event);
    const { checker, logs } = this.#watchers;
    const { persist } = ready;
    if (ready.installed !== undefined) this.#deliveredIndex = ready.installed.index;
    if (persist !== undefined) {
      if (persist.snapshot !== undefined) logs.installed(this.#id, persist.snapshot);
      if (persist.truncateFrom !== undefined) logs.truncated(this.#id, persist.truncateFrom);
      for (const entry of persist.entries) logs.appended(this.#id, entry);
    }
    if (ready.roleChanged) this.#roleChanged();
    for (const entry of ready.committed) {
      if (entry.index > checker.committedIndex) this.#checkQuorum(entry);
      checker.commits(this.#id, entry, this.#deliveredIndex);
      this.#deliveredIndex = entry.index;
    }
    return ready;
  }

  /** A leader commits by the quorums of its newest configuration; a follower may know an older one. */
  #checkQuorum(entry: LogEntry): void {
    const { role, configuration } = this.#core.status();
    const { current, previous } = configuration;
    if (role !== "leader") return;
    for (const { voters, quorum } of previous === undefined ? [current] : [current, previous]) {
      const holders = voters.filter((voter) => this.#watchers.holds(voter, entry)).length;
      invariant(
        quorum.type === "flexible" ? holders >= quorum.replication : holders * 2 > voters.length,
        `entry ${entry.index} is committed on ${holders} of the disks of ${voters.length} voters`,
      );
    }
  }

  #roleChanged(): void {
    const { checker, logs, now } = this.#watchers;
    const { role, term } = this.#core.status();
    if (this.#leads) this.stoppedLeadingAt = now();
    this.#leads = role === "leader";
    if (!this.#leads) return;
    checker.leads(this.#id, term);
    // One that learns late that it won an election may lack what was committed in a later term: it can commit nothing any more.
    if (term >= checker.committedTerm) logs.leads(this.#id, checker.committedIndex, checker.committedTerm);
  }

  status(): ConsensusStatus {
    return this.#core.status();
  }
}
