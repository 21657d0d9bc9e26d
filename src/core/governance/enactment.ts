/** What a change of the constitution brings about in the governance state: who leaves, whether keys and identity change. */
import type { HashFunction, Bytes } from "../codec/bytes.ts";
import type { NodeId } from "../consensus/types.ts";
import type { AttestationState } from "./attest.ts";
import { listedNodes } from "./configuration.ts";
import { constitutionDigest } from "./constitution-codec.ts";
import { MAX_NODES, type Constitution, type NodeEntry } from "./constitution.ts";
import { refused } from "./refusal.ts";
import type { SettledState } from "./settle.ts";
import type { VotingState } from "./vote-count.ts";

/** Most nodes that were removed and whose signatures still count, because no epoch was opened since. */
export const MAX_DEPARTING_NODES = 2 * MAX_NODES;

/** The part of the governance state that a new constitution changes. */
export interface EnactmentState extends Omit<VotingState, "attested">, Pick<AttestationState, "attested"> {
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
  readonly epochDue: boolean;
  readonly serviceRotationDue: boolean;
  readonly departing: readonly NodeEntry[];
}

/** The state with what a proposal or an expulsion has brought about, if it took effect. */
export function enacted<State extends EnactmentState>(
  { state, effect }: SettledState<State>,
  crypto: { readonly sha256: HashFunction },
): State {
  if (effect === undefined) return state;
  const { constitution, opensEpoch, rotatesService } = effect;
  const listed = new Set(listedNodes(constitution));
  const departing = [...state.departing, ...state.constitution.nodes].filter(({ nodeId }) => !listed.has(nodeId));
  if (departing.length > MAX_DEPARTING_NODES)
    throw refused("ChangeInProgress", "too many nodes were removed since the newest epoch was opened");
  return {
    ...state,
    constitution,
    constitutionDigest: constitutionDigest(constitution, crypto.sha256),
    epochDue: state.epochDue || opensEpoch || rotatesService,
    serviceRotationDue: state.serviceRotationDue || rotatesService,
    departing,
    attested: attestedOf(state.attested, listed),
  };
}

/** What is known of nodes that are listed; the same map when that is all there is. */
function attestedOf(
  attested: AttestationState["attested"],
  listed: ReadonlySet<NodeId>,
): AttestationState["attested"] {
  const kept = [...attested].filter(([nodeId]) => listed.has(nodeId));
  return kept.length === attested.size ? attested : new Map(kept);
}

