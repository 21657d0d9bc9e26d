/**
 * The founding of a simulated network: a constitution with deterministic keys, signed and checked by the real code of
 * governance, and the transactions it begins with.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../src/core/governance/administrative.ts";
import { encodeAdministrative, type EpochTransaction } from "../../src/core/governance/administrative-codec.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { agreedRequests } from "../../src/core/governance/agreed-requests.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import type { RequestSigner } from "../../src/core/governance/request-signing.ts";
import { type EpochRecord, missingEpochs } from "../../src/core/governance/epochs.ts";
import { nodesInGoodStanding } from "../../src/core/governance/leases.ts";
import type { OfferedService } from "../../src/core/governance/service-chain.ts";
import { type SettingsChange, settingsWith } from "../../src/core/governance/settings.ts";
import type { EpochMaker } from "../../src/enclave/manager/leader-duties.ts";
import {
  constitutionDigest,
  decodeConstitution,
  encodeConstitution,
} from "../../src/core/governance/constitution-codec.ts";
import { verifyConstitution } from "../../src/core/governance/constitution-verify.ts";
import {
  type Actor,
  type AdapterEntry,
  type Constitution,
  DEFAULT_POLICIES,
  type NodeEntry,
  type NodeTuple,
} from "../../src/core/governance/constitution.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import type { Crypto } from "../../src/enclave/ports.ts";
import { nodeListActions } from "../support/node-list-actions.ts";
import { cheapHash } from "./cheap-hash.ts";
import {
  simulatedCertificate,
  simulatedService,
  simulatedCrypto,
  simulatedEvidence,
  simulatedGovernanceCrypto,
  simulatedMachineKey,
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
  /** Evidence of a machine of the network: of the code it was founded with, or of the one it was upgraded to. */
  attest(isUpgraded: boolean, reportData: Bytes): Bytes;
  /** The members' approval of the other code, for the state as it is; undefined when it is approved. */
  approve(state: GovernanceState | undefined, nowMs: number): readonly SignedMessage[] | undefined;
  /** All machines that are or may become nodes of the network, signed by their owner; the first ones are listed at genesis. */
  readonly machines: readonly NodeEntry[];
  /** The members change the VN list to these machines. */
  changeNodes(state: GovernanceState, nodes: readonly NodeEntry[], nowMs: number): readonly SignedMessage[];
  /** The members decide on any actions. */
  decide(state: GovernanceState, actions: readonly Action[], nowMs: number): readonly SignedMessage[];
  /** The members ask for a new epoch. */
  askForEpoch(state: GovernanceState, nowMs: number): readonly SignedMessage[];
  /** Makes epochs and grants on a node. */
  epochMaker(
    random: (length: number) => Bytes,
  ): Omit<EpochMaker, "epoch"> & { epoch(state: GovernanceState): EpochTransaction };
  /** The key of an epoch as a node opens it; undefined when it is not wrapped to it, or does not open. */
  openEpoch(record: Pick<EpochRecord, "epoch" | "wraps">, nodeId: NodeId): Bytes | undefined;
}

/** The only member of a simulated network, which owns its nodes. */
export const OWNER = "owner";
/** Its participants. */
export const GUESTS = ["guest1", "guest2", "guest3"] as const;
const NETWORK_NAME = "simulated";

const keyOf = (name: string): Bytes => cheapHash(utf8Encode(name));
const MACHINE_KEY = simulatedMachineKey(keyOf("machine"));

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

/** A participant as it is listed at first. */
export function guestActor(id: string): Actor {
  return { id, name: id, role: "participant", certificates: [simulatedCertificate(keyOf(id))], revocations: [] };
}

function genesisOf(nodes: readonly NodeEntry[], settings: SettingsChange, adapter: AdapterEntry): Constitution {
  const certificates = [simulatedCertificate(keyOf(OWNER))];
  const ownerActor = { id: OWNER, name: "Owner", role: "member", certificates, revocations: [] } as const;
  return {
    version: 1,
    network: { name: NETWORK_NAME, open: true },
    actors: [ownerActor, ...GUESTS.map(guestActor)],
    nodes,
    codeManifest: [{ measurement: toHex(keyOf("code")), name: "coco-framework", version: "0" }],
    teeManifest: [{ tee: "virtual", machineKey: MACHINE_KEY, note: "simulated" }],
    policies: DEFAULT_POLICIES,
    settings: settingsWith(settings),
    adapters: [adapter],
  };
}

const owner = () => ({ actor: OWNER, sign: simulatedSigner(keyOf(OWNER)) });

const requestSigner = (): RequestSigner => ({
  chain: [simulatedCertificate(keyOf(OWNER))],
  algorithm: "ES256",
  sign: simulatedSigner(keyOf(OWNER)),
});

/** Signs as the network's only member. */
export const OWNER_SIGNER: RequestSigner = requestSigner();

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
  const networkId = toHex(constitutionDigest(constitution, cryptography.hash));
  const encryptionKeyOf = (id: NodeId) =>
    machines.find(({ nodeId }) => nodeId === id)?.encryptionKey ?? keyOf("nobody");
  const newEpoch = (
    epoch: number,
    nodes: readonly NodeEntry[],
    service: OfferedService,
    random: (length: number) => Bytes,
  ): EpochTransaction => {
    const epochKey = random(32);
    const wraps = nodes.map(({ nodeId, encryptionKey }) => ({
      nodeId,
      wrapped: simulatedWrap(encryptionKey, epoch, epochKey),
    }));
    return { type: "epoch", epoch, wraps, ...service, sealedServiceKey: random(48) };
  };
  return {
    constitution,
    governanceCrypto,
    machines,
    cryptoOf: (place) => cryptography.crypto(place),
    approve: (known, nowMs) => {
      const genesis = { type: "genesis", constitution } as const;
      const state = known ?? executeAdministrative(undefined, genesis, placeAt(0), governanceCrypto);
      const measurement = toHex(keyOf("other code"));
      if (state.constitution.codeManifest.some((entry) => entry.measurement === measurement)) return undefined;
      const action = { name: "approve_code", args: { measurement, name: "coco-framework", version: "1" } } as const;
      // The ledger's clock may be ahead: members sign no earlier than what they signed before.
      const newest = state.recentRequests.at(-1)?.createdAt ?? 0;
      const trial = { crypto: governanceCrypto, nowMs: Math.max(nowMs, 1000 * newest) };
      return agreedRequests(state, [action], [requestSigner()], trial);
    },
    changeNodes: (state, nodes, nowMs) =>
      agreedRequests(state, nodeListActions(state.constitution, nodes), [requestSigner()], {
        crypto: governanceCrypto,
        nowMs,
      }),
    decide: (state, actions, nowMs) =>
      agreedRequests(state, actions, [requestSigner()], { crypto: governanceCrypto, nowMs }),
    askForEpoch: (state, nowMs) =>
      agreedRequests(state, [{ name: "open_epoch", args: {} }], [requestSigner()], { crypto: governanceCrypto, nowMs }),
    networkId,
    attest: (isUpgraded, reportData) =>
      simulatedEvidence(MACHINE_KEY, keyOf(isUpgraded ? "other code" : "code"), reportData),
    firstTransactions: (random) => [
      encodeAdministrative({ type: "genesis", constitution }),
      encodeAdministrative(
        newEpoch(1, constitution.nodes, simulatedService({ services: [], serviceRotationDue: false }), random),
      ),
    ],
    epochMaker: (random) => ({
      epoch: (state) => newEpoch(state.epochs.length + 1, nodesInGoodStanding(state), simulatedService(state), random),
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
