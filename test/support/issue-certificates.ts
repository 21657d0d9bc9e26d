/**
 * Issues certificates and revocation lists for tests: every field can be chosen, also wrongly. What the manager issues
 * itself stands in src/enclave/manager/certificates.ts; nothing here knows it.
 */
import { constants, createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { concatBytes, fromHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { contextTag } from "../../src/core/codec/der.ts";
import { pemOfDer } from "../../src/core/governance/pem.ts";
import {
  bits,
  boolean,
  element,
  ia5,
  integer,
  nothing,
  objectIdentifier,
  octets,
  sequence,
  set,
  time,
  utf8,
} from "./der-writer.ts";

export type TestKeyType = "P-256" | "P-384" | "P-521" | "rsa" | "rsa-1024" | "ed25519";

export interface TestKey {
  readonly type: TestKeyType;
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Bytes;
}

/** Makes a key pair; an RSA key takes a moment, so tests share them. */
export function makeKey(type: TestKeyType = "P-256"): TestKey {
  const { publicKey, privateKey } =
    type === "ed25519"
      ? generateKeyPairSync("ed25519")
      : type === "rsa" || type === "rsa-1024"
        ? generateKeyPairSync("rsa", { modulusLength: type === "rsa" ? 2048 : 1024 })
        : generateKeyPairSync("ec", { namedCurve: type });
  return { type, privateKey, spki: new Uint8Array(publicKey.export({ type: "spki", format: "der" })) };
}

/** `CN=a, O=b`: attributes of one relative name each. */
export type TestName = string;

const ATTRIBUTES: Readonly<Record<string, string>> = {
  CN: "2.5.4.3",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  C: "2.5.4.6",
  emailAddress: "1.2.840.113549.1.9.1",
};

/** A distinguished name; values are UTF-8 except addresses. */
export function distinguishedName(name: TestName, encode: (text: string) => Bytes = utf8): Bytes {
  const parts = name === "" ? [] : name.split(", ");
  return sequence(
    ...parts.map((part) => {
      const [label = "", ...rest] = part.split("=");
      const value = rest.join("=");
      const isAddress = label === "emailAddress";
      return set(sequence(objectIdentifier(ATTRIBUTES[label] ?? label), isAddress ? ia5(value) : encode(value)));
    }),
  );
}

/** `dns:a`, `email:a`, `uri:a`, `ip:<hex>`, `dir:<name>`, `other:<hex>` as a general name. */
export function generalName(text: string): Bytes {
  const colon = text.indexOf(":");
  const [form, value] = [text.slice(0, colon), text.slice(colon + 1)];
  if (form === "ip") return element(contextTag(7, "primitive"), fromHex(value));
  if (form === "dir") return element(contextTag(4, "constructed"), distinguishedName(value));
  if (form === "other") {
    const inner = element(contextTag(0, "constructed"), utf8(value));
    return element(contextTag(0, "constructed"), objectIdentifier("1.3.6.1.4.1.311.20.2.3"), inner);
  }
  const number = { email: 1, dns: 2, uri: 6 }[form];
  return ia5(value, contextTag(number ?? 0, "primitive"));
}

export interface TestExtension {
  readonly identifier: string;
  readonly critical?: boolean;
  readonly value: Bytes;
}

function encodeExtension({ identifier, critical, value }: TestExtension): Bytes {
  return sequence(objectIdentifier(identifier), ...(critical ? [boolean(true)] : []), octets(value));
}

export interface CertificateOptions {
  readonly subject?: TestName;
  readonly key?: TestKey;
  /** Self-signed without one. */
  readonly issuer?: TestCertificate;
  /** In place of the issuer's. */
  readonly signer?: TestKey;
  readonly issuerName?: Bytes;
  readonly subjectName?: Bytes;
  readonly serial?: Bytes;
  readonly fromMs?: number;
  readonly untilMs?: number;
  readonly ca?: boolean | { readonly pathLength: number };
  /** In place of what `ca` says. */
  readonly basicConstraints?: Bytes;
  /** Bits of the key usage; 0: no extension. */
  readonly usage?: number;
  readonly purposes?: readonly string[];
  readonly names?: readonly string[];
  readonly permitted?: readonly string[];
  readonly excluded?: readonly string[];
  readonly keyIds?: boolean;
  readonly algorithm?: "pss";
  /** Of PSS; 32 unless given. */
  readonly saltLength?: number;
  readonly hash?: "sha1" | "sha256" | "sha384" | "sha512";
  readonly version?: number;
  readonly more?: readonly TestExtension[];
}

export interface TestCertificate {
  readonly der: Bytes;
  readonly key: TestKey;
  readonly subject: Bytes;
  readonly serial: Bytes;
}

/** Bits of key usage. */
export const USAGE = { digitalSignature: 0x80, keyAgreement: 0x08, certificateSign: 0x04, revocationListSign: 0x02 };
/** Purposes of extended key usage. */
export const PURPOSE = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" };
/** The time around which test certificates hold. */
export const NOW_MS = Date.UTC(2031, 5, 1);
export const DAY_MS = 86_400_000;

let serials = 0;

function hashOf(key: TestKey, chosen: CertificateOptions["hash"]): string {
  return chosen ?? (key.type === "P-384" ? "sha384" : key.type === "P-521" ? "sha512" : "sha256");
}

const HASHES: Readonly<Record<string, readonly [hash: string, ecdsa: string, rsa: string]>> = {
  sha1: ["1.3.14.3.2.26", "1.2.840.10045.4.1", "1.2.840.113549.1.1.5"],
  sha256: ["2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.11"],
  sha384: ["2.16.840.1.101.3.4.2.2", "1.2.840.10045.4.3.3", "1.2.840.113549.1.1.12"],
  sha512: ["2.16.840.1.101.3.4.2.3", "1.2.840.10045.4.3.4", "1.2.840.113549.1.1.13"],
};

const PSS_SALT_BYTES = 32;

/** The salt's length, when a signature is of PSS. */
function saltOf({ algorithm, saltLength = PSS_SALT_BYTES }: Pick<CertificateOptions, "algorithm" | "saltLength">) {
  return algorithm === "pss" ? saltLength : undefined;
}

function algorithmOf(key: TestKey, hash: string, salt: number | undefined): Bytes {
  const [digest = "", ecdsa = "", rsa = ""] = HASHES[hash] ?? [];
  if (key.type === "ed25519") return sequence(objectIdentifier("1.3.101.112"));
  if (!key.type.startsWith("rsa")) return sequence(objectIdentifier(ecdsa));
  if (salt === undefined) return sequence(objectIdentifier(rsa), nothing());
  const digestAlgorithm = sequence(objectIdentifier(digest), nothing());
  const mask = sequence(objectIdentifier("1.2.840.113549.1.1.8"), digestAlgorithm);
  const parameters = [digestAlgorithm, mask, integer(salt)].map((part, at) =>
    element(contextTag(at, "constructed"), part),
  );
  return sequence(objectIdentifier("1.2.840.113549.1.1.10"), sequence(...parameters));
}

function signed(
  body: Bytes,
  algorithm: Bytes,
  key: TestKey,
  [hash, salt]: readonly [string, number | undefined],
): Bytes {
  const { privateKey } = key;
  const signature =
    key.type === "ed25519"
      ? sign(null, body, privateKey)
      : salt !== undefined
        ? sign(hash, body, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: salt })
        : sign(hash, body, privateKey);
  return sequence(body, algorithm, bits(signature));
}

function keyId(key: TestKey): Bytes {
  return new Uint8Array(createHash("sha256").update(key.spki).digest()).subarray(0, 20);
}

/** BIT STRING of up to eight named bits without zeros at its end. */
export function namedBits(value: number): Bytes {
  return bits(Uint8Array.of(value), 31 - Math.clz32(value & -value));
}

function subtrees(options: CertificateOptions): Bytes {
  const part = (names: readonly string[] | undefined, at: number): Bytes[] =>
    names === undefined
      ? []
      : [element(contextTag(at, "constructed"), ...names.map((name) => sequence(generalName(name))))];
  return sequence(...part(options.permitted, 0), ...part(options.excluded, 1));
}

function extensionsOf(options: CertificateOptions, key: TestKey, signer: TestKey): readonly TestExtension[] {
  const { ca = false, purposes, names, permitted, excluded, keyIds = true } = options;
  const both = USAGE.digitalSignature | USAGE.certificateSign | USAGE.revocationListSign;
  const { usage = ca === false ? USAGE.digitalSignature : both } = options;
  const constraints = ca === false ? [] : [boolean(true), ...(ca === true ? [] : [integer(ca.pathLength)])];
  return [
    { identifier: "2.5.29.19", critical: true, value: options.basicConstraints ?? sequence(...constraints) },
    ...(usage === 0 ? [] : [{ identifier: "2.5.29.15", critical: true, value: namedBits(usage) }]),
    ...(purposes ? [{ identifier: "2.5.29.37", value: sequence(...purposes.map(objectIdentifier)) }] : []),
    ...(names ? [{ identifier: "2.5.29.17", value: sequence(...names.map(generalName)) }] : []),
    ...(permitted || excluded ? [{ identifier: "2.5.29.30", critical: true, value: subtrees(options) }] : []),
    ...(keyIds
      ? [
          { identifier: "2.5.29.14", value: octets(keyId(key)) },
          { identifier: "2.5.29.35", value: sequence(element(contextTag(0, "primitive"), keyId(signer))) },
        ]
      : []),
    ...(options.more ?? []),
  ];
}

/** Issues a certificate. */
export function issue(options: CertificateOptions = {}): TestCertificate {
  const {
    issuer,
    key = makeKey(),
    fromMs = NOW_MS - 10 * DAY_MS,
    untilMs = NOW_MS + 10 * DAY_MS,
    version = 2,
  } = options;
  const signer = options.signer ?? issuer?.key ?? key;
  const serial = options.serial ?? Uint8Array.of(1, ++serials >> 8, serials & 0xff);
  const subject = options.subjectName ?? distinguishedName(options.subject ?? `O=Test, CN=${serials}`);
  const hash = hashOf(signer, options.hash);
  const salt = saltOf(options);
  const algorithm = algorithmOf(signer, hash, salt);
  const body = sequence(
    element(contextTag(0, "constructed"), integer(version)),
    element(0x02, serial),
    algorithm,
    options.issuerName ?? issuer?.subject ?? subject,
    sequence(time(fromMs), time(untilMs)),
    subject,
    key.spki,
    element(contextTag(3, "constructed"), sequence(...extensionsOf(options, key, signer).map(encodeExtension))),
  );
  return { der: signed(body, algorithm, signer, [hash, salt]), key, subject, serial };
}

export interface RevocationListOptions extends Pick<CertificateOptions, "algorithm" | "saltLength" | "hash"> {
  readonly issuer: TestCertificate;
  readonly signer?: TestKey;
  readonly revoked?: readonly TestCertificate[];
  readonly fromMs?: number;
  /** Undefined: none. */
  readonly untilMs?: number | undefined;
  readonly version?: 1 | 2;
  readonly more?: readonly TestExtension[];
  readonly entryMore?: readonly TestExtension[];
}

/** Issues a revocation list. */
export function issueRevocationList(options: RevocationListOptions): Bytes {
  const { issuer, revoked = [], fromMs = NOW_MS - DAY_MS, version = 2, more = [], entryMore = [] } = options;
  const signer = options.signer ?? issuer.key;
  const untilMs = "untilMs" in options ? options.untilMs : NOW_MS + DAY_MS;
  const hash = hashOf(signer, options.hash);
  const salt = saltOf(options);
  const algorithm = algorithmOf(signer, hash, salt);
  const entryExtensions = entryMore.length > 0 ? [sequence(...entryMore.map(encodeExtension))] : [];
  const entries = revoked.map(({ serial }) => sequence(element(0x02, serial), time(fromMs), ...entryExtensions));
  const number: TestExtension = { identifier: "2.5.29.20", value: integer(1) };
  const extensions = sequence(...[number, ...more].map(encodeExtension));
  const body = sequence(
    ...(version === 2 ? [integer(1)] : []),
    algorithm,
    issuer.subject,
    time(fromMs),
    ...(untilMs === undefined ? [] : [time(untilMs)]),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    ...(version === 2 ? [element(contextTag(0, "constructed"), extensions)] : []),
  );
  return signed(body, algorithm, signer, [hash, salt]);
}

/** PEM of certificates, one after the other. */
export function certificatesPem(certificates: readonly Bytes[]): string {
  return certificates.map((der) => pemOfDer(der, "CERTIFICATE")).join("");
}

/** A SHA-256 of a text as a source of choices: the same in every run. */
export function choices(seed: string): (below: number) => number {
  let at = 0;
  return (below) => {
    const digest = createHash("sha256")
      .update(concatBytes(utf8Encode(seed), Uint8Array.of(at >> 8, at++ & 255)))
      .digest();
    return digest.readUInt32BE(0) % below;
  };
}
