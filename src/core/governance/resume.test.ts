import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { foundNetwork, TEST_TIME_MS } from "../../../test/support/founders.ts";
import { refusal } from "../../../test/support/governed-network.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import type { SignedMessage } from "./proposal.ts";
import { decodeMessages, encodeMessages } from "./proposal-codec.ts";
import { ballotPayload, signRequest } from "./request-signing.ts";
import { checkResume, resumePayload, type ResumingNode } from "./resume.ts";

const network = foundNetwork(3, 2);
const standing = { networkId: network.networkId, constitution: network.constitution };
const crypto = createGovernanceCrypto();
const [first, second] = network.nodes.map(({ request }, at): ResumingNode => {
  return { nodeId: request.nodeId, nonce: new Uint8Array(32).fill(at + 1), view: 4, seqno: 17 };
});
assert.ok(first && second);
const { networkId } = network;
const members = network.founders.map(({ requestSigner }) => requestSigner);
const [one, two, three] = members;
assert.ok(one && two && three);
const statement = { networkId, nodes: [first, second] };
const nowMs = TEST_TIME_MS + 86_400_000;
const originOf = (signer: (typeof members)[number], id: string) => ({
  signer,
  networkId: id,
  createdAt: nowMs / 1000,
  sha256: crypto.sha256,
});
const signed = (by: typeof members, what = statement): SignedMessage[] =>
  by.map((member) => signRequest("resume", resumePayload(what.nodes), originOf(member, what.networkId)));
const check = (resume: readonly SignedMessage[], node: ResumingNode = first): void =>
  checkResume(standing, decodeMessages(encodeMessages(resume)), node, { crypto, nowMs });

describe("a resume", () => {
  test("holds on each node that it names, when a majority of the members have signed it", () => {
    for (const node of [first, second])
      for (const by of [
        [one, two],
        [one, two, three],
      ])
        check(signed(by), node);
  });

  test("does not hold without enough members, and counts each once", () => {
    assert.throws(() => check([]), refusal("NotEnoughVotes"));
    assert.throws(() => check(signed([three])), refusal("NotEnoughVotes"));
    assert.throws(() => check(signed([three, three])), refusal("DuplicateBallot"));
  });

  test("does not hold when who signed it is no member, or did not", () => {
    const participant = members[3];
    assert.ok(participant);
    assert.throws(() => check(signed([one, participant])), refusal("NotAMember"));
    assert.throws(() => check(signed([one, { ...two, sign: three.sign }])), refusal("SignatureInvalid"));
    const ballot = signRequest(
      "ballot",
      ballotPayload("yes", new Uint8Array(32)),
      originOf(two, networkId),
      "11".repeat(32),
    );
    assert.throws(() => check([...signed([one]), ballot]), refusal("Malformed"));
  });

  test("does not hold when members have signed different statements", () => {
    const other = { ...statement, nodes: [first] };
    assert.throws(() => check([...signed([one]), ...signed([two], other)]), refusal("OtherProposal"));
  });

  test("holds for one network, one start of a node, and one end of its log", () => {
    const by = [one, two];
    assert.throws(() => check(signed(by, { ...statement, networkId: "00".repeat(32) })), refusal("OtherNetwork"));
    assert.throws(() => check(signed(by, { networkId, nodes: [second] })), refusal("NodeNotListed"));
    assert.throws(() => check(signed(by, { networkId, nodes: [first, first] })), refusal("NodeNotListed"));
    const resume = signed(by);
    assert.throws(() => check(resume, { ...first, nonce: second.nonce }), refusal("OtherBoot"));
    assert.throws(() => check(resume, { ...first, seqno: 18 }), refusal("OtherBoot"));
    assert.throws(() => check(resume, { ...first, view: 3 }), refusal("OtherBoot"));
  });

  test("is decoded strictly", () => {
    assert.throws(() => decodeMessages(new Uint8Array(3)), { code: "MalformedInput" });
    const encoded = encodeMessages(signed([one, two]));
    assert.throws(() => decodeMessages(encoded.subarray(0, -1)), { code: "MalformedInput" });
    const [whole] = signed([one]);
    assert.ok(whole);
    assert.throws(() => check([{ ...whole, message: new Uint8Array(5) }]), refusal("Malformed"));
  });
});
