/**
 * Writes docs/reference/errors.md from the tables in src/errors.ts, src/core/governance/refusal.ts and
 * src/attestation/reasons.ts; with `--check` it only compares, and exits 1 when the page is out of date. Codes, statuses and
 * remedies come from the tables themselves; the groups are the line comments between their entries, read from the source.
 */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import { writeOrCompare } from "./generated-page.ts";
import { ADMISSION_REASONS, REASONS } from "../src/attestation/reasons.ts";
import { REFUSALS, type Refusal } from "../src/core/governance/refusal.ts";
import { ERRORS, type ErrorCode } from "../src/errors.ts";

const SOURCE = fileURLToPath(new URL("../../src/errors.ts", import.meta.url));
const REFUSALS_SOURCE = fileURLToPath(new URL("../../src/core/governance/refusal.ts", import.meta.url));

const INTRODUCTION = `# Error codes

This page is generated from \`src/errors.ts\` by \`tools/errors-to-docs.ts\`. Do not edit it by hand: change the table, then run
\`npm run docs:reference\`.

Every error a node answers with has this shape, and the HTTP status of its code:

\`\`\`json
{ "error": { "code": "NoLeader", "message": "what happened, in words", "remedy": "what to do about it" } }
\`\`\`

Programs should look at \`code\`: it never changes its meaning. \`message\` and \`remedy\` are for people and may be reworded.
JSON-RPC endpoints follow their own protocol's error numbers instead.
`;

const REFUSALS_INTRODUCTION = `
## Reasons of \`ProposalInvalid\`

An error \`ProposalInvalid\` says in \`reason\` why; where an action of a proposal is the cause, \`action\` has its number, \`name\` its
name, and \`field\` the path of a field that is wrong.
`;

const REASONS_INTRODUCTION = `
## Reasons against evidence

Evidence that is refused has a reason: of a check in \`coco attest verify\` and \`coco network trust\`, in \`reason\` of
\`EvidenceRejected\` and of the codes of joining, in the log, and as \`problem\` of \`EvidenceInvalid\`. Which check gives which,
and for what: [attestation](attestation.md).

| reason | means | what to do |
| --- | --- | --- |
`;

/** Group title per code: the line comment above it, or the one of the codes before it. */
function groups(source: string, start: string): Map<string, string> {
  const table = source.slice(source.indexOf(start));
  const found = new Map<string, string>();
  let group = "general";
  for (const match of table.matchAll(
    /^ {2}(?:\/\/ (?<title>.+)|(?<code>[A-Z]\w*):(?: \{)?)$|^ {2}(?<short>[A-Z]\w*): (?:\{ |")/gm,
  )) {
    const { title, code, short } = match.groups ?? {};
    if (title !== undefined) group = title;
    else found.set(code ?? short ?? "", group);
  }
  return found;
}

/** The page for the present table. */
function render(): string {
  const groupOf = groups(fs.readFileSync(SOURCE, "utf8"), "export const ERRORS");
  let page = INTRODUCTION;
  let current: string | undefined;
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const group = groupOf.get(code) ?? "general";
    if (group !== current) {
      page += `\n## ${group.slice(0, 1).toUpperCase()}${group.slice(1)}\n\n| code | HTTP status | what to do |\n| --- | --- | --- |\n`;
      current = group;
    }
    const { status, remedy } = ERRORS[code];
    page += `| \`${code}\` | ${status} | ${remedy.replaceAll("|", "\\|")} |\n`;
  }
  return page + renderRefusals() + renderReasons();
}

function renderReasons(): string {
  const rows = Object.entries({ ...REASONS, ...ADMISSION_REASONS }).map(
    ([reason, { meaning, remedy }]) => `| \`${reason}\` | ${meaning} | ${remedy.replaceAll("|", "\\|")} |\n`,
  );
  return REASONS_INTRODUCTION + rows.join("");
}

function renderRefusals(): string {
  const groupOf = groups(fs.readFileSync(REFUSALS_SOURCE, "utf8"), "export const REFUSALS");
  let page = REFUSALS_INTRODUCTION;
  let current: string | undefined;
  for (const reason of Object.keys(REFUSALS) as Refusal[]) {
    const group = groupOf.get(reason) ?? "general";
    if (group !== current) {
      page += `\n### ${group.slice(0, 1).toUpperCase()}${group.slice(1)}\n\n| reason | what to do |\n| --- | --- |\n`;
      current = group;
    }
    page += `| \`${reason}\` | ${REFUSALS[reason].replaceAll("|", "\\|")} |\n`;
  }
  return page;
}

process.exitCode = writeOrCompare("docs/reference/errors.md", render());
