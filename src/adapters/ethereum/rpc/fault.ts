/**
 * Errors of the JSON-RPC interface: a code, a message in go-ethereum's words (clients match on them) and optional data.
 * Source: JSON-RPC 2.0 section 5.1, EIP-1474, go-ethereum `rpc/errors.go`.
 */
import { type Bytes, utf8Decode } from "../../../core/codec/bytes.ts";
import type { RpcFault } from "../types.ts";

/** The codes this interface answers with. */
export const RPC_CODES = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParameters: -32602,
  internal: -32603,
  /** go-ethereum's code for everything without one of its own. */
  server: -32000,
  timeout: -32002,
  responseTooLarge: -32003,
  limitExceeded: -32005,
  /** A call that reverted; `data` holds what it returned. */
  reverted: 3,
} as const;

/** A failed JSON-RPC call; what is thrown inside the interface and rendered as the `error` member. */
export class RpcError extends Error implements RpcFault {
  readonly code: number;
  readonly data?: string;

  constructor(code: number, message: string, data?: string) {
    super(message);
    this.name = "RpcError";
    this.code = code;
    if (data !== undefined) this.data = data;
  }

  /** The `error` member of a response. */
  toFault(): RpcFault {
    return this.data === undefined
      ? { code: this.code, message: this.message }
      : { code: this.code, message: this.message, data: this.data };
  }
}

/** A parameter that does not decode. */
export function invalidParameters(message: string): RpcError {
  return new RpcError(RPC_CODES.invalidParameters, message);
}

/** A failure with go-ethereum's default code. */
export function serverError(message: string): RpcError {
  return new RpcError(RPC_CODES.server, message);
}

/** A query beyond one of the documented limits. */
export function limitExceeded(message: string): RpcError {
  return new RpcError(RPC_CODES.limitExceeded, message);
}

/** Longest text of a fault that is passed on. */
const MAX_FAULT_BYTES = 1 << 20;

/** The fault in the error bytes of a refused transaction (JSON); anything else reads as an internal error. */
export function decodeFault(error: Bytes): RpcFault {
  try {
    if (error.length > MAX_FAULT_BYTES) return INTERNAL_FAULT;
    const fault: unknown = JSON.parse(utf8Decode(error));
    if (typeof fault !== "object" || fault === null) return INTERNAL_FAULT;
    const { code, message, data } = fault as Record<"code" | "message" | "data", unknown>;
    if (typeof code !== "number" || !Number.isInteger(code) || typeof message !== "string") return INTERNAL_FAULT;
    return typeof data === "string" ? { code, message, data } : { code, message };
  } catch {
    return INTERNAL_FAULT;
  }
}

/** What a caller sees of a fault in this program. */
export const INTERNAL_FAULT: RpcFault = { code: RPC_CODES.internal, message: "internal error" };
