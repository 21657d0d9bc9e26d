/** What a proposal would do and need, as lines for people. */
import { MAX_DATE_MS } from "../core/governance/manifest-codec.ts";
import type { NeededPolicy } from "../core/governance/dry-run.ts";
import type { DescribedChange } from "../core/governance/effects.ts";
import type { FieldReader } from "../core/governance/fields.ts";
import type { ProposalFailure } from "../core/governance/proposal.ts";
import { readerOf, recordsOf, textsOf } from "./governance-reader.ts";
import type { Output } from "./output.ts";

const MAX_TEXT = 4_096;

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

/** Tells what a proposal would need: its policies as they are found here, the rest as the node's dry run says it. */
export function printNeeds(output: Output, policies: readonly NeededPolicy[], dryRun: unknown): void {
  const fields = readerOf(dryRun);
  const text = (reader: FieldReader, name: string): string => reader.text(name, { max: MAX_TEXT });
  output.data("needs\n");
  for (const { words } of policies) output.data(`  ${words}\n`);
  for (const vote of recordsOf(fields, "votes"))
    output.data(`  ${text(vote, "memberId")} votes ${text(vote, "vote")} by the criteria it has registered\n`);
  const missing = textsOf(fields, "missingMembers");
  const verdict = text(fields, "verdict");
  const asked = missing.length === 0 ? "nobody" : missing.join(", ");
  output.data(verdict === "open" ? `  asked to vote: ${asked}\n` : `  it would be ${verdict} at once\n`);
  output.data(`  proposed now, it lapses ${moment(fields.integer("expiresAtMs", { min: 0, max: MAX_DATE_MS }))}\n`);
}
