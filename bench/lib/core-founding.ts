/** The founding of a network of in-process nodes: real keys, real certificates, a constitution that verifies. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { encodeVirtualEvidence } from "../../src/attestation/virtual.ts";
import { toHex } from "../../src/core/codec/bytes.ts";
import { constitutionDigest } from "../../src/core/governance/constitution-codec.ts";
import type { Constitution } from "../../src/core/governance/constitution.ts";
import type { SettingsChange } from "../../src/core/governance/settings.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { createSignFunction, nodeEntropy, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { encryptionKeyFromSeed, rawEncryptionKey } from "../../src/enclave/manager/key-wrapping.ts";
import { assembleGenesis, type Founder, signNodeEntry } from "../../src/host/genesis.ts";
import type { NodeRequest } from "../../src/host/node-folder.ts";
import { CORE_ADAPTER_ID, CORE_MOUNT } from "./core-adapter.ts";

const DAY_MS = 86_400_000;
const NETWORK_NAME = "bench";
const OWNER = "owner";
const MEASUREMENT = "11".repeat(32);

/** A node's keys. */
export interface FoundedNode {
  readonly nodeId: string;
  readonly signingKey: KeyObject;
  readonly decryptionKey: KeyObject;
}

/** A network before its first node starts. */
export interface FoundedNetwork {
  readonly constitution: Constitution;
  /** Hex, 32 bytes. */
  readonly networkId: string;
  readonly nodes: readonly FoundedNode[];
  /** Evidence of the code all nodes run. */
  readonly attest: (reportData: Uint8Array) => Uint8Array;
}

function makeOwner(): { readonly founder: Founder; readonly privateKey: string } {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 365, entropy: nodeEntropy };
  const certificate = createOrganisationCertificate({ commonName: OWNER, organisation: "Bench" }, privateKey, issuance);
  return { founder: { id: OWNER, name: "Owner", role: "member", certificate }, privateKey };
}

function makeRequest(
  at: number,
  machineKey: Uint8Array,
): { readonly node: FoundedNode; readonly request: NodeRequest } {
  const { publicKey: key, privateKey: signingKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const decryptionKey = encryptionKeyFromSeed(nodeEntropy.bytes(32));
  const nodeId = toHex(sha256(publicKey));
  const request: NodeRequest = {
    nodeId,
    address: `127.0.0.1:${7000 + at}`,
    clientAddress: `127.0.0.1:${8000 + at}`,
    publicKey,
    encryptionKey: rawEncryptionKey(decryptionKey),
    tee: { tee: "virtual", machineKey, note: "benchmark" },
  };
  return { node: { nodeId, signingKey, decryptionKey }, request };
}

/** Founds a network of `count` nodes with these settings; one node runs `solo`. */
export function foundCoreNetwork(count: number, settings: SettingsChange): FoundedNetwork {
  const { founder, privateKey } = makeOwner();
  const machine = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const machineKey = new Uint8Array(machine.publicKey.export({ type: "spki", format: "der" }));
  const made = Array.from({ length: count }, (_, at) => makeRequest(at, machineKey));
  const constitution = assembleGenesis({
    networkName: NETWORK_NAME,
    actors: [founder],
    nodes: made.map(({ request }) => signNodeEntry(request, privateKey, OWNER, NETWORK_NAME)),
    codeManifest: [{ measurement: MEASUREMENT, name: "coco-framework", version: "0" }],
    adapters: [{ id: CORE_ADAPTER_ID, name: "kv", version: "0", mount: CORE_MOUNT, options: {} }],
    settings: { consensus: count === 1 ? "solo" : "raft", ...settings },
  });
  const networkId = toHex(constitutionDigest(constitution, sha256));
  const sign = createSignFunction(machine.privateKey);
  const attest: FoundedNetwork["attest"] = (reportData) =>
    encodeVirtualEvidence({ measurement: MEASUREMENT, reportData, machineKey }, sign);
  return { constitution, networkId, nodes: made.map(({ node }) => node), attest };
}
