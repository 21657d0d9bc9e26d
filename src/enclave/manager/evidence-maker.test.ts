import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { ATTEST_TIMEOUT_MS, EvidenceMaker, WAITING_ATTESTATIONS_MAX } from "./evidence-maker.ts";

type Done = (outcome: Bytes | CocoError) => void;

/** A TEE that answers when the test says so, and a clock that the test moves. */
function machine() {
  const asked: { readonly data: Bytes; readonly done: Done }[] = [];
  const timers = new Map<object, { readonly atMs: number; readonly callback: () => void }>();
  const events: string[] = [];
  let now = 0;
  const maker = new EvidenceMaker({
    askTee: (data, done) => asked.push({ data, done }),
    clock: {
      after: (delayMs, callback) => {
        const timer = { atMs: now + delayMs, callback };
        timers.set(timer, timer);
        return () => timers.delete(timer);
      },
    },
    tracer: { event: (_level, event) => events.push(event) },
  });
  const pass = (ms: number): void => {
    now += ms;
    for (const timer of [...timers.values()]) if (timer.atMs <= now && timers.delete(timer)) timer.callback();
  };
  return { maker, asked, events, pass, timers };
}

const data = (value: number): Bytes => new Uint8Array(64).fill(value);

describe("the maker of a node's evidence", () => {
  test("asks the TEE for one thing at a time, in order, and gives each its own", () => {
    const { maker, asked, timers } = machine();
    const got: [number, Bytes | CocoError][] = [];
    for (const at of [1, 2, 3]) maker.make(data(at), (outcome) => got.push([at, outcome]));
    assert.equal(asked.length, 1);
    for (let at = 1; at <= 3; at++) {
      assert.deepEqual(asked[at - 1]?.data, data(at));
      asked[at - 1]?.done(data(at + 100));
    }
    assert.deepEqual(
      got,
      [1, 2, 3].map((at) => [at, data(at + 100)]),
    );
    assert.deepEqual([asked.length, timers.size], [3, 0]);
  });

  test("makes the node's own attestation next, however much waits, and one of the others in between", () => {
    const { maker, asked } = machine();
    const got: number[] = [];
    const want = (at: number, first: boolean) => maker.make(data(at), () => got.push(at), { first });
    for (let at = 0; at < 2 * WAITING_ATTESTATIONS_MAX; at++) maker.make(data(1), () => undefined);
    want(10, true);
    for (const at of [11, 12]) want(at, true);
    for (let at = 0; at < 6; at++) asked.at(-1)?.done(data(0));
    assert.deepEqual(
      asked.map((one) => one.data[0]),
      [1, 10, 1, 11, 1, 12, 1],
    );
    assert.deepEqual(got, [10, 11, 12]);
  });

  test("tells nobody who cancelled, and does not ask for what nobody wants", () => {
    const { maker, asked } = machine();
    const never = (): never => assert.fail("it was cancelled");
    const cancelFirst = maker.make(data(1), never);
    const cancelSecond = maker.make(data(2), never);
    const got: (Bytes | CocoError)[] = [];
    maker.make(data(3), (outcome) => got.push(outcome));
    cancelFirst();
    cancelSecond();
    asked[0]?.done(data(9));
    assert.deepEqual(asked[1]?.data, data(3));
    asked[1]?.done(data(7));
    assert.deepEqual(got, [data(7)]);
  });

  test("lets nobody wait for a TEE that does not answer in time, does not ask it again before it does, and then goes on", () => {
    const { maker, asked, events, pass } = machine();
    const got: (Bytes | CocoError)[] = [];
    const want = (value: number) => maker.make(data(value), (outcome) => got.push(outcome));
    want(1);
    want(2);
    pass(ATTEST_TIMEOUT_MS - 1);
    assert.equal(got.length, 0);
    pass(1);
    want(3);
    assert.ok(got.every((outcome) => outcome instanceof CocoError && outcome.code === "AttestationFailed"));
    assert.deepEqual([got.length, asked.length, events], [3, 1, ["tee_silent"]]);
    asked[0]?.done(data(1));
    assert.equal(got.length, 3, "what came too late is given to nobody");
    assert.deepEqual(events, ["tee_silent", "tee_answers"]);
    want(4);
    asked[1]?.done(data(4));
    assert.deepEqual(got[3], data(4));
  });

  test("takes one answer to a request, bounds what waits, and is still once it is closed", () => {
    const { maker, asked, pass } = machine();
    const got: (Bytes | CocoError)[] = [];
    for (let at = 0; at <= WAITING_ATTESTATIONS_MAX + 1; at++) maker.make(data(0), (outcome) => got.push(outcome));
    assert.equal(got.length, 1);
    assert.ok(got[0] instanceof CocoError);
    asked[0]?.done(data(1));
    asked[0]?.done(data(2));
    assert.deepEqual(got.slice(1), [data(1)]);
    maker.close();
    asked[1]?.done(data(3));
    pass(2 * ATTEST_TIMEOUT_MS);
    maker.make(data(5), () => assert.fail("it is closed"));
    assert.deepEqual([got.length, asked.length], [2, 2]);
  });

  test("passes on why the TEE gives none", () => {
    const { maker, asked } = machine();
    const got: (Bytes | CocoError)[] = [];
    maker.make(data(1), (outcome) => got.push(outcome));
    const error = new CocoError("AttestationFailed", "no device");
    asked[0]?.done(error);
    assert.deepEqual(got, [error]);
  });
});
