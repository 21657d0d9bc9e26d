/**
 * What the gateway lets through: browsers of this machine only, and Ethereum's JSON-RPC methods only.
 *
 * The Host rule stops DNS rebinding (a page whose name was pointed at 127.0.0.1), the Origin rule stops web pages of other
 * sites; programs send no Origin. Wallet extensions have origins of their own schemes.
 */

/** What browsers may call: pages of this machine, and extensions. */
const LOCAL_ORIGIN = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?$/;
const EXTENSION_ORIGIN = /^(?:chrome|moz|safari-web|ms-browser)-extension:\/\/[A-Za-z0-9-]{1,64}$/;
const ETHEREUM_METHOD = /^(?:(?:eth|net|web3|coco)_[A-Za-z0-9_]{1,64}|rpc_modules)$/;

/** JSON-RPC code of a method that is not served. */
export const METHOD_NOT_FOUND = -32601;
/** JSON-RPC code of a request that is none. */
export const INVALID_REQUEST = -32600;
/** JSON-RPC code of a failure on this side. */
export const INTERNAL_ERROR = -32603;

/** Whether a Host header names this gateway itself. */
export function isOwnHost(host: string | undefined, port: number): boolean {
  return host === `127.0.0.1:${port}` || host === `localhost:${port}` || host === `[::1]:${port}`;
}

/** Whether a request with this Origin header may be answered. */
export function isAllowedOrigin(origin: string | undefined): boolean {
  return origin === undefined || LOCAL_ORIGIN.test(origin) || EXTENSION_ORIGIN.test(origin);
}

/** One request of a JSON-RPC body as far as the gateway looks at it. */
export interface RpcRequest {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The requests of a body: of one, or of a batch. What is no object is left to the node to judge. */
export function requestsOf(parsed: unknown): readonly RpcRequest[] {
  return (Array.isArray(parsed) ? parsed : [parsed]).filter(isRecord);
}

/** Whether a request names a method that is not Ethereum's. A method that is no text is left to the node to judge. */
export function isForeign(request: unknown): boolean {
  return isRecord(request) && typeof request["method"] === "string" && !ETHEREUM_METHOD.test(request["method"]);
}

/** The value of an `id` that an answer repeats; null for what JSON-RPC does not allow. */
function idOf(request: RpcRequest | undefined): string | number | null {
  const id = request?.id;
  return typeof id === "string" || typeof id === "number" ? id : null;
}

/** A JSON-RPC error object as text. */
export function rpcError(request: RpcRequest | undefined, code: number, message: string): string {
  return JSON.stringify({ jsonrpc: "2.0", id: idOf(request), error: { code, message } });
}

/** The error for a method the gateway does not pass. */
export function foreignMethod(request: RpcRequest): string {
  const method = String(request.method).slice(0, 80);
  return rpcError(request, METHOD_NOT_FOUND, `the method ${method} does not exist/is not available`);
}

/** Appends errors to the text of an answer to a batch; undefined when the text is no JSON array. */
export function appendToBatch(answer: string, errors: readonly string[]): string | undefined {
  const text = answer.trim();
  if (!text.startsWith("[") || !text.endsWith("]")) return undefined;
  const inner = text.slice(1, -1).trim();
  return `[${[...(inner === "" ? [] : [inner]), ...errors].join(",")}]`;
}
