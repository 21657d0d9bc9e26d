/**
 * The roots of AMD: one key per generation of chips, pinned by the SHA-256 of its SubjectPublicKeyInfo. Roots are an argument
 * of verification and come from nowhere else: no file, environment or manifest adds one.
 */
import { type Certificate, parseCertificate } from "../../core/certificates/certificate.ts";
import { fromBase64 } from "../../core/codec/base64.ts";
import type { SnpProduct } from "../../core/governance/policy-snp.ts";
import { AMD_CERTIFICATES } from "./amd-certificates.ts";

/** Pinned roots, with certificates that evidence need not carry. */
export interface SnpRoots {
  /** SHA-256 of the root key's SubjectPublicKeyInfo, lower-case hex, by product. */
  readonly pins: Readonly<Partial<Record<SnpProduct, string>>>;
  /** Certificates of roots and of what is between them and the signing keys; they count as if the evidence had them. */
  readonly certificates: readonly Certificate[];
}

/** The pins of AMD's roots ("ARK-Milan" and so on). */
export const AMD_ROOT_PINS = {
  Milan: "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
  Genoa: "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
  Turin: "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
} as const;

/** The roots that count in production. Made once per verifier: reading the certificates takes a moment. */
export function createAmdRoots(): SnpRoots {
  return { pins: AMD_ROOT_PINS, certificates: AMD_CERTIFICATES.map((text) => parseCertificate(fromBase64(text))) };
}
