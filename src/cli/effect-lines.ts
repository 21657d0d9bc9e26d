/** What a proposal would do and need, as lines for people. */
import type { DryRun } from "../core/governance/dry-run.ts";
import type { DescribedChange } from "../core/governance/effects.ts";
import { durationInWords } from "../core/governance/policy-words.ts";
import type { ProposalFailure } from "../core/governance/proposal.ts";
import type { Output } from "./output.ts";

/** A moment in words, in UTC. */
export function moment(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Tells changes line by line. */
export function printChanges(output: Output, changes: readonly DescribedChange[]): void {
  output.data("changes\n");
  if (changes.length === 0) output.data("  nothing\n");
  for (const { words, path } of changes) output.data(`  ${words}  (${path})\n`);
}

/** Tells why a proposal would fail. */
export function printFailure(output: Output, { reason, message, remedy }: ProposalFailure): void {
  output.data(`would fail  ${reason}: ${message}\n            ${remedy}\n`);
}

/** Tells what a proposal would need. */
export function printNeeds(output: Output, { policies, verdict, votes, missing, times }: DryRun): void {
  output.data("needs\n");
  for (const { words } of policies) output.data(`  ${words}\n`);
  for (const { member, vote } of votes) output.data(`  ${member} votes ${vote} by the criteria it has registered\n`);
  const asked = missing.length === 0 ? "nobody" : missing.join(", ");
  output.data(verdict === "open" ? `  asked to vote: ${asked}\n` : `  it would be ${verdict} at once\n`);
  output.data(`  lapses ${durationInWords(times.expiresAfterMs)} after it was proposed\n`);
}
