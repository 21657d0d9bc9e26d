/**
 * Where clients reach a validating node: HTTP over mutually authenticated TLS 1.3 that ends here, inside the enclave (R17).
 * A client certificate the network does not know is answered with 401; nothing of a request reaches an adapter before its
 * caller is known and its body is within the limit.
 */
import { constants } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import type { Caller } from "../../adapters/adapter.ts";
import { MAX_PRESENTED_CERTIFICATES } from "../../core/certificates/actor-index.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { Sockets } from "../ports.ts";

/** Largest body of a request (go-ethereum's limit). */
export const MAX_BODY_BYTES = 5 * 1024 * 1024;
/** Most bytes of a body above the limit that are read and dropped before the connection is cut. */
export const MAX_DROPPED_BYTES = 64 * 1024 * 1024;
/** Most bytes of a request's headers together. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Bytes of request bodies and of answers not yet sent, all connections together; above it requests are answered 503. */
export const BYTES_UNDER_WAY_MAX = 256 * 1024 * 1024;
/** Most open client connections; the next one is refused. */
export const MAX_CLIENT_CONNECTIONS = 10_000;
/** A request's headers must be complete within this time. */
export const HEADERS_TIMEOUT_MS = 10_000;
/** A request must be complete within this time. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** An idle connection is closed after this time. */
export const IDLE_TIMEOUT_MS = 65_000;

/** A request as the node sees it. */
export interface FrontendRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Bytes;
  readonly caller: Caller;
}

/** The answer to a {@link FrontendRequest}. */
export interface FrontendResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: Bytes;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the frontend is made of. */
export interface FrontendParts {
  /** Service-endorsed certificate chain (PEM) and the node's key (PEM); see {@link ClientFrontend.showCertificate}. */
  readonly certificate: string;
  readonly privateKey: string;
  /**
   * The actor behind the certificates (DER) a client presents, its own first, whose key TLS has proven; or why there is none.
   * The same array comes in again for each request of a connection.
   */
  readonly authenticate: (chain: readonly Bytes[]) => Caller | CocoError;
  /** {@link BYTES_UNDER_WAY_MAX} unless given. */
  readonly bytesUnderWayMax?: number;
  /** Answers a request; calls `respond` once, now or later. */
  readonly handle: (request: FrontendRequest, respond: (response: FrontendResponse) => void) => void;
}

/** The JSON body of an error as every endpoint outside an adapter answers it. */
export function errorResponse(error: CocoError): FrontendResponse {
  const body = Buffer.from(
    JSON.stringify({ error: { code: error.code, message: error.message, remedy: error.remedy } }),
  );
  return { status: error.status, contentType: "application/json", body };
}

/**
 * The certificates a client presents, one more than counts at most. To be asked once: the runtime takes all but the first
 * out of the connection as it hands them over.
 */
function presentedChain(socket: TLSSocket): readonly Bytes[] {
  const chain: Bytes[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length <= MAX_PRESENTED_CERTIFICATES) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** Serves clients; see the module's header. */
export class ClientFrontend {
  readonly #parts: FrontendParts;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  /** Presented certificates (DER) by connection: they do not change, what they are worth may. */
  readonly #chains = new WeakMap<TLSSocket, readonly Bytes[]>();
  #listener: { close(): void } | undefined;
  /** See {@link BYTES_UNDER_WAY_MAX}. */
  #bytesUnderWay = 0;
  readonly #bytesUnderWayMax: number;

  constructor(parts: FrontendParts) {
    this.#parts = parts;
    this.#bytesUnderWayMax = parts.bytesUnderWayMax ?? BYTES_UNDER_WAY_MAX;
    this.#server = createServer(
      {
        ...this.#secureContext(parts.certificate),
        requestCert: true,
        // Whether a certificate speaks for an actor is judged by the constitution, not by a list of roots.
        rejectUnauthorized: false,
        maxHeaderSize: MAX_HEADER_BYTES,
        keepAliveTimeout: IDLE_TIMEOUT_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: 1_000,
        handshakeTimeout: HEADERS_TIMEOUT_MS,
        noDelay: true,
      },
      (request, response) => this.#request(request, response),
    );
    // Node leaves a connection open whose TLS handshake took too long.
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
    // A connection on which nothing moves is closed, also when it is the client that does not take its answer.
    this.#server.timeout = IDLE_TIMEOUT_MS;
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  #secureContext(certificate: string): SecureContextOptions {
    return {
      cert: certificate,
      key: this.#parts.privateKey,
      minVersion: "TLSv1.3",
      // A resumed session would bring the client's own certificate without those that lead to the constitution's.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  /** Shows another certificate chain (PEM) for the same key to connections from now on; those that are open stay. */
  showCertificate(certificate: string): void {
    this.#server.setSecureContext(this.#secureContext(certificate));
  }

  /** Listens at `host:port`. */
  async start(listenAddress: string, sockets: Sockets): Promise<void> {
    // Node looks for slow connections only after this event, and this server itself never listens.
    this.#server.emit("listening");
    this.#listener = await sockets.listen(listenAddress, (socket) => {
      if (this.#sockets.size >= MAX_CLIENT_CONNECTIONS) {
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      this.#server.emit("connection", socket);
    });
  }

  /** Shows this certificate chain (PEM) to who connects from now on. */
  present(certificate: string): void {
    this.#server.setSecureContext({ cert: certificate, key: this.#parts.privateKey, minVersion: "TLSv1.3" });
  }

  /** Bytes of requests and unsent answers now. */
  get bytesUnderWay(): number {
    return this.#bytesUnderWay;
  }

  /** Listens no more and closes every connection. */
  close(): void {
    this.#listener?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const respond = (answer: FrontendResponse) => this.#respond(request, response, answer);
    const caller = this.#callerOf(request.socket as TLSSocket);
    if (caller instanceof CocoError) {
      respond(errorResponse(caller));
      return;
    }
    const hold = this.#holder(response);
    if (this.#bytesUnderWay > this.#bytesUnderWayMax) {
      request.resume();
      respond(errorResponse(new CocoError("TooManyRequests", "too many bytes of requests and answers under way")));
      return;
    }
    this.#readBody(request, hold, (body) => {
      if (body === undefined) {
        respond(errorResponse(new CocoError("LimitExceeded", `request body above ${MAX_BODY_BYTES} bytes`)));
        return;
      }
      const url = request.url ?? "/";
      const mark = url.indexOf("?");
      const path = mark < 0 ? url : url.slice(0, mark);
      const query = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
      const { method = "GET", headers } = request;
      this.#parts.handle({ method, path, query, headers, body, caller }, respond);
    });
  }

  #callerOf(socket: TLSSocket): Caller | CocoError {
    let chain = this.#chains.get(socket);
    if (chain === undefined) {
      chain = presentedChain(socket);
      this.#chains.set(socket, chain);
    }
    if (chain.length === 0) return new CocoError("AuthenticationRequired", "no client certificate");
    return this.#parts.authenticate(chain);
  }

  /** Counts bytes that are kept for a request, until its answer is sent or its connection is gone. */
  #holder(response: ServerResponse): (bytes: number) => void {
    let held = 0;
    let closed = false;
    response.once("close", () => {
      closed = true;
      this.#bytesUnderWay -= held;
    });
    return (bytes) => {
      // What comes after the end is nobody's to release any more.
      if (closed) return;
      held += bytes;
      this.#bytesUnderWay += bytes;
    };
  }

  /**
   * Reads the body; undefined when it is above the limit. What is too much is dropped as it comes, since a client that is
   * still sending when the connection closes never sees the answer; a body that does not end is broken off.
   */
  #readBody(request: IncomingMessage, hold: (bytes: number) => void, done: (body: Bytes | undefined) => void): void {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= MAX_BODY_BYTES) {
        chunks.push(chunk);
        hold(chunk.length);
      } else chunks.length = 0;
      if (length > MAX_DROPPED_BYTES) request.destroy();
    });
    request.on("end", () => {
      if (length > MAX_BODY_BYTES) done(undefined);
      else done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
  }

  #respond(request: IncomingMessage, response: ServerResponse, answer: FrontendResponse): void {
    if (response.headersSent || response.destroyed) return;
    // A body that was not read to its end cannot be followed by another request on this connection.
    if (!request.complete) response.setHeader("connection", "close");
    response.writeHead(answer.status, {
      "content-type": answer.contentType,
      "content-length": answer.body.length,
      ...answer.headers,
    });
    this.#holder(response)(answer.body.length);
    response.end(answer.body);
  }
}
