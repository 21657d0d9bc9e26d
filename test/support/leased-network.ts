/** Networks whose nodes hold leases, with the machine and the code that their evidence is of. */
import assert from "node:assert/strict";
import { fromHex } from "../../src/core/codec/bytes.ts";
import { attestChallenge, attestReportData } from "../../src/core/governance/attest.ts";
import { challengeIsDue } from "../../src/core/governance/challenges.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { simulatedEvidence } from "../simulation/simulated-crypto.ts";
import { constitutionOf, GovernedNetwork, idOf, tupleOf } from "./governed-network.ts";

/** Length of a lease. */
export const LEASE_MS = 60_000;
const { codeManifest, teeManifest } = constitutionOf([0]);
/** Measurement of the code. */
export const CODE = fromHex(codeManifest[0]?.measurement ?? assert.fail());
/** Key of the machine. */
export const MACHINE = teeManifest[0]?.tee === "virtual" ? teeManifest[0].machineKey : assert.fail();

/** A node's attestation for the newest challenge, a young one. */
export function attestOf(network: GovernedNetwork, at: number) {
  if (challengeIsDue(network.state, network.place.timeMs)) network.execute({ type: "challenge" });
  const { state } = network;
  const challenge = attestChallenge(state, idOf(at), sha256) ?? assert.fail("no epoch");
  const reportData = attestReportData(state.networkId, tupleOf(at), challenge, sha256);
  return {
    type: "attest",
    nodeId: idOf(at),
    challenge,
    evidence: simulatedEvidence(MACHINE, CODE, reportData),
  } as const;
}

/** Nodes that have just begun their leases. */
export function leasedNetwork(nodes: readonly number[], leaseMs = LEASE_MS): GovernedNetwork {
  const network = new GovernedNetwork(nodes, { leaseMs, epoch: { lengthMs: 0 } });
  for (const at of nodes) network.execute(attestOf(network, at));
  return network;
}

/** Time passes, by the ledger's clock. */
export function pass(network: GovernedNetwork, ms: number): void {
  network.place = { ...network.place, timeMs: network.place.timeMs + ms };
}

/** Three nodes, of which the last has not renewed its lease when it ended. */
export function lapsedNetwork(): GovernedNetwork {
  const network = leasedNetwork([0, 1, 2]);
  pass(network, LEASE_MS / 2);
  for (const at of [0, 1]) network.execute(attestOf(network, at));
  pass(network, LEASE_MS / 2);
  return network;
}
