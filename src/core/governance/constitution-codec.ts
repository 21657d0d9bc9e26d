/**
 * Reading and writing the network constitution.
 *
 * It has one canonical binary form (deterministic CBOR, RFC 8949 section 4.2), whose SHA-256 is its digest, and a JSON
 * form for people (`genesis.json`). Both are read strictly; every error is `ConstitutionInvalid` and names the field.
 * Reading checks the shape and what must be unique; `verifyConstitution` checks what needs cryptography.
 */
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { fromHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { MAX_ADDRESS_LENGTH, parseAddress } from "./address.ts";
import { checkReferences } from "./constitution-check.ts";
import {
  ENCRYPTION_KEY_BYTES,
  IDENTIFIER,
  MAX_ACTOR_CERTIFICATES,
  MAX_ACTOR_REVOCATIONS,
  MAX_ACTORS,
  MAX_ADAPTER_ID,
  MAX_ADAPTERS,
  MAX_CONSTITUTION_BYTES,
  MAX_CONSTITUTION_JSON_LENGTH,
  MAX_MANIFEST_ENTRIES,
  MAX_NODES,
  MAX_REQUESTS_PER_MINUTE,
  MAX_REVOCATIONS_BYTES,
  MAX_SCRIPT_LENGTH,
  type Actor,
  type AdapterEntry,
  type Constitution,
  type NodeEntry,
  type NodeTuple,
  type Restriction,
} from "./constitution.ts";
import { MAX_CERTIFICATE_BYTES } from "./certificate-limits.ts";
import type { CodeEntry } from "./manifest-entries.ts";
import {
  PemField,
  readDocument,
  treeToCbor,
  treeToJson,
  type FieldContext,
  type FieldReader,
  type FieldRecord,
  type FieldTree,
} from "./fields.ts";
import {
  NAME_BOUNDS,
  readCodeIdentity,
  readInForce,
  readTeeEntry,
  referenceTree,
  teeEntryTree,
} from "./manifest-codec.ts";
import { isWellFormed, readJsonValue, type JsonValue } from "./json-value.ts";
import { readVotingPolicies, votingPoliciesTree } from "./policy-codec.ts";
import { readSettings, settingsTree } from "./settings.ts";

/** Bounds of an actor id. */
export const IDENTIFIER_BOUNDS = { max: 64, pattern: IDENTIFIER };
const MOUNT_BOUNDS = { max: 64, pattern: /^\/[a-z0-9][a-z0-9-]*$/ };
const ADAPTER_ID_BOUNDS = { min: 1, max: MAX_ADAPTER_ID };
const VERSION_BOUNDS = { min: 1, max: Number.MAX_SAFE_INTEGER };
const MAX_PUBLIC_KEY_BYTES = 256;
const MAX_SIGNATURE_BYTES = 4096;

function readAddress(fields: FieldReader, name: string): string {
  const address = fields.text(name, { max: MAX_ADDRESS_LENGTH });
  if (parseAddress(address) === undefined) throw fields.invalid(name, "expected host:port");
  return address;
}

/** Reads the certificates of an actor: at least one. */
export function readCertificates(fields: FieldReader): readonly Bytes[] {
  const bounds = { count: MAX_ACTOR_CERTIFICATES, max: MAX_CERTIFICATE_BYTES };
  const certificates = fields.ders("certificates", "CERTIFICATE", bounds);
  if (certificates.length === 0) throw fields.invalid("certificates", "needs at least one certificate");
  return certificates;
}

/** Reads the lists of revoked certificates of an actor. */
export function readRevocations(fields: FieldReader): readonly Bytes[] {
  return fields.ders("revocations", "X509 CRL", { count: MAX_ACTOR_REVOCATIONS, max: MAX_REVOCATIONS_BYTES });
}

/** Reads the fields of a restriction. */
export function readRestriction(fields: FieldReader): Restriction {
  const type = fields.choice("type", ["banned", "limited"]);
  if (type === "banned") return { type };
  const bounds = { min: 1, max: MAX_REQUESTS_PER_MINUTE };
  return { type, requestsPerMinute: fields.integer("requestsPerMinute", bounds) };
}

/** Reads id and name of an actor. */
export function readActorNames(fields: FieldReader): Pick<Actor, "id" | "name"> {
  return { id: fields.text("id", IDENTIFIER_BOUNDS), name: fields.text("name", NAME_BOUNDS) };
}

function readActor(fields: FieldReader): Actor {
  return {
    ...readActorNames(fields),
    role: fields.choice("role", ["member", "participant"]),
    certificates: readCertificates(fields),
    revocations: readRevocations(fields),
    ...(fields.has("restriction") && { restriction: fields.record("restriction", readRestriction) }),
  };
}

/** Reads the fields of a node tuple. */
export function readNodeTuple(fields: FieldReader): NodeTuple {
  return {
    nodeId: fields.hex("nodeId", 32),
    address: readAddress(fields, "address"),
    clientAddress: readAddress(fields, "clientAddress"),
    publicKey: fields.bytes("publicKey", { max: MAX_PUBLIC_KEY_BYTES }),
    encryptionKey: fields.bytes("encryptionKey", { length: ENCRYPTION_KEY_BYTES }),
  };
}

/** Reads the fields of an entry of the VN list. */
export function readNodeEntry(fields: FieldReader): NodeEntry {
  return {
    ...readNodeTuple(fields),
    owner: fields.text("owner", IDENTIFIER_BOUNDS),
    signature: fields.bytes("signature", { max: MAX_SIGNATURE_BYTES }),
  };
}

function readCodeEntry(fields: FieldReader): CodeEntry {
  return {
    ...readCodeIdentity(fields),
    ...readInForce(fields),
    ...(fields.has("approvedAt") && { approvedAt: fields.integer("approvedAt", VERSION_BOUNDS) }),
    ...(fields.has("approval") && {
      approval: fields.record("approval", (approval) => ({
        yes: approval.integer("yes", { min: 0, max: MAX_ACTORS }),
        members: approval.integer("members", { min: 1, max: MAX_ACTORS }),
      })),
    }),
  };
}

/** Reads a script: any text but one without an encoding. Whether it compiles is judged where it is run. */
export function readScript(fields: FieldReader, name: string): string {
  const script = fields.value(name);
  if (typeof script !== "string" || !isWellFormed(script)) throw fields.invalid(name, "expected text", "WrongType");
  if (script.length === 0 || script.length > MAX_SCRIPT_LENGTH)
    throw fields.invalid(name, `expected 1 to ${MAX_SCRIPT_LENGTH} characters`);
  return script;
}

/** Reads the options of an adapter. */
export function readOptions(fields: FieldReader): JsonValue {
  const options = readJsonValue(fields.value("options"));
  if (options === undefined)
    throw fields.invalid("options", "expected JSON with whole numbers, within the limits of depth and size");
  return options;
}

/** Reads name, version and mount of an adapter. */
export function readMount(fields: FieldReader): Pick<AdapterEntry, "name" | "version" | "mount"> {
  return {
    name: fields.text("name", IDENTIFIER_BOUNDS),
    version: fields.text("version", NAME_BOUNDS),
    mount: fields.text("mount", MOUNT_BOUNDS),
  };
}

function readAdapter(fields: FieldReader): AdapterEntry {
  return {
    id: fields.integer("id", ADAPTER_ID_BOUNDS),
    ...readMount(fields),
    options: readOptions(fields),
  };
}

function readConstitution(fields: FieldReader): Constitution {
  const constitution: Constitution = {
    version: fields.integer("version", VERSION_BOUNDS),
    network: fields.record("network", (network) => ({
      name: network.text("name", IDENTIFIER_BOUNDS),
      open: network.flag("open"),
    })),
    actors: fields.list("actors", MAX_ACTORS, readActor),
    nodes: fields.list("nodes", MAX_NODES, readNodeEntry),
    codeManifest: fields.list("codeManifest", MAX_MANIFEST_ENTRIES, readCodeEntry),
    teeManifest: fields.list("teeManifest", MAX_MANIFEST_ENTRIES, readTeeEntry),
    policies: fields.record("policies", readVotingPolicies),
    ...(fields.has("script") && { script: readScript(fields, "script") }),
    settings: fields.record("settings", readSettings),
    adapters: fields.list("adapters", MAX_ADAPTERS, readAdapter),
    ...(fields.has("lastAdapterId") && { lastAdapterId: fields.integer("lastAdapterId", ADAPTER_ID_BOUNDS) }),
  };
  checkReferences(constitution, fields.context);
  return constitution;
}

/** The tree form of a node tuple, for signing and for files. */
export function nodeTupleTree(node: NodeTuple): { readonly [name: string]: FieldTree } {
  const { nodeId, address, clientAddress, publicKey, encryptionKey } = node;
  return { nodeId: fromHex(nodeId), address, clientAddress, publicKey, encryptionKey };
}

/** The tree form of an entry of the VN list. */
export function nodeEntryTree(node: NodeEntry): FieldTree {
  return { ...nodeTupleTree(node), owner: node.owner, signature: node.signature };
}

/** The tree form of a restriction. */
export function restrictionTree(restriction: Restriction): FieldTree {
  const { type } = restriction;
  return type === "banned" ? { type } : { type, requestsPerMinute: restriction.requestsPerMinute };
}

/** The tree form of an actor. */
export function actorTree({ id, name, role, certificates, revocations, restriction }: Actor): FieldTree {
  return {
    id,
    name,
    role,
    certificates: certificates.map((certificate) => new PemField(certificate, "CERTIFICATE")),
    revocations: revocations.map((list) => new PemField(list, "X509 CRL")),
    restriction: restriction && restrictionTree(restriction),
  };
}

/** The tree form of an entry of the code manifest. */
export function codeEntryTree(code: CodeEntry): FieldRecord {
  const { name, version, inForceFrom, inForceUntil, approvedAt, approval } = code;
  return {
    measurement: fromHex(code.measurement),
    reference: code.reference && referenceTree(code.reference),
    name,
    version,
    inForceFrom,
    inForceUntil,
    approvedAt,
    approval: approval && { yes: approval.yes, members: approval.members },
  };
}

/** The tree form of an adapter without its id. */
export function adapterOptionsTree({ name, version, mount, options }: Omit<AdapterEntry, "id">): FieldRecord {
  return { name, version, mount, options };
}

function adapterTree(adapter: AdapterEntry): FieldTree {
  return { id: adapter.id, ...adapterOptionsTree(adapter) };
}

/** The tree form of a constitution, in the order people read it. */
export function constitutionTree(constitution: Constitution): FieldRecord {
  const { version, network, policies, script, settings } = constitution;
  return {
    version,
    network: { name: network.name, open: network.open },
    actors: constitution.actors.map(actorTree),
    nodes: constitution.nodes.map(nodeEntryTree),
    codeManifest: constitution.codeManifest.map(codeEntryTree),
    teeManifest: constitution.teeManifest.map(teeEntryTree),
    policies: votingPoliciesTree(policies),
    script,
    settings: settingsTree(settings),
    adapters: constitution.adapters.map(adapterTree),
    lastAdapterId: constitution.lastAdapterId,
  };
}

/** Encodings of constitutions that are in use: of each, size, digest and form in snapshots are asked for. */
const encodings = new WeakMap<Constitution, Bytes>();

/** The canonical binary form. */
export function encodeConstitution(constitution: Constitution): Bytes {
  const known = encodings.get(constitution);
  if (known !== undefined) return known;
  const encoded = encodeCbor(treeToCbor(constitutionTree(constitution)));
  encodings.set(constitution, encoded);
  return encoded;
}

/** Reads the canonical binary form; throws `ConstitutionInvalid` with the field it is about. */
export function decodeConstitution(bytes: Bytes): Constitution {
  const context: FieldContext = { form: "cbor", code: "ConstitutionInvalid" };
  if (bytes.length > MAX_CONSTITUTION_BYTES)
    throw new CocoError("ConstitutionInvalid", "constitution is too large", { field: "" });
  return readDocument(decodeAs(bytes, context), context, readConstitution);
}

/** Decodes CBOR; malformed bytes become an error of the document's own code. */
function decodeAs(bytes: Bytes, context: FieldContext): unknown {
  try {
    return decodeCbor(bytes);
  } catch (error) {
    throw new CocoError(context.code, "not deterministic CBOR", { field: "" }, { cause: error });
  }
}

/** The JSON form as a value, for scripts. */
export function constitutionJson(constitution: Constitution): JsonValue {
  return treeToJson(constitutionTree(constitution));
}

/** The JSON form for people, indented, ending in a line feed. */
export function constitutionToJson(constitution: Constitution): string {
  return `${JSON.stringify(constitutionJson(constitution), undefined, 2)}\n`;
}

/** Reads the JSON form; throws `ConstitutionInvalid` with the field it is about. */
export function constitutionFromJson(text: string): Constitution {
  if (text.length > MAX_CONSTITUTION_JSON_LENGTH)
    throw new CocoError("ConstitutionInvalid", "constitution is too large", { field: "" });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CocoError("ConstitutionInvalid", "not JSON", { field: "" }, { cause: error });
  }
  return readDocument(value, { form: "json", code: "ConstitutionInvalid" }, readConstitution);
}

/** SHA-256 of the canonical binary form. For version 1 its hex is the network id. */
export function constitutionDigest(constitution: Constitution, sha256: HashFunction): Bytes {
  return sha256(encodeConstitution(constitution));
}
