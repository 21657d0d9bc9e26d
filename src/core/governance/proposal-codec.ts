/**
 * Proposals and automatic votes in the binary form of the governance state. What a signed message says is read from the
 * message again, so that the state cannot tell anything else than what was signed.
 */
import { fromHex, toHex, type Bytes, type HashFunction } from "../codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { readProposalPayload } from "./action-codec.ts";
import { readCriteria } from "./automatic-votes.ts";
import { MAX_ACTORS, MAX_NODES } from "./constitution.ts";
import { MAX_CERTIFICATE_BYTES } from "./certificate-limits.ts";
import {
  parseJsonBytes,
  readDocument,
  treeToCbor,
  type FieldContext,
  type FieldReader,
  type FieldTree,
} from "./fields.ts";
import {
  MAX_BALLOTS,
  MAX_HISTORY_BYTES,
  MAX_OPEN_PROPOSALS,
  PROPOSAL_STATES,
  type AutomaticVotes,
  type BallotRecord,
  type FinalVote,
  type ProposalFailure,
  type ProposalRecord,
  type SignedMessage,
} from "./proposal.ts";
import { readBallotChoice } from "./proposal-requests.ts";
import { isByLedger, LEDGER_PROPOSER, nodeToRemove, removalContent } from "./removal-proposals.ts";
import { REPLAY_WINDOW, type RememberedRequest } from "./replay-guard.ts";
import {
  MAX_CREATED_AT,
  MAX_REQUEST_BYTES,
  MAX_REQUEST_CHAIN,
  parseSignedRequest,
  type SignedRequest,
} from "./signed-request.ts";

const COUNT = { min: 0, max: Number.MAX_SAFE_INTEGER };
const POSITIVE = { min: 1, max: Number.MAX_SAFE_INTEGER };
const TEXT = { max: 4_096 };
const ACTOR = { max: 64 };
/** No decided proposal takes fewer bytes, so that this many can be there. */
const MAX_PROPOSALS = MAX_OPEN_PROPOSALS + 2 * MAX_NODES + Math.floor(MAX_HISTORY_BYTES / 512);

function messageTree({ message, chain }: SignedMessage): { readonly message: Bytes; readonly chain: readonly Bytes[] } {
  return { message, chain };
}

/** Reads a signed message with its certificates. */
export function readMessage(fields: FieldReader): SignedMessage {
  return {
    message: fields.bytes("message", { max: MAX_REQUEST_BYTES }),
    chain: fields.values("chain", MAX_REQUEST_CHAIN).map((certificate) => {
      if (certificate instanceof Uint8Array && certificate.length <= MAX_CERTIFICATE_BYTES) return certificate;
      throw fields.invalid("chain", "expected certificates");
    }),
  };
}

function readPayload<T>({ payload }: SignedRequest, context: FieldContext, read: (fields: FieldReader) => T): T {
  const json: FieldContext = { ...context, form: "json" };
  return readDocument(parseJsonBytes(payload, json), json, read);
}

function ballotTree({ member, atMs, ...message }: BallotRecord): FieldTree {
  return { member, atMs, ...messageTree(message) };
}

/** What ballots and automatic votes have in common, and what the message asks for. */
function readRequestRecord<T>(fields: FieldReader, sha256: HashFunction, read: (fields: FieldReader) => T) {
  const message = readMessage(fields);
  const request = parseSignedRequest(message.message);
  const record = {
    ...message,
    member: fields.text("member", ACTOR),
    certificate: fingerprint(message, sha256),
    createdAt: request.createdAt,
    atMs: fields.integer("atMs", COUNT),
  };
  return { record, asked: readPayload(request, fields.context, read) };
}

function readBallot(fields: FieldReader, sha256: HashFunction): BallotRecord {
  const { record, asked } = readRequestRecord(fields, sha256, readBallotChoice);
  return { ...record, choice: asked };
}

function fingerprint({ chain: [signing] }: SignedMessage, sha256: HashFunction): string {
  return signing === undefined ? "" : toHex(sha256(signing));
}

function failureTree({ action, name, reason, message, remedy }: ProposalFailure): FieldTree {
  return { action, name, reason, message, remedy };
}

function readFailure(fields: FieldReader): ProposalFailure {
  return {
    ...(fields.has("action") && { action: fields.integer("action", COUNT) }),
    ...(fields.has("name") && { name: fields.text("name", TEXT) }),
    reason: fields.text("reason", TEXT),
    message: fields.text("message", TEXT),
    remedy: fields.text("remedy", TEXT),
  };
}

function voteTree({ member, vote, by }: FinalVote): FieldTree {
  return { member, vote, by };
}

function readVote(fields: FieldReader): FinalVote {
  return {
    member: fields.text("member", ACTOR),
    vote: fields.choice("vote", ["yes", "no", "abstain"]),
    by: fields.choice("by", ["ballot", "script", "criteria"]),
  };
}

function proposalTree(proposal: ProposalRecord): FieldTree {
  const removes = nodeToRemove(proposal);
  const content = removes === undefined ? messageTree(proposal) : { removes: fromHex(removes) };
  const { proposer, state, openedAtMs, openedAtSeqno, expiresAtMs, scheduled, decidedAtMs, failure } = proposal;
  return {
    ...content,
    ...{ proposer, state, openedAtMs, openedAtSeqno, expiresAtMs, decidedAtMs },
    scheduled: scheduled && { atMs: scheduled.atMs, effect: scheduled.effect },
    ballots: proposal.ballots.map(ballotTree),
    withdrawal: proposal.withdrawal && messageTree(proposal.withdrawal),
    finalVotes: proposal.finalVotes.map(voteTree),
    failure: failure && failureTree(failure),
  };
}

function readSignedContent(fields: FieldReader, sha256: HashFunction) {
  const message = readMessage(fields);
  const request = parseSignedRequest(message.message);
  const content = readPayload(request, fields.context, readProposalPayload);
  const proposer = fields.text("proposer", ACTOR);
  if (isByLedger({ proposer })) throw fields.invalid("proposer", "signs nothing");
  return {
    ...message,
    ...content,
    ...{ id: toHex(sha256(request.signedBytes)), proposer, certificate: fingerprint(message, sha256) },
  };
}

function readRemoval(fields: FieldReader, openedAtSeqno: number, sha256: HashFunction) {
  fields.choice("proposer", [LEDGER_PROPOSER]);
  return removalContent(fields.hex("removes", 32), openedAtSeqno, sha256);
}

function readProposal(fields: FieldReader, sha256: HashFunction): ProposalRecord {
  const openedAtSeqno = fields.integer("openedAtSeqno", POSITIVE);
  return {
    ...(fields.has("removes") ? readRemoval(fields, openedAtSeqno, sha256) : readSignedContent(fields, sha256)),
    state: fields.choice("state", PROPOSAL_STATES),
    openedAtMs: fields.integer("openedAtMs", COUNT),
    openedAtSeqno,
    expiresAtMs: fields.integer("expiresAtMs", COUNT),
    scheduled: fields.has("scheduled") ? fields.record("scheduled", readScheduled) : undefined,
    ballots: fields.list("ballots", MAX_BALLOTS, (ballot) => readBallot(ballot, sha256)),
    withdrawal: fields.has("withdrawal") ? fields.record("withdrawal", readMessage) : undefined,
    finalVotes: fields.list("finalVotes", MAX_ACTORS, readVote),
    failure: fields.has("failure") ? fields.record("failure", readFailure) : undefined,
    decidedAtMs: fields.has("decidedAtMs") ? fields.integer("decidedAtMs", COUNT) : undefined,
  };
}

function readScheduled(fields: FieldReader): NonNullable<ProposalRecord["scheduled"]> {
  return { atMs: fields.integer("atMs", COUNT), effect: fields.bytes("effect", { length: 32 }) };
}

/** What of the governance state this file reads and writes. */
export interface ProposalFields {
  readonly proposals: readonly ProposalRecord[];
  readonly recentRequests: readonly RememberedRequest[];
  readonly automaticVotes: readonly AutomaticVotes[];
}

/** The tree form of proposals, the replay guard's memory and automatic votes. */
export function proposalFieldsTree(state: ProposalFields): { readonly [name: string]: FieldTree } {
  return {
    proposals: state.proposals.map(proposalTree),
    recentRequests: state.recentRequests.map(({ createdAt, id }) => ({ createdAt, id: fromHex(id) })),
    automaticVotes: state.automaticVotes.map(({ member, atMs, ...message }) => ({
      member,
      atMs,
      ...messageTree(message),
    })),
  };
}

/** Reads {@link proposalFieldsTree}. */
export function readProposalFields(fields: FieldReader, sha256: HashFunction): ProposalFields {
  return {
    proposals: fields.list("proposals", MAX_PROPOSALS, (proposal) => readProposal(proposal, sha256)),
    recentRequests: fields.list("recentRequests", REPLAY_WINDOW, (request) => ({
      createdAt: request.integer("createdAt", { min: 0, max: MAX_CREATED_AT }),
      id: request.hex("id", 32),
    })),
    automaticVotes: fields.list("automaticVotes", MAX_ACTORS, (votes) => readAutomaticVotes(votes, sha256)),
  };
}

function readAutomaticVotes(fields: FieldReader, sha256: HashFunction): AutomaticVotes {
  const { record, asked } = readRequestRecord(fields, sha256, readCriteria);
  return { ...record, criteria: asked };
}

/** Most signed messages in one file of them. */
export const MAX_MESSAGES = 2 * MAX_ACTORS;

/** The binary form of a list of signed messages, for files. */
export function encodeMessages(messages: readonly SignedMessage[]): Bytes {
  return encodeCbor(treeToCbor({ messages: messages.map(messageTree) }));
}

/** Reads {@link encodeMessages}; nothing of it is verified. Throws `MalformedInput`. */
export function decodeMessages(bytes: Bytes): readonly SignedMessage[] {
  const context: FieldContext = { form: "cbor", code: "MalformedInput" };
  return readDocument(decodeCbor(bytes), context, (fields) => fields.list("messages", MAX_MESSAGES, readMessage));
}
