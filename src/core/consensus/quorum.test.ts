import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAJORITY, Quorum } from "./quorum.ts";

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
