/**
 * Protection against proposals and automatic votes that are submitted again, as CCF has it for proposals: the newest ones are
 * remembered by time of signing and digest, and who comes with one that was signed before half of them is late, unless that was
 * just now: a few that were signed with a fast clock must not keep the others out. One that stands before all that are
 * remembered may be forgotten, and is refused as too old. Ballots and withdrawals need no such memory: see proposal-requests.ts.
 */
import { refused } from "./refusal.ts";

/** Proposals and automatic votes remembered. */
export const REPLAY_WINDOW = 100;
/** How far the clock of whoever signs may be from that of the ledger, in milliseconds. */
export const MAX_CLOCK_SKEW_MS = 5 * 60_000;

/** A proposal, or automatic votes, as they are remembered. */
export interface RememberedRequest {
  /** Seconds since 1970. */
  readonly createdAt: number;
  /** Hex SHA-256 of what the signature covers. */
  readonly id: string;
}

/** Throws `ProposalInvalid` when a request was signed in what is still the future for the ledger. */
export function checkCreatedAt(createdAt: number, nowMs: number): void {
  if (createdAt * 1000 > nowMs + MAX_CLOCK_SKEW_MS)
    throw refused("InvalidCreatedAt", "the request was signed in the future; check the clock of whoever signed it");
}

/** Whether a request is remembered, late, or might have been forgotten; undefined when it is new. */
export function replayOf(
  recent: readonly RememberedRequest[],
  request: RememberedRequest,
  nowMs: number,
): "seen" | "late" | undefined {
  if (recent.some(({ id }) => id === request.id)) return "seen";
  const median = recent[Math.floor((recent.length - 1) / 2)];
  const [oldest] = recent;
  const isRecent = request.createdAt * 1000 >= nowMs - MAX_CLOCK_SKEW_MS;
  const isLate = median !== undefined && request.createdAt < median.createdAt && !isRecent;
  // Many may be of one second: what stands before the oldest may have been remembered once.
  const isForgotten = oldest !== undefined && recent.length >= REPLAY_WINDOW && compare(request, oldest) < 0;
  return isLate || isForgotten ? "late" : undefined;
}

/** Throws `ProposalInvalid` when a proposal was seen, or might have been. */
export function checkReplay(recent: readonly RememberedRequest[], proposal: RememberedRequest, nowMs: number): void {
  const replay = replayOf(recent, proposal, nowMs);
  if (replay === "seen") throw refused("ProposalReplay", "this very proposal was submitted before");
  if (replay === "late")
    throw refused("ProposalCreatedTooLongAgo", "the proposal was signed before half of the recent ones");
}

/** The memory with a request added: in order of signing, the oldest left out. */
export function remember(
  recent: readonly RememberedRequest[],
  { createdAt, id }: RememberedRequest,
): readonly RememberedRequest[] {
  const all = [...recent, { createdAt, id }];
  return all.sort(compare).slice(-REPLAY_WINDOW);
}

function compare(left: RememberedRequest, right: RememberedRequest): number {
  return left.createdAt - right.createdAt || (left.id < right.id ? -1 : 1);
}
