import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { collectPolicy, readPolicies } from "./policy-argument.ts";

const DAY_MS = 86_400_000;

function ruleOf(text: string): unknown {
  return collectPolicy(`default=${text}`, [])[0]?.policy.rule;
}

describe("policies of the command line", () => {
  test("every rule has a form", () => {
    assert.deepEqual(ruleOf("unanimous"), { type: "unanimous" });
    assert.deepEqual(ruleOf("count:2"), { type: "count", yes: 2 });
    assert.deepEqual(ruleOf("veto:acme,globex,majority"), {
      type: "veto",
      by: ["acme", "globex"],
      rule: { type: "majority" },
    });
    assert.deepEqual(ruleOf("veto:acme,weighted:3:acme=2,globex=1"), {
      type: "veto",
      by: ["acme"],
      rule: { type: "weighted", weights: { acme: 2, globex: 1 }, threshold: 3 },
    });
    assert.deepEqual(ruleOf("stages:1:acme+globex,1:initech"), {
      type: "stages",
      stages: [
        { group: ["acme", "globex"], yes: 1 },
        { group: ["initech"], yes: 1 },
      ],
    });
    assert.deepEqual(ruleOf("script"), { type: "script" });
  });

  test("times follow behind slashes", () => {
    const [{ action, policy } = { action: undefined, policy: undefined }] = collectPolicy(
      "approve_code=majority/expires=2d/deliberation=90m/delay=30s",
      [],
    );
    assert.equal(action, "approve_code");
    assert.deepEqual(
      [policy?.expiresAfterMs, policy?.deliberationMs, policy?.delayMs],
      [2 * DAY_MS, 90 * 60_000, 30_000],
    );
  });

  test("what is none is refused with what is expected", () => {
    for (const text of [
      "most",
      "count",
      "count:x",
      "veto:acme",
      "veto:majority",
      "weighted:acme=1",
      "stages:",
      "majority:2",
    ])
      assert.throws(() => ruleOf(text), /[Ee]xpected|one of/, text);
    assert.throws(() => ruleOf("majority/later=2d"), /expires=, deliberation= or delay=/);
    assert.throws(() => collectPolicy("majority", []), /Expected ACTION=RULE/);
  });

  test("single ones go before those of a file, and those before the defaults", () => {
    const count = { rule: { type: "count", yes: 1 } };
    const file = { default: count, actions: { open_epoch: count } };
    const policies = readPolicies(file, collectPolicy("open_epoch=unanimous", []));
    assert.deepEqual(
      [policies.default.rule, policies.actions.open_epoch?.rule],
      [{ type: "count", yes: 1 }, { type: "unanimous" }],
    );
    assert.deepEqual(readPolicies(undefined, []).default.rule, { type: "majority" });
    assert.throws(() => readPolicies({ default: count }, []), /actions: is missing/);
  });
});
