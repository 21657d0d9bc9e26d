/**
 * Verification of tokens of Microsoft Azure Attestation (format `maa-jwt`): signed by a key that is handed in, in force at the
 * time, and about a TEE that is understood. What the token itself names as the place of its key is never followed. Which
 * issuer, keys, policy and TEEs count is the question of appraise.ts.
 */
import type { SignatureAlgorithm } from "../../core/certificates/algorithm.ts";
import { fromBase64Url } from "../../core/codec/base64.ts";
import { toHex, type Bytes } from "../../core/codec/bytes.ts";
import { readOrNothing } from "../../core/certificates/certificate.ts";
import { type AttestationCrypto, Checks, type Verification } from "../checks.ts";
import {
  type AzureVmTokenClaims,
  readAzureVmClaims,
  readGuestClaims,
  readSgxClaims,
  readVbsClaims,
  type TeeTokenClaims,
} from "./claims.ts";
import { TOKEN_TEES } from "../../core/governance/policy-vsm.ts";
import { isLongKey, readKeySet, type TokenKey } from "./keys.ts";
import { asCount, asFields, asText, type JsonFields, parseToken, type Token } from "./token.ts";

/** A token with the key set that its issuer publishes. */
export interface MaaEvidence {
  /** Compact form, nothing around it. */
  readonly token: string;
  /** JSON in UTF-8; not looked at when keys are pinned. */
  readonly jwks?: Bytes;
}

/** What a token is verified with. */
export interface MaaAnchors {
  readonly nowMs: number;
  /** Pinned keys; absent: whatever key set comes with the token, which proves nothing about who the issuer is. */
  readonly keys?: readonly TokenKey[];
}

/** What a token claims. */
export interface MaaClaims {
  readonly tee: "vsm";
  readonly format: "maa-jwt";
  readonly issuer?: string;
  readonly keyId?: string;
  /** The key that the signature was looked at with. */
  readonly key?: { readonly publicKey: string; readonly bits: number };
  readonly issuedAtMs?: number;
  readonly notBeforeMs?: number;
  readonly expiresMs?: number;
  /** As the token says it: what it is about. */
  readonly attestationType?: string;
  /** Lower-case hex, 32 bytes. */
  readonly policyHash?: string;
  /** What it says of that TEE; absent when it is not understood. */
  readonly subject?: TeeTokenClaims;
  /** Of the machine around a guest (`azurevm`). */
  readonly machine?: AzureVmTokenClaims;
  /** Of a guest or an SGX enclave, lower-case hex. Of a VBS enclave its image id: with the author it names the code. */
  readonly measurement?: string;
  /** What the TEE's own evidence binds: lower-case hex, 64 bytes. */
  readonly reportData?: string;
  /** Of a guest, lower-case hex: 32 bytes. */
  readonly hostData?: string;
}

const ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map<string, SignatureAlgorithm>([
  ["RS256", { type: "rsa", hash: "sha256" }],
  ["PS256", { type: "rsa-pss", hash: "sha256", saltLength: 32 }],
]);
/** A header may name these; what is not listed could change what the signature means. */
const HEADER_NAMES: readonly string[] = ["alg", "kid", "typ", "jku", "x5t", "x5t#S256", "cty"];
const HASH_BYTES = 32;

/** Verifies a token; throws `MalformedInput` when it cannot be read. */
export function verifyMaa(
  evidence: MaaEvidence,
  anchors: MaaAnchors,
  crypto: AttestationCrypto,
): Verification<MaaClaims> {
  const token = parseToken(evidence.token);
  const checks = new Checks();
  const keys = anchors.keys ?? keysOf(evidence.jwks, checks);
  const key = checkSignature(checks, token, keys, crypto);
  checkCertificate(checks, key, anchors.nowMs);
  checkTimes(checks, token.payload, anchors.nowMs);
  checkIssuer(checks, token);
  const about = readSubject(token.payload);
  checks.require("kind of TEE", about.isKnown, "TokenPolicyMismatch", unknownKind(about));
  if (about.isKnown)
    checks.require(
      "claims of the TEE",
      about.subject !== undefined,
      "TokenInvalid",
      "one is missing, or of another type",
    );
  return { claims: claimsOf(token, key, about), checks: checks.list };
}

function keysOf(jwks: Bytes | undefined, checks: Checks): readonly TokenKey[] {
  if (jwks === undefined) return [];
  const keys = readOrNothing(() => readKeySet(jwks));
  if (keys === undefined) checks.require("key set", false, "Malformed", "it can't be read");
  return keys ?? [];
}

function unknownKind({ attestationType = "none" }: Subject): string {
  if (attestationType === "azurevm") return "a machine of Azure that is not isolated by sevsnpvm";
  return `type ${attestationType}, known are ${TOKEN_TEES.join(", ")}`;
}

function checkSignature(
  checks: Checks,
  { header, signedBytes, signature }: Token,
  keys: readonly TokenKey[],
  crypto: AttestationCrypto,
): TokenKey | undefined {
  const unknown = [...header.keys()].filter((name) => !HEADER_NAMES.includes(name));
  const isPlain = unknown.length === 0 && (asText(header.get("typ")) ?? "JWT").toUpperCase() === "JWT";
  checks.require("header of the token", isPlain, "TokenInvalid", `another type, or: ${unknown.join(", ")}`);
  const name = asText(header.get("alg")) ?? "none";
  const algorithm = ALGORITHMS.get(name);
  checks.require("algorithm of the token", algorithm !== undefined, "AlgorithmNotAllowed", name);
  const keyId = asText(header.get("kid"));
  const key = keys.find((candidate) => candidate.keyId === keyId);
  checks.require("key of the token", key !== undefined, "TokenInvalid", `no key with the id ${keyId ?? "(none)"}`);
  if (key === undefined || algorithm === undefined) return undefined;
  const isLong = isLongKey(key);
  checks.require("length of the key", isLong, "AlgorithmNotAllowed", `${key.bits} bits`);
  const isFit = key.algorithm === undefined || key.algorithm === name;
  checks.require("algorithm of the key", isFit, "AlgorithmNotAllowed", `${key.algorithm ?? "any"}, not ${name}`);
  if (isLong && isFit) {
    const isSigned = crypto.verify(algorithm, key.publicKey, signedBytes, signature);
    checks.require("signature of the token", isSigned, "TokenInvalid", "not by the key it names");
  } else checks.skip("signature of the token", "no key that counts");
  return key;
}

function checkCertificate(checks: Checks, key: TokenKey | undefined, nowMs: number): void {
  const name = "validity of the key's certificate";
  if (key?.certificate === undefined) {
    checks.skip(name, "a key without a certificate");
    return;
  }
  const { notBeforeMs, notAfterMs } = key.certificate;
  const detail = `valid from ${new Date(notBeforeMs).toISOString()} to ${new Date(notAfterMs).toISOString()}`;
  checks.require(name, nowMs >= notBeforeMs && nowMs <= notAfterMs, "CertificateExpired", detail);
}

/** Milliseconds of a claim in seconds. */
function timeIn(payload: JsonFields, name: string): number | undefined {
  const seconds = asCount(payload.get(name));
  return seconds !== undefined && seconds <= Number.MAX_SAFE_INTEGER / 1000 ? seconds * 1000 : undefined;
}

/** All three times must be there, and hold to the second: the ledger's time has no tolerance of its own. */
function checkTimes(checks: Checks, payload: JsonFields, nowMs: number): void {
  const [expires, notBefore, issuedAt] = ["exp", "nbf", "iat"].map((name) => timeIn(payload, name));
  checks.require(
    "not expired",
    expires !== undefined && nowMs < expires,
    "TokenExpired",
    `exp ${expires ?? "missing"}`,
  );
  const isBegun = notBefore !== undefined && nowMs >= notBefore;
  checks.require("not before its time", isBegun, "TokenExpired", `nbf ${notBefore ?? "missing"}`);
  const isIssued = issuedAt !== undefined && nowMs >= issuedAt;
  checks.require("not from the future", isIssued, "TokenExpired", `iat ${issuedAt ?? "missing"}`);
}

/** A token may say where its keys are published. It is not looked there; but the issuer publishes them under its own name. */
function checkIssuer(checks: Checks, { header, payload }: Token): void {
  const issuer = asText(payload.get("iss"));
  checks.require("name of the issuer", issuer !== undefined, "IssuerNotTrusted", "there is none");
  const place = header.get("jku");
  if (place === undefined || issuer === undefined) checks.skip("place of the keys", "the token names none");
  else checks.require("place of the keys", place === `${issuer}/certs`, "IssuerNotTrusted", "it is not the issuer's");
}

interface Subject {
  readonly isKnown: boolean;
  readonly attestationType?: string;
  readonly subject?: TeeTokenClaims;
  readonly machine?: AzureVmTokenClaims;
}

function readSubject(payload: JsonFields): Subject {
  const attestationType = asText(payload.get("x-ms-attestation-type"));
  const read = (subject: TeeTokenClaims | undefined): Subject => ({
    isKnown: true,
    ...(attestationType !== undefined && { attestationType }),
    ...(subject && { subject }),
  });
  if (attestationType === "sevsnpvm") return read(readGuestClaims(payload));
  if (attestationType === "sgx") return read(readSgxClaims(payload));
  if (attestationType === "vbs") return read(readVbsClaims(payload));
  if (attestationType !== "azurevm")
    return { isKnown: false, ...(attestationType !== undefined && { attestationType }) };
  const isolation = asFields(payload.get("x-ms-isolation-tee"));
  // A machine without isolation has nothing that keeps its host out.
  if (isolation?.get("x-ms-attestation-type") !== "sevsnpvm") return { isKnown: false, attestationType };
  return { ...read(readGuestClaims(isolation)), machine: readAzureVmClaims(payload) };
}

function claimsOf({ header, payload }: Token, key: TokenKey | undefined, about: Subject): MaaClaims {
  const { isKnown: _, subject, ...rest } = about;
  const policyText = asText(payload.get("x-ms-policy-hash"));
  const policyHash = policyText === undefined ? undefined : readOrNothing(() => fromBase64Url(policyText));
  return {
    tee: "vsm",
    format: "maa-jwt",
    ...rest,
    ...withoutAbsent({
      issuer: asText(payload.get("iss")),
      keyId: asText(header.get("kid")),
      key: key && { publicKey: toHex(key.publicKey), bits: key.bits },
      issuedAtMs: timeIn(payload, "iat"),
      notBeforeMs: timeIn(payload, "nbf"),
      expiresMs: timeIn(payload, "exp"),
      policyHash: policyHash?.length === HASH_BYTES ? toHex(policyHash) : undefined,
      subject,
      measurement: subject?.type === "vbs" ? subject.imageId : subject?.measurement,
      reportData: subject?.reportData,
      hostData: subject?.type === "sevsnpvm" ? subject.hostData : undefined,
    }),
  };
}

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

function withoutAbsent<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
