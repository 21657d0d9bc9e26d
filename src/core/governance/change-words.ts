/** Differences of constitutions in plain words, for members who decide on them. */
import { toHex } from "../codec/bytes.ts";
import { certificateInWords, dateInWords, type WordsCrypto } from "./certificate-words.ts";
import type { ConstitutionChange } from "./constitution-diff.ts";
import type { Actor, AdapterEntry, Constitution, NodeEntry, Restriction } from "./constitution.ts";
import type { CodeEntry, InForce, TeeEntry } from "./manifest-entries.ts";
import { treeToJson, type FieldTree } from "./fields.ts";
import { durationInWords, explainPolicy } from "./policy-words.ts";
import { hardwarePolicyInWords, referenceInWords, TEE_TITLES } from "./tee-policy-words.ts";

const SHORT_HEX_LENGTH = 16;
const MAX_VALUE_LENGTH = 80;

/** The beginning of a long hexadecimal name: enough to tell a few apart; the whole stands in the path of the change. */
export function shortHex(hex: string): string {
  return hex.length > SHORT_HEX_LENGTH ? `${hex.slice(0, SHORT_HEX_LENGTH)}…` : hex;
}

/** When an entry counts, in words. */
export function inForceInWords({ inForceFrom, inForceUntil }: InForce): string {
  const from = inForceFrom === undefined ? "" : ` from ${dateInWords(inForceFrom)}`;
  const until = inForceUntil === undefined ? "" : ` until ${dateInWords(inForceUntil)}`;
  return `${from}${until}`;
}

/** What a participant may do, in words. */
export function restrictionInWords(restriction: Restriction | undefined): string {
  if (restriction === undefined) return "unrestricted";
  return restriction.type === "banned" ? "banned" : `limited to ${restriction.requestsPerMinute} requests per minute`;
}

function actorInWords(before: Actor | undefined, after: Actor | undefined): string {
  if (after === undefined) return `removes the ${before?.role} ${before?.name} (${before?.id})`;
  if (before === undefined) return `adds the ${after.role} ${after.name} (${after.id})`;
  const words: string[] = [];
  if (before.name !== after.name) words.push(`renames ${before.name} to ${after.name}`);
  if (before.role !== after.role) words.push(`makes the ${before.role} a ${after.role}`);
  const [earlier, later] = [restrictionInWords(before.restriction), restrictionInWords(after.restriction)];
  if (earlier !== later) words.push(`from now on ${later}, so far ${earlier}`);
  return `${after.name} (${after.id}): ${words.join("; ")}`;
}

function nodeInWords(before: NodeEntry | undefined, after: NodeEntry | undefined): string {
  const node = after ?? before;
  const what = `node ${shortHex(node?.nodeId ?? "")}`;
  const where = (entry: NodeEntry) => `${entry.owner} at ${entry.address} (clients: ${entry.clientAddress})`;
  if (before === undefined) return `adds ${what} of ${after && where(after)}`;
  if (after === undefined) return `removes ${what} of ${where(before)}`;
  const [earlier, later] = [where(before), where(after)];
  return earlier === later
    ? `renews the signature of ${what} of ${later}`
    : `moves ${what} from ${earlier} to ${later}`;
}

/** An entry of the code manifest in words, without its dates. */
export function codeEntryInWords({ name, version, measurement, reference }: CodeEntry): string {
  return `code ${name} ${version}, measurement ${measurement}${reference ? ` ${referenceInWords(reference)}` : ""}`;
}

/** An entry of the TEE manifest in words, without its dates. */
export function teeEntryInWords(entry: TeeEntry, crypto: WordsCrypto): string {
  const name = teeEntryName(entry, crypto);
  return entry.tee === "virtual" ? name : `${name}: ${hardwarePolicyInWords(entry, crypto)}`;
}

function teeEntryName(entry: TeeEntry, { sha256 }: WordsCrypto): string {
  if (entry.tee !== "virtual") return `${TEE_TITLES[entry.tee]} by the entry ${entry.id} (${entry.note})`;
  return `virtual TEE, ${entry.note} (key with SHA-256 ${toHex(sha256(entry.machineKey))})`;
}

function codeInWords(before: CodeEntry | undefined, after: CodeEntry | undefined): string {
  const code = after ?? before;
  const what = code === undefined ? "code" : codeEntryInWords(code);
  return entryInWords(what, before, after);
}

function teeInWords(before: TeeEntry | undefined, after: TeeEntry | undefined, crypto: WordsCrypto): string {
  const entry = after ?? before;
  if (entry === undefined) return "nothing";
  const what = teeEntryInWords(entry, crypto);
  const earlier = before && teeEntryInWords(before, crypto);
  if (after === undefined || earlier === undefined || earlier === what) return entryInWords(what, before, after);
  return `changes ${earlier}${inForceInWords(before ?? {})}; from now on: ${what}${inForceInWords(after)}`;
}

function entryInWords(what: string, before: InForce | undefined, after: InForce | undefined): string {
  if (after === undefined) return `retires ${what}`;
  if (before === undefined) return `approves ${what}${inForceInWords(after)}`;
  const dates = inForceInWords(after);
  const isSame = dates === inForceInWords(before);
  return isSame ? `changes how ${what} is listed` : `${what}: in force${dates === "" ? " without dates" : dates}`;
}

function adapterInWords(before: AdapterEntry | undefined, after: AdapterEntry | undefined): string {
  const adapter = after ?? before;
  const what = `adapter ${adapter?.name} ${adapter?.version} at ${adapter?.mount}`;
  if (before === undefined) return `mounts ${what}`;
  if (after === undefined) return `removes ${what}`;
  return before.id === after.id ? `configures ${what}` : `removes ${what} and mounts it anew, without its state`;
}

function shown(value: FieldTree): string {
  const json = JSON.stringify(treeToJson(value));
  return json.length > MAX_VALUE_LENGTH ? `${json.slice(0, MAX_VALUE_LENGTH)}…` : json;
}

function scriptInWords(before: FieldTree, after: FieldTree): string {
  if (typeof after !== "string") return "removes the script of the constitution";
  return `${before === null ? "sets" : "replaces"} the script of the constitution: ${after.length} characters`;
}

function valueInWords({ path, before, after }: ConstitutionChange): string {
  if (path === "script") return scriptInWords(before, after);
  if (path === "network.open") return after === true ? "opens the network" : "closes the network";
  const told = (value: FieldTree): string =>
    path.endsWith("Ms") && typeof value === "number" && value > 0
      ? `${value} (${durationInWords(value)})`
      : shown(value);
  return `sets ${path.replace(/^settings\./, "")} to ${told(after)}, so far ${told(before)}`;
}

/** One difference in words; `after` is the constitution it leads to. */
export function changeInWords(change: ConstitutionChange, after: Constitution, crypto: WordsCrypto): string {
  const { part } = change;
  switch (part.type) {
    case "actor":
      return actorInWords(part.before, part.after);
    case "certificate": {
      const verb = part.isNew ? "lists for" : "takes from";
      return `${verb} ${part.actor} the ${certificateInWords(part.der, crypto)}`;
    }
    case "revocations": {
      const fingerprint = toHex(crypto.sha256(part.der));
      const verb = part.isNew ? "takes over" : "drops";
      return `${verb} a list of certificates that ${part.actor} has revoked, SHA-256 ${fingerprint}`;
    }
    case "node":
      return nodeInWords(part.before, part.after);
    case "code":
      return codeInWords(part.before, part.after);
    case "tee":
      return teeInWords(part.before, part.after, crypto);
    case "policy": {
      const subject = part.name === "default" ? "everything without a policy of its own" : part.name;
      const { after: policy } = part;
      if (policy === undefined) return `${subject}: judged by the default policy again`;
      return `${subject}: from now on ${explainPolicy(policy, after.actors)}`;
    }
    case "adapter":
      return adapterInWords(part.before, part.after);
    case "value":
      return valueInWords(change);
  }
}
