/**
 * Containers in which certificates of chips travel: DER, PEM, with text around its blocks or without, the JSON of Azure's THIM
 * service (`vcekCert`, `certificateChain`, or one of them), base64 of any of these, and the table the host hands to a guest (GHCB,
 * AMD 56421, 4.1.8.1).
 *
 * They are read strictly into a list of DER; which certificate is what is told by the certificates. A file that is DER is
 * never searched for PEM: certificates may carry other certificates as text.
 */
import { fromAnyBase64, fromBase64 } from "../../core/codec/base64.ts";
import { type Bytes, bytesEqual, EMPTY, fromHex, utf8Decode } from "../../core/codec/bytes.ts";
import { parseStrictJson } from "../../core/codec/json.ts";
import { isOneDerSequence } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";
import { evidenceRejected } from "../evidence.ts";
import { MAX_SNP_CERTIFICATES } from "./verify.ts";

/** Largest container of certificates in bytes; larger ones are `Malformed`. */
export const MAX_CERTIFICATE_CONTAINER_BYTES = 64 * 1024;
/** Most entries of a host's table of certificates; further ones are `Malformed`. */
export const MAX_CERTIFICATE_TABLE_ENTRIES = 32;

/** What the entries of a host's table hold, by GUID in the order of its text (RFC 4122); others are passed over. */
const TABLE_KINDS: readonly Bytes[] = [
  "63da758de6644564adc5f4b93be8accd", // VCEK
  "a8074bc2a25a483eaae639c045a0b8a1", // VLEK
  "4ab7b379bbac4fe4a02f05aef327c782", // ASK
  "c0b406a4a803495297433fb6014cd0ae", // ARK
].map(fromHex);
const GUID_BYTES = 16;
const ENTRY_BYTES = GUID_BYTES + 8;
const SEQUENCE = 0x30;
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g;

function malformed(problem: string): CocoError {
  return evidenceRejected("Malformed", `certificates: ${problem}`);
}

/** Reads certificates in any of the containers. Throws `EvidenceRejected` with the reason `Malformed`. */
export function readCertificates(content: Bytes): readonly Bytes[] {
  if (content.length > MAX_CERTIFICATE_CONTAINER_BYTES) throw malformed("more than 64 KiB");
  if (content[0] === SEQUENCE && isOneDerSequence(content)) return [content];
  const text = asciiOf(content);
  const certificates = text === undefined ? readCertificateTable(content) : readText(text.trim());
  if (certificates.length > MAX_SNP_CERTIFICATES) throw malformed("too many");
  return certificates;
}

/** The text of content that is printable ASCII and white space. */
function asciiOf(content: Bytes): string | undefined {
  const isText = content.every(
    (byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x09 || byte === 0x0a || byte === 0x0d,
  );
  return isText ? utf8Decode(content) : undefined;
}

function readText(text: string): readonly Bytes[] {
  if (text.startsWith("{")) return readThimJson(text);
  return text.includes("-----") ? readPem(text) : readBase64(text);
}

/**
 * Text around the blocks, such as what a certificate says in words, is passed over; blocks that are none are not. Their lines may be of
 * any length: not all that writes PEM breaks them after 64 characters.
 */
function readPem(text: string): readonly Bytes[] {
  if (text.replace(PEM_BLOCK, "").includes("-----"))
    throw malformed("a PEM block that is no certificate, or has no end");
  return Array.from(text.matchAll(PEM_BLOCK), ([, body = ""]) => {
    const der = orMalformed(() => fromBase64(body.replace(/\s+/g, "")));
    if (!isOneDerSequence(der)) throw malformed("a PEM block that holds no certificate");
    return der;
  });
}

/** What is in base64 is no base64 again. */
function readBase64(text: string): readonly Bytes[] {
  const decoded = orMalformed(() => fromAnyBase64(text));
  if (isOneDerSequence(decoded)) return [decoded];
  const inner = asciiOf(decoded)?.trim() ?? "";
  if (!inner.startsWith("{") && !inner.includes("-----")) throw malformed("neither PEM, nor JSON, nor base64 of them");
  return readText(inner);
}

/** The other fields say for which TCB and how long; what counts of that stands in the certificates. */
function readThimJson(text: string): readonly Bytes[] {
  const fields = orMalformed(() => parseStrictJson(text));
  if (!(fields instanceof Map)) throw malformed("expected a JSON object");
  const found = ["vcekCert", "certificateChain"].filter((name) => fields.has(name));
  if (found.length === 0) throw malformed("JSON without vcekCert and certificateChain");
  return found.flatMap((name) => {
    const value: unknown = fields.get(name);
    if (typeof value !== "string") throw malformed(`expected text for ${name}`);
    return readPem(value.trim());
  });
}

function orMalformed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CocoError && error.code !== "Internal") throw malformed(error.message);
    throw error;
  }
}

/** Reads the table a host hands to a guest; it may be empty. Throws `EvidenceRejected` with the reason `Malformed`. */
export function readCertificateTable(table: Bytes): readonly Bytes[] {
  const certificates: Bytes[] = [];
  if (table.length === 0) return certificates;
  for (let entry = 0; entry < MAX_CERTIFICATE_TABLE_ENTRIES; entry++) {
    const at = entry * ENTRY_BYTES;
    if (at + ENTRY_BYTES > table.length) throw malformed("a table without its end");
    const guid = table.subarray(at, at + GUID_BYTES);
    const view = new DataView(table.buffer, table.byteOffset + at + GUID_BYTES, 8);
    const [offset, length] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (offset === 0 && length === 0 && bytesEqual(guid, new Uint8Array(GUID_BYTES))) return certificates;
    if (length > table.length || offset > table.length - length)
      throw malformed("an entry beyond the end of its table");
    const content = length === 0 ? EMPTY : table.subarray(offset, offset + length);
    if (!TABLE_KINDS.some((kind) => bytesEqual(kind, guid))) continue;
    if (!isOneDerSequence(content)) throw malformed("an entry that is no certificate");
    certificates.push(content);
  }
  throw malformed(`a table of more than ${MAX_CERTIFICATE_TABLE_ENTRIES - 1} entries`);
}
