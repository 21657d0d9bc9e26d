import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { executeAdministrative, placeAt } from "../../core/governance/administrative.ts";
import { GOVERNANCE_CRYPTO, GovernedNetwork } from "../../../test/support/governed-network.ts";
import { CARRIED_INTERVAL_MS, CarriedRequests } from "./carried-requests.ts";

const APPROVAL = { name: "approve_code", args: { measurement: "ab".repeat(32), name: "coco-framework", version: "1" } };

function carrier() {
  const network = new GovernedNetwork([0, 1, 2]);
  const approval = network.requests(APPROVAL as Parameters<GovernedNetwork["requests"]>[0]);
  const offered: SignedMessage[] = [];
  let now = 0;
  const world = { hasLeader: true };
  const carried = new CarriedRequests({
    approval,
    now: () => now,
    sealing: { batchTime: () => network.place.timeMs },
    administration: {
      get appended() {
        return network.state;
      },
      check: (message, nowMs) =>
        void executeAdministrative(network.state, { type: "request", ...message }, placeAt(nowMs), GOVERNANCE_CRYPTO),
    },
    offer: (message) => world.hasLeader && offered.push(message) > 0,
  });
  const tick = (ms: number): readonly number[] => {
    now += ms;
    offered.length = 0;
    carried.tick();
    return offered.map((message) => approval.indexOf(message));
  };
  return { network, approval, tick, world };
}

describe("requests that a node carries", () => {
  test("are offered as they come to hold, and no more once the ledger has them", () => {
    const { network, approval, tick } = carrier();
    for (const [at, message] of approval.entries()) {
      assert.deepEqual(tick(1), [at]);
      assert.deepEqual(tick(1), [], "not again before its time");
      network.execute({ type: "request", ...message });
    }
    assert.equal(network.state.constitution.codeManifest.length, 2);
    for (const _ of approval) assert.deepEqual(tick(CARRIED_INTERVAL_MS), []);
  });

  test("wait for a leader, and go to it at once", () => {
    const { tick, world } = carrier();
    world.hasLeader = false;
    for (let times = 0; times < 3; times++) assert.deepEqual(tick(1), []);
    world.hasLeader = true;
    assert.deepEqual(tick(1), [0]);
  });

  test("are offered in turn by a node whose ledger does not go on: it cannot see that the first is in", () => {
    const { approval, tick } = carrier();
    assert.equal(approval.length, 3);
    const seen = [0, 1, 2, 3].flatMap(() => tick(CARRIED_INTERVAL_MS));
    assert.deepEqual(seen, [0, 1, 2, 0]);
  });
});
