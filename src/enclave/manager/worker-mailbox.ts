/**
 * Mail of one turn of the event loop for an adapter's worker: requests that arrive together travel as one message, and so
 * do outcomes that become known together. A hop to a thread costs about 25 us, whatever it carries.
 */
import type { Clock, Executor } from "../ports.ts";
import type { ToWorker } from "../worker/protocol.ts";

/** A client request as the worker gets it. */
export type RequestMail = Extract<ToWorker, { type: "requests" }>["requests"][number];
/** The outcomes of one request as the worker gets them. */
export type OutcomesMail = Extract<ToWorker, { type: "outcomes" }>["requests"][number];

/** Groups messages to one worker; see the module's header. */
export class WorkerMailbox {
  readonly #executor: Executor;
  readonly #clock: Clock;
  readonly #isLeading: () => boolean;
  #requests: RequestMail[] = [];
  #outcomes: OutcomesMail[] = [];

  /** @param isLeading whether this node leads and executes at the time the requests leave */
  constructor(executor: Executor, clock: Clock, isLeading: () => boolean) {
    this.#executor = executor;
    this.#clock = clock;
    this.#isLeading = isLeading;
  }

  /** Sends a request with the others of this turn. */
  request(mail: RequestMail): void {
    if (this.#requests.push(mail) > 1) return;
    this.#clock.after(0, () => {
      const requests = this.#requests;
      this.#requests = [];
      this.#executor.send({ type: "requests", leading: this.#isLeading(), requests });
    });
  }

  /** Sends outcomes with the others of this turn, after the versions of the state they speak of. */
  outcomes(mail: OutcomesMail): void {
    if (this.#outcomes.push(mail) > 1) return;
    this.#clock.after(0, () => {
      const requests = this.#outcomes;
      this.#outcomes = [];
      this.#executor.send({ type: "outcomes", requests });
    });
  }

  /** Tells the worker that these requests will not be answered any more. */
  forget(ids: readonly number[]): void {
    this.#executor.send({ type: "forget", ids });
  }
}
