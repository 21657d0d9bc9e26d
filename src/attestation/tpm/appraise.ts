/**
 * Appraisal of the registers of a virtual TPM. The SNP report behind it measures the firmware alone, what that started stands in
 * the registers: so a policy that names none accepts no evidence of this form, and one that names some accepts no other form.
 */
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import type { Check } from "../checks.ts";

const NAME = "values of the registers";

/**
 * Judges what a quote says of the registers.
 * @param found undefined: the evidence comes through no TPM
 * @param isAnyGood whether registers that the policy names nothing of may hold anything
 */
export function appraiseRegisters(
  found: PcrValues | undefined,
  wanted: PcrValues | undefined,
  isAnyGood = false,
): readonly Check[] {
  if (wanted === undefined) {
    if (found === undefined) return [];
    if (isAnyGood)
      return [{ name: NAME, outcome: "skipped", detail: "none are expected: what was booted is not judged" }];
    return [missing("the policy names none, and the report measures the firmware alone")];
  }
  if (found === undefined) return [missing("the evidence carries no quote of a TPM")];
  return Object.entries(wanted).map(([at, value]): Check => {
    const [name, held] = [`register ${at}`, found[Number(at)]];
    if (held === value) return { name, outcome: "passed" };
    return { name, outcome: "failed", code: "MeasurementMismatch", detail: held ?? "the quote does not cover it" };
  });
}

function missing(detail: string): Check {
  return { name: NAME, outcome: "failed", code: "RegistersMissing", detail };
}
