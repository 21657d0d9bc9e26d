/**
 * Frames on the pipe between a node and a process of a worker: length (u32), number (u32), payload. Numbers count from 0 on in
 * each direction, so that a frame that is repeated, left out or put in is noticed. Both sides read strictly.
 */
import type { Socket } from "node:net";
import { type Bytes, concatBytes, EMPTY } from "../core/codec/bytes.ts";
import { WORKER_MESSAGE_BYTES_MAX } from "../enclave/worker/wire-parts.ts";
import { CocoError } from "../errors.ts";

const HEAD_BYTES = 8;
const NUMBERS = 0x1_0000_0000;

/** Writes frames in order; those of one turn leave together. */
export class FrameWriter {
  readonly #socket: Socket;
  #number = 0;
  #isCorked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that wait for the other side to read. */
  get waitingBytes(): number {
    return this.#socket.writableLength;
  }

  write(payload: Bytes): void {
    if (this.#socket.destroyed) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.writeUInt32BE(payload.length, 0);
    head.writeUInt32BE(this.#number, 4);
    this.#number = (this.#number + 1) % NUMBERS;
    this.#socket.write(head);
    if (payload.length > 0) this.#socket.write(payload);
  }
}

/** Takes frames out of what arrives, in whatever pieces. */
export class FrameReader {
  readonly #onFrame: (payload: Bytes) => void;
  #pieces: Bytes[] = [];
  #length = 0;
  #needed = HEAD_BYTES;
  #number = 0;

  constructor(onFrame: (payload: Bytes) => void) {
    this.#onFrame = onFrame;
  }

  /** Throws `MalformedInput` or `LimitExceeded` for what is no frame. Payloads are views on what arrived, where they can be. */
  push(chunk: Bytes): void {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return;
    const bytes = this.#pieces.length === 1 ? chunk : concatBytes(...this.#pieces);
    let at = 0;
    for (;;) {
      this.#needed = HEAD_BYTES;
      if (bytes.length - at < HEAD_BYTES) break;
      this.#needed = HEAD_BYTES + this.#readLength(bytes, at);
      if (bytes.length - at < this.#needed) break;
      const payload = bytes.subarray(at + HEAD_BYTES, at + this.#needed);
      this.#number = (this.#number + 1) % NUMBERS;
      at += this.#needed;
      this.#onFrame(payload);
    }
    const rest = at === bytes.length ? EMPTY : bytes.subarray(at);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
  }

  #readLength(bytes: Bytes, at: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEAD_BYTES);
    const length = view.getUint32(0);
    if (length > WORKER_MESSAGE_BYTES_MAX) throw new CocoError("LimitExceeded", `a frame of ${length} bytes`);
    const number = view.getUint32(4);
    if (number !== this.#number)
      throw new CocoError("MalformedInput", `frame ${number} where ${this.#number} comes next`);
    return length;
  }
}
