/**
 * Requests that members signed before and that this node carries: the approval of its code. Whichever node carries them, they
 * go to the leader as if a member sent them here. A node with code that is not approved yet may never lead: where nodes hold
 * leases it cannot renew its own, and is quarantined until the approval that only it has is in the ledger.
 */
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { GovernanceRequests } from "./governance-requests.ts";

/** Time after which a carried request that was refused is tried again, if the ledger says nothing new meanwhile. */
export const CARRIED_RETRY_MS = 5_000;

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
  readonly submit: GovernanceRequests["submit"];
}

/** See the module's header. */
export class CarriedRequests {
  readonly #parts: CarriedRequestsParts;
  #underWay = false;
  /** The state for which none of them holds. */
  #idleFor: CarriedRequestsParts["administration"]["appended"];
  #notBeforeMs = 0;

  constructor(parts: CarriedRequestsParts) {
    this.#parts = parts;
  }

  /** Sends the first one that holds now, one at a time. */
  tick(): void {
    const { approval, administration, now, submit } = this.#parts;
    const state = administration.appended;
    const hasNews = state !== undefined && state !== this.#idleFor;
    if (approval === undefined || this.#underWay || !hasNews || now() < this.#notBeforeMs) return;
    const next = approval.find((message) => this.#holds(message));
    if (next === undefined) {
      this.#idleFor = state;
      return;
    }
    this.#underWay = true;
    submit(next, (answer) => {
      this.#underWay = false;
      if (answer.type === "refused") this.#notBeforeMs = now() + CARRIED_RETRY_MS;
    });
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
