/** Lets the checkers see every step of a consensus core, without a part in it. */
import type { Consensus, ConsensusStatus, NodeId, Ready } from "../../src/core/consensus/types.ts";
import type { Checker } from "./checker.ts";
import type { LogMatching } from "./log-matching.ts";

/** Who watches. */
export interface ConsensusWatchers {
  readonly checker: Checker;
  readonly logs: LogMatching;
  readonly now: () => number;
}

/** See the module's header. */
export class WatchedConsensus implements Consensus {
  readonly #core: Consensus;
  readonly #id: NodeId;
  readonly #watchers: ConsensusWatchers;
  #deliveredIndex = 0;
  #leads = false;
  /** When the node last stopped to lead. */
  stoppedLeadingAt = Number.NEGATIVE_INFINITY;

  constructor(core: Consensus, id: NodeId, watchers: ConsensusWatchers) {
    this.#core = core;
    this.#id = id;
    this.#watchers = watchers;
  }

  step(event: Parameters<Consensus["step"]>[0]): Ready {
    const ready = this.#core.step(event);
    const { checker, logs } = this.#watchers;
    const { persist } = ready;
    if (persist !== undefined) {
      if (persist.truncateFrom !== undefined) logs.truncated(this.#id, persist.truncateFrom);
      for (const entry of persist.entries) logs.appended(this.#id, entry);
    }
    if (ready.roleChanged) this.#roleChanged();
    for (const entry of ready.committed) {
      checker.commits(this.#id, entry, this.#deliveredIndex);
      this.#deliveredIndex = entry.index;
    }
    return ready;
  }

  #roleChanged(): void {
    const { checker, logs, now } = this.#watchers;
    const { role, term } = this.#core.status();
    if (this.#leads) this.stoppedLeadingAt = now();
    this.#leads = role === "leader";
    if (!this.#leads) return;
    checker.leads(this.#id, term);
    logs.leads(this.#id, checker.committedIndex, checker.committedTerm);
  }

  status(): ConsensusStatus {
    return this.#core.status();
  }
}
