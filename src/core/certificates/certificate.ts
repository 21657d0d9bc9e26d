/**
 * X.509 certificates, version 3, in the profile of RFC 5280.
 *
 * Reading is strict DER; what the profile forbids (duplicate extensions, unique identifiers, a default value that is
 * written) is `MalformedInput`. A critical extension that is not interpreted here does not hinder reading: its identifier
 * stands in `unknownCritical`, and such a certificate proves nothing (path.ts). Nothing here verifies a signature.
 */
import { bytesEqual, toHex, type Bytes } from "../codec/bytes.ts";
import { contextTag, type DerReader, readDer } from "../codec/der.ts";
import { MAX_CERTIFICATE_BYTES } from "../governance/constitution.ts";
import { CocoError } from "../../errors.ts";
import { type KeyType, readKeyType, readSignatureAlgorithm, type SignatureAlgorithm } from "./algorithm.ts";
import { type GeneralName, type Name, readGeneralNames, readName } from "./name.ts";
import { type NameConstraints, readNameConstraints } from "./name-constraints.ts";

/** Most extensions of a certificate, of a revocation list, or of one of its entries. */
export const MAX_EXTENSIONS = 64;
/** Most purposes in an extended key usage. */
export const MAX_KEY_PURPOSES = 64;
/** Longest serial number, in bytes; a zero before them that keeps the number positive does not count. */
export const MAX_SERIAL_BYTES = 20;
/** Largest path length constraint that is told from its successors: no path is that long. */
export const MAX_PATH_LENGTH_CONSTRAINT = 0xffff;

/** What the certified key may be used for (RFC 5280, 4.2.1.3), as far as it matters here. */
export interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyAgreement: boolean;
  readonly certificateSign: boolean;
  readonly revocationListSign: boolean;
}

/** Something an authority has signed: a certificate or a revocation list. */
export interface Signed {
  /** The bytes under the signature. */
  readonly signedBytes: Bytes;
  readonly algorithm: SignatureAlgorithm;
  readonly signature: Bytes;
  readonly issuer: Name;
}

/** A certificate that was read; nothing of it is trusted. */
export interface Certificate extends Signed {
  readonly der: Bytes;
  /** Lower-case hex of the serial number's bytes. */
  readonly serial: string;
  readonly subject: Name;
  readonly notBeforeMs: number;
  /** The last millisecond at which it holds. */
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Bytes;
  readonly keyType: KeyType;
  readonly isCa: boolean;
  /** Most CA certificates between this one and the last of a path. */
  readonly pathLength?: number;
  readonly keyUsage?: KeyUsage;
  /** Object identifiers of the purposes; absent when any is allowed. */
  readonly keyPurposes?: readonly string[];
  readonly subjectKeyId?: Bytes;
  /** The issuer's `subjectKeyId`, when given. */
  readonly authorityKeyId?: Bytes;
  readonly nameConstraints?: NameConstraints;
  readonly alternativeNames: readonly GeneralName[];
  /** Object identifiers of critical extensions that are not interpreted. */
  readonly unknownCritical: readonly string[];
  /** All of them, for readers of extensions that are not interpreted here. */
  readonly extensions: readonly Extension[];
}

/** An extension with its value still encoded. */
export interface Extension {
  readonly identifier: string;
  readonly critical: boolean;
  readonly value: Bytes;
}

const VERSION_3 = 2;
const EXTENSION = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  alternativeNames: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyId: "2.5.29.35",
  keyPurposes: "2.5.29.37",
} as const;
const INTERPRETED: readonly string[] = Object.values(EXTENSION);

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `certificate: ${problem}`);
}

/** Reads a certificate in DER; throws `MalformedInput`. */
export function parseCertificate(der: Bytes): Certificate {
  return parseLargeCertificate(der, MAX_CERTIFICATE_BYTES);
}

/** {@link parseCertificate} for certificates that carry evidence in an extension, of at most `maxBytes`. */
export function parseLargeCertificate(der: Bytes, maxBytes: number): Certificate {
  return { ...parseSigned(der, { readBody, malformed, maxBytes }), der };
}

/** What is signed, without the signature: the algorithm stands in it once more. */
export type SignedBody<T extends Signed> = Omit<T, "algorithm" | "signature" | "signedBytes"> & {
  readonly algorithmBytes: Bytes;
};

/** How one kind of signed structure is read. */
interface SignedKind<B> {
  readonly readBody: (reader: DerReader) => B;
  readonly malformed: (problem: string) => CocoError;
  readonly maxBytes: number;
}

/** Reads what a CA signed, the body, the algorithm and the signature (RFC 5280, 4.1.1 and 5.1.1); throws `MalformedInput`. */
export function parseSigned<B extends { readonly algorithmBytes: Bytes }>(der: Bytes, kind: SignedKind<B>) {
  const { readBody, malformed, maxBytes } = kind;
  return readDer(
    der,
    (reader) =>
      reader.sequence((inner) => {
        const { value: body, encoding } = inner.withEncoding(() => inner.sequence(readBody));
        const { value: algorithm, encoding: algorithmBytes } = readAlgorithm(inner);
        if (!bytesEqual(algorithmBytes, body.algorithmBytes)) throw malformed("two signature algorithms");
        const { algorithmBytes: _, ...fields } = body;
        return { ...fields, algorithm, signature: inner.bitBytes(), signedBytes: encoding };
      }),
    maxBytes,
  );
}

/** {@link parseCertificate} for bytes that may be none: undefined then. */
export function tryParseCertificate(der: Bytes): Certificate | undefined {
  return readOrNothing(() => parseCertificate(der));
}

/** What a parser reads; undefined when the input is malformed. */
export function readOrNothing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CocoError && error.code !== "Internal") return undefined;
    throw error;
  }
}

/** An AlgorithmIdentifier of a signature with its bytes: it stands twice, and both must be the same. */
export function readAlgorithm(reader: DerReader): { readonly value: SignatureAlgorithm; readonly encoding: Bytes } {
  return reader.withEncoding(() => readSignatureAlgorithm(reader));
}

/** Lower-case hex of a serial number. */
export function readSerial(reader: DerReader): string {
  const serial = reader.integer();
  // Of CAs that draw 20 random bytes some (Intel's among them) do not count the zero that keeps the number positive.
  const signBytes = serial[0] === 0 ? 1 : 0;
  if (serial.length > MAX_SERIAL_BYTES + signBytes || (serial[0] ?? 0) >= 0x80)
    throw malformed("a serial number that is negative or too long");
  return toHex(serial);
}

function readBody(reader: DerReader): Omit<SignedBody<Certificate>, "der"> {
  const version = reader.optional(contextTag(0, "constructed"), (tagged) => tagged.smallInteger(VERSION_3));
  if (version !== VERSION_3) throw malformed("expected version 3");
  const serial = readSerial(reader);
  const { encoding: algorithmBytes } = readAlgorithm(reader);
  const issuer = readName(reader);
  const validity = reader.sequence((inner) => ({ notBeforeMs: inner.time(), notAfterMs: inner.time() }));
  const subject = readName(reader);
  const { value: keyType, encoding: publicKey } = reader.withEncoding(() => readKeyType(reader));
  const extensions = reader.optional(contextTag(3, "constructed"), readExtensions) ?? [];
  const names = { serial, algorithmBytes, issuer, subject };
  return { ...names, ...validity, publicKey, keyType, ...interpret(extensions), extensions };
}

/** Reads the extensions of a certificate or revocation list; none may stand there twice. */
export function readExtensions(reader: DerReader): readonly Extension[] {
  const extensions = reader.sequence((sequence) => sequence.list(MAX_EXTENSIONS, readExtension));
  if (new Set(extensions.map(({ identifier }) => identifier)).size !== extensions.length)
    throw malformed("an extension that stands there twice");
  return extensions;
}

function readExtension(reader: DerReader): Extension {
  return reader.sequence((inner) => ({
    identifier: inner.objectIdentifier(),
    critical: inner.trueOrAbsent(),
    value: inner.octets(),
  }));
}

function valueIn<T>(
  extensions: readonly Extension[],
  identifier: string,
  read: (reader: DerReader) => T,
): T | undefined {
  const extension = extensions.find((candidate) => candidate.identifier === identifier);
  return extension && readDer(extension.value, read);
}

function interpret(extensions: readonly Extension[]) {
  const keyUsage = valueIn(extensions, EXTENSION.keyUsage, readKeyUsage);
  const keyPurposes = valueIn(extensions, EXTENSION.keyPurposes, readKeyPurposes);
  const subjectKeyId = valueIn(extensions, EXTENSION.subjectKeyId, (reader) => reader.octets());
  const authorityKeyId = authorityKeyIdOf(extensions);
  const nameConstraints = valueIn(extensions, EXTENSION.nameConstraints, readNameConstraints);
  return {
    ...(valueIn(extensions, EXTENSION.basicConstraints, readBasicConstraints) ?? { isCa: false }),
    ...(keyUsage && { keyUsage }),
    ...(keyPurposes && { keyPurposes }),
    ...(subjectKeyId && { subjectKeyId }),
    ...(authorityKeyId && { authorityKeyId }),
    ...(nameConstraints && { nameConstraints }),
    alternativeNames: valueIn(extensions, EXTENSION.alternativeNames, readAlternativeNames) ?? [],
    unknownCritical: extensions
      .filter(({ critical, identifier }) => critical && !INTERPRETED.includes(identifier))
      .map(({ identifier }) => identifier),
  };
}

function readBasicConstraints(reader: DerReader): { readonly isCa: boolean; readonly pathLength?: number } {
  return reader.sequence((inner) => {
    const isCa = inner.trueOrAbsent();
    if (inner.atEnd) return { isCa };
    if (!isCa) throw malformed("a path length where there is no CA");
    return { isCa, pathLength: inner.smallInteger(MAX_PATH_LENGTH_CONSTRAINT) };
  });
}

function readKeyUsage(reader: DerReader): KeyUsage {
  const bits = reader.namedBits();
  if (bits.size === 0) throw malformed("a key usage that allows nothing");
  return {
    digitalSignature: bits.has(0),
    keyAgreement: bits.has(4),
    certificateSign: bits.has(5),
    revocationListSign: bits.has(6),
  };
}

function readKeyPurposes(reader: DerReader): readonly string[] {
  return reader.sequence((sequence) => sequence.list(MAX_KEY_PURPOSES, (list) => list.objectIdentifier()));
}

function readAlternativeNames(reader: DerReader): readonly GeneralName[] {
  const names = readGeneralNames(reader);
  for (const name of names)
    if (name.form === "ip" && name.bytes.length !== 4 && name.bytes.length !== 16)
      throw malformed("an IP address that is none");
  return names;
}

/** The key id an extension names as the issuer's. Issuer and serial number may stand there, too, and add nothing. */
function authorityKeyIdOf(extensions: readonly Extension[]): Bytes | undefined {
  return valueIn(extensions, EXTENSION.authorityKeyId, (reader) =>
    reader.sequence((inner) => {
      const keyId = contextTag(0, "primitive");
      const id = inner.nextIs(keyId) ? inner.octets(keyId) : undefined;
      while (!inner.atEnd) inner.any();
      return id;
    }),
  );
}
