/**
 * JSON-RPC clients for tests: over plain HTTP to a gateway, and over mutually authenticated TLS to a validating node.
 */
import { request as httpRequest, Agent as HttpAgent, type IncomingMessage } from "node:http";
import { request as httpsRequest, Agent as HttpsAgent } from "node:https";

/** An answer of HTTP. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  /** The body as it came. */
  readonly bytes: Buffer;
}

/** The error member of an answer. */
export interface RpcFault {
  readonly code: number;
  readonly message: string;
  readonly data?: string;
}

/** An answer of JSON-RPC. */
export interface RpcAnswer {
  readonly jsonrpc: string;
  readonly id: number | string | null;
  readonly result?: unknown;
  readonly error?: RpcFault;
}

/** A call in a batch. */
export type Call = readonly [method: string, parameters: readonly unknown[]];

/** Files of a client's identity, and the certificate that endorses the nodes. */
export interface Credentials {
  readonly ca: string | Buffer;
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** A fault as an exception. */
export class RpcFailure extends Error {
  readonly fault: RpcFault;

  constructor(fault: RpcFault) {
    super(`${fault.code} ${fault.message}`);
    this.fault = fault;
  }
}

/** How a request is sent. */
export interface HttpOptions {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const TIMEOUT_MS = 30_000;

/** Headers that describe a body, whose length is left out when it is sent in chunks. */
function lengthOf(body: HttpOptions["body"], headers: Readonly<Record<string, string>>): Record<string, string> {
  if (body === undefined) return {};
  const type = { "content-type": "application/json" };
  return "transfer-encoding" in headers ? type : { ...type, "content-length": String(Buffer.byteLength(body)) };
}

/** A client of one endpoint. */
export class RpcClient {
  readonly #url: URL;
  readonly #agent: HttpAgent;

  constructor(url: string, credentials?: Credentials) {
    this.#url = new URL(url);
    this.#agent =
      credentials === undefined
        ? new HttpAgent({ keepAlive: true })
        : new HttpsAgent({ keepAlive: true, ...credentials });
  }

  /** One HTTP request; the default is a POST of JSON to the endpoint. */
  http({ method = "POST", path, headers = {}, body }: HttpOptions): Promise<HttpAnswer> {
    const request = this.#url.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(path ?? this.#url.pathname, this.#url),
        {
          method,
          agent: this.#agent,
          timeout: TIMEOUT_MS,
          headers: { ...lengthOf(body, headers), ...headers },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on("data", (part: Buffer) => parts.push(part));
          response.on("error", reject);
          response.on("end", () => {
            const bytes = Buffer.concat(parts);
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: bytes.toString(),
              bytes,
            });
          });
        },
      );
      sent.on("timeout", () => sent.destroy(new Error("no answer in time")));
      sent.on("error", reject);
      sent.end(body);
    });
  }

  /** Posts a payload as it is and returns the answer to it, decoded. */
  async post(payload: string): Promise<unknown> {
    const { status, body } = await this.http({ body: payload });
    if (status !== 200) throw new Error(`HTTP ${status}: ${body.slice(0, 300)}`);
    return JSON.parse(body);
  }

  /** The answer to one call, which may be a fault. */
  async ask(method: string, ...parameters: readonly unknown[]): Promise<RpcAnswer> {
    return (await this.post(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: parameters }))) as RpcAnswer;
  }

  /** The result of one call; throws {@link RpcFailure} for a fault. */
  async call<T>(method: string, ...parameters: readonly unknown[]): Promise<T> {
    const { result, error } = await this.ask(method, ...parameters);
    if (error !== undefined) throw new RpcFailure(error);
    return result as T;
  }

  /** The answers to a batch, in the order of its calls. */
  async batch(calls: readonly Call[]): Promise<readonly RpcAnswer[]> {
    const payload = calls.map(([method, params], id) => ({ jsonrpc: "2.0", id, method, params }));
    const answers = (await this.post(JSON.stringify(payload))) as readonly RpcAnswer[];
    return [...answers].sort((left, right) => Number(left.id) - Number(right.id));
  }

  /** The results of many calls of one method, in batches; throws {@link RpcFailure} for the first fault. */
  async many<T>(method: string, parameters: readonly (readonly unknown[])[]): Promise<T[]> {
    const results: T[] = [];
    for (let from = 0; from < parameters.length; from += 200) {
      const answers = await this.batch(parameters.slice(from, from + 200).map((values) => [method, values]));
      for (const { result, error } of answers) {
        if (error !== undefined) throw new RpcFailure(error);
        results.push(result as T);
      }
    }
    return results;
  }

  /** Closes its connections. */
  close(): void {
    this.#agent.destroy();
  }
}
