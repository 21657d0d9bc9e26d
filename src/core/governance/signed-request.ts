/**
 * Governance requests as members sign them: COSE Sign1 (RFC 9052, 4.2) with the protected headers of CCF, so that its
 * signing tools work here: algorithm, key id (hex SHA-256 of the signing certificate), `ccf.gov.msg.type`,
 * `ccf.gov.msg.created_at` and `ccf.gov.msg.proposal_id`. `coco.network` binds a request to one network.
 *
 * Signing has two steps, {@link bytesToSign} and {@link assembleSignedRequest}, because the key may be anywhere.
 * Parsing verifies nothing.
 */
import { EMPTY, toHex, fromHex, utf8Decode, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { decodeCbor, encodeCbor, type CborKey, type CborValue } from "../codec/cbor.ts";
import { CocoError } from "../../errors.ts";
import { COSE_ALGORITHMS, type CoseAlgorithm } from "./cose.ts";

/** What a member may ask for. */
export const REQUEST_TYPES = ["proposal", "ballot", "withdrawal", "automatic_vote", "resume"] as const;
/** One of {@link REQUEST_TYPES}. */
export type RequestType = (typeof REQUEST_TYPES)[number];

/** Largest signed request in bytes. */
export const MAX_REQUEST_BYTES = 128 * 1024;
/** Most certificates that come with a request: the signer's, and those between it and the actor's. */
export const MAX_REQUEST_CHAIN = 4;
/** Latest time a request can name, in seconds since 1970 (the year 2286), as CCF has it. */
export const MAX_CREATED_AT = 9_999_999_999;

const SIGN1_TAG = 18;
const ALGORITHM = 1;
const KEY_ID = 4;
const X5CHAIN = 33;
const MESSAGE_TYPE = "ccf.gov.msg.type";
const CREATED_AT = "ccf.gov.msg.created_at";
const PROPOSAL_ID = "ccf.gov.msg.proposal_id";
const NETWORK = "coco.network";
const HEADERS: readonly CborKey[] = [ALGORITHM, KEY_ID, MESSAGE_TYPE, CREATED_AT, PROPOSAL_ID, NETWORK];
const DIGEST_HEX = /^[0-9a-f]{64}$/;

/** What is signed. */
export interface RequestContent {
  readonly type: RequestType;
  readonly algorithm: CoseAlgorithm;
  /** Hex SHA-256 of the signing certificate (DER). */
  readonly keyId: string;
  /** When it was signed, in seconds since 1970. */
  readonly createdAt: number;
  /** Hex; of ballots and withdrawals only. */
  readonly proposalId?: string;
  /** Hex network id; CCF's tools leave it out. */
  readonly networkId?: string;
  /** JSON, UTF-8. */
  readonly payload: Bytes;
}

/** A parsed request; nothing of it is trusted before its signature was verified. */
export interface SignedRequest extends RequestContent {
  /** What the signature covers; two requests are the same if this is. */
  readonly signedBytes: Bytes;
  /** r ‖ s. */
  readonly signature: Bytes;
  /** Certificates the message itself carries (DER), the signer's first; often none. */
  readonly chain: readonly Bytes[];
}

function malformed(problem: string, cause?: unknown): CocoError {
  return new CocoError("ProposalInvalid", `signed request: ${problem}`, { reason: "Malformed" }, { cause });
}

function protectedHeaders(content: RequestContent): Bytes {
  const { type, algorithm, keyId, createdAt, proposalId, networkId } = content;
  const headers = new Map<CborKey, CborValue>([
    [ALGORITHM, COSE_ALGORITHMS[algorithm].number],
    [KEY_ID, utf8Encode(keyId)],
    [MESSAGE_TYPE, type],
    [CREATED_AT, createdAt],
  ]);
  if (proposalId !== undefined) headers.set(PROPOSAL_ID, proposalId);
  if (networkId !== undefined) headers.set(NETWORK, fromHex(networkId));
  return encodeCbor(headers);
}

function sigStructure(headers: Bytes, payload: Bytes): Bytes {
  return encodeCbor(["Signature1", headers, EMPTY, payload]);
}

/** The bytes a member's key has to sign, with ECDSA over SHA-256 (ES256) or SHA-384 (ES384). */
export function bytesToSign(content: RequestContent): Bytes {
  return sigStructure(protectedHeaders(content), content.payload);
}

/** The message of a content and its signature (r ‖ s); `chain` names the signer when the network does not list its certificate. */
export function assembleSignedRequest(content: RequestContent, signature: Bytes, chain: readonly Bytes[] = []): Bytes {
  const unprotected = new Map<CborKey, CborValue>(chain.length === 0 ? [] : [[X5CHAIN, [...chain]]]);
  return encodeCbor({
    tag: SIGN1_TAG,
    value: [protectedHeaders(content), unprotected, content.payload, signature],
  });
}

/** Parses a message without verifying it; throws `ProposalInvalid`, reason `Malformed`. */
export function parseSignedRequest(message: Bytes): SignedRequest {
  try {
    return parse(message);
  } catch (error) {
    if (error instanceof CocoError && error.code !== "MalformedInput" && error.code !== "LimitExceeded") throw error;
    throw malformed("not a COSE Sign1 message", error);
  }
}

function parse(message: Bytes): SignedRequest {
  const outer = decodeCbor(message, { tags: [SIGN1_TAG], maxBytes: MAX_REQUEST_BYTES, anyKeyOrder: true });
  if (!isTagged(outer) || outer.tag !== SIGN1_TAG || !Array.isArray(outer.value) || outer.value.length !== 4)
    throw malformed("expected tag 18 and four items");
  const [encodedHeaders, unprotected, payload, signature]: readonly CborValue[] = outer.value;
  if (!(encodedHeaders instanceof Uint8Array) || !(payload instanceof Uint8Array) || !(signature instanceof Uint8Array))
    throw malformed("expected protected headers, the payload inside, and a signature");
  const content = readHeaders(encodedHeaders, payload);
  if (signature.length !== COSE_ALGORITHMS[content.algorithm].bytes)
    throw malformed("the signature has another length");
  return { ...content, signature, chain: readChain(unprotected), signedBytes: sigStructure(encodedHeaders, payload) };
}

function isTagged(value: CborValue): value is { readonly tag: number; readonly value: CborValue } {
  return typeof value === "object" && value !== null && "tag" in value;
}

function readHeaders(encoded: Bytes, payload: Bytes): RequestContent {
  const headers = decodeCbor(encoded, { anyKeyOrder: true });
  if (!(headers instanceof Map)) throw malformed("expected a map of protected headers");
  for (const name of headers.keys())
    if (!HEADERS.includes(name)) throw malformed(`the protected header ${name} is not known`);
  const type = REQUEST_TYPES.find((known) => known === headers.get(MESSAGE_TYPE));
  if (type === undefined) throw malformed(`${MESSAGE_TYPE} is one of ${REQUEST_TYPES.join(", ")}`);
  const proposalId = readProposalId(type, headers.get(PROPOSAL_ID));
  const networkId = readNetworkId(headers.get(NETWORK));
  return {
    type,
    algorithm: readAlgorithm(headers.get(ALGORITHM)),
    keyId: readKeyId(headers.get(KEY_ID)),
    createdAt: readCreatedAt(headers.get(CREATED_AT)),
    ...(proposalId !== undefined && { proposalId }),
    ...(networkId !== undefined && { networkId }),
    payload,
  };
}

function readAlgorithm(value: CborValue | undefined): CoseAlgorithm {
  if (value === COSE_ALGORITHMS.ES256.number) return "ES256";
  if (value === COSE_ALGORITHMS.ES384.number) return "ES384";
  throw malformed("expected algorithm ES256 or ES384");
}

function readKeyId(value: CborValue | undefined): string {
  const keyId = value instanceof Uint8Array && value.length === 64 ? utf8Decode(value) : "";
  if (!DIGEST_HEX.test(keyId)) throw malformed("the key id is the hex SHA-256 of the signing certificate");
  return keyId;
}

function readCreatedAt(value: CborValue | undefined): number {
  if (typeof value === "number" && value >= 0 && value <= MAX_CREATED_AT) return value;
  throw new CocoError("ProposalInvalid", `${CREATED_AT} is the time of signing in seconds since 1970`, {
    reason: "InvalidCreatedAt",
  });
}

function readProposalId(type: RequestType, value: CborValue | undefined): string | undefined {
  const refersToOne = type === "ballot" || type === "withdrawal";
  if (!refersToOne && value === undefined) return undefined;
  if (!refersToOne || typeof value !== "string" || !DIGEST_HEX.test(value))
    throw malformed(`${PROPOSAL_ID} stands in ballots and withdrawals, 64 hex digits`);
  return value;
}

function readNetworkId(value: CborValue | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (!(value instanceof Uint8Array) || value.length !== 32) throw malformed(`${NETWORK} is a network id of 32 bytes`);
  return toHex(value);
}

/** One certificate, or a list of them (RFC 9360, 2). */
function readChain(unprotected: CborValue | undefined): readonly Bytes[] {
  if (!(unprotected instanceof Map)) throw malformed("expected a map of unprotected headers");
  for (const name of unprotected.keys())
    if (name !== X5CHAIN) throw malformed(`the unprotected header ${name} is not known`);
  const chain: unknown = unprotected.get(X5CHAIN);
  if (chain === undefined) return [];
  const items: readonly unknown[] = Array.isArray(chain) ? chain : [chain];
  if (items.length > MAX_REQUEST_CHAIN) throw malformed(`x5chain has at most ${MAX_REQUEST_CHAIN} certificates`);
  return items.map((item) => {
    if (item instanceof Uint8Array) return item;
    throw malformed("x5chain holds certificates");
  });
}
