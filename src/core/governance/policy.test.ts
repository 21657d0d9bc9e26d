import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { ActionName } from "./action-names.ts";
import { fitTogether, judge, judgeProposal, proposalTimes, type Rule, type VotingPolicy, type Vote } from "./policy.ts";
import { anyRule, everyVotes, modelMembers, modelVerdict, rulesOf, votesOf, type ModelVote } from "./test-policies.ts";

const DAY_MS = 86_400_000;
const MEMBERS = ["a", "b", "c"];

function policy(rule: Rule, times: Partial<VotingPolicy> = {}): VotingPolicy {
  return { rule, expiresAfterMs: 7 * DAY_MS, deliberationMs: 0, delayMs: 0, ...times };
}

function votes(given: Record<string, Vote>): ReadonlyMap<string, Vote> {
  return new Map(Object.entries(given));
}

describe("judging a rule", () => {
  for (const type of ["unanimous", "majority", "count", "weighted", "stages", "veto"] as const) {
    test(`${type}: as a model that tries out every completion, for all votes of up to five members`, () => {
      const sized = fc
        .integer({ min: 1, max: 5 })
        .chain((size) => rulesOf(size)[type].map((rule) => [size, rule] as const));
      fc.assert(
        fc.property(sized, ([size, rule]) => {
          const members = modelMembers(size);
          for (const cast of everyVotes(size))
            assert.equal(judge(rule, votesOf(cast), members), modelVerdict(rule, cast));
        }),
        { numRuns: type === "unanimous" || type === "majority" ? 10 : 60 },
      );
    });
  }

  test("more votes turn neither an acceptance nor a rejection, unless they are a veto", () => {
    fc.assert(
      fc.property(anyRule(), ([size, rule]) => {
        const members = modelMembers(size);
        for (const cast of everyVotes(size)) {
          const before = judge(rule, votesOf(cast), members);
          if (before === "open") continue;
          for (const at of cast.keys()) {
            if (cast[at] !== undefined) continue;
            for (const more of ["yes", "abstain", "no"] as const) {
              const after = judge(rule, votesOf(cast.with(at, more)), members);
              const isVeto = more === "no" && rule.type === "veto" && rule.by.includes(`m${at}`);
              assert.equal(after, isVeto ? "rejected" : before);
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  test("a vote that changes to yes never makes it worse", () => {
    const rank = { rejected: 0, open: 1, accepted: 2 };
    const changed = fc.tuple(
      fc.nat(4),
      fc.array(fc.constantFrom<ModelVote>(undefined, "yes", "no", "abstain"), { minLength: 5, maxLength: 5 }),
    );
    fc.assert(
      fc.property(anyRule(), changed, ([size, rule], [at, all]) => {
        const cast = all.slice(0, size);
        const members = modelMembers(size);
        // "Not voted" counts as a possible yes, so only votes that were cast are compared with one.
        if (cast[at % size] === undefined) return;
        const before = judge(rule, votesOf(cast), members);
        const after = judge(rule, votesOf(cast.with(at % size, "yes")), members);
        assert.ok(rank[after] >= rank[before], `${before} became ${after}`);
      }),
      { numRuns: 2000 },
    );
  });

  test("votes of others than members do not count", () => {
    const strangers = votes({ a: "yes", x: "yes", y: "yes" });
    for (const rule of [
      { type: "majority" },
      { type: "count", yes: 2 },
      { type: "weighted", weights: { a: 1, x: 5 }, threshold: 2 },
      { type: "stages", stages: [{ group: ["x", "y", "b"], yes: 1 }] },
    ] satisfies Rule[])
      assert.notEqual(judge(rule, strangers, MEMBERS), "accepted", rule.type);
    const veto = { type: "veto", by: ["x"], rule: { type: "count", yes: 1 } } as const;
    assert.equal(judge(veto, votes({ a: "yes", x: "no" }), MEMBERS), "accepted");
    assert.equal(judge({ type: "unanimous" }, votes({}), []), "rejected");
  });

  test("a weight is only what the rule gives, also for ids that are names of an object's own", () => {
    const rule = { type: "weighted", weights: { a: 1 }, threshold: 2 } as const;
    assert.equal(
      judge(
        rule,
        new Map<string, Vote>([
          ["a", "yes"],
          ["constructor", "yes"],
        ]),
        ["a", "constructor"],
      ),
      "rejected",
    );
  });

  test("a script's word stands for its rule, below a veto too", () => {
    assert.equal(judge({ type: "script" }, votes({ a: "yes" }), MEMBERS), "open");
    assert.equal(judge({ type: "script" }, votes({}), MEMBERS, "accepted"), "accepted");
    const veto = { type: "veto", by: ["a"], rule: { type: "script" } } as const;
    assert.equal(judge(veto, votes({ a: "no" }), MEMBERS, "accepted"), "rejected");
    assert.equal(judge(veto, votes({ a: "yes" }), MEMBERS, "rejected"), "rejected");
  });
});

describe("judging a proposal", () => {
  const policies = {
    default: policy({ type: "majority" }),
    actions: {
      add_member: policy({ type: "unanimous" }, { expiresAfterMs: 2 * DAY_MS, delayMs: 3 }),
      set_policy: policy(
        { type: "veto", by: ["c"], rule: { type: "count", yes: 1 } },
        { deliberationMs: DAY_MS, delayMs: 1 },
      ),
      open_epoch: policy({ type: "count", yes: 1 }, { expiresAfterMs: DAY_MS }),
      add_node: policy({
        type: "stages",
        stages: [
          { group: ["a", "b"], yes: 1 },
          { group: ["b", "c"], yes: 2 },
        ],
      }),
      approve_code: policy({ type: "script" }),
    },
  };
  const at = (nowMs: number, actionNames: readonly ActionName[], cast: Record<string, Vote>) =>
    judgeProposal(policies, { actionNames, votes: votes(cast), members: MEMBERS, openedAtMs: 1000, nowMs });

  test("every action's policy must accept, and one that rejects is enough", () => {
    assert.equal(at(1000, ["add_member", "add_participant"], { a: "yes", b: "yes" }).verdict, "open");
    assert.equal(at(1000, ["add_member", "add_participant"], { a: "yes", b: "yes", c: "no" }).verdict, "rejected");
    const accepted = at(1000, ["add_member", "add_participant"], { a: "yes", b: "yes", c: "yes" });
    assert.deepEqual(accepted, { verdict: "accepted", missing: [], acceptedAt: 1000, takesEffectAtMs: 1003 });
  });

  test("the shortest expiry and the longest deliberation and delay hold", () => {
    const times = { expiresAfterMs: 2 * DAY_MS, deliberationMs: DAY_MS, delayMs: 3 };
    assert.deepEqual(proposalTimes(policies, ["add_member", "set_policy"]), times);
    assert.equal(fitTogether(policies, ["add_member", "set_policy"]), true);
    assert.equal(fitTogether(policies, ["open_epoch", "set_policy"]), false);
    assert.deepEqual(proposalTimes(policies, []), { expiresAfterMs: 7 * DAY_MS, deliberationMs: 0, delayMs: 0 });
  });

  test("nothing is accepted before the deliberation is over, and it says until when it waits", () => {
    const early = at(1000 + DAY_MS - 1, ["set_policy"], { a: "yes" });
    assert.deepEqual(early, { verdict: "open", missing: ["c"], waitsUntilMs: 1000 + DAY_MS });
    assert.equal(at(1000 + DAY_MS - 1, ["set_policy"], { a: "yes", c: "no" }).verdict, "rejected");
    const accepted = at(1000 + DAY_MS, ["set_policy"], { a: "yes" });
    assert.deepEqual([accepted.verdict, accepted.takesEffectAtMs], ["accepted", 1000 + DAY_MS + 1]);
    assert.equal(at(1001, ["set_policy"], {}).waitsUntilMs, undefined);
  });

  test("from its last moment on a proposal has expired, whatever votes there are", () => {
    assert.equal(at(1000 + 7 * DAY_MS - 1, ["remove_node"], { a: "yes", b: "yes" }).verdict, "accepted");
    assert.deepEqual(at(1000 + 7 * DAY_MS, ["remove_node"], { a: "yes", b: "yes" }), {
      verdict: "expired",
      missing: [],
    });
  });

  test("the missing are those whose vote could still matter", () => {
    assert.deepEqual(at(1000, ["remove_node"], { b: "yes" }).missing, ["a", "c"]);
    assert.deepEqual(at(1000, ["remove_node"], { b: "yes", a: "no" }).missing, ["c"]);
    assert.deepEqual(at(1000, ["set_policy"], {}).missing, ["a", "b", "c"]);
    assert.deepEqual(at(1000, ["approve_code"], { b: "yes" }).missing, ["a", "c"]);
  });

  test("of stages, those of the first unmet stage are asked; votes cast before their turn count in it", () => {
    assert.deepEqual(at(1000, ["add_node"], {}).missing, ["a", "b"]);
    assert.deepEqual(at(1000, ["add_node"], { c: "yes" }).missing, ["a", "b"]);
    assert.deepEqual(at(1000, ["add_node"], { c: "yes", a: "yes" }).missing, ["b"]);
    assert.equal(at(1000, ["add_node"], { c: "yes", b: "yes" }).verdict, "accepted");
    assert.equal(at(1000, ["add_node"], { c: "no" }).verdict, "rejected");
  });

  test("whose vote decides is never left out of the missing", () => {
    fc.assert(
      fc.property(anyRule(), ([size, rule]) => {
        const members = modelMembers(size);
        const own = { default: policy(rule), actions: {} };
        const judged = (cast: readonly ModelVote[]) =>
          judgeProposal(own, { actionNames: ["open_epoch"], votes: votesOf(cast), members, openedAtMs: 0, nowMs: 0 });
        for (const cast of everyVotes(size)) {
          const { verdict, missing } = judged(cast);
          assert.ok(missing.every((member) => cast[members.indexOf(member)] === undefined));
          if (verdict !== "open") assert.deepEqual(missing, []);
          else {
            assert.notEqual(missing.length, 0);
            for (const [index, member] of members.entries())
              if (cast[index] === undefined && judged(cast.with(index, "yes")).verdict === "accepted")
                assert.ok(missing.includes(member), member);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
