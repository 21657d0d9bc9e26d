/**
 * Founding a network (R11): owners sign the entries of their nodes, and anyone assembles the genesis constitution from
 * them. Whoever assembles it gains nothing: each founder compares the network id before starting a node with it.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { utf8Decode } from "../core/codec/bytes.ts";
import {
  constitutionFromJson,
  constitutionToJson,
  nodeEntryTree,
  readNodeEntry,
} from "../core/governance/constitution-codec.ts";
import { readTeeEntry, teeEntryTree } from "../core/governance/manifest-codec.ts";
import {
  DEFAULT_POLICIES,
  MAX_CONSTITUTION_JSON_LENGTH,
  type Actor,
  type AdapterEntry,
  type Constitution,
  type NodeEntry,
} from "../core/governance/constitution.ts";
import { type CodeEntry, teeKey, type TeeEntry } from "../core/governance/manifest-entries.ts";
import { verifyConstitution } from "../core/governance/constitution-verify.ts";
import { treeToJson } from "../core/governance/fields.ts";
import type { Signer } from "../core/governance/governance-crypto.ts";
import { signNodeTuple } from "../core/governance/node-entry.ts";
import { derOfPem } from "../core/governance/pem.ts";
import type { VotingPolicies } from "../core/governance/policy.ts";
import { settingsWith, type SettingsChange } from "../core/governance/settings.ts";
import { createActorSigner, createGovernanceCrypto } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { readConfigurationFile } from "./files.ts";
import { readJsonFile, type NodeRequest } from "./node-folder.ts";

/** A node's entry as its owner signed it, with its machine for the TEE manifest. */
export interface SignedNode {
  readonly entry: NodeEntry;
  readonly tee: TeeEntry;
}

/** A founder, with its certificate in PEM. */
export interface Founder extends Pick<Actor, "id" | "name" | "role"> {
  readonly certificate: string;
}

/** What a genesis constitution is assembled from. */
export interface GenesisParts {
  readonly networkName: string;
  readonly actors: readonly Founder[];
  readonly nodes: readonly SignedNode[];
  readonly codeManifest: readonly CodeEntry[];
  /** Hardware that counts beside the nodes' machines. */
  readonly hardware?: readonly TeeEntry[];
  readonly adapters: readonly AdapterEntry[];
  /** As {@link settingsWith} completes them. */
  readonly settings?: SettingsChange;
  /** {@link DEFAULT_POLICIES} unless given. */
  readonly policies?: VotingPolicies;
  readonly script?: string;
  /** True unless given. */
  readonly open?: boolean;
}

/** A signer over a private key in PEM, on P-256 or P-384. Throws `ConfigurationInvalid` without a word of the key. */
export function signerOf(actor: string, privateKeyPem: string): Signer {
  let key: KeyObject;
  try {
    key = createPrivateKey(privateKeyPem);
  } catch {
    throw new CocoError("ConfigurationInvalid", `private key of ${actor}: expected PEM`);
  }
  return { actor, ...createActorSigner(key) };
}

/** Signs a node's request as its owner, for the network of this name. */
export function signNodeEntry(
  request: NodeRequest,
  memberKeyPem: string,
  memberId: string,
  networkName: string,
): SignedNode {
  return { entry: signNodeTuple(networkName, request, signerOf(memberId, memberKeyPem)), tee: request.tee };
}

/** The JSON form of a signed node, for its way to whoever assembles the genesis constitution. */
export function signedNodeToJson(node: SignedNode): string {
  return `${JSON.stringify(treeToJson({ entry: nodeEntryTree(node.entry), tee: teeEntryTree(node.tee) }), undefined, 2)}\n`;
}

/** Reads a file of {@link signedNodeToJson}; throws `ConfigurationInvalid` with file and field. */
export function readSignedNode(file: string): Promise<SignedNode> {
  return readJsonFile(file, (fields) => ({
    entry: fields.record("entry", readNodeEntry),
    tee: fields.record("tee", readTeeEntry),
  }));
}

/** Assembles and checks a genesis constitution; throws `ConstitutionInvalid` with the field. Written by `constitutionToJson`. */
export function assembleGenesis(parts: GenesisParts): Constitution {
  const constitution: Constitution = {
    version: 1,
    network: { name: parts.networkName, open: parts.open ?? true },
    actors: parts.actors.map(readFounder),
    nodes: parts.nodes.map((node) => node.entry),
    codeManifest: parts.codeManifest,
    teeManifest: [...teeManifestOf(parts.nodes), ...(parts.hardware ?? [])],
    policies: parts.policies ?? DEFAULT_POLICIES,
    ...(parts.script !== undefined && { script: parts.script }),
    settings: settingsWith(parts.settings ?? {}),
    adapters: parts.adapters,
  };
  // Read back as every founder will read it, so that what is handed out holds.
  const checked = constitutionFromJson(constitutionToJson(constitution));
  verifyConstitution(checked, createGovernanceCrypto());
  return checked;
}

function readFounder(founder: Founder, at: number): Actor {
  const certificate = derOfPem(founder.certificate, "CERTIFICATE");
  const { id, name, role } = founder;
  if (certificate !== undefined) return { id, name, role, certificates: [certificate], revocations: [] };
  const field = `actors[${at}].certificates[0]`;
  throw new CocoError("ConstitutionInvalid", `${field}: expected one certificate in PEM`, { field });
}

/** One entry per machine or policy: nodes of one machine share its key, nodes on hardware what is accepted of it. */
function teeManifestOf(nodes: readonly SignedNode[]): TeeEntry[] {
  const machines = new Map<string, TeeEntry>();
  for (const { tee } of nodes) {
    const key = teeKey(tee);
    const known = machines.get(key);
    if (known === undefined) machines.set(key, tee);
    else if (policyOf(known) !== policyOf(tee))
      throw new CocoError("ConstitutionInvalid", `teeManifest: nodes ask for different policies under the name ${key}`);
  }
  return [...machines.values()];
}

function policyOf(entry: TeeEntry): string {
  return entry.tee === "virtual" ? "" : JSON.stringify(treeToJson({ ...teeEntryTree(entry), note: "" }));
}

/** Reads and verifies a constitution file (`genesis.json`). Throws `ConfigurationInvalid` or `ConstitutionInvalid`. */
export async function readConstitutionFile(file: string): Promise<Constitution> {
  const content = await readConfigurationFile(file, MAX_CONSTITUTION_JSON_LENGTH);
  let text: string;
  try {
    text = utf8Decode(content);
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: not UTF-8`, { file }, { cause: error });
  }
  const constitution = constitutionFromJson(text);
  verifyConstitution(constitution, createGovernanceCrypto());
  return constitution;
}
