/**
 * Certificate chains of Intel's SGX infrastructure, by rules that leave no choice: the number of certificates, their names,
 * their places as CA or leaf, one algorithm, a pinned root, and for every issuer a current list of what it revoked.
 *
 * Paths are not searched for: whoever hands in a chain has it in order. A list that is missing counts as much as one that
 * revokes, since a supplier of collateral could otherwise leave it out.
 */
import { parseCertificate, readOrNothing, type Certificate, type Signed } from "../../core/certificates/certificate.ts";
import { parseRevocationList, type RevocationList } from "../../core/certificates/crl.ts";
import { commonNameOf } from "../../core/certificates/name.ts";
import { namesIssuer, signatureProblem } from "../../core/certificates/path.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import type { AttestationCrypto, Checks } from "../checks.ts";
import { revocationListOf } from "./text-forms.ts";

/** SHA-256 of the SubjectPublicKeyInfo of the Intel SGX Root CA, hex. */
export const INTEL_SGX_ROOT = "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e";

/** What a chain is judged by. */
export interface ChainContext {
  /** SHA-256 of the SubjectPublicKeyInfo of each trusted root, hex. */
  readonly roots: readonly string[];
  readonly nowMs: number;
  readonly crypto: AttestationCrypto;
  readonly checks: Checks;
}

/** Common names of the certificates of a chain, from the leaf to the root; several where any of them will do. */
export type ChainNames = readonly (readonly string[])[];

const ROOT_NAMES = ["Intel SGX Root CA"];
/** Chain of the key that vouches for a quoting enclave. */
export const PCK_CHAIN: ChainNames = [
  ["Intel SGX PCK Certificate"],
  ["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"],
  ROOT_NAMES,
];
/** Chain of the key that signs TCB infos and enclave identities. */
export const TCB_CHAIN: ChainNames = [["Intel SGX TCB Signing"], ROOT_NAMES];

/** A chain whose signatures hold, from the leaf to the root. */
export type Chain = readonly Certificate[];

/**
 * Judges a chain, all but revocation, and notes the checks under this name; undefined when nothing of it can be used.
 * @param ders the certificates, from the leaf to the root
 */
export function judgeChain(
  name: string,
  ders: readonly Bytes[],
  names: ChainNames,
  context: ChainContext,
): Chain | undefined {
  const { checks, nowMs } = context;
  const certificates = ders.map((der) => readOrNothing(() => parseCertificate(der)));
  const chain = certificates.filter((certificate) => certificate !== undefined);
  const isComplete = chain.length === names.length && ders.length === names.length;
  if (!checks.require(`${name}: certificates`, isComplete, "ChainInvalid", `expected ${names.length} certificates`))
    return undefined;
  const root = chain.at(-1) as Certificate;
  const pin = toHex(context.crypto.digest("sha256", root.publicKey));
  checks.require(`${name}: root`, context.roots.includes(pin), "RootNotTrusted", `the root ${pin} is not pinned`);
  const badAlgorithm = chain.find((certificate) => !usesP256(certificate));
  const badAlgorithmText = `${badAlgorithm?.subject.text}: expected ECDSA on P-256 with SHA-256`;
  checks.require(`${name}: algorithms`, badAlgorithm === undefined, "AlgorithmNotAllowed", badAlgorithmText);
  const problem = placeProblem(chain, names) ?? linkProblem(chain, context.crypto);
  checks.require(`${name}: links`, problem === undefined, "ChainInvalid", problem ?? "");
  const notNow = chain.find(({ notBeforeMs, notAfterMs }) => nowMs < notBeforeMs || nowMs > notAfterMs);
  const notNowText = `${notNow?.subject.text}: not valid at this time`;
  checks.require(`${name}: validity`, notNow === undefined, "CertificateExpired", notNowText);
  return chain;
}

function usesP256({ keyType, algorithm }: Certificate): boolean {
  return keyType.type === "ec" && keyType.curve === "P-256" && isEcdsaSha256(algorithm);
}

function isEcdsaSha256(algorithm: Signed["algorithm"]): boolean {
  return algorithm.type === "ecdsa" && algorithm.hash === "sha256";
}

/** Why a certificate is not one that may stand at its place. */
function placeProblem(chain: Chain, names: ChainNames): string | undefined {
  for (const [at, certificate] of chain.entries()) {
    const { subject, isCa, pathLength, keyUsage, unknownCritical } = certificate;
    if (names[at]?.includes(commonNameOf(subject) ?? "") !== true) return `${subject.text}: another name was expected`;
    if (unknownCritical.length > 0) return `${subject.text}: a critical extension that is not known`;
    if (isCa !== at > 0) return `${subject.text}: ${isCa ? "a CA" : "no CA"} at this place`;
    if (at === 0 && keyUsage?.digitalSignature === false) return `${subject.text}: may not sign`;
    if (at > 0 && keyUsage?.certificateSign === false) return `${subject.text}: may not issue`;
    if (at > 0 && pathLength !== undefined && pathLength < at - 1) return `${subject.text}: too long a path below it`;
  }
  return undefined;
}

/** Why a certificate is not issued by the next one, or the last one by itself. */
function linkProblem(chain: Chain, { verify }: AttestationCrypto): string | undefined {
  for (const [at, certificate] of chain.entries()) {
    const issuer = chain[at + 1] ?? certificate;
    const isIssued = namesIssuer(certificate, issuer) && signatureProblem(certificate, issuer, verify) === undefined;
    if (!isIssued) return `${certificate.subject.text}: not issued by ${issuer.subject.text}`;
  }
  return undefined;
}

/**
 * Reads a revocation list and checks that it is its issuer's and current; undefined, with a failed check, when it is not.
 * What is on a list that is not current is revoked all the same: see {@link requireUnrevoked}.
 */
export function judgeRevocationList(
  name: string,
  text: string,
  issuer: Certificate,
  { checks, nowMs, crypto }: ChainContext,
): RevocationList | undefined {
  const list = readOrNothing(() => parseRevocationList(revocationListOf(text)));
  const isIssued =
    list !== undefined &&
    issuer.keyUsage?.revocationListSign !== false &&
    list.issuer.key === issuer.subject.key &&
    isEcdsaSha256(list.algorithm) &&
    signatureProblem(list, issuer, crypto.verify) === undefined;
  const problem =
    list === undefined
      ? "there is none, or it is not well-formed"
      : !isIssued
        ? `not signed by ${issuer.subject.text}`
        : "not current at this time";
  const isCurrent = list !== undefined && list.thisUpdateMs <= nowMs && nowMs <= list.nextUpdateMs;
  checks.require(name, isIssued && isCurrent, "RevocationMissing", problem);
  return isIssued ? list : undefined;
}

/** Notes whether a certificate is not on its issuer's list; without one the missing list was noted already. */
export function requireUnrevoked(
  name: string,
  certificate: Certificate,
  list: RevocationList | undefined,
  checks: Checks,
): void {
  if (list === undefined) {
    checks.skip(name, "there is no list to look into");
    return;
  }
  const problem = `${certificate.subject.text}: serial number ${certificate.serial} is revoked`;
  checks.require(name, !list.revoked.has(certificate.serial), "CertificateRevoked", problem);
}
