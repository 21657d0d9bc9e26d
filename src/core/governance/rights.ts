/**
 * What actors may do on the adapters of a network, by one constitution. Judged twice: when a request arrives, by the
 * constitution in force on the node that takes it, and when its transactions enter a batch, by the one in force at that place
 * of the ledger.
 */
import type { Actor, Constitution } from "./constitution.ts";
import { CocoError } from "../../errors.ts";

/** Why a transaction may not enter the ledger, as error codes. */
export const TRANSACTION_REFUSALS = ["ActorNotAllowed", "NetworkNotOpen"] as const;

/** One of {@link TRANSACTION_REFUSALS}. */
export type TransactionRefusal = (typeof TRANSACTION_REFUSALS)[number];

/** See the module's header. */
export class Rights {
  readonly constitution: Constitution;
  readonly #actors: ReadonlyMap<string, Actor>;

  constructor(constitution: Constitution) {
    this.constitution = constitution;
    this.#actors = new Map(constitution.actors.map((actor) => [actor.id, actor]));
  }

  /** Why a transaction of an actor may not enter the ledger; undefined when it may. */
  transactionRefusal(actorId: string): TransactionRefusal | undefined {
    if (!this.constitution.network.open) return "NetworkNotOpen";
    const actor = this.#actors.get(actorId);
    return actor === undefined || actor.restriction?.type === "banned" ? "ActorNotAllowed" : undefined;
  }

  /** Why requests of an actor are not passed on to an adapter; undefined when they are. */
  requestRefusal(actorId: string): CocoError | undefined {
    if (!this.constitution.network.open)
      return new CocoError("NetworkNotOpen", "the members have not opened this network yet: it takes governance only");
    const actor = this.#actors.get(actorId);
    if (actor === undefined) return new CocoError("ActorNotAllowed", `${actorId} is not an actor of this network`);
    if (actor.restriction?.type !== "banned") return undefined;
    return new CocoError("ParticipantBanned", `the members have banned ${actorId}`);
  }

  /** Most requests an actor may send to adapters per minute; undefined when nothing limits it. */
  requestsPerMinute(actorId: string): number | undefined {
    const restriction = this.#actors.get(actorId)?.restriction;
    return restriction?.type === "limited" ? restriction.requestsPerMinute : undefined;
  }
}

/** The rights by the constitution that counts now, made anew when it is another one. */
export class RightsInForce {
  readonly #constitution: () => Constitution;
  #rights: Rights | undefined;

  constructor(constitution: () => Constitution) {
    this.#constitution = constitution;
  }

  /** The rights now; the same object as long as the constitution is. */
  get now(): Rights {
    const constitution = this.#constitution();
    if (this.#rights?.constitution !== constitution) this.#rights = new Rights(constitution);
    return this.#rights;
  }
}
