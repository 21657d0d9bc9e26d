/**
 * The way from the gateway to the validating nodes: mutually authenticated TLS with connections kept open.
 *
 * A request goes to the first node that answers. A node that cannot be reached, or breaks off before its answer is
 * complete, is left out for a while. Repeating a request is safe: reads change nothing, and a signed transaction is
 * included at most once; gateway-resend.ts mends the answer of a transaction that was sent twice.
 */
import { Agent, request as httpsRequest } from "node:https";
import { CocoError } from "../errors.ts";

/** Most connections to one node. */
export const MAX_UPSTREAM_SOCKETS = 64;
/** A node that failed is not asked again for this time, unless all failed. */
export const NODE_PAUSE_MS = 500;
/** Longest wait for the answer of a node; longer than a node's own timeout. */
export const ANSWER_TIMEOUT_MS = 60_000;
/** Longest wait for a connection to a node. */
export const CONNECT_TIMEOUT_MS = 2_000;
/** Largest answer that is passed on. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Attempts on one node when a kept connection turns out to be closed. */
export const ATTEMPTS_PER_NODE = 3;

/** Where a validating node serves clients. */
export interface UpstreamNode {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** Keys of a client, PEM. */
export interface ClientTls {
  /** Certificate of the service: nodes must be endorsed by it. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A request to a node. */
export interface UpstreamRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: Buffer;
}

/** The whole answer of a node. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** A request that got no answer. */
interface Unanswered {
  /** Whether the node may have got it. */
  readonly sent: boolean;
  /** Whether a connection was used that had been open before. */
  readonly reused: boolean;
  readonly reason: string;
}

/** An answer, and how it was got. */
export interface Delivery {
  readonly answer: UpstreamAnswer;
  readonly node: UpstreamNode;
  /** An earlier attempt may have reached a node: the answer may speak of the request as a repetition. */
  readonly repeated: boolean;
}

/** Connections to the nodes of one network, shared by all gateways. */
export class Upstream {
  readonly #agent: Agent;
  readonly #pausedUntilMs = new Map<UpstreamNode, number>();

  constructor(tls: ClientTls) {
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: MAX_UPSTREAM_SOCKETS,
      scheduling: "lifo",
      minVersion: "TLSv1.3",
      ...tls,
    });
  }

  /** Closes all connections. */
  close(): void {
    this.#agent.destroy();
  }

  /** Asks the nodes in this order, those that failed lately last. Throws `ChannelFailed` when none answers. */
  async deliver(request: UpstreamRequest, preferred: readonly UpstreamNode[]): Promise<Delivery> {
    let repeated = false;
    for (const node of this.#order(preferred)) {
      for (let attempt = 1; attempt <= ATTEMPTS_PER_NODE; attempt++) {
        const outcome = await this.exchange(node, request);
        if ("status" in outcome) {
          this.#pausedUntilMs.delete(node);
          return { answer: outcome, node, repeated };
        }
        repeated ||= outcome.sent;
        if (!outcome.reused) break;
      }
      this.#pausedUntilMs.set(node, performance.now() + NODE_PAUSE_MS);
    }
    throw new CocoError("ChannelFailed", "no validating node can be reached");
  }

  #order(nodes: readonly UpstreamNode[]): readonly UpstreamNode[] {
    if (this.#pausedUntilMs.size === 0) return nodes;
    const now = performance.now();
    const isPaused = (node: UpstreamNode) => (this.#pausedUntilMs.get(node) ?? 0) > now;
    return [...nodes.filter((node) => !isPaused(node)), ...nodes.filter(isPaused)];
  }

  /** One attempt on one node. */
  exchange(node: UpstreamNode, { method, path, body }: UpstreamRequest): Promise<UpstreamAnswer | Unanswered> {
    return new Promise((resolve) => {
      let sent = false;
      let connecting: NodeJS.Timeout | undefined;
      const headers = body === undefined ? {} : { "content-type": "application/json", "content-length": body.length };
      const target = { host: node.host, port: node.port, path, method, agent: this.#agent, headers };
      const request = httpsRequest({ ...target, timeout: ANSWER_TIMEOUT_MS });
      const fail = (reason: string): void => {
        clearTimeout(connecting);
        request.destroy();
        resolve({ sent, reused: request.reusedSocket, reason });
      };
      // Counted from here and not from the start: the request may have waited for one of the agent's sockets.
      request.on("socket", (socket) => {
        if (request.reusedSocket) {
          sent = true;
          return;
        }
        connecting = setTimeout(() => fail("no connection in time"), CONNECT_TIMEOUT_MS);
        socket.once("secureConnect", () => {
          clearTimeout(connecting);
          sent = true;
        });
      });
      request.on("timeout", () => fail("no answer in time"));
      request.on("error", (error) => fail(error.message));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_ANSWER_BYTES) fail("answer too large");
          else chunks.push(chunk);
        });
        response.on("error", (error) => fail(error.message));
        response.on("close", () => {
          if (!response.complete) fail("answer broke off");
        });
        response.on("end", () => {
          const contentType = response.headers["content-type"] ?? "application/json";
          if (response.complete)
            resolve({ status: response.statusCode ?? 502, contentType, body: Buffer.concat(chunks) });
        });
      });
      request.end(body);
    });
  }
}
