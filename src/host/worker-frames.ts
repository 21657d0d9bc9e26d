/**
 * Frames on the pipe between a node and a process of a worker: length (u32), number (u32), payload. Numbers count from 0 on in
 * each direction, so that a frame that is repeated, left out or put in is noticed. Both sides read strictly.
 */
import type { Socket } from "node:net";
import { type Bytes, EMPTY } from "../core/codec/bytes.ts";
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
  /**
   * What has arrived of a frame, at the front of room for more. It doubles as bytes come: neither a length that is announced
   * costs memory, nor the number of pieces the bytes come in.
   */
  #held: Bytes = EMPTY;
  #heldBytes = 0;
  #number = 0;

  constructor(onFrame: (payload: Bytes) => void) {
    this.#onFrame = onFrame;
  }

  /** Throws `MalformedInput` or `LimitExceeded` for what is no frame. Payloads are views on what arrived, where they can be. */
  push(chunk: Bytes): void {
    if (this.#heldBytes === 0) {
      this.#hold(this.#takeFrames(chunk));
      return;
    }
    this.#hold(chunk);
    const held = this.#held.subarray(0, this.#heldBytes);
    if (held.length < this.#neededBytes(held)) return;
    this.#held = EMPTY;
    this.#heldBytes = 0;
    this.#hold(this.#takeFrames(held));
  }

  #hold(bytes: Bytes): void {
    const length = this.#heldBytes + bytes.length;
    if (length > this.#held.length) {
      const room = new Uint8Array(Math.max(length, 2 * this.#held.length));
      room.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = room;
    }
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes = length;
  }

  /** Bytes until the first frame of these is whole, as far as they tell. */
  #neededBytes(bytes: Bytes): number {
    return bytes.length < HEAD_BYTES ? HEAD_BYTES : HEAD_BYTES + this.#readLength(bytes, 0);
  }

  /** Hands over the frames that are whole; returns what is left. */
  #takeFrames(bytes: Bytes): Bytes {
    let rest = bytes;
    for (let needed = this.#neededBytes(rest); rest.length >= needed; needed = this.#neededBytes(rest)) {
      const payload = rest.subarray(HEAD_BYTES, needed);
      this.#number = (this.#number + 1) % NUMBERS;
      rest = rest.subarray(needed);
      this.#onFrame(payload);
    }
    return rest;
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
