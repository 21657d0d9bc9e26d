/**
 * Evidence and claims, in the words of RATS (RFC 9334): the attester is a validating node, evidence is what its TEE signed,
 * claims are what verified evidence says. Verification (is the evidence genuine and fresh?) and appraisal (do the
 * manifests allow what it claims?) are apart. Pure: validating nodes, clients in browsers and the command line share it.
 */
import { toHex, type Bytes, type HashFunction } from "../core/codec/bytes.ts";
import type { HardwareTee, HardwareTeeEntry } from "../core/governance/manifest-entries.ts";
import type { PcrValues } from "../core/governance/policy-snp.ts";
import type { AttestationCrypto, Check } from "./checks.ts";
import type { ReasonCode } from "./reasons.ts";
import type { SnpRoots } from "./snp/roots.ts";
import type { VerifyFunction } from "../core/governance/cose.ts";
import { CocoError } from "../errors.ts";

/** Length of report data in bytes: what a TEE binds into its evidence. */
export const REPORT_DATA_BYTES = 64;
/** Largest evidence in bytes. */
export const MAX_EVIDENCE_BYTES = 64 * 1024;

/** Why evidence was rejected, by its verification or by the manifests. */
export type EvidenceRejection = ReasonCode;

/** The cryptography verification is handed. */
export interface EvidenceCrypto {
  readonly sha256: HashFunction;
  /** ECDSA P-256 with SHA-256 by a SubjectPublicKeyInfo (DER): 64 bytes r ‖ s. */
  readonly verify: VerifyFunction;
  /** For evidence of hardware; absent: it is of a TEE that the verifier does not know. */
  readonly hardware?: HardwareVerification;
}

/** Keys that hardware is trusted by, from outside the constitution. VSM has none: its roots are part of its policies. */
export interface HardwareRoots {
  readonly amd: SnpRoots;
  /** SHA-256 of the SubjectPublicKeyInfo of each root of DCAP, hex. */
  readonly intel: readonly string[];
}

/** What evidence of hardware is verified with. */
export interface HardwareVerification {
  readonly crypto: AttestationCrypto;
  readonly roots: HardwareRoots;
}

/** What evidence of the virtual TEE claims. */
export interface VirtualClaims {
  readonly tee: "virtual";
  /** Lower-case hex, 32 bytes. */
  readonly measurement: string;
  /** 64 bytes. */
  readonly reportData: Bytes;
  /** The machine that signed, SubjectPublicKeyInfo DER. */
  readonly machineKey: Bytes;
}

/** What hardware measures beside the measurement, as it was found. */
export type MeasuredValues =
  | { readonly tee: "snp"; readonly hostData: string }
  | { readonly tee: "sgx"; readonly signer: string; readonly productId: number; readonly version: number }
  | { readonly tee: "tdx"; readonly registers: readonly string[] }
  | { readonly tee: "vsm" };

/** What genuine evidence of hardware claims. */
export interface HardwareClaims {
  readonly tee: HardwareTee;
  /** Lower-case hex, 32 or 48 bytes. */
  readonly measurement: string;
  /** 64 bytes. */
  readonly reportData: Bytes;
  /** The chip, as far as the TEE names it; lower-case hex. */
  readonly platform: string;
  /** How up to date the platform is, in the TEE's words. */
  readonly tcb?: string;
  readonly measured: MeasuredValues;
  /** Of a machine that attests through its virtual TPM: what the TPM's registers hold, which entries of the TEE manifest judge. */
  readonly pcrs?: PcrValues;
  /** What an entry of the TEE manifest has to say of it, at the time of verification. */
  readonly judge: (entry: HardwareTeeEntry) => readonly Check[];
}

/** Claims of any supported TEE. */
export type Claims = VirtualClaims | HardwareClaims;

/** What the code runs on, as its TEE names it; lower-case hex. */
export function platformOf(claims: Claims): string {
  return claims.tee === "virtual" ? toHex(claims.machineKey) : claims.platform;
}

/** An `EvidenceRejected` error with its machine-readable reason. */
export function evidenceRejected(reason: EvidenceRejection, message: string, cause?: unknown): CocoError {
  return new CocoError("EvidenceRejected", message, { reason }, { cause });
}
