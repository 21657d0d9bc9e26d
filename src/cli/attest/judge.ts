/** What `coco attest verify` finds out: verification and appraisal of one piece of evidence, offline, in one result. */
import type { Check, Verification } from "../../attestation/checks.ts";
import { Checks, isAccepted, reasonsOf } from "../../attestation/checks.ts";
import { appraiseDcap } from "../../attestation/dcap/appraise.ts";
import { INTEL_SGX_ROOT } from "../../attestation/dcap/chains.ts";
import type { DcapClaims } from "../../attestation/dcap/claims.ts";
import { type DcapEvidence, verifyDcap } from "../../attestation/dcap/verify.ts";
import type { Endorsement, EndorsementKind, HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { appraiseMaa } from "../../attestation/maa/appraise.ts";
import { pinnedKeys, readKeySet, type TokenKey } from "../../attestation/maa/keys.ts";
import { type MaaClaims, verifyMaa } from "../../attestation/maa/verify.ts";
import { readCertificates } from "../../attestation/snp/certificates.ts";
import { judgeSnpEvidence, type SnpEvidenceClaims } from "../../attestation/snp/evidence.ts";
import { createAmdRoots } from "../../attestation/snp/roots.ts";
import { appraiseRegisters } from "../../attestation/tpm/appraise.ts";
import { encodeTpmQuote, parseAzureVtpmJson } from "../../attestation/tpm/azure-vtpm-codec.ts";
import { appraiseUvm, MICROSOFT_UVM_ISSUERS } from "../../attestation/uvm/appraise.ts";
import { verifyUvm } from "../../attestation/uvm/verify.ts";
import { appraiseVbs } from "../../attestation/vsm/appraise.ts";
import { verifyVbs } from "../../attestation/vsm/verify.ts";
import { MIN_RSA_BITS } from "../../core/certificates/algorithm.ts";
import { readOrNothing, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { parseRevocationList } from "../../core/certificates/crl.ts";
import { bytesEqual, toHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import {
  type MaaJwtPolicy,
  STRICT_VBS_POLICY,
  TOKEN_TEES,
  type VbsHgsPolicy,
} from "../../core/governance/policy-vsm.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import type { EvidenceContent } from "./content.ts";
import type { Policies } from "./policies.ts";

/** What evidence is judged with. */
export interface JudgeOptions {
  readonly nowMs: number;
  readonly policies: Policies;
  /** What must be in the evidence, lower-case hex. */
  readonly expected: {
    readonly measurement?: string;
    readonly reportData?: string;
    readonly nonce?: Bytes;
    readonly pcrs?: PcrValues;
    /** Of the virtual TEE: the machines that count. */
    readonly machineKeys?: readonly string[];
  };
}

/** A claim: of one word, or a record of such. */
export type ClaimValue = string | number | boolean | readonly ClaimValue[] | { readonly [name: string]: ClaimValue };

/** The result, as `--json` prints it, and the checks that led to it. */
export interface Judgement {
  readonly tee: string;
  readonly verdict: "accept" | "reject" | "error";
  readonly reasons: readonly string[];
  readonly tcbStatus?: string;
  readonly claims: Readonly<Record<string, ClaimValue>>;
  readonly checks: readonly Check[];
  /** Why the evidence could not be read. */
  readonly error?: string;
}

const crypto = createAttestationCrypto();
const REPORT_DATA_HALF = 64;

/** Judges evidence; what cannot be read is the verdict `error`. */
export function judgeEvidence(content: EvidenceContent, options: JudgeOptions): Judgement {
  return judgementOf(content.tee, options, () => verificationOf(content, options), content);
}

/** Judges what a verification finds, and what is expected beside it; what cannot be read is the verdict `error`. */
export function judgementOf(
  tee: string,
  options: JudgeOptions,
  verify: () => Verification<object>,
  beside: Pick<EvidenceContent, "runtimeData"> = {},
): Judgement {
  try {
    const { claims, checks } = verify();
    const plain = plainClaims(claims);
    const all = [...checks, ...expectations(plain, beside, options)];
    const { tee: found, tcbStatus, ...rest } = plain;
    return {
      // A quote may be of another TEE than was said.
      tee: found === "sgx" || found === "tdx" ? found : tee,
      verdict: isAccepted(all) ? "accept" : "reject",
      reasons: reasonsOf(all),
      ...(typeof tcbStatus === "string" && { tcbStatus }),
      claims: rest,
      checks: all,
    };
  } catch (error) {
    if (!(error instanceof CocoError) || !UNREADABLE.includes(error.code)) throw error;
    const reason = String(error.data["reason"] ?? "Malformed");
    return { tee, verdict: "error", reasons: [reason], claims: {}, checks: [], error: error.message };
  }
}

const UNREADABLE: readonly string[] = ["EvidenceRejected", "MalformedInput", "LimitExceeded"];

function verificationOf(content: EvidenceContent, options: JudgeOptions): Verification<object> {
  const { policies } = options;
  switch (content.tee) {
    case "snp":
      return judgeSnp(content, options);
    case "sgx":
    case "tdx": {
      const { collateral } = content;
      return judgeDcap(content.tee, { quote: required(content, "quote"), ...(collateral && { collateral }) }, options);
    }
    case "uvm": {
      const { claims, checks } = verifyUvm(required(content, "uvm"), crypto);
      const issuers = uvmIssuers(policies);
      const standard: Check = {
        name: "issuers",
        outcome: "skipped",
        detail: "the policy names none: Microsoft's count",
      };
      const given = policies.snp.uvm.length > 0 ? [] : [standard];
      return { claims, checks: [...checks, ...given, ...appraiseUvm(claims, issuers)] };
    }
    case "vsm":
      return judgeVbs(content, options);
    case "maa":
      return judgeMaa(content, options);
  }
}

/** A quote by the policy; what it is of is its own to say. */
export function judgeDcap(
  tee: "sgx" | "tdx",
  evidence: DcapEvidence,
  { nowMs, policies }: JudgeOptions,
): Verification<DcapClaims> {
  const { claims, checks } = verifyDcap(evidence, { roots: [INTEL_SGX_ROOT], nowMs }, crypto);
  const detail = `the quote is of ${claims.tee}`;
  const kind: Check =
    claims.tee === tee
      ? { name: "TEE", outcome: "passed" }
      : { name: "TEE", outcome: "failed", code: "ProductNotAllowed", detail };
  return { claims, checks: [kind, ...checks, ...appraiseDcap(claims, policies.dcap)] };
}

/** An endorsement of a utility VM says nothing unless its issuer counts: by the policy, or else Azure's. */
function uvmIssuers({ snp }: Policies) {
  return snp.uvm.length > 0 ? snp.uvm : MICROSOFT_UVM_ISSUERS;
}

/**
 * The report of a VBS enclave with its health certificate and what leads to a root, in any order: the health certificate is the first
 * that is no CA.
 */
function judgeVbs(content: EvidenceContent, { nowMs, policies }: JudgeOptions): Verification<object> {
  const policy = vbsPolicy(policies);
  const report = required(content, "report");
  const readable = new Checks();
  const certificates = content.certs.flatMap(
    (container) => readable.readable("certificates", () => readCertificates(container)) ?? [],
  );
  const healthCertificate = certificates.find((der) => tryParseCertificate(der)?.isCa !== true) ?? certificates[0];
  const intermediates = certificates.filter((der) => der !== healthCertificate);
  const evidence = { report, ...(healthCertificate && { healthCertificate }), intermediates };
  const { claims, checks } = verifyVbs(evidence, { roots: policy.roots, nowMs }, crypto);
  return { claims, checks: [...readable.list, ...checks, ...appraiseVbs(claims, policy)] };
}

/** What counts of reports of VBS enclaves: without a policy nobody is trusted. */
export function vbsPolicy({ vsm, allowDebug }: Policies): VbsHgsPolicy {
  if (vsm === undefined) return { ...STRICT_VBS_POLICY, allowDebug };
  if (vsm.format !== "vbs-hgs")
    throw new CocoError("WrongUsage", "the policy is for tokens: a report needs one of the format vbs-hgs");
  return vsm;
}

function judgeMaa(content: EvidenceContent, options: JudgeOptions): Verification<object> {
  return judgeToken(utf8Decode(required(content, "token")).trim(), content.jwks, options);
}

/** The keys a policy pins; of those that were given beside it only the ones that it pins, too. */
function keysOfPolicy({ keys }: MaaJwtPolicy, jwks: Bytes | undefined): readonly TokenKey[] {
  const pinned = pinnedKeys(keys);
  if (jwks === undefined) return pinned;
  const given = readOrNothing(() => readKeySet(jwks)) ?? [];
  return pinned.filter(({ publicKey }) => given.some((key) => bytesEqual(key.publicKey, publicKey)));
}

/** A token by the policy, or else by the keys that were given; without either no key counts. */
export function judgeToken(
  token: string,
  jwks: Bytes | undefined,
  { nowMs, policies }: JudgeOptions,
): Verification<MaaClaims> {
  const { vsm } = policies;
  if (vsm !== undefined && vsm.format !== "maa-jwt")
    throw new CocoError("WrongUsage", "the policy is for reports: a token needs one of the format maa-jwt");
  const evidence = { token, ...(jwks !== undefined && { jwks }) };
  const pinned = vsm === undefined ? {} : { keys: keysOfPolicy(vsm, jwks) };
  const { claims, checks } = verifyMaa(evidence, { nowMs, ...pinned }, crypto);
  if (vsm !== undefined) return { claims, checks: [...checks, ...appraiseMaa(claims, vsm)] };
  const appraised = appraiseMaa(claims, policyOfToken(claims, policies)).map(
    (check): Check =>
      check.outcome !== "skipped" && NEEDS_A_POLICY.includes(check.name)
        ? { name: check.name, outcome: "skipped", detail: "no policy names it: the keys that were given are trusted" }
        : check,
  );
  return { claims, checks: [...checks, ...appraised] };
}

/** What only a policy can say of a token. */
const NEEDS_A_POLICY: readonly string[] = ["issuer", "pinned key", "policy"];

/** Without a policy the keys that were given count, whoever issued the token and under whichever rules. */
function policyOfToken({ issuer = "", policyHash = "" }: MaaClaims, { allowDebug }: Policies): MaaJwtPolicy {
  const { roots: _, uniqueIds: __, minimumSecureKernelSvn: ___, ...enclaves } = STRICT_VBS_POLICY;
  return {
    ...enclaves,
    allowDebug,
    format: "maa-jwt",
    issuer,
    keys: [],
    policyHash,
    hostData: [],
    attestationTypes: TOKEN_TEES,
    minimumKeyBits: MIN_RSA_BITS,
  };
}

function judgeSnp(content: EvidenceContent, options: JudgeOptions): Verification<object> {
  const endorsements: Endorsement[] = content.certs.map((bytes) => ({ kind: "certificates", content: bytes }));
  const lists = new Checks();
  for (const list of content.crl) {
    endorsements.push({ kind: "revocations", content: list });
    // It may be the one that revokes: beside another, which is current, nobody would miss it.
    if (readOrNothing(() => parseRevocationList(list)) === undefined)
      lists.require("list of revoked certificates", false, "Malformed", "one that was given cannot be read");
  }
  const add = (kind: EndorsementKind, bytes: Bytes | undefined) => {
    if (bytes !== undefined) endorsements.push({ kind, content: bytes });
  };
  // Of an Azure machine the report is inside of what its TPM holds.
  const machine = content.vtpm && parseAzureVtpmJson(content.vtpm);
  add("tpm-quote", machine && encodeTpmQuote(machine.quote));
  for (const certificate of machine?.certificates ?? []) add("certificates", certificate);
  add("uvm-endorsements", content.uvm);
  add("host-policy", content.securityPolicy);
  const report = machine?.hclReport ?? required(content, "report");
  const { policies } = options;
  const uvm = content.uvm === undefined ? policies.snp.uvm : uvmIssuers(policies);
  const evidence = { tee: "snp", evidence: report, endorsements } as const;
  const { claims, checks } = judgeSnpWhole(evidence, options, { ...policies.snp, uvm });
  return { claims, checks: [...lists.list, ...checks] };
}

/** SNP evidence with all that goes with it, by the policy, and by the registers that are expected beside it. */
export function judgeSnpWhole(
  evidence: HardwareEvidence,
  { nowMs, policies, expected: { nonce, pcrs = {} } }: JudgeOptions,
  policy = policies.snp,
): Verification<SnpEvidenceClaims> {
  const asked = Object.keys(pcrs).length > 0;
  const judgement = {
    ...{ roots: createAmdRoots(), nowMs, anyRegisters: policies.isUsual },
    ...(nonce !== undefined && { nonce }),
  };
  if (asked && policies.isUsual) return judgeSnpEvidence(evidence, { ...policy, pcrs }, judgement, crypto);
  const { claims, checks } = judgeSnpEvidence(evidence, policy, judgement, crypto);
  return { claims, checks: asked ? [...checks, ...appraiseRegisters(claims.tpm?.pcrs, pcrs)] : checks };
}

function required(content: EvidenceContent, part: "report" | "quote" | "uvm" | "token"): Bytes {
  const bytes = content[part];
  if (bytes === undefined) throw new CocoError("WrongUsage", `evidence of ${content.tee} needs --${part} FILE`);
  return bytes;
}

/** Checks of what the caller expects beside the policy. */
function expectations(
  claims: Judgement["claims"],
  { runtimeData }: Pick<EvidenceContent, "runtimeData">,
  { expected }: JudgeOptions,
) {
  const checks: Check[] = [];
  const expect = (name: string, holds: boolean, code: "MeasurementMismatch" | "ReportDataMismatch", detail: string) =>
    checks.push(holds ? { name, outcome: "passed" } : { name, outcome: "failed", code, detail });
  const { measurement, reportData } = claims;
  if (expected.measurement !== undefined) {
    const isExpected = measurement === expected.measurement;
    expect("expected measurement", isExpected, "MeasurementMismatch", `found ${String(measurement)}`);
  }
  if (expected.reportData !== undefined) {
    const isExpected = reportData === expected.reportData;
    expect("expected report data", isExpected, "ReportDataMismatch", `found ${String(reportData)}`);
  }
  if (runtimeData !== undefined) {
    const bound = toHex(crypto.digest("sha256", runtimeData)).padEnd(2 * REPORT_DATA_HALF, "0");
    expect("runtime data", reportData === bound, "ReportDataMismatch", `found ${String(reportData)}`);
  }
  return checks;
}

/** Claims as JSON has them: byte strings in lower-case hex. */
function plainClaims(claims: object): Record<string, ClaimValue> {
  const plain = Object.entries(claims).map(([name, value]) => [name, plainValue(value)] as const);
  return Object.fromEntries(plain.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function plainValue(value: unknown): ClaimValue | undefined {
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(plainValue).filter((entry) => entry !== undefined);
  if (typeof value === "object" && value !== null) return plainClaims(value);
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : undefined;
}
