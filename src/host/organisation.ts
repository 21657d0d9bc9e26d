/**
 * Keys and certificates of an organisation, as files: what a member brings into a network. The private key is its own;
 * the network sees the certificate only.
 */
import {
  type ActorCurve,
  createStaffCertificate,
  createOrganisationCertificate,
  generateKeyPairPem,
  type Issuer,
} from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { createFileAtomic, PUBLIC_FILE_MODE, SECRET_FILE_MODE } from "./files.ts";

/** A certificate begins to hold this long before it is made: clocks of other machines may be behind. */
const CLOCK_ALLOWANCE_MS = 3_600_000;

/** Where a certificate and its private key are written. */
export interface CredentialFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate with its private key, PEM. */
export type Credentials = Issuer;

function issuanceOf(days: number) {
  return { notBeforeMs: Date.now() - CLOCK_ALLOWANCE_MS, days, entropy: nodeEntropy };
}

/** Writes a key (mode 0600) and its certificate. Throws `ConfigurationInvalid`, with nothing replaced, when either exists. */
export async function writeCredentials(
  files: CredentialFiles,
  { certificate, privateKey }: Credentials,
): Promise<void> {
  await createOnce(files.key, privateKey, SECRET_FILE_MODE);
  await createOnce(files.certificate, certificate, PUBLIC_FILE_MODE);
}

async function createOnce(file: string, data: string, mode: number): Promise<void> {
  if (await createFileAtomic(file, data, mode)) return;
  throw new CocoError("ConfigurationInvalid", `${file}: exists; it is not overwritten`, { file });
}

/** What an organisation's certificate is made for. */
export interface OrganisationKind {
  readonly curve?: ActorCurve;
  /** Whether it issues certificates to staff, or only signs. */
  readonly kind?: "ca" | "signer";
}

/** Makes an organisation's key and its self-signed certificate; a CA certificate on P-256 unless `kind` says otherwise. */
export function createOrganisation(id: string, name: string, days: number, kind: OrganisationKind = {}): Credentials {
  const { privateKey } = generateKeyPairPem(kind.curve);
  const subject = { commonName: id, organisation: name };
  return { privateKey, certificate: createOrganisationCertificate(subject, privateKey, issuanceOf(days), kind.kind) };
}

/** Makes a key and a certificate for a member of staff, or a program, of an organisation. */
export function createStaff(
  commonName: string,
  organisation: Credentials,
  days: number,
  curve?: ActorCurve,
): Credentials {
  const { privateKey, publicKey } = generateKeyPairPem(curve);
  return { privateKey, certificate: createStaffCertificate({ commonName }, publicKey, organisation, issuanceOf(days)) };
}
