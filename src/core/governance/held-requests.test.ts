import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  GOVERNANCE_CRYPTO as CRYPTO,
  GovernedNetwork,
  requestSignerOf,
} from "../../../test/support/governed-network.ts";
import { holdsRequest, requestKey } from "./held-requests.ts";
import { criteriaPayload, signRequest } from "./request-signing.ts";
import { assembleSignedRequest, parseSignedRequest } from "./signed-request.ts";

const { sha256 } = CRYPTO;

describe("a request the state holds", () => {
  test("is a proposal with its ballots and its withdrawal, once they are executed", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    const messages = [...network.requests({ name: "open_epoch", args: {} })];
    const [proposal] = messages;
    assert.ok(proposal);
    const payload = new TextEncoder().encode("{}");
    const createdAt = Math.floor(network.place.timeMs / 1_000);
    const origin = { signer: requestSignerOf("acme"), networkId: network.state.networkId, createdAt, sha256 };
    const other = network.requests({ name: "rotate_service_identity", args: {} })[0];
    const withdrawn = requestKey(other.message, sha256);
    const proposer = network.state;
    messages.push(other);
    for (const message of messages) {
      assert.equal(holdsRequest(network.state, message.message, sha256), false);
      network.execute({ type: "request", ...message });
      assert.equal(holdsRequest(network.state, message.message, sha256), true);
    }
    const by = network.state.proposals.find(({ id }) => id === withdrawn)?.proposer ?? "";
    const withdrawal = signRequest("withdrawal", payload, { ...origin, signer: requestSignerOf(by) }, withdrawn);
    assert.equal(holdsRequest(network.state, withdrawal.message, sha256), false);
    network.execute({ type: "request", ...withdrawal });
    assert.equal(holdsRequest(network.state, withdrawal.message, sha256), true);
    assert.equal(holdsRequest(proposer, withdrawal.message, sha256), false);
  });

  test("is the same with another signature over the same content, and another one at another time", () => {
    const network = new GovernedNetwork([0]);
    const signer = requestSignerOf("acme");
    const votes = (createdAt: number) =>
      signRequest("automatic_vote", criteriaPayload([]), {
        signer,
        networkId: network.state.networkId,
        createdAt,
        sha256,
      });
    const [first, later] = [votes(1), votes(2)];
    network.execute({ type: "request", ...first });
    const again = assembleSignedRequest(parseSignedRequest(first.message), new Uint8Array(64));
    assert.equal(holdsRequest(network.state, again, sha256), true);
    assert.equal(holdsRequest(network.state, later.message, sha256), false);
    network.execute({ type: "request", ...later });
    assert.equal(holdsRequest(network.state, first.message, sha256), false);
  });

  test("is named by what is signed, and nothing malformed has a name", () => {
    assert.throws(() => requestKey(new Uint8Array(3), sha256), { code: "ProposalInvalid" });
  });
});
