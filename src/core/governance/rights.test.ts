import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constitutionWith, rightsOf } from "../../../test/support/rights-of.ts";
import { RightsInForce } from "./rights.ts";

describe("the rights of actors", () => {
  test("to transact: members and participants that are not banned, in a network that is open", () => {
    const rights = rightsOf({
      free: undefined,
      slow: { type: "limited", requestsPerMinute: 1 },
      banned: { type: "banned" },
    });
    const refusals = ["acme", "free", "slow", "banned", "nobody"].map((actor) => rights.transactionRefusal(actor));
    assert.deepEqual(refusals, [undefined, undefined, undefined, "ActorNotAllowed", "ActorNotAllowed"]);
    assert.equal(rightsOf({}, false).transactionRefusal("acme"), "NetworkNotOpen");
  });

  test("to reach adapters say why not, in words", () => {
    const rights = rightsOf({ banned: { type: "banned" } });
    assert.equal(rights.requestRefusal("acme"), undefined);
    assert.match(rights.requestRefusal("banned")?.message ?? "", /banned/);
    assert.match(rights.requestRefusal("nobody")?.message ?? "", /nobody is not an actor/);
  });

  test("are one object as long as the constitution is", () => {
    let constitution = constitutionWith({ alice: undefined });
    const inForce = new RightsInForce(() => constitution);
    const { now } = inForce;
    assert.equal(inForce.now, now);
    constitution = constitutionWith({ alice: { type: "banned" } });
    assert.notEqual(inForce.now, now);
    assert.equal(inForce.now.transactionRefusal("alice"), "ActorNotAllowed");
  });
});
