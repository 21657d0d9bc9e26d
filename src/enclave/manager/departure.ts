/**
 * The end of a node's membership as the node itself sees it (R9, R15): from the vote on it serves no client; it goes on
 * voting, since the step that takes its vote may need it; then it ends, and says why.
 */
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { listedNodes, votersOf } from "../../core/governance/configuration.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Tracer } from "../ports.ts";

/** A node that was voted out and has heard of no leader for this long ends: the others have cut it off. */
export const DEPARTED_SILENCE_MS = 10_000;
/** Time between two looks whether there is a leader. */
const SILENCE_LOOK_MS = 1_000;
/** Time in which clients of a node that was voted out get their last answers. */
export const LAST_ANSWERS_MS = 100;

/** What it is made of. */
export interface DepartureParts {
  readonly nodeId: NodeId;
  /** Version of the newest constitution this node knows, its log apart: while the log is older it says nothing. */
  readonly knownVersion: number;
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly hearsLeader: () => boolean;
  /** Clients are served no more. */
  readonly stopServing: () => void;
  readonly onFatal: (error: CocoError) => void;
}

/** See the module's header. */
export class Departure {
  readonly #parts: DepartureParts;
  #isLeaving = false;
  #closed = false;

  constructor(parts: DepartureParts) {
    this.#parts = parts;
  }

  /** Looks at the governance state in effect. */
  follow({ constitution, configuration }: GovernanceState): void {
    const { nodeId, knownVersion, clock, tracer, stopServing } = this.#parts;
    if (constitution.version < knownVersion) return;
    if (listedNodes(constitution).includes(nodeId)) {
      this.#isLeaving = false;
      return;
    }
    if (!this.#isLeaving) {
      this.#isLeaving = true;
      const message = "the VN list does not hold this node any more: it serves no client, and ends without its vote";
      tracer.event("warn", "node_removed", { message, constitution: constitution.version });
      // The answer to the very vote may be on its way.
      clock.after(LAST_ANSWERS_MS, stopServing);
      this.#watchSilence();
    }
    if (!votersOf(configuration).includes(nodeId)) this.#end();
  }

  #watchSilence(): void {
    const { clock, hearsLeader } = this.#parts;
    let silentMs = 0;
    const look = (): void => {
      if (this.#closed || !this.#isLeaving) return;
      silentMs = hearsLeader() ? 0 : silentMs + SILENCE_LOOK_MS;
      if (silentMs >= DEPARTED_SILENCE_MS) this.#end();
      else clock.after(SILENCE_LOOK_MS, look);
    };
    clock.after(SILENCE_LOOK_MS, look);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    // Not from within the commit that brought it.
    this.#parts.clock.after(0, () =>
      this.#parts.onFatal(new CocoError("NodeRemoved", `node ${this.#parts.nodeId} was removed from the network`)),
    );
  }

  /** Looks no more. */
  close(): void {
    this.#closed = true;
  }
}
