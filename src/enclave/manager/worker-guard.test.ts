import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import { encodeWriteSet } from "../../core/kv/write-set.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { OUTCOME_BYTES_MAX, SUBMISSION_SPARE_BYTES_MAX, WorkerGuard } from "./worker-guard.ts";

type Executed = Extract<FromWorker, { type: "executed" }>;

const TABLES = [
  { id: 1, name: "one" },
  { id: 2, name: "public:two" },
];
const CONTEXT = { writtenBytes: () => 1000 };
const A = utf8Encode("a");
const B = utf8Encode("b");
const caller = { actor: "alice", certificate: "00" };
const context = { timeMs: 1, randomness: new Uint8Array(32) };
const execute = (generation: number, ...ids: Bytes[]): ToWorker => ({
  ...{ type: "execute", generation, ...context },
  items: ids.map((id) => ({ id, body: EMPTY })),
});
const executedOf = (...ids: Bytes[]): Executed["transactions"] =>
  ids.map((id) => ({ id, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined }));
const included = (position: number) => ({ type: "included", position, result: EMPTY }) as const;
const result = (generation: number, change: Partial<Executed> = {}): Executed => ({
  ...{ type: "executed", generation, outcomes: [], transactions: [], dropped: [], more: false },
  ...change,
});
const requests = (...ids: number[]): ToWorker => ({
  type: "requests",
  leading: true,
  requests: ids.map((id) => ({ id, path: "/", body: EMPTY, caller })),
});
const answer = (id: number, contentType = "text/plain", status = 200): FromWorker => ({
  type: "responses",
  responses: [{ id, response: { status, contentType, body: EMPTY } }],
});
const submit = (id: number): FromWorker => ({ type: "submit", submissions: [{ id, items: [{ id: A, body: EMPTY }] }] });

/** A guard of a worker that is ready, after these messages to it. */
function guardAfter(...sent: readonly ToWorker[]): WorkerGuard {
  const guard = new WorkerGuard(CONTEXT);
  guard.take({ type: "ready", tables: TABLES });
  for (const message of sent) guard.sent(message);
  return guard;
}

function refuses(guard: WorkerGuard, message: FromWorker): void {
  assert.throws(() => guard.take(message), { code: "WorkerBreach" }, JSON.stringify(message));
}

describe("what a worker may say", () => {
  test("of requests: each it has is answered once, or becomes transactions once and is answered after them", () => {
    const guard = guardAfter(requests(1, 2, 3));
    guard.take(submit(1));
    refuses(guard, submit(1));
    refuses(guard, { type: "leader", ids: [1] });
    guard.take(answer(1));
    refuses(guard, answer(1));
    guard.take({ type: "leader", ids: [2] });
    refuses(guard, answer(2));
    guard.sent(requests(2));
    guard.take(answer(2));
    for (const unknown of [answer(4), submit(4), { type: "leader", ids: [4] } as const]) refuses(guard, unknown);
    for (const bad of [answer(3, "a\r\nb: c"), answer(3, ""), answer(3, "x", 101), answer(3, "x", 700)])
      refuses(guard, bad);
    refuses(guard, { type: "submit", submissions: [{ id: 3, items: [{ id: EMPTY, body: EMPTY }] }] });
    refuses(guard, { type: "submit", submissions: [{ id: 3, items: [] }] });
  });

  test("of a request that was forgotten meanwhile is passed over, not held against it", () => {
    const guard = guardAfter(requests(1, 2), { type: "forget", ids: [1, 2] });
    assert.deepEqual(guard.take(answer(1)), { type: "responses", responses: [] });
    assert.deepEqual(guard.take(submit(2)), { type: "submit", submissions: [] });
  });

  test("of a request that was forgotten: once, and of none without a request", () => {
    const guard = guardAfter(requests(1, 2, 3), { type: "forget", ids: [1, 2, 3] });
    for (const message of [answer(1), submit(2), { type: "leader", ids: [3] } as const]) {
      guard.take(message);
      refuses(guard, message);
    }
    for (const nothing of [
      { type: "responses", responses: [] },
      { type: "leader", ids: [] },
      { type: "submit", submissions: [] },
    ] as const)
      refuses(guardAfter(), nothing);
  });

  test("of a request's transactions: about as much as the request was", () => {
    const asked = (bodyBytes: number): ToWorker => ({
      ...{ type: "requests", leading: true },
      requests: [{ id: 1, path: "/", body: new Uint8Array(bodyBytes), caller }],
    });
    const submitted = (bytes: number): FromWorker => ({
      ...{ type: "submit", submissions: [{ id: 1, items: [A, B].map((id) => ({ id, body: new Uint8Array(bytes) })) }] },
    });
    guardAfter(asked(1000)).take(submitted(SUBMISSION_SPARE_BYTES_MAX / 2 + 1000));
    refuses(guardAfter(asked(1000)), submitted(SUBMISSION_SPARE_BYTES_MAX / 2 + 1001));
  });

  test("of what became of a transaction: a bounded result, and nothing only the manager can say", () => {
    const large = new Uint8Array(OUTCOME_BYTES_MAX + 1);
    const whole = new Uint8Array(OUTCOME_BYTES_MAX);
    guardAfter(execute(1, A)).take(result(1, { outcomes: [{ type: "rejected", error: whole }] }));
    guardAfter(execute(1, A)).take(result(1, { outcomes: [{ type: "unavailable", code: "Internal" }] }));
    for (const outcome of [
      { type: "rejected", error: large },
      { type: "duplicate", result: large },
      { type: "waiting", result: large },
      { type: "unavailable", code: "WorkerLost" },
    ] as const)
      refuses(guardAfter(execute(1, A)), result(1, { outcomes: [outcome] }));
    refuses(guardAfter(execute(1, A)), {
      ...result(1, { outcomes: [{ type: "duplicate", result: EMPTY }], dropped: [{ id: B, error: large }] }),
    });
  });

  test("of transactions for which there was no room: only behind one that had room, and all behind the first", () => {
    const deferred = { type: "deferred" } as const;
    const rejected = { type: "rejected", error: EMPTY } as const;
    guardAfter(execute(1, A, B)).take(result(1, { outcomes: [included(0), deferred], transactions: executedOf(A) }));
    refuses(guardAfter(execute(1, A, B)), result(1, { outcomes: [deferred, deferred] }));
    refuses(guardAfter(execute(1, A, B)), result(1, { outcomes: [rejected, deferred] }));
    const early = { outcomes: [deferred, included(0)], transactions: executedOf(B) };
    refuses(guardAfter(execute(1, A, B)), result(1, early));
  });

  test("of more to execute: as long as less waits after each batch for it", () => {
    const idle = guardAfter(execute(1, A), execute(1));
    idle.take(result(1, { outcomes: [included(0)], transactions: executedOf(A), more: true }));
    refuses(idle, result(1, { more: true }));
    const genesis: ToWorker = { type: "genesis", generation: 0, ...context };
    refuses(guardAfter(genesis), result(0, { transactions: executedOf(EMPTY), more: true }));
    const waiting = { type: "waiting", result: EMPTY } as const;
    const guard = guardAfter(execute(1, A, B), execute(1), execute(1), execute(1));
    guard.take(result(1, { outcomes: [waiting, waiting], more: true }));
    guard.take(result(1, { transactions: executedOf(A), more: true }));
    refuses(guard, result(1, { more: true }));
    const dropping = guardAfter(execute(1, A, B), execute(1), execute(1));
    dropping.take(result(1, { outcomes: [waiting, waiting], more: true }));
    const dropped = [A, A, utf8Encode("c")].map((id) => ({ id, error: EMPTY }));
    const taken = dropping.take(result(1, { dropped, more: true }));
    assert.deepEqual(taken.type === "executed" && taken.dropped, [{ id: A, error: EMPTY }], "what waited, once");
    refuses(dropping, result(1, { dropped, more: true }));
  });

  test("of batches: one result for each that was sent, of its generation and its transactions", () => {
    refuses(guardAfter(), result(0));
    refuses(guardAfter(execute(3, A)), result(2, { outcomes: [{ type: "deferred" }] }));
    refuses(guardAfter(execute(3, A)), result(3));
    const sent = () => guardAfter(execute(3, A, B));
    const both = { outcomes: [included(0), included(1)], transactions: executedOf(A, B) };
    sent().take(result(3, both));
    sent().take(result(3, { ...both, transactions: executedOf(A, B, EMPTY) }));
    for (const change of [
      { ...both, transactions: executedOf(B, A) },
      { ...both, transactions: executedOf(A, B, utf8Encode("c")) },
      { ...both, transactions: executedOf(A, EMPTY, B) },
      { outcomes: [included(0), included(0)], transactions: executedOf(A) },
      { outcomes: [included(5), included(1)], transactions: executedOf(A, B) },
      { outcomes: [{ type: "refused", code: "ActorNotAllowed" }, included(0)], transactions: executedOf(B) } as const,
      { ...both, dropped: [{ id: EMPTY, error: EMPTY }] },
    ])
      refuses(sent(), result(3, change));
    const twice = sent();
    twice.take(result(3, both));
    refuses(twice, result(3, both));
  });

  test("of transactions that waited: they come in a later batch of the same generation, once", () => {
    const guard = guardAfter(execute(1, A), execute(1, B), execute(1, B), execute(2, B));
    guard.take(result(1, { outcomes: [{ type: "waiting", result: EMPTY }] }));
    guard.take(result(1, { outcomes: [included(0)], transactions: executedOf(B, A) }));
    refuses(guard, result(1, { outcomes: [included(0)], transactions: executedOf(B, A) }));
    const rolledBack = guardAfter(execute(1, A), execute(2, B));
    rolledBack.take(result(1, { outcomes: [{ type: "waiting", result: EMPTY }] }));
    refuses(rolledBack, result(2, { outcomes: [included(0)], transactions: executedOf(B, A) }));
  });

  test("of writes: those of its own tables, in the part they belong to", () => {
    const writeTo = (table: number) => encodeWriteSet([{ table, key: A, value: A }]);
    const genesis: ToWorker = { type: "genesis", generation: 0, ...context };
    const written = (publicPart: Bytes, privatePart: Bytes) =>
      result(0, { transactions: [{ id: EMPTY, publicPart, privatePart, claimsDigest: undefined }] });
    guardAfter(genesis).take(written(writeTo(2), writeTo(1)));
    for (const [publicPart, privatePart] of [
      [writeTo(1), EMPTY],
      [EMPTY, writeTo(2)],
      [EMPTY, writeTo(3)],
      [EMPTY, A],
    ] as const)
      refuses(guardAfter(genesis), written(publicPart, privatePart));
    const early = new WorkerGuard(CONTEXT);
    early.sent(genesis);
    refuses(early, written(EMPTY, EMPTY));
  });

  test("of being ready: once, and once for each configuration, with the tables it had", () => {
    const guard = guardAfter();
    refuses(guard, { type: "ready", tables: TABLES });
    refuses(guard, { type: "unable", message: "" });
    guard.sent({ type: "configure", options: {} });
    refuses(guard, { type: "ready", tables: TABLES.slice(1) });
    refuses(new WorkerGuard({ ...CONTEXT, tables: TABLES }), { type: "ready", tables: [] });
    refuses(new WorkerGuard(CONTEXT), { type: "ready", tables: [...TABLES, { id: 1, name: "three" }] });
    for (const name of ["coco.nodes", "public:coco.nodes"])
      refuses(new WorkerGuard(CONTEXT), { type: "ready", tables: [...TABLES, { id: 77, name }] });
  });

  test("of snapshots and pings: what was asked for", () => {
    const part = (version: number, bytes = 1): FromWorker => ({
      ...{ type: "snapshotPart", version, part: new Uint8Array(bytes), last: false },
    });
    refuses(guardAfter(), part(1));
    const guard = guardAfter(
      { type: "exportSnapshot", version: 1, maxBytes: 10 },
      { type: "nextPart", version: 1 },
      { type: "importSnapshot", version: 4, part: EMPTY, first: true, last: false },
      { type: "ping", id: 6 },
    );
    guard.take(part(1));
    refuses(guard, part(1));
    refuses(guard, { type: "imported", version: 4 });
    refuses(guard, { type: "pong", id: 6 + 1 });
    refuses(guardAfter({ type: "nextPart", version: 1 }), part(1, 2 * 1024 * 1024));
    refuses(guardAfter({ type: "nextPart", version: 1 }), part(1, 0));
    refuses(guardAfter(), { type: "snapshotUnavailable", version: 1 });
  });
});
