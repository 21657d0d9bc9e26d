/**
 * A network as governance sees it, for tests of its rules: real requests with cheap signatures, no consensus and no ledger.
 */
import { toHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { MAJORITY } from "../../src/core/consensus/quorum.ts";
import type { VoterSet } from "../../src/core/consensus/types.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../src/core/governance/administrative.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  type AdministrativeTransaction,
  type EpochTransaction,
} from "../../src/core/governance/administrative-codec.ts";
import {
  DEFAULT_POLICIES,
  type Actor,
  type Constitution,
  type NodeEntry,
  type NodeTuple,
} from "../../src/core/governance/constitution.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { nodeListActions } from "./node-list-actions.ts";
import { agreedRequests } from "../../src/core/governance/agreed-requests.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import type { RequestSigner } from "../../src/core/governance/request-signing.ts";
import type { BatchPlace } from "../../src/core/governance/epochs.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import { nodesInGoodStanding } from "../../src/core/governance/leases.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import { settingsWith, type SettingsChange } from "../../src/core/governance/settings.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import {
  simulatedCertificate,
  simulatedGovernanceCrypto,
  simulatedService,
  simulatedSigner,
  simulatedMachineKey,
} from "../simulation/simulated-crypto.ts";

/** Governance over simulated keys, with the hash of real nodes. */
export const GOVERNANCE_CRYPTO: GovernanceCrypto = simulatedGovernanceCrypto(sha256);

const MEMBERS = ["acme", "globex", "initech"];
const NETWORK = "governed";

const keyOf = (name: string): Bytes => sha256(utf8Encode(name));

function memberOf(id: string): Actor {
  return { id, name: id, role: "member", certificates: [simulatedCertificate(keyOf(id))], revocations: [] };
}

/** A member's signer. */
export function signerOfMember(id: string) {
  return { actor: id, sign: simulatedSigner(keyOf(id)) };
}

/** What signs a member's governance requests. */
export function requestSignerOf(id: string): RequestSigner {
  return {
    chain: [simulatedCertificate(keyOf(id))],
    algorithm: "ES256",
    sign: simulatedSigner(keyOf(id)),
  };
}

/** The tuple of the node with this number. */
export function tupleOf(at: number): NodeTuple {
  const publicKey = keyOf(`public key ${at}`);
  return {
    nodeId: toHex(sha256(publicKey)),
    address: `node${at}.test:1`,
    clientAddress: `node${at}.test:2`,
    publicKey,
    encryptionKey: keyOf(`encryption key ${at}`),
  };
}

/** The entry of the node with this number, signed by the member that owns it. */
export function entryOf(at: number, change: Partial<NodeTuple> = {}): NodeEntry {
  const owner = signerOfMember(MEMBERS[at % MEMBERS.length] ?? "");
  return signNodeTuple(NETWORK, { ...tupleOf(at), ...change }, owner);
}

/** The id of the node with this number. */
export const idOf = (at: number): string => tupleOf(at).nodeId;

/** A set of voters under a majority. */
export function votersOf(voters: readonly string[]): VoterSet {
  return { voters, quorum: MAJORITY };
}

/** The genesis constitution of a network of these nodes. */
export function constitutionOf(nodes: readonly number[], settings: SettingsChange = {}): Constitution {
  return {
    version: 1,
    network: { name: NETWORK, open: true },
    actors: MEMBERS.map(memberOf),
    nodes: nodes.map((at) => entryOf(at)),
    codeManifest: [{ measurement: toHex(keyOf("code")), name: "coco-framework", version: "0" }],
    teeManifest: [{ tee: "virtual", machineKey: simulatedMachineKey(keyOf("machine")), note: "test" }],
    policies: DEFAULT_POLICIES,
    settings: settingsWith(settings),
    adapters: [],
  };
}

/** See the module's header. */
export class GovernedNetwork {
  state: GovernanceState;
  /** Where the next transaction stands; moves on with each. */
  place: BatchPlace = placeAt(1_000);

  constructor(nodes: readonly number[], settings: SettingsChange = {}) {
    const genesis = { type: "genesis", constitution: constitutionOf(nodes, settings) } as const;
    this.state = executeAdministrative(undefined, genesis, this.place, GOVERNANCE_CRYPTO);
    this.#next();
    this.execute(this.epoch());
  }

  #next(): void {
    const { index, firstSeqno, timeMs } = this.place;
    this.place = { index: index + 1, firstSeqno: firstSeqno + 2, timeMs, previousDigest: keyOf(`batch ${index}`) };
  }

  /** Executes a transaction as every node does: from its encoding. Changes nothing when it is refused. */
  execute(transaction: AdministrativeTransaction): GovernanceState {
    const decoded = decodeAdministrative(encodeAdministrative(transaction));
    this.state = executeAdministrative(this.state, decoded, this.place, GOVERNANCE_CRYPTO);
    this.#next();
    return this.state;
  }

  /** A proposal of one of three members and the votes of two, for the state as it is. */
  requests(...actions: readonly Action[]): readonly [SignedMessage, ...SignedMessage[]] {
    const signers = [requestSignerOf("acme"), requestSignerOf("globex")] as const;
    // Each proposal of a test is signed a second after the one before.
    this.place = { ...this.place, timeMs: this.place.timeMs + 1_000 };
    return agreedRequests(this.state, actions, signers, { crypto: GOVERNANCE_CRYPTO, nowMs: this.place.timeMs });
  }

  /** Executes such requests. */
  decide(...actions: readonly Action[]): GovernanceState {
    for (const message of this.requests(...actions)) this.execute({ type: "request", ...message });
    return this.state;
  }

  /** Votes in a VN list of the nodes with these numbers. */
  changeNodes(nodes: readonly number[]): GovernanceState {
    return this.decide(
      ...nodeListActions(
        this.state.constitution,
        nodes.map((at) => entryOf(at)),
      ),
    );
  }

  /** The next epoch, with made-up keys. */
  epoch(): EpochTransaction {
    const { epochs } = this.state;
    const epoch = epochs.length + 1;
    return {
      type: "epoch",
      epoch,
      wraps: nodesInGoodStanding(this.state).map(({ nodeId }) => ({
        nodeId,
        wrapped: keyOf(`${epoch} for ${nodeId}`),
      })),
      ...simulatedService(this.state),
      sealedServiceKey: keyOf(`service key ${epoch}`),
    };
  }
}

/** A check for `assert.throws`: a refusal for this reason. */
export function refusal(reason: string): { readonly code: string; readonly data: object } {
  return { code: "ProposalInvalid", data: { reason } };
}
