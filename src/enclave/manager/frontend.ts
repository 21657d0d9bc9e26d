/**
 * Where clients reach a validating node: HTTP over mutually authenticated TLS 1.3 that ends here, inside the enclave (R17).
 * A client certificate the network does not know is answered with 401; nothing of a request reaches an adapter before its
 * caller is known and its body is within the limit. Requests that are judged by a signature in their body alone need no client
 * certificate; they are small, and few of them are under way at a time.
 */
import { constants } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import type { Caller } from "../../adapters/adapter.ts";
import { MAX_PRESENTED_CERTIFICATES } from "../../core/certificates/actor-index.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { remedyOf } from "../../core/governance/refusal.ts";
import { MAX_REQUEST_BYTES } from "../../core/governance/signed-request.ts";
import { CocoError } from "../../errors.ts";
import type { Sockets } from "../ports.ts";
import { type AnswerEnd, AnswerEnds } from "./answer-ends.ts";
import { RequestSlots } from "./request-slots.ts";

/** Largest body of a request (go-ethereum's limit). */
export const MAX_BODY_BYTES = 5 * 1024 * 1024;
/** Most bytes of a body above the limit that are read and dropped before the connection is cut. */
export const MAX_DROPPED_BYTES = 64 * 1024 * 1024;
/** Most bytes of a request's headers together. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Bytes of request bodies and of answers not yet sent, all connections together; above it requests are answered 503. */
export const BYTES_UNDER_WAY_MAX = 256 * 1024 * 1024;
/** Largest answer in bytes that a request which was let in before still gets while there are more; a larger one becomes 503. */
export const SMALL_ANSWER_BYTES_MAX = 64 * 1024;
/** Most open client connections; the next one is refused. */
export const MAX_CLIENT_CONNECTIONS = 10_000;
/** Most requests without an authenticated caller under way on all connections together. */
export const UNAUTHENTICATED_REQUESTS_MAX = 32;
/** Most of them on one connection. */
export const UNAUTHENTICATED_REQUESTS_PER_CONNECTION_MAX = 1;
/** Most bytes of an answer in parts that wait for their client; one that is slower is cut off. */
export const STREAM_BYTES_WAITING_MAX = 256 * 1024;
/** A request's headers must be complete within this time. */
export const HEADERS_TIMEOUT_MS = 10_000;
/** A request must be complete within this time. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** An idle connection is closed after this time. */
export const IDLE_TIMEOUT_MS = 65_000;

const METHODS = /^[A-Z]+(, [A-Z]+)*$/;

/** A request as the node sees it. */
export interface FrontendRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Bytes;
  /** Undefined: nobody the network knows, at an endpoint that judges the signature in the body. */
  readonly caller: Caller | undefined;
  /** Certificates (DER) the client presents, its own first, whose key TLS has proven. */
  readonly chain: readonly Bytes[];
}

/** The answer to a {@link FrontendRequest}. */
export interface FrontendResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: Bytes;
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer comes in parts, behind the body; called once, when it can begin. */
  readonly stream?: (stream: ResponseStream) => void;
}

/** An answer in parts, as its endpoint sees it. */
export interface ResponseStream {
  /** The caller, judged anew: what it was may have changed since the request came. */
  caller(): Caller | CocoError;
  /** Sends a part; cuts the connection when {@link STREAM_BYTES_WAITING_MAX} is exceeded. */
  write(text: string): void;
  end(): void;
  /** Calls back once when the answer is over, whoever ended it. */
  onClose(callback: () => void): void;
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
  /** Whether requests of this method and path are judged by the signature in their body alone. */
  readonly isSigned: (method: string, path: string) => boolean;
  /** {@link BYTES_UNDER_WAY_MAX} unless given. */
  readonly bytesUnderWayMax?: number;
  /** Answers a request; calls `respond` once, now or later. */
  readonly handle: (request: FrontendRequest, respond: (response: FrontendResponse) => void) => void;
}

/** The JSON body of an error as every endpoint outside an adapter answers it. */
export function errorResponse(error: CocoError): FrontendResponse {
  const { code, message, data, status } = error;
  const { allow } = data;
  const more = code === "ProposalInvalid" ? data : {};
  const body = Buffer.from(JSON.stringify({ error: { ...more, code, message, remedy: remedyOf(error) } }));
  // An error may have come from another node: what is no list of methods does not get into a header.
  const headers = typeof allow === "string" && METHODS.test(allow) ? { headers: { allow } } : {};
  return { status, contentType: "application/json", body, ...headers };
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
  readonly #unauthenticated = new RequestSlots<TLSSocket>(
    UNAUTHENTICATED_REQUESTS_MAX,
    UNAUTHENTICATED_REQUESTS_PER_CONNECTION_MAX,
  );
  readonly #ends = new AnswerEnds();
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
    const socket = request.socket as TLSSocket;
    const end = this.#ends.of(socket, response);
    const respond = (answer: FrontendResponse) => this.#respond({ request, response, end }, answer);
    const refuse = (error: CocoError) => {
      request.resume();
      respond(errorResponse(error));
    };
    const target = targetOf(request);
    const found = this.#callerOf(socket);
    const isUnknown = found instanceof CocoError;
    if (isUnknown && !this.#parts.isSigned(target.method, target.path)) {
      respond(errorResponse(found));
      return;
    }
    if (isUnknown && !this.#unauthenticated.take(socket, end)) {
      refuse(new CocoError("TooManyRequests", "too many requests without a client certificate under way"));
      return;
    }
    if (this.#bytesUnderWay > this.#bytesUnderWayMax) {
      refuse(new CocoError("TooManyRequests", "too many bytes of requests and answers under way"));
      return;
    }
    const max = isUnknown ? UNAUTHENTICATED_BODY : AUTHENTICATED_BODY;
    this.#readBody(request, max, this.#holder(end), (body) => {
      if (body === undefined) {
        respond(errorResponse(new CocoError("LimitExceeded", `request body above ${max.bytes} bytes`)));
        return;
      }
      const caller = isUnknown ? undefined : found;
      const { headers } = request;
      this.#parts.handle({ ...target, headers, body, caller, chain: this.#chainOf(socket) }, respond);
    });
  }

  #chainOf(socket: TLSSocket): readonly Bytes[] {
    let chain = this.#chains.get(socket);
    if (chain === undefined) {
      chain = presentedChain(socket);
      this.#chains.set(socket, chain);
    }
    return chain;
  }

  #callerOf(socket: TLSSocket): Caller | CocoError {
    const chain = this.#chainOf(socket);
    if (chain.length === 0) return new CocoError("AuthenticationRequired", "no client certificate");
    return this.#parts.authenticate(chain);
  }

  /** Counts bytes that are kept for a request, until its answer is sent or its connection is gone. */
  #holder(end: AnswerEnd): (bytes: number) => void {
    let held = 0;
    end.onOver(() => {
      this.#bytesUnderWay -= held;
    });
    return (bytes) => {
      // What comes after the end is nobody's to release any more.
      if (end.isOver) return;
      held += bytes;
      this.#bytesUnderWay += bytes;
    };
  }

  /**
   * Reads the body; undefined when it is above the limit. What is too much is dropped as it comes, since a client that is
   * still sending when the connection closes never sees the answer; a body that does not end is broken off.
   */
  #readBody(
    request: IncomingMessage,
    max: BodyBounds,
    hold: (bytes: number) => void,
    done: (body: Bytes | undefined) => void,
  ): void {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= max.bytes) {
        chunks.push(chunk);
        hold(chunk.length);
      } else chunks.length = 0;
      if (length > max.dropped) request.destroy();
    });
    request.on("end", () => {
      if (length > max.bytes) done(undefined);
      else done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
  }

  #respond({ request, response, end }: Exchange, given: FrontendResponse): void {
    if (response.headersSent || end.isOver) return;
    const isTooMuch = given.body.length > SMALL_ANSWER_BYTES_MAX && this.#bytesUnderWay > this.#bytesUnderWayMax;
    const answer = isTooMuch
      ? errorResponse(new CocoError("TooManyRequests", "too many bytes of requests and answers under way"))
      : given;
    // A body that was not read to its end cannot be followed by another request on this connection.
    if (!request.complete) response.setHeader("connection", "close");
    const { stream } = answer;
    response.writeHead(answer.status, {
      "content-type": answer.contentType,
      ...(stream === undefined && { "content-length": answer.body.length }),
      ...answer.headers,
    });
    if (stream === undefined) {
      this.#holder(end)(answer.body.length);
      response.end(answer.body);
      return;
    }
    response.write(answer.body);
    stream(this.#streamOf(request.socket as TLSSocket, response, end));
  }

  #streamOf(socket: TLSSocket, response: ServerResponse, end: AnswerEnd): ResponseStream {
    return {
      caller: () => this.#callerOf(socket),
      write: (text) => {
        if (end.isOver || response.writableEnded) return;
        if (response.writableLength + text.length > STREAM_BYTES_WAITING_MAX) socket.destroy();
        else response.write(text);
      },
      end: () => void response.end(),
      onClose: (callback) => end.onOver(callback),
    };
  }
}

/** A request with its answer. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly end: AnswerEnd;
}

interface BodyBounds {
  readonly bytes: number;
  /** Bytes above which the connection is cut. */
  readonly dropped: number;
}

const AUTHENTICATED_BODY: BodyBounds = { bytes: MAX_BODY_BYTES, dropped: MAX_DROPPED_BYTES };
const UNAUTHENTICATED_BODY: BodyBounds = { bytes: MAX_REQUEST_BYTES, dropped: 2 * MAX_REQUEST_BYTES };

function targetOf({ method = "GET", url = "/" }: IncomingMessage): Pick<FrontendRequest, "method" | "path" | "query"> {
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  return { method, path, query: new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1)) };
}
