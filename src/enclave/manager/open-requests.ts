/**
 * Client requests that are not answered yet, whether they came from a client of this node or from another node because
 * only the leader can answer them. Bounded in number and time; each is answered exactly once.
 */
import type { Caller, ClientResponse } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { utf8Encode } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError } from "../../errors.ts";

/** Most requests under way on one node; the next one is answered 503. */
export const OPEN_REQUESTS_MAX = 10_000;
/** A request is answered 504 when it takes longer. */
export const OPEN_REQUEST_TIMEOUT_MS = 35_000;
/** A request that only the leader can answer waits this long for one before it is answered 503. */
export const LEADER_WAIT_MS = 10_000;

/**
 * A request that was sent to the leader is sent again when nothing came back for so long: it only reads, so that twice does
 * no harm. The time doubles with each, since the leader may just be slow.
 */
export const QUERY_RESEND_AFTER_MS = 1_000;

/** Random bytes that the ids of a boot begin with. */
export const FIRST_ID_BYTES = 5;

/**
 * Where the ids of requests begin in this boot. A peer may still answer what was asked before a restart: such an answer
 * must not meet the id of another client's request. A boot has some 2^30 requests at most, and ids have 53 bits.
 * @param random {@link FIRST_ID_BYTES} bytes, fresh for this boot
 */
export function firstIdOf(random: Bytes): number {
  return 1 + random.reduce((id, byte) => id * 0x100 + byte, 0);
}

/** A request under way. */
export interface OpenRequest {
  readonly id: number;
  readonly adapterId: number;
  readonly path: string;
  readonly body: Bytes;
  readonly caller: Caller;
  readonly since: number;
  readonly respond: (response: RoutedResponse) => void;
  /** Whether another node sent it, taking this one for the leader: it is never passed on, so that it cannot go in circles. */
  readonly fromPeer: boolean;
  /** Set while it waits for a leader or is with one. */
  forLeader: "no" | "waiting" | "sent";
  /** The node it was sent to as the leader: nobody else may answer it. */
  sentTo?: NodeId;
  /** How often it came back to its worker, which had taken this node for one that does not lead. */
  returns: number;
  /** When it is sent again, and the time before that. */
  resendAt?: number;
  resendAfterMs?: number;
}

/** What a client gets back, with headers that belong to its HTTP answer only. */
export interface RoutedResponse extends ClientResponse {
  readonly headers?: Readonly<Record<string, string>>;
}

/** A JSON error as a client response. */
export function errorClientResponse(error: CocoError): RoutedResponse {
  const body = utf8Encode(
    JSON.stringify({ error: { code: error.code, message: error.message, remedy: error.remedy } }),
  );
  const { retryAfterSeconds } = error.data;
  const headers = retryAfterSeconds === undefined ? {} : { headers: { "retry-after": String(retryAfterSeconds) } };
  return { status: error.status, contentType: "application/json", body, ...headers };
}

/** All requests under way on one node. */
export class OpenRequests {
  readonly #now: () => number;
  readonly #requests = new Map<number, OpenRequest>();
  #nextId: number;

  /** @param firstId see {@link firstIdOf} */
  constructor(now: () => number, firstId: number) {
    this.#now = now;
    this.#nextId = firstId;
  }

  /** Opens a request; answers 503 and returns undefined when there are too many. */
  open(
    request: Pick<OpenRequest, "adapterId" | "path" | "body" | "caller" | "fromPeer" | "respond">,
  ): OpenRequest | undefined {
    if (this.#requests.size >= OPEN_REQUESTS_MAX) {
      request.respond(errorClientResponse(new CocoError("TooManyRequests", "too many requests under way")));
      return undefined;
    }
    const open: OpenRequest = { ...request, id: this.#nextId++, since: this.#now(), forLeader: "no", returns: 0 };
    this.#requests.set(open.id, open);
    return open;
  }

  /** The request of that id, if it is not answered yet. */
  get(id: number): OpenRequest | undefined {
    return this.#requests.get(id);
  }

  /** Answers a request; later answers to it are ignored. */
  answer(id: number, response: RoutedResponse): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#requests.delete(id);
    request.respond(response);
  }

  /** Answers all requests for an adapter. */
  answerAll(adapterId: number, response: RoutedResponse): void {
    for (const request of this.#requests.values())
      if (request.adapterId === adapterId) this.answer(request.id, response);
  }

  /** A request was sent to the leader. */
  sent(request: OpenRequest, leader: NodeId): void {
    const again = request.sentTo === leader && request.resendAfterMs !== undefined;
    request.resendAfterMs = again ? 2 * (request.resendAfterMs ?? 0) : QUERY_RESEND_AFTER_MS;
    request.resendAt = this.#now() + request.resendAfterMs;
    request.forLeader = "sent";
    request.sentTo = leader;
  }

  /** Answers a request that was sent to the leader; anything else a peer names is ignored. */
  answerFromLeader(id: number, response: ClientResponse, peer: NodeId): void {
    const request = this.#requests.get(id);
    if (request?.forLeader === "sent" && request.sentTo === peer) this.answer(id, response);
  }

  /** Requests that wait for a leader, or for its answer for so long that they have to be sent again. */
  waitingForLeader(): OpenRequest[] {
    const now = this.#now();
    return [...this.#requests.values()].filter(
      ({ forLeader, resendAt }) => forLeader === "waiting" || (forLeader === "sent" && (resendAt ?? 0) <= now),
    );
  }

  /** The leader they were sent to is gone: they wait again. */
  leaderLost(): void {
    for (const request of this.#requests.values()) if (request.forLeader === "sent") request.forLeader = "waiting";
  }

  /** Answers what took too long; the ids, by adapter, for the workers to forget. */
  expire(): Map<number, number[]> {
    const now = this.#now();
    const expired = new Map<number, number[]>();
    for (const request of this.#requests.values()) {
      const age = now - request.since;
      const noLeader = request.forLeader === "waiting" && age > LEADER_WAIT_MS;
      if (age <= OPEN_REQUEST_TIMEOUT_MS && !noLeader) continue;
      const error = noLeader
        ? new CocoError("NoLeader", "no leader answers")
        : new CocoError("RequestTimeout", "no answer in time");
      this.answer(request.id, errorClientResponse(error));
      expired.set(request.adapterId, [...(expired.get(request.adapterId) ?? []), request.id]);
    }
    return expired;
  }
}
