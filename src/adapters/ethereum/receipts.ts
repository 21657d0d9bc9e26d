/**
 * Receipts as consensus sees them (Yellow Paper 4.3.1 since Byzantium, EIP-2718) and the 2048-bit log filter.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { keccak256 } from "./keccak.ts";
import { bytesOfNumber, type RlpItem, rlpBytes, rlpEncode, rlpList } from "./rlp.ts";
import type { Log, Receipt } from "./types.ts";

/** Bytes of a log filter. */
export const BLOOM_BYTES = 256;

/** A log as an RLP item. */
export function logItem({ address, topics, data }: Log): RlpItem {
  return [address, topics, data];
}

/** Reads {@link logItem}. */
export function logOfItem(item: RlpItem): Log {
  const fields = rlpList(item, 3, 3);
  return {
    address: rlpBytes(fields[0], 20),
    topics: rlpList(fields[1], 0, 4).map((topic) => rlpBytes(topic, 32)),
    data: rlpBytes(fields[2]),
  };
}

/** The encoding of a receipt that the receipts root is made of. */
export function encodeReceipt(
  receipt: Pick<Receipt, "type" | "success" | "cumulativeGasUsed" | "logsBloom" | "logs">,
): Bytes {
  const { type, success, cumulativeGasUsed, logs } = receipt;
  const item = [bytesOfNumber(success ? 1 : 0), bytesOfNumber(cumulativeGasUsed), receipt.logsBloom, logs.map(logItem)];
  return rlpEncode(item, bytesOfNumber(type));
}

/** Calls `visit` with byte position and mask of the three bits that stand for `value`. */
function visitBits(value: Bytes, visit: (at: number, mask: number) => void): void {
  const hash = keccak256(value);
  for (let pair = 0; pair < 6; pair += 2) {
    const bit = (((hash[pair] as number) << 8) | (hash[pair + 1] as number)) & 2047;
    visit(BLOOM_BYTES - 1 - (bit >> 3), 1 << (bit & 7));
  }
}

/** Adds an address or topic to a filter, in place. */
export function addToBloom(bloom: Uint8Array, value: Bytes): void {
  visitBits(value, (at, mask) => {
    bloom[at] = (bloom[at] as number) | mask;
  });
}

/** The filter of some logs: 256 bytes. */
export function logsBloom(logs: readonly Log[]): Bytes {
  const bloom = new Uint8Array(BLOOM_BYTES);
  for (const { address, topics } of logs) {
    addToBloom(bloom, address);
    for (const topic of topics) addToBloom(bloom, topic);
  }
  return bloom;
}

/** The union of several filters: that of a block from those of its receipts. */
export function mergeBlooms(blooms: readonly Bytes[]): Bytes {
  const union = new Uint8Array(BLOOM_BYTES);
  for (const bloom of blooms)
    for (let at = 0; at < BLOOM_BYTES; at++) union[at] = (union[at] as number) | (bloom[at] as number);
  return union;
}

/** Whether an address or topic may have been added to a filter; false is certain. */
export function bloomContains(bloom: Bytes, value: Bytes): boolean {
  let contains = true;
  visitBits(value, (at, mask) => {
    if (((bloom[at] as number) & mask) === 0) contains = false;
  });
  return contains;
}
