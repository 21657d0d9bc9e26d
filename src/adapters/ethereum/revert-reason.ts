/**
 * The reason a contract gave when it reverted, in go-ethereum's words ("execution reverted: ...", code 3). Clients decode
 * the data themselves; the text is for people. Source: Solidity ABI, `Error(string)` and `Panic(uint256)`.
 */
import { type Bytes, toHex, utf8Decode } from "../../core/codec/bytes.ts";
import { bigintOfBytes } from "./rlp.ts";
import type { RpcFault } from "./types.ts";

/** JSON-RPC code of a call that reverted. */
export const REVERTED_CODE = 3;

const ERROR_SELECTOR = "08c379a0";
const PANIC_SELECTOR = "4e487b71";

const PANICS: ReadonlyMap<bigint, string> = new Map([
  [0x00n, "generic panic"],
  [0x01n, "assert(false)"],
  [0x11n, "arithmetic underflow or overflow"],
  [0x12n, "division or modulo by zero"],
  [0x21n, "enum overflow"],
  [0x22n, "invalid encoded storage byte array accessed"],
  [0x31n, "out-of-bounds array access; popping on an empty array"],
  [0x32n, "out-of-bounds access of an array or bytesN"],
  [0x41n, "out of memory"],
  [0x51n, "uninitialized function"],
]);

function errorText(body: Bytes): string | undefined {
  if (body.length < 64 || bigintOfBytes(body.subarray(0, 32)) !== 32n) return undefined;
  const length = bigintOfBytes(body.subarray(32, 64));
  if (length > BigInt(body.length - 64)) return undefined;
  try {
    return utf8Decode(body.subarray(64, 64 + Number(length)));
  } catch {
    return undefined;
  }
}

/** The text of a revert's return data; undefined when it has none that can be read. */
export function revertReason(returnData: Bytes): string | undefined {
  const selector = toHex(returnData.subarray(0, 4));
  const body = returnData.subarray(4);
  if (selector === ERROR_SELECTOR) return errorText(body);
  if (selector !== PANIC_SELECTOR || body.length !== 32) return undefined;
  const code = bigintOfBytes(body);
  return PANICS.get(code) ?? `unknown panic code: 0x${code.toString(16)}`;
}

/** The fault of a call that reverted with `returnData`. */
export function revertFault(returnData: Bytes): RpcFault {
  const reason = revertReason(returnData);
  const message = reason === undefined ? "execution reverted" : `execution reverted: ${reason}`;
  return { code: REVERTED_CODE, message, data: `0x${toHex(returnData)}` };
}
