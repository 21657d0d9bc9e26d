/** What a node knows of who leads. */
import type { NodeId } from "../../core/consensus/types.ts";

/** Who leads, as far as this node knows. */
export interface Leadership {
  readonly leader: NodeId | undefined;
  readonly term: number;
  /** This node leads. */
  readonly leads: boolean;
  /** This node leads and executes. */
  readonly serving: boolean;
}
