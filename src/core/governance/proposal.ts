/**
 * Proposals as the governance state keeps them: who proposed what, every ballot with its signature, and what became of it
 * (R9, R10). The state holds all open ones and the newest decided ones; older ones are in the ledger only.
 */
import type { Bytes } from "../codec/bytes.ts";
import type { Action } from "./actions.ts";
import type { Vote } from "./policy.ts";

/** Most proposals that are open or scheduled at once. */
export const MAX_OPEN_PROPOSALS = 64;
/** Most of them by one member. */
export const MAX_OPEN_PROPOSALS_PER_MEMBER = 16;
/** Most bytes of open and scheduled proposals together, with their ballots. */
export const MAX_OPEN_PROPOSALS_BYTES = 1024 * 1024;
/** Part of them that any member has for its proposals and ballots, however many members there are. */
export const MIN_MEMBER_BYTES = 64 * 1024;
/** Most bytes of decided proposals in the state, with their ballots; the oldest leave it first. */
export const MAX_HISTORY_BYTES = 2 * 1024 * 1024;
/** Most bytes of all members' automatic votes together. */
export const MAX_AUTOMATIC_VOTES_BYTES = 512 * 1024;
/** Part of them that any member has, however many members there are. */
export const MIN_MEMBER_AUTOMATIC_VOTES_BYTES = 32 * 1024;
/** Most ballots of one proposal, those replaced by later ones included. */
export const MAX_BALLOTS = 4_000;

/**
 * `Open`: votes are taken. `Scheduled`: accepted, takes effect after the policy's delay. `Accepted`: in effect. `Failed`:
 * accepted, and could not be carried out. `Dropped`: its proposer is no member any more. The rest says what it says.
 */
export const PROPOSAL_STATES = [
  "Open",
  "Scheduled",
  "Accepted",
  "Rejected",
  "Withdrawn",
  "Expired",
  "Failed",
  "Dropped",
] as const;
/** One of {@link PROPOSAL_STATES}. */
export type ProposalState = (typeof PROPOSAL_STATES)[number];

/** A signed message with the certificates that name its signer, as it stands in the ledger. */
export interface SignedMessage {
  /** COSE Sign1. */
  readonly message: Bytes;
  /** DER, the signing certificate first. */
  readonly chain: readonly Bytes[];
}

/** A ballot: a plain vote, or a script (CCF) that votes on the state as it is whenever votes are counted. */
export interface BallotRecord extends SignedMessage {
  /** Id of the member. */
  readonly member: string;
  /** Hex SHA-256 of the signing certificate. */
  readonly certificate: string;
  /** When it was signed, in seconds since 1970. */
  readonly createdAt: number;
  readonly choice: BallotChoice;
  /** Time of the batch that brought it, in milliseconds since 1970. */
  readonly atMs: number;
}

/** What a ballot says. A plain vote is for one effect: it names the digest of what its member saw. */
export type BallotChoice =
  | { readonly type: "plain"; readonly vote: Vote; readonly effect: Bytes }
  | { readonly type: "script"; readonly source: string };

/** Why an accepted proposal could not be carried out. */
export interface ProposalFailure {
  /** Position of the action; undefined when it is none of them. */
  readonly action?: number;
  readonly name?: string;
  readonly reason: string;
  readonly message: string;
  readonly remedy: string;
}

/** How a member's vote was counted in the end. */
export interface FinalVote {
  readonly member: string;
  readonly vote: Vote;
  /** By a ballot, or by criteria the member had registered. */
  readonly by: "ballot" | "script" | "criteria";
}

/** A proposal. */
export interface ProposalRecord extends SignedMessage {
  /** Hex SHA-256 of what its signature covers. */
  readonly id: string;
  /** Id of the member; see removal-proposals.ts for proposals that no member made. */
  readonly proposer: string;
  /** Hex SHA-256 of the signing certificate; empty when no member made it. */
  readonly certificate: string;
  readonly description: string | undefined;
  readonly actions: readonly Action[];
  readonly state: ProposalState;
  /** Time and first sequence number of the batch that brought it. */
  readonly openedAtMs: number;
  readonly openedAtSeqno: number;
  /** When it lapses, by the policies at its opening. */
  readonly expiresAtMs: number;
  /** Scheduled: when it takes effect, and the digest of the effect that was accepted. */
  readonly scheduled: { readonly atMs: number; readonly effect: Bytes } | undefined;
  /** Every ballot ever cast, in order; of each member the newest counts. */
  readonly ballots: readonly BallotRecord[];
  readonly withdrawal: SignedMessage | undefined;
  /** Decided: how the votes stood then. */
  readonly finalVotes: readonly FinalVote[];
  readonly failure: ProposalFailure | undefined;
  /** When it was decided. */
  readonly decidedAtMs: number | undefined;
}

/** Criteria under which a member's vote is yes without a ballot (R8). All that are given must hold. */
export interface VoteCriteria {
  /** Every action of the proposal is one of these. */
  readonly actions: readonly string[];
  /** Nodes belong to actors of the constitution as it is. */
  readonly existingActor: boolean;
  /** Most nodes an owner may have then; 0: any number. */
  readonly nodesPerActor: number;
  /** Nodes name the code they run, and more than half of the members voted for that code. */
  readonly codeApprovedByMajority: boolean;
}

/** The automatic votes of a member; later ones replace earlier ones, empty criteria end them. */
export interface AutomaticVotes extends SignedMessage {
  readonly member: string;
  readonly certificate: string;
  readonly createdAt: number;
  /** Time of the batch that brought them, in milliseconds since 1970. */
  readonly atMs: number;
  readonly criteria: readonly VoteCriteria[];
}

/** Whether votes are still taken, or it waits for its time. */
export function isPending({ state }: Pick<ProposalRecord, "state">): boolean {
  return state === "Open" || state === "Scheduled";
}

/** Bytes of a message and its certificates. */
export function messageBytes({ message, chain }: SignedMessage): number {
  return message.length + chain.reduce((total, certificate) => total + certificate.length, 0);
}

/** What the encoding adds to each record or ballot, at most. */
const RECORD_OVERHEAD = 512;

/** Bytes that what a member has signed takes in the encoded state, of pending proposals. */
export function memberBytes(pending: readonly ProposalRecord[], member: string): number {
  const own = pending.flatMap((proposal): readonly SignedMessage[] => [
    ...(proposal.proposer === member ? [proposal] : []),
    ...proposal.ballots.filter((ballot) => ballot.member === member),
  ]);
  return own.reduce((total, part) => total + messageBytes(part) + RECORD_OVERHEAD, 0);
}

/** Bytes that a proposal takes in the encoded state, at most; the actions are in its message. */
export function proposalBytes(proposal: ProposalRecord): number {
  const { ballots, withdrawal, finalVotes } = proposal;
  const parts = [proposal, ...ballots, ...(withdrawal === undefined ? [] : [withdrawal])];
  const own = parts.reduce((total, part) => total + messageBytes(part) + RECORD_OVERHEAD, 0);
  return own + finalVotes.length * 128;
}

/** Proposals within {@link MAX_HISTORY_BYTES}: all pending ones and the newest decided ones, in their order. */
export function withinHistory(proposals: readonly ProposalRecord[]): readonly ProposalRecord[] {
  let left = MAX_HISTORY_BYTES;
  const kept: ProposalRecord[] = [];
  for (const proposal of [...proposals].reverse()) {
    if (isPending(proposal)) kept.push(proposal);
    else {
      left -= proposalBytes(proposal);
      if (left >= 0) kept.push(proposal);
    }
  }
  return kept.reverse();
}
