/** Certificates and dates in plain words. */
import { toHex, type Bytes } from "../codec/bytes.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";

/** What words need of the cryptography: to name certificates and keys. */
export type WordsCrypto = Pick<GovernanceCrypto, "sha256" | "describeCertificate">;

/** A date in words, in UTC. */
export function dateInWords(timeMs: number): string {
  return new Date(timeMs)
    .toISOString()
    .replace("T", " ")
    .replace(/\.000Z$/, " UTC");
}

/** A certificate in words: its subject, what it is, when it ends, and its SHA-256. */
export function certificateInWords(der: Bytes, crypto: WordsCrypto): string {
  const description = crypto.describeCertificate(der);
  const fingerprint = toHex(crypto.sha256(der));
  if (description === undefined) return `certificate with SHA-256 ${fingerprint}`;
  const { subject, isCa, notAfterMs } = description;
  // A date that no Date holds is that of certificates without an end.
  const until = notAfterMs > 8.64e15 ? "without end" : `valid until ${dateInWords(notAfterMs)}`;
  return `${isCa ? "CA certificate" : "certificate"} of ${subject}, ${until}, SHA-256 ${fingerprint}`;
}
