import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { foundNetwork } from "../../../test/support/founders.ts";
import { refusal } from "../../../test/support/governed-network.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import type { Bytes } from "../codec/bytes.ts";
import { BALLOT_CONTENT_TYPE, signBallot } from "./decision.ts";
import { checkResume, decodeResume, encodeResume, type ResumingNode, signResume } from "./resume.ts";

const network = foundNetwork(3, 2);
const standing = { networkId: network.networkId, constitution: network.constitution };
const crypto = createGovernanceCrypto();
const [first, second] = network.nodes.map(({ request }, at): ResumingNode => {
  return { nodeId: request.nodeId, nonce: new Uint8Array(32).fill(at + 1), view: 4, seqno: 17 };
});
assert.ok(first && second);
const { networkId } = network;
const members = network.founders.map(({ signer }) => signer);
const [one, two, three] = members;
assert.ok(one && two && three);
const statement = { networkId, nodes: [first, second] };
const signed = (by: typeof members, what = statement): Bytes[] => by.map((member) => signResume(what, member));
const check = (resume: readonly Bytes[], node: ResumingNode = first): void =>
  checkResume(standing, decodeResume(encodeResume(resume)), node, crypto);

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
    const stranger = { actor: "stranger", sign: one.sign };
    assert.throws(() => check(signed([one, stranger])), refusal("NotAMember"));
    assert.throws(() => check(signed([one, { actor: two.actor, sign: three.sign }])), refusal("SignatureInvalid"));
    const ballot = signBallot({ proposal: new Uint8Array(32), vote: "for" }, two);
    assert.throws(() => check([...signed([one]), ballot]), refusal("Malformed"), BALLOT_CONTENT_TYPE);
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
    assert.throws(() => decodeResume(new Uint8Array(3)), refusal("Malformed"));
    const encoded = encodeResume(signed([one, two]));
    assert.throws(() => decodeResume(encoded.subarray(0, -1)), refusal("Malformed"));
    assert.throws(() => check([new Uint8Array(5)]), refusal("Malformed"));
  });
});
