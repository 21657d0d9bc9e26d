/** Scripts of hostile ballots and constitutions, on the real engine: they leave nothing but their record. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Action } from "../../src/core/governance/actions.ts";
import { decodeGovernanceState, encodeGovernanceState } from "../../src/core/governance/state-codec.ts";
import { countVotes } from "../../src/core/governance/vote-count.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { loadScriptRunner } from "../../src/host/script-engine-file.ts";
import { refusal } from "../support/governed-network.ts";
import { approveCode, VotingNetwork } from "../support/voting-network.ts";

const { runScript } = await loadScriptRunner();
const MEMBERS = ["a", "b", "c"];
const HOSTILE: Readonly<Record<string, string>> = {
  "an endless loop": "for (;;);",
  "endless recursion": "const f = () => f() + 1; return f();",
  "a memory bomb": "const all = []; for (;;) all.push(new Array(100000).fill(1));",
  "a huge output": "return 'x'.repeat(1000000);",
  "a throw": "throw new Error('no\\u0000\\ud800 ' + 'y'.repeat(5000));",
  "a throw of nothing": "throw undefined;",
  "prototype pollution": "Object.prototype.vote = 'yes'; Array.prototype.includes = () => true; return {};",
  "a result of another kind": "return { vote: 'yes', __proto__: { toString: () => 'yes' } };",
  "no syntax": "return (;",
};

const scripted = (body: string, name = "vote") => `export function ${name}() { ${body} }`;
const ballot = (network: VotingNetwork, member: string, id: string, source: string) =>
  network.request(network.sign(member, "ballot", { ballot: source }, id));

/** The state has its form in bytes, whatever a script has put into it. */
function requireReadable(network: VotingNetwork): void {
  const bytes = encodeGovernanceState(network.state);
  assert.deepEqual(decodeGovernanceState(bytes, sha256), network.state);
}

describe("a scripted ballot", () => {
  for (const [name, body] of Object.entries(HOSTILE)) {
    test(`with ${name} is no vote, and does not stop the others`, () => {
      const network = new VotingNetwork({ members: MEMBERS, runScript });
      const id = network.propose("a", approveCode(1));
      const before = network.state.constitution;
      ballot(network, "c", id, scripted(body));
      assert.equal(network.state.constitution, before);
      const { votes, scriptFailures } = countVotes(network.state, network.proposal(id), network.nowMs, network.crypto);
      assert.deepEqual(votes, []);
      assert.deepEqual(
        scriptFailures.map(({ member }) => member),
        ["c"],
      );
      requireReadable(network);
      network.vote("a", id);
      network.vote("b", id);
      assert.equal(network.proposal(id).state, "Accepted");
      assert.deepEqual(
        network.proposal(id).finalVotes.map(({ member }) => member),
        ["a", "b"],
      );
      assert.deepEqual({}.toString(), "[object Object]");
      requireReadable(network);
    });
  }

  test("votes by what the state is when votes are counted", () => {
    const network = new VotingNetwork({ members: MEMBERS, runScript });
    const id = network.propose("a", approveCode(1));
    const source = `export function vote(proposal, proposer) {
      const [{ name, args }] = JSON.parse(proposal).actions;
      return proposer === "a" && name === "approve_code" && args.version === "1" && coco.constitution.version === 2; }`;
    ballot(network, "b", id, source);
    assert.equal(network.proposal(id).state, "Open");
    const other = network.propose("a", approveCode(2));
    network.vote("a", other);
    network.vote("c", other);
    assert.equal(network.state.constitution.version, 2);
    network.vote("a", id);
    assert.equal(network.proposal(id).state, "Accepted");
    assert.deepEqual(network.proposal(id).finalVotes, [
      { member: "a", vote: "yes", by: "ballot" },
      { member: "b", vote: "yes", by: "script" },
    ]);
  });

  test("that says another thing each millisecond keeps nobody busy, and is settled once", () => {
    const network = new VotingNetwork({ members: ["a", "b"], runScript });
    const id = network.propose("a", approveCode(1));
    network.vote("a", id);
    network.advance(1);
    ballot(network, "b", id, "export const vote = () => coco.now % 2 === 0 ? 'yes' : 'abstain';");
    let settled = 0;
    for (let at = 0; at < 20; at++) {
      network.advance(1);
      settled += network.settle().length;
    }
    assert.ok(settled <= 1, `${settled} times`);
  });
});

describe("a constitution's script", () => {
  for (const [name, body] of Object.entries(HOSTILE)) {
    test(`with ${name} in apply changes nothing, and can be voted out`, () => {
      const script = scripted(body, "apply");
      const network = new VotingNetwork({ members: MEMBERS, script, runScript });
      const before = network.state;
      assert.throws(() => network.propose("a", approveCode(1)), refusal("ScriptFailed"));
      assert.equal(network.state, before);
      const id = network.propose("a", { name: "set_script", args: { source: null } });
      network.vote("a", id);
      network.vote("b", id);
      assert.equal(network.proposal(id).state, "Accepted");
      assert.equal(network.state.constitution.script, undefined);
      assert.doesNotThrow(() => network.propose("a", approveCode(1)));
    });

    test(`with ${name} in resolve leaves a proposal open until it expires`, () => {
      const policy = { rule: { type: "script" }, expiresAfterMs: 60_000, deliberationMs: 0, delayMs: 0 } as const;
      const policies = { default: policy, actions: {} };
      const script = scripted(body, "resolve");
      const network = new VotingNetwork({ members: MEMBERS, policies, script, runScript });
      const id = network.propose("a", { name: "set_script", args: { source: "export const validate = 1;" } });
      for (const member of MEMBERS.slice(1)) network.vote(member, id);
      assert.equal(network.proposal(id).state, "Open");
      requireReadable(network);
      network.advance(60_000);
      assert.deepEqual(network.settle(), [id]);
      assert.equal(network.proposal(id).state, "Expired");
      assert.equal(network.state.constitution.version, 1);
      requireReadable(network);
    });
  }

  test("refuses what its validate refuses, adds what its apply adds, and decides where a policy asks it", () => {
    const script = `
      export const validate = (text) => ({ valid: !text.includes("remove_member"), description: "members stay" });
      export const resolve = (text, proposer, votes) => votes.some(({ member_id, vote }) => member_id === "b" && vote)
        ? "Accepted" : votes.some(({ vote }) => !vote) ? "Rejected" : "Open";
      export const apply = (text, id) => JSON.parse(text).actions.length === 1 && id.length === 64
        ? { actions: [{ name: "open_epoch", args: {} }] } : undefined;`;
    const policy = { rule: { type: "script" }, expiresAfterMs: 3_600_000, deliberationMs: 0, delayMs: 0 } as const;
    const policies = { default: policy, actions: {} };
    const network = new VotingNetwork({ members: MEMBERS, policies, script, runScript });
    const remove: Action = { name: "remove_member", args: { actor: "c" } };
    assert.throws(() => network.propose("a", remove), refusal("NotValidByScript"));
    const id = network.propose("a", approveCode(1));
    network.vote("a", id);
    assert.equal(network.proposal(id).state, "Open");
    network.vote("b", id);
    assert.equal(network.proposal(id).state, "Accepted");
    assert.equal(network.state.epochDue, true);
    const rejected = network.propose("a", approveCode(2));
    network.vote("c", rejected, "no");
    assert.equal(network.proposal(rejected).state, "Rejected");
    requireReadable(network);
  });
});
