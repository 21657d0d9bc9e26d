/**
 * COSE Sign1 (RFC 9052 section 4.2) with ES256 or ES384 (RFC 9053 section 2.1): how members, participants and owners sign.
 *
 * Contract: tagged 18, payload inside, protected headers exactly algorithm, content type (a text that separates one use
 * of a key from every other) and key id; unprotected headers empty. Signing and verifying are handed in, so that keys may
 * stay in the organisation's own key store. Anything else is `MalformedInput`.
 */
import { decodeCbor, encodeCbor, type CborValue } from "../codec/cbor.ts";
import { EMPTY, utf8Decode, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { CocoError } from "../../errors.ts";

const SIGN1_TAG = 18;
/** COSE numbers of the algorithms, and the length of their signatures. */
const ALGORITHMS = { ES256: { number: -7, bytes: 64 }, ES384: { number: -35, bytes: 96 } } as const;
const HEADER_ALGORITHM = 1;
const HEADER_CONTENT_TYPE = 3;
const HEADER_KEY_ID = 4;

/** Largest COSE Sign1 message where its use names no other limit, in bytes. */
export const MAX_SIGN1_BYTES = 64 * 1024;
/** Longest key id, in bytes. */
export const MAX_KEY_ID_BYTES = 64;

/** ECDSA P-256 with SHA-256, or P-384 with SHA-384: the curve of a key decides. */
export type CoseAlgorithm = keyof typeof ALGORITHMS;

/** What is signed. */
export interface Sign1Content {
  /** ES256 unless given. */
  readonly algorithm?: CoseAlgorithm;
  /** Names the use of the signature; a verifier accepts one content type only. */
  readonly contentType: string;
  /** Names the signer: the actor id of the constitution. */
  readonly keyId: string;
  readonly payload: Bytes;
}

/** A parsed message; nothing of it is trusted before its signature was verified. */
export interface Sign1 extends Sign1Content {
  /** The encoded Sig_structure, which the signature covers. */
  readonly signedBytes: Bytes;
  /** r ‖ s: 64 bytes (ES256) or 96 (ES384). */
  readonly signature: Bytes;
}

/** Signs with ECDSA, by the curve of the key ({@link CoseAlgorithm}): r ‖ s. */
export type SignFunction = (data: Bytes) => Bytes;

/** Verifies {@link SignFunction} by a public key (SubjectPublicKeyInfo, DER). */
export type VerifyFunction = (publicKey: Bytes, data: Bytes, signature: Bytes) => boolean;

function signedBytesOf(protectedHeaders: Bytes, payload: Bytes): Bytes {
  return encodeCbor(["Signature1", protectedHeaders, EMPTY, payload]);
}

/** Signs content into a COSE Sign1 message. */
export function encodeSign1(content: Sign1Content, sign: SignFunction): Bytes {
  const protectedHeaders = encodeCbor(
    new Map<number, CborValue>([
      [HEADER_ALGORITHM, ALGORITHMS[content.algorithm ?? "ES256"].number],
      [HEADER_CONTENT_TYPE, content.contentType],
      [HEADER_KEY_ID, utf8Encode(content.keyId)],
    ]),
  );
  const signature = sign(signedBytesOf(protectedHeaders, content.payload));
  return encodeCbor({ tag: SIGN1_TAG, value: [protectedHeaders, new Map(), content.payload, signature] });
}

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `COSE Sign1: ${problem}`);
}

function isTagged(value: CborValue): value is { readonly tag: number; readonly value: CborValue } {
  return typeof value === "object" && value !== null && "tag" in value;
}

function readProtectedHeaders(encoded: Bytes): Required<Omit<Sign1Content, "payload">> {
  const headers = decodeCbor(encoded);
  if (!(headers instanceof Map) || headers.size !== 3) throw malformed("expected algorithm, content type and key id");
  const number = headers.get(HEADER_ALGORITHM);
  const algorithm =
    number === ALGORITHMS.ES256.number ? "ES256" : number === ALGORITHMS.ES384.number ? "ES384" : undefined;
  if (algorithm === undefined) throw malformed("expected algorithm ES256 or ES384");
  const contentType = headers.get(HEADER_CONTENT_TYPE);
  const keyId = headers.get(HEADER_KEY_ID);
  if (typeof contentType !== "string") throw malformed("expected a content type");
  if (!(keyId instanceof Uint8Array) || keyId.length === 0 || keyId.length > MAX_KEY_ID_BYTES)
    throw malformed("expected a key id");
  return { algorithm, contentType, keyId: utf8Decode(keyId) };
}

/** Parses a message of at most `maxBytes` without verifying it. */
export function parseSign1(bytes: Bytes, maxBytes = MAX_SIGN1_BYTES): Sign1 {
  if (bytes.length > maxBytes) throw malformed("too large");
  const message = decodeCbor(bytes, { tags: [SIGN1_TAG] });
  if (!isTagged(message) || message.tag !== SIGN1_TAG || !Array.isArray(message.value) || message.value.length !== 4) {
    throw malformed("expected tag 18 and four items");
  }
  const [protectedHeaders, unprotectedHeaders, payload, signature]: readonly CborValue[] = message.value;
  if (!(protectedHeaders instanceof Uint8Array)) throw malformed("expected protected headers");
  if (!(unprotectedHeaders instanceof Map) || unprotectedHeaders.size !== 0)
    throw malformed("expected no unprotected headers");
  if (!(payload instanceof Uint8Array)) throw malformed("expected the payload inside");
  const headers = readProtectedHeaders(protectedHeaders);
  const { bytes: length } = ALGORITHMS[headers.algorithm];
  if (!(signature instanceof Uint8Array) || signature.length !== length)
    throw malformed(`expected a signature of ${length} bytes`);
  return {
    ...headers,
    payload,
    signature,
    signedBytes: signedBytesOf(protectedHeaders, payload),
  };
}
