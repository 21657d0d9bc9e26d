/**
 * Endorsements of utility VMs: a COSE Sign1 (RFC 9052) in which who builds the VM's image says which launch measurement it
 * has, in which feed and security version. The issuer is a did:x509, resolved by the chain that the message carries.
 *
 * There are two forms. Older ones name issuer and feed by headers of their own, and measurement and version in JSON. Newer ones
 * have them as CWT claims (RFC 9597), and their payload is the measurement itself, marked as a hash envelope (RFC 9995): a launch
 * measurement is a SHA-384 of what was launched.
 *
 * The leaves of these chains live for a year, and are left aside as to time: what counts is that a policy names issuer, feed
 * and lowest version (appraise.ts).
 */
import { fitsKey, type KeyType, type SignatureAlgorithm } from "../../core/certificates/algorithm.ts";
import { readOrNothing, tryParseCertificate } from "../../core/certificates/certificate.ts";
import { type Bytes, bytesEqual, EMPTY, toHex, utf8Decode } from "../../core/codec/bytes.ts";
import { type CborKey, type CborValue, decodeCbor, encodeCbor } from "../../core/codec/cbor.ts";
import { parseStrictJson } from "../../core/codec/json.ts";
import { MAX_SIGN1_BYTES } from "../../core/governance/cose.ts";
import type { CocoError } from "../../errors.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import { evidenceRejected } from "../evidence.ts";
import { ecdsaSignature } from "../raw-keys.ts";
import { resolveDidX509, type ResolvedDid } from "./did-x509.ts";

/** What an endorsement says. */
export interface UvmClaims {
  /** `did:x509:…` */
  readonly issuer: string;
  readonly feed: string;
  /** Security version. */
  readonly svn: number;
  /** Launch measurement of the utility VM, 48 bytes in lower-case hex. */
  readonly measurement: string;
  /** When it was signed, as the signer says, in milliseconds since 1970. */
  readonly signedAtMs?: number;
}

type Headers = ReadonlyMap<CborKey, CborValue>;

interface Message {
  readonly headers: Headers;
  readonly unprotected: Headers;
  readonly payload: Bytes;
  readonly signature: Bytes;
  readonly signedBytes: Bytes;
}

const SIGN1_TAG = 18;
const TIME_TAGS = [0, 1];
const HEADER = {
  ...{ algorithm: 1, critical: 2, contentType: 3, claims: 15, chain: 33, thumbprint: 34 },
  ...{ payloadHash: 258, preimageType: 259, payloadLocation: 260 },
  // Where the first endorsements with CWT claims name the content type.
  earlyContentType: 300,
} as const;
/** CWT claims (RFC 8392); the security version has no number. */
const CLAIM = { issuer: 1, subject: 2, issuedAt: 6, svn: "svn" } as const;
const ENVELOPE_HEADERS: readonly CborKey[] = [HEADER.payloadHash, HEADER.preimageType, HEADER.payloadLocation];
const SHA384 = -43;
const SHA384_BYTES = 48;
const MEASUREMENT = "x-ms-sevsnpvm-launchmeasurement";
const SVN = "x-ms-sevsnpvm-guestsvn";
const MAX_SVN = 0xffff_ffff;
const MAX_TIME_S = 8_640_000_000_000;
const THUMBPRINT_HASHES = new Map([
  [-16, "sha256"],
  [-43, "sha384"],
  [-44, "sha512"],
] as const);

/** A signature algorithm of COSE (RFC 9053, RFC 8230): the key it takes and how it is verified. */
interface CoseKind {
  readonly algorithm: SignatureAlgorithm;
  /** For ECDSA: the curve, and the length of the signature. */
  readonly curve?: string;
  readonly bytes?: number;
}

const ALGORITHMS: ReadonlyMap<CborValue | undefined, CoseKind> = new Map<CborValue | undefined, CoseKind>([
  [-37, { algorithm: { type: "rsa-pss", hash: "sha256", saltLength: 32 } }],
  [-38, { algorithm: { type: "rsa-pss", hash: "sha384", saltLength: 48 } }],
  [-39, { algorithm: { type: "rsa-pss", hash: "sha512", saltLength: 64 } }],
  [-7, { algorithm: { type: "ecdsa", hash: "sha256" }, curve: "P-256", bytes: 64 }],
  [-35, { algorithm: { type: "ecdsa", hash: "sha384" }, curve: "P-384", bytes: 96 }],
  [-36, { algorithm: { type: "ecdsa", hash: "sha512" }, curve: "P-521", bytes: 132 }],
]);

function malformed(problem: string): CocoError {
  return evidenceRejected("Malformed", `utility VM endorsement: ${problem}`);
}

/** Verifies an endorsement. Throws `EvidenceRejected` with the reason `Malformed` when it cannot be read. */
export function verifyUvm(endorsement: Bytes, crypto: AttestationCrypto): Verification<UvmClaims> {
  const message = readMessage(endorsement);
  const claims = readClaims(message);
  const chain = chainOf(message.headers);
  const checks = new Checks();
  checkHeaders(checks, message, chain, crypto);
  checkIssueTime(checks, message.headers, chain);
  const resolved = resolveDidX509(claims.issuer, chain, crypto);
  const problem = "problem" in resolved ? resolved.problem : undefined;
  checks.require("utility VM's issuer chain", problem === undefined, "UvmEndorsementInvalid", problem ?? "");
  const isSigned = !("problem" in resolved) && isSignedBy(message, resolved, crypto);
  checks.require("utility VM's signature", isSigned, "UvmEndorsementInvalid", "the issuer did not sign it");
  return { claims, checks: checks.list };
}

function readMessage(bytes: Bytes): Message {
  const options = { anyKeyOrder: true, maxBytes: MAX_SIGN1_BYTES };
  const message = readOrNothing(() => decodeCbor(bytes, { ...options, tags: [SIGN1_TAG] }));
  const items = taggedWith(message, [SIGN1_TAG]);
  if (!Array.isArray(items) || items.length !== 4) throw malformed("expected tag 18 and four items");
  const [encoded, unprotected, payload, signature]: readonly CborValue[] = items;
  if (!(encoded instanceof Uint8Array) || !(unprotected instanceof Map))
    throw malformed("expected two sets of headers");
  if (!(payload instanceof Uint8Array)) throw malformed("expected the payload inside");
  if (!(signature instanceof Uint8Array)) throw malformed("expected a signature");
  const headers = readOrNothing(() => decodeCbor(encoded, { ...options, tags: TIME_TAGS }));
  if (!(headers instanceof Map)) throw malformed("expected protected headers");
  const signedBytes = encodeCbor(["Signature1", encoded, EMPTY, payload]);
  return { headers, unprotected, payload, signature, signedBytes };
}

function taggedWith(value: CborValue | undefined, tags: readonly number[]): CborValue | undefined {
  const isTagged = typeof value === "object" && value !== null && "tag" in value && tags.includes(value.tag);
  return isTagged ? value.value : undefined;
}

function textIn(fields: Headers, name: CborKey): string | undefined {
  const value = fields.get(name);
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") throw malformed(`expected text for ${name}`);
  return value;
}

/** What may stand in two places is the same in both. */
function agreed<T>(what: string, ...found: readonly (T | undefined)[]): T {
  const [value, ...others] = found.filter((each) => each !== undefined);
  if (value === undefined) throw malformed(`no ${what}`);
  if (others.some((other) => other !== value)) throw malformed(`two values of the ${what}`);
  return value;
}

function cwtClaimsOf(headers: Headers): Headers {
  const claims = headers.get(HEADER.claims) ?? new Map();
  if (!(claims instanceof Map)) throw malformed("expected CWT claims");
  return claims;
}

function readClaims(message: Message): UvmClaims {
  const { headers } = message;
  const cwt = cwtClaimsOf(headers);
  const { measurement, svn } = isEnvelope(headers) ? readEnvelope(message) : readJsonPayload(message);
  const signed = secondsOf(headers.get("signingtime")) ?? issuedAtOf(cwt);
  return {
    issuer: agreed("issuer", textIn(headers, "iss"), textIn(cwt, CLAIM.issuer)),
    feed: agreed("feed", textIn(headers, "feed"), textIn(cwt, CLAIM.subject)),
    svn: agreed("security version", svn, cwt.has(CLAIM.svn) ? svnOf(cwt.get(CLAIM.svn)) : undefined),
    measurement,
    ...(signed !== undefined && { signedAtMs: signed * 1000 }),
  };
}

/** Seconds since 1970, tagged as such; undefined for anything else. */
function secondsOf(value: CborValue | undefined): number | undefined {
  const time = taggedWith(value, TIME_TAGS);
  return typeof time === "number" && time >= 0 && time <= MAX_TIME_S ? time : undefined;
}

/** CWT writes the number without its tag (RFC 8392, 2); Azure's endorsements write it with the tag. */
function issuedAtOf(cwt: Headers): number | undefined {
  const value = cwt.get(CLAIM.issuedAt);
  if (value === undefined) return undefined;
  const seconds = typeof value === "number" ? secondsOf({ tag: 1, value }) : secondsOf(value);
  if (seconds === undefined) throw malformed("expected a time of issue");
  return seconds;
}

interface Payload {
  readonly measurement: string;
  readonly svn?: number;
}

function isEnvelope(headers: Headers): boolean {
  return ENVELOPE_HEADERS.some((label) => headers.has(label));
}

function readEnvelope({ payload }: Message): Payload {
  if (payload.length !== SHA384_BYTES) throw malformed("no launch measurement");
  return { measurement: toHex(payload) };
}

function readJsonPayload({ payload }: Message): Payload {
  const fields = readOrNothing(() => parseStrictJson(utf8Decode(payload)));
  if (!(fields instanceof Map)) throw malformed("the payload is no JSON object");
  const measurement: unknown = fields.get(MEASUREMENT);
  if (typeof measurement !== "string" || !/^[0-9a-f]{96}$/.test(measurement)) throw malformed("no launch measurement");
  return { measurement, ...(fields.has(SVN) && { svn: svnOf(fields.get(SVN)) }) };
}

/** Older endorsements write the number as text; it is a number all the same: "9" is lower than "10". */
function svnOf(value: unknown): number {
  const svn = typeof value === "string" && /^(?:0|[1-9][0-9]{0,9})$/.test(value) ? Number(value) : value;
  if (typeof svn === "number" && Number.isSafeInteger(svn) && svn >= 0 && svn <= MAX_SVN) return svn;
  throw malformed("no security version");
}

function chainOf(headers: Headers): readonly Bytes[] {
  const value = headers.get(HEADER.chain);
  const items: readonly CborValue[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return items.map((item) => {
    if (item instanceof Uint8Array) return item;
    throw malformed("expected certificates in the header x5chain");
  });
}

function checkHeaders(
  checks: Checks,
  { headers, unprotected }: Message,
  [leaf = EMPTY]: readonly Bytes[],
  crypto: AttestationCrypto,
): void {
  const expect = (what: string, holds: boolean, problem: string) =>
    checks.require(`utility VM's ${what}`, holds, "UvmEndorsementInvalid", problem);
  checkPayloadHeaders(expect, headers, unprotected);
  // What must be understood to understand the message: nothing that this reader knows.
  expect(
    "critical headers",
    !headers.has(HEADER.critical) && !unprotected.has(HEADER.critical),
    "headers are critical",
  );
  expect(
    "sets of headers",
    [...unprotected.keys()].every((label) => !headers.has(label)),
    "a header stands in both sets",
  );
  const thumbprint = headers.get(HEADER.thumbprint);
  if (thumbprint !== undefined)
    expect("thumbprint", isThumbprintOf(thumbprint, leaf, crypto), "x5t is of another certificate");
  const isKnown = ALGORITHMS.has(headers.get(HEADER.algorithm));
  checks.require("utility VM's algorithm", isKnown, "AlgorithmNotAllowed", String(headers.get(HEADER.algorithm)));
}

type Expect = (what: string, holds: boolean, problem: string) => boolean;

/** Of a hash envelope the content type is that of what was hashed, and says so by a header of its own (RFC 9995, 3 and 4). */
function checkPayloadHeaders(expect: Expect, headers: Headers, unprotected: Headers): void {
  if (!isEnvelope(headers)) {
    const type = headers.get(HEADER.contentType) ?? headers.get(HEADER.earlyContentType);
    expect("content type", type === "application/json", "expected the content type application/json");
    return;
  }
  const isBytes = headers.get(HEADER.preimageType) === "application/octet-stream";
  expect("content type", isBytes, "expected application/octet-stream as what was hashed");
  const isSha384 = headers.get(HEADER.payloadHash) === SHA384;
  const isPlain = [headers, unprotected].every((set) => !set.has(HEADER.contentType));
  const inside = ENVELOPE_HEADERS.every((label) => !unprotected.has(label));
  expect("hash envelope", isSha384 && isPlain && inside, "expected a SHA-384 whose headers are protected");
}

/** A time of issue that is claimed is one at which the whole chain held. */
function checkIssueTime(checks: Checks, headers: Headers, chain: readonly Bytes[]): void {
  const seconds = issuedAtOf(cwtClaimsOf(headers));
  if (seconds === undefined) return;
  const certificates = chain.map(tryParseCertificate);
  const holds = certificates.every(
    (certificate) =>
      certificate !== undefined &&
      certificate.notBeforeMs <= seconds * 1000 &&
      seconds * 1000 <= certificate.notAfterMs,
  );
  checks.require("utility VM's time of issue", holds, "UvmEndorsementInvalid", "its chain did not hold then");
}

function isThumbprintOf(value: CborValue, certificate: Bytes, crypto: AttestationCrypto): boolean {
  const [number, digest]: readonly CborValue[] = Array.isArray(value) ? value : [];
  const hash = [...THUMBPRINT_HASHES].find(([candidate]) => candidate === number)?.[1];
  return hash !== undefined && digest instanceof Uint8Array && bytesEqual(crypto.digest(hash, certificate), digest);
}

function isSignedBy(message: Message, { leaf, maySign }: ResolvedDid, crypto: AttestationCrypto): boolean {
  const kind = ALGORITHMS.get(message.headers.get(HEADER.algorithm));
  if (kind === undefined || !maySign || !takesKey(kind, leaf.keyType)) return false;
  const { signature, signedBytes } = message;
  if (kind.bytes !== undefined && signature.length !== kind.bytes) return false;
  const encoded = kind.bytes === undefined ? signature : ecdsaSignature(signature);
  return crypto.verify(kind.algorithm, leaf.publicKey, signedBytes, encoded);
}

function takesKey({ algorithm, curve }: CoseKind, key: KeyType): boolean {
  return fitsKey(algorithm, key) && (key.type !== "ec" || key.curve === curve);
}
