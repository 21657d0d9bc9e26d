/** Constitutions and actions for tests of governance: a network of three members, a participant and four nodes. */
import assert from "node:assert/strict";
import { CocoError } from "../../src/errors.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { constitutionOf, GOVERNANCE_CRYPTO, signerOfMember, tupleOf } from "./governed-network.ts";
import { simulatedCertificate, simulatedEvidence, simulatedMachineKey } from "../simulation/simulated-crypto.ts";
import { fromHex, toHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { readActions } from "../../src/core/governance/action-codec.ts";
import type { ActionContext } from "../../src/core/governance/action-kind.ts";
import { applyActions, type ActionEffect } from "../../src/core/governance/actions.ts";
import { nodeEntryTree } from "../../src/core/governance/constitution-codec.ts";
import { teeEntryTree } from "../../src/core/governance/manifest-codec.ts";
import type { Constitution, NodeEntry, NodeTuple } from "../../src/core/governance/constitution.ts";
import type { VirtualTeeEntry } from "../../src/core/governance/manifest-entries.ts";
import { treeToJson } from "../../src/core/governance/fields.ts";
import type { AttestedNode, CertificateDescription } from "../../src/core/governance/governance-crypto.ts";
import type { JsonValue } from "../../src/core/governance/json-value.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import { pemOfDer } from "../../src/core/governance/pem.ts";
import { remedyOf } from "../../src/core/governance/refusal.ts";
import type { SettingsChange } from "../../src/core/governance/settings.ts";

/** The ledger's time in these tests. */
export const NOW_MS = Date.UTC(2030, 0, 15);
/** A day in milliseconds. */
export const DAY_MS = 86_400_000;
/** Code of the genesis constitution. */
export const GENESIS_CODE = constitutionOf([0]).codeManifest[0]?.measurement ?? "";
/** Other code. */
export const NEW_CODE = "22".repeat(32);

/** The certificate of an actor, or of its second key. */
export function derOf(name: string): Bytes {
  return simulatedCertificate(sha256(utf8Encode(name)));
}

/** The same in PEM. */
export function pemOf(name: string): string {
  return pemOfDer(derOf(name), "CERTIFICATE");
}

/** A list of revoked certificates, signed by that certificate. */
export function revocationsOf(name: string): string {
  return pemOfDer(derOf(name), "X509 CRL");
}

/** Lower-case hex SHA-256 of a certificate. */
export function fingerprintOf(name: string): string {
  return Buffer.from(sha256(derOf(name))).toString("hex");
}

/** A machine. */
export function machineOf(name: string): VirtualTeeEntry {
  return { tee: "virtual", machineKey: simulatedMachineKey(sha256(utf8Encode(name))), note: `machine ${name}` };
}

/** Members acme, globex and initech own nodes 0, 1 and 2; the participant umbrella owns node 3. */
export function consortium(settings: SettingsChange = {}): Constitution {
  const founded = constitutionOf([0, 1, 2], settings);
  const participant = {
    id: "umbrella",
    name: "Umbrella",
    role: "participant",
    certificates: [derOf("umbrella")],
    revocations: [],
  } as const;
  return {
    ...founded,
    network: { ...founded.network, open: false },
    actors: [...founded.actors, participant],
    nodes: [...founded.nodes, nodeOf(3, "umbrella")],
    adapters: [{ id: 1, name: "kv", version: "0", mount: "/kv", options: { deep: [1, { a: null }] } }],
  };
}

/** An entry of the VN list, signed by its owner's key. */
export function nodeOf(at: number, owner: string, change: Partial<NodeTuple> = {}): NodeEntry {
  return signNodeTuple("governed", { ...tupleOf(at), ...change }, signerOfMember(owner));
}

/** The JSON form of a node's entry. */
export function nodeJson(at: number, owner: string, change: Partial<NodeTuple> = {}): JsonValue {
  return treeToJson(nodeEntryTree(nodeOf(at, owner, change)));
}

/** The JSON form of a machine. */
export function machineJson(name: string): JsonValue {
  return treeToJson(teeEntryTree(machineOf(name)));
}

/** One action as it stands in a proposal. */
export type ActionJson = readonly [name: string, args: JsonValue];

/** The payload of a proposal. */
export function payloadOf(...actions: readonly ActionJson[]): JsonValue {
  return { actions: actions.map(([name, args]) => ({ name, args })) };
}

/** What actions are judged by, unless a test says otherwise: no node is attested. */
export function contextOf(change: Partial<ActionContext> = {}): ActionContext {
  return { nowMs: NOW_MS, networkName: "governed", crypto: GOVERNANCE_CRYPTO, attested: new Map(), ...change };
}

/** A context in which certificates say something else of themselves. */
export function certifiedAs(change: Partial<CertificateDescription> | undefined): ActionContext {
  const describeCertificate = (der: Bytes): CertificateDescription | undefined => {
    const description = GOVERNANCE_CRYPTO.describeCertificate(der);
    return change === undefined || description === undefined ? undefined : { ...description, ...change };
  };
  return contextOf({ crypto: { ...GOVERNANCE_CRYPTO, describeCertificate } });
}

/** What is recorded of a node that runs this code on this machine. */
export function attestedNode(
  measurement: string,
  machineKey: Bytes,
  reportData: Bytes = new Uint8Array(64),
): AttestedNode {
  const evidence = simulatedEvidence(machineKey, fromHex(measurement), reportData);
  return { tee: "virtual", measurement, platform: toHex(machineKey), evidence, reportData, attestedAtMs: NOW_MS };
}

/** A context in which nodes run this code on this machine. */
export function running(nodes: readonly number[], measurement: string, machine = "machine"): ActionContext {
  const node = attestedNode(measurement, machineOf(machine).machineKey);
  return contextOf({ attested: new Map(nodes.map((at) => [tupleOf(at).nodeId, node])) });
}

/** Reads actions from JSON and applies them. */
export function applyJson(
  constitution: Constitution,
  actions: readonly ActionJson[],
  context: ActionContext = contextOf(),
): ActionEffect {
  return applyActions(constitution, readActions(payloadOf(...actions)), context);
}

/** Asserts that it is refused for this reason, by the action of this number, with something to do about it. */
export function assertRefused(run: () => unknown, reason: string, action = 0): CocoError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "ProposalInvalid", error.message);
    assert.equal(error.data["reason"], reason, error.message);
    assert.equal(error.data["action"], action, error.message);
    assert.ok(remedyOf(error).length > 10 && remedyOf(error) !== error.remedy, "a refusal has a remedy of its own");
    return error;
  }
  assert.fail(`not refused: ${reason}`);
}
