import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EMPTY } from "../../core/codec/bytes.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { decodeFromWorker, encodeFromWorker, EXECUTED_BYTES_MAX, messagesFromWorker } from "./wire-from-worker.ts";
import { WORKER_MESSAGE_CUT_BYTES } from "./wire-parts.ts";
import { decodeToWorker, encodeToWorker, messagesToWorker } from "./wire-to-worker.ts";

const ID = Uint8Array.of(1, 2);
const BODY = Uint8Array.of(3);
const items = [{ id: ID, body: BODY }];
const caller = { actor: "alice", certificate: "ab" };
const outcomes = [
  { type: "included", result: BODY, position: 0 },
  { type: "rejected", error: BODY },
  { type: "waiting", result: BODY },
  { type: "duplicate", result: BODY },
  { type: "deferred" },
  { type: "unavailable", code: "Internal" },
  { type: "refused", code: "ActorNotAllowed" },
] as const;
const context = { generation: 3, timeMs: 4, randomness: new Uint8Array(32).fill(5) };

const TO_WORKER: readonly ToWorker[] = [
  {
    type: "requests",
    leading: true,
    requests: [
      { id: 1, path: "/eth", body: BODY, caller },
      { id: 2, path: "/", body: EMPTY, caller, minVersion: 9 },
    ],
  },
  { type: "outcomes", requests: [{ id: 1, outcomes }] },
  { type: "forget", ids: [1, 2] },
  { type: "genesis", ...context },
  { type: "execute", ...context, items },
  { type: "apply", generation: 1, parts: [BODY, EMPTY] },
  { type: "commit", batches: [{ version: 1, view: 2, firstSeqno: 3, count: 4 }] },
  { type: "ping", id: 7 },
  { type: "rollback", version: 1, generation: 2 },
  { type: "configure", options: { chainId: 1, list: ["ü"] } },
  { type: "exportSnapshot", version: 1, maxBytes: 2 },
  { type: "nextPart", version: 1 },
  { type: "importSnapshot", version: 1, first: true, last: false, part: BODY },
];
const executed: Extract<FromWorker, { type: "executed" }> = {
  type: "executed",
  generation: 3,
  outcomes,
  transactions: [
    { id: ID, publicPart: BODY, privatePart: EMPTY, claimsDigest: new Uint8Array(32) },
    { id: EMPTY, publicPart: EMPTY, privatePart: BODY, claimsDigest: undefined },
  ],
  dropped: [{ id: ID, error: BODY }],
  more: true,
};
const FROM_WORKER: readonly FromWorker[] = [
  { type: "ready", tables: [{ id: 1, name: "public:one" }] },
  { type: "responses", responses: [{ id: 1, response: { status: 200, contentType: "text/plain", body: BODY } }] },
  { type: "leader", ids: [1] },
  { type: "submit", submissions: [{ id: 1, items }] },
  executed,
  { ...executed, tooLarge: true },
  { type: "snapshotPart", version: 1, last: true, part: BODY },
  { type: "snapshotUnavailable", version: 1 },
  { type: "nextPart", version: 1 },
  { type: "imported", version: 1 },
  { type: "pong", id: 7 },
  { type: "unable", message: "no" },
  { type: "log", message: "line" },
  { type: "failed", message: "broken" },
];

describe("messages between manager and worker", () => {
  test("come out as they went in", () => {
    for (const message of TO_WORKER) assert.deepEqual(decodeToWorker(encodeToWorker(message)), message);
    for (const message of FROM_WORKER) assert.deepEqual(decodeFromWorker(encodeFromWorker(message)), message);
  });

  test("that are cut, longer, or of an unknown kind are refused at every byte", () => {
    const refused = { name: "CocoError" };
    for (const message of TO_WORKER) checkCuts(encodeToWorker(message), decodeToWorker);
    for (const message of FROM_WORKER) checkCuts(encodeFromWorker(message), decodeFromWorker);
    for (const decode of [decodeToWorker, decodeFromWorker]) assert.throws(() => decode(Uint8Array.of(99)), refused);

    function checkCuts(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): void {
      for (let length = 0; length < bytes.length; length++)
        assert.throws(() => decode(bytes.subarray(0, length)), refused);
      assert.throws(() => decode(Uint8Array.of(...bytes, 0)), refused);
    }
  });

  test("announce no more items than a message may have", () => {
    const bytes = encodeFromWorker({ type: "leader", ids: [] }).slice();
    bytes.set([0xff, 0xff, 0xff, 0xff], 1);
    assert.throws(() => decodeFromWorker(bytes), { code: "LimitExceeded" });
  });

  test("go in pieces where they would be long, in order", () => {
    const body = new Uint8Array(WORKER_MESSAGE_CUT_BYTES / 2 + 1);
    const requests = [1, 2, 3].map((id) => ({ id, path: "/", body, caller }));
    const sent = [...messagesToWorker({ type: "requests", leading: false, requests })];
    assert.deepEqual(
      sent.map((message) => message.type === "requests" && message.requests.map(({ id }) => id)),
      [[1], [2], [3]],
    );
  });

  test("say that more was written than any batch holds, and leave it out", () => {
    const large = new Uint8Array(EXECUTED_BYTES_MAX);
    const transactions = executed.transactions.map((transaction) => ({ ...transaction, privatePart: large }));
    const [sent] = [...messagesFromWorker({ ...executed, transactions })];
    assert.equal(sent?.type === "executed" && sent.tooLarge, true);
    assert.ok(encodeFromWorker(sent as FromWorker).length < 1000);
  });
});
