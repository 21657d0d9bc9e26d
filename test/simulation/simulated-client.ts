/**
 * Simulated clients of the key-value adapter: each sends one job after the other to random nodes, sends a transaction again under the same id when
 * an answer does not come or says nothing final, and holds every answer against the ledger.
 *
 * Jobs: one transaction, several in one request, one that waits for another that is sent after it, bad ones, and reads.
 */
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { invariant } from "../../src/errors.ts";
import { ClientRequests, type ClientWorld } from "./client-requests.ts";
import { inclusionKey } from "./kv-adapter.ts";
import type { Client } from "./protocol.ts";
import type { SimulatedNode } from "./simulated-node.ts";

/** Most transactions of a request, usually and at times more than a batch holds. */
const FEW = 4;
const MANY = 30;
const SHARED_KEYS = 5;
/** Share of reads that ask for a linearizable answer. */
const LINEARIZABLE = 0.5;

/** One transaction until its outcome is final. */
interface Pursuit {
  readonly id: string;
  readonly line: string;
  readonly final: () => void;
}

/** A client; see the module's header. */
export class SimulatedClient implements Client {
  readonly #world: ClientWorld;
  readonly #requests: ClientRequests;
  readonly #name: string;
  #jobs = 0;
  #stopping = false;
  pending = 0;

  constructor(world: ClientWorld, name: string) {
    this.#world = world;
    this.#requests = new ClientRequests(world);
    this.#name = name;
  }

  start(): void {
    this.#requests.think(() => this.#nextJob());
  }

  finish(): void {
    this.#stopping = true;
  }

  probe(nodes: readonly SimulatedNode[]): void {
    this.#requests.nodes = nodes;
    const job = `${this.#name}-${++this.#jobs}`;
    this.#pursueAll([{ id: job, line: `${job}|${this.#name}=${this.#jobs}` }], () => {});
  }

  #nextJob(): void {
    if (this.#stopping) return;
    const { random } = this.#world.scheduler;
    const job = `${this.#name}-${++this.#jobs}`;
    const key = this.#anyKey();
    const done = () => this.#requests.think(() => this.#nextJob());
    const kind = random.next();
    if (kind < 0.45) this.#pursueAll([{ id: job, line: `${job}|${key}=${this.#jobs}` }], done);
    else if (kind < 0.55) this.#sendMany(job, key, done);
    else if (kind < 0.63) this.#sendDependent(job, key, done);
    else if (kind < 0.7) this.#sendBad(job, done);
    else if (kind < 0.93) this.#read(key, done);
    else this.#readPending(done);
  }

  #anyKey(): string {
    const { random } = this.#world.scheduler;
    return random.chance(0.4) ? `shared${random.below(SHARED_KEYS)}` : this.#name;
  }

  #pursueAll(transactions: readonly { readonly id: string; readonly line: string }[], done: () => void): void {
    let left = transactions.length;
    for (const transaction of transactions) {
      this.pending++;
      const final = () => {
        this.pending--;
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
      line: `${job}-${at}|${key}=${job}-${at}`,
    }));
    const body = transactions.map(({ line }) => line).join("\n");
    this.#requests.send(this.#requests.anyNode(), { body }, () => this.#pursueAll(transactions, done));
  }

  /** The second transaction is sent first and waits for the first. */
  #sendDependent(job: string, key: string, done: () => void): void {
    const first = { id: `${job}-a`, line: `${job}-a|${key}=${job}a` };
    const second = { id: `${job}-b`, line: `${job}-b>${job}-a|${key}=${job}b` };
    this.#requests.send(this.#requests.anyNode(), { body: second.line }, () => {});
    this.#requests.retry(() => this.#pursueAll([first, second], done));
  }

  #sendBad(job: string, done: () => void): void {
    const rejected = this.#world.scheduler.random.chance(0.5);
    const line = rejected ? `${job}|=${job}` : "not a transaction";
    this.#requests.send(this.#requests.anyNode(), { body: line }, ({ response }) => {
      const [outcome] = response === undefined ? [] : utf8Decode(response.body).split("\n");
      if (response?.status === 200 && outcome !== "unavailable") {
        invariant(outcome === (rejected ? "rejected" : "invalid"), `a bad transaction was answered ${outcome}`);
      }
      done();
    });
  }

  /**
   * Reads what is committed at some node. The answer is checked as it leaves the node, in order: a linearizable one is a
   * local one, too.
   */
  #read(key: string, done: () => void): void {
    const { checker, scheduler } = this.#world;
    const node = this.#requests.anyNode();
    const linearizable = scheduler.random.chance(LINEARIZABLE);
    const began = checker.reads.acknowledged;
    this.#requests.send(node, { body: `get ${key}`, linearizable }, done, (response) => {
      if (response.status !== 200) return;
      const value = utf8Decode(response.body);
      checker.reads.local({ node: node.id, boots: node.boots }, key, value);
      if (linearizable) checker.reads.linearizable(node.name, began, key, value);
    });
  }

  /** Reads the leader's newest state: executed, perhaps never committed, but somebody's transaction. */
  #readPending(done: () => void): void {
    const body = `pending ${inclusionKey(`${this.#name}-${this.#jobs - 1}`)}`;
    this.#requests.send(this.#requests.anyNode(), { body }, ({ response }) => {
      const value = response?.status === 200 ? utf8Decode(response.body) : "";
      const sent = value === "" || value === this.#name || value.startsWith("shared");
      invariant(sent, `${body} was answered ${value}, which nobody sent`);
      done();
    });
  }

  #submit(pursuit: Pursuit): void {
    const { checker, answerAfter, trace } = this.#world;
    const node = this.#requests.anyNode();
    const { boots } = node;
    this.#requests.send(node, { body: pursuit.line }, ({ response, byLeader }) => {
      const [outcome = "", visible] = response?.status === 200 ? utf8Decode(response.body).split(" ") : [];
      trace.event(`answer ${outcome}`, pursuit.id, response?.status ?? 0);
      invariant(outcome !== "invalid" && outcome !== "rejected", `${pursuit.id} is a good transaction but ${outcome}`);
      if (outcome !== "included" || (answerAfter === "execution" && byLeader)) {
        this.#requests.retry(() => this.#look(pursuit));
        return;
      }
      const version = checker.versionOf(pursuit.id);
      invariant(version !== undefined, `${node.name} said ${pursuit.id} was included before it was committed`);
      invariant(visible === "visible", `${node.name} said ${pursuit.id} was included before it could be read there`);
      checker.reads.acknowledge(version);
      pursuit.final();
      this.#readOwnWrite(pursuit.id, node, boots);
    });
  }

  /** What a node answered can be read at that node, unless it started anew since. */
  #readOwnWrite(id: string, node: SimulatedNode, boots: number): void {
    this.#requests.send(node, { body: `get ${inclusionKey(id)}` }, ({ response }) => {
      if (response?.status !== 200 || node.boots !== boots) return;
      invariant(response.body.length > 0, `${node.name} does not show ${id}, which it called included`);
    });
  }

  /** Looks whether a transaction is committed, and sends it again otherwise. */
  #look(pursuit: Pursuit): void {
    const { checker, scheduler } = this.#world;
    const node = this.#requests.anyNode();
    const pending = scheduler.random.chance(0.2);
    const body = `${pending ? "pending" : "get"} ${inclusionKey(pursuit.id)}`;
    this.#requests.send(node, { body }, ({ response }) => {
      const found = !pending && response?.status === 200 && response.body.length > 0;
      if (!found) {
        this.#requests.retry(() => this.#submit(pursuit));
        return;
      }
      const version = checker.versionOf(pursuit.id);
      invariant(version !== undefined, `${node.name} shows ${pursuit.id} as committed, which it is not`);
      checker.reads.acknowledge(version);
      pursuit.final();
    });
  }
}
