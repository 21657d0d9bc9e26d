/** Voting policies (R8): how votes are judged, as data, so that a vote can change it. */
import type { ActionName } from "./action-names.ts";

/** When votes accept or reject a proposal. */
export type Rule =
  | { readonly type: "unanimous" }
  | { readonly type: "majority" }
  | { readonly type: "count"; readonly yes: number }
  | { readonly type: "weighted"; readonly weights: Readonly<Record<string, number>>; readonly threshold: number }
  | { readonly type: "veto"; readonly by: readonly string[]; readonly rule: Rule }
  | { readonly type: "stages"; readonly stages: readonly { readonly group: readonly string[]; readonly yes: number }[] }
  | { readonly type: "script" };

/** The policy of one action. */
export interface VotingPolicy {
  readonly rule: Rule;
  /** How long a proposal stays open, in milliseconds of the ledger's clock. */
  readonly expiresAfterMs: number;
  /** How long a proposal stays open at least. */
  readonly deliberationMs: number;
  /** How long an accepted proposal waits before it takes effect. */
  readonly delayMs: number;
}

/** The policies of a network. */
export interface VotingPolicies {
  readonly default: VotingPolicy;
  readonly actions: Readonly<Partial<Record<ActionName, VotingPolicy>>>;
}
