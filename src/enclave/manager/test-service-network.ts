/** A network with real keys as governance sees it, for tests of the keys its nodes share: no consensus and no ledger. */
import type { Bytes } from "../../core/codec/bytes.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../core/governance/administrative.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  type AdministrativeTransaction,
} from "../../core/governance/administrative-codec.ts";
import type { Action } from "../../core/governance/actions.ts";
import { agreedRequests } from "../../core/governance/agreed-requests.ts";
import { foundNetwork, TEST_TIME_MS, type TestFounder, type TestNode } from "../../../test/support/founders.ts";
import { votersOf } from "../../../test/support/governed-network.ts";
import { systemClock } from "../../host/system.ts";
import { createGovernanceCrypto, createNodeCrypto, nodeEntropy } from "./node-crypto.ts";
import { createEpoch, firstTransactions, openEpochKey, ServiceIdentity } from "./service-keys.ts";

/** The network. */
export const network = foundNetwork(3, 3);
const { constitution, networkId } = network;
const governanceCrypto = createGovernanceCrypto();
const [node0] = network.nodes as readonly [TestNode];
/** Ports of its first node. */
export const ports = { crypto: createNodeCrypto(node0.privateKey), entropy: nodeEntropy, clock: systemClock };

/** The transactions it begins with. */
export const FIRST = firstTransactions(constitution, networkId, ports);
let place = placeAt(0);

/** The state after a transaction in a batch of its own. */
export function execute(state: GovernanceState | undefined, transaction: AdministrativeTransaction): GovernanceState {
  place = { ...place, index: place.index + 1, firstSeqno: place.firstSeqno + 2 };
  return executeAdministrative(state, decodeAdministrative(encodeAdministrative(transaction)), place, governanceCrypto);
}

/** Its state after them. */
export const started = FIRST.map(decodeAdministrative).reduce<GovernanceState | undefined>(
  execute,
  undefined,
) as GovernanceState;

/** Keys as a node opens them from a state; nothing is cached. */
export function keysOf(
  state: GovernanceState,
  { request, decryptionKey }: TestNode,
): (epoch: number) => Bytes | undefined {
  const node = { nodeId: request.nodeId, decryptionKey };
  return (epoch) => {
    const record = state.epochs[epoch - 1];
    return record && openEpochKey(record, networkId, node);
  };
}

/** The state after a proposal with the votes of two members. */
export function decide(state: GovernanceState, ...actions: readonly Action[]): GovernanceState {
  const [first, second] = network.founders as readonly [TestFounder, TestFounder];
  place = { ...place, timeMs: Math.max(place.timeMs, TEST_TIME_MS) + 1_000 };
  const requests = agreedRequests(state, actions, [first.requestSigner, second.requestSigner], {
    crypto: governanceCrypto,
    nowMs: place.timeMs,
  });
  return requests.reduce((after, message) => execute(after, { type: "request", ...message }), state);
}

/** The state after a vote for an epoch and the epoch that `maker` opens. */
export function nextEpoch(state: GovernanceState, maker: TestNode): GovernanceState {
  const voted = decide(state, { name: "open_epoch", args: {} });
  const service = new ServiceIdentity(voted, keysOf(voted, maker), ports);
  return execute(voted, createEpoch(voted, service, ports));
}

/** The state after the last node of the list was voted out and has lost its vote: an epoch is due. */
export function withoutLastNode(state: GovernanceState): GovernanceState {
  const { nodes } = state.constitution;
  const voted = decide(state, { name: "remove_node", args: { nodeId: nodes.at(-1)?.nodeId ?? "" } });
  const before = votersOf(nodes.map(({ nodeId }) => nodeId));
  const after = votersOf(before.voters.slice(0, -1));
  const joint = execute(voted, { type: "configure", current: after, previous: before, learners: [] });
  return execute(joint, { type: "configure", current: after, previous: undefined, learners: [] });
}
