import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO } from "../../../test/support/governed-network.ts";
import { explainConstitution } from "./constitution-words.ts";
import type { Constitution } from "./constitution.ts";
import { consortium, NOW_MS } from "../../../test/support/governed-actions.ts";

function explain(constitution: Constitution): Map<string, string> {
  const parts = explainConstitution(constitution, GOVERNANCE_CRYPTO);
  return new Map(parts.map(({ title, lines }) => [title, lines.join("\n")]));
}

describe("a constitution in words", () => {
  const before = consortium();

  test("names who is in it, what runs, and who decides", () => {
    const parts = explain(before);
    assert.deepEqual(
      [...parts.keys()],
      ["members", "participants", "validating nodes", "code and machines", "votes", "operation"],
    );
    assert.match(parts.get("members") ?? "", /^acme \(acme\): owns 1 of 4 nodes\n {2}CA certificate of CN=simulated/);
    assert.match(parts.get("participants") ?? "", /^Umbrella \(umbrella\)/);
    assert.match(
      parts.get("validating nodes") ?? "",
      /3 of 4 nodes must agree; 1 may fail\none actor may own any number/,
    );
    assert.match(
      parts.get("code and machines") ?? "",
      /code coco-framework 0, measurement [0-9a-f]{64}\nvirtual TEE, test/,
    );
    assert.match(parts.get("votes") ?? "", /^every change needs 2 of 3 members; nobody alone can block it/);
    assert.match(parts.get("operation") ?? "", /governance only.*\nan epoch ends after 1 day, when/);
    assert.match(parts.get("operation") ?? "", /adapter kv 0 at \/kv$/);
  });

  test("says what differs in others", () => {
    const [first, ...others] = before.codeManifest;
    assert.ok(first);
    const code = { ...first, inForceUntil: NOW_MS, approvedAt: 2, approval: { yes: 2, members: 3 } };
    const banned = before.actors.map((actor) =>
      actor.role === "participant" ? { ...actor, restriction: { type: "banned" } as const } : actor,
    );
    const parts = explain({ ...before, version: 2, actors: banned, codeManifest: [code, ...others] });
    assert.match(parts.get("participants") ?? "", /owns 1 of 4 nodes, banned/);
    assert.match(parts.get("code and machines") ?? "", /until 2030-01-15 00:00:00 UTC, approved by 2 of 3 members/);
    const flexible = consortium({ quorum: { type: "flexible", election: 3, replication: 2 }, nodesPerActor: 1 });
    const nodes = explain(flexible).get("validating nodes") ?? "";
    assert.match(nodes, /3 of 4 nodes elect a leader, 2 make a batch durable\none actor owns 1 nodes at most/);
    assert.match(
      explain(consortium({ quorum: { type: "perActor" } })).get("validating nodes") ?? "",
      /each by a majority/,
    );
    assert.match(explain({ ...before, actors: before.actors.slice(0, 3) }).get("participants") ?? "", /^none$/);
  });
});
