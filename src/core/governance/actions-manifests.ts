/** Actions on the code manifest and the TEE manifest (R7, R8): approve and retire, at once or at a date. */
import { fromHex } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import { withReplaced, type ActionContext, type ActionKind } from "./action-kind.ts";
import { mayRun } from "./attest.ts";
import { DATE_BOUNDS, readCodeIdentity, readInForce, readTeeEntry, teeEntryTree } from "./manifest-codec.ts";
import { MAX_MANIFEST_ENTRIES, type Constitution } from "./constitution.ts";
import type { FieldReader } from "./fields.ts";
import {
  codeKey,
  teeKey,
  type CodeEntry,
  type InForce,
  type ReferenceValues,
  type TeeEntry,
} from "./manifest-entries.ts";
import {
  MAX_MEASUREMENT_BYTES,
  MEASUREMENT_BYTES,
  readMeasurement,
  readReference,
  readTeeKey,
  referenceTree,
  teeKeyTree,
} from "./manifest-codec.ts";
import type { AttestedNode } from "./governance-crypto.ts";
import { refused, type Refusal } from "./refusal.ts";
import { isOneTooMany } from "./shared-machine.ts";

/** Code to be approved. */
export type ApproveCodeArgs = Omit<CodeEntry, "approvedAt" | "approval">;

/** Code to be retired: at a date, or at once. */
export interface RetireCodeArgs {
  readonly measurement: string;
  /** As the entry has them, where the manifest has several of one measurement. */
  readonly reference?: ReferenceValues;
  readonly at?: number;
}

/** An entry of the TEE manifest to be retired: at a date, or at once. */
export interface RetireTeeArgs {
  /** As `teeKey` names it. */
  readonly key: string;
  readonly at?: number;
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function checkDates({ inForceFrom = 0, inForceUntil }: InForce, nowMs: number): void {
  if (inForceUntil === undefined) return;
  if (inForceUntil <= inForceFrom)
    throw refused("DatesContradict", `it would end at ${day(inForceUntil)}, and begin at ${day(inForceFrom)}`);
  requireFuture(inForceUntil, nowMs);
}

function requireFuture(dateMs: number, nowMs: number): void {
  if (dateMs <= nowMs) throw refused("DateInPast", `${day(dateMs)} is past: the ledger's clock is at ${day(nowMs)}`);
}

const APPROVE_CODE: ActionKind<ApproveCodeArgs> = {
  read: (fields) => ({ ...readCodeIdentity(fields), ...readInForce(fields) }),
  tree: ({ measurement, reference, name, version, inForceFrom, inForceUntil }) => ({
    measurement: fromHex(measurement),
    reference: reference && referenceTree(reference),
    name,
    version,
    inForceFrom,
    inForceUntil,
  }),
  apply: (constitution, args, { nowMs, approval }) => {
    const { codeManifest, version } = constitution;
    if (codeManifest.some((code) => codeKey(code) === codeKey(args)))
      throw refused("AlreadyApproved", `measurement ${args.measurement} stands in the code manifest`);
    checkDates(args, nowMs);
    const entry: CodeEntry = { ...args, approvedAt: version + 1, ...(approval && { approval }) };
    return { ...constitution, codeManifest: [...codeManifest, entry] };
  },
};

/** The TEE manifest with one more machine. */
export function withMachine(constitution: Constitution, entry: TeeEntry, nowMs: number): Constitution {
  const { teeManifest } = constitution;
  if (teeManifest.some((listed) => teeKey(listed) === teeKey(entry)))
    throw refused("AlreadyApproved", "the machine, or an entry of this id, stands in the TEE manifest");
  checkDates(entry, nowMs);
  return { ...constitution, teeManifest: [...teeManifest, entry] };
}

const APPROVE_TEE: ActionKind<TeeEntry> = {
  read: readTeeEntry,
  tree: teeEntryTree,
  apply: (constitution, entry, { nowMs }) => withMachine(constitution, entry, nowMs),
};

/** The entries without one of them, or with an earlier date of end. */
function retired<Entry extends InForce>(
  entries: readonly Entry[],
  entry: Entry,
  at: number | undefined,
  nowMs: number,
): readonly Entry[] {
  if (at === undefined) return entries.filter((other) => other !== entry);
  const { inForceUntil: until } = entry;
  if (at === until) throw refused("NothingChanged", `it ends at ${day(at)} already`);
  requireFuture(at, nowMs);
  // Only a vote on its approval makes code count for longer.
  if (until !== undefined && at > until)
    throw refused("DatesContradict", `it ends at ${day(until)}, before ${day(at)}`);
  checkDates({ ...entry, inForceUntil: at }, nowMs);
  return withReplaced(entries, entry, { ...entry, inForceUntil: at });
}

function readAt(fields: FieldReader): { readonly at?: number } {
  return fields.has("at") ? { at: fields.integer("at", DATE_BOUNDS) } : {};
}

const RETIRE_CODE: ActionKind<RetireCodeArgs> = {
  read: (fields) => ({
    measurement: readMeasurement(fields, "measurement", [MEASUREMENT_BYTES, MAX_MEASUREMENT_BYTES]),
    ...(fields.has("reference") && { reference: fields.record("reference", readReference) }),
    ...readAt(fields),
  }),
  tree: ({ measurement, reference, at }) => ({
    measurement: fromHex(measurement),
    reference: reference && referenceTree(reference),
    at,
  }),
  apply: (constitution, { at, ...named }, { nowMs }) => {
    const { measurement, reference } = named;
    const listed = constitution.codeManifest.filter((code) => code.measurement === measurement);
    const isAmbiguous = listed.length > 1 && reference === undefined;
    if (isAmbiguous) throw refused("CodeAmbiguous", `${listed.length} entries have the measurement ${measurement}`);
    const entry = listed.find((code) => reference === undefined || codeKey(code) === codeKey(named));
    if (entry === undefined) throw refused("CodeUnknown", `measurement ${measurement} is not in the code manifest`);
    return { ...constitution, codeManifest: retired(constitution.codeManifest, entry, at, nowMs) };
  },
};

const RETIRE_TEE: ActionKind<RetireTeeArgs> = {
  read: (fields) => ({ key: readTeeKey(fields), ...readAt(fields) }),
  tree: ({ key, at }) => ({ ...teeKeyTree(key), at }),
  apply: (constitution, { key, at }, { nowMs }) => {
    const entry = constitution.teeManifest.find((tee) => teeKey(tee) === key);
    if (entry === undefined) throw refused("TeeUnknown", `${key} is not in the TEE manifest`);
    return { ...constitution, teeManifest: retired(constitution.teeManifest, entry, at, nowMs) };
  },
};

/** The first time from now on at which no entry counts; Infinity when there is none. */
function firstGap(entries: readonly InForce[], nowMs: number): number {
  let covered = nowMs;
  const ordered = [...entries].sort((left, right) => (left.inForceFrom ?? 0) - (right.inForceFrom ?? 0));
  for (const { inForceFrom = 0, inForceUntil = Infinity } of ordered)
    if (inForceFrom <= covered) covered = Math.max(covered, inForceUntil);
  return covered;
}

function requireNoNewGap(
  reason: Extract<Refusal, "NoCodeInForce" | "NoTeeInForce">,
  before: readonly InForce[],
  after: readonly InForce[],
  nowMs: number,
): void {
  const gap = firstGap(after, nowMs);
  // What had a gap before may be repaired in steps.
  if (gap < firstGap(before, nowMs))
    throw refused(
      reason,
      `from ${day(gap)} on no ${reason === "NoCodeInForce" ? "code" : "machine"} would be in force`,
    );
}

/** Refuses manifests that are too large, or that would leave the network without code or machine earlier than before. */
export function checkManifests(after: Constitution, before: Constitution, { nowMs }: ActionContext): void {
  for (const [name, { length }] of [
    ["code", after.codeManifest],
    ["TEE", after.teeManifest],
  ] as const) {
    if (length > MAX_MANIFEST_ENTRIES)
      throw refused("ManifestFull", `the ${name} manifest has at most ${MAX_MANIFEST_ENTRIES} entries`);
  }
  requireNoNewGap("NoCodeInForce", before.codeManifest, after.codeManifest, nowMs);
  requireNoNewGap("NoTeeInForce", before.teeManifest, after.teeManifest, nowMs);
}

/** Nodes of a constitution that were allowed to run what they run where they run it, and are not any more. */
export function expelledNodes(after: Constitution, before: Constitution, context: ActionContext): readonly NodeId[] {
  const { attested, nowMs, crypto } = context;
  const mayStay = (constitution: Constitution, nodeId: NodeId, node: AttestedNode): boolean =>
    mayRun(constitution, node, nowMs, crypto) && !isOneTooMany({ constitution, attested }, nodeId, nowMs, crypto);
  return after.nodes.flatMap(({ nodeId }) => {
    const node = attested.get(nodeId);
    const isExpelled = node !== undefined && mayStay(before, nodeId, node) && !mayStay(after, nodeId, node);
    return isExpelled ? [nodeId] : [];
  });
}

/** The actions of this file. */
export const MANIFEST_ACTIONS = {
  approve_code: APPROVE_CODE,
  retire_code: RETIRE_CODE,
  approve_tee: APPROVE_TEE,
  retire_tee: RETIRE_TEE,
};
