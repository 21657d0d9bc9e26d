/**
 * Appraisal (RFC 9334 section 8.4): whether the code and TEE manifests of the constitution allow what evidence claims.
 * The result depends on nothing but its arguments, so every validating node comes to the same one.
 */
import { bytesEqual } from "../core/codec/bytes.ts";
import type { Constitution } from "../core/governance/constitution.ts";
import { CocoError, type ErrorCode } from "../errors.ts";
import type { Claims, EvidenceRejection } from "./evidence.ts";

/** One reason against accepting claims. */
export interface AppraisalReason {
  readonly code: Extract<ErrorCode, "CodeNotApproved" | "EvidenceRejected">;
  readonly reason: EvidenceRejection;
  readonly message: string;
}

/** The result of an appraisal; accepted when there is no reason against it. */
export interface Appraisal {
  readonly accepted: boolean;
  readonly reasons: readonly AppraisalReason[];
}

/** Appraises claims against the manifests of a constitution. */
export function appraise(claims: Claims, constitution: Constitution): Appraisal {
  const reasons: AppraisalReason[] = [];
  if (
    !constitution.teeManifest.some(
      (entry) => entry.tee === claims.tee && bytesEqual(entry.machineKey, claims.machineKey),
    )
  ) {
    reasons.push({
      code: "EvidenceRejected",
      reason: "TeeNotListed",
      message: "the TEE manifest does not list the machine",
    });
  }
  if (!constitution.codeManifest.some((code) => code.measurement === claims.measurement)) {
    const message = `the code manifest does not list the measurement ${claims.measurement}`;
    reasons.push({ code: "CodeNotApproved", reason: "MeasurementNotListed", message });
  }
  return { accepted: reasons.length === 0, reasons };
}

/** Throws the first reason of an appraisal that was not accepted. */
export function requireAccepted(appraisal: Appraisal): void {
  const [first] = appraisal.reasons;
  if (first !== undefined) throw new CocoError(first.code, first.message, { reason: first.reason });
}
