/** What governance asks of certificates and revocation lists before they are listed for an actor. */
import type { Bytes } from "../codec/bytes.ts";
import type { CertificateDescription, RevocationListTimes } from "../governance/governance-crypto.ts";
import type { VerifySignature } from "./algorithm.ts";
import { readOrNothing, tryParseCertificate, type Certificate } from "./certificate.ts";
import { parseRevocationList } from "./crl.ts";
import { signatureProblem } from "./path.ts";

function keyTypeOf({ keyType }: Certificate): CertificateDescription["keyType"] {
  return keyType.type === "ec" && keyType.curve !== "P-521" ? keyType.curve : "other";
}

/** What a certificate says of itself; undefined when the bytes are none. */
export function describeCertificate(der: Bytes): CertificateDescription | undefined {
  const certificate = tryParseCertificate(der);
  if (certificate === undefined) return undefined;
  const { subject, notBeforeMs, notAfterMs, isCa, keyUsage, unknownCritical } = certificate;
  const isAllowed = keyUsage === undefined || (isCa ? keyUsage.certificateSign : keyUsage.digitalSignature);
  const canSign = isAllowed && unknownCritical.length === 0;
  return { subject: subject.text, notBeforeMs, notAfterMs, isCa, canSign, keyType: keyTypeOf(certificate) };
}

/** When a revocation list is current; undefined when it is none that this CA certificate's key signed in its own name. */
export function revocationListOf(
  list: Bytes,
  authority: Bytes,
  verify: VerifySignature,
): RevocationListTimes | undefined {
  const issuer = tryParseCertificate(authority);
  const revocations = readOrNothing(() => parseRevocationList(list));
  if (issuer === undefined || revocations === undefined || !issuer.isCa) return undefined;
  const mayList = issuer.keyUsage === undefined || issuer.keyUsage.revocationListSign;
  const isNamed = revocations.issuer.key === issuer.subject.key;
  if (!mayList || !isNamed || signatureProblem(revocations, issuer, verify) !== undefined) return undefined;
  const { thisUpdateMs, nextUpdateMs } = revocations;
  return { thisUpdateMs, nextUpdateMs };
}
