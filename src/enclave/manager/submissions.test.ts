import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Caller } from "../../adapters/adapter.ts";
import { type Bytes, bytesKey, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import type { ItemOutcome, TransactionItem } from "../worker/protocol.ts";
import {
  NO_LEADER_AFTER_MS,
  OUTCOME_TIMEOUT_MS,
  RESEND_AFTER_MS,
  SUBMISSIONS_BYTES_MAX,
  Submissions,
  SUBMISSION_LIFETIME_MS,
  SUBMISSIONS_MAX,
} from "./submissions.ts";

const id = (name: string): Bytes => utf8Encode(name);
const keyOf = (name: string): string => bytesKey(id(name));
const item = (name: string): TransactionItem => ({ id: id(name), body: id(`body ${name}`) });
const ALICE: Caller = { actor: "alice", certificate: "00" };
const BOB: Caller = { actor: "bob", certificate: "01" };
const refused: ItemOutcome = { type: "refused", code: "ActorNotAllowed" };
const included: ItemOutcome = { type: "included", result: id("r"), position: 0 };

/** Submissions with a clock, a leader that can be away, and everything that was sent and answered. */
function fixture() {
  const world = {
    now: 0,
    hasLeader: true,
    lossy: false,
    sent: [] as string[],
    senders: [] as string[],
    answers: new Map<number, string[]>(),
  };
  const submissions = new Submissions({
    now: () => world.now,
    route: (entries) => {
      if (world.hasLeader) world.sent.push(...entries.map((entry) => utf8Decode(entry.item.id)));
      if (world.hasLeader) world.senders.push(...entries.map(({ sender }) => sender.actor));
      if (world.hasLeader) return world.lossy ? "unsure" : "sent";
      return "none";
    },
    answer: (requestId, outcomes) => {
      assert.ok(!world.answers.has(requestId), "a request is answered once");
      world.answers.set(
        requestId,
        outcomes.map((outcome) => ("code" in outcome ? outcome.code : outcome.type)),
      );
    },
  });
  const said = (name: string, outcome: ItemOutcome, index = 0, answerNow = false) =>
    submissions.outcomes([{ id: id(name), outcome, index }], answerNow);
  return { world, submissions, said };
}

describe("submissions", () => {
  test("answer a request once all its transactions are committed here, in the order submitted", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a"), item("b")], ALICE);
    said("a", included, 5);
    submissions.committed(5, () => [keyOf("a")]);
    assert.equal(world.answers.size, 0);
    said("b", { type: "rejected", error: id("no") });
    assert.deepEqual(world.answers.get(1), ["included", "rejected"]);
    assert.equal(submissions.size, 0);
  });

  test("answer before the commit only where that is asked for", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", included, 5, true);
    assert.deepEqual(world.answers.get(1), ["included"]);
    assert.equal(submissions.size, 1);
    submissions.committed(5, () => [keyOf("a")]);
    assert.equal(submissions.size, 0);
  });

  test("send everything again to a new leader, and what got no word after a while", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a"), item("b")], ALICE);
    submissions.leaderChanged();
    assert.deepEqual(world.sent, ["a", "b", "a", "b"]);
    said("b", { type: "waiting", result: id("w") });
    world.now = RESEND_AFTER_MS + 1;
    submissions.tick();
    assert.deepEqual(world.sent.slice(4), ["a"], "a parked transaction is with its leader");
    submissions.leaderChanged();
    assert.deepEqual(world.sent.slice(5), ["a", "b"], "another leader knows nothing of it");
  });

  test("keep transactions while there is no leader", () => {
    const { world, submissions } = fixture();
    world.hasLeader = false;
    submissions.submit(1, [item("a")], ALICE);
    assert.deepEqual(world.sent, []);
    world.hasLeader = true;
    submissions.tick();
    assert.deepEqual(world.sent, ["a"]);
  });

  test("take a transaction that is in the ledger already for a duplicate, once the leader's state is applied here", () => {
    const { world, submissions, said } = fixture();
    submissions.committed(6, () => []);
    submissions.submit(1, [item("a")], ALICE);
    submissions.leaderChanged();
    said("a", { type: "duplicate", result: id("a") }, 7);
    assert.equal(world.answers.size, 0, "it may be in batch 7, sent by this very node");
    submissions.committed(7, () => [keyOf("other")]);
    assert.deepEqual(world.answers.get(1), ["duplicate"]);
    submissions.submit(2, [item("b")], ALICE);
    said("b", { type: "duplicate", result: id("b") }, 7);
    assert.deepEqual(world.answers.get(2), ["duplicate"], "batch 7 is applied and was not by this submission");
  });

  test("do not take their own copy for a duplicate", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    submissions.leaderChanged();
    said("a", { type: "duplicate", result: id("a") }, 7);
    submissions.committed(7, () => [keyOf("a")]);
    assert.deepEqual(world.answers.get(1), ["included"]);
  });

  test("forget what a deposed leader called a duplicate", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", { type: "duplicate", result: id("a") }, 7);
    submissions.leaderChanged();
    submissions.committed(7, () => [keyOf("other")]);
    assert.equal(world.answers.size, 0);
    submissions.committed(8, () => [keyOf("a")]);
    assert.deepEqual(world.answers.get(1), ["included"]);
  });

  test("answer both requests that sent the same transaction", () => {
    const { world, submissions } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    submissions.submit(2, [item("a")], ALICE);
    assert.deepEqual(world.sent, ["a"]);
    submissions.committed(1, () => [keyOf("a")]);
    assert.deepEqual([...world.answers.keys()].sort(), [1, 2]);
  });

  test("answer unavailable after a time, and keep the transaction until its life ends", () => {
    const { world, submissions } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    world.now = OUTCOME_TIMEOUT_MS;
    submissions.tick();
    assert.deepEqual(world.answers.get(1), ["RequestTimeout"]);
    assert.equal(submissions.size, 1);
    world.now = SUBMISSION_LIFETIME_MS + 1;
    submissions.tick();
    assert.equal(submissions.size, 0);
  });

  test("answer that there is no leader, and give up, only what certainly was never sent", () => {
    const { world, submissions } = fixture();
    world.hasLeader = false;
    submissions.submit(1, [item("a")], ALICE);
    world.now = NO_LEADER_AFTER_MS - 1;
    submissions.tick();
    assert.equal(world.answers.size, 0);
    world.hasLeader = true;
    world.lossy = true;
    submissions.submit(2, [item("b")], ALICE);
    world.hasLeader = false;
    world.now = 2 * NO_LEADER_AFTER_MS;
    submissions.tick();
    assert.deepEqual([...world.answers], [[1, ["NoLeader"]]]);
    assert.equal(submissions.size, 1, "b may have reached the leader");
    world.now += OUTCOME_TIMEOUT_MS;
    submissions.tick();
    assert.deepEqual(world.answers.get(2), ["RequestTimeout"]);
    assert.equal(submissions.size, 1);
  });

  test("forget a waiting transaction that the leader dropped", () => {
    const { submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", { type: "waiting", result: id("w") });
    assert.equal(submissions.size, 1);
    said("a", { type: "rejected", error: id("replaced") });
    assert.equal(submissions.size, 0);
  });

  test("take what a snapshot may have brought for their own", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", included, 5);
    submissions.restored(7);
    submissions.tick();
    assert.deepEqual(world.sent, ["a", "a"]);
    said("a", { type: "duplicate", result: id("a") }, 7);
    assert.deepEqual(world.answers.get(1), ["included"]);
    submissions.submit(2, [item("b")], ALICE);
    said("b", { type: "duplicate", result: id("b") }, 7);
    assert.deepEqual(world.answers.get(2), ["duplicate"], "it was sent after the snapshot");
  });

  test("refuse more bytes than they may keep, and count them as they come and go", () => {
    const { world, submissions, said } = fixture();
    const large = (name: string): TransactionItem => ({
      id: id(name),
      body: new Uint8Array(SUBMISSIONS_BYTES_MAX / 2),
    });
    submissions.submit(1, [large("a"), large("b")], ALICE);
    submissions.submit(2, [item("c")], ALICE);
    assert.deepEqual(world.answers.get(2), ["TooManyRequests"]);
    said("a", { type: "rejected", error: id("no") });
    submissions.submit(3, [large("d")], ALICE);
    assert.equal(world.answers.has(3), false);
    submissions.committed(5, () => [keyOf("b"), keyOf("d")]);
    submissions.submit(4, [large("e"), large("f")], ALICE);
    assert.equal(world.answers.has(4), false);
  });

  test("refuse more transactions than they may keep", () => {
    const { world, submissions } = fixture();
    submissions.submit(
      1,
      Array.from({ length: SUBMISSIONS_MAX }, (_, at) => item(String(at))),
      ALICE,
    );
    submissions.submit(2, [item("one more")], ALICE);
    assert.deepEqual(world.answers.get(2), ["TooManyRequests"]);
    assert.equal(submissions.size, SUBMISSIONS_MAX);
  });
});

describe("submissions whose sender lost its rights", () => {
  test("are answered so once all that the leader judged by is applied here, and kept no longer", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", refused, 7);
    assert.equal(world.answers.size, 0);
    submissions.committed(6, () => []);
    assert.equal(world.answers.size, 0);
    submissions.committed(7, () => []);
    assert.deepEqual(world.answers.get(1), ["ActorNotAllowed"]);
    assert.equal(submissions.size, 0);
  });

  test("that an earlier leader included, before it was known here, are answered as included", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", refused, 7);
    submissions.committed(6, () => [keyOf("a")]);
    assert.deepEqual(world.answers.get(1), ["included"]);
  });

  test("and may have come with a snapshot have an outcome that is not known", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", refused, 9);
    submissions.restored(8);
    assert.equal(world.answers.size, 0);
    submissions.committed(9, () => []);
    assert.deepEqual(world.answers.get(1), ["RequestTimeout"]);
  });

  test("go on as another actor's that sent the same transaction", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    submissions.submit(2, [item("a")], BOB);
    said("a", refused, 0);
    assert.deepEqual(world.answers.get(1), ["ActorNotAllowed"]);
    assert.equal(world.answers.size, 1);
    assert.deepEqual(
      [world.sent, world.senders],
      [
        ["a", "a"],
        ["alice", "bob"],
      ],
    );
    said("a", included, 5);
    submissions.committed(5, () => [keyOf("a")]);
    assert.deepEqual(world.answers.get(2), ["included"]);
  });

  test("are judged again by another leader", () => {
    const { world, submissions, said } = fixture();
    submissions.submit(1, [item("a")], ALICE);
    said("a", refused, 7);
    submissions.leaderChanged();
    submissions.committed(7, () => []);
    assert.equal(world.answers.size, 0);
    said("a", included, 8);
    submissions.committed(8, () => [keyOf("a")]);
    assert.deepEqual(world.answers.get(1), ["included"]);
  });
});
