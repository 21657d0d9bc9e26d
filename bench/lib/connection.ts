/**
 * The lean client: one HTTP/1.1 connection that sends requests serialised beforehand and reads answers of known length.
 * It shares two cores with the nodes it measures, so that every microsecond a general client spends would be counted
 * against them.
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { CocoError } from "../../src/errors.ts";

/** What a client needs to reach a network over mutually authenticated TLS; all in PEM. */
export interface ClientIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Where requests go; plain HTTP without an identity. */
export interface Endpoint {
  readonly port: number;
  /** Path of JSON-RPC requests. */
  readonly path: string;
  readonly identity?: ClientIdentity;
}

const HOST = "127.0.0.1";
const HEADER_END = Buffer.from("\r\n\r\n");

/** A whole POST request with a JSON body. */
export function postRequest(path: string, body: string): Buffer {
  const headers = `POST ${path} HTTP/1.1\r\nhost: ${HOST}\r\ncontent-type: application/json\r\n`;
  return Buffer.from(`${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** A whole GET request. */
export function getRequest(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`);
}

/** A JSON-RPC call as JSON text. */
export function rpcCall(method: string, parameters: readonly unknown[], id = 1): string {
  return JSON.stringify({ jsonrpc: "2.0", id, method, params: parameters });
}

/** Calls as the JSON text of a batch. */
export function rpcBatch(method: string, calls: readonly (readonly unknown[])[]): string {
  return `[${calls.map((parameters, id) => rpcCall(method, parameters, id)).join(",")}]`;
}

interface Answered {
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: CocoError) => void;
}

/** A connection kept open; answers come in the order of the requests. */
export class Connection {
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #waiting: Answered[] = [];
  #received: Buffer = Buffer.alloc(0);
  #bodyLength: number | undefined;
  #failed: CocoError | undefined;

  private constructor(endpoint: Endpoint, socket: Socket) {
    this.endpoint = endpoint;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#fail(error.message));
    socket.on("close", () => this.#fail("closed by the other side"));
  }

  /** Connects; throws `ChannelFailed`. */
  static open(endpoint: Endpoint): Promise<Connection> {
    const { port, identity } = endpoint;
    return new Promise((resolve, reject) => {
      const ready = (): void => resolve(new Connection(endpoint, socket));
      const socket: Socket =
        identity === undefined
          ? connect({ host: HOST, port }, ready)
          : connectTls({ host: HOST, port, ...identity, minVersion: "TLSv1.3" }, ready);
      socket.once("error", (error) => reject(new CocoError("ChannelFailed", `port ${port}: ${error.message}`)));
    });
  }

  /** Sends a whole request; gives the body of its answer, whatever its status is below 300. */
  send(request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#failed !== undefined) {
        reject(this.#failed);
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#socket.write(request);
    });
  }

  /** Sends a JSON-RPC call; gives its result, throws `MalformedInput` with the answered fault. */
  async call(method: string, ...parameters: readonly unknown[]): Promise<unknown> {
    const body = await this.send(postRequest(this.endpoint.path, rpcCall(method, parameters)));
    return resultOf(JSON.parse(body.toString()), method);
  }

  /** Sends calls of one method in JSON-RPC batches of at most 100; gives the results in order. */
  async callAll(method: string, calls: readonly (readonly unknown[])[]): Promise<unknown[]> {
    const results: unknown[] = [];
    for (let at = 0; at < calls.length; at += 100) {
      const body = await this.send(postRequest(this.endpoint.path, rpcBatch(method, calls.slice(at, at + 100))));
      const answers: unknown = JSON.parse(body.toString());
      if (!Array.isArray(answers)) throw new CocoError("MalformedInput", `${method}: ${body.toString().slice(0, 200)}`);
      for (const answer of answers) results.push(resultOf(answer, method));
    }
    return results;
  }

  /** Closes the connection. */
  close(): void {
    this.#failed ??= new CocoError("ChannelFailed", "the connection is closed");
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (this.#received.length > 0) {
      this.#bodyLength ??= this.#readHeader();
      if (this.#bodyLength === undefined || this.#received.length < this.#bodyLength) return;
      const body = this.#received.subarray(0, this.#bodyLength);
      this.#received = this.#received.subarray(this.#bodyLength);
      this.#bodyLength = undefined;
      this.#waiting.shift()?.resolve(body);
    }
  }

  /** Takes the header off what was received; the length of the body that follows, undefined when it is not complete. */
  #readHeader(): number | undefined {
    const end = this.#received.indexOf(HEADER_END);
    if (end < 0) return undefined;
    const header = this.#received.toString("latin1", 0, end);
    this.#received = this.#received.subarray(end + HEADER_END.length);
    const length = /\r\ncontent-length: *(\d+)/i.exec(header)?.[1];
    if (header.startsWith("HTTP/1.1 2") && length !== undefined) return Number(length);
    this.#fail(`unexpected answer: ${header.split("\r\n", 1)[0]} ${this.#received.toString().slice(0, 200)}`);
    return undefined;
  }

  #fail(reason: string): void {
    this.#failed ??= new CocoError("ChannelFailed", `port ${this.endpoint.port}: ${reason}`);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failed);
    this.#socket.destroy();
  }
}

function resultOf(answer: unknown, method: string): unknown {
  if (typeof answer === "object" && answer !== null && "result" in answer) return answer.result;
  throw new CocoError("MalformedInput", `${method}: ${JSON.stringify(answer).slice(0, 300)}`);
}
