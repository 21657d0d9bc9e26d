import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { MAJORITY, Quorum } from "./quorum.ts";
import type { NodeId } from "./types.ts";

const voters = (count: number): string[] => Array.from({ length: count }, (_, at) => `n${at}`);

describe("Quorum", () => {
  test("a majority is more than half, for even and odd numbers", () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 7].map((count) => new Quorum(voters(count), MAJORITY).electionSize),
      [1, 2, 2, 3, 3, 4],
    );
  });

  test("election and replication quorums that need not meet are refused", () => {
    assert.throws(() => new Quorum(voters(5), { type: "flexible", election: 3, replication: 2 }), {
      code: "ConfigurationInvalid",
    });
    assert.doesNotThrow(() => new Quorum(voters(5), { type: "flexible", election: 4, replication: 2 }));
  });

  test("election quorums that need not meet each other are refused, since one term could have two leaders", () => {
    assert.throws(() => new Quorum(voters(5), { type: "flexible", election: 2, replication: 4 }), {
      code: "ConfigurationInvalid",
    });
    assert.throws(() => new Quorum(voters(4), { type: "flexible", election: 2, replication: 3 }), {
      code: "ConfigurationInvalid",
    });
  });

  test("sizes outside the set of voters, doubled voters and no voters are refused", () => {
    assert.throws(() => new Quorum(voters(3), { type: "flexible", election: 4, replication: 1 }), {
      code: "ConfigurationInvalid",
    });
    assert.throws(() => new Quorum(voters(3), { type: "flexible", election: 3, replication: 0 }), {
      code: "ConfigurationInvalid",
    });
    assert.throws(() => new Quorum(voters(3), { type: "flexible", election: 2.5, replication: 2 }), {
      code: "ConfigurationInvalid",
    });
    assert.throws(() => new Quorum(["a", "a"], MAJORITY), { code: "ConfigurationInvalid" });
    assert.throws(() => new Quorum([], MAJORITY), { code: "ConfigurationInvalid" });
  });

  test("the replicated index is the highest one a replication quorum holds", () => {
    const indexes = [9, 3, 7, 5, 1];
    const at = (voter: string): number => indexes[Number(voter.slice(1))] ?? 0;
    assert.equal(new Quorum(voters(5), MAJORITY).replicatedIndex(at), 5);
    assert.equal(new Quorum(voters(5), { type: "flexible", election: 4, replication: 2 }).replicatedIndex(at), 7);
    assert.equal(new Quorum(voters(5), { type: "flexible", election: 3, replication: 5 }).replicatedIndex(at), 1);
  });

  test("grouped: a group counts when most of it agrees, and most of the groups must count", () => {
    const groups = [["n0", "n1", "n2"], ["n3"], ["n4", "n5"]];
    const quorum = new Quorum(voters(6), { type: "grouped", groups });
    const elected = (...granted: readonly NodeId[]) => quorum.elects((voter) => granted.includes(voter));
    assert.ok(elected("n0", "n2", "n3"));
    assert.ok(elected("n3", "n4", "n5"));
    assert.equal(elected("n0", "n3", "n4"), false, "one of three and one of two are no majorities");
    assert.equal(elected("n0", "n1", "n2", "n4"), false, "the nodes of one owner outvote nobody");
    const held = [9, 8, 1, 5, 7, 3];
    assert.equal(
      quorum.replicatedIndex((voter) => held[Number(voter.slice(1))] ?? 0),
      5,
    );
  });

  test("grouped: every voter stands in exactly one group", () => {
    const of =
      (...groups: readonly (readonly NodeId[])[]) =>
      () =>
        new Quorum(voters(3), { type: "grouped", groups });
    assert.doesNotThrow(of(["n0", "n2"], ["n1"]));
    for (const wrong of [
      of(["n0", "n1"]),
      of(["n0", "n1"], ["n1", "n2"]),
      of(["n0", "n1", "n2"], []),
      of(["n0", "n0", "n1"], ["n2"]),
      of(["n0", "n1"], ["n9"]),
      of(),
    ])
      assert.throws(wrong, { code: "ConfigurationInvalid" });
  });

  test("grouped: two quorums of one set share a voter, and what a quorum holds is replicated", () => {
    const group = fc.integer({ min: 1, max: 5 });
    const sets = fc.array(group, { minLength: 1, maxLength: 5 }).filter((sizes) => sizes.reduce((a, b) => a + b) <= 12);
    fc.assert(
      fc.property(sets, fc.nat(4095), (sizes, bits) => {
        let next = 0;
        const groups = sizes.map((size) => Array.from({ length: size }, () => `n${next++}`));
        const quorum = new Quorum(groups.flat(), { type: "grouped", groups });
        const chosen = (voter: NodeId): boolean => (bits >> Number(voter.slice(1))) % 2 === 1;
        const agrees = quorum.elects(chosen);
        if (agrees) {
          assert.equal(
            quorum.elects((voter) => !chosen(voter)),
            false,
            "two disjoint quorums",
          );
        }
        assert.equal(quorum.replicatedIndex((voter) => (chosen(voter) ? 1 : 0)) === 1, agrees);
        assert.equal(quorum.sustains(chosen), agrees);
      }),
      { numRuns: 2000 },
    );
  });

  test("a leader is sustained by the smaller of the two quorums", () => {
    const quorum = new Quorum(voters(5), { type: "flexible", election: 4, replication: 2 });
    assert.equal(
      quorum.sustains((voter) => voter === "n0"),
      false,
    );
    assert.equal(
      quorum.sustains((voter) => voter <= "n1"),
      true,
    );
  });
});
