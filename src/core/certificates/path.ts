/**
 * Path validation (RFC 5280, chapter 6): whether a certificate speaks for who listed an anchor.
 *
 * Anchors are certificates, not bare keys: their validity, constraints and usages count. A certificate that is itself an
 * anchor needs no path and no particular usage; it must be valid and not revoked. Revocation is judged by the lists that
 * are handed in, and fails closed: where there is a list of a certificate's issuer, it must verify and one must be current.
 * A list past its next update therefore stops whatever its CA issued (what is listed itself goes on, so that its owner can
 * put a new list in place), and what any list ever revoked stays revoked. Without a list of the issuer nothing is asked.
 */
import { bytesEqual } from "../codec/bytes.ts";
import { fitsKey, isStrongKey, type VerifySignature } from "./algorithm.ts";
import type { Certificate, Signed } from "./certificate.ts";
import type { RevocationList } from "./crl.ts";
import { violatesConstraints } from "./name-constraints.ts";
import type { GeneralName } from "./name.ts";

/** Most certificates of a path, the certificate itself and the anchor among them. */
export const MAX_PATH_CERTIFICATES = 4;
/** Most signatures of certificates looked at for one verdict; a search that needs more finds nothing. */
export const MAX_PATH_SIGNATURES = 32;

const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

/** Why a certificate has no path to an anchor. */
export type PathProblem =
  /** Past its end, or that of a certificate above it. */
  | "Expired"
  | "NotYetValid"
  /** No anchor, nor anything that leads to one, has the issuer's name and key id. */
  | "UnknownIssuer"
  /** Signed by another key than that of the issuer it names; also: a revocation list of the issuer's name is. */
  | "BadSignature"
  | "NotACa"
  | "PathTooLong"
  /** The certificate, or one above it, must not be used for this. */
  | "KeyUsage"
  /** A name that a CA above may not issue for. */
  | "NameConstraint"
  | "Revoked"
  /** There are revocation lists of the issuer, and none of them is current. */
  | "RevocationExpired"
  | "UnsupportedCriticalExtension"
  /** A key too short, or a key or signature of an algorithm that does not count. */
  | "WeakKey";

/** What to judge. */
export interface PathRequest {
  readonly leaf: Certificate;
  /** Further certificates that may lead to an anchor, in any order. */
  readonly intermediates: readonly Certificate[];
  readonly anchors: readonly Certificate[];
  readonly revocations: readonly RevocationList[];
  readonly nowMs: number;
  readonly verify: VerifySignature;
  /** What the leaf is used for, as an identifier; absent: authenticating a client. With `any` no purpose is asked for. */
  readonly purpose?: string;
}

/** A path that holds. */
export interface AcceptedPath {
  /** Position among the anchors. */
  readonly anchor: number;
  /** From the certificate to the anchor. */
  readonly path: readonly Certificate[];
  /** The last millisecond until which it holds, unless the anchors or revocation lists change. */
  readonly untilMs: number;
}

/** That there is no path, and the problem of the one that got farthest. */
export interface RefusedPath {
  readonly problem: PathProblem;
  /** The certificate that has the problem. */
  readonly certificate: Certificate;
}

/** Looks for a path that holds. */
export function validatePath(request: PathRequest): AcceptedPath | RefusedPath {
  const { leaf, anchors } = request;
  const anchor = anchors.findIndex(({ der }) => bytesEqual(der, leaf.der));
  if (anchor < 0) return new PathSearch(request).run();
  const problem = standaloneProblem(leaf, request.nowMs) ?? anchorRevocation(leaf, request);
  return problem === undefined ? { anchor, path: [leaf], untilMs: leaf.notAfterMs } : { problem, certificate: leaf };
}

/** Whether by names and key ids a certificate may be issued by another; only the signature tells. */
export function namesIssuer(certificate: Certificate, issuer: Certificate): boolean {
  const { key, parts } = certificate.issuer;
  if (parts.length === 0 || key !== issuer.subject.key) return false;
  const { authorityKeyId: wanted } = certificate;
  const { subjectKeyId: actual } = issuer;
  return wanted === undefined || actual === undefined || bytesEqual(wanted, actual);
}

/** Why something was not signed with the key of a certificate; undefined when it was. */
export function signatureProblem(
  signed: Signed,
  issuer: Certificate,
  verify: VerifySignature,
): "WeakKey" | "BadSignature" | undefined {
  const { algorithm } = signed;
  if (algorithm.type === "unsupported" || !isStrongKey(issuer.keyType)) return "WeakKey";
  const isGenuine =
    fitsKey(algorithm, issuer.keyType) && verify(algorithm, issuer.publicKey, signed.signedBytes, signed.signature);
  return isGenuine ? undefined : "BadSignature";
}

/** A refusal says more the farther the search got: anybody can name an issuer, only few have its signature. */
function weight({ problem }: RefusedPath): number {
  if (problem === "UnknownIssuer") return 0;
  return problem === "BadSignature" ? 1 : 2;
}

/** Of two refusals the one that says more; of equals the first. */
export function tellingRefusal<T extends RefusedPath>(first: T | undefined, second: T): T {
  return first !== undefined && weight(first) >= weight(second) ? first : second;
}

class PathSearch {
  readonly #request: PathRequest;
  readonly #intermediates: readonly Certificate[];
  #signaturesLeft = MAX_PATH_SIGNATURES;
  #refusal: RefusedPath;

  constructor(request: PathRequest) {
    this.#request = request;
    this.#intermediates = request.intermediates.filter(
      ({ der }) => !request.anchors.some((anchor) => bytesEqual(anchor.der, der)),
    );
    this.#refusal = { problem: "UnknownIssuer", certificate: request.leaf };
  }

  run(): AcceptedPath | RefusedPath {
    return this.#extend([this.#request.leaf]) ?? this.#refusal;
  }

  #refuse(problem: PathProblem, certificate: Certificate): void {
    this.#refusal = tellingRefusal(this.#refusal, { problem, certificate });
  }

  /** Looks for the rest of a path whose signatures hold so far. */
  #extend(path: readonly Certificate[]): AcceptedPath | undefined {
    const last = path.at(-1) as Certificate;
    for (const [at, anchor] of this.#request.anchors.entries()) {
      if (!this.#isIssuedBy(last, anchor, path)) continue;
      const verdict = judgePath([...path, anchor], at, this.#request);
      if (!("problem" in verdict)) return verdict;
      this.#refuse(verdict.problem, verdict.certificate);
    }
    for (const issuer of this.#intermediates) {
      if (path.some(({ der }) => bytesEqual(der, issuer.der)) || !this.#isIssuedBy(last, issuer, path)) continue;
      const accepted = this.#extend([...path, issuer]);
      if (accepted !== undefined) return accepted;
    }
    return undefined;
  }

  #isIssuedBy(certificate: Certificate, issuer: Certificate, path: readonly Certificate[]): boolean {
    if (!namesIssuer(certificate, issuer)) return false;
    if (path.length === MAX_PATH_CERTIFICATES || this.#signaturesLeft === 0) {
      this.#refuse("PathTooLong", certificate);
      return false;
    }
    this.#signaturesLeft--;
    const problem = signatureProblem(certificate, issuer, this.#request.verify);
    if (problem !== undefined) this.#refuse(problem, problem === "WeakKey" ? issuer : certificate);
    return problem === undefined;
  }
}

/** Judges a path whose signatures hold, from the anchor down. */
function judgePath(path: readonly Certificate[], anchor: number, request: PathRequest): AcceptedPath | RefusedPath {
  let untilMs = Number.POSITIVE_INFINITY;
  for (let at = path.length - 1; at >= 0; at--) {
    const certificate = path[at] as Certificate;
    const issuer = path[at + 1];
    const problem =
      standaloneProblem(certificate, request.nowMs) ??
      usageProblem(certificate, path.slice(0, at), request.purpose ?? CLIENT_AUTHENTICATION) ??
      (breaksConstraints(certificate, path.slice(at + 1), at === 0) ? "NameConstraint" : undefined);
    if (problem !== undefined) return { problem, certificate };
    const revocation =
      issuer === undefined ? anchorRevocation(certificate, request) : revocationOf(certificate, issuer, path, request);
    if (typeof revocation === "string") return { problem: revocation, certificate };
    untilMs = Math.min(untilMs, certificate.notAfterMs, revocation ?? untilMs);
  }
  return { anchor, path, untilMs };
}

/** What makes a certificate useless by itself, as an anchor and below one. */
function standaloneProblem(certificate: Certificate, nowMs: number): PathProblem | undefined {
  if (certificate.unknownCritical.length > 0) return "UnsupportedCriticalExtension";
  if (!isStrongKey(certificate.keyType)) return "WeakKey";
  if (nowMs < certificate.notBeforeMs) return "NotYetValid";
  return nowMs > certificate.notAfterMs ? "Expired" : undefined;
}

/** `below` are the certificates between this one and the leaf, and the leaf. Purposes of a CA bound those of what it issues. */
function usageProblem(certificate: Certificate, below: readonly Certificate[], purpose: string) {
  const { keyPurposes } = certificate;
  const isForPurpose = purpose === "any" || keyPurposes === undefined || keyPurposes.includes(purpose);
  return below.length === 0 ? leafProblem(certificate, isForPurpose) : issuerProblem(certificate, below, isForPurpose);
}

function leafProblem(certificate: Certificate, isForPurpose: boolean): PathProblem | undefined {
  const maySign = certificate.keyUsage?.digitalSignature ?? true;
  return maySign && isForPurpose ? undefined : "KeyUsage";
}

/** Whether a certificate names itself as its issuer. */
export function isSelfIssued(certificate: Certificate): boolean {
  return certificate.subject.key === certificate.issuer.key;
}

function issuerProblem(
  certificate: Certificate,
  below: readonly Certificate[],
  isForPurpose: boolean,
): PathProblem | undefined {
  if (!certificate.isCa) return "NotACa";
  if (certificate.keyUsage?.certificateSign === false || !isForPurpose) return "KeyUsage";
  const length = below.slice(1).filter((issued) => !isSelfIssued(issued)).length;
  return length > (certificate.pathLength ?? length) ? "PathTooLong" : undefined;
}

function namesOf(certificate: Certificate): readonly GeneralName[] {
  const { subject, alternativeNames } = certificate;
  const directory: GeneralName[] = subject.parts.length > 0 ? [{ form: "directory", name: subject }] : [];
  const emails = subject.emailAddresses.map((text): GeneralName => ({ form: "email", text }));
  return [...directory, ...alternativeNames, ...emails];
}

/** A CA's new certificate for its own name is not bound by its constraints (RFC 5280, 6.1.3 b), unless it is the leaf. */
export function breaksConstraints(certificate: Certificate, above: readonly Certificate[], isLeaf: boolean): boolean {
  if (!isLeaf && isSelfIssued(certificate)) return false;
  const constraints = above.flatMap(({ nameConstraints }) => nameConstraints ?? []);
  if (constraints.length === 0) return false;
  return namesOf(certificate).some((name) => constraints.some((each) => violatesConstraints(each, name)));
}

/** The time until which a certificate is known not to be revoked, undefined where nothing was to be asked; or the problem. */
function revocationOf(
  certificate: Certificate,
  issuer: Certificate,
  path: readonly Certificate[],
  request: PathRequest,
): number | PathProblem | undefined {
  const { nowMs, verify, anchors } = request;
  let untilMs: number | undefined;
  for (const list of request.revocations) {
    if (list.issuer.key !== certificate.issuer.key) continue;
    if (signatureProblem(list, issuer, verify) !== undefined) {
      // A CA that changed its key and kept its name has a list of each key. One of no key at all protects nobody.
      if (!isListOfAny(list, [...anchors, ...path], verify)) return "BadSignature";
      continue;
    }
    if (issuer.keyUsage?.revocationListSign === false) return "KeyUsage";
    if (list.revoked.has(certificate.serial)) return "Revoked";
    untilMs = Math.max(untilMs ?? 0, list.thisUpdateMs <= nowMs ? list.nextUpdateMs : 0);
  }
  return untilMs !== undefined && untilMs < nowMs ? "RevocationExpired" : untilMs;
}

/** An anchor was voted for: a list that is not current takes nothing from it, one that revokes it does. */
function anchorRevocation(anchor: Certificate, request: PathRequest): "Revoked" | undefined {
  const isRevoked = request.revocations.some(
    (list) =>
      list.issuer.key === anchor.issuer.key &&
      list.revoked.has(anchor.serial) &&
      isListOfAny(list, request.anchors, request.verify),
  );
  return isRevoked ? "Revoked" : undefined;
}

function isListOfAny(list: RevocationList, issuers: readonly Certificate[], verify: VerifySignature): boolean {
  return issuers.some(
    (issuer) => issuer.subject.key === list.issuer.key && signatureProblem(list, issuer, verify) === undefined,
  );
}
