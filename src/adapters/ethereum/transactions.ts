/**
 * Signed transactions of types 0 to 4 (Yellow Paper 4.3, EIP-155, 2718, 2930, 1559, 4844, 7702): strict decoding,
 * encoding, and the hash that is signed. A transaction that decodes has exactly one raw form. Errors are
 * `MalformedInput` in go-ethereum's words, fit for a JSON-RPC answer. Rules that need state or the fork in force
 * (chain id, intrinsic gas, fees, balance) belong to the executor.
 */
import { type Bytes, EMPTY } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { keccak256 } from "./keccak.ts";
import { recoverAddress, SECP256K1_LOW_S_MAX, SECP256K1_ORDER } from "./recover.ts";
import {
  bytesOfBigint,
  bytesOfNumber,
  type RlpItem,
  rlpBigint,
  rlpBytes,
  rlpDecode,
  rlpEncode,
  rlpEncodeList,
  rlpError,
  rlpLength,
  rlpList,
  rlpNumber,
} from "./rlp.ts";
import type { AccessList, Authorization, SignedTransaction } from "./types.ts";

/** Largest raw transaction in bytes (go-ethereum's txMaxSize). */
export const TRANSACTION_BYTES_MAX = 128 * 1024;

/** A transaction whose sender was not recovered yet. */
export type DecodedTransaction = Omit<SignedTransaction, "from">;

/** What a raw transaction is encoded from. */
export type TransactionFields = Omit<DecodedTransaction, "hash" | "raw">;

type TransactionType = SignedTransaction["type"];

const ADDRESS_BYTES = 20;
const HASH_BYTES = 32;
const BLOB_TYPE = 3;
const AUTHORIZATION_MAGIC = Uint8Array.of(0x05);

function refuse(message: string): never {
  throw new CocoError("MalformedInput", message);
}

/** The typed prefix of a raw form. */
const PREFIXES: readonly Bytes[] = [EMPTY, ...[1, 2, 3, 4].map((type) => Uint8Array.of(type))];

/** Number of fields of each type, signature included. */
const FIELD_COUNTS = [9, 11, 12, 14, 13] as const;

const NOTHING: readonly never[] = [];

function typeOf(raw: Bytes): TransactionType {
  const lead = raw[0];
  if (lead !== undefined && lead >= 0x80) return 0;
  if (lead === undefined || raw.length < 2) refuse("typed transaction too short");
  if (lead === 1 || lead === 2 || lead === 3 || lead === 4) return lead;
  refuse("transaction type not supported");
}

/** Whether this is the form blob transactions travel in: [transaction, blobs, commitments, proofs] instead of its fields. */
function hasBlobSidecar(raw: Bytes): boolean {
  const lead = raw[1] as number;
  if (raw[0] !== BLOB_TYPE || lead < 0xc0) return false;
  const first = raw[lead <= 0xf7 ? 2 : lead - 0xf7 + 2];
  return first !== undefined && first >= 0xc0;
}

/**
 * Decodes a raw transaction of at most `limit` bytes. Byte strings of the result are views on `raw`. The signature is
 * checked for its ranges (low s included), not recovered.
 */
export function decodeTransaction(raw: Bytes, limit: number = TRANSACTION_BYTES_MAX): DecodedTransaction {
  const type = typeOf(raw);
  if (hasBlobSidecar(raw))
    refuse("blob sidecars are not supported: send the transaction without blobs, commitments and proofs");
  if (raw.length > limit) {
    throw new CocoError("LimitExceeded", `oversized data: transaction size ${raw.length}, limit ${limit}`);
  }
  const count = FIELD_COUNTS[type];
  const items = rlpList(rlpDecode(type === 0 ? raw : raw.subarray(1)), count, count);
  return type === 0 ? legacyTransaction(raw, items) : typedTransaction(type, raw, items);
}

function addressOrNone(item: RlpItem | undefined): Bytes | undefined {
  const bytes = rlpBytes(item);
  return bytes.length === 0 ? undefined : rlpBytes(bytes, ADDRESS_BYTES);
}

/** Reads items one after the other. */
function inOrder(items: readonly RlpItem[]): () => RlpItem | undefined {
  let at = 0;
  return () => items[at++];
}

/** Has its properties in the order of {@link typedTransaction}: objects of one layout are what the engine is fast with. */
function legacyTransaction(raw: Bytes, items: readonly RlpItem[]): DecodedTransaction {
  const v = rlpBigint(items[6]);
  const chainId = v === 27n || v === 28n ? undefined : (v - 35n) >> 1n;
  const r = rlpBigint(items[7]);
  const s = rlpBigint(items[8]);
  checkSignature(chainId === undefined || chainId >= 0n, r, s);
  return {
    type: 0,
    hash: keccak256(raw),
    raw,
    chainId: chainId === undefined ? undefined : safeChainId(chainId),
    nonce: rlpNumber(items[0]),
    gasPrice: rlpBigint(items[1]),
    maxPriorityFeePerGas: undefined,
    maxFeePerGas: undefined,
    gasLimit: rlpNumber(items[2]),
    to: addressOrNone(items[3]),
    value: rlpBigint(items[4]),
    data: rlpBytes(items[5]),
    accessList: NOTHING,
    maxFeePerBlobGas: undefined,
    blobVersionedHashes: NOTHING,
    authorizationList: NOTHING,
    v,
    r,
    s,
  };
}

/** The properties of the literal are read in the order of the fields. */
function typedTransaction(type: 1 | 2 | 3 | 4, raw: Bytes, items: readonly RlpItem[]): DecodedTransaction {
  const next = inOrder(items);
  const transaction: DecodedTransaction = {
    type,
    hash: keccak256(raw),
    raw,
    chainId: safeChainId(rlpBigint(next())),
    nonce: rlpNumber(next()),
    gasPrice: type === 1 ? rlpBigint(next()) : undefined,
    maxPriorityFeePerGas: type === 1 ? undefined : rlpBigint(next()),
    maxFeePerGas: type === 1 ? undefined : rlpBigint(next()),
    gasLimit: rlpNumber(next()),
    to: type >= BLOB_TYPE ? rlpBytes(next(), ADDRESS_BYTES) : addressOrNone(next()),
    value: rlpBigint(next()),
    data: rlpBytes(next()),
    accessList: accessListOf(next()),
    maxFeePerBlobGas: type === BLOB_TYPE ? rlpBigint(next()) : undefined,
    blobVersionedHashes: type === BLOB_TYPE ? rlpList(next()).map((item) => rlpBytes(item, HASH_BYTES)) : NOTHING,
    authorizationList: type === 4 ? rlpList(next()).map(authorizationOf) : NOTHING,
    v: rlpBigint(next()),
    r: rlpBigint(next()),
    s: rlpBigint(next()),
  };
  checkSignature(transaction.v <= 1n, transaction.r, transaction.s);
  return transaction;
}

function safeChainId(chainId: bigint): number {
  if (chainId > BigInt(Number.MAX_SAFE_INTEGER)) refuse("invalid chain id for signer: above 2^53 - 1");
  return Number(chainId);
}

function checkSignature(validV: boolean, r: bigint, s: bigint): void {
  if (!validV || r === 0n || r >= SECP256K1_ORDER || s === 0n || s > SECP256K1_LOW_S_MAX) refuse("invalid sender");
}

function accessListOf(item: RlpItem | undefined): AccessList {
  return rlpList(item).map((entry) => {
    const [address, storageKeys] = rlpList(entry, 2, 2);
    return {
      address: rlpBytes(address, ADDRESS_BYTES),
      storageKeys: rlpList(storageKeys).map((key) => rlpBytes(key, HASH_BYTES)),
    };
  });
}

function authorizationOf(item: RlpItem): Authorization {
  const fields = rlpList(item, 6, 6);
  const yParity = rlpNumber(fields[3]);
  if (yParity > 0xff) rlpError("input string too long");
  return {
    chainId: rlpBigint(fields[0]),
    address: rlpBytes(fields[1], ADDRESS_BYTES),
    nonce: rlpBigint(fields[2], 8),
    yParity,
    r: rlpBigint(fields[4]),
    s: rlpBigint(fields[5]),
  };
}

function integer(value: number | bigint | undefined): Bytes {
  if (value === undefined) rlpError("too few elements");
  return typeof value === "number" ? bytesOfNumber(value) : bytesOfBigint(value);
}

function accessListItem(accessList: AccessList): RlpItem {
  return accessList.map(({ address, storageKeys }) => [address, storageKeys]);
}

function authorizationItem({ chainId, address, nonce, yParity, r, s }: Authorization): RlpItem {
  return [integer(chainId), address, integer(nonce), integer(yParity), integer(r), integer(s)];
}

/** The raw form of a transaction; throws `MalformedInput` when a field its type needs is missing. */
export function encodeTransaction(fields: TransactionFields): Bytes {
  const { type } = fields;
  const fees =
    type < 2 ? [integer(fields.gasPrice)] : [integer(fields.maxPriorityFeePerGas), integer(fields.maxFeePerGas)];
  const call = [integer(fields.gasLimit), fields.to ?? EMPTY, integer(fields.value), fields.data];
  const items: RlpItem[] = [integer(fields.nonce), ...fees, ...call];
  if (type > 0) items.unshift(integer(fields.chainId));
  if (type > 0) items.push(accessListItem(fields.accessList));
  if (type === BLOB_TYPE) items.push(integer(fields.maxFeePerBlobGas), fields.blobVersionedHashes);
  if (type === 4) items.push(fields.authorizationList.map(authorizationItem));
  items.push(integer(fields.v), integer(fields.r), integer(fields.s));
  return rlpEncode(items, PREFIXES[type]);
}

/** Bytes an integer of at most 256 bits takes when encoded. */
function integerLength(value: bigint): number {
  if (value < 0x80n) return 1;
  let length = 32;
  while (value >> BigInt(8 * length - 8) === 0n) length--;
  return rlpLength(length);
}

/**
 * The hash that was signed. It is taken from the raw form: what is signed is its list without the signature (and, after
 * EIP-155, with the chain id in its place), so nothing is encoded again.
 */
export function signingHash(
  transaction: Pick<DecodedTransaction, "type" | "raw" | "chainId" | "v" | "r" | "s">,
): Bytes {
  const { type, raw, chainId, v, r, s } = transaction;
  const prefix = PREFIXES[type] as Bytes;
  const lead = raw[prefix.length] as number;
  const start = prefix.length + 1 + (lead <= 0xf7 ? 0 : lead - 0xf7);
  const unsigned = raw.subarray(start, raw.length - integerLength(v) - integerLength(r) - integerLength(s));
  const replayProtection = type === 0 && chainId !== undefined ? chainIdPayload(chainId) : EMPTY;
  return keccak256(rlpEncodeList(unsigned, replayProtection, prefix));
}

/** The items chain id, 0, 0 as EIP-155 appends them. */
function chainIdPayload(chainId: number): Bytes {
  return rlpEncode([bytesOfNumber(chainId), EMPTY, EMPTY]).subarray(1);
}

/** Recovers the sender; throws `MalformedInput` "invalid sender" when no key could have made the signature. */
export function senderOf(transaction: DecodedTransaction): Bytes {
  const { type, chainId, v, r, s } = transaction;
  const base = type > 0 ? 0n : chainId === undefined ? 27n : 35n + 2n * BigInt(chainId);
  return recoverAddress(signingHash(transaction), r, s, Number(v - base)) ?? refuse("invalid sender");
}

/** The account that signed an EIP-7702 authorization; undefined when the signature is not valid. */
export function authorizationSigner(authorization: Authorization): Bytes | undefined {
  const { chainId, address, nonce, yParity, r, s } = authorization;
  if (s > SECP256K1_LOW_S_MAX) return undefined;
  const message = rlpEncode([integer(chainId), address, integer(nonce)], AUTHORIZATION_MAGIC);
  return recoverAddress(keccak256(message), r, s, yParity);
}
