/**
 * What checking evidence of hardware finds out, in the words of RATS (RFC 9334).
 *
 * Verification (is this genuine?) and appraisal (do we accept what it says?) are separate functions. Both give lists of
 * checks, each with its outcome, so that a person sees why evidence is trusted or not. The Attestation Result is a
 * deterministic function of Evidence, Endorsements, Appraisal Policy and time: nothing else goes in.
 */
import type { SignatureHash, VerifySignature } from "../core/certificates/algorithm.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";
import type { ReasonCode } from "./reasons.ts";

/** Cryptography that verifiers are handed: synchronous, without state, the same answers everywhere. */
export interface AttestationCrypto {
  readonly digest: (hash: SignatureHash, data: Bytes) => Bytes;
  /** ECDSA signatures are DER; raw ones are turned by `ecdsaSignature` of raw-keys.ts. */
  readonly verify: VerifySignature;
}

/** One thing that was looked at. */
export type Check =
  | { readonly name: string; readonly outcome: "passed"; readonly detail?: string }
  /** Evidence does not call for it. */
  | { readonly name: string; readonly outcome: "skipped"; readonly detail: string }
  | { readonly name: string; readonly outcome: "failed"; readonly code: ReasonCode; readonly detail: string };

/** Evidence that could be read: what it claims, and what was checked of it. Claims count only if no check failed. */
export interface Verification<C> {
  readonly claims: C;
  readonly checks: readonly Check[];
}

/** Whether no check failed. */
export function isAccepted(checks: readonly Check[]): boolean {
  return checks.every(({ outcome }) => outcome !== "failed");
}

/** The codes of the checks that failed, each once, in order. */
export function reasonsOf(checks: readonly Check[]): readonly ReasonCode[] {
  return [...new Set(checks.flatMap((check) => (check.outcome === "failed" ? [check.code] : [])))];
}

/** Collects checks in the order in which they are made. */
export class Checks {
  readonly #checks: Check[] = [];

  /** What was checked so far. */
  get list(): readonly Check[] {
    return this.#checks;
  }

  /** Notes whether a condition holds; `detail` is for people, and says what was found when it does not. */
  require(name: string, holds: boolean, code: ReasonCode, detail: string): boolean {
    this.#checks.push(holds ? { name, outcome: "passed" } : { name, outcome: "failed", code, detail });
    return holds;
  }

  /** Notes that something was not called for. */
  skip(name: string, detail: string): void {
    this.#checks.push({ name, outcome: "skipped", detail });
  }

  /** What a part of evidence holds; one that cannot be read is a failed check, and undefined. */
  readable<T>(name: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
      this.require(name, false, "Malformed", error.message);
      return undefined;
    }
  }

  /** Takes over the checks of a part. */
  add(checks: readonly Check[]): void {
    this.#checks.push(...checks);
  }
}
