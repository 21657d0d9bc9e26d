import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { type Bytes, concatBytes } from "../../core/codec/bytes.ts";
import { FrameReader, writeFrame } from "./frame-stream.ts";

function streamOf(...frames: readonly Bytes[]): Bytes {
  const written: Bytes[] = [];
  const stream = new PassThrough().on("data", (chunk: Buffer) => written.push(chunk));
  for (const frame of frames) writeFrame(stream, frame);
  return concatBytes(...written);
}

const NONE_LONGER = { limit: 2, tooLong: () => assert.fail("no frame is too long") };
const FRAMES = [Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)];

describe("frames on a byte stream", () => {
  test("come out whole, in whatever pieces they arrive", () => {
    const bytes = streamOf(...FRAMES);
    for (let size = 1; size <= bytes.length; size++) {
      const taken: number[][] = [];
      const socket = new PassThrough();
      const reader = new FrameReader(socket, { ...NONE_LONGER, take: (frame) => taken.push([...frame]) });
      assert.ok(reader);
      for (let at = 0; at < bytes.length; at += size) socket.emit("data", Buffer.from(bytes.subarray(at, at + size)));
      assert.deepEqual(taken, [[1], [], [2, 3]]);
    }
  });

  test("end with the connection: whoever ends it gets none of those that arrived with the last", () => {
    const taken: number[][] = [];
    const socket = new PassThrough();
    const reader = new FrameReader(socket, {
      ...NONE_LONGER,
      take: (frame) => {
        taken.push([...frame]);
        socket.destroy();
      },
    });
    assert.ok(reader);
    socket.emit("data", Buffer.from(streamOf(...FRAMES)));
    assert.deepEqual(taken, [[1]]);
  });

  test("that announce too much end the connection", () => {
    const socket = new PassThrough();
    const tooLong: number[] = [];
    const take = (): never => assert.fail("no frame");
    const reader = new FrameReader(socket, { limit: 2, take, tooLong: (length) => tooLong.push(length) });
    assert.ok(reader);
    socket.emit("data", Buffer.from(streamOf(new Uint8Array(3))));
    assert.deepEqual([socket.destroyed, tooLong], [true, [3]], "and are told of");
  });
});
