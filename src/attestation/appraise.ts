/**
 * Appraisal (RFC 9334 section 8.4): whether the code and TEE manifests of the constitution allow what evidence claims.
 * The result depends on nothing but its arguments, so every validating node comes to the same one.
 */
import { bytesEqual } from "../core/codec/bytes.ts";
import { isInForce, type Constitution, type InForce } from "../core/governance/constitution.ts";
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

/**
 * Appraises claims against the manifests of a constitution.
 * @param nowMs the ledger's clock: entries count while they are in force; undefined: entries count whatever their dates
 */
export function appraise(
  claims: Claims,
  constitution: Pick<Constitution, "codeManifest" | "teeManifest">,
  nowMs: number | undefined,
): Appraisal {
  const reasons: AppraisalReason[] = [];
  const counts = (entry: InForce): boolean => nowMs === undefined || isInForce(entry, nowMs);
  const machine = constitution.teeManifest.find(
    (entry) => entry.tee === claims.tee && bytesEqual(entry.machineKey, claims.machineKey),
  );
  if (machine === undefined || !counts(machine)) {
    const [reason, what] =
      machine === undefined
        ? (["TeeNotListed", "the TEE manifest does not list the machine"] as const)
        : (["TeeNotInForce", "the machine is listed, and not in force"] as const);
    reasons.push({ code: "EvidenceRejected", reason, message: what });
  }
  const code = constitution.codeManifest.find(({ measurement }) => measurement === claims.measurement);
  if (code === undefined || !counts(code)) {
    const [reason, what] =
      code === undefined
        ? (["MeasurementNotListed", "the code manifest does not list the measurement"] as const)
        : (["MeasurementNotInForce", "the code manifest lists, but not as in force, the measurement"] as const);
    reasons.push({ code: "CodeNotApproved", reason, message: `${what} ${claims.measurement}` });
  }
  return { accepted: reasons.length === 0, reasons };
}

/** Throws the first reason of an appraisal that was not accepted. */
export function requireAccepted(appraisal: Appraisal): void {
  const [first] = appraisal.reasons;
  if (first !== undefined) throw new CocoError(first.code, first.message, { reason: first.reason });
}
