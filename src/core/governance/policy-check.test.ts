import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { ACTION_NAMES } from "./action-names.ts";
import { readDocument, treeToCbor, treeToJson } from "./fields.ts";
import { checkPolicies } from "./policy-check.ts";
import { readVotingPolicies, votingPoliciesTree } from "./policy-codec.ts";
import { durationInWords, explainPolicies, explainPolicy, mayBeAbsent } from "./policy-words.ts";
import { judge, type PolicyActor, type Rule, type VotingPolicies, type VotingPolicy, type Vote } from "./policy.ts";
import { anyRule, modelMembers } from "./test-policies.ts";

const DAY_MS = 86_400_000;
const ACTORS: readonly PolicyActor[] = [
  { id: "a", name: "Alpine", role: "member" },
  { id: "b", name: "Borealis", role: "member" },
  { id: "c", name: "Cascade", role: "member" },
  { id: "p", name: "Prairie", role: "participant" },
];

const policy = (rule: Rule, times: Partial<VotingPolicy> = {}): VotingPolicy => ({
  rule,
  expiresAfterMs: 7 * DAY_MS,
  deliberationMs: 0,
  delayMs: 0,
  ...times,
});
const policies = (rule: Rule, times: Partial<VotingPolicy> = {}): VotingPolicies => ({
  default: policy(rule, times),
  actions: {},
});
const fields = (rule: Rule, times: Partial<VotingPolicy> = {}, script?: string): string[] =>
  checkPolicies(policies(rule, times), ACTORS, script).map((problem) => problem.field.replace("policies.default.", ""));

describe("checking policies", () => {
  test("finds nothing in policies that can pass", () => {
    for (const rule of [
      { type: "unanimous" },
      { type: "majority" },
      { type: "count", yes: 3 },
      { type: "weighted", weights: { a: 2, c: 1 }, threshold: 3 },
      { type: "veto", by: ["a", "b"], rule: { type: "count", yes: 1 } },
      {
        type: "stages",
        stages: [
          { group: ["a", "b"], yes: 2 },
          { group: ["b", "c"], yes: 1 },
        ],
      },
    ] satisfies Rule[])
      assert.deepEqual(fields(rule), [], rule.type);
    assert.deepEqual(fields({ type: "script" }, {}, "export function resolve() {}"), []);
  });

  test("names the field of each policy that can never pass or names strangers", () => {
    const stages = (group: string[], yes: number): Rule => ({ type: "stages", stages: [{ group, yes }] });
    const weighted = (weights: Record<string, number>, threshold: number): Rule => ({
      type: "weighted",
      weights,
      threshold,
    });
    const veto = (...by: string[]): Rule => ({ type: "veto", by, rule: { type: "majority" } });
    const cases: readonly (readonly [Rule, readonly string[]])[] = [
      [{ type: "count", yes: 0 }, ["rule.yes"]],
      [{ type: "count", yes: 4 }, ["rule.yes"]],
      [weighted({}, 1), ["rule.weights", "rule.threshold"]],
      [weighted({ a: 1 }, 0), ["rule.threshold"]],
      [weighted({ a: 1, b: 2 }, 4), ["rule.threshold"]],
      [weighted({ a: 1, x: 2 }, 1), ["rule.weights.x"]],
      [weighted({ a: 1, p: 2 }, 3), ["rule.weights.p", "rule.threshold"]],
      [weighted({ a: 1, b: 0 }, 1), ["rule.weights.b"]],
      [veto(), ["rule.by"]],
      [veto("a", "x"), ["rule.by[1]"]],
      [veto("p"), ["rule.by[0]"]],
      [veto("a", "a"), ["rule.by[1]"]],
      [{ type: "veto", by: ["a"], rule: { type: "count", yes: 9 } }, ["rule.rule.yes"]],
      [{ type: "veto", by: ["a"], rule: { type: "script" } }, ["rule.rule"]],
      [{ type: "stages", stages: [] }, ["rule.stages"]],
      [stages([], 1), ["rule.stages[0].group"]],
      [stages(["a"], 0), ["rule.stages[0].yes"]],
      [stages(["a", "b"], 3), ["rule.stages[0].yes"]],
      [stages(["a", "a"], 2), ["rule.stages[0].group[1]", "rule.stages[0].yes"]],
      [stages(["a", "p"], 1), ["rule.stages[0].group[1]"]],
      [stages(["x"], 1), ["rule.stages[0].group[0]"]],
      [{ type: "script" }, ["rule"]],
    ];
    for (const [rule, expected] of cases) assert.deepEqual(fields(rule), expected, JSON.stringify(rule));
  });

  test("a deliberation must end before the proposal lapses", () => {
    assert.deepEqual(fields({ type: "majority" }, { deliberationMs: 5, expiresAfterMs: 5 }), ["deliberationMs"]);
    assert.deepEqual(fields({ type: "majority" }, { deliberationMs: 4, expiresAfterMs: 5 }), []);
  });

  test("each sentence says what to do, and a network needs a member", () => {
    const [problem] = checkPolicies(policies({ type: "count", yes: 4 }), ACTORS, undefined);
    assert.equal(problem?.problem, "is 4, and only 3 can vote, so that nothing could ever pass: name 1 to 3");
    const nobody = checkPolicies(policies({ type: "majority" }), [], undefined).map(({ field }) => field);
    assert.deepEqual(nobody, ["policies", "policies.default.rule"]);
    const own = { default: policy({ type: "majority" }), actions: { open_epoch: policy({ type: "count", yes: 7 }) } };
    assert.deepEqual(
      checkPolicies(own, ACTORS, undefined).map(({ field }) => field),
      ["policies.actions.open_epoch.rule.yes"],
    );
  });

  test("finds exactly the rules that reject although every member votes yes", () => {
    fc.assert(
      fc.property(anyRule(), ([size, rule]) => {
        const members = modelMembers(size);
        const actors = members.map((id) => ({ id, name: id, role: "member" as const }));
        const all = new Map(members.map((member) => [member, "yes" as const]));
        const canPass = judge(rule, all, members) === "accepted";
        assert.equal(checkPolicies(policies(rule), actors, undefined).length === 0, canPass);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("reading and writing policies", () => {
  const json = (value: unknown): VotingPolicies =>
    readDocument(value, { form: "json", code: "ConstitutionInvalid" }, readVotingPolicies);
  const cbor = (value: unknown): VotingPolicies =>
    readDocument(value, { form: "cbor", code: "ConstitutionInvalid" }, readVotingPolicies);

  test("both forms say the same", () => {
    const duration = fc.integer({ min: 1, max: 365 * DAY_MS });
    const anyPolicy = fc.record<VotingPolicy>(
      {
        rule: fc.oneof(
          anyRule().map(([, rule]) => rule),
          fc.constant({ type: "script" as const }),
        ),
        expiresAfterMs: duration,
        deliberationMs: duration,
        delayMs: duration,
      },
      { noNullPrototype: true },
    );
    const actions = fc.dictionary(fc.constantFrom(...ACTION_NAMES), anyPolicy, { noNullPrototype: true });
    fc.assert(
      fc.property(anyPolicy, actions, (standard, own) => {
        const given: VotingPolicies = { default: standard, actions: own };
        const tree = votingPoliciesTree(given);
        const bytes = encodeCbor(treeToCbor(tree));
        assert.deepEqual(json(JSON.parse(JSON.stringify(treeToJson(tree)))), given);
        assert.deepEqual(cbor(decodeCbor(bytes)), given);
        assert.deepEqual(encodeCbor(treeToCbor(votingPoliciesTree(cbor(decodeCbor(bytes))))), bytes);
      }),
      { numRuns: 200 },
    );
  });

  test("in JSON the times may be left out; the binary form has one form only", () => {
    const rule = { type: "majority" } as const;
    assert.deepEqual(json({ default: { rule }, actions: {} }), policies(rule));
    const binary = new Map<string, unknown>([
      ["default", new Map([["rule", new Map([["type", "majority"]])]])],
      ["actions", new Map()],
    ]);
    assert.throws(
      () => cbor(binary),
      (error) => error instanceof CocoError && error.data["field"] === "default.expiresAfterMs",
    );
  });

  test("what does not fit is refused by the name of its field", () => {
    const rule = (value: unknown): unknown => ({ default: { rule: value }, actions: {} });
    const cases: readonly (readonly [unknown, string])[] = [
      [rule({ type: "dictator" }), "default.rule.type"],
      [rule({ type: "majority", yes: 2 }), "default.rule.yes"],
      [rule({ type: "count" }), "default.rule.yes"],
      [rule({ type: "count", yes: 1.5 }), "default.rule.yes"],
      [rule({ type: "count", yes: -1 }), "default.rule.yes"],
      [rule({ type: "count", yes: 1001 }), "default.rule.yes"],
      [rule({ type: "weighted", weights: { A: 1 }, threshold: 1 }), "default.rule.weights.A"],
      [rule({ type: "weighted", weights: { a: 1_000_001 }, threshold: 1 }), "default.rule.weights.a"],
      [
        rule(JSON.parse('{"type":"weighted","weights":{"__proto__":1},"threshold":1}')),
        "default.rule.weights.__proto__",
      ],
      [rule({ type: "weighted", weights: [], threshold: 1 }), "default.rule.weights"],
      [rule({ type: "veto", by: ["a", 7], rule: { type: "majority" } }), "default.rule.by[1]"],
      [
        rule({ type: "veto", by: ["a"], rule: { type: "veto", by: ["a"], rule: { type: "majority" } } }),
        "default.rule.rule.type",
      ],
      [rule({ type: "stages", stages: Array(17).fill({ group: ["a"], yes: 1 }) }), "default.rule.stages"],
      [rule({ type: "stages", stages: [{ group: ["a"], yes: 1, no: 1 }] }), "default.rule.stages[0].no"],
      [{ default: { rule: { type: "majority" }, expiresAfterMs: 0 }, actions: {} }, "default.expiresAfterMs"],
      [{ default: { rule: { type: "majority" }, delayMs: 366 * DAY_MS }, actions: {} }, "default.delayMs"],
      [{ default: { rule: { type: "majority" } }, actions: { abolish: {} } }, "actions.abolish"],
      [{ default: { rule: { type: "majority" } } }, "actions"],
    ];
    for (const [given, field] of cases)
      assert.throws(
        () => json(given),
        (error) => error instanceof CocoError && error.code === "ConstitutionInvalid" && error.data["field"] === field,
        field,
      );
  });
});

describe("policies in words", () => {
  const words = (rule: Rule, times: Partial<VotingPolicy> = {}): string => explainPolicy(policy(rule, times), ACTORS);

  test("say how many are needed, who can block or decide, who may be absent and when it ends", () => {
    assert.equal(
      words({ type: "count", yes: 2 }),
      "needs 2 of 3 members; nobody alone can block it; any one member may be absent; lapses after 7 days",
    );
    assert.equal(words({ type: "majority" }), words({ type: "count", yes: 2 }));
    assert.equal(
      words({ type: "unanimous" }),
      "needs all 3 members; every member can block it, also by being absent; nobody who is needed may be absent; lapses after 7 days",
    );
    assert.equal(
      words({ type: "count", yes: 1 }, { expiresAfterMs: 90_000, delayMs: 7_200_000, deliberationMs: 60_000 }),
      "needs 1 of 3 members; every member alone can decide it; nobody alone can block it; any 2 members may be absent; " +
        "not accepted before 1 minute have passed; lapses after 1 minute 30 seconds; takes effect 2 hours after it is accepted",
    );
    assert.equal(
      words({ type: "weighted", weights: { a: 3, b: 1, c: 1 }, threshold: 4 }),
      "needs a weight of 4 of 5 (Alpine 3, Borealis 1, Cascade 1); Alpine can block it alone, also by being absent; " +
        "nobody who is needed may be absent; lapses after 7 days",
    );
    assert.equal(
      words({ type: "veto", by: ["c"], rule: { type: "count", yes: 2 } }),
      "needs 2 of 3 members, and no veto by Cascade; Cascade can stop it by voting no before it is accepted; " +
        "any one member may be absent; lapses after 7 days",
    );
    assert.equal(
      words({
        type: "stages",
        stages: [
          { group: ["a", "b"], yes: 1 },
          { group: ["c"], yes: 1 },
        ],
      }),
      "needs 1 of Alpine or Borealis, then Cascade; Cascade can block it alone, also by being absent; " +
        "nobody who is needed may be absent; lapses after 7 days",
    );
    assert.equal(words({ type: "script" }), "needs what the script of the constitution decides; lapses after 7 days");
  });

  test("of all policies, each with its action", () => {
    const own = { default: policy({ type: "majority" }), actions: { add_member: policy({ type: "unanimous" }) } };
    const explained = explainPolicies(own, ACTORS);
    assert.deepEqual(
      explained.map(({ action }) => action),
      ["add_member", undefined],
    );
    assert.match(explained[0]!.words, /^adding a member needs all 3 members;/);
    assert.match(explained[1]!.words, /^everything else needs 2 of 3 members;/);
    assert.match(explainPolicies(policies({ type: "majority" }), ACTORS)[0]!.words, /^every change needs/);
  });

  test("how many may be absent is what judging says, for every set of absent members", () => {
    fc.assert(
      fc.property(anyRule(), ([size, rule]) => {
        const members = modelMembers(size);
        const actors = members.map((id) => ({ id, name: id, role: "member" as const }));
        fc.pre(checkPolicies(policies(rule), actors, undefined).length === 0);
        let most = 0;
        for (let absent = 0; absent <= size; absent += 1) {
          const sets = Array.from({ length: 2 ** size }, (_, mask) =>
            members.filter((_id, at) => ((mask >> at) & 1) === 1),
          );
          const passes = sets
            .filter((set) => set.length === absent)
            .every((set) => {
              const yes = new Map<string, Vote>(
                members.filter((member) => !set.includes(member)).map((member) => [member, "yes"]),
              );
              return judge(rule, yes, members) === "accepted";
            });
          if (passes) most = absent;
        }
        assert.equal(mayBeAbsent(rule, members), most);
      }),
      { numRuns: 300 },
    );
  });

  test("durations in the two largest units", () => {
    assert.equal(durationInWords(0), "0 seconds");
    assert.equal(durationInWords(DAY_MS + 3_600_000 + 5), "1 day 1 hour");
    assert.equal(durationInWords(1500), "1 second 500 milliseconds");
  });
});
