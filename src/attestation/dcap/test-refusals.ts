/** Test support: what verification and appraisal say of evidence made by test/support/intel-platform.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  makeEvidence,
  QUOTE_FORMS,
  type PlatformChanges,
  type QuoteForm,
  type TestEvidence,
} from "../../../test/support/intel-platform.ts";
import type { DcapPolicy } from "../../core/governance/policy-dcap.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { reasonsOf, type Check, type Verification } from "../checks.ts";
import type { ReasonCode } from "../reasons.ts";
import { appraiseDcap } from "./appraise.ts";
import type { DcapClaims } from "./claims.ts";
import { verifyDcap, type DcapOptions } from "./verify.ts";

export const crypto = createAttestationCrypto();

export function verified(evidence: TestEvidence, options: Partial<DcapOptions> = {}): Verification<DcapClaims> {
  const { roots, nowMs } = evidence;
  return verifyDcap(evidence, { roots, nowMs, ...options }, crypto);
}

/** The names of the checks that failed. */
export function failedNames(checks: readonly Check[]): readonly string[] {
  return checks.filter(({ outcome }) => outcome === "failed").map(({ name }) => name);
}

/** The codes of all checks that failed, of verification and appraisal. */
export function refusals(
  changes: PlatformChanges,
  policy: DcapPolicy = {},
  options: Partial<DcapOptions> = {},
): readonly ReasonCode[] {
  const { claims, checks } = verified(makeEvidence(changes), options);
  return reasonsOf([...checks, ...appraiseDcap(claims, policy)]);
}

/** One test per form of quote: with these changes it is refused for exactly these reasons. */
export function refusedInEachForm(
  name: string,
  changes: PlatformChanges | ((form: QuoteForm) => PlatformChanges),
  codes: readonly ReasonCode[],
  forms: readonly QuoteForm[] = QUOTE_FORMS,
): void {
  for (const form of forms) {
    test(`${form}: ${name}`, () => {
      const of = typeof changes === "function" ? changes(form) : changes;
      assert.deepEqual([...refusals({ form, ...of })].sort(), [...codes].sort());
    });
  }
}

export const SGX_FORMS: readonly QuoteForm[] = QUOTE_FORMS.filter((form) => form.startsWith("sgx"));
export const TDX_FORMS: readonly QuoteForm[] = QUOTE_FORMS.filter((form) => form.startsWith("tdx"));
