/**
 * What both sides send before a connection is a channel. The peer's evidence may be here before this node's own is made: it
 * waits until that is sent, since the peer takes what follows for frames.
 */
import type { Duplex } from "node:stream";
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { TakeEvidence } from "./evidence-maker.ts";
import { writeFrame } from "./frame-stream.ts";

/** See the module's header. */
export class EvidenceExchange {
  readonly #socket: Duplex;
  readonly #finish: (evidence: Bytes) => void;
  readonly #guarded: (step: () => void) => void;
  #own: "not asked for" | "being made" | "sent" = "not asked for";
  #theirs: Bytes | undefined;

  constructor(socket: Duplex, finish: (evidence: Bytes) => void, guarded: (step: () => void) => void) {
    this.#socket = socket;
    this.#finish = finish;
    this.#guarded = guarded;
  }

  /** Takes the peer's hello, for which `attest` has this node's evidence made, and then its evidence. */
  take(frame: Bytes, attest: (take: TakeEvidence) => () => void): void {
    if (this.#own === "not asked for") {
      this.#own = "being made";
      this.#socket.once(
        "close",
        attest((outcome) => this.#guarded(() => this.#send(outcome))),
      );
      return;
    }
    if (this.#theirs !== undefined)
      throw new CocoError("ChannelFailed", "the peer did not wait for this node's evidence");
    this.#theirs = frame;
    if (this.#own === "sent") this.#finish(frame);
  }

  #send(outcome: Bytes | CocoError): void {
    if (outcome instanceof CocoError) throw outcome;
    writeFrame(this.#socket, outcome);
    this.#own = "sent";
    if (this.#theirs !== undefined) this.#finish(this.#theirs);
  }
}
