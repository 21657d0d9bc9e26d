/**
 * Simulated clients: each sends one job after the other to random nodes, sends a transaction again under the same id when
 * an answer does not come or says nothing final, and holds every answer against the ledger.
 *
 * Jobs: one transaction, several in one request, one that waits for another that is sent after it, and bad ones.
 */
import type { ClientResponse } from "../../src/adapters/adapter.ts";
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { invariant } from "../../src/errors.ts";
import type { Checker } from "./checker.ts";
import { inclusionKey } from "./kv-adapter.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedNode } from "./simulated-node.ts";

const LATENCY_SPREAD_MS = 1;
const REQUEST_TIMEOUT_MIN_MS = 500;
const REQUEST_TIMEOUT_SPREAD_MS = 5_000;
const RETRY_SPREAD_MS = 300;
const THINK_SPREAD_MS = 600;
/** Most transactions of a request, usually and at times more than a batch holds. */
const FEW = 4;
const MANY = 30;

/** What the clients of a simulation share. */
export interface ClientWorld {
  readonly scheduler: Scheduler;
  readonly nodes: readonly SimulatedNode[];
  readonly checker: Checker;
  readonly trace: (text: string) => void;
  readonly answerAfter: "commit" | "execution";
}

/** One transaction until its outcome is final. */
interface Pursuit {
  readonly id: string;
  readonly line: string;
  readonly final: () => void;
}

/** A client; see the module's header. */
export class SimulatedClient {
  readonly #world: ClientWorld;
  readonly #name: string;
  #jobs = 0;
  #stopping = false;
  /** Transactions whose outcome is not final. */
  pending = 0;
  /** Transactions that were said to be included, and are. */
  confirmed = 0;

  constructor(world: ClientWorld, name: string) {
    this.#world = world;
    this.#name = name;
  }

  /** Starts to send jobs. */
  start(): void {
    this.#later(THINK_SPREAD_MS, () => this.#nextJob());
  }

  /** Begins no more jobs. */
  finish(): void {
    this.#stopping = true;
  }

  #later(spreadMs: number, run: () => void): void {
    const { scheduler } = this.#world;
    scheduler.after(scheduler.random.next() * spreadMs, run);
  }

  #nextJob(): void {
    if (this.#stopping) return;
    const { random } = this.#world.scheduler;
    const job = `${this.#name}-${++this.#jobs}`;
    const key = random.chance(0.3) ? `shared${random.below(5)}` : this.#name;
    const done = () => this.#later(THINK_SPREAD_MS, () => this.#nextJob());
    const kind = random.next();
    if (kind < 0.65) this.#pursueAll([{ id: job, line: `${job}|${key}=${this.#jobs}` }], done);
    else if (kind < 0.8) this.#sendMany(job, key, done);
    else if (kind < 0.9) this.#sendDependent(job, key, done);
    else this.#sendBad(job, done);
  }

  #pursueAll(transactions: readonly { readonly id: string; readonly line: string }[], done: () => void): void {
    let left = transactions.length;
    for (const transaction of transactions) {
      this.pending++;
      const final = () => {
        this.pending--;
        this.confirmed++;
        if (--left === 0) done();
      };
      this.#submit({ ...transaction, final });
    }
  }

  /** Several transactions in one request; each is then pursued by itself under its id, whatever the answer was. */
  #sendMany(job: string, key: string, done: () => void): void {
    const { random } = this.#world.scheduler;
    const count = 2 + random.below(random.chance(0.1) ? MANY : FEW);
    const transactions = Array.from({ length: count }, (_, at) => ({
      id: `${job}-${at}`,
      line: `${job}-${at}|${key}=${at}`,
    }));
    this.#request(this.#anyNode(), transactions.map(({ line }) => line).join("\n"), () =>
      this.#pursueAll(transactions, done),
    );
  }

  /** The second transaction is sent first and waits for the first. */
  #sendDependent(job: string, key: string, done: () => void): void {
    const first = { id: `${job}-a`, line: `${job}-a|${key}=a` };
    const second = { id: `${job}-b`, line: `${job}-b>${job}-a|${key}=b` };
    this.#request(this.#anyNode(), second.line, () => {});
    this.#later(RETRY_SPREAD_MS, () => this.#pursueAll([first, second], done));
  }

  #sendBad(job: string, done: () => void): void {
    const rejected = this.#world.scheduler.random.chance(0.5);
    const line = rejected ? `${job}|=${job}` : "not a transaction";
    this.#request(this.#anyNode(), line, (response) => {
      const [outcome] = response === undefined ? [] : utf8Decode(response.body).split("\n");
      if (response?.status === 200 && outcome !== "unavailable") {
        invariant(outcome === (rejected ? "rejected" : "invalid"), `a bad transaction was answered ${outcome}`);
      }
      done();
    });
  }

  #submit(pursuit: Pursuit): void {
    const { checker, answerAfter, trace } = this.#world;
    const node = this.#anyNode();
    const boots = node.boots;
    this.#request(node, pursuit.line, (response, answeredByLeader) => {
      const [outcome = "", visible] = response?.status === 200 ? utf8Decode(response.body).split(" ") : [];
      trace(`${pursuit.id} at ${node.name}: ${response?.status ?? "none"} ${outcome}`);
      invariant(outcome !== "invalid" && outcome !== "rejected", `${pursuit.id} is a good transaction but ${outcome}`);
      if (outcome !== "included" || (answerAfter === "execution" && answeredByLeader)) {
        this.#later(RETRY_SPREAD_MS, () => this.#look(pursuit));
        return;
      }
      invariant(checker.includes(pursuit.id), `${node.name} said ${pursuit.id} was included before it was committed`);
      invariant(visible === "visible", `${node.name} said ${pursuit.id} was included before it could be read there`);
      pursuit.final();
      this.#readOwnWrite(pursuit.id, node, boots);
    });
  }

  /** What a node answered can be read at that node, unless it started anew since. */
  #readOwnWrite(id: string, node: SimulatedNode, boots: number): void {
    this.#request(node, `get ${inclusionKey(id)}`, (response) => {
      if (response?.status !== 200 || node.boots !== boots) return;
      invariant(response.body.length > 0, `${node.name} forgot ${id} after it had answered`);
    });
  }

  /** Looks whether a transaction is committed, and sends it again otherwise. */
  #look(pursuit: Pursuit): void {
    const { checker, scheduler } = this.#world;
    const node = this.#anyNode();
    const pending = scheduler.random.chance(0.2);
    this.#request(node, `${pending ? "pending" : "get"} ${inclusionKey(pursuit.id)}`, (response) => {
      const found = !pending && response?.status === 200 && response.body.length > 0;
      if (!found) {
        this.#later(RETRY_SPREAD_MS, () => this.#submit(pursuit));
        return;
      }
      invariant(checker.includes(pursuit.id), `${node.name} shows ${pursuit.id} as committed, which it is not`);
      pursuit.final();
    });
  }

  #anyNode(): SimulatedNode {
    const { nodes, scheduler } = this.#world;
    const node = nodes[scheduler.random.below(nodes.length)];
    invariant(node, "a network has a node");
    return node;
  }

  /** Sends a request; `undefined` stands for a connection that failed or an answer that did not come in time. */
  #request(
    node: SimulatedNode,
    body: string,
    done: (response: ClientResponse | undefined, answeredByLeader: boolean) => void,
  ): void {
    const { scheduler } = this.#world;
    let answered = false;
    const finish = (response: ClientResponse | undefined, byLeader: boolean) => {
      if (answered) return;
      answered = true;
      cancel();
      done(response, byLeader);
    };
    const timeoutMs = REQUEST_TIMEOUT_MIN_MS + scheduler.random.next() * REQUEST_TIMEOUT_SPREAD_MS;
    const cancel = scheduler.after(timeoutMs, () => finish(undefined, false));
    this.#later(LATENCY_SPREAD_MS, () => {
      const sentAt = scheduler.now;
      let responses = 0;
      node.request(body, (response) => {
        invariant(++responses === 1, "a request is answered once");
        const byLeader = node.hasLedSince(sentAt);
        this.#later(LATENCY_SPREAD_MS, () => finish(response, byLeader));
      });
    });
  }
}
