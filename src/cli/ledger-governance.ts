/**
 * `coco ledger governance`: what was proposed, who voted what and what became of it, read from a ledger alone. Every
 * administrative transaction is executed again, which checks the signature of each proposal and ballot, the certificate it was
 * made with and the policy that judged it: what is told here is what the ledger proves.
 */
import { bytesEqual } from "../core/codec/bytes.ts";
import { executeAdministrative, type GovernanceState } from "../core/governance/administrative.ts";
import { decodeAdministrative } from "../core/governance/administrative-codec.ts";
import { describeEffect } from "../core/governance/effects.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type {
  BallotRecord,
  FinalVote,
  ProposalFailure,
  ProposalRecord,
  ProposalState,
} from "../core/governance/proposal.ts";
import { prospectOf } from "../core/governance/vote-count.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import { moment } from "./effect-lines.ts";

/** A transaction and the time of its batch. */
export interface Place {
  /** `view.seqno`. */
  readonly transactionId: string;
  readonly timeMs: number;
}

/** A ballot whose signature was verified. */
export interface ToldBallot extends Place {
  readonly member: string;
  /** Hex SHA-256 of the signing certificate. */
  readonly certificate: string;
  /** `script`: a script votes whenever votes are counted. */
  readonly vote: string;
}

/** A proposal from its opening to what became of it. */
export interface ToldProposal {
  readonly proposalId: string;
  readonly proposer: string;
  readonly certificate: string;
  readonly description: string | undefined;
  readonly actions: readonly string[];
  readonly opened: Place;
  readonly ballots: readonly ToldBallot[];
  readonly state: ProposalState;
  /** What it changed, or would change as things stood last. */
  readonly changes: readonly string[];
  /** Where it was decided; undefined while votes are taken. */
  readonly decided: Place | undefined;
  readonly finalVotes: readonly FinalVote[];
  readonly failure: ProposalFailure | undefined;
}

type Draft = { -readonly [Name in keyof ToldProposal]: ToldProposal[Name] };

const ENDED: readonly ProposalState[] = ["Accepted", "Rejected", "Withdrawn", "Expired", "Failed", "Dropped"];

/** Collects proposals batch by batch. */
export class GovernanceHistory {
  readonly #crypto: GovernanceCrypto;
  readonly #told = new Map<string, Draft>();
  #state: GovernanceState | undefined;

  /** `state` is the one before the first batch: undefined when that is the genesis. */
  constructor(crypto: GovernanceCrypto, state?: GovernanceState) {
    this.#crypto = crypto;
    this.#state = state;
  }

  /** Takes the next verified batch; batches of applications say nothing about governance. */
  see({ header, transactions }: ParsedBatch): void {
    if (header.kind !== "administrative") return;
    for (const [at, { publicPart }] of transactions.entries()) {
      const place = { transactionId: `${header.view}.${header.firstSeqno + at}`, timeMs: header.timeMs };
      const before = this.#state;
      const after = executeAdministrative(before, decodeAdministrative(publicPart), header, this.#crypto);
      if (before !== undefined) this.#compare(before, after, place);
      this.#state = after;
    }
  }

  /** Proposals so far, in the order they were opened. */
  proposals(): readonly ToldProposal[] {
    return [...this.#told.values()];
  }

  #compare(before: GovernanceState, after: GovernanceState, place: Place): void {
    const earlier = new Map(before.proposals.map((proposal) => [proposal.id, proposal]));
    for (const proposal of after.proposals) {
      const was = earlier.get(proposal.id);
      if (was === proposal) continue;
      const told = this.#told.get(proposal.id) ?? opened(proposal, place);
      this.#told.set(proposal.id, told);
      const ballots = proposal.ballots.slice(was?.ballots.length ?? 0).map((ballot) => toldBallot(ballot, place));
      told.ballots = [...told.ballots, ...ballots];
      told.state = proposal.state;
      told.finalVotes = proposal.finalVotes;
      told.failure = proposal.failure;
      if (ENDED.includes(proposal.state)) told.decided ??= place;
      told.changes = this.#changesOf(before, proposal, place) ?? told.changes;
    }
  }

  /** In words; undefined when the proposal could not be carried out as things stood. */
  #changesOf(before: GovernanceState, proposal: ProposalRecord, { timeMs }: Place): readonly string[] | undefined {
    const prospect = prospectOf(before, proposal, timeMs, this.#crypto);
    if (prospect.type === "failure") return undefined;
    const { scheduled } = proposal;
    if (scheduled !== undefined && !bytesEqual(scheduled.effect, prospect.digest)) return undefined;
    return describeEffect(before.constitution, prospect.effect, this.#crypto).map(({ words }) => words);
  }
}

function opened({ id, proposer, certificate, description, actions, state }: ProposalRecord, place: Place): Draft {
  const names = actions.map(({ name }) => name);
  const nothing = { ballots: [], changes: [], decided: undefined, finalVotes: [], failure: undefined };
  return { proposalId: id, proposer, certificate, description, actions: names, opened: place, state, ...nothing };
}

function toldBallot({ member, certificate, choice }: BallotRecord, place: Place): ToldBallot {
  return { ...place, member, certificate, vote: choice.type === "plain" ? choice.vote : "script" };
}

const at = ({ transactionId, timeMs }: Place): string => `transaction ${transactionId}, ${moment(timeMs)}`;

/** A proposal as lines for people. */
export function proposalLines(told: ToldProposal): readonly string[] {
  const { proposalId, proposer, description, actions, changes, ballots, decided, state, finalVotes, failure } = told;
  const counted = finalVotes.map(({ member, vote, by }) => `${member} ${vote}${by === "ballot" ? "" : ` by ${by}`}`);
  return [
    `proposal ${proposalId}`,
    `  proposed by ${proposer}, ${at(told.opened)}: ${actions.join(", ")}`,
    ...(description === undefined ? [] : [`  for: ${description}`]),
    ...changes.map((words) => `  change: ${words}`),
    ...ballots.map((ballot) => `  ballot of ${ballot.member}: ${ballot.vote}, ${at(ballot)}, signature verified`),
    ...(counted.length === 0 ? [] : [`  counted: ${counted.join(", ")}`]),
    `  ${state}${decided === undefined ? "" : `, ${at(decided)}`}`,
    ...(failure === undefined ? [] : [`  ${failure.reason}: ${failure.message}`]),
  ];
}
