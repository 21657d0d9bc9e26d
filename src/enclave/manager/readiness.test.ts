import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Configuration, ConsensusStatus } from "../../core/consensus/types.ts";
import { hindranceOf } from "./readiness.ts";

type Node = Parameters<typeof hindranceOf>[0];

const configuration: Configuration = {
  current: { voters: ["n1", "n2"], quorum: { type: "majority" } },
  previous: undefined,
  learners: [],
};
const following: ConsensusStatus = {
  ...{ id: "n1", role: "follower", term: 2, leader: "n2", recovering: false, transferring: false },
  ...{ commitIndex: 5, lastIndex: 5, lastTerm: 2, durableIndex: 5, firstIndex: 1 },
  ...{
    matchIndex: new Map(),
    configuration,
    configurationIndex: 0,
    configurationCommitted: true,
    learnersCaughtUp: true,
  },
};
const adapters = { workersLost: 0, hindrance: undefined };
const serving: Node = { status: following, waitsForKeys: false, adapters };
const leaderless = { ...following, leader: undefined };
const restoring = { ...adapters, hindrance: "the worker of adapter one is not there yet" };

describe("whether a node is ready", () => {
  test("it is with a leader, the keys and the state of its adapters, as follower and as leader", () => {
    assert.equal(hindranceOf(serving), undefined);
    assert.equal(hindranceOf({ ...serving, status: { ...following, role: "leader", leader: "n1" } }), undefined);
    assert.equal(hindranceOf({ ...serving, adapters: { ...adapters, workersLost: 3 } }), undefined);
  });

  test("each hindrance alone makes it not ready, and is named", () => {
    assert.match(hindranceOf({ ...serving, status: leaderless }) ?? "", /no leader is known/);
    assert.match(hindranceOf({ ...serving, waitsForKeys: true }) ?? "", /key of an epoch is not on this node/);
    assert.equal(hindranceOf({ ...serving, adapters: restoring }), restoring.hindrance);
  });

  test("of several the one is named that the others wait for: leader, then keys, then adapters", () => {
    const keyless = { ...serving, waitsForKeys: true, adapters: restoring };
    assert.match(hindranceOf({ ...keyless, status: leaderless }) ?? "", /no leader is known/);
    assert.match(hindranceOf(keyless) ?? "", /key of an epoch/);
  });
});
