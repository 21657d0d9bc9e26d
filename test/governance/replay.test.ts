/** Every request a network has taken comes again at every later state, and is refused with the code of its kind. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { VoteCriteria, SignedMessage } from "../../src/core/governance/proposal.ts";
import { MAX_CLOCK_SKEW_MS, REPLAY_WINDOW } from "../../src/core/governance/replay-guard.ts";
import { signProposal, proposalPayload } from "../../src/core/governance/request-signing.ts";
import { parseSignedRequest, type RequestType } from "../../src/core/governance/signed-request.ts";
import { decodeGovernanceState, encodeGovernanceState } from "../../src/core/governance/state-codec.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { loadGovernanceCrypto } from "../../src/host/script-engine-file.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { countVotes } from "../../src/core/governance/vote-count.ts";
import {
  execute,
  founderSigner,
  genesisState,
  NOW_MS,
  proposalBy,
  requestBy,
  yesBy,
} from "../support/real-governance.ts";
import { refusal } from "../support/governed-network.ts";
import { addMember, approveCode, VotingNetwork } from "../support/voting-network.ts";

const MEMBERS = ["a", "b", "c"];
const CRITERIA: readonly VoteCriteria[] = [
  { actions: ["add_node"], existingActor: true, nodesPerActor: 1, codeApprovedByMajority: false },
];

/** Why a request that comes again is refused. */
const REASONS: Readonly<Record<RequestType, readonly string[]>> = {
  proposal: ["ProposalReplay", "ProposalCreatedTooLongAgo"],
  ballot: ["BallotNotNewer", "ProposalNotOpen"],
  withdrawal: ["ProposalNotOpen"],
  automatic_vote: ["RequestNotNewer"],
  resume: [],
};

/** A network that remembers what it took. */
class Recorded extends VotingNetwork {
  readonly taken: SignedMessage[] = [];

  override request(message: SignedMessage) {
    const state = super.request(message);
    this.taken.push(message);
    return state;
  }

  /** Sends everything again; the reasons for which it is refused. */
  replay(): readonly string[] {
    return this.taken.map(({ message, chain }) => {
      const { type } = parseSignedRequest(message);
      const { state, place } = this;
      try {
        super.request({ message, chain });
      } catch (error) {
        assert.ok(error instanceof CocoError && error.code === "ProposalInvalid", String(error));
        const reason = String(error.data["reason"]);
        assert.ok(REASONS[type].includes(reason), `${type}: ${reason}`);
        assert.equal(this.state, state);
        this.place = place;
        return `${type} ${reason}`;
      }
      return assert.fail(`a ${type} was taken twice`);
    });
  }
}

describe("a request that comes again", () => {
  test("is refused with the code of its kind, at every later state, also of a restored snapshot", () => {
    const reasons = new Set<string>();
    const turn = fc.record({ kind: fc.nat(9), member: fc.constantFrom(...MEMBERS), at: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(turn, { minLength: 5, maxLength: 14, size: "max" }), (turns) => {
        const network = new Recorded({ members: MEMBERS });
        const ids: string[] = [];
        for (const { kind, member, at } of turns) {
          const id = ids[at % Math.max(ids.length, 1)];
          try {
            if (kind < 3 || id === undefined) ids.push(network.propose(member, approveCode(ids.length)));
            else if (kind === 3) network.withdraw(member, id);
            else if (kind === 4) network.register(member, CRITERIA);
            else network.vote(member, id, kind === 5 ? "no" : "yes");
          } catch (error) {
            assert.ok(error instanceof CocoError && error.code === "ProposalInvalid", String(error));
          }
          for (const reason of network.replay()) reasons.add(reason);
        }
        network.state = decodeGovernanceState(encodeGovernanceState(network.state), sha256);
        network.replay();
      }),
      { numRuns: 150 },
    );
    const seen = [...reasons].sort();
    for (const reason of ["automatic_vote RequestNotNewer", "ballot BallotNotNewer", "ballot ProposalNotOpen"])
      assert.ok(reasons.has(reason), seen.join());
    assert.ok(reasons.has("proposal ProposalReplay") && reasons.has("withdrawal ProposalNotOpen"), seen.join());
  });

  test("is refused when it was forgotten, also where many were signed in one second", () => {
    const network = new VotingNetwork({ members: MEMBERS });
    const sent = Array.from({ length: 3 * REPLAY_WINDOW }, (_, at) => {
      const origin = network.origin("a", { createdAt: 900 });
      const { id, ...message } = signProposal(proposalPayload([approveCode(at)]), origin);
      return { id, message };
    });
    // Each is withdrawn and leaves the state, as if its history had grown out of it.
    const taken = sent.filter(({ id, message }) => {
      try {
        network.request(message);
      } catch {
        return false;
      }
      network.withdraw("a", id);
      network.state = { ...network.state, proposals: [] };
      return true;
    });
    assert.ok(taken.length >= REPLAY_WINDOW);
    for (const { message } of taken) {
      const { state } = network;
      assert.throws(() => network.request(message), { code: "ProposalInvalid" });
      assert.equal(network.state, state);
    }
  });

  test("is refused of automatic votes whose member left and came back", () => {
    const network = new Recorded({ members: MEMBERS });
    const decide = (...actions: Parameters<typeof network.propose>[1][]) => {
      for (const action of actions) {
        const id = network.propose("a", action);
        network.vote("a", id, "yes");
        network.vote("b", id, "yes");
      }
    };
    network.register("c", CRITERIA);
    decide({ name: "remove_member", args: { actor: "c" } });
    network.register("a", CRITERIA);
    assert.deepEqual(
      network.state.automaticVotes.map(({ member }) => member),
      ["a"],
    );
    decide(addMember("c"));
    assert.ok(network.state.constitution.actors.some(({ id }) => id === "c"));
    const refused = network.replay();
    assert.equal(refused.filter((reason) => reason === "automatic_vote RequestNotNewer").length, 2);
    network.register("c", []);
  });

  test("may not be from the future, nor from before half of the recent ones", () => {
    const network = new VotingNetwork({ members: MEMBERS });
    const signed = (at: number, createdAt: number) =>
      signProposal(proposalPayload([approveCode(at)]), network.origin("a", { createdAt }));
    const nowSeconds = Math.floor(network.nowMs / 1000);
    assert.throws(() => network.request(signed(0, nowSeconds + 400)), refusal("InvalidCreatedAt"));
    for (const [at, createdAt] of [900, 910, 920].entries()) network.request(signed(at, createdAt));
    network.advance(MAX_CLOCK_SKEW_MS);
    assert.throws(() => network.request(signed(4, 909)), refusal("ProposalCreatedTooLongAgo"));
    assert.doesNotThrow(() => network.request(signed(5, 910)));
  });

  test("is in time when it was signed just now, however far ahead others have signed", () => {
    const network = new VotingNetwork({ members: MEMBERS });
    const nowSeconds = Math.floor(network.nowMs / 1000);
    const propose = (member: string, at: number, createdAt: number) =>
      network.request(signProposal(proposalPayload([approveCode(at)]), network.origin(member, { createdAt })));
    for (let at = 0; at < 9; at++) propose("a", at, nowSeconds + 300);
    assert.doesNotThrow(() => propose("b", 20, nowSeconds - 2));
  });
});

/** As CCF's tools sign: nothing in the message says for which network it is. */
describe("a request that does not name its network", async () => {
  const crypto = await loadGovernanceCrypto();
  const [first, second] = [founderSigner("member1"), founderSigner("member2")];
  const action = approveCode(7);
  // The same members with the same certificates and nodes, and another network.
  const one = genesisState(crypto);
  const other = genesisState(crypto, { settings: { ...one.constitution.settings, maxDelayMs: 9 } });
  const proposal = proposalBy(first, action);
  const opened = (state: GovernanceState) => execute(state, { type: "request", ...proposal }, crypto);
  const [here, there] = [opened(one), opened(other)];
  const proposalId = here.proposals[0]?.id ?? "";
  const cast = (state: GovernanceState, ballot: SignedMessage) =>
    execute(state, { type: "request", ...ballot }, crypto);

  test("can open a proposal in another one, and no plain ballot follows it there", () => {
    assert.notEqual(one.networkId, other.networkId);
    assert.equal(there.proposals[0]?.id, proposalId);
    const ballots = [first, second].map((member) => yesBy(member, here, crypto));
    assert.equal(ballots.reduce(cast, here).proposals[0]?.state, "Accepted");
    for (const ballot of ballots) assert.throws(() => cast(there, ballot), refusal("EffectChanged"));
  });

  test("and holds a script that can: it may ask which network it votes in", () => {
    const source = `export const vote = () => coco.networkId === "${one.networkId}"`;
    const ballot = requestBy(second, "ballot", { ballot: source }, { proposalId });
    const votesOf = (state: GovernanceState) => {
      const after = cast(state, ballot);
      return countVotes(after, after.proposals[0] ?? assert.fail(), NOW_MS, crypto).votes;
    };
    assert.deepEqual(votesOf(here), [{ member: "member2", vote: "yes", by: "script" }]);
    assert.deepEqual(votesOf(there), [{ member: "member2", vote: "no", by: "script" }]);
  });
});
