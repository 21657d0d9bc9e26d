import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ClientResponse } from "../../adapters/adapter.ts";
import { type Bytes, EMPTY, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import type { Frame } from "./frames.ts";
import { FIRST_ID_BYTES, firstIdOf } from "./open-requests.ts";
import { sha256 } from "./node-crypto.ts";
import { REQUEST_RETURNS_MAX, RequestRouter } from "./request-router.ts";
import { type RequestMail, WorkerMailbox } from "./worker-mailbox.ts";

const CALLER = { actor: "a", certificate: "00" };

/** A node in a boot of its own, whose worker sends every request to the leader. */
function boot(random: Bytes) {
  const sent: Frame[] = [];
  const given: number[] = [];
  const minVersions: (number | undefined)[] = [];
  const state = { version: 1 };
  const firstId = firstIdOf(random);
  const mailbox = Object.assign(Object.create(WorkerMailbox.prototype) as WorkerMailbox, {
    request: ({ id, minVersion }: RequestMail) => {
      given.push(id);
      minVersions.push(minVersion);
      router.forLeader(id);
    },
    forget: () => undefined,
  });
  const router: RequestRouter = new RequestRouter({
    now: () => 0,
    firstId,
    adapters: new Map([
      [1, { mount: "/kv", mailbox, isUnable: false, isRestoring: false, committedVersion: () => state.version }],
    ]),
    send: (_peer, frame) => sent.push(frame) > 0,
    refusalOf: () => undefined,
    ownStanding: () => "good",
    confirmRead: () => undefined,
    carried: {
      approval: undefined,
      administration: { appended: undefined, check: () => assert.fail("nothing is carried") },
      sealing: { batchTime: () => 0 },
    },
    governance: {
      sha256,
      administration: { appended: undefined, committed: undefined },
      lead: () => assert.fail("nothing is led here"),
    },
  });
  router.leadershipChanged({ leader: "leader", term: 2, leads: false, serving: false });
  const ask = (linearizable: boolean) => {
    const answers: ClientResponse[] = [];
    router.request({ path: "/kv", body: new Uint8Array(0), caller: CALLER, linearizable }, false, (answer) =>
      answers.push(answer),
    );
    return answers;
  };
  return { router, sent, given, minVersions, state, ask };
}

const RESPONSE: ClientResponse = { status: 200, contentType: "text/plain", body: utf8Encode("of another client") };

describe("requests of a node that started again", () => {
  test("do not take answers to those from before", () => {
    const before = boot(Uint8Array.of(1, 2, 3, 4, 5));
    before.ask(false);
    before.ask(true);
    const after = boot(Uint8Array.of(9, 2, 3, 4, 5));
    const answers = after.ask(false);
    const reads = after.ask(true);
    for (const frame of before.sent) {
      if (frame.type === "query")
        after.router.frame("leader", { type: "queryResponse", id: frame.id, response: RESPONSE });
      if (frame.type === "readIndex")
        after.router.frame("leader", { type: "readIndexResponse", id: frame.id, index: 0 });
    }
    assert.deepEqual([answers, reads], [[], []]);
    assert.equal(after.sent.filter(({ type }) => type === "query").length, 1, "the read still waits for its index");
    const own = after.sent.find((frame) => frame.type === "query");
    assert.ok(own?.type === "query");
    after.router.frame("leader", { type: "queryResponse", id: own.id, response: RESPONSE });
    assert.deepEqual(answers, [RESPONSE]);
  });

  test("wait in the worker for the first version of its state, if this node knows that there is one", () => {
    const { ask, minVersions, state } = boot(new Uint8Array(FIRST_ID_BYTES));
    for (const version of [0, 1, 7]) {
      state.version = version;
      ask(false);
    }
    assert.deepEqual(minVersions, [undefined, 1, 1]);
  });

  test("of a peer that is ahead are left to be asked again: the peer is not told that there is no state", () => {
    const { router, given, state } = boot(new Uint8Array(FIRST_ID_BYTES));
    const query = { type: "query", id: 5, path: "/kv", body: EMPTY, caller: CALLER } as const;
    state.version = 0;
    router.frame("peer", query);
    assert.equal(given.length, 0);
    state.version = 1;
    router.frame("peer", query);
    assert.equal(given.length, 1);
  });

  test("are given back to their worker by the leader a bounded number of times", () => {
    const { router, ask, given } = boot(new Uint8Array(FIRST_ID_BYTES));
    router.leadershipChanged({ leader: "self", term: 3, leads: true, serving: true });
    const [answer] = ask(false);
    assert.match(utf8Decode(answer?.body ?? EMPTY), /Internal/);
    assert.equal(given.length, REQUEST_RETURNS_MAX + 1);
  });

  test("have ids from 1 on that leave room for all of a boot", () => {
    assert.equal(firstIdOf(new Uint8Array(FIRST_ID_BYTES)), 1);
    assert.equal(firstIdOf(new Uint8Array(FIRST_ID_BYTES).fill(255)), 2 ** 40);
  });
});
