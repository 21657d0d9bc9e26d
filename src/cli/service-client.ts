/**
 * A client of validating nodes: HTTPS that trusts one service certificate. A node's chain leads to every identity the service
 * ever had, by the cross certificates in it, so that an older certificate stays good after the identity was rotated.
 *
 * Errors of the node keep their code; what does not come from it is `CannotConnect`, `ServiceNotTrusted` or `AnswerInvalid`.
 */
import type { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import type { TLSSocket } from "node:tls";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError, ERRORS, type ErrorCode } from "../errors.ts";

/** Largest answer that is read, in bytes. */
export const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
/** An answer must be complete within this time. */
export const ANSWER_TIMEOUT_MS = 30_000;
/** Longest time for which a request is repeated while the network has no leader. */
export const NO_LEADER_PATIENCE_MS = 15_000;

const FIRST_PAUSE_MS = 250;
const WORTH_A_RETRY: readonly string[] = ["NoLeader", "TooManyRequests"];

/** A client certificate with its private key, PEM. */
export interface ClientIdentity {
  readonly certificate: string;
  readonly privateKey: string;
}

/** How a node is reached. */
export interface ServiceClientOptions {
  /** `https://host:port` of a validating node. */
  readonly url: string;
  /** PEM: what the node's certificate has to lead to; undefined: whoever calls judges {@link ServiceClient.peerKey}. */
  readonly serviceCertificate: string | undefined;
  /** Undefined: nobody in particular, which is enough for requests that are signed. */
  readonly identity?: ClientIdentity | undefined;
  /** {@link NO_LEADER_PATIENCE_MS} unless given. */
  readonly patienceMs?: number;
}

interface Call {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly contentType?: string;
  readonly body?: Bytes;
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** See the module's header. */
export class ServiceClient {
  readonly #url: URL;
  readonly #agent: Agent;
  readonly #patienceMs: number;
  #peerCertificate: X509Certificate | undefined;
  /** By connection: the runtime gives a certificate out once. */
  readonly #certificates = new WeakMap<TLSSocket, X509Certificate>();

  /** Throws `WrongUsage` when the address is none, `ConfigurationInvalid` when a certificate or key is none. */
  constructor(options: ServiceClientOptions) {
    this.#url = nodeAddress(options.url);
    this.#patienceMs = options.patienceMs ?? NO_LEADER_PATIENCE_MS;
    const { serviceCertificate, identity } = options;
    this.#agent = new Agent({
      ...{ keepAlive: true, maxSockets: 4, minVersion: "TLSv1.3" },
      ...(serviceCertificate === undefined ? { rejectUnauthorized: false } : { ca: serviceCertificate }),
      ...(identity !== undefined && { cert: identity.certificate, key: identity.privateKey }),
    });
  }

  /** Where the node is. */
  get url(): string {
    return this.#url.origin;
  }

  /** Public key (SubjectPublicKeyInfo) that the node proved at the last answer; undefined before. */
  get peerKey(): Bytes | undefined {
    const spki = this.#peerCertificate?.publicKey.export({ type: "spki", format: "der" });
    return spki && new Uint8Array(spki);
  }

  /** Certificate (DER) that the node showed at the last answer; undefined before. */
  get peerCertificate(): Bytes | undefined {
    return this.#peerCertificate && new Uint8Array(this.#peerCertificate.raw);
  }

  /** The text of a document. */
  async text(path: string): Promise<string> {
    return (await this.#ask({ method: "GET", path })).body.toString("utf8");
  }

  /** A document. */
  async json(path: string): Promise<unknown> {
    return parse(await this.#ask({ method: "GET", path }), path);
  }

  /** The answer to what is sent, which must be safe to send twice. */
  async post(path: string, contentType: string, body: Bytes): Promise<unknown> {
    return parse(await this.#ask({ method: "POST", path, contentType, body }), path);
  }

  /** A stream of text as it comes, until the node ends it or `signal` does. */
  async *follow(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): AsyncGenerator<string> {
    const response = await this.#open({ method: "GET", path }, headers, signal);
    if (response.statusCode !== 200) throw failureOf(await read(response, path), path);
    response.setEncoding("utf8");
    try {
      for await (const text of response) yield String(text);
    } catch (error) {
      if (!signal.aborted) throw cannotConnect(this.#url, error);
    } finally {
      response.destroy();
    }
  }

  /** Closes its connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #ask(call: Call): Promise<Answer> {
    const until = Date.now() + this.#patienceMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs *= 2) {
      const answer = await this.#askOnce(call);
      if (answer.status < 400) return answer;
      const failure = failureOf(answer, call.path);
      if (!WORTH_A_RETRY.includes(failure.code) || Date.now() + pauseMs > until) throw failure;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #askOnce(call: Call): Promise<Answer> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const response = await this.#open(call, {}, signal);
    try {
      return await read(response, call.path);
    } catch (error) {
      throw error instanceof CocoError ? error : this.#failure(error, signal);
    }
  }

  #open(
    { method, path, contentType, body }: Call,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const type = contentType === undefined ? {} : { "content-type": contentType };
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    return new Promise((resolve, reject) => {
      const options = { method, agent: this.#agent, signal, headers: { ...type, ...length, ...headers } };
      const sent = request(new URL(path, this.#url), options, (response) => {
        const socket = response.socket as TLSSocket;
        this.#peerCertificate = this.#certificateOf(socket);
        resolve(response);
      });
      sent.on("error", (error) => reject(this.#failure(error, signal)));
      sent.end(body);
    });
  }

  #certificateOf(socket: TLSSocket): X509Certificate | undefined {
    const certificate = this.#certificates.get(socket) ?? socket.getPeerX509Certificate();
    if (certificate !== undefined) this.#certificates.set(socket, certificate);
    return certificate;
  }

  #failure(error: unknown, signal: AbortSignal): CocoError {
    if (signal.aborted && isTimeout(signal.reason))
      return new CocoError("CannotConnect", `${this.url}: no answer within ${ANSWER_TIMEOUT_MS / 1000} s`);
    return cannotConnect(this.#url, error);
  }
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof Error && reason.name === "TimeoutError";
}

function nodeAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const { protocol, pathname, search, username } = url ?? {};
  if (url === undefined || protocol !== "https:" || pathname !== "/" || search !== "" || username !== "")
    throw new CocoError("WrongUsage", `${text}: expected https://host:port of a validating node`);
  return url;
}

/** What is mostly behind an error of the runtime. */
const HINTS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "this may be the port for other nodes (clients have one of their own: --client-advertise, in the sandbox the one that is 100 " +
    "lower), or a node that is not part of the network yet",
  EPROTO:
    "what answers there speaks no TLS 1.3; a sandbox's port for wallets takes plain HTTP, clients of nodes use the one 100 higher",
  ECONNRESET:
    "it hung up before TLS; a sandbox's port for wallets takes plain HTTP, clients of nodes use the one 100 higher",
};

/** Problems of certificates have codes of their own; everything else is the way to the node. */
function cannotConnect(url: URL, error: unknown): CocoError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const said = error instanceof Error ? error.message : String(error);
  const isTrust = /CERT|SIGNATURE|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code);
  const hint = HINTS[code];
  const problem = isTrust ? `its certificate does not hold: ${said}` : said || code;
  const message = `${problem}${hint === undefined ? "" : `: ${hint}`}`;
  return new CocoError(
    isTrust ? "ServiceNotTrusted" : "CannotConnect",
    `${url.origin}: ${message}`,
    {},
    { cause: error },
  );
}

async function read(response: IncomingMessage, path: string): Promise<Answer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response) {
    const bytes = part as Buffer;
    length += bytes.length;
    if (length > MAX_ANSWER_BYTES) {
      response.destroy();
      throw new CocoError("AnswerInvalid", `${path}: the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    }
    parts.push(bytes);
  }
  return { status: response.statusCode ?? 0, body: Buffer.concat(parts) };
}

function parse({ body }: Answer, path: string): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw new CocoError("AnswerInvalid", `${path}: the answer is not JSON`);
  }
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

/** The node's own words, without what a terminal would act on. */
function printable(value: unknown): string {
  return String(value)
    .replaceAll(/\p{Cc}/gu, " ")
    .slice(0, 2_000);
}

function failureOf(answer: Answer, path: string): CocoError {
  const { status } = answer;
  let error: unknown;
  try {
    error = (parse(answer, path) as { readonly error?: unknown } | null)?.error;
  } catch {
    error = undefined;
  }
  const { code, message, remedy: _, ...more } = (error ?? {}) as Readonly<Record<string, unknown>>;
  if (!isErrorCode(code))
    return new CocoError(
      "AnswerInvalid",
      `${path}: status ${status}${code === undefined ? "" : `, ${printable(code)}`}`,
    );
  const data = Object.entries(more).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return new CocoError(code, printable(message), Object.fromEntries(data) as CocoError["data"]);
}
