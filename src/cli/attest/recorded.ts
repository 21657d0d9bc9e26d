/**
 * Evidence of a node as a ledger has recorded it, in a file of `coco ledger evidence --out`: verified and judged again without the
 * ledger. Of the file only its time is believed, at which the evidence is judged unless the options say another: whoever made the
 * file chose it, so it can hide that certificates have expired since. Its evidence must be bound to the network, the keys and the
 * challenge that it names; transaction and owner are named as they stand there.
 */
import type { Check, Verification } from "../../attestation/checks.ts";
import { evidenceRejected, type EvidenceCrypto } from "../../attestation/evidence.ts";
import { readHardwareEvidence } from "../../attestation/hardware.ts";
import { endorsementOf, type HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { requireReportData } from "../../attestation/tpm/evidence.ts";
import { decodeEvidenceCbor, readVirtualEvidence } from "../../attestation/virtual.ts";
import { isVbsReport, judgeVsmEvidence } from "../../attestation/vsm/evidence.ts";
import { toHex, utf8Decode, type Bytes } from "../../core/codec/bytes.ts";
import { attestReportData, MAX_ATTESTED_EVIDENCE_BYTES } from "../../core/governance/attest.ts";
import { readDocument, type FieldContext, type FieldReader } from "../../core/governance/fields.ts";
import { MAX_DATE_MS } from "../../core/governance/manifest-codec.ts";
import { TEE_NAMES, type TeeName } from "../../core/governance/manifest-entries.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { createEvidenceCrypto, sha256 } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { readJson } from "../arguments.ts";
import { RECORDED_FORMAT } from "../ledger-attestations.ts";
import {
  judgeDcap,
  judgementOf,
  judgeSnpWhole,
  judgeToken,
  vbsPolicy,
  type Judgement,
  type JudgeOptions,
} from "./judge.ts";

/** Largest file of recorded evidence, in bytes. */
export const MAX_RECORDED_FILE_BYTES = 1024 * 1024;

/** A record as its file has it. */
export interface RecordedFile {
  readonly tee: TeeName;
  readonly networkId: string;
  readonly transactionId: string;
  readonly timeMs: number;
  readonly nodeId: string;
  readonly owner: string;
  readonly publicKey: Bytes;
  readonly encryptionKey: Bytes;
  readonly challenge: Bytes;
  readonly evidence: Bytes;
}

const EVIDENCE_CONTEXT: FieldContext = { form: "cbor", code: "EvidenceRejected", data: { reason: "Malformed" } };

/** Reads a file; throws `ConfigurationInvalid`. */
export async function readRecorded(file: string): Promise<RecordedFile> {
  const context: FieldContext = { form: "json", code: "ConfigurationInvalid", data: { file } };
  const read = readDocument(await readJson(file, MAX_RECORDED_FILE_BYTES), context, readFields);
  return { ...read, tee: teeOf(read.evidence) };
}

function readFields(fields: FieldReader): Omit<RecordedFile, "tee"> {
  fields.choice("format", [RECORDED_FORMAT]);
  return {
    networkId: fields.hex("networkId", 32),
    transactionId: fields.text("transactionId", { max: 32, pattern: /^\d+\.\d+$/ }),
    timeMs: fields.integer("timeMs", { min: 0, max: MAX_DATE_MS }),
    nodeId: fields.hex("nodeId", 32),
    owner: fields.text("owner", { max: 64 }),
    publicKey: fields.bytes("publicKey", { max: 256 }),
    encryptionKey: fields.bytes("encryptionKey", { length: 32 }),
    challenge: fields.bytes("challenge", { length: 32 }),
    evidence: fields.bytes("evidence", { max: MAX_ATTESTED_EVIDENCE_BYTES }),
  };
}

/** What comes first in the envelope; whether the rest can be read is judged later. */
function teeOf(evidence: Bytes): TeeName {
  const envelope = decodeEvidenceCbor(evidence);
  const named = envelope instanceof Map ? (envelope.get("tee") as unknown) : undefined;
  const tee = TEE_NAMES.find((name) => name === named);
  if (tee === undefined)
    throw new CocoError("ConfigurationInvalid", "evidence of a TEE that this version does not know");
  return tee;
}

/** Judges a record by policies, at the time of its record unless the options say another. */
export function judgeRecorded(record: RecordedFile, options: JudgeOptions): Judgement {
  return judgementOf(record.tee, options, () => {
    const { claims, checks } = verificationOf(record, options);
    const { transactionId, nodeId, owner, networkId } = record;
    const place = { network: networkId, transaction: transactionId, node: nodeId, owner };
    return { claims: { ...claims, recorded: place }, checks: [...checks, ...bindings(record, claims)] };
  });
}

/** Whose evidence it is: the keys make the node's id, and the evidence binds them with the challenge. */
function bindings(record: RecordedFile, claims: object): readonly Check[] {
  const { networkId, publicKey, challenge, nodeId } = record;
  const expected = toHex(attestReportData(networkId, record, challenge, sha256));
  const found = plainHex("reportData" in claims ? claims.reportData : undefined);
  const keyId = toHex(sha256(publicKey));
  return [
    checked("node id", keyId === nodeId, `the key is that of node ${keyId}`),
    checked("bound to the node's keys", found === expected, `found ${found}`),
  ];
}

function plainHex(value: unknown): string {
  if (value instanceof Uint8Array) return toHex(value);
  return typeof value === "string" ? value : "none";
}

function checked(name: string, holds: boolean, detail: string): Check {
  return holds ? { name, outcome: "passed" } : { name, outcome: "failed", code: "ReportDataMismatch", detail };
}

function verificationOf({ tee, evidence }: RecordedFile, options: JudgeOptions): Verification<object> {
  return readDocument(decodeEvidenceCbor(evidence), EVIDENCE_CONTEXT, (fields) => {
    fields.value("tee");
    if (tee === "virtual") return virtualVerification(fields, createEvidenceCrypto(), options);
    return hardwareVerification(readHardwareEvidence(fields, tee), options);
  });
}

function virtualVerification(
  fields: FieldReader,
  crypto: EvidenceCrypto,
  { expected: { machineKeys = [] } }: JudgeOptions,
): Verification<object> {
  const name = "signature of the machine";
  const detail = "the virtual TEE has none: it says which code runs where";
  const isolation: Check = { name: "isolation", outcome: "skipped", detail };
  try {
    const claims = readVirtualEvidence(fields, crypto);
    return {
      claims,
      checks: [{ name, outcome: "passed" }, machineCheck(toHex(claims.machineKey), machineKeys), isolation],
    };
  } catch (error) {
    if (!(error instanceof CocoError) || error.data["reason"] !== "SignatureInvalid") throw error;
    return { claims: {}, checks: [{ name, outcome: "failed", code: "SignatureInvalid", detail: error.message }] };
  }
}

/** Anybody can make a machine key: it counts when the caller knows it, as the TEE manifest lists it. */
function machineCheck(machineKey: string, known: readonly string[]): Check {
  const name = "machine key";
  if (known.includes(machineKey)) return { name, outcome: "passed" };
  const detail = known.length > 0 ? `found ${machineKey}` : `nobody vouches for it: --machine-key ${machineKey} would`;
  return { name, outcome: "failed", code: "TeeNotListed", detail };
}

function hardwareVerification(evidence: HardwareEvidence, options: JudgeOptions): Verification<object> {
  const { policies, nowMs } = options;
  const crypto = createAttestationCrypto();
  switch (evidence.tee) {
    case "snp":
      requireReportData(evidence);
      return judgeSnpWhole(evidence, options);
    case "sgx":
    case "tdx": {
      const collateral = endorsementOf(evidence, "collateral");
      return judgeDcap(evidence.tee, { quote: evidence.evidence, ...(collateral && { collateral }) }, options);
    }
    case "vsm":
      if (policies.vsm !== undefined) return judgeVsmEvidence(evidence, policies.vsm, { nowMs }, crypto);
      return isVbsReport(evidence)
        ? judgeVsmEvidence(evidence, vbsPolicy(policies), { nowMs }, crypto)
        : judgeToken(utf8Decode(evidence.evidence), undefined, options);
    case "virtual":
      throw evidenceRejected("UnknownTee", "the virtual TEE is no hardware");
  }
}
