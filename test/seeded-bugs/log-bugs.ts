/** Bugs in the log of the consensus core, and in what changes its course: membership, snapshots, restarts. */
import { type SeededBug, tests } from "./bug.ts";
import { at, bug, explorer, RESTARTS, SCENARIOS } from "./consensus-bug.ts";

/** The log. */
const REPLICATION_BUGS: readonly SeededBug[] = [
  bug(
    "acknowledged-before-it-is-durable",
    [
      at(
        "acceptance",
        "state.sendDurable(from, success(state, request, matchIndex), matchIndex);",
        "state.send(from, success(state, request, matchIndex));",
      ),
    ],
    explorer("replication"),
  ),
  bug(
    "leader-counts-itself-too-early",
    [
      at(
        "replication",
        "voter === state.id ? state.durability.durableIndex :",
        "voter === state.id ? state.log.lastIndex :",
      ),
    ],
    SCENARIOS,
    explorer("replication"),
  ),
  bug(
    "replication-quorum-off-by-one",
    [
      at(
        "quorum",
        "const replicated = indexes[this.replicationSize - 1];",
        "const replicated = indexes[Math.max(0, this.replicationSize - 2)];",
      ),
    ],
    explorer("replication"),
  ),
  bug(
    "truncation-without-a-conflict",
    [
      at(
        "acceptance",
        "const start = request.entries.findIndex((entry) => !log.matches(entry.index, entry.term));",
        "const start = 0;",
      ),
    ],
    SCENARIOS,
    explorer("duplication"),
  ),
  bug(
    "position-before-the-entries-not-checked",
    [
      at(
        "acceptance",
        "if (!log.matches(previousIndex, previousTerm)) {",
        "if (previousTerm > 0 && previousIndex > log.lastIndex) {",
      ),
    ],
    SCENARIOS,
    explorer("replication"),
  ),
  bug(
    "commit-beyond-what-matches",
    [
      at(
        "acceptance",
        "Math.max(state.commitIndex, Math.min(request.commitIndex, matchIndex));",
        "Math.max(state.commitIndex, Math.min(request.commitIndex, state.log.lastIndex));",
      ),
    ],
    SCENARIOS,
    explorer("replication"),
  ),
  bug(
    "old-write-makes-new-entries-durable",
    [
      at(
        "durability",
        "for (const request of this.#pending) request.lastIndex = Math.min(request.lastIndex, fromIndex - 1);",
        "",
      ),
    ],
    explorer("replication"),
    explorer("restart"),
    { type: "tests", file: "src/core/consensus/acceptance.test.js" },
    { type: "tests", file: "src/core/consensus/simulation.test.js" },
  ),
  bug(
    "read-confirmed-by-an-old-round",
    [at("reads", "&& progress.round >= state.round;", "&& progress.heardAtMs > 0;")],
    SCENARIOS,
  ),
];

/** Membership, snapshots, restarts. */
const CHANGE_BUGS: readonly SeededBug[] = [
  bug(
    "joint-commit-by-one-set",
    [
      at(
        "quorum",
        "return this.#previous === undefined ? index : Math.min(index, this.#previous.replicatedIndex(indexOf));",
        "return index;",
      ),
    ],
    SCENARIOS,
    explorer("membership"),
  ),
  bug(
    "learner-counts",
    [
      at(
        "quorum",
        "constructor({ current, previous }: Configuration) {",
        "constructor({ current, previous, learners }: Configuration) {",
      ),
      at(
        "quorum",
        "this.#current = new Quorum(current.voters, current.quorum);",
        "this.#current = new Quorum([...current.voters, ...learners], current.quorum);",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "membership-changed-before-an-own-entry",
    [
      at(
        "replication",
        "membership.index <= commitIndex && state.committedInTerm &&",
        "membership.index <= commitIndex &&",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "two-membership-changes-at-once",
    [at("replication", "membership.index <= commitIndex && state.committedInTerm &&", "state.committedInTerm &&")],
    SCENARIOS,
  ),
  bug("membership-not-taken-back", [at("acceptance", "membership.truncate(first.index);", "")], SCENARIOS),
  bug(
    "membership-step-left-out",
    [at("configuration", "return sameVoterSet(next.previous ?? next.current, now.current);", "return true;")],
    SCENARIOS,
  ),
  bug(
    "snapshot-forgets-the-membership",
    [at("installing", "membership.reset(snapshot.configuration, snapshot.configurationIndex);", "")],
    SCENARIOS,
  ),
  bug(
    "log-kept-for-a-peer-that-is-down",
    [at("snapshots", "(isOverdue(state, transfer, DOWN_TIMEOUTS) && !progress.heardSincePart)", "false")],
    SCENARIOS,
  ),
  bug(
    "snapshot-read-for-a-peer-that-is-down",
    [
      at(
        "snapshots",
        "!isOverdue(state, transfer, 1) || !progress.heardSincePart) return;",
        "!isOverdue(state, transfer, 1)) return;",
      ),
    ],
    tests("src/core/consensus/snapshots"),
  ),
  bug(
    "snapshot-over-a-newer-log",
    [
      at(
        "installing",
        "  if (isHere(state, snapshot)) {\n    state.commitIndex = Math.max(state.commitIndex, snapshot.index);\n    state.staging",
        "  if (state.nowMs < 0) {\n    state.commitIndex = Math.max(state.commitIndex, snapshot.index);\n    state.staging",
      ),
      at(
        "installing",
        "  if (isHere(state, snapshot)) {\n    state.commitIndex = Math.max(state.commitIndex, snapshot.index);\n  } else",
        "  if (state.nowMs < 0) {\n    state.commitIndex = Math.max(state.commitIndex, snapshot.index);\n  } else",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "recovering-node-votes",
    [
      at(
        "election",
        "if (request.term < state.term || state.recovery !== undefined) return false;",
        "if (request.term < state.term) return false;",
      ),
    ],
    SCENARIOS,
    RESTARTS,
  ),
  bug(
    "restart-hears-a-quorum-only",
    [
      at(
        "recovery",
        "!others.every((voter) => recovery.answered.has(voter))",
        "!membership.quorum.elects((voter) => voter === id || recovery.answered.has(voter))",
      ),
    ],
    SCENARIOS,
    RESTARTS,
  ),
  bug(
    "restart-forgets-what-it-was-told",
    [
      at(
        "recovery",
        "return comparePositions({ index: lastIndex, term: lastTerm }, state.floor) >= 0;",
        "return lastIndex >= 0 && lastTerm >= 0 && state !== undefined;",
      ),
    ],
    SCENARIOS,
    RESTARTS,
  ),
];

/** Every one of these. */
export const LOG_BUGS: readonly SeededBug[] = [...REPLICATION_BUGS, ...CHANGE_BUGS];
