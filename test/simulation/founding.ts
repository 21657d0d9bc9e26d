/**
 * The founding of a simulated network: a constitution with deterministic keys, signed and checked by the real code of
 * governance, and the transactions it begins with.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { encodeAdministrative, type EpochTransaction } from "../../src/core/governance/administrative.ts";
import {
  basisOf,
  type Decision,
  type Proposal,
  proposalDigest,
  signBallot,
  signProposal,
  type StandingConstitution,
} from "../../src/core/governance/decision.ts";
import { type EpochRecord, missingEpochs } from "../../src/core/governance/epochs.ts";
import { type SettingsChange, settingsWith } from "../../src/core/governance/settings.ts";
import type { EpochMaker } from "../../src/enclave/manager/leader-duties.ts";
import {
  constitutionDigest,
  decodeConstitution,
  encodeConstitution,
} from "../../src/core/governance/constitution-codec.ts";
import { verifyConstitution } from "../../src/core/governance/constitution-verify.ts";
import {
  type AdapterEntry,
  type Constitution,
  DEFAULT_POLICIES,
  type NodeEntry,
  type NodeTuple,
} from "../../src/core/governance/constitution.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { cheapHash } from "./cheap-hash.ts";
import {
  simulatedCertificate,
  simulatedCrypto,
  simulatedGovernanceCrypto,
  simulatedSigner,
  simulatedUnwrap,
  simulatedWrap,
} from "./simulated-crypto.ts";

/** Id of the only adapter of a simulated network. */
export const KV_ADAPTER_ID = 1;
/** The key-value adapter, which a simulated network has unless another one is named. */
export const KV_ENTRY: AdapterEntry = { id: KV_ADAPTER_ID, name: "kv", version: "0", mount: "/kv", options: {} };

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
  readonly approval: Decision;
  /** All machines that are or may become nodes of the network, signed by their owner; the first ones are listed at genesis. */
  readonly machines: readonly NodeEntry[];
  /** The members change the VN list to these machines. */
  changeNodes(standing: StandingConstitution, nodes: readonly NodeEntry[]): Decision;
  /** The members ask for a new epoch. */
  askForEpoch(standing: StandingConstitution): Decision;
  /** Makes epochs and grants on a node. */
  epochMaker(random: (length: number) => Bytes): EpochMaker;
  /** The key of an epoch as a node opens it; undefined when it is not wrapped to it, or does not open. */
  openEpoch(record: Pick<EpochRecord, "epoch" | "wraps">, nodeId: NodeId): Bytes | undefined;
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

function genesisOf(nodes: readonly NodeEntry[], settings: SettingsChange, adapter: AdapterEntry): Constitution {
  const ownerKey = keyOf(OWNER);
  return {
    version: 1,
    network: { name: NETWORK_NAME },
    members: [{ id: OWNER, name: "Owner", role: "member", certificate: simulatedCertificate(ownerKey) }],
    nodes,
    codeManifest: [{ measurement: toHex(keyOf("code")), name: "coco-framework", version: "0" }],
    teeManifest: [{ tee: "virtual", machineKey: keyOf("machine"), note: "simulated" }],
    policies: DEFAULT_POLICIES,
    settings: settingsWith(settings),
    adapters: [adapter],
  };
}

const owner = () => ({ actor: OWNER, sign: simulatedSigner(keyOf(OWNER)) });

function decisionOn(proposal: Proposal, crypto: GovernanceCrypto): Decision {
  const signed = signProposal(proposal, owner());
  return {
    proposal: signed,
    ballots: [signBallot({ proposal: proposalDigest(signed, crypto), vote: "for" }, owner())],
  };
}

/** How a network is founded. */
export interface FoundingOptions {
  /** Nodes listed at genesis. */
  readonly nodeCount: number;
  /** Machines that may become nodes, the listed ones included. */
  readonly machineCount?: number;
  readonly settings: SettingsChange;
  readonly cryptography?: NodeCryptography;
  readonly adapter?: AdapterEntry;
}

/** Founds a network. */
export function foundNetwork(options: FoundingOptions): Founded {
  const {
    nodeCount,
    machineCount = nodeCount,
    settings,
    cryptography = CHEAP_CRYPTOGRAPHY,
    adapter = KV_ENTRY,
  } = options;
  const governanceCrypto = simulatedGovernanceCrypto(cryptography.hash);
  const machines = Array.from({ length: machineCount }, (_, at) =>
    signNodeTuple(NETWORK_NAME, tupleOf(at, cryptography), owner()),
  );
  const constitution = decodeConstitution(
    encodeConstitution(genesisOf(machines.slice(0, nodeCount), settings, adapter)),
  );
  verifyConstitution(constitution, governanceCrypto);
  const constitutionDigestNow = constitutionDigest(constitution, cryptography.hash);
  const networkId = toHex(constitutionDigestNow);
  const genesis = { networkId, constitution, constitutionDigest: constitutionDigestNow };
  const serviceCertificate = simulatedCertificate(keyOf("service"));
  const encryptionKeyOf = (id: NodeId) =>
    machines.find(({ nodeId }) => nodeId === id)?.encryptionKey ?? keyOf("nobody");
  const newEpoch = (
    epoch: number,
    nodes: readonly NodeEntry[],
    random: (length: number) => Bytes,
  ): EpochTransaction => {
    const epochKey = random(32);
    const wraps = nodes.map(({ nodeId, encryptionKey }) => ({
      nodeId,
      wrapped: simulatedWrap(encryptionKey, epoch, epochKey),
    }));
    return { type: "epoch", epoch, wraps, serviceCertificate, sealedServiceKey: random(48) };
  };
  return {
    constitution,
    governanceCrypto,
    machines,
    cryptoOf: (place) => cryptography.crypto(place),
    approval: decisionOn(
      {
        action: "approve_code",
        ...basisOf(genesis),
        measurement: toHex(keyOf("other code")),
        name: "coco-framework",
        version: "1",
      },
      governanceCrypto,
    ),
    changeNodes: (standing, nodes) =>
      decisionOn({ action: "change_nodes", ...basisOf(standing), nodes }, governanceCrypto),
    askForEpoch: (standing) => decisionOn({ action: "open_epoch", ...basisOf(standing) }, governanceCrypto),
    networkId,
    firstTransactions: (random) => [
      encodeAdministrative({ type: "genesis", constitution }),
      encodeAdministrative(newEpoch(1, constitution.nodes, random)),
    ],
    epochMaker: (random) => ({
      epoch: (state) => newEpoch(state.epochs.length + 1, state.constitution.nodes, random),
      grant: (state, nodeId, keyOfEpoch) => {
        const keys = missingEpochs(state, nodeId).flatMap((epoch) => {
          const key = keyOfEpoch(epoch);
          return key === undefined ? [] : [{ epoch, wrapped: simulatedWrap(encryptionKeyOf(nodeId), epoch, key) }];
        });
        return keys.length === 0 ? undefined : { type: "grant", nodeId, keys };
      },
    }),
    openEpoch: (record, nodeId) => {
      const wrap = record.wraps.find((entry) => entry.nodeId === nodeId);
      return wrap && simulatedUnwrap(encryptionKeyOf(nodeId), record.epoch, wrap.wrapped);
    },
  };
}
