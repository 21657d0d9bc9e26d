/**
 * What of the code and TEE manifests no node can meet: such entries hold, and are useless, mostly by a mistake. Told to those who
 * make or read a constitution; nothing is refused for it, since a later vote may complete what is missing.
 */
import { dateInWords } from "./certificate-words.ts";
import type { Constitution } from "./constitution.ts";
import { TEE_NAMES, type CodeEntry, type InForce, type TeeEntry, type TeeName } from "./manifest-entries.ts";
import type { DcapPolicy } from "./policy-dcap.ts";
import type { VsmPolicy } from "./policy-vsm.ts";
import { TEE_TITLES } from "./tee-policy-words.ts";

type Manifests = Pick<Constitution, "codeManifest" | "teeManifest">;

/** Notes on entries that no node can meet from a time on, in milliseconds since 1970; none when each of them can be met. */
export function manifestNotes({ codeManifest, teeManifest }: Manifests, nowMs: number): readonly string[] {
  return [
    ...teeManifest.flatMap((entry) => endedNote(teeName(entry), entry, nowMs)),
    ...codeManifest.flatMap((entry) => endedNote(codeName(entry), entry, nowMs)),
    ...teeManifest.flatMap((entry) => policyNote(entry)),
    ...TEE_NAMES.flatMap((tee) =>
      teeNotes(
        tee,
        teeManifest.filter((entry) => entry.tee === tee),
        codeManifest.filter((code) => (code.reference?.tee ?? "virtual") === tee),
        nowMs,
      ),
    ),
  ];
}

function titleOf(tee: TeeName): string {
  return tee === "virtual" ? "the virtual TEE" : TEE_TITLES[tee];
}

function teeName(entry: TeeEntry): string {
  return entry.tee === "virtual" ? `the machine ${entry.note}` : `the entry ${entry.id} of ${TEE_TITLES[entry.tee]}`;
}

function codeName({ name, version, measurement }: CodeEntry): string {
  return `code ${name} ${version} (${measurement.slice(0, 16)}…)`;
}

function endedNote(name: string, { inForceUntil }: InForce, nowMs: number): readonly string[] {
  if (inForceUntil === undefined || inForceUntil > nowMs) return [];
  return [`${name} ended on ${dateInWords(inForceUntil)}: retire it, or approve it anew`];
}

/** What is approved of one TEE, and what code it measures, need each other, and at the same time. */
function teeNotes(
  tee: TeeName,
  entries: readonly TeeEntry[],
  codes: readonly CodeEntry[],
  nowMs: number,
): readonly string[] {
  if (entries.length > 0 && codes.length === 0) {
    const missing =
      tee === "virtual" ? "no code is listed without reference values" : `no code has reference values of ${tee}`;
    return entries.map(
      (entry) =>
        `${teeName(entry)} can be met by no node: ${missing}; approve the measurement that ${titleOf(tee)} makes`,
    );
  }
  if (entries.length === 0)
    return codes.map((code) => {
      const what = tee === "virtual" ? "machine of the virtual TEE" : `entry for ${tee}`;
      return `${codeName(code)} can be run by no node: the TEE manifest has no ${what}`;
    });
  return [
    ...lonely(entries, codes, nowMs).map((entry) => `${teeName(entry)} is in force only when no code of ${tee} is`),
    ...lonely(codes, entries, nowMs).map((code) => `${codeName(code)} is in force only when no TEE entry of ${tee} is`),
  ];
}

/** Entries that count some time from now on, and never together with one of the others. */
function lonely<Entry extends InForce>(
  entries: readonly Entry[],
  others: readonly InForce[],
  nowMs: number,
): readonly Entry[] {
  return entries.filter((entry) => meets(entry, {}, nowMs) && !others.some((other) => meets(entry, other, nowMs)));
}

function meets(left: InForce, right: InForce, nowMs: number): boolean {
  const from = Math.max(left.inForceFrom ?? 0, right.inForceFrom ?? 0, nowMs);
  return from < Math.min(left.inForceUntil ?? Infinity, right.inForceUntil ?? Infinity);
}

/** A policy that accepts nothing: some list is there, and empty. */
function policyNote(entry: TeeEntry): readonly string[] {
  const empty =
    entry.tee === "sgx" || entry.tee === "tdx"
      ? emptyOfDcap(entry.tee, entry.policy)
      : entry.tee === "vsm"
        ? emptyOfVsm(entry.policy)
        : undefined;
  return empty === undefined ? [] : [`${teeName(entry)} accepts nothing: ${empty}`];
}

function emptyOfDcap(tee: "sgx" | "tdx", policy: DcapPolicy): string | undefined {
  const narrowing = tee === "sgx" ? (["statuses", "enclaves"] as const) : (["statuses", "moduleMeasurements"] as const);
  const empty = narrowing.find((name) => policy[name]?.length === 0);
  return empty && `its policy names no ${empty}; leave the field out, or fill it`;
}

/** A token names no unique image of a VBS enclave, so the policy must name author and image. */
function emptyOfVsm(policy: VsmPolicy): string | undefined {
  if (policy.format !== "maa-jwt" || policy.attestationTypes.some((type) => type !== "vbs")) return undefined;
  const isNamed = policy.authorIds.length > 0 && policy.imageIds.length > 0;
  return isNamed ? undefined : "of tokens about VBS enclaves its policy must name authorIds and imageIds";
}
