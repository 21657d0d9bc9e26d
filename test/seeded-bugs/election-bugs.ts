/** Bugs in elections, and those that CCF found in its own consensus core. */
import type { SeededBug } from "./bug.ts";
import { at, bug, explorer, SCENARIOS } from "./consensus-bug.ts";

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
    SCENARIOS,
    explorer("replication"),
  ),
  bug(
    "ccf-4-early-append-truncates-what-is-committed",
    [
      at(
        "acceptance",
        "const start = request.entries.findIndex((entry) => !log.matches(entry.index, entry.term));",
        "const start = 0;",
      ),
      at(
        "acceptance",
        "if (first.index <= commitIndex || !membership.mayTruncate(first.index)) throw forked(first.index);",
        "if (!membership.mayTruncate(first.index)) throw forked(first.index + commitIndex);",
      ),
    ],
    SCENARIOS,
    explorer("duplication"),
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
const VOTE_BUGS: readonly SeededBug[] = [
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
    SCENARIOS,
    explorer("election"),
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
    SCENARIOS,
    explorer("replication"),
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
    "one-node-speaks-for-its-owner",
    [at("quorum", "count += group.elects(holds) ? 1 : 0;", "count += group.voters.some(holds) ? 1 : 0;")],
    SCENARIOS,
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
    SCENARIOS,
    explorer("election"),
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

/** Every one of these. */
export const ELECTION_BUGS: readonly SeededBug[] = [...CCF_BUGS, ...VOTE_BUGS];
