import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, ByteWriter, concatBytes } from "../core/codec/bytes.ts";
import { WORKER_MESSAGE_BYTES_MAX } from "../enclave/worker/wire-parts.ts";
import { FrameReader } from "./worker-frames.ts";

const frame = (number: number, payload: Bytes): Bytes =>
  new ByteWriter().u32(payload.length).u32(number).bytes(payload).finish();

describe("frames on the pipe of a worker", () => {
  test("come out whole, in whatever pieces they arrive", () => {
    const payloads = [Uint8Array.of(1), new Uint8Array(0), new Uint8Array(300).fill(7)];
    const all = concatBytes(...payloads.map((payload, at) => frame(at, payload)));
    for (let size = 1; size <= all.length; size++) {
      const taken: Bytes[] = [];
      const reader = new FrameReader((payload) => taken.push(payload.slice()));
      for (let at = 0; at < all.length; at += size) reader.push(all.subarray(at, at + size));
      assert.deepEqual(taken, payloads);
    }
  });

  test("of a large size come out of single bytes, too, and those behind them", () => {
    const payload = new Uint8Array(300_000).map((_, at) => at);
    const all = concatBytes(frame(0, payload), frame(1, Uint8Array.of(5)));
    const taken: Bytes[] = [];
    const reader = new FrameReader((one) => taken.push(one.slice()));
    for (let at = 0; at < all.length; at++) reader.push(all.subarray(at, at + 1));
    assert.deepEqual(taken, [payload, Uint8Array.of(5)]);
  });

  test("that are repeated, left out or put in are refused", () => {
    const reader = () => {
      const fresh = new FrameReader(() => undefined);
      fresh.push(frame(0, Uint8Array.of(1)));
      return fresh;
    };
    for (const number of [0, 2, 0xffffffff])
      assert.throws(() => reader().push(frame(number, Uint8Array.of(1))), { code: "MalformedInput" });
  });

  test("that announce too much are refused before it arrives", () => {
    const head = new ByteWriter()
      .u32(WORKER_MESSAGE_BYTES_MAX + 1)
      .u32(0)
      .finish();
    assert.throws(() => new FrameReader(() => undefined).push(head), { code: "LimitExceeded" });
  });
});
