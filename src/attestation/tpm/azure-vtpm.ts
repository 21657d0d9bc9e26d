/**
 * Verification of a confidential virtual machine of Azure by its virtual TPM: a quote of the TPM, signed by the key that the
 * runtime data name, whose digest stands in the machine's SNP report. The report itself is verified by snp/verify.ts; only the
 * quote is fresh, because the report is made once when the machine starts.
 */
import type { SignatureAlgorithm } from "../../core/certificates/algorithm.ts";
import { isStrongKey, readKeyType } from "../../core/certificates/algorithm.ts";
import { bytesEqual, concatBytes, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { readDer } from "../../core/codec/der.ts";
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import { REPORT_DATA_BYTES } from "../evidence.ts";
import { parseHclReport } from "./hcl-report.ts";
import { parseTpmQuote, quotedPcrs } from "./quote.ts";

/** A quote of a TPM with the values it covers. */
export interface TpmQuoteEvidence {
  /** TPMS_ATTEST. */
  readonly message: Bytes;
  /** RSASSA PKCS #1 v1.5 with SHA-256. */
  readonly signature: Bytes;
  /** Values of the registers from 0 on, 32 bytes each. */
  readonly pcrs: readonly Bytes[];
}

/** Evidence of a confidential machine of Azure. */
export interface AzureVtpmEvidence {
  /** As the TPM's index 0x01400001 holds it. */
  readonly hclReport: Bytes;
  readonly quote: TpmQuoteEvidence;
  /** Endorsements of the SNP report, DER. */
  readonly certificates: readonly Bytes[];
}

/** What the TPM claims, and what it hands on; ids and digests in lower-case hex. */
export interface AzureVtpmClaims {
  readonly tee: "snp";
  /** For the verifier of SNP reports. */
  readonly snpReport: Bytes;
  /** What the quote binds. */
  readonly nonce: string;
  readonly pcrs: PcrValues;
  /** SubjectPublicKeyInfo of the TPM's key. */
  readonly attestationKey: string;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly machineId?: string;
  readonly secureBoot?: boolean;
}

/** What is asked of a quote. */
export interface AzureVtpmExpected {
  /** What the quote must bind; absent: it is not judged. */
  readonly nonce?: Bytes;
}

const SIGNATURE: SignatureAlgorithm = { type: "rsa", hash: "sha256" };
const REPORT_DATA_OFFSET = 0x50;

/** The nonce by which a quote binds 64 bytes of report data: TPMs take fewer. */
export function vtpmNonce(reportData: Bytes, crypto: AttestationCrypto): Bytes {
  return crypto.digest("sha256", reportData);
}

/**
 * Verifies the TPM's part of the evidence, and that it belongs to the SNP report; the report is the caller's to verify.
 * Throws `MalformedInput` when HCL report or quote cannot be read.
 */
export function verifyAzureVtpm(
  evidence: Pick<AzureVtpmEvidence, "hclReport" | "quote">,
  expected: AzureVtpmExpected,
  crypto: AttestationCrypto,
): Verification<AzureVtpmClaims> {
  const { snpReport, runtimeData, runtimeHash, ...machine } = parseHclReport(evidence.hclReport);
  const quote = parseTpmQuote(evidence.quote.message);
  const checks = new Checks();
  const digest = crypto.digest(runtimeHash, runtimeData);
  const bound = concatBytes(digest, new Uint8Array(REPORT_DATA_BYTES - digest.length));
  const reportData = snpReport.subarray(REPORT_DATA_OFFSET, REPORT_DATA_OFFSET + REPORT_DATA_BYTES);
  const isBound = bytesEqual(reportData, bound);
  checks.require("runtime data", isBound, "KeyNotBound", "the SNP report binds others, or more than their digest");
  checkSignature(checks, machine.attestationKey, evidence.quote, crypto);
  const pcrs = quotedPcrs(quote, evidence.quote.pcrs, (data) => crypto.digest("sha256", data));
  checks.require(
    "registers of the TPM",
    pcrs !== undefined,
    "SignatureInvalid",
    "their values are not the quoted ones",
  );
  requireNonce(checks, quote.nonce, expected.nonce);
  const claims: AzureVtpmClaims = {
    tee: "snp",
    snpReport,
    nonce: toHex(quote.nonce),
    pcrs: pcrs ?? {},
    resetCount: quote.resetCount,
    restartCount: quote.restartCount,
    ...machine,
    attestationKey: toHex(machine.attestationKey),
  };
  return { claims, checks: checks.list };
}

function checkSignature(checks: Checks, key: Bytes, quote: TpmQuoteEvidence, crypto: AttestationCrypto): void {
  const isStrong = isStrongKey(readDer(key, readKeyType));
  checks.require("key of the TPM", isStrong, "AlgorithmNotAllowed", "not an RSA key of 2048 bits or more");
  if (isStrong) {
    const isSigned = crypto.verify(SIGNATURE, key, quote.message, quote.signature);
    checks.require("signature of the quote", isSigned, "SignatureInvalid", "not by the key of the runtime data");
  } else checks.skip("signature of the quote", "no key that counts");
}

function requireNonce(checks: Checks, found: Bytes, expected: Bytes | undefined): void {
  if (expected === undefined) checks.skip("nonce", "nothing to compare with");
  else checks.require("nonce", bytesEqual(found, expected), "NonceMismatch", toHex(found));
}
