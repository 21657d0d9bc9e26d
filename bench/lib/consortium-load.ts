/**
 * Writes that never cease while a network changes: signed Ethereum transfers of several accounts, each account one after the
 * other, to any of the nodes. A transfer that a node does not answer goes to the next one, the same bytes again, until one
 * acknowledges it; in the end every acknowledged transfer is looked up.
 */
import { Agent, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { type Account, sign, type Signed } from "./wallet.ts";

/** A transfer that nobody acknowledges for so long has failed. */
const WRITE_LIMIT_MS = 60_000;
const ANSWER_LIMIT_MS = 5_000;
const PAUSE_MS = 100;
const RETRY_MS = 50;
const GAS = 21_000;

/** What became of the writes. */
export interface LoadCount {
  readonly sent: number;
  readonly acknowledged: number;
  readonly failed: number;
  /** Attempts that another node had to take over. */
  readonly retries: number;
  /** Longest time from the first attempt to the acknowledgement. */
  readonly longestMs: number;
}

/** Certificates of the client, in PEM. */
export interface LoadIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface RpcAnswer {
  readonly result?: unknown;
  readonly error?: { readonly message?: string };
}

/** The load of one client. */
export class ConsortiumLoad {
  readonly #agent: Agent;
  readonly #chainId: number;
  readonly #hashes: string[] = [];
  readonly #count = { sent: 0, failed: 0, retries: 0, longestMs: 0 };
  #ports: readonly number[];
  #next = 0;
  #running: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(identity: LoadIdentity, chainId: number, ports: readonly number[]) {
    this.#agent = new Agent({ ...identity, keepAlive: true, maxSockets: 8 });
    this.#chainId = chainId;
    this.#ports = ports;
  }

  /** Ports of the nodes that writes go to from now on. */
  set ports(ports: readonly number[]) {
    this.#ports = ports;
  }

  /** Starts; one writer per account. */
  start(accounts: readonly Account[]): void {
    this.#running = Promise.all(accounts.map((account) => this.#write(account)));
  }

  /** The writes so far. */
  count(): LoadCount {
    return { ...this.#count, acknowledged: this.#hashes.length };
  }

  /** Stops, and waits for the writes under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** How many of the acknowledged transfers a node finds in the committed chain, with success. */
  async committedAt(port: number): Promise<number> {
    let found = 0;
    for (let at = 0; at < this.#hashes.length; at += 100) {
      const calls = this.#hashes.slice(at, at + 100).map((hash, id) => call("eth_getTransactionReceipt", [hash], id));
      const answers = JSON.parse(await this.#post(port, `[${calls.join(",")}]`)) as readonly RpcAnswer[];
      found += answers.filter(({ result }) => isReceipt(result) && result.status === "0x1").length;
    }
    return found;
  }

  /** Ends the connections. */
  close(): void {
    this.#stopped = true;
    this.#agent.destroy();
  }

  async #write(account: Account): Promise<void> {
    while (!this.#stopped) {
      const signed = sign(account, this.#chainId, { to: account.address, value: 1n, gas: GAS });
      this.#count.sent++;
      const startedMs = performance.now();
      if (await this.#deliver(signed)) this.#hashes.push(signed.hash);
      else this.#count.failed++;
      this.#count.longestMs = Math.max(this.#count.longestMs, performance.now() - startedMs);
      await sleep(PAUSE_MS);
    }
  }

  async #deliver({ raw, hash }: Signed): Promise<boolean> {
    const endMs = Date.now() + WRITE_LIMIT_MS;
    for (let attempt = 0; Date.now() < endMs; attempt++) {
      const port = this.#ports[this.#next++ % this.#ports.length] ?? 0;
      const answer = await this.#call(port, "eth_sendRawTransaction", raw);
      if (answer?.result === hash) return true;
      // An attempt that was not answered may have been carried out all the same.
      if (attempt > 0 && isReceipt((await this.#call(port, "eth_getTransactionReceipt", hash))?.result)) return true;
      this.#count.retries++;
      await sleep(RETRY_MS);
    }
    return false;
  }

  async #call(port: number, method: string, parameter: string): Promise<RpcAnswer | undefined> {
    try {
      return JSON.parse(await this.#post(port, call(method, [parameter], 1))) as RpcAnswer;
    } catch {
      return undefined;
    }
  }

  #post(port: number, body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) };
      const options = { host: "127.0.0.1", port, path: "/eth", method: "POST", headers, agent: this.#agent };
      const sent = request({ ...options, timeout: ANSWER_LIMIT_MS }, (answer) => {
        let text = "";
        answer.on("data", (data: Buffer) => {
          text += data.toString();
        });
        answer.on("end", () => resolve(text));
        answer.on("error", reject);
      });
      sent.on("timeout", () => sent.destroy(new Error("no answer")));
      sent.on("error", reject);
      sent.end(body);
    });
  }
}

function call(method: string, parameters: readonly string[], id: number): string {
  return JSON.stringify({ jsonrpc: "2.0", id, method, params: parameters });
}

function isReceipt(value: unknown): value is { readonly status: unknown } {
  return typeof value === "object" && value !== null && "status" in value;
}
