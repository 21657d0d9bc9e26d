/** The appraisal policy of `coco attest verify`: the strict one, or that of a file, opened further by names. */
import {
  STRICT_SNP_POLICY,
  SNP_ALLOWANCES,
  allowingSnp,
  readSnpPolicy,
  type SnpPolicy,
} from "../../core/governance/policy-snp.ts";
import {
  allowingDcap,
  DCAP_ALLOWANCES,
  type DcapPolicy,
  readDcapPolicy,
  TCB_STATUSES,
} from "../../core/governance/policy-dcap.ts";
import { readDocument, type FieldContext } from "../../core/governance/fields.ts";
import { CocoError, invariant } from "../../errors.ts";
import { readVsmPolicy, type VsmPolicy } from "../../core/governance/policy-vsm.ts";
import type { TeeName } from "./inputs.ts";

/** The policy of each kind of evidence. */
export interface Policies {
  readonly snp: SnpPolicy;
  /** Whether no file says what counts. */
  readonly isUsual: boolean;
  readonly dcap: DcapPolicy;
  /** Undefined: nobody is trusted. */
  readonly vsm?: VsmPolicy;
  /** Whether enclaves and machines that may be debugged count, where no policy of VSM says it. */
  readonly allowDebug: boolean;
}

/** Names that `--allow` knows, of all TEEs. */
export const ALLOWANCE_NAMES: readonly string[] = [...SNP_ALLOWANCES, ...DCAP_ALLOWANCES, ...TCB_STATUSES];

/**
 * The policies that judge evidence of a TEE.
 * @param document the policy file's JSON; undefined: the strict policy
 * @param allowed names of {@link ALLOWANCE_NAMES}, in any case
 */
export function policiesFor(
  tee: TeeName | "virtual",
  document: unknown,
  allowed: readonly string[],
  file: string | undefined,
): Policies {
  const names = allowed.map(knownName);
  const useless = names.filter((name) => !namesOf(tee).includes(name));
  if (useless.length > 0)
    throw new CocoError("WrongUsage", `--allow ${useless.join(",")}: nothing that evidence of ${tee} can be allowed`);
  const context: FieldContext = {
    form: "json",
    code: "ConfigurationInvalid",
    ...(file !== undefined && { data: { file } }),
  };
  const isDcap = tee === "sgx" || tee === "tdx";
  const isSnp = tee === "snp" || tee === "uvm";
  const snp = isSnp && document !== undefined ? readDocument(document, context, readSnpPolicy) : STRICT_SNP_POLICY;
  const dcap = isDcap && document !== undefined ? readDocument(document, context, readDcapPolicy) : {};
  const isVsm = tee === "vsm" || tee === "maa";
  const vsm = isVsm && document !== undefined ? readDocument(document, context, readVsmPolicy) : undefined;
  const allowDebug = names.includes("debug");
  return {
    isUsual: document === undefined,
    allowDebug,
    ...(vsm !== undefined && { vsm: allowDebug ? { ...vsm, allowDebug } : vsm }),
    snp: opened(allowingSnp, snp, names, SNP_ALLOWANCES),
    dcap: opened(allowingDcap, dcap, names, DCAP_NAMES),
  };
}

const DCAP_NAMES: readonly string[] = [...DCAP_ALLOWANCES, ...TCB_STATUSES];

/** The names that are of use to a TEE. */
function namesOf(tee: TeeName | "virtual"): readonly string[] {
  switch (tee) {
    case "snp":
      return SNP_ALLOWANCES;
    case "sgx":
    case "tdx":
      return DCAP_NAMES;
    case "vsm":
    case "maa":
      return ["debug"];
    case "uvm":
    case "virtual":
      return [];
  }
}

function opened<P>(
  allowing: (policy: P, names: readonly string[]) => P | undefined,
  policy: P,
  names: readonly string[],
  known: readonly string[],
): P {
  const open = allowing(
    policy,
    names.filter((name) => known.includes(name)),
  );
  invariant(open !== undefined, "names were looked up");
  return open;
}

function knownName(name: string): string {
  const known = ALLOWANCE_NAMES.find((candidate) => candidate.toLowerCase() === name.trim().toLowerCase());
  if (known === undefined || known === "Revoked")
    throw new CocoError(
      "WrongUsage",
      `--allow ${name}: expected some of ${ALLOWANCE_NAMES.filter((each) => each !== "Revoked").join(", ")}`,
    );
  return known;
}
