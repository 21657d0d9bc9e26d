/**
 * Mends the answer to transactions that were sent a second time because the first answer was lost with its node.
 *
 * A transaction is known by its hash and included at most once, so a repetition can only be answered "already known", or
 * "nonce too low" once it is in a block. The sender saw one request: it gets the hash, as it would have the first time.
 */
import { isRecord, type RpcRequest, requestsOf } from "./gateway-rules.ts";

const SEND = "eth_sendRawTransaction";
const RAW_TRANSACTION = /^0x(?:[0-9a-fA-F]{2})+$/;

/** Whether the ledger knows a transaction of this hash (`0x…`). */
export type TransactionLookup = (hash: string) => Promise<boolean>;

async function hashOf(raw: string): Promise<string> {
  const { keccak_256 } = await import("@noble/hashes/sha3.js");
  return `0x${Buffer.from(keccak_256(Buffer.from(raw.slice(2), "hex"))).toString("hex")}`;
}

/** Raw transactions of a body by the JSON text of their request's id. */
function rawTransactions(parsed: unknown): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const request of requestsOf(parsed)) {
    const raw: unknown = Array.isArray(request.params) ? request.params[0] : undefined;
    if (request.method === SEND && request.id !== undefined && typeof raw === "string" && RAW_TRANSACTION.test(raw)) {
      found.set(JSON.stringify(request.id), raw);
    }
  }
  return found;
}

async function mendOne(
  answer: unknown,
  sent: ReadonlyMap<string, string>,
  isKnown: TransactionLookup,
): Promise<unknown> {
  if (!isRecord(answer) || !isRecord(answer["error"])) return answer;
  const raw = sent.get(JSON.stringify(answer["id"]));
  const message = answer["error"]["message"];
  if (raw === undefined || typeof message !== "string") return answer;
  const hash = await hashOf(raw);
  const included = message === "already known" || (message.startsWith("nonce too low") && (await isKnown(hash)));
  return included ? { jsonrpc: "2.0", id: answer["id"], result: hash } : answer;
}

/**
 * The answer to a repeated request, mended where a transaction had arrived the first time.
 * @param request the parsed body that was sent
 * @param answer text of the answer to the repetition
 */
export async function mendRepeatedAnswer(
  request: unknown,
  answer: string,
  isKnown: TransactionLookup,
): Promise<string> {
  const sent = rawTransactions(request);
  if (sent.size === 0) return answer;
  let parsed: unknown;
  try {
    parsed = JSON.parse(answer);
  } catch {
    return answer;
  }
  if (!Array.isArray(parsed)) return JSON.stringify(await mendOne(parsed, sent, isKnown));
  return JSON.stringify(await Promise.all(parsed.map((one: unknown) => mendOne(one, sent, isKnown))));
}

/** Whether a body holds a transaction to be sent. */
export function sendsTransactions(requests: readonly RpcRequest[]): boolean {
  return requests.some(({ method }) => method === SEND);
}
