/** Bugs in the rules of leases: what they let a node do that nobody has seen the code of for too long. */
import { type SeededBug, sourceBug, tests } from "./bug.ts";

/** Every bug in the rules of leases. */
export const LEASE_BUGS: readonly SeededBug[] = [
  sourceBug(
    "lease-vote-of-a-quarantined-node-counts",
    "enclave/manager/lease-watch",
    {
      find: '"voteResponse":\n        return isQuarantined(committed, peer);',
      replace: '"voteResponse":\n        return false;',
    },
    tests("src/enclave/manager/lease-watch"),
  ),
  sourceBug(
    "lease-quarantined-leader-goes-on",
    "enclave/manager/lease-watch",
    { find: 'if (role === "leader" && !this.mayLead) handOver();', replace: "" },
    tests("src/enclave/manager/lease-watch"),
  ),
  sourceBug(
    "lease-epoch-key-for-a-quarantined-node",
    "core/governance/leases",
    {
      find: "return state.constitution.nodes.filter(({ nodeId }) => !isQuarantined(state, nodeId));",
      replace: "return state.constitution.nodes;",
    },
    tests("src/core/governance/leases"),
  ),
  sourceBug(
    "lease-no-epoch-after-a-quarantine",
    "core/governance/epochs",
    {
      find: "(isDueByQuarantine(state) || isDueBySchedule(state, progress))",
      replace: "isDueBySchedule(state, progress)",
    },
    tests("src/core/governance/leases"),
  ),
  sourceBug(
    "lease-evidence-for-an-old-challenge-renews",
    "core/governance/challenges",
    {
      find: "challenges.filter(({ fromMs }) => nowMs - fromMs <= ageMaxMs)",
      replace: "challenges.filter(() => ageMaxMs > 0)",
    },
    tests("src/core/governance/attest"),
  ),
  sourceBug(
    "lease-challenge-is-known-in-advance",
    "core/governance/challenges",
    {
      find: "sha256(concatBytes(previousDigest, sha256(epoch.sealedServiceKey)))",
      replace: "sha256(epoch.sealedServiceKey)",
    },
    tests("src/core/governance/challenges"),
  ),
  sourceBug(
    "lease-nobody-asks-for-a-challenge",
    "enclave/manager/leader-duties",
    { find: 'if (reason === "ChallengeStale") this.#challengeWanted = true;', replace: "" },
    tests("src/enclave/manager/leader-duties"),
  ),
  sourceBug(
    "lease-no-proposal-to-remove",
    "core/governance/administrative",
    {
      find: "const settled = settleProposal(withProposal(after, proposal), proposal.id, place.timeMs, crypto);",
      replace: "const settled = settleProposal(after, proposal.id, place.timeMs, crypto);",
    },
    tests("src/core/governance/leases"),
  ),
  sourceBug(
    "lease-quarantine-before-the-lease-has-ended",
    "core/governance/leases",
    { find: "nowMs >= endsAtMs && !isQuarantined", replace: "!isQuarantined" },
    tests("src/core/governance/leases"),
  ),
  sourceBug(
    "lease-quarantine-of-whom-the-others-need",
    "core/governance/leases",
    { find: "while (count > 0 && !canDoWithout(state, nodeIds.slice(0, count))) count--;", replace: "" },
    tests("src/core/governance/leases"),
  ),
  sourceBug(
    "lease-quarantine-by-the-leaders-clock-alone",
    "enclave/manager/lease-watch",
    { find: " || (this.#mayBeLeader(peer, message.term) && this.#refuses(peer, message))", replace: "" },
    tests("src/enclave/manager/lease-watch"),
  ),
  sourceBug(
    "lease-leader-proposes-what-it-would-refuse",
    "enclave/manager/leader-duties",
    { find: "isLate(nodeId) && this.#parts.agrees(nodeId)", replace: "isLate(nodeId)" },
    tests("src/enclave/manager/leader-duties"),
  ),
  sourceBug(
    "lease-quarantine-refused-for-ever",
    "enclave/manager/lease-watch",
    { find: "if (known?.fromMs === seen.fromMs) return known.untilMs;", replace: "" },
    tests("src/enclave/manager/lease-watch"),
  ),
  sourceBug(
    "lease-every-challenge-is-answered",
    "enclave/manager/self-attestation",
    { find: " || now < this.#answersAgainMs) return;", replace: ") return;" },
    tests("src/enclave/manager/self-attestation"),
  ),
  sourceBug(
    "lease-records-of-a-node-without-rest",
    "core/governance/attest",
    { find: "nowMs - record.attestedAtMs < restMs", replace: "nowMs < 0" },
    tests("src/core/governance/attest"),
  ),
  sourceBug(
    "lease-approval-only-as-its-carrier-sees-it",
    "enclave/manager/carried-requests",
    { find: "this.#place = (this.#place + 1) % approval.length;", replace: "" },
    tests("src/enclave/manager/carried-requests"),
  ),
  sourceBug(
    "lease-snapshot-that-is-being-sent-is-removed",
    "enclave/manager/sent-snapshots",
    { find: "if (isSent && this.#kept === undefined)", replace: "if (isSent && now < 0)" },
    tests("src/enclave/manager/snapshots"),
  ),
];
