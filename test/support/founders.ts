/**
 * Founders, nodes and genesis constitutions for tests, with real keys and certificates.
 */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { toHex, type Bytes } from "../../src/core/codec/bytes.ts";
import type { Actor, Constitution } from "../../src/core/governance/constitution.ts";
import type { CodeEntry } from "../../src/core/governance/manifest-entries.ts";
import { constitutionDigest } from "../../src/core/governance/constitution-codec.ts";
import type { Signer } from "../../src/core/governance/governance-crypto.ts";
import {
  createOrganisationCertificate,
  generateKeyPairPem,
  type Issuer,
} from "../../src/enclave/manager/certificates.ts";
import { createSignFunction, nodeEntropy, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { encryptionKeyFromSeed, rawEncryptionKey } from "../../src/enclave/manager/key-wrapping.ts";
import { assembleGenesis, signerOf, signNodeEntry, type Founder, type SignedNode } from "../../src/host/genesis.ts";
import { readRequestSigner } from "../../src/host/request-signer.ts";
import type { RequestSigner } from "../../src/core/governance/request-signing.ts";
import type { NodeRequest } from "../../src/host/node-folder.ts";

/** Wall time at which test certificates start. */
export const TEST_TIME_MS = Date.UTC(2030, 0, 1);

/** An organisation with its private key. */
export interface TestFounder {
  readonly founder: Founder;
  readonly issuer: Issuer;
  readonly signer: Signer;
  /** Signs governance requests. */
  readonly requestSigner: RequestSigner;
}

/** A machine of the virtual TEE. */
export interface TestMachine {
  readonly machineKey: Bytes;
  readonly sign: (data: Bytes) => Bytes;
}

/** A node's request with the keys behind it. */
export interface TestNode {
  readonly request: NodeRequest;
  readonly privateKey: KeyObject;
  readonly decryptionKey: KeyObject;
}

/** A founded network. */
export interface TestNetwork {
  readonly founders: readonly TestFounder[];
  readonly nodes: readonly TestNode[];
  readonly signedNodes: readonly SignedNode[];
  readonly machine: TestMachine;
  readonly constitution: Constitution;
  readonly networkId: string;
  readonly digest: Bytes;
}

/** Measurement every test network approves. */
export const TEST_CODE: CodeEntry = { measurement: "11".repeat(32), name: "coco-framework", version: "0.1.0" };

/** Makes an organisation with a CA certificate. */
export function makeFounder(id: string, role: Actor["role"] = "member"): TestFounder {
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: TEST_TIME_MS, days: 365, entropy: nodeEntropy };
  const certificate = createOrganisationCertificate({ commonName: id, organisation: "Test" }, privateKey, issuance);
  return {
    founder: { id, name: `Organisation ${id}`, role, certificate },
    issuer: { certificate, privateKey },
    signer: signerOf(id, privateKey),
    requestSigner: readRequestSigner(certificate, privateKey),
  };
}

/** Makes the machine key of a virtual TEE in memory. */
export function makeMachine(): TestMachine {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const machineKey = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
  return { machineKey, sign: createSignFunction(privateKey) };
}

/** Makes a node's keys and its request; `at` chooses its ports. */
export function makeNode(at: number, machine: TestMachine): TestNode {
  const { publicKey: key, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const decryptionKey = encryptionKeyFromSeed(nodeEntropy.bytes(32));
  const request: NodeRequest = {
    nodeId: toHex(sha256(publicKey)),
    address: `127.0.0.1:${7000 + at}`,
    clientAddress: `127.0.0.1:${8000 + at}`,
    publicKey,
    encryptionKey: rawEncryptionKey(decryptionKey),
    tee: { tee: "virtual", machineKey: machine.machineKey, note: "test machine" },
  };
  return { request, privateKey, decryptionKey };
}

/** Founds a network of `members` members (member1, member2, ...), one participant, and `nodes` nodes owned by them in turn. */
export function foundNetwork(members = 3, nodes = 3, networkName = "test"): TestNetwork {
  const founders = Array.from({ length: members }, (_, at) => makeFounder(`member${at + 1}`));
  founders.push(makeFounder("participant1", "participant"));
  const machine = makeMachine();
  const testNodes = Array.from({ length: nodes }, (_, at) => makeNode(at, machine));
  const signedNodes = testNodes.map(({ request }, at) => {
    const owner = founders[at % members] as TestFounder;
    return signNodeEntry(request, owner.issuer.privateKey, owner.founder.id, networkName);
  });
  const constitution = assembleGenesis({
    networkName,
    actors: founders.map(({ founder }) => founder),
    nodes: signedNodes,
    codeManifest: [TEST_CODE],
    adapters: [
      { id: 1, name: "ethereum", version: "0.1.0", mount: "/eth", options: { chainId: 1337, forks: ["cancun"] } },
    ],
  });
  const digest = constitutionDigest(constitution, sha256);
  return { founders, nodes: testNodes, signedNodes, machine, constitution, networkId: toHex(digest), digest };
}
