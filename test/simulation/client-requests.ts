/** How simulated clients reach nodes: latency, time limits, and the pauses between what they do. */
import type { ClientResponse } from "../../src/adapters/adapter.ts";
import { invariant } from "../../src/errors.ts";
import type { Checker } from "./checker.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import type { Trace } from "./trace.ts";

const LATENCY_SPREAD_MS = 1;
const REQUEST_TIMEOUT_MIN_MS = 500;
const REQUEST_TIMEOUT_SPREAD_MS = 5_000;
const RETRY_MIN_MS = 20;

/** What the clients of a simulation share. */
export interface ClientWorld {
  readonly scheduler: Scheduler;
  /** Nodes of the network now. */
  readonly members: () => readonly SimulatedNode[];
  readonly checker: Checker;
  readonly trace: Trace;
  /** The actor this client is of. */
  readonly actor: string;
  readonly answerAfter: "commit" | "execution";
  /** Mean time between a client's jobs, and before it tries again, in milliseconds. */
  readonly thinkMs: number;
  readonly retryMs: number;
}

/** An answer and what was true of its node; `response` is undefined when none came in time. */
export interface Answer {
  readonly response: ClientResponse | undefined;
  readonly byLeader: boolean;
}

const SILENCE: Answer = { response: undefined, byLeader: false };

/** See the module's header. */
export class ClientRequests {
  readonly #world: ClientWorld;
  /** The only nodes it talks to, when set. */
  nodes: readonly SimulatedNode[] | undefined;

  constructor(world: ClientWorld) {
    this.#world = world;
  }

  /** Runs after a time as clients take between jobs. */
  think(run: () => void): void {
    const { scheduler, thinkMs } = this.#world;
    scheduler.after(scheduler.random.waiting(thinkMs), run);
  }

  /** Runs after a time as clients take before they try again. */
  retry(run: () => void): void {
    const { scheduler, retryMs } = this.#world;
    scheduler.after(RETRY_MIN_MS + scheduler.random.waiting(retryMs), run);
  }

  anyNode(): SimulatedNode {
    return this.#world.scheduler.random.pick(this.nodes ?? this.#world.members());
  }

  /**
   * Sends a request.
   * @param leaves called as an answer leaves the node
   */
  send(
    node: SimulatedNode,
    request: { readonly body: string; readonly linearizable?: boolean },
    done: (answer: Answer) => void,
    leaves: (response: ClientResponse) => void = () => {},
  ): void {
    const { scheduler } = this.#world;
    const { random } = scheduler;
    let answered = false;
    const finish = (answer: Answer) => {
      if (answered) return;
      answered = true;
      cancel();
      done(answer);
    };
    const timeoutMs = REQUEST_TIMEOUT_MIN_MS + random.next() * REQUEST_TIMEOUT_SPREAD_MS;
    const cancel = scheduler.after(timeoutMs, () => finish(SILENCE));
    scheduler.after(random.next() * LATENCY_SPREAD_MS, () => {
      const sentAt = scheduler.now;
      let responses = 0;
      node.request({ ...request, actor: this.#world.actor }, (response) => {
        invariant(++responses === 1, "a request is answered once");
        if (response !== undefined) leaves(response);
        const byLeader = node.hasLedSince(sentAt);
        scheduler.after(random.next() * LATENCY_SPREAD_MS, () => finish({ response, byLeader }));
      });
    });
  }
}
