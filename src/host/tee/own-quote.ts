/** What a machine hands out as a quote is verified by the attester itself, as others will, before it leaves the machine. */
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { pinnedRoots } from "../../attestation/pinned-roots.ts";
import { parseQuote, type Quote } from "../../attestation/dcap/quote.ts";
import { verifyDcap } from "../../attestation/dcap/verify.ts";
import type { HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { type Bytes, bytesEqual } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { CollateralSource } from "./intel-collateral.ts";

/** How quotes come by what endorses them, and are verified. */
export interface QuoteOptions {
  readonly collateral: CollateralSource;
  /** SHA-256 of the SubjectPublicKeyInfo of each trusted root, hex; Intel's unless given, as tests do. */
  readonly roots?: readonly string[];
  readonly nowMs?: () => number;
}

function unavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", message, {}, { cause });
}

/** Throws `TeeUnavailable` unless this is a quote of an enclave or a guest that binds the data. */
export function requireOwnQuote(bytes: Bytes, reportData: Bytes, kind: Quote["body"]["kind"]): void {
  const { body } = orUnavailable("what the machine gave is no quote", () => parseQuote(bytes));
  if (body.kind !== kind) throw unavailable(`the quote is of another kind: ${body.kind}`);
  if (!bytesEqual(body.reportData, reportData)) throw unavailable("the quote binds other data");
}

/** Evidence of a quote with its collateral; throws `TeeUnavailable` when others would refuse it, whatever their policy. */
export async function evidenceOfQuote(
  tee: "sgx" | "tdx",
  quote: Bytes,
  reportData: Bytes,
  options: QuoteOptions,
): Promise<HardwareEvidence> {
  const { roots = pinnedRoots().intel, nowMs = () => Date.now() } = options;
  const collateral = await options.collateral(quote);
  const judged = { roots, nowMs: nowMs(), expectedReportData: reportData };
  const { checks } = orUnavailable("the machine gave no quote", () =>
    verifyDcap({ quote, collateral }, judged, createAttestationCrypto()),
  );
  const failed = checks.find((check) => check.outcome === "failed");
  if (failed?.outcome === "failed") {
    // It may be the collateral's fault, which nobody has verified before: the next attempts ask for those parts again.
    await options.collateral.forget?.(quote, checks);
    throw unavailable(`others would refuse the quote (${failed.code}): ${failed.name}: ${failed.detail}`);
  }
  return { tee, evidence: quote, endorsements: [{ kind: "collateral", content: collateral }] };
}

function orUnavailable<T>(message: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    throw unavailable(message, error);
  }
}
