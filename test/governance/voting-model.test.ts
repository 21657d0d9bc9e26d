/** The real execution of requests against a small reference model, over random interleavings of what members may do. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { toHex } from "../../src/core/codec/bytes.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import type { Rule, Vote, VotingPolicy } from "../../src/core/governance/policy.ts";
import { decodeGovernanceState, encodeGovernanceState } from "../../src/core/governance/state-codec.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { addMember, approveCode, VotingNetwork } from "../support/voting-network.ts";
import { VotingModel, type Wish } from "./voting-model.ts";

const HOUR_MS = 3_600_000;
const RUNS = 1_000;
const MEMBERS = ["a", "b", "c", "d"];
const PEOPLE = [...MEMBERS, "e", "f"];

const RULES: readonly Rule[] = [
  { type: "majority" },
  { type: "unanimous" },
  { type: "count", yes: 1 },
  { type: "count", yes: 3 },
  { type: "weighted", weights: { a: 3, b: 1, c: 1 }, threshold: 3 },
  { type: "veto", by: ["a", "b"], rule: { type: "count", yes: 2 } },
  {
    type: "stages",
    stages: [
      { group: ["a", "b"], yes: 1 },
      { group: ["b", "c", "d"], yes: 2 },
    ],
  },
];
const TIMES = [
  { expiresAfterMs: 24 * HOUR_MS, deliberationMs: 0, delayMs: 0 },
  { expiresAfterMs: 6 * HOUR_MS, deliberationMs: 2 * HOUR_MS, delayMs: 0 },
  { expiresAfterMs: 12 * HOUR_MS, deliberationMs: 0, delayMs: 3 * HOUR_MS },
];
const POLICIES: readonly VotingPolicy[] = RULES.flatMap((rule) => TIMES.map((times) => ({ rule, ...times })));

/** What members do next; of the vote's two effects, the one of now and the one at the proposal's opening. */
type Step =
  | { readonly type: "propose"; readonly by: string; readonly wish: Wish }
  | { readonly type: "vote"; readonly by: string; readonly at: number; readonly vote: Vote; readonly early: boolean }
  /** All these vote yes, as far as they may. */
  | { readonly type: "rally"; readonly by: readonly string[]; readonly at: number }
  | { readonly type: "withdraw"; readonly by: string; readonly at: number }
  | { readonly type: "wait"; readonly hours: number };

const person = fc.constantFrom(...PEOPLE);
/** Mostly of those who are members at the beginning. */
const voter = fc.constantFrom(...MEMBERS, ...MEMBERS, ...PEOPLE);
const wish: fc.Arbitrary<Wish> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ type: fc.constant("code" as const), number: fc.nat(2) }) },
  fc.record({ type: fc.constant("add" as const), member: person }),
  fc.record({ type: fc.constant("remove" as const), member: person }),
  fc.record({ type: fc.constant("policy" as const), at: fc.nat(POLICIES.length - 1) }),
);
const vote = fc.constantFrom<Vote>("yes", "yes", "yes", "yes", "no", "abstain");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant("propose" as const), by: voter, wish }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant("vote" as const), by: voter, at: fc.nat(5), vote, early: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("rally" as const),
      by: fc.shuffledSubarray(PEOPLE, { minLength: 3 }),
      at: fc.nat(5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("withdraw" as const), by: voter, at: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("wait" as const), hours: fc.nat(5) }) },
);

function actionOf(wanted: Wish): Action {
  switch (wanted.type) {
    case "code":
      return approveCode(wanted.number);
    case "add":
      return addMember(wanted.member);
    case "remove":
      return { name: "remove_member", args: { actor: wanted.member } };
    case "policy":
      return { name: "set_policy", args: { action: "default", policy: POLICIES[wanted.at] as VotingPolicy } };
  }
}

/** The network and the model, taking the same steps. */
class Pair {
  readonly network: VotingNetwork;
  readonly model: VotingModel;
  readonly ids: string[] = [];
  /** What each proposal would have done at its opening: for the network, and for the model. */
  readonly #opened: { readonly digest: Uint8Array; readonly effect: string }[] = [];

  constructor(policyAt: number) {
    const policies = { default: POLICIES[policyAt] as VotingPolicy, actions: {} };
    this.network = new VotingNetwork({ members: MEMBERS, policies });
    this.model = new VotingModel(MEMBERS, POLICIES);
    this.model.policyAt = policyAt;
  }

  /** Whether the network takes what `run` does; a refusal leaves its state. */
  #takes(run: () => unknown): boolean {
    const { state } = this.network;
    try {
      run();
      return true;
    } catch (error) {
      assert.ok(error instanceof CocoError && error.code === "ProposalInvalid", String(error));
      assert.equal(this.network.state, state);
      return false;
    }
  }

  take(wanted: Step): void {
    const { network, model } = this;
    // Of those there are.
    const next = "at" in wanted ? { ...wanted, at: wanted.at % Math.max(this.ids.length, 1) } : wanted;
    if (next.type === "wait") network.advance(next.hours * HOUR_MS);
    else if (next.type === "propose") this.#propose(next);
    else if (next.type === "vote") this.#vote(next);
    else if (next.type === "rally")
      for (const by of next.by) this.#vote({ type: "vote", by, at: next.at, vote: "yes", early: false });
    else {
      const id = this.ids[next.at];
      if (id === undefined) return;
      const taken = this.#takes(() => network.withdraw(next.by, id));
      assert.equal(taken, model.withdraw(next.by, next.at));
    }
    network.settle();
    model.settle(network.nowMs);
    this.compare();
  }

  #propose({ by, wish: wanted }: Extract<Step, { type: "propose" }>): void {
    const { network, model } = this;
    const effect = model.effectOf(wanted);
    const taken = this.#takes(() => this.ids.push(network.propose(by, actionOf(wanted))));
    assert.equal(taken, model.propose(by, wanted, network.nowMs), `${by} proposes ${JSON.stringify(wanted)}`);
    const id = this.ids.at(-1);
    if (taken && id !== undefined) this.#opened.push({ digest: network.effect(id), effect: effect ?? "" });
  }

  #vote({ by, at, vote: cast, early }: Extract<Step, { type: "vote" }>): void {
    const { network, model } = this;
    const [id, opened, proposal] = [this.ids[at], this.#opened[at], model.proposals[at]];
    if (id === undefined || opened === undefined || proposal === undefined) return;
    const now = { digest: network.effect(id), effect: model.effectOf(proposal.wish) ?? opened.effect };
    const seen = early ? opened : now;
    const ballot = network.ballot(by, id, cast, seen.digest);
    const taken = this.#takes(() => network.request(ballot));
    assert.equal(taken, model.cast(by, at, { vote: cast, effect: seen.effect }, network.nowMs), `${by} votes on ${at}`);
    if (taken)
      assert.equal(
        this.#takes(() => network.request(ballot)),
        false,
        "a ballot is taken once",
      );
  }

  compare(): void {
    const { network, model } = this;
    const states = this.ids.map((id) => network.proposal(id).state);
    assert.deepEqual(
      states,
      model.proposals.map(({ state }) => state),
    );
    assert.deepEqual(network.members, model.members);
    const { codeManifest, policies, version } = network.state.constitution;
    assert.deepEqual(policies.default, POLICIES[model.policyAt]);
    assert.equal(codeManifest.length, 1 + model.codes.size);
    assert.equal(version, 1 + states.filter((state) => state === "Accepted").length, "each change is one version");
  }
}

describe("proposals and votes in any order", () => {
  test(`come out as in the model, under every policy, over ${RUNS} interleavings`, () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(
        fc.nat(POLICIES.length - 1),
        fc.array(step, { minLength: 10, maxLength: 16, size: "max" }),
        (policyAt, steps) => {
          const pair = new Pair(policyAt);
          for (const next of steps) pair.take(next);
          for (const { state } of pair.model.proposals) seen.set(state, (seen.get(state) ?? 0) + 1);
          const bytes = encodeGovernanceState(pair.network.state);
          const again = decodeGovernanceState(bytes, sha256);
          assert.equal(toHex(encodeGovernanceState(again)), toHex(bytes));
          assert.deepEqual(again, pair.network.state);
        },
      ),
      { numRuns: RUNS },
    );
    const ends = ["Accepted", "Rejected", "Withdrawn", "Expired", "Failed", "Dropped", "Scheduled", "Open"];
    for (const state of ends) assert.ok(seen.has(state), `${state} was reached: ${JSON.stringify([...seen])}`);
  });
});
