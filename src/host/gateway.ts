/**
 * The gateway for wallets and scripts that cannot present a client certificate: plain HTTP on this machine's loopback
 * address, Ethereum JSON-RPC only, passed to a validating node over mutually authenticated TLS with the gateway's own
 * certificate. Whoever can open a socket on this machine speaks with that certificate's rights, so it is for development
 * and for a trusted host; the rules on Host and Origin (gateway-rules.ts) keep web pages of other sites out.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { CocoError } from "../errors.ts";
import { hasErrorCode } from "./files.ts";
import { mendRepeatedAnswer, sendsTransactions } from "./gateway-resend.ts";
import * as rules from "./gateway-rules.ts";
import type { Upstream, UpstreamAnswer, UpstreamNode } from "./gateway-upstream.ts";
import { portTaken } from "./sockets.ts";

/** Largest body of a request (go-ethereum's limit). */
export const MAX_GATEWAY_BODY_BYTES = 5 * 1024 * 1024;
/** Most bytes of a body above the limit that are read before the connection is cut. */
export const MAX_DROPPED_BYTES = 64 * 1024 * 1024;
/** Most open connections of one gateway. */
export const MAX_GATEWAY_CONNECTIONS = 1_000;
/** Where the gateway listens: never beyond this machine. */
export const GATEWAY_HOST = "127.0.0.1";

/** Time browsers may remember the answer to a preflight request, in seconds. */
const PREFLIGHT_SECONDS = 600;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 65_000;

/** How a gateway is started. */
export interface GatewayOptions {
  /** 0 takes any free port. */
  readonly port: number;
  /** Where the Ethereum adapter is mounted on the nodes, such as `/eth`. */
  readonly mount: string;
  readonly upstream: Upstream;
  /** The gateway's own node first; the others take over when it cannot be reached. */
  readonly nodes: readonly UpstreamNode[];
}

/** A running gateway. */
export interface Gateway {
  readonly port: number;
  /** Closes the server and every connection. */
  close(): void;
}

/** Starts a gateway. Throws `PortTaken` naming the process that holds the port. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const gateway = new GatewayServer(options);
  await gateway.listen();
  return gateway;
}

class GatewayServer implements Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  #port: number;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#port = options.port;
    const timeouts = { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS };
    this.#server = createServer(
      { ...timeouts, keepAliveTimeout: IDLE_TIMEOUT_MS, noDelay: true },
      (request, response) => this.#request(request, response),
    );
    this.#server.maxConnections = MAX_GATEWAY_CONNECTIONS;
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  get port(): number {
    return this.#port;
  }

  async listen(): Promise<void> {
    const { port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: GATEWAY_HOST, port }, resolve);
    }).catch(async (error: unknown) => {
      if (hasErrorCode(error, "EADDRINUSE")) throw await portTaken(`${GATEWAY_HOST}:${port}`, port);
      throw error;
    });
    const address = this.#server.address();
    if (typeof address === "object" && address !== null) this.#port = address.port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const { origin, host } = request.headers;
    if (!rules.isOwnHost(host, this.#port)) {
      answerText(request, response, 403, "This gateway answers at 127.0.0.1 and localhost only (Host header).");
      return;
    }
    if (!rules.isAllowedOrigin(origin)) {
      answerText(request, response, 403, "Web pages of other sites may not use this gateway (Origin header).");
      return;
    }
    if (origin !== undefined) response.setHeader("access-control-allow-origin", origin);
    response.setHeader("vary", "origin");
    const path = request.url?.split("?", 1)[0];
    const isRoot = path === "/" || path === this.#options.mount;
    if (!isRoot) answerText(request, response, 404, `Ethereum JSON-RPC is served at / and ${this.#options.mount}.`);
    else if (request.method === "OPTIONS") preflight(request, response);
    else if (request.method === "GET") answerText(request, response, 200, this.#welcome());
    else if (request.method === "POST") this.#post(request, response);
    else {
      response.setHeader("allow", "POST, GET, OPTIONS");
      answerText(request, response, 405, "Use POST.");
    }
  }

  #welcome(): string {
    return `Coco Framework: Ethereum JSON-RPC by POST, for wallets on this machine. Node: ${this.#options.nodes[0]?.name}.`;
  }

  #post(request: IncomingMessage, response: ServerResponse): void {
    readBody(request, (body) => {
      if (body === undefined) {
        const message = `content length too large (above ${MAX_GATEWAY_BODY_BYTES})`;
        answerJson(request, response, 413, rules.rpcError(undefined, rules.INVALID_REQUEST, message));
        return;
      }
      this.#forward(body).then(
        ({ status, contentType, body: answer }) =>
          answerBytes(request, response, { status, contentType, body: answer }),
        (error: unknown) => {
          const isUnreachable = error instanceof CocoError && error.code === "ChannelFailed";
          const message = isUnreachable ? error.message : "the gateway failed";
          answerJson(
            request,
            response,
            isUnreachable ? 503 : 502,
            rules.rpcError(undefined, rules.INTERNAL_ERROR, message),
          );
        },
      );
    });
  }

  async #forward(body: Buffer): Promise<UpstreamAnswer> {
    let parsed: unknown;
    try {
      parsed = JSON.parse(body.toString("utf8"));
    } catch {
      // The node says what is wrong with it, in the words of the standard.
      return (await this.#deliver(body)).answer;
    }
    const requests = rules.requestsOf(parsed);
    if (!requests.some(rules.isForeign)) return await this.#answerOf(body, parsed, requests);
    const errors = requests.filter(rules.isForeign).map(rules.foreignMethod);
    const rest = Array.isArray(parsed) ? parsed.filter((one: unknown) => !rules.isForeign(one)) : [];
    if (!Array.isArray(parsed)) return jsonAnswer(errors[0] ?? "");
    if (rest.length === 0) return jsonAnswer(`[${errors.join(",")}]`);
    const answer = await this.#answerOf(Buffer.from(JSON.stringify(rest)), rest, requests);
    const whole = appendErrors(answer, errors);
    return whole === undefined ? answer : { ...answer, body: Buffer.from(whole) };
  }

  #deliver(body: Buffer) {
    const { upstream, mount, nodes } = this.#options;
    return upstream.deliver({ method: "POST", path: mount, body }, nodes);
  }

  async #answerOf(body: Buffer, parsed: unknown, requests: readonly rules.RpcRequest[]): Promise<UpstreamAnswer> {
    const { answer, node, repeated } = await this.#deliver(body);
    if (!repeated || !sendsTransactions(requests)) return answer;
    const mended = await mendRepeatedAnswer(parsed, answer.body.toString("utf8"), (hash) => this.#isKnown(hash, node));
    return { ...answer, body: Buffer.from(mended) };
  }

  async #isKnown(hash: string, node: UpstreamNode): Promise<boolean> {
    const { upstream, mount } = this.#options;
    const body = { jsonrpc: "2.0", id: 1, method: "eth_getTransactionByHash", params: [hash] };
    const answer = await upstream.exchange(node, {
      method: "POST",
      path: mount,
      body: Buffer.from(JSON.stringify(body)),
    });
    if (!("status" in answer)) return false;
    const parsed: unknown = JSON.parse(answer.body.toString("utf8"));
    return rules.isRecord(parsed) && rules.isRecord(parsed["result"]);
  }
}

function appendErrors(answer: UpstreamAnswer, errors: readonly string[]): string | undefined {
  // A batch of notifications alone is answered by nothing.
  const text = answer.body.length === 0 ? "[]" : answer.body.toString("utf8");
  return rules.appendToBatch(text, errors);
}

function jsonAnswer(text: string): UpstreamAnswer {
  return { status: 200, contentType: "application/json", body: Buffer.from(text) };
}

/**
 * Reads a body; undefined when it is above the limit. What is too much is read and dropped, because a client that is
 * still sending when the connection closes never sees the answer.
 */
function readBody(request: IncomingMessage, done: (body: Buffer | undefined) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  request.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_GATEWAY_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0;
    if (length > MAX_DROPPED_BYTES) request.destroy();
  });
  request.on("end", () => done(length <= MAX_GATEWAY_BODY_BYTES ? Buffer.concat(chunks) : undefined));
}

function preflight(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("access-control-allow-methods", "POST, GET, OPTIONS");
  response.setHeader("access-control-allow-headers", "content-type");
  response.setHeader("access-control-max-age", PREFLIGHT_SECONDS);
  if (request.headers["access-control-request-private-network"] === "true") {
    response.setHeader("access-control-allow-private-network", "true");
  }
  response.writeHead(204).end();
}

function answerText(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  answerBytes(request, response, { status, contentType: "text/plain; charset=utf-8", body: Buffer.from(`${text}\n`) });
}

function answerJson(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  answerBytes(request, response, { status, contentType: "application/json", body: Buffer.from(text) });
}

function answerBytes(request: IncomingMessage, response: ServerResponse, answer: UpstreamAnswer): void {
  if (response.headersSent || response.destroyed) return;
  // A body that was not read to its end cannot be followed by another request on this connection.
  if (!request.complete && request.method === "POST") response.setHeader("connection", "close");
  response.writeHead(answer.status, { "content-type": answer.contentType, "content-length": answer.body.length });
  response.end(answer.body);
}
