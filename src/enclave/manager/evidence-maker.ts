/**
 * Evidence of this node, for whoever in it needs some: its attestation in the ledger, its channels, the desk for newcomers.
 *
 * The TEE is asked for one thing at a time; the rest waits in order, but for the node's own attestation: its lease hangs on it,
 * while other nodes can make this one want evidence for them. It comes next, or after one of the others where the last was its
 * own, so that neither keeps the other from the TEE. Hardware takes from milliseconds to seconds, and its
 * driver may hang: who waits is told so after {@link ATTEST_TIMEOUT_MS}. A TEE that still owes an answer is not asked again
 * before it gives one, since each request that hangs can take a thread of this process with it.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { AskTee, Clock, Tracer } from "../ports.ts";

/** How long this machine's TEE may take for one piece of evidence; then whoever waits for it goes on without. */
export const ATTEST_TIMEOUT_MS = 60_000;
/** Most requests for evidence that wait for this machine's TEE, and as many for the node's own attestation; more are refused. */
export const WAITING_ATTESTATIONS_MAX = 128;

/** What it is made of. */
export interface EvidenceMakerParts {
  readonly askTee: AskTee;
  readonly clock: Pick<Clock, "after">;
  readonly tracer: Tracer;
}

/** Takes evidence, or why there is none (`AttestationFailed`). */
export type TakeEvidence = (outcome: Bytes | CocoError) => void;

interface Wanted {
  readonly reportData: Bytes;
  readonly take: TakeEvidence;
}

/** How a request for evidence waits. */
export interface EvidenceOptions {
  /** It comes before those that are not; for the node's own attestation. */
  readonly first?: boolean;
}

/** See the module's header. */
export class EvidenceMaker {
  readonly #parts: EvidenceMakerParts;
  #first: Wanted[] = [];
  #others: Wanted[] = [];
  #lastWasFirst = false;
  /** What the TEE works on; nobody waits for it any more once `wanted` is undefined. */
  #asked: { wanted: Wanted | undefined; readonly cancelTimer: () => void } | undefined;
  #isSilent = false;
  #closed = false;

  constructor(parts: EvidenceMakerParts) {
    this.#parts = parts;
  }

  /** Has evidence made; `take` may come inside this call where there will be none. The result cancels: nobody is told. */
  make(reportData: Bytes, take: TakeEvidence, { first = false }: EvidenceOptions = {}): () => void {
    const wanted = { reportData, take };
    const lane = first ? this.#first : this.#others;
    if (this.#closed) return () => undefined;
    if (this.#isSilent) take(silent());
    else if (lane.length >= WAITING_ATTESTATIONS_MAX)
      take(new CocoError("AttestationFailed", "too much waits for this machine's TEE"));
    else lane.push(wanted);
    this.#next();
    return () => this.#cancel(wanted);
  }

  /** Nobody is told anything any more. */
  close(): void {
    this.#closed = true;
    this.#first = [];
    this.#others = [];
    this.#asked?.cancelTimer();
    this.#asked = undefined;
  }

  #cancel(wanted: Wanted): void {
    this.#first = this.#first.filter((waiting) => waiting !== wanted);
    this.#others = this.#others.filter((waiting) => waiting !== wanted);
    if (this.#asked?.wanted === wanted) this.#asked.wanted = undefined;
  }

  #next(): void {
    if (this.#asked !== undefined || this.#closed) return;
    this.#lastWasFirst = this.#first.length > 0 && !(this.#lastWasFirst && this.#others.length > 0);
    const wanted = (this.#lastWasFirst ? this.#first : this.#others).shift();
    if (wanted === undefined) return;
    const { askTee, clock } = this.#parts;
    const asked = { wanted, cancelTimer: clock.after(ATTEST_TIMEOUT_MS, () => this.#tooLate()) };
    this.#asked = asked;
    askTee(wanted.reportData, (outcome) => {
      if (this.#asked === asked) this.#answered(outcome);
    });
  }

  #answered(outcome: Bytes | CocoError): void {
    const asked = this.#asked;
    asked?.cancelTimer();
    this.#asked = undefined;
    if (this.#isSilent) this.#parts.tracer.event("info", "tee_answers", {});
    this.#isSilent = false;
    asked?.wanted?.take(outcome);
    this.#next();
  }

  /** The TEE owes an answer: nobody waits for it any more. */
  #tooLate(): void {
    this.#isSilent = true;
    const error = silent();
    this.#parts.tracer.event("error", "tee_silent", { message: error.message });
    const left = [this.#asked?.wanted, ...this.#first, ...this.#others];
    if (this.#asked !== undefined) this.#asked.wanted = undefined;
    this.#first = [];
    this.#others = [];
    for (const wanted of left) wanted?.take(error);
  }
}

function silent(): CocoError {
  return new CocoError("AttestationFailed", `this machine's TEE did not answer in ${ATTEST_TIMEOUT_MS} ms`);
}
