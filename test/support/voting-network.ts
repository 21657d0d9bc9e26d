/**
 * Members who propose and vote, for tests of governance's rules: signed requests with cheap signatures, executed as every node
 * executes them. The nodes belong to a participant, so that any member can go.
 */
import { utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import type { Action } from "../../src/core/governance/actions.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../src/core/governance/administrative.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  type AdministrativeTransaction,
} from "../../src/core/governance/administrative-codec.ts";
import type { Actor, Constitution } from "../../src/core/governance/constitution.ts";
import type { BatchPlace } from "../../src/core/governance/epochs.ts";
import type { GovernanceCrypto } from "../../src/core/governance/governance-crypto.ts";
import { signNodeTuple } from "../../src/core/governance/node-entry.ts";
import type { Vote, VotingPolicies } from "../../src/core/governance/policy.ts";
import type { ProposalRecord, SignedMessage, VoteCriteria } from "../../src/core/governance/proposal.ts";
import {
  ballotPayload,
  criteriaPayload,
  proposalPayload,
  signProposal,
  signRequest,
  type RequestOrigin,
} from "../../src/core/governance/request-signing.ts";
import type { RunScript } from "../../src/core/governance/script.ts";
import { dueProposal } from "../../src/core/governance/settle.ts";
import type { RequestType } from "../../src/core/governance/signed-request.ts";
import { prospectOf } from "../../src/core/governance/vote-count.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { simulatedCertificate, simulatedGovernanceCrypto, simulatedSigner } from "../simulation/simulated-crypto.ts";
import { constitutionOf, tupleOf } from "./governed-network.ts";

/** The participant that owns the nodes. */
export const OWNER = "owner";

const keyOf = (name: string): Bytes => sha256(utf8Encode(name));

/** The actor of this id; its certificate is the one of `key`. */
export function actorOf(id: string, role: Actor["role"] = "member", key = id): Actor {
  return { id, name: id, role, certificates: [simulatedCertificate(keyOf(key))], revocations: [] };
}

/** Approves made-up code of this number. */
export function approveCode(number: number): Action {
  const measurement = Buffer.from(keyOf(`code ${number}`)).toString("hex");
  return { name: "approve_code", args: { measurement, name: "code", version: String(number) } };
}

/** Lists a member of this id. */
export function addMember(id: string, key = id): Action {
  const { certificates } = actorOf(id, "member", key);
  return { name: "add_member", args: { id, name: id, certificates, revocations: [] } };
}

/** How a network of members begins. */
export interface VotingNetworkOptions {
  readonly members: readonly string[];
  readonly policies?: VotingPolicies;
  readonly script?: string;
  readonly runScript?: RunScript;
}

/** See the module's header. */
export class VotingNetwork {
  state: GovernanceState;
  place: BatchPlace = placeAt(1_000_000);
  readonly crypto: GovernanceCrypto;
  #createdAt = 1_000;

  constructor({ members, policies, script, runScript }: VotingNetworkOptions) {
    const crypto = simulatedGovernanceCrypto(sha256);
    this.crypto = runScript === undefined ? crypto : { ...crypto, runScript };
    const genesis = constitutionOf([]);
    const owner = { actor: OWNER, sign: simulatedSigner(keyOf(OWNER)) };
    const constitution: Constitution = {
      ...genesis,
      actors: [...members.map((id) => actorOf(id)), actorOf(OWNER, "participant")],
      nodes: [signNodeTuple(genesis.network.name, tupleOf(0), owner)],
      policies: policies ?? genesis.policies,
      ...(script !== undefined && { script }),
    };
    this.state = executeAdministrative(undefined, { type: "genesis", constitution }, this.place, this.crypto);
  }

  /** The ledger's time. */
  get nowMs(): number {
    return this.place.timeMs;
  }

  /** Ids of the members, in order. */
  get members(): readonly string[] {
    return this.state.constitution.actors.filter(({ role }) => role === "member").map(({ id }) => id);
  }

  /** Lets time pass. */
  advance(ms: number): void {
    this.place = { ...this.place, timeMs: this.place.timeMs + ms };
  }

  /** Executes a transaction from its encoding; a second passes. Changes nothing but the time when it is refused. */
  execute(transaction: AdministrativeTransaction): GovernanceState {
    const { index, firstSeqno, timeMs } = this.place;
    this.place = { ...this.place, index: index + 1, firstSeqno: firstSeqno + 2, timeMs: timeMs + 1_000 };
    const decoded = decodeAdministrative(encodeAdministrative(transaction));
    this.state = executeAdministrative(this.state, decoded, this.place, this.crypto);
    return this.state;
  }

  /** Executes a request. */
  request({ message, chain }: SignedMessage): GovernanceState {
    return this.execute({ type: "request", message, chain });
  }

  /** What signs as a member; every request is signed a second after the one before. */
  origin(member: string, change: Partial<RequestOrigin> = {}, key = member): RequestOrigin {
    const signer = {
      chain: [simulatedCertificate(keyOf(key))],
      algorithm: "ES256",
      sign: simulatedSigner(keyOf(key)),
    } as const;
    const { networkId } = this.state;
    return { signer, networkId, createdAt: ++this.#createdAt, sha256, ...change };
  }

  /** Signs a request of any kind without executing it. */
  sign(member: string, type: RequestType, payload: unknown, proposalId?: string): SignedMessage {
    const bytes = payload instanceof Uint8Array ? payload : utf8Encode(JSON.stringify(payload));
    return signRequest(type, bytes, this.origin(member), proposalId);
  }

  /** Proposes; the proposal's id. */
  propose(member: string, ...actions: readonly Action[]): string {
    const { id, ...message } = signProposal(proposalPayload(actions), this.origin(member));
    this.request(message);
    return id;
  }

  /** The digest of what a proposal would do now; 32 zeros when it can't be done. */
  effect(id: string): Bytes {
    const prospect = prospectOf(this.state, this.proposal(id), this.nowMs, this.crypto);
    return prospect.type === "effect" ? prospect.digest : new Uint8Array(32);
  }

  /** A plain ballot on what a proposal would do now, or on the effect of this digest. */
  ballot(member: string, id: string, vote: Vote, effect = this.effect(id)): SignedMessage {
    return signRequest("ballot", ballotPayload(vote, effect), this.origin(member), id);
  }

  /** Casts such a ballot. */
  vote(member: string, id: string, vote: Vote = "yes"): GovernanceState {
    return this.request(this.ballot(member, id, vote));
  }

  /** Withdraws a proposal. */
  withdraw(member: string, id: string): GovernanceState {
    return this.request(this.sign(member, "withdrawal", {}, id));
  }

  /** Registers automatic votes. */
  register(member: string, criteria: readonly VoteCriteria[]): GovernanceState {
    return this.request(signRequest("automatic_vote", criteriaPayload(criteria), this.origin(member)));
  }

  /** Settles what is due, as a leader does; the ids in their order. Time stands still meanwhile. */
  settle(): readonly string[] {
    const settled: string[] = [];
    const { timeMs } = this.place;
    for (let id = this.#due(); id !== undefined && settled.length < 100; id = this.#due()) {
      this.place = { ...this.place, timeMs: timeMs - 1_000 };
      this.execute({ type: "resolve", proposalId: id });
      settled.push(id);
    }
    return settled;
  }

  #due(): string | undefined {
    return dueProposal(this.state, this.place.timeMs, this.crypto);
  }

  /** The record of a proposal. */
  proposal(id: string): ProposalRecord {
    const found = this.state.proposals.find((proposal) => proposal.id === id);
    if (found === undefined) throw new RangeError(`no proposal ${id}`);
    return found;
  }
}
