/**
 * Appraisal (RFC 9334 section 8.4): whether the code and TEE manifests of the constitution allow what evidence claims.
 * The result depends on nothing but its arguments, so every validating node comes to the same one.
 */
import { bytesEqual } from "../core/codec/bytes.ts";
import type { Constitution } from "../core/governance/constitution.ts";
import { CocoError, type ErrorCode } from "../errors.ts";
import { isInForce, type InForce, type ReferenceValues, type TeeEntry } from "../core/governance/manifest-entries.ts";
import {
  holderOf,
  sharingManifests,
  type Manifests,
  type RecordedMachines,
} from "../core/governance/shared-machine.ts";
import type { NodeId } from "../core/consensus/types.ts";
import { type Check, isAccepted, reasonsOf } from "./checks.ts";
import { platformOf, type Claims, type EvidenceRejection, type HardwareClaims } from "./evidence.ts";

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
  const counts = (entry: InForce): boolean => nowMs === undefined || isInForce(entry, nowMs);
  const reasons = [...teeReasons(claims, constitution, counts), ...codeReasons(claims, constitution, counts)];
  return { accepted: reasons.length === 0, reasons };
}

type Counts = (entry: InForce) => boolean;

function teeReasons(
  claims: Claims,
  { teeManifest }: Pick<Constitution, "teeManifest">,
  counts: Counts,
): readonly AppraisalReason[] {
  const against = (reason: EvidenceRejection, message: string): readonly AppraisalReason[] => [
    { code: "EvidenceRejected", reason, message },
  ];
  if (claims.tee === "virtual") {
    const machine = teeManifest.find(
      (entry) => entry.tee === "virtual" && bytesEqual(entry.machineKey, claims.machineKey),
    );
    if (machine === undefined) return against("TeeNotListed", "the TEE manifest does not list the machine");
    return counts(machine) ? [] : against("TeeNotInForce", "the machine is listed, and not in force");
  }
  const entries = teeManifest.filter((entry) => entry.tee === claims.tee);
  if (entries.length === 0) return against("TeeNotListed", `the TEE manifest lists nothing of ${claims.tee}`);
  const verdicts = entries.filter(counts).map((entry) => verdictOf(claims, entry));
  if (verdicts.length === 0) return against("TeeNotInForce", `entries for ${claims.tee} are listed, and none in force`);
  if (verdicts.some(isAccepted)) return [];
  // An entry for another form of evidence has nothing to say of what is wrong with this one.
  const told = verdicts.find((verdict) => !reasonsOf(verdict).includes("RegistersMissing")) ?? verdicts[0] ?? [];
  return told.flatMap((check) =>
    check.outcome === "failed" ? against(check.code, `${check.name}: ${check.detail}`) : [],
  );
}

/** What an entry says of claims. An entry that cannot be applied to them speaks against them, and for itself alone. */
function verdictOf(claims: HardwareClaims, entry: TeeEntry): readonly Check[] {
  if (entry.tee === "virtual") return [];
  try {
    return claims.judge(entry);
  } catch (error) {
    if (!(error instanceof CocoError) || error.code !== "EvidenceRejected") throw error;
    return [{ name: "form", outcome: "failed", code: "Malformed", detail: error.message }];
  }
}

function codeReasons(
  claims: Claims,
  { codeManifest }: Pick<Constitution, "codeManifest">,
  counts: Counts,
): readonly AppraisalReason[] {
  const { measurement } = claims;
  const listed = codeManifest.filter((code) => code.measurement === measurement);
  const matching = listed.filter((code) => matchesReference(claims, code.reference));
  if (matching.some(counts)) return [];
  const [reason, what]: readonly [EvidenceRejection, string] =
    matching.length > 0
      ? ["MeasurementNotInForce", "the code manifest lists, but not as in force, the measurement"]
      : listed.length > 0
        ? ["MeasurementMismatch", "the code manifest lists with other reference values the measurement"]
        : ["MeasurementNotListed", "the code manifest does not list the measurement"];
  return [{ code: "CodeNotApproved", reason, message: `${what} ${measurement}` }];
}

/** What an entry names of the values beside the measurement must be as the hardware measured it. */
function matchesReference(claims: Claims, reference: ReferenceValues | undefined): boolean {
  if (claims.tee === "virtual" || reference === undefined) return claims.tee === "virtual" && reference === undefined;
  const { measured } = claims;
  const fits = <T>(wanted: T | undefined, found: T): boolean => wanted === undefined || wanted === found;
  if (measured.tee === "snp" && reference.tee === "snp") return fits(reference.hostData, measured.hostData);
  if (measured.tee === "tdx" && reference.tee === "tdx")
    return reference.registers?.every((register, at) => register === measured.registers[at]) ?? true;
  if (measured.tee === "sgx" && reference.tee === "sgx")
    return (
      fits(reference.signer, measured.signer) &&
      fits(reference.productId, measured.productId) &&
      measured.version >= (reference.minVersion ?? 0)
    );
  return measured.tee === "vsm" && reference.tee === "vsm";
}

/** The other node that is recorded on a node's machine, when no entry lets that node be there too. */
export function otherOnMachine(
  claims: Claims,
  nodeId: NodeId,
  network: RecordedMachines & { readonly constitution: Manifests },
  nowMs: number | undefined,
): NodeId | undefined {
  const holder = holderOf(network, nodeId, platformOf(claims));
  const mayShare = holder === undefined || appraise(claims, sharingManifests(network.constitution), nowMs).accepted;
  return mayShare ? undefined : holder;
}

/** Throws the first reason of an appraisal that was not accepted. */
export function requireAccepted(appraisal: Appraisal): void {
  const [first] = appraisal.reasons;
  if (first !== undefined) throw new CocoError(first.code, first.message, { reason: first.reason });
}
