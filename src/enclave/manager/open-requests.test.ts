import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ClientResponse } from "../../adapters/adapter.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import { invariant } from "../../errors.ts";
import {
  LEADER_WAIT_MS,
  OPEN_REQUEST_TIMEOUT_MS,
  OPEN_REQUESTS_MAX,
  type OpenRequest,
  OpenRequests,
  QUERY_RESEND_AFTER_MS,
} from "./open-requests.ts";

const ANSWER: ClientResponse = { status: 200, contentType: "text/plain", body: EMPTY };

function fixture() {
  const world = { now: 0, statuses: [] as number[] };
  const requests = new OpenRequests(() => world.now, 1);
  const open = (): OpenRequest => {
    const request = requests.open({
      adapterId: 1,
      path: "/kv",
      body: EMPTY,
      caller: { actor: "a", certificate: "00" },
      fromPeer: false,
      respond: ({ status }) => world.statuses.push(status),
    });
    invariant(request, "there is room");
    return request;
  };
  return { world, requests, open };
}

describe("open requests", () => {
  test("are answered once, whatever comes later", () => {
    const { world, requests, open } = fixture();
    const { id } = open();
    requests.answer(id, ANSWER);
    requests.answer(id, ANSWER);
    world.now = OPEN_REQUEST_TIMEOUT_MS + 1;
    assert.equal(requests.expire().size, 0);
    assert.deepEqual(world.statuses, [200]);
  });

  test("take the leader's answer only while they are with a leader", () => {
    const { world, requests, open } = fixture();
    const request = open();
    requests.answerFromLeader(request.id, ANSWER, "leader");
    assert.deepEqual(world.statuses, []);
    requests.sent(request, "leader");
    requests.leaderLost();
    assert.deepEqual(requests.waitingForLeader(), [request]);
    requests.answerFromLeader(request.id, ANSWER, "leader");
    assert.deepEqual(world.statuses, []);
    requests.sent(request, "leader");
    requests.answerFromLeader(request.id, ANSWER, "another");
    assert.deepEqual(world.statuses, []);
    requests.answerFromLeader(request.id, ANSWER, "leader");
    assert.deepEqual(world.statuses, [200]);
  });

  test("are sent again when the leader stays silent, each time after twice as long", () => {
    const { world, requests, open } = fixture();
    const request = open();
    const sendings: number[] = [];
    requests.sent(request, "leader");
    for (world.now = 0; world.now < 8 * QUERY_RESEND_AFTER_MS; world.now += 250) {
      for (const waiting of requests.waitingForLeader()) {
        sendings.push(world.now);
        requests.sent(waiting, "leader");
      }
    }
    assert.deepEqual(
      sendings,
      [1, 3, 7].map((times) => times * QUERY_RESEND_AFTER_MS),
    );
    requests.sent(request, "another");
    requests.answerFromLeader(request.id, ANSWER, "leader");
    requests.answerFromLeader(request.id, ANSWER, "another");
    assert.deepEqual(world.statuses, [200]);
  });

  test("end with 503 without a leader and with 504 without an answer", () => {
    const { world, requests, open } = fixture();
    const [waiting, other] = [open(), open()];
    waiting.forLeader = "waiting";
    world.now = LEADER_WAIT_MS + 1;
    assert.deepEqual(requests.expire(), new Map([[1, [waiting.id]]]));
    world.now = OPEN_REQUEST_TIMEOUT_MS + 1;
    assert.deepEqual(requests.expire(), new Map([[1, [other.id]]]));
    assert.deepEqual(world.statuses, [503, 504]);
  });

  test("are refused with 503 when there are too many", () => {
    const { world, open } = fixture();
    for (let count = 0; count < OPEN_REQUESTS_MAX; count++) open();
    assert.throws(open, { code: "Internal" });
    assert.deepEqual(world.statuses, [503]);
  });
});
