/** `coco member status` and `watch`: proposals, how their votes stand, and what happens to them. */
import { MAX_DATE_MS } from "../core/governance/manifest-codec.ts";
import type { FieldReader } from "../core/governance/fields.ts";
import { durationInWords } from "../core/governance/policy-words.ts";
import { PROPOSAL_STATES } from "../core/governance/proposal.ts";
import { CocoError } from "../errors.ts";
import { connect } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { moment } from "./effect-lines.ts";
import {
  govPath,
  listAll,
  optionalText,
  type ProposalSummary,
  readerOf,
  readSummary,
  recordsOf,
  resolveProposalId,
  textsOf,
} from "./governance-reader.ts";
import { type CommandContext, EXIT, type Output, printJson, printTable } from "./output.ts";
import type { ServiceClient } from "./service-client.ts";

const POLL_MS = 500;
const MAX_TEXT = 4_096;
const DATE = { min: 0, max: MAX_DATE_MS };

/** Options of `coco member status`. */
export interface StatusOptions extends ConnectionOptions {
  readonly state?: string;
  readonly wait?: number;
  readonly json?: boolean;
}

/** Runs `coco member status`. */
export async function status(context: CommandContext, id: string | undefined, options: StatusOptions): Promise<void> {
  if (id === undefined && options.wait !== undefined)
    throw new CocoError("WrongUsage", "--wait needs the id of a proposal");
  const client = await connect(options);
  try {
    if (id === undefined) await list(client, context.output, options);
    else await one(client, context, await resolveProposalId(client, id), options);
  } finally {
    client.close();
  }
}

/** A proposal with its votes. */
interface ProposalDetail {
  readonly shown: unknown;
  readonly summary: ProposalSummary;
  readonly votes: readonly { readonly member: string; readonly vote: string; readonly by: string }[];
  readonly missing: readonly string[];
  readonly stale: readonly string[];
}

async function readDetail(client: ServiceClient, id: string): Promise<ProposalDetail> {
  const shown = await client.json(govPath(`/members/proposals/${id}`));
  const fields = readerOf(shown);
  const text = (vote: FieldReader, name: string): string => vote.text(name, { max: MAX_TEXT });
  return {
    shown,
    summary: readSummary(fields),
    votes: recordsOf(fields, "votes").map((vote) => ({
      member: text(vote, "memberId"),
      vote: text(vote, "vote"),
      by: text(vote, "by"),
    })),
    missing: textsOf(fields, "missingMembers"),
    stale: textsOf(fields, "staleMembers"),
  };
}

async function list(client: ServiceClient, output: Output, { state, json }: StatusOptions): Promise<void> {
  const name = PROPOSAL_STATES.find((known) => known.toLowerCase() === state);
  const query = name === undefined ? {} : { state: name };
  const listed = await listAll(client, govPath("/members/proposals", query));
  const details: ProposalDetail[] = [];
  for (const item of listed) details.push(await readDetail(client, readerOf(item).hex("proposalId", 32)));
  if (json === true) return printJson(output, { proposals: details.map(({ shown }) => shown) });
  if (details.length === 0)
    return output.talk(`there are no proposals${state === undefined ? "" : ` that are ${state}`}\n`);
  printTable(output, [["ID", "STATE", "BY", "ACTIONS", "VOTES", "MISSING", "LAPSES"], ...details.map(rowOf)]);
}

function rowOf({ summary, votes, missing }: ProposalDetail): readonly string[] {
  const { id, state, proposer, actions, expiresAtMs } = summary;
  const cast = ["yes", "no", "abstain"].flatMap((choice) => {
    const count = votes.filter(({ vote }) => vote === choice).length;
    return count === 0 ? [] : [`${count} ${choice}`];
  });
  const lapses = state === "Open" ? inWords(expiresAtMs) : "";
  return [id.slice(0, 12), state, proposer, actions.join(", "), cast.join(", ") || "none", missing.join(", "), lapses];
}

function inWords(timeMs: number): string {
  const leftMs = timeMs - Date.now();
  return leftMs <= 0 ? "now" : `in ${durationInWords(Math.floor(leftMs / 1000) * 1000)}`;
}

async function one(client: ServiceClient, context: CommandContext, id: string, options: StatusOptions): Promise<void> {
  const untilMs = Date.now() + (options.wait ?? 0) * 1000;
  let detail = await readDetail(client, id);
  while (options.wait !== undefined && isPending(detail) && Date.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    detail = await readDetail(client, id);
  }
  if (options.json === true) printJson(context.output, detail.shown);
  else printDetail(context.output, detail);
  if (options.wait === undefined || detail.summary.state === "Accepted") return;
  context.exitCode = isPending(detail) ? EXIT.timeout : EXIT.rejectedByVote;
}

function isPending({ summary: { state } }: ProposalDetail): boolean {
  return state === "Open" || state === "Scheduled";
}

function printDetail(output: Output, { shown, summary, votes, missing, stale }: ProposalDetail): void {
  const { id, state, proposer, description, expiresAtMs, actions } = summary;
  const fields = readerOf(shown);
  output.data(`proposal  ${id}\nstate     ${state}\nby        ${proposer}\nactions   ${actions.join(", ")}\n`);
  if (description !== undefined) output.data(`for       ${description}\n`);
  printEffect(output, fields);
  output.data(`votes${votes.length === 0 ? "     none\n" : "\n"}`);
  for (const { member, vote, by } of votes)
    output.data(`  ${member}: ${vote}${by === "ballot" ? "" : ` (by ${by})`}\n`);
  for (const member of stale) output.data(`  ${member}: voted on another effect and is asked again\n`);
  if (missing.length > 0) output.data(`missing   ${missing.join(", ")}\n`);
  printTimes(output, fields, state, expiresAtMs);
  printWhy(output, fields);
}

function printEffect(output: Output, fields: FieldReader): void {
  const effect = fields.has("effect") ? fields.value("effect") : null;
  if (effect !== null) {
    const reader = readerOf(effect, "effect");
    output.data("changes, as the node says\n");
    for (const change of recordsOf(reader, "changes")) output.data(`  ${change.text("words", { max: MAX_TEXT })}\n`);
  }
  const policies = recordsOf(fields, "policies");
  if (policies.length > 0) output.data("needs\n");
  for (const policy of policies) output.data(`  ${policy.text("words", { max: MAX_TEXT })}\n`);
}

function printTimes(output: Output, fields: FieldReader, state: string, expiresAtMs: number): void {
  const time = (name: string): string | undefined =>
    fields.has(name) ? moment(fields.integer(name, DATE)) : undefined;
  const [deliberation, effect, decided] = ["deliberationUntilMs", "takesEffectAtMs", "decidedAtMs"].map(time);
  if (state === "Open" && deliberation !== undefined) output.data(`not before ${deliberation}\n`);
  if (state === "Open") output.data(`lapses    ${moment(expiresAtMs)}, ${inWords(expiresAtMs)}\n`);
  if (effect !== undefined) output.data(`in effect ${effect}\n`);
  if (decided !== undefined) output.data(`decided   ${decided}\n`);
}

function printWhy(output: Output, fields: FieldReader): void {
  for (const [name, title] of [
    ["failure", "failed"],
    ["wouldFail", "would fail"],
  ] as const) {
    if (!fields.has(name)) continue;
    const failure = readerOf(fields.value(name), name);
    const [reason, message, remedy] = ["reason", "message", "remedy"].map((part) => optionalText(failure, part) ?? "");
    output.data(`${title}    ${reason}: ${message}\n          ${remedy}\n`);
  }
}
