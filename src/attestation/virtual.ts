/**
 * Evidence of the virtual TEE: a statement {measurement, report data, machine key} signed by the machine key (P-256).
 *
 * It names the code that started and the machine it claims to run on. It protects nothing: whoever can read the machine
 * key file, or runs code as the same user, can make any evidence. It exists so that a network without hardware follows the
 * same steps as one with it, and is admitted only where the TEE manifest lists the machine.
 */
import { decodeCbor, encodeCbor } from "../core/codec/cbor.ts";
import { concatBytes, fromHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { MEASUREMENT_BYTES } from "../core/governance/manifest-codec.ts";
import type { SignFunction } from "../core/governance/cose.ts";
import { readDocument, treeToCbor, type FieldContext, type FieldReader } from "../core/governance/fields.ts";
import { CocoError } from "../errors.ts";
import { evidenceRejected, REPORT_DATA_BYTES, type EvidenceCrypto, type VirtualClaims } from "./evidence.ts";

const SIGNATURE_DOMAIN = utf8Encode("coco virtual evidence v1\0");
const MAX_STATEMENT_BYTES = 1024;
const MAX_PUBLIC_KEY_BYTES = 256;
const SIGNATURE_BYTES = 64;
const CONTEXT: FieldContext = { form: "cbor", code: "EvidenceRejected", data: { reason: "Malformed" } };

/** Makes evidence of the virtual TEE; `sign` uses the machine's private key. */
export function encodeVirtualEvidence(claims: Omit<VirtualClaims, "tee">, sign: SignFunction): Bytes {
  const { measurement, reportData, machineKey } = claims;
  const statement = encodeCbor(treeToCbor({ measurement: fromHex(measurement), reportData, machineKey }));
  const signature = sign(concatBytes(SIGNATURE_DOMAIN, statement));
  return encodeCbor(treeToCbor({ tee: "virtual", statement, signature }));
}

/** Reads and verifies the fields of virtual evidence after `tee`; throws `EvidenceRejected`. */
export function readVirtualEvidence(fields: FieldReader, crypto: EvidenceCrypto): VirtualClaims {
  const statement = fields.bytes("statement", { max: MAX_STATEMENT_BYTES });
  const signature = fields.bytes("signature", { length: SIGNATURE_BYTES });
  const claims = readStatement(statement);
  if (!crypto.verify(claims.machineKey, concatBytes(SIGNATURE_DOMAIN, statement), signature)) {
    throw evidenceRejected("SignatureInvalid", "the machine key did not sign the statement");
  }
  return claims;
}

function readStatement(statement: Bytes): VirtualClaims {
  return readDocument(decodeEvidenceCbor(statement), CONTEXT, (fields) => ({
    tee: "virtual",
    measurement: fields.hex("measurement", MEASUREMENT_BYTES),
    reportData: fields.bytes("reportData", { length: REPORT_DATA_BYTES }),
    machineKey: fields.bytes("machineKey", { max: MAX_PUBLIC_KEY_BYTES }),
  }));
}

/** Decodes CBOR inside evidence; malformed bytes are `EvidenceRejected`. */
export function decodeEvidenceCbor(bytes: Bytes): unknown {
  try {
    return decodeCbor(bytes);
  } catch (error) {
    if (error instanceof CocoError && error.code === "Internal") throw error;
    throw evidenceRejected("Malformed", "evidence is not deterministic CBOR", error);
  }
}
