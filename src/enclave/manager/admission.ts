/**
 * Which requests of clients are passed on to an adapter: those of actors that may transact, as often as the members let them.
 *
 * A limited participant has so many requests per minute on each node, by a bucket that holds a minute's worth and fills
 * evenly. A request is what comes by HTTP, whatever an adapter finds in it.
 */
import { type Rights, RightsInForce } from "../../core/governance/rights.ts";
import { CocoError } from "../../errors.ts";
import type { ManagerParts } from "./manager-parts.ts";

const MINUTE_MS = 60_000;

interface Bucket {
  perMinute: number;
  /** Requests it holds at `atMs`. */
  level: number;
  atMs: number;
}

/** What admission needs of the node around it. */
export interface AdmissionParts {
  /** By the constitution in force; the same object as long as that is. */
  readonly rights: () => Rights;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** See the module's header. */
export class Admission {
  readonly #parts: AdmissionParts;
  /** Of participants that are limited now, at most as many as a constitution has actors. */
  readonly #buckets = new Map<string, Bucket>();
  #rights: Rights | undefined;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /**
   * Why a request of an actor is not passed on; undefined when it is.
   * @param counts whether it is a client's of this node, not one that another node has passed on already
   */
  refusalOf(actorId: string, counts: boolean): CocoError | undefined {
    const rights = this.#parts.rights();
    if (rights !== this.#rights) this.#follow(rights);
    const refusal = rights.requestRefusal(actorId);
    const perMinute = rights.requestsPerMinute(actorId);
    if (refusal !== undefined || perMinute === undefined || !counts) return refusal;
    return this.#take(this.#bucketOf(actorId, perMinute), actorId);
  }

  #follow(rights: Rights): void {
    this.#rights = rights;
    for (const actorId of this.#buckets.keys())
      if (rights.requestsPerMinute(actorId) === undefined) this.#buckets.delete(actorId);
  }

  #bucketOf(actorId: string, perMinute: number): Bucket {
    const now = this.#parts.now();
    const bucket = this.#buckets.get(actorId) ?? { perMinute, level: perMinute, atMs: now };
    bucket.level += ((now - bucket.atMs) * bucket.perMinute) / MINUTE_MS;
    bucket.level = Math.min(bucket.level, perMinute);
    bucket.perMinute = perMinute;
    bucket.atMs = now;
    this.#buckets.set(actorId, bucket);
    return bucket;
  }

  #take(bucket: Bucket, actorId: string): CocoError | undefined {
    if (bucket.level >= 1) {
      bucket.level--;
      return undefined;
    }
    const { perMinute, level } = bucket;
    const waitMs = ((1 - level) * MINUTE_MS) / perMinute;
    const message = `the members let ${actorId} send ${perMinute} requests per minute to each node`;
    return new CocoError("RequestLimitExceeded", message, {
      retryAfterSeconds: Math.max(1, Math.ceil(Math.round(waitMs) / 1000)),
    });
  }
}

/** Admission of a node's manager. */
export function createAdmission({ administration, clock }: Pick<ManagerParts, "administration" | "clock">): Admission {
  const inForce = new RightsInForce(() => (administration.committed ?? administration).constitution);
  return new Admission({ rights: () => inForce.now, now: () => clock.now() });
}
