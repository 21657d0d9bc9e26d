/**
 * Log queries: the criteria of a client, and the matching logs of a range of blocks. The bloom filter of a header rules
 * out most blocks without reading their receipts. Bounded by blocks and results, because a query must not hold the
 * worker. Source: execution-apis `filter.yaml`, go-ethereum `eth/filters`, yellow paper section 4.3.1 (bloom).
 */
import { type Bytes, toHex } from "../../../core/codec/bytes.ts";
import type { StateReader } from "../../adapter.ts";
import { blocksBetween, transactionsOfBlock } from "../chain.ts";
import { keccak256 } from "../keccak.ts";
import type { BlockRecord, Log } from "../types.ts";
import { type BlockReference, LATEST, toBlockNumber, toFixed, toObject } from "./decode.ts";
import { encodeLog, type JsonObject, quantity } from "./encode.ts";
import { invalidParameters, limitExceeded, serverError } from "./fault.ts";

/** Most blocks one query may span. */
export const MAX_LOG_BLOCKS = 10_000;
/** Most logs one query may return. */
export const MAX_LOG_RESULTS = 10_000;
/** Most transactions one query may read: those of all blocks its addresses and topics do not rule out. */
export const MAX_LOG_TRANSACTIONS = 200_000;
/** Most addresses, and most alternatives for one topic, of a query. */
export const MAX_LOG_ALTERNATIVES = 1000;
/** A log has at most this many topics. */
const MAX_TOPICS = 4;

/** Alternatives for one position of a log; none of them matches everything. Made once per query, tested per block and log. */
export interface Alternatives {
  /** Hex of each value. */
  readonly values: ReadonlySet<string>;
  /** The three bits of each value in a bloom filter. */
  readonly bloomBits: readonly (readonly number[])[];
}

/** Which logs match. */
export interface LogCriteria {
  readonly addresses: Alternatives;
  readonly topics: readonly Alternatives[];
}

/** A decoded filter object. */
export interface LogQuery extends LogCriteria {
  readonly blockHash: Bytes | undefined;
  readonly from: BlockReference;
  readonly to: BlockReference;
}

/** Decodes a filter object. */
export function toLogQuery(value: unknown): LogQuery {
  const fields = toObject(value, "filters.input");
  const field = (name: string): unknown => fields.get(name) ?? undefined;
  const [hash, from, to] = [field("blockHash"), field("fromBlock"), field("toBlock")];
  if (hash !== undefined && (from !== undefined || to !== undefined)) {
    throw invalidParameters(
      "invalid argument 0: cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other",
    );
  }
  return {
    blockHash: hash === undefined ? undefined : toFixed(hash, 32, "Go struct field input.blockHash"),
    from: from === undefined ? LATEST : toRangeEnd(from),
    to: to === undefined ? LATEST : toRangeEnd(to),
    addresses: toAddresses(field("address")),
    topics: toTopics(field("topics")),
  };
}

function toRangeEnd(value: unknown): BlockReference {
  const reference = toBlockNumber(value);
  if (reference.type === "tag" && reference.tag === "pending")
    throw invalidParameters("pending logs are not supported");
  return reference;
}

function bloomBitsOf(value: Bytes): readonly number[] {
  const hash = keccak256(value);
  return [0, 2, 4].map((at) => (((hash[at] as number) << 8) | (hash[at + 1] as number)) & 2047);
}

function alternativesOf(values: readonly Bytes[]): Alternatives {
  return { values: new Set(values.map(toHex)), bloomBits: values.map(bloomBitsOf) };
}

function toAddresses(value: unknown): Alternatives {
  if (value === undefined) return alternativesOf([]);
  if (typeof value === "string") return alternativesOf([toFixed(value, 20)]);
  if (!Array.isArray(value)) throw invalidParameters("invalid argument 0: invalid addresses in query");
  if (value.length > MAX_LOG_ALTERNATIVES) throw serverError("exceed max addresses or topics per search position");
  const addresses = value.map((address: unknown, index) => {
    if (typeof address !== "string")
      throw invalidParameters(`invalid argument 0: non-string address at index ${index}`);
    return toFixed(address, 20);
  });
  return alternativesOf(addresses);
}

function toTopics(value: unknown): readonly Alternatives[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalidParameters("invalid argument 0: invalid topic(s)");
  if (value.length > MAX_TOPICS) throw invalidParameters("invalid argument 0: exceed max topics");
  return value.map((alternatives: unknown) => alternativesOf(toTopicAlternatives(alternatives)));
}

/** null, a topic, or a list of alternatives; a null among them matches everything. */
function toTopicAlternatives(value: unknown): readonly Bytes[] {
  if (value === null) return [];
  if (typeof value === "string") return [toFixed(value, 32)];
  if (!Array.isArray(value)) throw invalidParameters("invalid argument 0: invalid topic(s)");
  if (value.length > MAX_LOG_ALTERNATIVES) throw serverError("exceed max addresses or topics per search position");
  if (value.includes(null)) return [];
  return value.map((topic: unknown) => {
    if (typeof topic !== "string") throw invalidParameters("invalid argument 0: invalid topic(s)");
    return toFixed(topic, 32);
  });
}

function includes(alternatives: Alternatives, value: Bytes): boolean {
  return alternatives.values.size === 0 || alternatives.values.has(toHex(value));
}

function matches(log: Log, { addresses, topics }: LogCriteria): boolean {
  if (topics.length > log.topics.length || !includes(addresses, log.address)) return false;
  return topics.every((alternatives, position) => includes(alternatives, log.topics[position] as Bytes));
}

/** Whether a block with this bloom filter may have a match: bit 0 is the lowest of the last byte. */
function mayMatch(bloom: Bytes, { addresses, topics }: LogCriteria): boolean {
  const isSet = (bit: number): boolean => ((bloom[bloom.length - 1 - (bit >> 3)] as number) & (1 << (bit & 7))) !== 0;
  return [addresses, ...topics].every(
    ({ bloomBits }) => bloomBits.length === 0 || bloomBits.some((bits) => bits.every(isSet)),
  );
}

/** What was found in a block, and how many transactions were read for it. */
export interface BlockLogs {
  readonly logs: readonly JsonObject[];
  readonly transactionsRead: number;
}

/** Matching logs of one block, in order. */
export function logsOfBlock(state: StateReader, block: BlockRecord, criteria: LogCriteria): BlockLogs {
  const logs: JsonObject[] = [];
  if (!mayMatch(block.header.logsBloom, criteria)) return { logs, transactionsRead: 0 };
  let logIndex = 0;
  let index = 0;
  for (const { receipt } of transactionsOfBlock(state, block.header.number)) {
    const transactionHash = block.transactionHashes[index] as Bytes;
    for (const log of receipt.logs) {
      if (matches(log, criteria)) logs.push(encodeLog(log, { block, index, transactionHash, logIndex }));
      logIndex++;
    }
    index++;
  }
  return { logs, transactionsRead: index };
}

/** Matching logs of the blocks `from` to `to`, both included. Throws beyond the limits, naming a range that fits. */
export function logsBetween(
  state: StateReader,
  criteria: LogCriteria,
  from: number,
  to: number,
): readonly JsonObject[] {
  if (to - from + 1 > MAX_LOG_BLOCKS) {
    throw limitExceeded(
      `block range is too wide: query spans ${to - from + 1} blocks, at most ${MAX_LOG_BLOCKS} are allowed`,
    );
  }
  const found: JsonObject[] = [];
  let transactionsRead = 0;
  for (const block of blocksBetween(state, from, to)) {
    const result = logsOfBlock(state, block, criteria);
    for (const log of result.logs) found.push(log);
    transactionsRead += result.transactionsRead;
    // One block is the smallest range there is, and its gas limit bounds its logs.
    if (to === from) break;
    const advice = `Try with this block range [${quantity(from)}, ${quantity(Math.max(from, block.header.number - 1))}].`;
    if (found.length > MAX_LOG_RESULTS)
      throw limitExceeded(`query returned more than ${MAX_LOG_RESULTS} results. ${advice}`);
    if (transactionsRead > MAX_LOG_TRANSACTIONS)
      throw limitExceeded(`query has to read more than ${MAX_LOG_TRANSACTIONS} transactions. ${advice}`);
  }
  return found;
}
