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
  MAX_ACTORS,
  MAX_ADAPTERS,
  MAX_CERTIFICATE_BYTES,
  MAX_CONSTITUTION_BYTES,
  MAX_CONSTITUTION_JSON_LENGTH,
  MAX_MANIFEST_ENTRIES,
  MAX_NODES,
  MEASUREMENT_BYTES,
  type Actor,
  type AdapterEntry,
  type CodeEntry,
  type Constitution,
  type NodeEntry,
  type NodeTuple,
  type TeeEntry,
  type VotingPolicy,
} from "./constitution.ts";
import {
  CertificateField,
  readDocument,
  treeToCbor,
  treeToJson,
  type FieldContext,
  type FieldReader,
  type FieldTree,
} from "./fields.ts";
import { readJsonValue } from "./json-value.ts";
import { readSettings, settingsTree } from "./settings.ts";

const IDENTIFIER_BOUNDS = { max: 64, pattern: IDENTIFIER };
const NAME_BOUNDS = { max: 128 };
const NOTE_BOUNDS = { max: 256 };
const MOUNT_BOUNDS = { max: 64, pattern: /^\/[a-z0-9][a-z0-9-]*$/ };
const VERSION_BOUNDS = { min: 1, max: Number.MAX_SAFE_INTEGER };
const MAX_PUBLIC_KEY_BYTES = 256;
const MAX_SIGNATURE_BYTES = 4096;

function readAddress(fields: FieldReader, name: string): string {
  const address = fields.text(name, { max: MAX_ADDRESS_LENGTH });
  if (parseAddress(address) === undefined) throw fields.invalid(name, "expected host:port");
  return address;
}

function readActor(fields: FieldReader): Actor {
  return {
    id: fields.text("id", IDENTIFIER_BOUNDS),
    name: fields.text("name", NAME_BOUNDS),
    role: fields.choice("role", ["member", "participant"]),
    certificate: fields.certificate("certificate", MAX_CERTIFICATE_BYTES),
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

/** Reads measurement, name and version of a code identity. */
export function readCodeIdentity(fields: FieldReader): Omit<CodeEntry, "approvedAt"> {
  return {
    measurement: fields.hex("measurement", MEASUREMENT_BYTES),
    name: fields.text("name", NAME_BOUNDS),
    version: fields.text("version", NAME_BOUNDS),
  };
}

function readCodeEntry(fields: FieldReader): CodeEntry {
  const identity = readCodeIdentity(fields);
  return fields.has("approvedAt")
    ? { ...identity, approvedAt: fields.integer("approvedAt", VERSION_BOUNDS) }
    : identity;
}

/** Reads the fields of an entry of the TEE manifest. */
export function readTeeEntry(fields: FieldReader): TeeEntry {
  return {
    tee: fields.choice("tee", ["virtual"]),
    machineKey: fields.bytes("machineKey", { max: MAX_PUBLIC_KEY_BYTES }),
    note: fields.text("note", NOTE_BOUNDS),
  };
}

function readPolicy(fields: FieldReader): VotingPolicy {
  return { type: fields.choice("type", ["majority"]) };
}

function readAdapter(fields: FieldReader): AdapterEntry {
  const options = readJsonValue(fields.value("options"));
  if (options === undefined)
    throw fields.invalid("options", "expected JSON with whole numbers, within the limits of depth and size");
  return {
    id: fields.integer("id", { min: 1, max: 65535 }),
    name: fields.text("name", IDENTIFIER_BOUNDS),
    version: fields.text("version", NAME_BOUNDS),
    mount: fields.text("mount", MOUNT_BOUNDS),
    options,
  };
}

function readConstitution(fields: FieldReader): Constitution {
  const constitution: Constitution = {
    version: fields.integer("version", VERSION_BOUNDS),
    network: fields.record("network", (network) => ({ name: network.text("name", IDENTIFIER_BOUNDS) })),
    members: fields.list("members", MAX_ACTORS, readActor),
    nodes: fields.list("nodes", MAX_NODES, readNodeEntry),
    codeManifest: fields.list("codeManifest", MAX_MANIFEST_ENTRIES, readCodeEntry),
    teeManifest: fields.list("teeManifest", MAX_MANIFEST_ENTRIES, readTeeEntry),
    policies: fields.record("policies", (policies) => ({
      approveCode: policies.record("approveCode", readPolicy),
      openEpoch: policies.record("openEpoch", readPolicy),
      changeNodes: policies.record("changeNodes", readPolicy),
    })),
    settings: fields.record("settings", readSettings),
    adapters: fields.list("adapters", MAX_ADAPTERS, readAdapter),
  };
  checkReferences(constitution, fields.context);
  return constitution;
}

/** The tree form of a node tuple, for signing and for files. */
export function nodeTupleTree(node: NodeTuple): { readonly [name: string]: FieldTree } {
  const { nodeId, address, clientAddress, publicKey, encryptionKey } = node;
  return { nodeId: fromHex(nodeId), address, clientAddress, publicKey, encryptionKey };
}

/** The tree form of an entry of the TEE manifest. */
export function teeEntryTree(entry: TeeEntry): { readonly [name: string]: FieldTree } {
  return { tee: entry.tee, machineKey: entry.machineKey, note: entry.note };
}

/** The tree form of an entry of the VN list. */
export function nodeEntryTree(node: NodeEntry): FieldTree {
  return { ...nodeTupleTree(node), owner: node.owner, signature: node.signature };
}

function constitutionTree(constitution: Constitution): FieldTree {
  const { version, network, members, nodes, codeManifest, teeManifest, policies, settings, adapters } = constitution;
  return {
    version,
    network: { name: network.name },
    members: members.map(({ id, name, role, certificate }) => ({
      id,
      name,
      role,
      certificate: new CertificateField(certificate),
    })),
    nodes: nodes.map(nodeEntryTree),
    codeManifest: codeManifest.map((code) => ({
      measurement: fromHex(code.measurement),
      name: code.name,
      version: code.version,
      approvedAt: code.approvedAt,
    })),
    teeManifest: teeManifest.map(teeEntryTree),
    policies: {
      approveCode: { type: policies.approveCode.type },
      openEpoch: { type: policies.openEpoch.type },
      changeNodes: { type: policies.changeNodes.type },
    },
    settings: settingsTree(settings),
    adapters: adapters.map(({ id, name, version: adapterVersion, mount, options }) => ({
      id,
      name,
      version: adapterVersion,
      mount,
      options,
    })),
  };
}

/** The canonical binary form. */
export function encodeConstitution(constitution: Constitution): Bytes {
  return encodeCbor(treeToCbor(constitutionTree(constitution)));
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

/** The JSON form for people, indented, ending in a line feed. */
export function constitutionToJson(constitution: Constitution): string {
  return `${JSON.stringify(treeToJson(constitutionTree(constitution)), undefined, 2)}\n`;
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
