/**
 * Attested TLS: the certificate a node shows its clients names, by its digest, the evidence that the ledger records of that node.
 * Whoever has the evidence (`GET /node/evidence`) sees that the key of this very connection is the one the TEE bound.
 *
 * The extension is that of conceptual message wrappers (draft-ietf-rats-msg-wrap, id-pe-cmw): an octet string of CBOR, an array of
 * a media type and the message. The message is SHA-256 of the evidence: evidence of hardware is too large for each handshake.
 */
import type { Certificate } from "../core/certificates/certificate.ts";
import { readOrNothing } from "../core/certificates/certificate.ts";
import { concatBytes, type Bytes } from "../core/codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../core/codec/cbor.ts";
import { DER, readDer } from "../core/codec/der.ts";

/** Object identifier of the extension. */
export const EVIDENCE_EXTENSION = "1.3.6.1.5.5.7.1.35";

const MEDIA_TYPE = "application/vnd.coco-framework.evidence-digest";
const DIGEST_BYTES = 32;

/** The extension's value for evidence with this SHA-256 digest, DER. */
export function evidenceExtension(digest: Bytes): Bytes {
  const message = encodeCbor([MEDIA_TYPE, digest]);
  return concatBytes(Uint8Array.of(DER.octetString, message.length), message);
}

/** The digest a certificate names; undefined when it names none in this form. */
export function evidenceDigestOf({ extensions }: Pick<Certificate, "extensions">): Bytes | undefined {
  const extension = extensions.find(({ identifier }) => identifier === EVIDENCE_EXTENSION);
  if (extension === undefined) return undefined;
  return readOrNothing(() => {
    const message = decodeCbor(readDer(extension.value, (reader) => reader.octets()));
    if (!Array.isArray(message) || message.length !== 2 || message[0] !== MEDIA_TYPE) return undefined;
    const digest: unknown = message[1];
    return digest instanceof Uint8Array && digest.length === DIGEST_BYTES ? digest : undefined;
  });
}
