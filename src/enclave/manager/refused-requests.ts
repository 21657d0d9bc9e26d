/**
 * Members' requests that were refused, as lines in the log: the ledger takes nothing of them. What a request says is not logged,
 * and nothing is of requests that no member has signed: the endpoints are open to everybody.
 */
import type { RequestType } from "../../core/governance/signed-request.ts";
import type { CocoError } from "../../errors.ts";
import type { Clock, Tracer } from "../ports.ts";

/** Most refused requests in the log per {@link REFUSED_REQUESTS_PERIOD_MS}. */
export const REFUSED_REQUESTS_LOGGED_MAX = 60;
/** See {@link REFUSED_REQUESTS_LOGGED_MAX}. */
export const REFUSED_REQUESTS_PERIOD_MS = 60_000;

/** A request whose signer is known. */
export interface RefusedRequest {
  readonly type: RequestType;
  /** Id of the member. */
  readonly actor: string;
  /** Hex SHA-256 of what was signed: of a proposal its id. */
  readonly request: string;
}

/** See the module's header. */
export class RefusedRequests {
  readonly #clock: Pick<Clock, "now">;
  readonly #tracer: Tracer;
  #sinceMs = 0;
  #logged = 0;

  constructor(clock: Pick<Clock, "now">, tracer: Tracer) {
    this.#clock = clock;
    this.#tracer = tracer;
    this.#sinceMs = clock.now();
  }

  /** Takes note of a refusal. */
  note({ type, actor, request }: RefusedRequest, error: CocoError): void {
    const now = this.#clock.now();
    if (now - this.#sinceMs >= REFUSED_REQUESTS_PERIOD_MS) [this.#sinceMs, this.#logged] = [now, 0];
    if (++this.#logged > REFUSED_REQUESTS_LOGGED_MAX) return;
    const { reason, name, action } = error.data;
    this.#tracer.event("warn", "request_refused", {
      ...{ type, actor, request, code: error.code },
      ...(typeof reason === "string" && { reason }),
      ...(typeof action === "number" && typeof name === "string" && { action: name }),
    });
  }
}
