/**
 * Issuing X.509 v3 certificates (RFC 5280): organisations and their staff with keys on P-256 or P-384, validating nodes and
 * the service with keys on P-256.
 *
 * pkijs builds the structures; signing goes through node:crypto in one synchronous call, so that the manager needs no
 * promise to make a certificate. Time and randomness are handed in. Everything is PEM in and out.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import { BitString, Integer, OctetString, Sequence, Set as AsnSet, Utf8String } from "asn1js";
import {
  AlgorithmIdentifier,
  AltName,
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtKeyUsage,
  Extension,
  GeneralName,
  PublicKeyInfo,
  RelativeDistinguishedNames,
  Time,
} from "pkijs";
import { EVIDENCE_EXTENSION, evidenceExtension } from "../../attestation/evidence-extension.ts";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { parseIpAddress } from "../../core/governance/address.ts";
import { derOfPem, pemOfDer } from "../../core/governance/pem.ts";
import type { EndorsementUse } from "../../core/governance/governance-crypto.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { Entropy } from "../ports.ts";
import { readCertificate } from "./certificate-reader.ts";

/** Common name of the service certificate. */
export const SERVICE_COMMON_NAME = "Coco Service";
/** Length of the random part of a serial number in bytes (RFC 5280 allows 20). */
export const SERIAL_BYTES = 16;

const DAY_MS = 24 * 3600 * 1000;
const OID_COMMON_NAME = "2.5.4.3";
const OID_ORGANISATION = "2.5.4.10";
const OID_SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
const OID_KEY_USAGE = "2.5.29.15";
const OID_SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
const OID_BASIC_CONSTRAINTS = "2.5.29.19";
const OID_AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
const OID_EXTENDED_KEY_USAGE = "2.5.29.37";
const OID_SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1";
const OID_CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";
const OID_DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36";
const GENERAL_NAME_DNS = 2;
const GENERAL_NAME_IP = 7;
const UTC_TIME = 0;
const GENERALIZED_TIME = 1;
/**
 * Key usage bits (RFC 5280 section 4.2.1.3) as a one-byte BIT STRING with its count of unused bits. CA certificates may
 * sign data as well as certificates: an organisation's own certificate authenticates it, and signs its proposals.
 */
const KEY_USAGE_CA = { bits: 0b1000_0110, unused: 1 };
const KEY_USAGE_LEAF = { bits: 0b1000_0000, unused: 7 };

/** Curves of keys, and what signs with them: the hash, and its algorithm identifier. */
const CURVES = {
  "P-256": { name: "prime256v1", hash: "sha256", algorithm: "1.2.840.10045.4.3.2" },
  "P-384": { name: "secp384r1", hash: "sha384", algorithm: "1.2.840.10045.4.3.3" },
} as const;

/** Curves on which an organisation's key may be. */
export type ActorCurve = keyof typeof CURVES;

/** A key pair in PEM: PKCS #8 and SubjectPublicKeyInfo. */
export interface KeyPairPem {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** When a certificate holds, and where its serial number comes from. */
export interface Issuance {
  /** Milliseconds since 1970; whole seconds are used. */
  readonly notBeforeMs: number;
  readonly days: number;
  readonly entropy: Entropy;
}

/** Who signs a certificate: its own certificate and private key, PEM. */
export interface Issuer {
  readonly certificate: string;
  readonly privateKey: string;
}

/** The name a certificate carries. */
export interface SubjectName {
  readonly commonName: string;
  readonly organisation?: string;
}

interface Plan {
  readonly subject: SubjectName;
  /** SubjectPublicKeyInfo, PEM or DER. */
  readonly publicKey: KeyObject;
  readonly ca: { readonly pathLength: number | undefined } | undefined;
  readonly extendedUsages: readonly string[];
  readonly alternativeNames: readonly string[];
  /** SHA-256 of the evidence that binds the key. */
  readonly evidenceDigest?: Bytes | undefined;
}

/** Makes a key pair. */
export function generateKeyPairPem(curve: ActorCurve = "P-256"): KeyPairPem {
  return generateKeyPairSync("ec", {
    namedCurve: curve,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
}

/**
 * Self-signed certificate of an organisation: what the constitution lists for a member or participant (R3). A CA certificate
 * unless `kind` says that it only signs.
 */
export function createOrganisationCertificate(
  name: SubjectName,
  privateKey: string,
  issuance: Issuance,
  kind: "ca" | "signer" = "ca",
): string {
  const key = readPrivateKey(privateKey, requireActorKey);
  const ca = kind === "ca" ? { pathLength: 0 } : undefined;
  return issue({ ...noExtras, subject: name, publicKey: createPublicKey(key), ca }, key, undefined, issuance);
}

/** Certificate of a member of staff (or a front-end) under the organisation's certificate; for client authentication. */
export function createStaffCertificate(
  name: SubjectName,
  publicKey: string,
  organisation: Issuer,
  issuance: Issuance,
): string {
  const plan = {
    ...noExtras,
    subject: name,
    publicKey: readPublicKey(publicKey, requireActorKey),
    extendedUsages: [OID_CLIENT_AUTHENTICATION],
  };
  return issueUnder(organisation, plan, issuance, requireActorKey);
}

/** Self-signed certificate of a validating node for channels: what counts of it is the key, which the VN list names. */
export function createNodeCertificate(nodeId: string, privateKey: string, issuance: Issuance): string {
  const key = readPrivateKey(privateKey);
  const extendedUsages = [OID_SERVER_AUTHENTICATION, OID_CLIENT_AUTHENTICATION];
  return issue(
    { ...noExtras, subject: { commonName: nodeId }, publicKey: createPublicKey(key), extendedUsages },
    key,
    undefined,
    issuance,
  );
}

/** A node as its service endorses it. */
export interface EndorsedNode {
  readonly nodeId: string;
  /** PEM. */
  readonly publicKey: string;
  /** DNS names and IP addresses. */
  readonly hosts: readonly string[];
  /** SHA-256 of the evidence recorded of it. */
  readonly evidenceDigest?: Bytes | undefined;
}

/** Certificate of a node for its clients, endorsed by the service. */
export function endorseNodeCertificate(node: EndorsedNode, service: Issuer, issuance: Issuance): string {
  const plan = {
    ...noExtras,
    subject: { commonName: node.nodeId },
    publicKey: readPublicKey(node.publicKey),
    extendedUsages: [OID_SERVER_AUTHENTICATION],
    alternativeNames: node.hosts,
    evidenceDigest: node.evidenceDigest,
  };
  return issueUnder(service, plan, issuance);
}

/** Self-signed CA certificate of the service: what clients trust. */
export function createServiceCertificate(privateKey: string, issuance: Issuance): string {
  const key = readPrivateKey(privateKey);
  return issue(servicePlan(createPublicKey(key)), key, undefined, issuance);
}

/**
 * Cross certificate: the key of one service certificate (PEM), certified by the key of another one, its issuer. For documents,
 * it says so by an extended key usage (RFC 9336), by which TLS refuses it.
 */
export function endorseServiceCertificate(
  certificate: string,
  issuer: Issuer,
  issuance: Issuance,
  use: EndorsementUse,
): string {
  const subject = readCertificate(certificateDer(certificate));
  invariant(subject, "a certificate was read");
  const plan = servicePlan(requireP256(subject.publicKey));
  const extendedUsages = use === "documents" ? [OID_DOCUMENT_SIGNING] : [];
  return issueUnder(issuer, { ...plan, extendedUsages }, issuance);
}

/** What a service certificate or a cross certificate is for; undefined when its extended key usage says neither. */
export function endorsementUseOf(usages: readonly string[] | undefined): EndorsementUse | undefined {
  if (usages === undefined) return "service";
  return usages.length === 1 && usages[0] === OID_DOCUMENT_SIGNING ? "documents" : undefined;
}

/**
 * All service certificates have one name, so that a cross certificate stands in a chain in place of the certificate it is for.
 * They bound no length of path: not every verifier leaves cross certificates out of it, and no service key certifies other CAs.
 */
function servicePlan(publicKey: KeyObject): Plan {
  return { ...noExtras, subject: { commonName: SERVICE_COMMON_NAME }, publicKey, ca: { pathLength: undefined } };
}

/** DER of a certificate in PEM; throws `MalformedInput` when it is none. */
export function certificateDer(pem: string): Bytes {
  const der = derOfPem(pem, "CERTIFICATE");
  if (der === undefined || readCertificate(der) === undefined)
    throw new CocoError("MalformedInput", "expected one certificate in PEM");
  return der;
}

const noExtras = { ca: undefined, extendedUsages: [], alternativeNames: [] };

function readPrivateKey(pem: string, require = requireP256): KeyObject {
  return require(guarded(() => createPrivateKey(pem)));
}

function readPublicKey(pem: string, require = requireP256): KeyObject {
  return require(guarded(() => createPublicKey(pem)));
}

/** Errors of the parser may quote the input; a private key must not reach a log. */
function guarded(read: () => KeyObject): KeyObject {
  try {
    return read();
  } catch {
    throw new CocoError("MalformedInput", "expected a key in PEM");
  }
}

function requireP256(key: KeyObject): KeyObject {
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw new CocoError("MalformedInput", "expected a P-256 key");
  return key;
}

function curveOf(key: KeyObject): (typeof CURVES)[ActorCurve] | undefined {
  const name = key.asymmetricKeyDetails?.namedCurve;
  return Object.values(CURVES).find((curve) => curve.name === name);
}

function requireActorKey(key: KeyObject): KeyObject {
  if (curveOf(key) === undefined) throw new CocoError("MalformedInput", "expected a key on P-256 or P-384");
  return key;
}

function issueUnder(issuer: Issuer, plan: Plan, issuance: Issuance, require = requireP256): string {
  const certificate = readCertificate(certificateDer(issuer.certificate));
  const key = readPrivateKey(issuer.privateKey, require);
  if (certificate === undefined || !certificate.ca)
    throw new CocoError("MalformedInput", "the issuer's certificate is no CA certificate");
  if (!certificate.checkPrivateKey(key))
    throw new CocoError("MalformedInput", "the private key is not of the issuer's certificate");
  return issue(plan, key, certificate, issuance);
}

function issue(plan: Plan, signer: KeyObject, issuer: X509Certificate | undefined, issuance: Issuance): string {
  const certificate = new Certificate();
  const spki = plan.publicKey.export({ type: "spki", format: "der" });
  const keyId = keyIdentifier(spki);
  const parent = issuer === undefined ? undefined : Certificate.fromBER(arrayBuffer(issuer.raw));
  const subject = distinguishedName(plan.subject);
  certificate.version = 2;
  certificate.serialNumber = serialNumber(issuance.entropy);
  certificate.subject = subject;
  certificate.issuer = parent?.subject ?? subject;
  const notBefore = Math.floor(issuance.notBeforeMs / 1000) * 1000;
  certificate.notBefore = timeOf(notBefore);
  certificate.notAfter = timeOf(notBefore + issuance.days * DAY_MS);
  certificate.subjectPublicKeyInfo = PublicKeyInfo.fromBER(arrayBuffer(spki));
  const issuerKeyId =
    issuer === undefined ? keyId : keyIdentifier(issuer.publicKey.export({ type: "spki", format: "der" }));
  certificate.extensions = extensionsOf(plan, keyId, issuerKeyId);
  const curve = curveOf(signer);
  invariant(curve, "keys are on a curve of the table");
  certificate.signature = new AlgorithmIdentifier({ algorithmId: curve.algorithm });
  certificate.signatureAlgorithm = new AlgorithmIdentifier({ algorithmId: curve.algorithm });
  const toBeSigned = new Uint8Array(certificate.encodeTBS().toBER());
  certificate.tbsView = toBeSigned;
  certificate.signatureValue = new BitString({
    valueHex: arrayBuffer(sign(curve.hash, toBeSigned, { key: signer, dsaEncoding: "der" })),
  });
  return pemOfDer(new Uint8Array(certificate.toSchema().toBER()), "CERTIFICATE");
}

/** SHA-1 of the key bits (RFC 5280 section 4.2.1.2, method 1): a name for finding the issuer, not a security measure. */
function keyIdentifier(spki: Bytes): Bytes {
  const bits = PublicKeyInfo.fromBER(arrayBuffer(spki)).subjectPublicKey.valueBlock.valueHexView;
  return createHash("sha1").update(bits).digest();
}

function serialNumber(entropy: Entropy): Integer {
  // A leading byte of 0x01 to 0x7f keeps the number positive and in its shortest form.
  const random = entropy.bytes(SERIAL_BYTES);
  invariant(random.length === SERIAL_BYTES, "entropy gives as many bytes as asked for");
  return new Integer({ valueHex: arrayBuffer(concatBytes(Uint8Array.of(0x01), random)) });
}

/** RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
function timeOf(timeMs: number): Time {
  const value = new Date(timeMs);
  return new Time({ type: value.getUTCFullYear() < 2050 ? UTC_TIME : GENERALIZED_TIME, value });
}

function distinguishedName(name: SubjectName): RelativeDistinguishedNames {
  const parts = [attribute(OID_COMMON_NAME, name.commonName)];
  if (name.organisation !== undefined) parts.unshift(attribute(OID_ORGANISATION, name.organisation));
  // pkijs would put all attributes into one set, out of order: each is a relative name of its own.
  const names = new Sequence({ value: parts.map((part) => new AsnSet({ value: [part.toSchema()] })) });
  return RelativeDistinguishedNames.fromBER(names.toBER());
}

function attribute(type: string, text: string): AttributeTypeAndValue {
  // RFC 5280, appendix A.1: both names have at most 64 characters.
  if (text.length === 0 || text.length > 64)
    throw new CocoError("MalformedInput", "a name in a certificate has 1 to 64 characters");
  return new AttributeTypeAndValue({ type, value: new Utf8String({ value: text }) });
}

function extensionsOf(plan: Plan, keyId: Bytes, issuerKeyId: Bytes): Extension[] {
  const { ca, extendedUsages, alternativeNames, evidenceDigest } = plan;
  const constraints =
    ca === undefined
      ? new BasicConstraints({ cA: false })
      : new BasicConstraints({
          cA: true,
          ...(ca.pathLength === undefined ? {} : { pathLenConstraint: ca.pathLength }),
        });
  const usage = ca === undefined ? KEY_USAGE_LEAF : KEY_USAGE_CA;
  const usageBits = new BitString({ valueHex: Uint8Array.of(usage.bits).buffer, unusedBits: usage.unused });
  const authority = new AuthorityKeyIdentifier({
    keyIdentifier: new OctetString({ valueHex: arrayBuffer(issuerKeyId) }),
  });
  const extensions = [
    extension(OID_BASIC_CONSTRAINTS, true, constraints.toSchema().toBER()),
    extension(OID_KEY_USAGE, true, usageBits.toBER()),
    extension(OID_SUBJECT_KEY_IDENTIFIER, false, new OctetString({ valueHex: arrayBuffer(keyId) }).toBER()),
    extension(OID_AUTHORITY_KEY_IDENTIFIER, false, authority.toSchema().toBER()),
  ];
  if (extendedUsages.length > 0) {
    extensions.push(
      extension(
        OID_EXTENDED_KEY_USAGE,
        false,
        new ExtKeyUsage({ keyPurposes: [...extendedUsages] }).toSchema().toBER(),
      ),
    );
  }
  if (alternativeNames.length > 0) {
    const names = new AltName({ altNames: alternativeNames.map(generalName) });
    extensions.push(extension(OID_SUBJECT_ALTERNATIVE_NAME, false, names.toSchema().toBER()));
  }
  if (evidenceDigest !== undefined)
    extensions.push(extension(EVIDENCE_EXTENSION, false, arrayBuffer(evidenceExtension(evidenceDigest))));
  return extensions;
}

function extension(extnID: string, critical: boolean, value: ArrayBuffer): Extension {
  return new Extension({ extnID, critical, extnValue: value });
}

function generalName(host: string): GeneralName {
  const ip = parseIpAddress(host);
  if (ip !== undefined)
    return new GeneralName({ type: GENERAL_NAME_IP, value: new OctetString({ valueHex: arrayBuffer(ip) }) });
  if (!/^(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/i.test(host))
    throw new CocoError("MalformedInput", "expected a DNS name or IP address");
  return new GeneralName({ type: GENERAL_NAME_DNS, value: host });
}

/** asn1js takes ArrayBuffers: a copy of exactly these bytes. */
function arrayBuffer(bytes: Bytes): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
