/**
 * The service identity over time. An epoch that is opened after somebody lost access carries a new service key, so that who
 * held the old one speaks for the service no more. Two cross certificates tie the new identity to the one before: the
 * `endorsement` is the new key certified by the old one, for whoever trusts the old one; the `backEndorsement` is the old
 * key certified by the new one, for whoever trusts the new one and looks at something older. It is for documents only: who
 * was removed may still hold the old key, and must not pass for a node of the service in TLS by it.
 *
 * The governance state keeps the newest {@link MAX_SERVICES}; the oldest leaves first. The oldest that is kept keeps its
 * cross certificates, so that the one that left is still tied to it.
 */
import { bytesEqual, type Bytes } from "../codec/bytes.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { refused } from "./refusal.ts";

/** Most service identities the governance state keeps; the oldest leaves, and only the ledger still shows it. */
export const MAX_SERVICES = 64;
/** Largest service certificate or cross certificate in bytes. */
export const MAX_SERVICE_CERTIFICATE_BYTES = 2048;

/** The service identity that an epoch transaction carries. */
export interface OfferedService {
  /** The service certificate in force in this epoch, DER. */
  readonly serviceCertificate: Bytes;
  /** With a new certificate: its key, certified by the key of the one before. DER. */
  readonly endorsement?: Bytes | undefined;
  /** With a new certificate: the key of the one before, certified by the new key. DER. */
  readonly backEndorsement?: Bytes | undefined;
}

/** A service identity, and what ties it to the one before it. */
export interface ServiceRecord {
  /** Self-signed certificate, DER. */
  readonly certificate: Bytes;
  /** First sequence number of the batch that brought it. */
  readonly fromSeqno: number;
  /** See {@link OfferedService}; undefined for the first identity of the network. */
  readonly endorsement: Bytes | undefined;
  readonly backEndorsement: Bytes | undefined;
}

/** The part of the governance state that tells the service identity. */
export interface ServiceState {
  /** Oldest first; the last one is in force. Empty before the first epoch. */
  readonly services: readonly ServiceRecord[];
  /** The next epoch must bring a new service key. */
  readonly serviceRotationDue: boolean;
}

/** The service certificate in force, DER; undefined before the first epoch. */
export function serviceCertificateOf({ services }: Pick<ServiceState, "services">): Bytes | undefined {
  return services.at(-1)?.certificate;
}

/**
 * The identities after an epoch that offers this one. Throws `ProposalInvalid` unless the certificate stays while no rotation
 * is due, and is a new one with both cross certificates when it is.
 */
export function nextServices(
  { services, serviceRotationDue }: ServiceState,
  offered: OfferedService,
  fromSeqno: number,
  crypto: GovernanceCrypto,
): readonly ServiceRecord[] {
  const { serviceCertificate: certificate, endorsement, backEndorsement } = offered;
  const before = serviceCertificateOf({ services });
  const crossed = endorsement !== undefined || backEndorsement !== undefined;
  if (before !== undefined && !serviceRotationDue) {
    if (!bytesEqual(before, certificate))
      throw refused("ServiceCertificate", "the service certificate is not the one in force");
    if (crossed) throw refused("ServiceEndorsement", "cross certificates come with a new service certificate only");
    return services;
  }
  // A certificate that its own key signed: CA, name and key are what clients are to trust.
  if (
    crypto.certificateKey(certificate) === undefined ||
    !crypto.verifyEndorsement(certificate, certificate, certificate, "service")
  )
    throw refused("ServiceCertificate", "expected a self-signed CA certificate with a P-256 key");
  if (before === undefined) {
    if (crossed) throw refused("ServiceEndorsement", "the first service certificate has none before it");
    return [{ certificate, fromSeqno, endorsement, backEndorsement }];
  }
  checkRotation(before, offered, crypto);
  return [...services, { certificate, fromSeqno, endorsement, backEndorsement }].slice(-MAX_SERVICES);
}

function checkRotation(before: Bytes, offered: OfferedService, crypto: GovernanceCrypto): void {
  const { serviceCertificate, endorsement, backEndorsement } = offered;
  const [oldKey, newKey] = [before, serviceCertificate].map((certificate) => crypto.certificateKey(certificate));
  if (oldKey === undefined || newKey === undefined || bytesEqual(oldKey, newKey))
    throw refused("ServiceCertificate", "somebody lost access: the service key must be a new one");
  if (endorsement === undefined || backEndorsement === undefined)
    throw refused("ServiceEndorsement", "a new service certificate comes with both cross certificates");
  if (!crypto.verifyEndorsement(endorsement, serviceCertificate, before, "service"))
    throw refused("ServiceEndorsement", "the endorsement is not the new key certified by the old one");
  if (!crypto.verifyEndorsement(backEndorsement, before, serviceCertificate, "documents"))
    throw refused(
      "ServiceEndorsement",
      "the back endorsement is not the old key certified by the new one, for documents",
    );
}

/** Reads a service certificate or cross certificate that need not be there. */
export function readCrossCertificate(fields: FieldReader, name: string): Bytes | undefined {
  return fields.has(name) ? fields.certificate(name, MAX_SERVICE_CERTIFICATE_BYTES) : undefined;
}

/** Reads the field `services`. */
export function readServices(fields: FieldReader): readonly ServiceRecord[] {
  return fields.list("services", MAX_SERVICES, (record) => ({
    certificate: record.certificate("certificate", MAX_SERVICE_CERTIFICATE_BYTES),
    fromSeqno: record.integer("fromSeqno", { min: 1, max: Number.MAX_SAFE_INTEGER }),
    endorsement: readCrossCertificate(record, "endorsement"),
    backEndorsement: readCrossCertificate(record, "backEndorsement"),
  }));
}

/** The tree form of {@link readServices}. */
export function servicesTree(services: readonly ServiceRecord[]): FieldTree {
  return services.map(({ certificate, fromSeqno, endorsement, backEndorsement }) => ({
    certificate,
    fromSeqno,
    endorsement,
    backEndorsement,
  }));
}
