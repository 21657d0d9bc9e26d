/** One TLS connection of a newcomer to a node of the network it wants to join; see join.ts. */
import { Agent, request as httpsRequest } from "node:https";
import type { TLSSocket } from "node:tls";
import { MAX_JOIN_ANSWER_BYTES } from "../attestation/join.ts";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError, ERRORS, type ErrorCode } from "../errors.ts";

/** Longest wait of a newcomer for an answer. */
export const JOIN_ANSWER_TIMEOUT_MS = 30_000;
/** Longest text that is shown of what a node answered to a newcomer. */
export const MAX_SHOWN_MESSAGE_LENGTH = 500;

/** Failures of the way, not of trust: the node may be there later. */
const UNREACHABLE =
  /^(?:E(?:CONN(?:REFUSED|RESET|ABORTED)|HOSTUNREACH|NETUNREACH|TIMEDOUT|NOTFOUND|PIPE|AI_AGAIN)|UND_ERR_.*)$/;

/** An answer with the key the node's certificate was shown for. */
export interface NodeAnswer {
  readonly body: Bytes;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Bytes;
}

/** See the module's header. */
export class JoinConnection {
  readonly #url: URL;
  readonly #agent: Agent;
  readonly #keys = new WeakMap<TLSSocket, Bytes>();

  /** @param serviceCertificate PEM; undefined: any certificate is taken, and the node's evidence alone counts */
  constructor(url: string, serviceCertificate: string | undefined) {
    if (!URL.canParse(url) || new URL(url).protocol !== "https:")
      throw new CocoError("ConfigurationInvalid", `--url ${url}: expected https://host:port`);
    this.#url = new URL(url);
    const trust = serviceCertificate === undefined ? { rejectUnauthorized: false } : { ca: serviceCertificate };
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, minVersion: "TLSv1.3", maxCachedSessions: 0, ...trust });
  }

  /** The key the node's certificate was shown for; asked once for each connection, as the runtime tells it once. */
  #keyOf(socket: TLSSocket): Bytes | undefined {
    const known = this.#keys.get(socket);
    if (known !== undefined) return known;
    const key = socket.getPeerX509Certificate()?.publicKey;
    if (key === undefined) return undefined;
    const der = new Uint8Array(key.export({ type: "spki", format: "der" }));
    this.#keys.set(socket, der);
    return der;
  }

  /** Closes it. */
  close(): void {
    this.#agent.destroy();
  }

  /** Asks the node; throws `ChannelFailed` when it does not answer, or the code of its error. */
  ask(method: "GET" | "POST", path: string, body?: Bytes): Promise<NodeAnswer> {
    return new Promise((resolve, reject) => {
      const { hostname: host, port } = this.#url;
      const headers = body === undefined ? {} : { "content-type": "application/cbor", "content-length": body.length };
      const target = {
        host: host.replace(/^\[|\]$/g, ""),
        port: port === "" ? 443 : Number(port),
        path,
        method,
        headers,
      };
      const request = httpsRequest({ ...target, agent: this.#agent, timeout: JOIN_ANSWER_TIMEOUT_MS });
      const fail = (error: CocoError): void => {
        request.destroy();
        reject(error);
      };
      request.on("timeout", () => fail(new CocoError("ChannelFailed", `${this.#url.host} does not answer`)));
      request.on("error", (error) => fail(failureOf(this.#url.host, error)));
      request.on("response", (response) => {
        const publicKey = this.#keyOf(response.socket as TLSSocket);
        const chunks: Buffer[] = [];
        let length = 0;
        response.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_JOIN_ANSWER_BYTES) fail(new CocoError("LimitExceeded", "the answer is too large"));
          else chunks.push(chunk);
        });
        response.on("error", (error) => fail(failureOf(this.#url.host, error)));
        response.on("end", () => {
          const answer = new Uint8Array(Buffer.concat(chunks));
          if (response.statusCode !== 200) reject(errorOf(response.statusCode ?? 0, answer));
          else if (publicKey === undefined) reject(new CocoError("ChannelFailed", "the connection was closed"));
          else resolve({ body: answer, publicKey });
        });
      });
      request.end(body);
    });
  }
}

/** A node shows a certificate of its own at the port for other nodes, and where it is not part of a network yet. */
function hintOf(code: string): string {
  return code === "DEPTH_ZERO_SELF_SIGNED_CERT" ? ": is this the port for clients of a node that takes part?" : "";
}

function failureOf(host: string, error: Error & { readonly code?: string }): CocoError {
  const { code = "" } = error;
  return UNREACHABLE.test(code)
    ? new CocoError("ChannelFailed", `${host} cannot be reached: ${code}`, {}, { cause: error })
    : new CocoError("JoinAnswerUntrusted", `${host}: ${error.message}${hintOf(code)}`, {}, { cause: error });
}

/** The error a node answered with; what it says is shown, not believed. */
function errorOf(status: number, body: Bytes): CocoError {
  try {
    const { error } = JSON.parse(Buffer.from(body).toString("utf8")) as {
      error?: { code?: unknown; message?: unknown };
    };
    const code = String(error?.code);
    const message = String(error?.message)
      .replace(/[^\x20-\x7e]/g, "?")
      .slice(0, MAX_SHOWN_MESSAGE_LENGTH);
    if (Object.hasOwn(ERRORS, code)) return new CocoError(code as ErrorCode, message, { status });
  } catch {
    // Told below.
  }
  return new CocoError("ChannelFailed", `the node answered with status ${status}`, { status });
}
