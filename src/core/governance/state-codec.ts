/**
 * The governance state as bytes, for snapshots: deterministic CBOR, so that all nodes that agree on the state agree on its
 * bytes. Reading is strict and bounded, but verifies no signature: whoever reads it has checked the snapshot's evidence.
 */
import { decodeCbor, encodeCbor, MAX_CBOR_BYTES } from "../codec/cbor.ts";
import { fromHex, toHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { GovernanceState } from "./administrative.ts";
import { MAX_DEPARTING_NODES } from "./departing-nodes.ts";
import { configurationTree, readConfiguration } from "./configuration.ts";
import {
  constitutionDigest,
  decodeConstitution,
  encodeConstitution,
  nodeEntryTree,
  readNodeEntry,
} from "./constitution-codec.ts";
import { MAX_CONSTITUTION_BYTES, MAX_NODES } from "./constitution.ts";
import { MAX_MEASUREMENT_BYTES } from "./manifest-codec.ts";
import { TEE_NAMES } from "./manifest-entries.ts";
import {
  MAX_EPOCHS_BYTES,
  MAX_SEALED_SERVICE_KEY_BYTES,
  MAX_WRAPPED_KEY_BYTES,
  type EpochRecord,
  type WrappedKey,
} from "./epochs.ts";
import type { NodeId } from "../consensus/types.ts";
import { MAX_ATTESTED_EVIDENCE_BYTES, REPORT_DATA_BYTES } from "./attest.ts";
import { CHALLENGES_MAX, type ChallengeRecord } from "./challenges.ts";
import type { AttestedNode } from "./governance-crypto.ts";
import type { LeaseRecord } from "./leases.ts";
import { proposalFieldsTree, readProposalFields } from "./proposal-codec.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader, type FieldTree } from "./fields.ts";
import { readServices, servicesTree } from "./service-chain.ts";
import { CocoError } from "../../errors.ts";

/** Version of the form below, the only one this program reads. */
export const GOVERNANCE_STATE_VERSION = 4;
/** Largest governance state in its binary form: constitution, epochs, removed nodes. */
export const MAX_GOVERNANCE_STATE_BYTES = MAX_CBOR_BYTES;

const NODE_ID_BYTES = 32;
/** Longest name of a platform: a machine key, SubjectPublicKeyInfo DER. */
const MAX_PLATFORM_BYTES = 256;
/** No epoch takes fewer bytes, so that this many can be there. */
const MAX_EPOCHS = Math.floor(MAX_EPOCHS_BYTES / 128);
/** Listed nodes, voters of two configurations, and what was listed and removed between two epochs. */
const MAX_WRAPS = 3 * MAX_NODES + MAX_DEPARTING_NODES;
const CONTEXT: FieldContext = { form: "cbor", code: "MalformedInput" };
const COUNT = { min: 0, max: Number.MAX_SAFE_INTEGER };
const POSITIVE = { min: 1, max: Number.MAX_SAFE_INTEGER };

function wrapBytes({ nodeId, wrapped }: WrappedKey): Bytes {
  const bytes = new Uint8Array(NODE_ID_BYTES + wrapped.length);
  bytes.set(fromHex(nodeId));
  bytes.set(wrapped, NODE_ID_BYTES);
  return bytes;
}

function epochTree({ wraps, sealedServiceKey, openedAtMs, openedAtSeqno }: EpochRecord): FieldTree {
  return { wraps: wraps.map(wrapBytes), sealedServiceKey, openedAtMs, openedAtSeqno };
}

/** The binary form of a governance state. */
export function encodeGovernanceState(state: GovernanceState): Bytes {
  const { snapshot } = state;
  const tree: FieldTree = {
    version: GOVERNANCE_STATE_VERSION,
    networkId: fromHex(state.networkId),
    constitution: encodeConstitution(state.constitution),
    epochs: state.epochs.map(epochTree),
    services: servicesTree(state.services),
    serviceRotationDue: state.serviceRotationDue,
    configuration: configurationTree(state.configuration),
    epochDue: state.epochDue,
    snapshot: snapshot && { index: snapshot.index, seqno: snapshot.seqno, digest: snapshot.digest },
    departing: state.departing.map(nodeEntryTree),
    ...proposalFieldsTree(state),
    attested: [...state.attested].map(([nodeId, node]) => ({ nodeId: fromHex(nodeId), ...attestedTree(node) })),
    challenges: state.challenges.map(({ digest, fromMs }) => ({ digest, fromMs })),
    leases: [...state.leases].map(([nodeId, lease]) => ({ nodeId: fromHex(nodeId), ...leaseTree(lease) })),
  };
  return encodeCbor(treeToCbor(tree));
}

function attestedTree({ tee, measurement, platform, evidence, reportData, attestedAtMs }: AttestedNode) {
  const named = { measurement: fromHex(measurement), platform: fromHex(platform) };
  return { tee, ...named, evidence, reportData, attestedAtMs } satisfies FieldTree;
}

function leaseTree({ fromMs, quarantinedAtMs }: LeaseRecord) {
  return { fromMs, quarantinedAtMs };
}

function readWraps(fields: FieldReader): readonly WrappedKey[] {
  const wraps = fields.values("wraps", MAX_WRAPS).map((wrap) => {
    if (!(wrap instanceof Uint8Array) || wrap.length <= NODE_ID_BYTES)
      throw fields.invalid("wraps", "expected node ids with wrapped keys");
    if (wrap.length > NODE_ID_BYTES + MAX_WRAPPED_KEY_BYTES)
      throw fields.invalid("wraps", "a wrapped key is too large");
    return { nodeId: toHex(wrap.subarray(0, NODE_ID_BYTES)), wrapped: wrap.subarray(NODE_ID_BYTES) };
  });
  if (new Set(wraps.map(({ nodeId }) => nodeId)).size !== wraps.length)
    throw fields.invalid("wraps", "names a node twice");
  return wraps;
}

function readEpochs(fields: FieldReader): readonly EpochRecord[] {
  let last = 0;
  return fields
    .list("epochs", MAX_EPOCHS, (record) => ({
      wraps: readWraps(record),
      sealedServiceKey: record.bytes("sealedServiceKey", { max: MAX_SEALED_SERVICE_KEY_BYTES }),
      openedAtMs: record.integer("openedAtMs", COUNT),
      openedAtSeqno: record.integer("openedAtSeqno", POSITIVE),
    }))
    .map((record) => ({ epoch: ++last, ...record }));
}

function readSnapshot(fields: FieldReader): GovernanceState["snapshot"] {
  if (!fields.has("snapshot")) return undefined;
  return fields.record("snapshot", (snapshot) => ({
    index: snapshot.integer("index", POSITIVE),
    seqno: snapshot.integer("seqno", POSITIVE),
    digest: snapshot.bytes("digest", { length: 32 }),
  }));
}

function readAttested(fields: FieldReader): [NodeId, AttestedNode] {
  const node = {
    tee: fields.choice("tee", TEE_NAMES),
    measurement: toHex(fields.bytes("measurement", { max: MAX_MEASUREMENT_BYTES })),
    platform: toHex(fields.bytes("platform", { max: MAX_PLATFORM_BYTES })),
    evidence: fields.bytes("evidence", { max: MAX_ATTESTED_EVIDENCE_BYTES }),
    reportData: fields.bytes("reportData", { length: REPORT_DATA_BYTES }),
    attestedAtMs: fields.integer("attestedAtMs", COUNT),
  };
  return [fields.hex("nodeId", 32), node];
}

function readChallenge(fields: FieldReader): ChallengeRecord {
  return { digest: fields.bytes("digest", { length: 32 }), fromMs: fields.integer("fromMs", COUNT) };
}

function readLease(fields: FieldReader): [NodeId, LeaseRecord] {
  const lease = {
    fromMs: fields.integer("fromMs", COUNT),
    ...(fields.has("quarantinedAtMs") && { quarantinedAtMs: fields.integer("quarantinedAtMs", COUNT) }),
  };
  return [fields.hex("nodeId", 32), lease];
}

function readState(fields: FieldReader, sha256: HashFunction): GovernanceState {
  fields.integer("version", { min: GOVERNANCE_STATE_VERSION, max: GOVERNANCE_STATE_VERSION });
  const constitution = decodeConstitution(fields.bytes("constitution", { max: MAX_CONSTITUTION_BYTES }));
  const epochs = readEpochs(fields);
  const services = readServices(fields);
  if ((services.length === 0) !== (epochs.length === 0))
    throw fields.invalid("services", "the first one comes with the first epoch");
  return {
    networkId: fields.hex("networkId", 32),
    constitution,
    constitutionDigest: constitutionDigest(constitution, sha256),
    epochs,
    services,
    serviceRotationDue: fields.flag("serviceRotationDue"),
    configuration: fields.record("configuration", readConfiguration),
    epochDue: fields.flag("epochDue"),
    snapshot: readSnapshot(fields),
    departing: fields.list("departing", MAX_DEPARTING_NODES, readNodeEntry),
    ...readProposalFields(fields, sha256),
    attested: new Map(fields.list("attested", MAX_NODES, readAttested)),
    challenges: fields.list("challenges", CHALLENGES_MAX, readChallenge),
    leases: new Map(fields.list("leases", MAX_NODES, readLease)),
  };
}

/** Reads the binary form; throws `MalformedInput`, `LimitExceeded`, or `ConstitutionInvalid` for the constitution inside. */
export function decodeGovernanceState(bytes: Bytes, sha256: HashFunction): GovernanceState {
  if (bytes.length > MAX_GOVERNANCE_STATE_BYTES)
    throw new CocoError("LimitExceeded", "the governance state is too large");
  return readDocument(decodeCbor(bytes), CONTEXT, (fields) => readState(fields, sha256));
}
