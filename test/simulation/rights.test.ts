/** Bans and transactions that are sent at the same moment: whichever comes first in the ledger counts, in both orders. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { GUESTS } from "./founding.ts";
import { Simulation } from "./simulation.ts";

const [GUEST] = GUESTS;

/** What became of a guest's transaction, sent to the leader or a follower about when the members ban the guest. */
async function race(seed: number, aheadMs: number): Promise<{ readonly included: boolean; readonly answer: string }> {
  const simulation = new Simulation({
    ...{ seed, nodeCount: 3, clientCount: 1, thinkMs: 60_000, faults: false, answerAfter: "commit", network: "stream" },
  });
  simulation.start();
  await simulation.scheduler.runUntil(3_000);
  const leader = simulation.members.find(({ status }) => status?.role === "leader");
  const follower = simulation.members.find(({ status }) => status?.role === "follower");
  assert.ok(leader && follower);
  let answer = "";
  // Its id is one of a client that the checker takes for the guest's.
  const send = (): void =>
    (seed % 2 === 0 ? leader : follower).request({ body: "c1-race|key=1", actor: GUEST }, (response) => {
      answer = response === undefined ? "none" : `${response.status} ${utf8Decode(response.body).slice(0, 60)}`;
    });
  const ban = (): void => {
    const restriction = { type: "banned" } as const;
    leader.govern((state, nowMs) =>
      simulation.decide(state, [{ name: "restrict_participant", args: { actor: GUEST, restriction } }], nowMs),
    );
  };
  simulation.scheduler.after(2_000, send);
  simulation.scheduler.after(2_000 + aheadMs, ban);
  await simulation.scheduler.runUntil(8_000);
  return { included: simulation.checker.versionOf("c1-race") !== undefined, answer };
}

describe("a transaction and the ban of its sender", () => {
  test("sent together come into the ledger in either order, and the answer says which it was", async () => {
    const seen = { included: 0, refused: 0 };
    for (let seed = 1; seed <= 24; seed++) {
      const { included, answer } = await race(seed, (seed % 12) * 4 - 30);
      if (included) assert.match(answer, /^200 included/);
      else assert.match(answer, /^403 .*(?:ActorNotAllowed|ParticipantBanned)/);
      seen[included ? "included" : "refused"]++;
    }
    assert.ok(seen.included > 0 && seen.refused > 0, JSON.stringify(seen));
  });

  test("sent one after the other: included before, refused behind", async () => {
    for (const seed of [1, 2]) {
      assert.equal((await race(seed, 1_000)).included, true);
      const late = await race(seed, -1_500);
      assert.equal(late.included, false);
      assert.match(late.answer, /^403 .*ParticipantBanned/);
    }
  });
});
