/** An established channel to another validating node: what is sent, and when it counts as broken. */
import type { TLSSocket } from "node:tls";
import type { Claims } from "../../attestation/evidence.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import type { Clock } from "../ports.ts";
import { writeFrame } from "./frame-stream.ts";

/** A channel on which nothing arrived for this long is broken off (heartbeats come every 100 ms or so). */
export const CHANNEL_SILENCE_MS = 5_000;
/** A channel on which nothing was sent for this long carries an empty frame, so that silence means a broken link. */
export const CHANNEL_KEEPALIVE_MS = 1_000;
/** Bytes that may wait to be sent on one channel; frames beyond are lost, as on any network. */
export const CHANNEL_QUEUE_BYTES_MAX = 128 * 1024 * 1024;
/** Time in which the last frames to a node that left the network must be gone. */
export const CHANNEL_END_MS = 500;

/** A connection whose peer has shown what it runs. */
export interface AttestedSocket {
  readonly socket: TLSSocket;
  readonly claims: Claims;
}

/** An established channel. */
export class Channel {
  readonly socket: TLSSocket;
  readonly claims: Claims;
  /** Nothing is sent or taken any more. */
  hasEnded = false;
  readonly #clock: Clock;
  #heardAt: number;
  #sentAt: number;
  #corked = false;

  constructor({ socket, claims }: AttestedSocket, clock: Clock, onClose: () => void) {
    this.socket = socket;
    this.claims = claims;
    this.#clock = clock;
    this.#heardAt = clock.now();
    this.#sentAt = clock.now();
    socket.once("close", onClose);
    this.#watch();
  }

  #watch(): void {
    const cancel = this.#clock.after(CHANNEL_KEEPALIVE_MS, () => {
      this.socket.off("close", cancel);
      const now = this.#clock.now();
      if (now - this.#heardAt > CHANNEL_SILENCE_MS) {
        this.socket.destroy();
        return;
      }
      if (now - this.#sentAt >= CHANNEL_KEEPALIVE_MS) this.send(EMPTY);
      this.#watch();
    });
    this.socket.once("close", cancel);
  }

  heard(): void {
    this.#heardAt = this.#clock.now();
  }

  send(frame: Bytes): boolean {
    if (this.hasEnded || this.socket.destroyed || this.socket.writableLength > CHANNEL_QUEUE_BYTES_MAX) return false;
    // Everything sent in one turn of the event loop leaves as one TLS record where it fits.
    if (!this.#corked) {
      this.#corked = true;
      this.socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.socket.uncork();
      });
    }
    this.#sentAt = this.#clock.now();
    writeFrame(this.socket, frame);
    return true;
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Ends a channel that is not to be there any more: what was sent before still leaves, so that the peer learns why. */
  end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    const cancel = this.#clock.after(CHANNEL_END_MS, () => this.socket.destroy());
    this.socket.once("close", cancel);
    this.socket.destroySoon();
  }
}
