/**
 * What differs between two constitutions, item by item: actors, certificates, nodes, entries, policies and settings by their
 * names, not by their places. The version is left out, and so is what a vote leaves behind in an entry (when and by how many
 * votes it was approved): that is no part of what members decide on.
 */
import { toHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import { sameTree } from "./action-kind.ts";
import { adapterOptionsTree, codeEntryTree, nodeEntryTree, restrictionTree } from "./constitution-codec.ts";
import { teeEntryTree } from "./manifest-codec.ts";
import { codeKey, teeKey } from "./manifest-entries.ts";
import type { Actor, AdapterEntry, Constitution, NodeEntry } from "./constitution.ts";
import type { CodeEntry, TeeEntry } from "./manifest-entries.ts";
import { PemField, type FieldRecord, type FieldTree, type PemLabel } from "./fields.ts";
import { votingPolicyTree } from "./policy-codec.ts";
import type { VotingPolicy } from "./policy.ts";
import { settingsTree } from "./settings.ts";

/** What changed, for whoever puts it into words. */
export type ChangedPart =
  | { readonly type: "actor"; readonly before: Actor | undefined; readonly after: Actor | undefined }
  | {
      readonly type: "certificate" | "revocations";
      readonly actor: string;
      readonly der: Bytes;
      readonly isNew: boolean;
    }
  | { readonly type: "node"; readonly before: NodeEntry | undefined; readonly after: NodeEntry | undefined }
  | { readonly type: "code"; readonly before: CodeEntry | undefined; readonly after: CodeEntry | undefined }
  | { readonly type: "tee"; readonly before: TeeEntry | undefined; readonly after: TeeEntry | undefined }
  | { readonly type: "policy"; readonly name: string; readonly after: VotingPolicy | undefined }
  | { readonly type: "adapter"; readonly before: AdapterEntry | undefined; readonly after: AdapterEntry | undefined }
  | { readonly type: "value" };

/** One difference; what is not there is null. */
export interface ConstitutionChange {
  /** Where it is: `actors.acme.certificates.<SHA-256>`, `settings.epoch.lengthMs`, ... */
  readonly path: string;
  readonly before: FieldTree;
  readonly after: FieldTree;
  readonly part: ChangedPart;
}

type Changes = ConstitutionChange[];

function add(changes: Changes, change: ConstitutionChange): void {
  if (!sameTree(change.before, change.after)) changes.push(change);
}

function addValue(changes: Changes, path: string, before: FieldTree | undefined, after: FieldTree | undefined): void {
  add(changes, { path, before: before ?? null, after: after ?? null, part: { type: "value" } });
}

/** Items that have a name, before and after; those that are the same object are left out. */
function pairs<T>(
  before: readonly T[],
  after: readonly T[],
  keyOf: (item: T) => string,
): readonly (readonly [string, T | undefined, T | undefined])[] {
  if (before === after) return [];
  const earlier = new Map(before.map((item) => [keyOf(item), item]));
  const later = new Map(after.map((item) => [keyOf(item), item]));
  const keys = new Set([...earlier.keys(), ...later.keys()]);
  return [...keys].flatMap((key) => {
    const pair = [key, earlier.get(key), later.get(key)] as const;
    return pair[1] === pair[2] ? [] : [pair];
  });
}

/** Certificates and lists are their own names. */
function addDers(
  changes: Changes,
  actors: readonly [Actor | undefined, Actor | undefined],
  field: "certificates" | "revocations",
  sha256: HashFunction,
): void {
  const [before, after] = actors;
  const actor = (after ?? before)?.id ?? "";
  const label: PemLabel = field === "certificates" ? "CERTIFICATE" : "X509 CRL";
  for (const [key, earlier, later] of pairs(before?.[field] ?? [], after?.[field] ?? [], (der) => toHex(sha256(der)))) {
    const der = later ?? earlier;
    if (der === undefined || (earlier !== undefined && later !== undefined)) continue;
    const tree = new PemField(der, label);
    const isNew = later !== undefined;
    const type = field === "certificates" ? "certificate" : "revocations";
    const values = isNew ? { before: null, after: tree } : { before: tree, after: null };
    changes.push({ path: `actors.${actor}.${field}.${key}`, ...values, part: { type, actor, der, isNew } });
  }
}

function actorHead(actor: Actor | undefined): FieldTree {
  if (actor === undefined) return null;
  const { name, role, restriction } = actor;
  return { name, role, restriction: restriction && restrictionTree(restriction) };
}

function addActors(changes: Changes, before: Constitution, after: Constitution, sha256: HashFunction): void {
  for (const [id, earlier, later] of pairs(before.actors, after.actors, (actor) => actor.id)) {
    const part = { type: "actor", before: earlier, after: later } as const;
    add(changes, { path: `actors.${id}`, before: actorHead(earlier), after: actorHead(later), part });
    addDers(changes, [earlier, later], "certificates", sha256);
    addDers(changes, [earlier, later], "revocations", sha256);
  }
}

function codeTree(code: CodeEntry | undefined): FieldTree {
  if (code === undefined) return null;
  const { approvedAt: _at, approval: _votes, ...decided } = code;
  return codeEntryTree(decided);
}

function addEntries(changes: Changes, before: Constitution, after: Constitution): void {
  for (const [id, earlier, later] of pairs(before.nodes, after.nodes, (node) => node.nodeId)) {
    const part = { type: "node", before: earlier, after: later } as const;
    const tree = (node: NodeEntry | undefined) => (node === undefined ? null : nodeEntryTree(node));
    add(changes, { path: `nodes.${id}`, before: tree(earlier), after: tree(later), part });
  }
  for (const [id, earlier, later] of pairs(before.codeManifest, after.codeManifest, codeKey)) {
    const part = { type: "code", before: earlier, after: later } as const;
    add(changes, { path: `codeManifest.${id}`, before: codeTree(earlier), after: codeTree(later), part });
  }
  for (const [id, earlier, later] of pairs(before.teeManifest, after.teeManifest, teeKey)) {
    const part = { type: "tee", before: earlier, after: later } as const;
    const tree = (tee: TeeEntry | undefined) => (tee === undefined ? null : teeEntryTree(tee));
    add(changes, { path: `teeManifest.${id}`, before: tree(earlier), after: tree(later), part });
  }
}

function addPolicies(changes: Changes, before: Constitution, after: Constitution): void {
  const all = ({ policies }: Constitution): readonly (readonly [string, VotingPolicy])[] => [
    ["default", policies.default],
    ...Object.entries(policies.actions).map(([name, policy]) => [`actions.${name}`, policy] as const),
  ];
  for (const [name, earlier, later] of pairs(all(before), all(after), ([key]) => key)) {
    const tree = (item: readonly [string, VotingPolicy] | undefined) => (item ? votingPolicyTree(item[1]) : null);
    const part = { type: "policy", name: name.replace(/^actions\./, ""), after: later?.[1] } as const;
    add(changes, { path: `policies.${name}`, before: tree(earlier), after: tree(later), part });
  }
}

function isRecord(tree: FieldTree | undefined): tree is FieldRecord {
  const isObject = typeof tree === "object" && tree !== null && !Array.isArray(tree);
  return isObject && !(tree instanceof Uint8Array) && !(tree instanceof PemField);
}

/** Settings one by one; a quorum is one. */
function addSettings(changes: Changes, path: string, before: FieldRecord, after: FieldRecord): void {
  for (const [name, earlier] of Object.entries(before)) {
    const later = after[name];
    const isLeaf = name === "quorum" || !isRecord(earlier) || !isRecord(later);
    if (isLeaf) addValue(changes, `${path}.${name}`, earlier, later);
    else addSettings(changes, `${path}.${name}`, earlier, later);
  }
}

function addAdapters(changes: Changes, before: Constitution, after: Constitution): void {
  for (const [name, earlier, later] of pairs(before.adapters, after.adapters, (adapter) => adapter.name)) {
    // Which id a new one gets depends on others; that one of the same name is another is a difference of its own.
    const isOther = earlier !== undefined && later !== undefined && earlier.id !== later.id;
    const tree = (adapter: AdapterEntry | undefined) =>
      adapter === undefined ? null : { ...adapterOptionsTree(adapter), id: isOther ? adapter.id : undefined };
    const part = { type: "adapter", before: earlier, after: later } as const;
    add(changes, { path: `adapters.${name}`, before: tree(earlier), after: tree(later), part });
  }
}

/** Every difference between two constitutions, in the order of their paths. */
export function constitutionChanges(
  before: Constitution,
  after: Constitution,
  sha256: HashFunction,
): readonly ConstitutionChange[] {
  const changes: Changes = [];
  addValue(changes, "network.open", before.network.open, after.network.open);
  addActors(changes, before, after, sha256);
  addEntries(changes, before, after);
  addPolicies(changes, before, after);
  if (before.script !== after.script) addValue(changes, "script", before.script, after.script);
  if (before.settings !== after.settings)
    addSettings(changes, "settings", settingsTree(before.settings), settingsTree(after.settings));
  addAdapters(changes, before, after);
  return changes.sort((left, right) => (left.path < right.path ? -1 : 1));
}
