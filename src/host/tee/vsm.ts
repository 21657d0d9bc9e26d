/**
 * The provider `vsm`: evidence of a VBS enclave, made by an enclave host beside the node (enclave-host.ts), or read from a file
 * that such a host serves. No JavaScript runs inside the enclave; docs/reference/attestation-vsm.md says what follows.
 * Whatever the host answers is read by the verifier's own readers, and must bind the data that were given.
 */
import { bindsData } from "../../attestation/bound-data.ts";
import { REPORT_DATA_BYTES } from "../../attestation/evidence.ts";
import type { Endorsement, HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { MAX_TOKEN_LENGTH, type JsonFields } from "../../attestation/maa/token.ts";
import { parseVbsReport } from "../../attestation/vsm/report.ts";
import { MAX_HEALTH_INTERMEDIATES } from "../../attestation/vsm/verify.ts";
import { toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import {
  answeredBytes,
  askAt,
  askInFile,
  type AskEnclaveHost,
  bytesOf,
  enclaveHostUnavailable,
  MAX_ENCLAVE_SEALED_BYTES,
} from "./enclave-host.ts";
import type { SealingProvider, TeeProvider } from "./provider.ts";

/** A VBS enclave through its host. */
export interface VsmProvider extends SealingProvider {
  readonly tee: "vsm";
}

/** The provider of an enclave host at a named pipe or Unix socket. */
export function createVsmProvider(path: string, ask: AskEnclaveHost = askAt(path)): VsmProvider {
  const change = async (operation: "seal" | "unseal", data: Bytes): Promise<Bytes> => {
    if (data.length === 0 || data.length > MAX_ENCLAVE_SEALED_BYTES)
      throw enclaveHostUnavailable(`${operation} takes 1 to ${MAX_ENCLAVE_SEALED_BYTES} bytes`);
    const { data64 } = answeredBytes(await ask(operation, data), ["data64"]);
    if (data64.length > MAX_ENCLAVE_SEALED_BYTES) throw enclaveHostUnavailable("it answered with too many bytes");
    return data64;
  };
  return {
    tee: "vsm",
    attest: async (reportData) => {
      requireReportData(reportData);
      return evidenceOf(await ask("attest", reportData), reportData);
    },
    seal: (secret) => change("seal", secret),
    unseal: (sealed) => change("unseal", sealed),
  };
}

/** The provider of a host that answers in a file. It does not seal: what a node seals stays under its machine key. */
export function createVsmFileProvider(file: string, ask: AskEnclaveHost = askInFile(file)): TeeProvider {
  return {
    tee: "vsm",
    attest: async (reportData) => {
      requireReportData(reportData);
      return evidenceOf(await ask("attest", reportData), reportData);
    },
  };
}

function requireReportData(reportData: Bytes): void {
  if (reportData.length !== REPORT_DATA_BYTES)
    throw enclaveHostUnavailable(`report data of ${reportData.length} bytes, ${REPORT_DATA_BYTES} expected`);
}

/** `{"report","healthCertificate","intermediates"?}`, or `{"token"}`. */
function evidenceOf(answer: JsonFields, reportData: Bytes): HardwareEvidence {
  return answer.has("token") ? tokenEvidence(answer) : reportEvidence(answer, reportData);
}

function tokenEvidence(answer: JsonFields): HardwareEvidence {
  const token = answer.get("token");
  if (answer.size !== 1 || typeof token !== "string" || token.length > MAX_TOKEN_LENGTH)
    throw enclaveHostUnavailable("expected an answer of one token");
  return { tee: "vsm", evidence: utf8Encode(token), endorsements: [] };
}

function reportEvidence(answer: JsonFields, reportData: Bytes): HardwareEvidence {
  const { intermediates, others } = splitIntermediates(answer);
  const { report, healthCertificate } = answeredBytes(others, ["report", "healthCertificate"]);
  if (!bindsData(boundBy(report), reportData)) throw enclaveHostUnavailable("its report is for other data");
  const endorsements: Endorsement[] = [
    { kind: "health-certificate", content: healthCertificate },
    ...intermediates.map((content): Endorsement => ({ kind: "certificates", content })),
  ];
  return { tee: "vsm", evidence: report, endorsements };
}

function splitIntermediates(answer: JsonFields) {
  const list = answer.get("intermediates") ?? [];
  if (!Array.isArray(list) || list.length > MAX_HEALTH_INTERMEDIATES)
    throw enclaveHostUnavailable(`expected at most ${MAX_HEALTH_INTERMEDIATES} certificates between`);
  const others = new Map([...answer].filter(([name]) => name !== "intermediates"));
  return { others, intermediates: list.map((value: unknown) => bytesOf(value, "a certificate between")) };
}

function boundBy(report: Bytes): string {
  try {
    return toHex(parseVbsReport(report).enclaveData);
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    throw enclaveHostUnavailable("its report cannot be read", error);
  }
}
