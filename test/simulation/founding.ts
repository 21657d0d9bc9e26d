/**
 * The founding of a simulated network: a constitution with deterministic keys, signed and checked by the real code of
 * governance, and the transactions it begins with.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { encodeAdministrative, type EpochRecord } from "../../src/core/governance/administrative.ts";
import {
  type CodeApproval,
  proposalDigest,
  signBallot,
  signCodeProposal,
} from "../../src/core/governance/code-approval.ts";
import {
  constitutionDigest,
  decodeConstitution,
  encodeConstitution,
} from "../../src/core/governance/constitution-codec.ts";
import { verifyConstitution } from "../../src/core/governance/constitution-verify.ts";
import {
  type Constitution,
  DEFAULT_SETTINGS,
  type NetworkSettings,
  type NodeTuple,
} from "../../src/core/governance/constitution.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { CocoError } from "../../src/errors.ts";
import { cheapHash } from "./cheap-hash.ts";
import {
  simulatedCertificate,
  simulatedCrypto,
  simulatedGovernanceCrypto,
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
  readonly governanceCrypto: GovernanceCrypto;
  /** The `Crypto` port of a listed node, by its place in the constitution. */
  cryptoOf(place: number): Crypto;
  readonly networkId: string;
  /** Transactions of the first batch; `random` makes the epoch key. */
  firstTransactions(random: (length: number) => Bytes): Bytes[];
  /** The members' approval of another code. */
  readonly approval: CodeApproval;
  /** The key of an epoch as a node opens it. */
  openEpoch(record: EpochRecord, nodeId: NodeId): Bytes;
}

const OWNER = "owner";
const NETWORK_NAME = "simulated";

const keyOf = (name: string): Bytes => cheapHash(utf8Encode(name));

/** The cryptography of a network's nodes: what they hash with, and the keys of each. */
export interface NodeCryptography {
  readonly hash: (data: Bytes) => Bytes;
  publicKey(place: number): Bytes;
  crypto(place: number): Crypto;
}

/** Cheap cryptography, as most seeds have it. */
export const CHEAP_CRYPTOGRAPHY: NodeCryptography = {
  hash: cheapHash,
  publicKey: (place) => keyOf(`public key ${place}`),
  crypto: (place) => simulatedCrypto(keyOf(`public key ${place}`)),
};

function tupleOf(at: number, { publicKey: publicKeyOf, hash }: NodeCryptography): NodeTuple {
  const publicKey = publicKeyOf(at);
  return {
    nodeId: toHex(hash(publicKey)),
    address: `node${at}.test:1`,
    clientAddress: `node${at}.test:2`,
    publicKey,
    encryptionKey: keyOf(`encryption key ${at}`),
  };
}

function genesisOf(
  nodeCount: number,
  settings: Partial<NetworkSettings>,
  cryptography: NodeCryptography,
): Constitution {
  const ownerKey = keyOf(OWNER);
  const owner = { actor: OWNER, sign: simulatedSigner(ownerKey) };
  return {
    version: 1,
    network: { name: NETWORK_NAME },
    members: [{ id: OWNER, name: "Owner", role: "member", certificate: simulatedCertificate(ownerKey) }],
    nodes: Array.from({ length: nodeCount }, (_, at) => signNodeTuple(NETWORK_NAME, tupleOf(at, cryptography), owner)),
    codeManifest: [{ measurement: toHex(keyOf("code")), name: "coco-framework", version: "0" }],
    teeManifest: [{ tee: "virtual", machineKey: keyOf("machine"), note: "simulated" }],
    policies: { approveCode: { type: "majority" } },
    settings: { ...DEFAULT_SETTINGS, ...settings },
    adapters: [{ id: KV_ADAPTER_ID, name: "kv", version: "0", mount: KV_MOUNT, options: {} }],
  };
}

function approvalFor(constitution: Constitution, crypto: GovernanceCrypto): CodeApproval {
  const owner = { actor: OWNER, sign: simulatedSigner(keyOf(OWNER)) };
  const digest = constitutionDigest(constitution, crypto.sha256);
  const proposal = signCodeProposal(
    {
      action: "approve_code",
      networkId: toHex(digest),
      constitutionVersion: constitution.version,
      constitutionDigest: digest,
      measurement: toHex(keyOf("other code")),
      name: "coco-framework",
      version: "1",
    },
    owner,
  );
  const ballot = signBallot({ proposal: proposalDigest(proposal, crypto), vote: "for" }, owner);
  return { proposal, ballots: [ballot] };
}

/** Founds a network of `nodeCount` nodes. */
export function foundNetwork(
  nodeCount: number,
  settings: Partial<NetworkSettings>,
  cryptography: NodeCryptography = CHEAP_CRYPTOGRAPHY,
): Founded {
  const governanceCrypto = simulatedGovernanceCrypto(cryptography.hash);
  const constitution = decodeConstitution(encodeConstitution(genesisOf(nodeCount, settings, cryptography)));
  verifyConstitution(constitution, governanceCrypto);
  const networkId = toHex(constitutionDigest(constitution, cryptography.hash));
  return {
    constitution,
    governanceCrypto,
    cryptoOf: (place) => cryptography.crypto(place),
    approval: approvalFor(constitution, governanceCrypto),
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
