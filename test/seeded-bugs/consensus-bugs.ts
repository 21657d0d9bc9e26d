/** Bugs in the consensus core: those that CCF found in its own, and others that Raft implementations have had. */
import type { Detector, Patch, SeededBug } from "./bug.ts";

const SCENARIOS: Detector = { type: "scenarios" };
const RESTARTS: Detector = { type: "restarts" };

/** States the explorer sees of one model before it gives up. */
const STATES = 120_000;

const explorer = (model: string): Detector => ({ type: "explorer", model, states: STATES });

const at = (file: string, find: string, replace: string): Patch => ({
  file: `src/core/consensus/${file}.ts`,
  find,
  replace,
});

function bug(name: string, patches: readonly Patch[], ...detectors: readonly Detector[]): SeededBug {
  return { name, patches, detectors };
}

/** CCF's seven, and the one it documents. */
const CCF_BUGS: readonly SeededBug[] = [
  bug(
    "ccf-1-election-quorum-over-the-union",
    [
      at(
        "quorum",
        "return this.#current.elects(granted) && (this.#previous === undefined || this.#previous.elects(granted));",
        "return this.voters.filter((voter) => granted(voter)).length > this.voters.length / 2;",
      ),
    ],
    SCENARIOS,
    explorer("membership"),
  ),
  bug(
    "ccf-2-commit-of-an-earlier-term",
    [
      at(
        "replication",
        "if (index <= state.commitIndex || state.log.termAt(index) !== state.term) return;",
        "if (index <= state.commitIndex) return;",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "ccf-3-commit-on-a-refusal",
    [
      at(
        "replication",
        "if (progress.refused(agreedIndex)) sendProbe(state, from, progress);",
        "if (progress.refused(agreedIndex)) sendProbe(state, from, progress);\n    progress.matchIndex = Math.max(progress.matchIndex, agreedIndex);\n    advanceCommit(state);",
      ),
    ],
    explorer("replication"),
    SCENARIOS,
  ),
  bug(
    "ccf-4-early-append-truncates-what-is-committed",
    [
      at(
        "acceptance",
        "const start = request.entries.findIndex((entry) => !log.matches(entry.index, entry.term));",
        "const start = 0;",
      ),
      at("acceptance", "if (first.index <= state.commitIndex) throw forked(first.index);", ""),
    ],
    explorer("duplication"),
    SCENARIOS,
  ),
  bug(
    "ccf-5-answer-beyond-what-was-received",
    [
      at(
        "acceptance",
        "success(state, request, Math.min(matchIndex, state.durability.durableIndex))",
        "success(state, request, state.durability.durableIndex)",
      ),
    ],
    SCENARIOS,
    explorer("replication"),
  ),
  bug(
    "ccf-6-node-retires-too-early",
    [
      at(
        "election",
        "if (request.term < state.term || state.recovery !== undefined) return false;",
        "if (request.term < state.term || state.recovery !== undefined) return false;\n  if (!state.membership.configuration.current.voters.includes(state.id)) return false;",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "ccf-7-check-quorum-in-one-configuration",
    [
      at(
        "quorum",
        "return this.#current.sustains(heard) && (this.#previous === undefined || this.#previous.sustains(heard));",
        "return this.#current.sustains(heard);",
      ),
    ],
    SCENARIOS,
  ),
  bug(
    "ccf-8-read-without-a-round",
    [
      at(
        "reads",
        "state.reads.push({ id, index: undefined });",
        "state.ready.read({ id, index: state.commitIndex });\n  return;",
      ),
    ],
    SCENARIOS,
  ),
];

/** Elections. */
const ELECTION_BUGS: readonly SeededBug[] = [
  bug(
    "vote-before-it-is-durable",
    [
      at(
        "election",
        'state.sendDurable(from, { type: "voteResponse", preVote, term, granted });',
        'state.send(from, { type: "voteResponse", preVote, term, granted });',
      ),
    ],
    explorer("election"),
  ),
  bug(
    "vote-is-not-written",
    [at("election", "if (state.votedFor !== from) state.vote(from);", "state.votedFor = from;")],
    explorer("election"),
  ),
  bug(
    "two-votes-in-one-term",
    [
      at(
        "election",
        "const free = state.votedFor === from || (state.votedFor === undefined && state.leader === undefined);",
        "const free = true;",
      ),
    ],
    explorer("election"),
    SCENARIOS,
  ),
  bug(
    "vote-for-a-shorter-log",
    [
      at(
        "election",
        "const upToDate = request.lastTerm > lastTerm || (request.lastTerm === lastTerm && request.lastIndex >= lastIndex);",
        "const upToDate = request.lastTerm >= lastTerm;",
      ),
    ],
    explorer("replication"),
    SCENARIOS,
  ),
  bug(
    "election-quorum-off-by-one",
    [
      at(
        "quorum",
        "return this.#count(granted) >= this.electionSize;",
        "return this.#count(granted) >= this.electionSize - 1;",
      ),
    ],
    explorer("election"),
  ),
  bug(
    "late-vote-counts",
    [
      at(
        "election",
        "if (state.role !== wanted || response.term !== term) return;",
        "if (state.role !== wanted) return;",
      ),
    ],
    explorer("election"),
    SCENARIOS,
  ),
  bug(
    "candidate-asks-before-its-term-is-durable",
    [
      at(
        "election",
        "for (const voter of otherVoters(state)) state.sendDurable(voter, request, state.log.lastIndex);",
        "for (const voter of otherVoters(state)) state.send(voter, request);",
      ),
    ],
    explorer("election"),
  ),
  bug(
    "transfer-to-a-lagging-node",
    [at("transfer", "if (state.progress.get(transfer.to)?.matchIndex !== state.log.lastIndex) return;", "")],
    SCENARIOS,
  ),
  bug(
    "proposals-during-a-transfer",
    [
      at(
        "replication",
        'if (state.role !== "leader" || state.transfer !== undefined) return',
        'if (state.role !== "leader") return',
      ),
    ],
    SCENARIOS,
  ),
];

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
    explorer("replication"),
    SCENARIOS,
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
    explorer("duplication"),
    SCENARIOS,
  ),
  bug(
    "position-before-the-entries-not-checked",
    [
      at(
        "acceptance",
        "if (!state.log.matches(previousIndex, previousTerm)) {",
        "if (previousIndex > state.log.lastIndex) {",
      ),
    ],
    explorer("replication"),
    SCENARIOS,
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
    explorer("replication"),
    SCENARIOS,
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
    explorer("membership"),
    SCENARIOS,
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
  bug("membership-not-taken-back", [at("acceptance", "state.membership.truncate(first.index);", "")], SCENARIOS),
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

/** Every bug of the consensus core. */
export const CONSENSUS_BUGS: readonly SeededBug[] = [
  ...CCF_BUGS,
  ...ELECTION_BUGS,
  ...REPLICATION_BUGS,
  ...CHANGE_BUGS,
];
