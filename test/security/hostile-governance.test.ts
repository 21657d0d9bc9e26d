/**
 * Scripts of members who mean harm, on the real engine, among real certificates and signatures: whatever they do, they leave
 * nothing but their record, the others' votes count, and a second engine comes to the same bytes.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Action } from "../../src/core/governance/actions.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import type { VotingPolicy } from "../../src/core/governance/policy.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import { isRefusal } from "../../src/core/governance/refusal.ts";
import { decodeGovernanceState, encodeGovernanceState } from "../../src/core/governance/state-codec.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import { MAX_OPEN_PROPOSALS } from "../../src/core/governance/proposal.ts";
import { countVotes, MAX_BALLOTS_FUEL, MAX_MEMBER_BALLOTS_FUEL } from "../../src/core/governance/vote-count.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { loadGovernanceCrypto } from "../../src/host/script-engine-file.ts";
import { CocoError } from "../../src/errors.ts";
import { refusal } from "../support/governed-network.ts";
import {
  execute,
  founderSigner,
  genesisState,
  NOW_MS,
  proposalBy,
  requestBy,
  yesBy,
} from "../support/real-governance.ts";

const ENGINES = [await loadGovernanceCrypto(), await loadGovernanceCrypto()] as const;
const [CRYPTO] = ENGINES;
const MEMBERS = ["member1", "member2", "member3"].map(founderSigner) as [
  ...[ReturnType<typeof founderSigner>, ReturnType<typeof founderSigner>, ReturnType<typeof founderSigner>],
];
const [FIRST, SECOND, HOSTILE] = MEMBERS;
const APPROVE: Action = {
  name: "approve_code",
  args: { measurement: "22".repeat(32), name: "coco-framework", version: "2" },
};

const THROWN: Readonly<Record<string, string>> = {
  "a proxy of traps": "new Proxy({}, new Proxy({}, { get() { for (;;); } }))",
  "a revoked proxy": "(() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy })()",
  "a message that never ends": "{ get message() { for (;;); } }",
  "text that never ends": "{ toString() { for (;;); }, [Symbol.toPrimitive]() { for (;;); } }",
  "an error that breaks its own words": `Object.defineProperties(new Error("a"), {
    name: { get() { throw this } }, message: { get() { throw this } }, stack: { get() { throw this } } })`,
  "an error of errors":
    "(() => { let e = new Error('x'); for (let i = 0; i < 9999; i++) e = new Error(e, { cause: e }); return e })()",
  "a symbol": "Symbol('yes')",
  "a whole number of any size": "2n ** 4000n",
  "a function": "() => 'yes'",
  "half a character": "'\\ud800'",
  "a long text": "'\\u0000\\u2028'.repeat(100000)",
};

const RETURNED: Readonly<Record<string, string>> = {
  "a revoked proxy": "(() => { const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return proxy })()",
  "JSON that never ends": "{ toJSON() { for (;;); } }",
  "a field that never ends": "{ get vote() { for (;;); } }",
  "JSON of its own making": "{ toJSON() { return { toJSON() { return 'yes' } } } }",
  "itself in itself": "(() => { const a = []; a[0] = a; return a })()",
  "a list of four billion": "new Array(4294967295)",
  "a wide object": "Object.fromEntries(Array.from({ length: 60000 }, (_, i) => ['k' + i, i]))",
  "a promise of a yes": "Promise.resolve('yes')",
  "a thenable": "{ then(done) { done('yes') } }",
  "a broken yes": "'yes\\u0000'",
  "a number": "1",
  "no number": "NaN",
  "a symbol": "Symbol.for('yes')",
  "a whole number of any size": "1n",
};

const DONE: Readonly<Record<string, string>> = {
  "a regular expression of exponential time": "return /^(a+)+$/.test('a'.repeat(64) + '!') ? 'no' : 'x'",
  "a regular expression that looks back": "return /(?:(x+x+)+y|\\1)+$/.exec('x'.repeat(200)) ?? {}",
  "a replacement without end": "return 'a'.repeat(60000).replace(/a/g, () => 'a'.repeat(60000))",
  "a list sorted by recursion": "const f = () => [3, 2, 1].sort(f); return f()",
  "joined lists": "let a = ['x'.repeat(9999)]; for (let i = 0; i < 99; i++) a = [a, a]; return a.join()",
  "a prototype of all objects": `for (const name of ["vote", "ok", "value", "reason", "then", "actor", "member", "type", "toJSON"])
    Object.defineProperty(Object.prototype, name, { get() { return "yes" }, set() {} }); throw {}`,
  "broken built-in functions": `JSON.stringify = JSON.parse = () => '"yes"'; Array.prototype[Symbol.iterator] = null;
    Object.keys = Object.entries = Reflect.ownKeys = () => { for (;;); }; return {}`,
  "another view of the network": `try { coco.constitution.version = 99 } catch {}
    try { Object.defineProperty(coco.constitution.actors, 0, { value: {} }) } catch {}
    try { Object.setPrototypeOf(coco, { now: 0 }) } catch {}
    if (coco.constitution.version !== 1 || coco.constitution.actors[0].id !== "member1") return "yes"; return {}`,
};

const MODULES: Readonly<Record<string, string>> = {
  "another module": "import fs from 'node:fs'; export function vote() { return 'yes' }",
  "another module later": "export async function vote() { await import('node:fs'); return 'yes' }",
  "a wait": "await 1; export function vote() { return 'yes' }",
  "a loop before its function": "for (;;); export function vote() { return 'yes' }",
  "a throw before its function": "throw 1; export function vote() { return 'yes' }",
  "a class as its function": "export class vote {}",
  "a generator as its function": "export function* vote() { return 'yes' }",
  "a proxy as its function": "export const vote = new Proxy(() => 'yes', { apply() { for (;;); } })",
  "no function": "export const vote = 'yes'",
  "another function": "export function resolve() { return 'Accepted' }",
  "a function of another name": "export default function vote() { return 'yes' }",
  "no ECMAScript": "\u0000\ud83d\ude00<script>",
};

const entriesOf = (table: Readonly<Record<string, string>>, prefix: string, body: (text: string) => string) =>
  Object.entries(table).map(([name, text]) => [`${prefix} ${name}`, body(text)] as const);
const functionOf = (body: string, name = "vote"): string => `export function ${name}() { ${body} }`;

const SCRIPTS: readonly (readonly [string, string])[] = [
  ...entriesOf(THROWN, "throws", (text) => functionOf(`throw ${text}`)),
  ...entriesOf(RETURNED, "returns", (text) => functionOf(`return ${text}`)),
  ...entriesOf(DONE, "does", functionOf),
  ...entriesOf(MODULES, "has", (text) => text),
];

/** Executes requests on both engines: they agree on every byte, also of what was read back. */
function run(state: GovernanceState, ...messages: readonly SignedMessage[]): GovernanceState {
  return messages.reduce((before, message) => {
    const [one, other] = ENGINES.map((crypto) => execute(before, { type: "request", ...message }, crypto));
    assert.ok(one && other);
    const bytes = encodeGovernanceState(one);
    assert.deepEqual(encodeGovernanceState(other), bytes);
    const read = decodeGovernanceState(bytes, sha256);
    assert.deepEqual(read, one);
    assert.deepEqual(encodeGovernanceState(read), bytes);
    return one;
  }, state);
}

/** The state as if a member had cast no ballot. */
function withoutBallotsOf(state: GovernanceState, member: string): GovernanceState {
  const proposals = state.proposals.map((proposal) => ({
    ...proposal,
    ballots: proposal.ballots.filter((cast) => cast.member !== member),
  }));
  return { ...state, proposals };
}

describe("a ballot that means harm", () => {
  const opened = run(genesisState(CRYPTO), proposalBy(FIRST, APPROVE));
  const proposalId = opened.proposals[0]?.id ?? "";
  const votes = [FIRST, SECOND].map((member) => yesBy(member, opened, CRYPTO));
  const control = run(opened, ...votes);

  test("would be accepted without it", () => {
    assert.deepEqual(
      control.proposals.map(({ state }) => state),
      ["Accepted"],
    );
  });

  for (const [name, source] of SCRIPTS)
    test(`${name}`, () => {
      const cast = run(opened, requestBy(HOSTILE, "ballot", { ballot: source }, { proposalId }));
      const [proposal] = cast.proposals;
      assert.ok(proposal);
      assert.deepEqual(encodeGovernanceState(withoutBallotsOf(cast, "member3")), encodeGovernanceState(opened));
      const [one, other] = ENGINES.map((crypto) => countVotes(cast, proposal, NOW_MS, crypto));
      assert.deepEqual(one, other);
      assert.deepEqual(one?.votes, []);
      assert.deepEqual(
        one?.scriptFailures.map(({ member }) => member),
        ["member3"],
      );
      const decided = run(cast, ...votes);
      assert.equal(decided.proposals[0]?.ballots.length, 3);
      assert.deepEqual(encodeGovernanceState(withoutBallotsOf(decided, "member3")), encodeGovernanceState(control));
      assert.equal(Object.hasOwn(Object.prototype, "vote"), false);
    });
});

describe("a member with a looping ballot on each of many proposals", () => {
  test("takes no more work than its part when all of them are counted, and nobody else's votes", () => {
    const proposals = 16;
    const measurements = Array.from({ length: proposals }, (_, at) => (at + 0xa0).toString(16).repeat(32));
    const approve = (measurement: string): Action => ({ ...APPROVE, args: { ...APPROVE.args, measurement } });
    let state = run(genesisState(CRYPTO), ...measurements.map((each) => proposalBy(HOSTILE, approve(each))));
    const loops = functionOf("for (;;);");
    // As CCF's documentation has it: a vote on what is proposed.
    const honest = `export function vote(proposal, proposer) {
      const { actions } = JSON.parse(proposal);
      return proposer === "member3" && actions.every(({ name }) => name === "approve_code");
    }`;
    for (const { id: proposalId } of state.proposals)
      state = run(
        state,
        requestBy(HOSTILE, "ballot", { ballot: loops }, { proposalId }),
        requestBy(FIRST, "ballot", { ballot: honest }, { proposalId }),
      );
    const spent = { hostile: 0, honest: 0 };
    const runScript: GovernanceCrypto["runScript"] = (call) => {
      const result = CRYPTO.runScript(call);
      spent[call.source === loops ? "hostile" : "honest"] += result.fuel;
      return result;
    };
    for (const proposal of state.proposals) {
      const { votes, scriptFailures } = countVotes(state, proposal, NOW_MS, { ...CRYPTO, runScript });
      assert.deepEqual(votes, [{ member: "member1", vote: "yes", by: "script" }]);
      assert.deepEqual(
        scriptFailures.map(({ member, message }) => [member, message.split(":")[0]]),
        [["member3", "Timeout"]],
      );
    }
    assert.ok(spent.hostile > MAX_MEMBER_BALLOTS_FUEL / 2, `its script ran: ${spent.hostile}`);
    assert.ok(spent.hostile <= MAX_MEMBER_BALLOTS_FUEL, `bounded: ${spent.hostile}`);
    // Its own part is enough for an honest script, also where 16 members vote by script on all proposals there can be.
    const leastPart = MAX_BALLOTS_FUEL / 16 / MAX_OPEN_PROPOSALS;
    assert.ok(spent.honest / proposals < leastPart, `enough: ${spent.honest / proposals}`);
  });
});

describe("a script of the constitution that means harm", () => {
  const BODIES: Readonly<Record<string, string>> = {
    "never ends": "for (;;);",
    "throws what cannot be told": `throw ${THROWN["a proxy of traps"]}`,
    "returns what never ends": `return ${RETURNED["JSON that never ends"]}`,
    "takes all memory": "const all = []; for (;;) all.push('x'.repeat(60000) + all.length)",
    "refuses everything": "return { valid: false, description: 'no' }",
  };
  const remove: Action = { name: "set_script", args: { source: null } };

  for (const [name, body] of Object.entries(BODIES))
    for (const entry of ["validate", "apply"])
      test(`in ${entry}: ${name}. It stops proposals, and members take it out`, () => {
        const state = genesisState(CRYPTO, { script: functionOf(body, entry) });
        const before = encodeGovernanceState(state);
        const reason = entry === "validate" && name === "refuses everything" ? "NotValidByScript" : "ScriptFailed";
        for (const crypto of ENGINES) {
          const attempt = () => execute(state, { type: "request", ...proposalBy(FIRST, APPROVE) }, crypto);
          assert.throws(attempt, refusal(reason));
          const both = () => execute(state, { type: "request", ...proposalBy(FIRST, remove, APPROVE) }, crypto);
          assert.throws(both, refusal(reason), "what else is proposed with it does not slip through");
        }
        assert.deepEqual(encodeGovernanceState(state), before);
        const opened = run(state, proposalBy(FIRST, remove));
        const decided = run(opened, ...[FIRST, SECOND].map((member) => yesBy(member, opened, CRYPTO)));
        assert.equal(decided.proposals[0]?.state, "Accepted");
        assert.equal(decided.constitution.script, undefined);
      });

  const ADDED: Readonly<Record<string, string>> = {
    "half a character":
      "[{ name: 'approve_code', args: { measurement: '33'.repeat(32), name: '\\ud800', version: '1' } }]",
    "a prototype": "[{ name: 'open_epoch', args: JSON.parse('{\"__proto__\": 1}') }]",
    "what no action is": "[{ name: 'constructor', args: {} }]",
    "too many": "Array.from({ length: 65 }, () => ({ name: 'open_epoch', args: {} }))",
    "the last member's removal":
      "['member1', 'member2', 'member3'].map((actor) => ({ name: 'remove_member', args: { actor } }))",
  };
  for (const [name, actions] of Object.entries(ADDED))
    test(`in apply: adds ${name}. The proposal is refused, and nothing else happens`, () => {
      const state = genesisState(CRYPTO, { script: functionOf(`return { actions: ${actions} }`, "apply") });
      const before = encodeGovernanceState(state);
      for (const crypto of ENGINES)
        assert.throws(
          () => execute(state, { type: "request", ...proposalBy(FIRST, APPROVE) }, crypto),
          (error) => error instanceof CocoError && isRefusal(error),
        );
      assert.deepEqual(encodeGovernanceState(state), before);
    });

  const byScript: VotingPolicy = { rule: { type: "script" }, expiresAfterMs: 60_000, deliberationMs: 0, delayMs: 0 };
  for (const [name, body] of [...Object.entries(BODIES), ["rejects everything", "return 'Rejected'"] as const])
    test(`in resolve: ${name}. Nothing passes, and all members together take it out`, () => {
      const policies = { default: byScript, actions: {} };
      const state = genesisState(CRYPTO, { policies, script: functionOf(body, "resolve") });
      const votesOn = (on: GovernanceState) => MEMBERS.map((member) => yesBy(member, on, CRYPTO));
      const other = run(state, proposalBy(FIRST, APPROVE));
      if (name === "rejects everything") assert.equal(other.proposals[0]?.state, "Rejected");
      else assert.equal(run(other, ...votesOn(other)).proposals[0]?.state, "Open");

      const opened = run(
        state,
        proposalBy(FIRST, { name: "set_policy", args: { action: "default", policy: MAJORITY } }),
      );
      assert.notEqual(
        run(opened, ...(opened.proposals[0]?.state === "Open" ? votesOn(opened) : [])).proposals[0]?.state,
        "Accepted",
      );

      const replaced: Action = { name: "set_script", args: { source: functionOf("return 'Accepted'", "resolve") } };
      const asked = run(state, proposalBy(FIRST, replaced));
      const [one, two, three] = votesOn(asked);
      assert.ok(one && two && three);
      const most = run(asked, one, two);
      assert.equal(most.proposals[0]?.state, "Open");
      assert.equal(run(most, three).proposals[0]?.state, "Accepted");
    });
});

const MAJORITY: VotingPolicy = { rule: { type: "majority" }, expiresAfterMs: 60_000, deliberationMs: 0, delayMs: 0 };
