import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EMPTY } from "../codec/bytes.ts";
import type { BallotChoice, BallotRecord, ProposalRecord, ProposalState } from "./proposal.ts";
import { ballotFuel, MAX_BALLOTS_FUEL, MAX_MEMBER_BALLOTS_FUEL } from "./vote-count.ts";

const SCRIPT: BallotChoice = { type: "script", source: "export const vote = () => true" };
const PLAIN: BallotChoice = { type: "plain", vote: "yes", effect: EMPTY };

function ballot(member: string, choice: BallotChoice): BallotRecord {
  return { member, choice, certificate: "", createdAt: 0, atMs: 0, message: EMPTY, chain: [] };
}

function proposal(ballots: readonly BallotRecord[], state: ProposalState = "Open"): ProposalRecord {
  return {
    ...{ id: "", proposer: "", certificate: "", message: EMPTY, chain: [], description: undefined, actions: [] },
    ...{ openedAtMs: 0, openedAtSeqno: 0, expiresAtMs: 0, scheduled: undefined, withdrawal: undefined },
    ...{ finalVotes: [], failure: undefined, decidedAtMs: undefined, state, ballots },
  };
}

const times = <T>(count: number, make: (at: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, at) => make(at));

describe("the work of scripted ballots", () => {
  test("is bounded in all, however many members vote by script on however many proposals", () => {
    for (const [members, proposals] of [
      [1, 1],
      [3, 64],
      [64, 7],
      [1000, 64],
    ] as const) {
      const voted = times(members, (at) => ballot(`member${at}`, SCRIPT));
      const fuel = ballotFuel(times(proposals, () => proposal(voted)));
      assert.equal(fuel.size, members);
      const total = [...fuel.values()].reduce((sum, each) => sum + each * proposals, 0);
      assert.ok(total > 0 && total <= MAX_BALLOTS_FUEL, `${members} on ${proposals}: ${total}`);
      for (const each of fuel.values()) assert.ok(each * proposals <= MAX_MEMBER_BALLOTS_FUEL);
    }
  });

  test("is shared by members, not by ballots: one with many ballots takes nothing from another", () => {
    const both = [ballot("honest", SCRIPT), ballot("hostile", SCRIPT)];
    const hostile = [ballot("hostile", SCRIPT)];
    const few = ballotFuel([proposal(both)]);
    const many = ballotFuel([proposal(both), ...times(63, () => proposal(hostile))]);
    assert.equal(many.get("honest"), few.get("honest"));
    assert.equal(many.get("hostile"), Math.floor((few.get("hostile") ?? 0) / 64));
  });

  test("counts the newest ballot of each member on open proposals only", () => {
    const replaced = [ballot("changed", SCRIPT), ballot("changed", PLAIN), ballot("plain", PLAIN)];
    const decided = proposal([ballot("earlier", SCRIPT)], "Accepted");
    const again = [ballot("again", PLAIN), ballot("again", SCRIPT), ballot("again", SCRIPT)];
    const fuel = ballotFuel([proposal(replaced), decided, proposal(again)]);
    assert.deepEqual([...fuel], [["again", MAX_MEMBER_BALLOTS_FUEL]]);
    assert.equal(ballotFuel([]).size, 0);
  });
});
