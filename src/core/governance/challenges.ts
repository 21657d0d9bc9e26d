/**
 * Challenges for evidence of nodes (R7, R32): what evidence has to be made for, so that it cannot have been made long before it is
 * recorded.
 *
 * An administrative batch begins a challenge when the one before is old enough. It follows from the digest of the batch before it,
 * with the signature of whoever made that, and from the newest epoch's sealed service key: nobody knows it much earlier than
 * the network does. Evidence counts for the newest two challenges, as long as they are young. When a network is quiet, the
 * leader begins one by a `challenge` for whoever sends evidence for one that is too old.
 */
import { concatBytes, type Bytes, type HashFunction } from "../codec/bytes.ts";
import type { Constitution } from "./constitution.ts";
import type { BatchPlace, EpochRecord } from "./epochs.ts";
import { leaseLengthMs } from "./leases.ts";
import { refused } from "./refusal.ts";

/** Longest age of a challenge that evidence may be for, in milliseconds: evidence cannot be made longer before its record. */
export const CHALLENGE_AGE_MAX_MS = 300_000;
/** Part of a lease that a challenge is good for at most. */
export const CHALLENGE_AGE_PART = 1 / 2;
/** Part of its longest age after which a challenge is followed by another: what is left is the evidence's time to travel. */
export const CHALLENGE_REST_PART = 1 / 2;
/** Challenges that evidence may be for: the newest ones. No more can be young at a time. */
export const CHALLENGES_MAX = 2;

/** A challenge of the ledger. */
export interface ChallengeRecord {
  /** See the module's header; 32 bytes. */
  readonly digest: Bytes;
  /** Ledger's clock when it began. */
  readonly fromMs: number;
}

/** Begins a challenge. */
export interface ChallengeTransaction {
  readonly type: "challenge";
}

/** The part of the governance state that challenges depend on. */
export interface ChallengesState {
  readonly constitution: Constitution;
  readonly epochs: readonly EpochRecord[];
  /** The newest ones, the oldest first. */
  readonly challenges: readonly ChallengeRecord[];
}

/** How long a challenge is good for, by the ledger's clock. */
export function challengeAgeMaxMs(constitution: Pick<Constitution, "settings">): number {
  const lengthMs = leaseLengthMs(constitution);
  return lengthMs === 0 ? CHALLENGE_AGE_MAX_MS : Math.min(CHALLENGE_AGE_MAX_MS, lengthMs * CHALLENGE_AGE_PART);
}

/** The challenges that evidence recorded at this time may be for, the newest first. */
export function youngChallenges(
  { constitution, challenges }: Pick<ChallengesState, "constitution" | "challenges">,
  nowMs: number,
): readonly ChallengeRecord[] {
  const ageMaxMs = challengeAgeMaxMs(constitution);
  return challenges.filter(({ fromMs }) => nowMs - fromMs <= ageMaxMs).toReversed();
}

/** Whether the next administrative batch begins a challenge. */
export function challengeIsDue({ constitution, epochs, challenges }: ChallengesState, nowMs: number): boolean {
  const newest = challenges.at(-1);
  if (epochs.length === 0) return false;
  return newest === undefined || nowMs - newest.fromMs >= challengeAgeMaxMs(constitution) * CHALLENGE_REST_PART;
}

/** Throws `ProposalInvalid` unless a `challenge` is due. */
export function requireDueChallenge(state: ChallengesState, nowMs: number): void {
  if (!challengeIsDue(state, nowMs)) throw refused("ChallengeNotDue", "the newest challenge is young");
}

/** The state after a batch at this place, with the challenge it begins; the same state when it begins none. */
export function withChallenge<State extends ChallengesState>(
  state: State,
  { previousDigest, timeMs }: Pick<BatchPlace, "previousDigest" | "timeMs">,
  sha256: HashFunction,
): State {
  const epoch = state.epochs.at(-1);
  if (epoch === undefined || !challengeIsDue(state, timeMs)) return state;
  const digest = sha256(concatBytes(previousDigest, sha256(epoch.sealedServiceKey)));
  return { ...state, challenges: [...state.challenges, { digest, fromMs: timeMs }].slice(-CHALLENGES_MAX) };
}
