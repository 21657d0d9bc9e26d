import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rightsOf } from "../../../test/support/rights-of.ts";
import { Admission } from "./admission.ts";

/** Admission with rights and a clock that the test sets. */
function fixture(rights = rightsOf({ alice: undefined, bob: { type: "limited", requestsPerMinute: 2 } })) {
  const world = { now: 0, rights };
  const admission = new Admission({ rights: () => world.rights, now: () => world.now });
  const codeOf = (actor: string, counts = true) => admission.refusalOf(actor, counts)?.code;
  return { world, admission, codeOf };
}

describe("admission", () => {
  test("passes members and free participants on, as often as they come", () => {
    const { codeOf } = fixture();
    for (let left = 1000; left > 0; left--) {
      assert.equal(codeOf("alice"), undefined);
      assert.equal(codeOf("acme"), undefined);
    }
  });

  test("refuses banned participants, who is no actor, and everybody while the network is not open", () => {
    const { codeOf, world } = fixture(rightsOf({ alice: { type: "banned" } }));
    assert.deepEqual(
      ["alice", "nobody", "acme"].map((actor) => codeOf(actor)),
      ["ParticipantBanned", "ActorNotAllowed", undefined],
    );
    world.rights = rightsOf({ alice: undefined }, false);
    assert.deepEqual(
      ["alice", "acme"].map((actor) => codeOf(actor)),
      ["NetworkNotOpen", "NetworkNotOpen"],
    );
  });

  test("lets a limited participant have a minute's worth, then as many as time gives, and says when the next", () => {
    const { codeOf, world, admission } = fixture();
    assert.deepEqual([codeOf("bob"), codeOf("bob"), codeOf("bob")], [undefined, undefined, "RequestLimitExceeded"]);
    assert.deepEqual(admission.refusalOf("bob", true)?.data, { retryAfterSeconds: 30 });
    world.now = 10_000;
    assert.deepEqual(admission.refusalOf("bob", true)?.data, { retryAfterSeconds: 20 });
    world.now = 30_000;
    assert.deepEqual([codeOf("bob"), codeOf("bob")], [undefined, "RequestLimitExceeded"]);
    world.now = 600_000;
    assert.deepEqual([codeOf("bob"), codeOf("bob"), codeOf("bob")], [undefined, undefined, "RequestLimitExceeded"]);
  });

  test("does not count what another node has passed on", () => {
    const { codeOf } = fixture();
    for (let left = 10; left > 0; left--) assert.equal(codeOf("bob", false), undefined);
    assert.equal(codeOf("bob"), undefined);
  });

  test("follows the constitution: a lifted limit is gone, a new one counts at once, a changed one keeps what was used", () => {
    const { codeOf, world } = fixture();
    codeOf("bob");
    codeOf("bob");
    assert.equal(codeOf("bob"), "RequestLimitExceeded");
    world.rights = rightsOf({ bob: { type: "limited", requestsPerMinute: 60 } });
    assert.equal(codeOf("bob"), "RequestLimitExceeded");
    world.now = 1_000;
    assert.equal(codeOf("bob"), undefined);
    world.rights = rightsOf({ bob: undefined });
    for (let left = 10; left > 0; left--) assert.equal(codeOf("bob"), undefined);
    world.rights = rightsOf({ bob: { type: "limited", requestsPerMinute: 1 } });
    assert.deepEqual([codeOf("bob"), codeOf("bob")], [undefined, "RequestLimitExceeded"]);
  });
});
