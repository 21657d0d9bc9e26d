/**
 * Requests that members signed before and that this node carries: the approval of its code. Whichever node carries them, they
 * go to the leader as if a member sent them here. A node with code that is not approved yet may never lead: where nodes hold
 * leases it cannot renew its own, and is quarantined until the approval that only it has is in the ledger.
 *
 * What became of them its own ledger tells, if it can read as far. A quarantined node may not: what it missed can be behind keys
 * that it gets only with its evidence. So what seems to hold is offered, and when that changes nothing here, the others in turn.
 */
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";

/** Time between two carried requests of a node, if its ledger says nothing new meanwhile. */
export const CARRIED_INTERVAL_MS = 1_000;

/** What they need of the node around them. */
export interface CarriedRequestsParts {
  readonly approval: readonly SignedMessage[] | undefined;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly sealing: {
    /** Time of a batch made now. */
    batchTime(): number;
  };
  readonly administration: Pick<Administration, "appended" | "check">;
  /** Brings a request to the leader; false when there is none that can be reached. */
  readonly offer: (message: SignedMessage) => boolean;
}

/** See the module's header. */
export class CarriedRequests {
  readonly #parts: CarriedRequestsParts;
  /** The state that the place was found for. */
  #seen: CarriedRequestsParts["administration"]["appended"];
  /** Place of the one to offer; -1: none holds. */
  #place = -1;
  #notBeforeMs = 0;

  constructor(parts: CarriedRequestsParts) {
    this.#parts = parts;
  }

  /** Offers one, when its time has come. */
  tick(): void {
    const { approval, administration, now, offer } = this.#parts;
    const state = administration.appended;
    if (approval === undefined || state === undefined) return;
    if (state !== this.#seen) {
      this.#seen = state;
      this.#place = approval.findIndex((message) => this.#holds(message));
    } else if (now() < this.#notBeforeMs) return;
    const message = approval[this.#place];
    if (message === undefined || !offer(message)) return;
    this.#notBeforeMs = now() + CARRIED_INTERVAL_MS;
    this.#place = (this.#place + 1) % approval.length;
  }

  #holds(message: SignedMessage): boolean {
    try {
      this.#parts.administration.check(message, this.#parts.sealing.batchTime());
      return true;
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
      return false;
    }
  }
}
