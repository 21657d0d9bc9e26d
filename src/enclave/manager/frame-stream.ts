/** Frames on a byte stream: a length (u32, big-endian) before each. */
import type { Duplex } from "node:stream";
import type { Bytes } from "../../core/codec/bytes.ts";
import { ByteWriter } from "../../core/codec/bytes.ts";

/** Writes one frame. */
export function writeFrame(socket: Duplex, frame: Bytes): void {
  socket.write(new ByteWriter(4).u32(frame.length).finish());
  socket.write(frame);
}

/** Who takes the frames of a stream. */
export interface FrameReceiver {
  /** Most bytes of a frame. */
  readonly limit: number;
  readonly take: (frame: Bytes) => void;
  /** A length above the limit was announced: the stream ends. */
  readonly tooLong: (length: number) => void;
}

/** Cuts a byte stream into frames; a length above the limit ends the stream. */
export class FrameReader {
  #receiver: FrameReceiver;
  readonly #socket: Duplex;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Length of the frame under way; undefined while its length is not complete. */
  #wanted: number | undefined;

  constructor(socket: Duplex, receiver: FrameReceiver) {
    this.#socket = socket;
    this.#receiver = receiver;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
  }

  /** From now on frames have another limit and another receiver. */
  switchTo(receiver: FrameReceiver): void {
    this.#receiver = receiver;
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (!this.#socket.destroyed) {
      if (this.#wanted === undefined) {
        if (this.#buffered < 4) return;
        const wanted = this.#pull(4).readUInt32BE(0);
        if (wanted > this.#receiver.limit) {
          this.#socket.destroy();
          this.#receiver.tooLong(wanted);
          return;
        }
        this.#wanted = wanted;
      }
      if (this.#buffered < this.#wanted) return;
      const frame = this.#pull(this.#wanted);
      this.#wanted = undefined;
      this.#receiver.take(frame);
    }
  }

  /** The next `length` bytes, of which there are enough. */
  #pull(length: number): Buffer {
    let whole = this.#chunks[0] ?? Buffer.alloc(0);
    if (whole.length < length) whole = Buffer.concat(this.#chunks);
    else this.#chunks.shift();
    if (this.#chunks.length > 0 && whole.length === this.#buffered) this.#chunks = [];
    if (whole.length > length) this.#chunks.unshift(whole.subarray(length));
    this.#buffered -= length;
    return whole.subarray(0, length);
  }
}
