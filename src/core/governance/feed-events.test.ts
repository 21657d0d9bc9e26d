import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, requestSignerOf } from "../../../test/support/governed-network.ts";
import type { GovernanceState } from "./administrative.ts";
import { effectDigest } from "./effects.ts";
import { feedEvents } from "./feed-events.ts";
import { ballotPayload, proposalPayload, signProposal, signRequest } from "./request-signing.ts";
import type { Action } from "./actions.ts";
import type { SignedMessage } from "./proposal.ts";
import { effectOf } from "./vote-count.ts";

const LATENCY: Action = { name: "set_settings", args: { maxDelayMs: 5 } };
const CRYPTO = GOVERNANCE_CRYPTO;

/** A network that records what each request tells. */
class ToldNetwork extends GovernedNetwork {
  tell(message: SignedMessage) {
    const before = this.state;
    this.place = { ...this.place, timeMs: this.place.timeMs + 1_000 };
    const at = this.place;
    const after = this.execute({ type: "request", ...message });
    return feedEvents(before, after, at, CRYPTO);
  }

  origin(member: string, ageSeconds = 0) {
    const createdAt = Math.floor(this.place.timeMs / 1_000) - ageSeconds;
    return { signer: requestSignerOf(member), networkId: this.state.networkId, createdAt, sha256: CRYPTO.sha256 };
  }

  propose(...actions: readonly Action[]) {
    return signProposal(proposalPayload(actions), this.origin("acme"));
  }

  ballot(member: string, id: string, vote: "yes" | "no") {
    const proposal = this.state.proposals.find((one) => one.id === id);
    assert.ok(proposal);
    const effect = effectOf(this.state, proposal, { nowMs: this.place.timeMs, crypto: CRYPTO });
    const digest = effectDigest(this.state, effect, CRYPTO.sha256);
    return signRequest("ballot", ballotPayload(vote, digest), this.origin(member), id);
  }
}

const types = (events: ReturnType<typeof feedEvents>) => events.map(({ type }) => type);

describe("what members are told", () => {
  test("is a proposal's way from its opening to the constitution it makes, each at its place in the ledger", () => {
    const network = new ToldNetwork([0, 1, 2]);
    const proposal = network.propose(LATENCY);
    const { firstSeqno } = network.place;
    const opened = network.tell(proposal);
    assert.deepEqual(opened, [
      {
        id: `${firstSeqno}.1`,
        seqno: firstSeqno,
        type: "proposal_opened",
        data: {
          ...{ proposalId: proposal.id, proposerId: "acme", actions: ["set_settings"] },
          expiresAtMs: network.state.proposals[0]?.expiresAtMs,
        },
      },
    ]);
    const first = network.tell(network.ballot("acme", proposal.id, "yes"));
    assert.deepEqual(
      first.map(({ type, data }) => [type, data]),
      [["ballot_cast", { proposalId: proposal.id, proposerId: "acme", memberId: "acme", vote: "yes" }]],
    );
    const second = network.tell(network.ballot("globex", proposal.id, "yes"));
    assert.deepEqual(types(second), ["ballot_cast", "proposal_accepted", "constitution_changed"]);
    assert.deepEqual(
      second.map(({ id }) => id.split(".")[1]),
      ["1", "2", "3"],
    );
  });

  test("is a rejection, and a withdrawal", () => {
    const network = new ToldNetwork([0, 1, 2]);
    const rejected = network.propose(LATENCY);
    network.tell(rejected);
    network.tell(network.ballot("acme", rejected.id, "no"));
    assert.deepEqual(types(network.tell(network.ballot("globex", rejected.id, "no"))), [
      ...["ballot_cast", "proposal_rejected"],
    ]);
    const withdrawn = network.propose(LATENCY);
    network.tell(withdrawn);
    const payload = new TextEncoder().encode("{}");
    const withdrawal = signRequest("withdrawal", payload, network.origin("acme"), withdrawn.id);
    assert.deepEqual(types(network.tell(withdrawal)), ["proposal_withdrawn"]);
  });

  test("is that an open proposal would do something else by now, and members are asked again", () => {
    const network = new ToldNetwork([0, 1, 2]);
    const [one, other] = [network.propose(LATENCY), network.propose({ name: "set_settings", args: { maxDelayMs: 7 } })];
    network.tell(one);
    network.tell(other);
    network.tell(network.ballot("acme", other.id, "yes"));
    network.tell(network.ballot("acme", one.id, "yes"));
    const told = network.tell(network.ballot("globex", one.id, "yes"));
    assert.deepEqual(types(told), [
      ...["ballot_cast", "proposal_accepted", "constitution_changed", "proposal_changed"],
    ]);
    const effect = effectOf(
      network.state,
      { id: other.id, actions: [{ name: "set_settings", args: { maxDelayMs: 7 } }] },
      { nowMs: 0, crypto: CRYPTO },
    );
    const digest = Buffer.from(effectDigest(network.state, effect, CRYPTO.sha256)).toString("hex");
    assert.deepEqual(told[3]?.data, { proposalId: other.id, proposerId: "acme", effect: digest });
  });

  test("is nothing where nothing happened, nor at the beginning", () => {
    const { state, place } = new ToldNetwork([0]);
    const same: GovernanceState = { ...state, epochDue: true };
    assert.deepEqual(feedEvents(state, state, place, CRYPTO), []);
    assert.deepEqual(feedEvents(state, same, place, CRYPTO), []);
    assert.deepEqual(feedEvents(undefined, state, place, CRYPTO), []);
  });
});
