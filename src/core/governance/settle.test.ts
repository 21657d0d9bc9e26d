import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { idOf, refusal, tupleOf } from "../../../test/support/governed-network.ts";
import { actorOf, addMember, approveCode, OWNER, VotingNetwork } from "../../../test/support/voting-network.ts";
import { simulatedMachineKey, simulatedSigner } from "../../../test/simulation/simulated-crypto.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { toHex, utf8Encode } from "../codec/bytes.ts";
import type { Action } from "./actions.ts";
import { MAX_OPEN_PROPOSALS_PER_MEMBER, type VoteCriteria } from "./proposal.ts";
import type { Rule, VotingPolicies, VotingPolicy } from "./policy.ts";
import { signNodeTuple } from "./node-entry.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";
import { countVotes } from "./vote-count.ts";

const MEMBERS = ["a", "b", "c"];
const HOUR_MS = 3_600_000;

function policies(times: Partial<VotingPolicy> = {}, rule: Rule = { type: "majority" }): VotingPolicies {
  return { default: { rule, expiresAfterMs: 10 * HOUR_MS, deliberationMs: 0, delayMs: 0, ...times }, actions: {} };
}

const network = (times: Partial<VotingPolicy> = {}, rule?: Rule) =>
  new VotingNetwork({ members: MEMBERS, policies: policies(times, rule) });
const remove = (actor: string): Action => ({ name: "remove_member", args: { actor } });
const rename = (text: string): Action => ({
  name: "set_policy",
  args: { action: "add_node", policy: delayed(text.length) },
});
const delayed = (delayMs: number): VotingPolicy => ({ ...policies().default, delayMs });

function stale(net: VotingNetwork, id: string): readonly string[] {
  return countVotes(net.state, net.proposal(id), net.nowMs, net.crypto).stale;
}

describe("a vote", () => {
  test("is for the effect it names: another one makes it stale, and the member is asked again", () => {
    const net = network({}, { type: "unanimous" });
    const id = net.propose("a", rename("long"));
    const seen = net.effect(id);
    net.vote("a", id);
    net.vote("b", id);
    const other = net.propose("b", rename("longer"));
    for (const member of MEMBERS) net.vote(member, other);
    assert.equal(net.proposal(other).state, "Accepted");
    assert.deepEqual(stale(net, id), ["a", "b"]);
    assert.throws(() => net.request(net.ballot("c", id, "yes", seen)), refusal("EffectChanged"));
    net.vote("c", id);
    assert.equal(net.proposal(id).state, "Open");
    net.vote("a", id);
    net.vote("b", id);
    assert.equal(net.proposal(id).state, "Accepted");
  });

  test("stays good while something else changes", () => {
    const net = network();
    const id = net.propose("a", approveCode(1));
    net.vote("a", id);
    const other = net.propose("b", approveCode(2));
    net.vote("a", other);
    net.vote("b", other);
    assert.equal(net.state.constitution.version, 2);
    assert.deepEqual(stale(net, id), []);
    net.vote("b", id);
    assert.equal(net.proposal(id).state, "Accepted");
  });

  test("of a member that is removed does not count, nor for another one that comes under its id", () => {
    const net = network({}, { type: "count", yes: 2 });
    const id = net.propose("a", approveCode(1));
    net.vote("c", id);
    net.register("c", [automatic(["approve_code"])]);
    const gone = net.propose("a", remove("c"));
    net.vote("a", gone);
    net.vote("b", gone);
    const back = net.propose("a", addMember("c", "another key"));
    net.vote("a", back);
    net.vote("b", back);
    assert.deepEqual(net.members, ["a", "b", "c"]);
    net.vote("a", id);
    assert.equal(net.proposal(id).state, "Open");
    assert.deepEqual(stale(net, id), ["c"]);
  });

  test("ends with the certificate it was signed with, when that is taken from the member", () => {
    const net = network({}, { type: "count", yes: 2 });
    const id = net.propose("a", approveCode(1));
    net.vote("c", id);
    const [certificate] = actorOf("c", "member", "new key").certificates;
    const [old] = actorOf("c").certificates;
    assert.ok(certificate && old);
    const roll = net.propose("a", { name: "add_certificate", args: { actor: "c", certificate } }, {
      name: "remove_certificate",
      args: { actor: "c", fingerprint: toHex(sha256(old)) },
    } as Action);
    net.vote("a", roll);
    net.vote("b", roll);
    assert.equal(net.proposal(roll).state, "Accepted");
    assert.throws(() => net.vote("c", id), refusal("CertificateNotValid"));
    net.vote("a", id);
    assert.equal(net.proposal(id).state, "Open");
  });

  test("of a member is the last one it cast", () => {
    const net = network();
    const id = net.propose("a", approveCode(1));
    net.vote("a", id);
    net.vote("a", id, "no");
    net.vote("b", id);
    assert.equal(net.proposal(id).state, "Open");
    net.vote("c", id);
    assert.equal(net.proposal(id).state, "Accepted");
    assert.equal(net.proposal(id).ballots.length, 4);
  });
});

describe("a proposal", () => {
  test("is dropped when its proposer is no member any more", () => {
    const net = network();
    const id = net.propose("c", approveCode(1));
    const gone = net.propose("a", remove("c"));
    net.vote("a", gone);
    net.vote("b", gone);
    assert.deepEqual(net.settle(), [id]);
    assert.equal(net.proposal(id).state, "Dropped");
    assert.throws(() => net.vote("a", id), refusal("ProposalNotOpen"));
  });

  test("has lapsed from its last moment on, though all vote yes, and by the policy at its opening", () => {
    const net = network({ expiresAfterMs: HOUR_MS });
    const id = net.propose("a", approveCode(1));
    const longer: Action = { name: "set_policy", args: { action: "default", policy: policies().default } };
    const change = net.propose("a", longer);
    net.vote("a", change);
    net.vote("b", change);
    net.vote("a", id);
    const { expiresAtMs } = net.proposal(id);
    net.advance(expiresAtMs - net.nowMs - 1);
    assert.deepEqual(net.settle(), []);
    net.vote("b", id);
    assert.equal(net.proposal(id).state, "Expired");
    assert.equal(net.state.constitution.codeManifest.length, 1);
  });

  test("takes effect after the delay, if it still is what was accepted", () => {
    const net = network({ delayMs: HOUR_MS });
    const id = net.propose("a", rename("long"));
    net.vote("a", id);
    net.vote("b", id);
    const { state, scheduled } = net.proposal(id);
    assert.equal(state, "Scheduled");
    assert.equal(scheduled?.atMs, net.nowMs + HOUR_MS);
    assert.throws(() => net.vote("c", id), refusal("ProposalNotOpen"));
    assert.throws(() => net.execute({ type: "resolve", proposalId: id }), refusal("NothingToResolve"));
    // Another change of the same policy is accepted a moment earlier.
    const { policies: before } = net.state.constitution;
    const changed = { ...before, actions: { add_node: delayed(99) } };
    net.state = { ...net.state, constitution: { ...net.state.constitution, policies: changed } };
    net.advance(HOUR_MS);
    assert.deepEqual(net.settle(), [id]);
    assert.equal(net.proposal(id).state, "Open");
    assert.deepEqual(stale(net, id), ["a", "b"]);
    net.vote("a", id);
    net.vote("b", id);
    net.advance(HOUR_MS);
    net.settle();
    assert.equal(net.proposal(id).state, "Accepted");
  });

  test("is withdrawn by its proposer alone, also while it waits for its time", () => {
    const net = network({ delayMs: HOUR_MS });
    const id = net.propose("a", approveCode(1));
    assert.throws(() => net.withdraw("b", id), refusal("NotTheProposer"));
    net.vote("a", id);
    net.vote("b", id);
    net.withdraw("a", id);
    net.advance(2 * HOUR_MS);
    assert.deepEqual(net.settle(), []);
    assert.equal(net.proposal(id).state, "Withdrawn");
  });

  test("that changes the policy is judged by the policy in force", () => {
    const net = network({}, { type: "unanimous" });
    const easy: VotingPolicy = { ...policies().default, rule: { type: "count", yes: 1 } };
    const id = net.propose("a", { name: "set_policy", args: { action: "default", policy: easy } });
    net.vote("a", id);
    net.vote("b", id);
    assert.equal(net.proposal(id).state, "Open");
    net.vote("c", id);
    assert.equal(net.proposal(id).state, "Accepted");
    const next = net.propose("a", approveCode(1));
    net.vote("b", next);
    assert.equal(net.proposal(next).state, "Accepted");
  });

  test("that was accepted and can't be done any more has failed, and says why", () => {
    const net = network({ delayMs: HOUR_MS });
    const ids = [net.propose("a", approveCode(1)), net.propose("b", approveCode(1))];
    for (const id of ids) for (const member of ["a", "b"]) net.vote(member, id);
    net.advance(HOUR_MS);
    net.settle();
    assert.deepEqual(
      ids.map((id) => net.proposal(id).state),
      ["Accepted", "Failed"],
    );
    const { failure } = net.proposal(ids[1] ?? "");
    assert.deepEqual([failure?.reason, failure?.action, failure?.name], ["AlreadyApproved", 0, "approve_code"]);
    assert.deepEqual(decodeGovernanceState(encodeGovernanceState(net.state), sha256), net.state);
  });

  test("counts the yes votes of those who are members when it takes effect", () => {
    const net = network({ delayMs: HOUR_MS });
    const id = net.propose("a", approveCode(1));
    const gone = net.propose("a", remove("b"));
    for (const each of [gone, id]) for (const member of ["a", "b"]) net.vote(member, each);
    net.advance(2 * HOUR_MS);
    net.settle();
    assert.deepEqual(net.members, ["a", "c"]);
    const approved = net.state.constitution.codeManifest.at(-1);
    assert.ok(approved?.approval);
    assert.ok(approved.approval.yes <= approved.approval.members);
    assert.equal(net.proposal(id).state, "Accepted");
  });
});

const automatic = (actions: readonly string[], change: Partial<VoteCriteria> = {}): VoteCriteria => ({
  ...{ actions, existingActor: false, nodesPerActor: 0, codeApprovedByMajority: false },
  ...change,
});

describe("automatic votes", () => {
  const owner = { actor: OWNER, sign: simulatedSigner(sha256(utf8Encode(OWNER))) };
  const added = (at: number, more: object = {}): Action => ({
    name: "add_node",
    args: { entry: signNodeTuple("governed", tupleOf(at), owner), ...more },
  });

  function registered(criteria: VoteCriteria): VotingNetwork {
    const net = network();
    for (const member of ["a", "b"]) net.register(member, [criteria]);
    return net;
  }

  test("accept a proposal at once that meets the criteria, and no other", () => {
    const net = registered(automatic(["add_node"], { existingActor: true, nodesPerActor: 2 }));
    const id = net.propose("c", added(1));
    assert.equal(net.proposal(id).state, "Accepted");
    assert.deepEqual(
      net.proposal(id).finalVotes.map(({ by }) => by),
      ["criteria", "criteria"],
    );
    assert.equal(net.proposal(net.propose("c", added(2))).state, "Open", "beyond the number of nodes");
    assert.equal(net.proposal(net.propose("c", added(3), approveCode(1))).state, "Open", "with another action");
  });

  test("for nodes approve no machine that comes with one", () => {
    const net = registered(automatic(["add_node"]));
    const tee = { tee: "virtual", machineKey: simulatedMachineKey(new Uint8Array(32).fill(3)), note: "new" } as const;
    assert.equal(net.proposal(net.propose("c", added(1, { tee }))).state, "Open");
    const both = registered(automatic(["add_node", "approve_tee"]));
    assert.equal(both.proposal(both.propose("c", added(1, { tee }))).state, "Accepted");
  });

  test("look at a node that takes another one's place as at any", () => {
    const net = registered(automatic(["replace_node"], { codeApprovedByMajority: true }));
    const entry = signNodeTuple("governed", tupleOf(5), owner);
    const replace: Action = { name: "replace_node", args: { nodeId: idOf(0), entry } };
    assert.equal(net.proposal(net.propose("c", replace)).state, "Open");
  });

  test("give way to a ballot, and end with empty criteria", () => {
    const net = network({}, { type: "unanimous" });
    for (const member of MEMBERS) net.register(member, [automatic(["approve_code"])]);
    net.register("a", []);
    const id = net.propose("b", approveCode(1));
    assert.equal(net.proposal(id).state, "Open");
    net.vote("b", id, "no");
    assert.equal(net.proposal(id).state, "Rejected");
  });

  test("have room for every member, and nobody takes that of the others", () => {
    const net = network();
    const padded = { criteria: [automatic(["add_node"])] };
    const spaces = utf8Encode(`${JSON.stringify(padded)}${" ".repeat(127 * 1024)}`);
    for (const member of MEMBERS) net.request(net.sign(member, "automatic_vote", spaces));
    assert.equal(net.state.automaticVotes.length, 3);
  });
});

describe("room for proposals", () => {
  test("is shared: one member cannot keep the others from proposing and voting", () => {
    const net = network();
    const big = utf8Encode(`{"actions":[{"name":"open_epoch","args":{}}]}${" ".repeat(120 * 1024)}`);
    const ids: string[] = [];
    assert.throws(() => {
      for (;;) {
        net.request(net.sign("a", "proposal", big));
        ids.push(net.state.proposals.at(-1)?.id ?? "");
      }
    }, refusal("TooManyProposals"));
    assert.ok(ids.length >= 2);
    const id = net.propose("b", approveCode(1));
    net.vote("b", id);
    net.vote("c", id);
    assert.equal(net.proposal(id).state, "Accepted");
  });

  test("ends at a number of open proposals of one member", () => {
    const net = network();
    for (let at = 0; at < MAX_OPEN_PROPOSALS_PER_MEMBER; at++) net.propose("a", approveCode(at));
    assert.throws(() => net.propose("a", approveCode(99)), refusal("TooManyProposals"));
    assert.doesNotThrow(() => net.propose("b", approveCode(99)));
  });
});
