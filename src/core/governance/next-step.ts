/**
 * What governance wants done next. Votes say where the network is to be; how it gets there, in which steps and in which
 * order, follows from the committed state alone, so that any leader goes on where the one before stopped.
 */
import { sameNodes, sameVoterSet } from "../consensus/configuration.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import type { GovernanceState } from "./administrative.ts";
import { jointConfiguration, listedNodes, newcomers, voterSetOf } from "./configuration.ts";
import { epochIsDue, epochProgress, missingEpochs } from "./epochs.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { dueExpulsion } from "./expulsion.ts";

/** One administrative transaction that a leader should propose. */
export type GovernanceStep =
  | { readonly type: "configure"; readonly configuration: Configuration }
  | { readonly type: "epoch" }
  /** Nodes whose code or machine is not in force any more. */
  | { readonly type: "expel"; readonly nodeIds: readonly NodeId[] }
  /** Keys of these epochs for this node. */
  | { readonly type: "grant"; readonly nodeId: NodeId; readonly epochs: readonly number[] };

/** What the leader knows beside the state. */
export interface LeaderView {
  /** Wall clock that a batch made now would have, milliseconds since 1970. */
  readonly now: number;
  /** Sequence number that comes next. */
  readonly nextSeqno: number;
  /** Whether every learner holds nearly the whole log; said of the learners of the committed configuration. */
  readonly learnersCaughtUp: boolean;
}

/**
 * The next step from a committed state; undefined when there is nothing to do now. The caller proposes it alone, and asks
 * again when it is committed. Order: a joint configuration ends first, because two quorums are harder to get than one;
 * then who is to be expelled is, and who was voted out loses its vote; then the key changes, which must not happen before; then newcomers.
 */
export function nextStep(
  state: GovernanceState,
  view: LeaderView,
  crypto: Pick<GovernanceCrypto, "appraise">,
): GovernanceStep | undefined {
  const { configuration } = state;
  if (configuration.previous !== undefined)
    return { type: "configure", configuration: { current: configuration.current, previous: undefined, learners: [] } };
  const { expels } = dueExpulsion(state, view.now, crypto);
  if (expels.length > 0) return { type: "expel", nodeIds: expels };
  if (epochIsDue(state, epochProgress(state, view.now, view.nextSeqno))) return { type: "epoch" };
  return nextGrant(state) ?? nextConfiguration(state, view.learnersCaughtUp);
}

/** Keys come before votes: a newcomer without them could be elected and not read what it leads. */
function nextGrant(state: GovernanceState): GovernanceStep | undefined {
  for (const nodeId of listedNodes(state.constitution)) {
    const epochs = missingEpochs(state, nodeId);
    if (epochs.length > 0) return { type: "grant", nodeId, epochs };
  }
  return undefined;
}

function nextConfiguration(state: GovernanceState, learnersCaughtUp: boolean): GovernanceStep | undefined {
  const { configuration, constitution } = state;
  const { current, learners } = configuration;
  const joining = newcomers(configuration, constitution);
  if (!sameNodes(learners, joining))
    return { type: "configure", configuration: { current, previous: undefined, learners: joining } };
  if (sameVoterSet(current, voterSetOf(constitution))) return undefined;
  if (joining.length > 0 && !learnersCaughtUp) return undefined;
  return { type: "configure", configuration: jointConfiguration(configuration, constitution) };
}
