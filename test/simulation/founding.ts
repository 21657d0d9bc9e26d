/**
 * The founding of a simulated network: a constitution with deterministic keys, signed and checked by the real code of
 * governance, and the transactions it begins with.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { encodeAdministrative } from "../../src/core/governance/administrative.ts";
import {
  constitutionDigest,
  decodeConstitution,
  encodeConstitution,
} from "../../src/core/governance/constitution-codec.ts";
import { verifyConstitution } from "../../src/core/governance/constitution-verify.ts";
import { type Constitution, DEFAULT_POLICIES, type NodeTuple } from "../../src/core/governance/constitution.ts";
import {
  basisOf,
  type Decision,
  proposalDigest,
  signBallot,
  signProposal,
} from "../../src/core/governance/decision.ts";
import type { EpochRecord } from "../../src/core/governance/epochs.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import { type SettingsChange, settingsWith } from "../../src/core/governance/settings.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import {
  SIMULATED_GOVERNANCE_CRYPTO,
  simulatedCertificate,
  simulatedSigner,
  simulatedWrap,
} from "./simulated-crypto.ts";

/** Id of the only adapter of a simulated network. */
export const KV_ADAPTER_ID = 1;
/** Where it is mounted. */
export const KV_MOUNT = "/kv";

/** A simulated network before its first node starts. */
export interface Founded {
  readonly constitution: Constitution;
  readonly networkId: string;
  /** Transactions of the first batch; `random` makes the epoch key. */
  firstTransactions(random: (length: number) => Bytes): Bytes[];
  /** The members' approval of another code. */
  readonly approval: Decision;
  /** The key of an epoch as a node opens it. */
  openEpoch(record: Pick<EpochRecord, "epoch" | "wraps">, nodeId: NodeId): Bytes;
}

const OWNER = "owner";
const NETWORK_NAME = "simulated";

const keyOf = (name: string): Bytes => sha256(utf8Encode(name));

function tupleOf(at: number): NodeTuple {
  const publicKey = keyOf(`public key ${at}`);
  return {
    nodeId: toHex(sha256(publicKey)),
    address: `node${at}.test:1`,
    clientAddress: `node${at}.test:2`,
    publicKey,
    encryptionKey: keyOf(`encryption key ${at}`),
  };
}

function genesisOf(nodeCount: number, settings: SettingsChange): Constitution {
  const ownerKey = keyOf(OWNER);
  const owner = { actor: OWNER, sign: simulatedSigner(ownerKey) };
  return {
    version: 1,
    network: { name: NETWORK_NAME },
    members: [{ id: OWNER, name: "Owner", role: "member", certificate: simulatedCertificate(ownerKey) }],
    nodes: Array.from({ length: nodeCount }, (_, at) => signNodeTuple(NETWORK_NAME, tupleOf(at), owner)),
    codeManifest: [{ measurement: toHex(keyOf("code")), name: "coco-framework", version: "0" }],
    teeManifest: [{ tee: "virtual", machineKey: keyOf("machine"), note: "simulated" }],
    policies: DEFAULT_POLICIES,
    settings: settingsWith(settings),
    adapters: [{ id: KV_ADAPTER_ID, name: "kv", version: "0", mount: KV_MOUNT, options: {} }],
  };
}

function approvalFor(constitution: Constitution): Decision {
  const owner = { actor: OWNER, sign: simulatedSigner(keyOf(OWNER)) };
  const digest = constitutionDigest(constitution, sha256);
  const proposal = signProposal(
    {
      action: "approve_code",
      ...basisOf({ networkId: toHex(digest), constitution, constitutionDigest: digest }),
      measurement: toHex(keyOf("other code")),
      name: "coco-framework",
      version: "1",
    },
    owner,
  );
  const ballot = signBallot({ proposal: proposalDigest(proposal, SIMULATED_GOVERNANCE_CRYPTO), vote: "for" }, owner);
  return { proposal, ballots: [ballot] };
}

/** Founds a network of `nodeCount` nodes. */
export function foundNetwork(nodeCount: number, settings: SettingsChange): Founded {
  const constitution = decodeConstitution(encodeConstitution(genesisOf(nodeCount, settings)));
  verifyConstitution(constitution, SIMULATED_GOVERNANCE_CRYPTO);
  const networkId = toHex(constitutionDigest(constitution, sha256));
  return {
    constitution,
    approval: approvalFor(constitution),
    networkId,
    firstTransactions: (random) => {
      const epochKey = random(32);
      const wraps = constitution.nodes.map(({ nodeId, encryptionKey }) => ({
        nodeId,
        wrapped: simulatedWrap(encryptionKey, 1, epochKey),
      }));
      const serviceCertificate = simulatedCertificate(random(32));
      return [
        encodeAdministrative({ type: "genesis", constitution }),
        encodeAdministrative({ type: "epoch", epoch: 1, wraps, serviceCertificate, sealedServiceKey: random(48) }),
      ];
    },
    openEpoch: (record, nodeId) => {
      const wrap = record.wraps.find((entry) => entry.nodeId === nodeId);
      const node = constitution.nodes.find((entry) => entry.nodeId === nodeId);
      if (wrap === undefined || node === undefined) throw new CocoError("LedgerCorrupt", `no epoch key for ${nodeId}`);
      return simulatedWrap(node.encryptionKey, record.epoch, wrap.wrapped);
    },
  };
}
