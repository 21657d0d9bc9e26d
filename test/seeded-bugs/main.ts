/**
 * Plants known bugs, one at a time, and shows what notices each:
 *
 *   npm run seeded-bugs                       the table; exits 1 when a bug was not found
 *   npm run seeded-bugs -- --json             {"bugs":[{"name","found","by","seeds"}]}
 *   npm run seeded-bugs -- --only ccf         bugs whose name contains the text
 */
import { CocoError } from "../../src/errors.ts";
import { readArguments } from "../../tools/arguments.ts";
import type { SeededBug } from "./bug.ts";
import { ELECTION_BUGS } from "./election-bugs.ts";
import { LEASE_BUGS } from "./lease-bugs.ts";
import { LEDGER_BUGS } from "./ledger-bugs.ts";
import { LOG_BUGS } from "./log-bugs.ts";
import { type BugResult, seek } from "./rig.ts";

/** Bugs under examination at the same time. */
const CONCURRENCY = 2;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function show({ name, found, by, seeds, wallSeconds }: BugResult, width: number): string {
  const outcome = found ? `${by} (after ${seeds})` : "NOT FOUND";
  return `${name.padEnd(width)}  ${outcome}  ${wallSeconds} s`;
}

async function seekAll(bugs: readonly SeededBug[], report: (result: BugResult) => void): Promise<readonly BugResult[]> {
  const waiting = [...bugs];
  const results: BugResult[] = [];
  const work = async (): Promise<void> => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      const result = await seek(bug);
      results.push(result);
      report(result);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  const order = bugs.map(({ name }) => name);
  return results.sort((left, right) => order.indexOf(left.name) - order.indexOf(right.name));
}

const OPTIONS = {
  only: { type: "string", value: "TEXT", default: "", help: "bugs whose name contains the text" },
  json: { type: "boolean", default: false, help: "print one JSON object" },
} as const;

/** The bugs whose name contains a text. Throws `WrongUsage`, with all names, when there is none. */
function bugsNamed(text: string): readonly SeededBug[] {
  const all = [...ELECTION_BUGS, ...LOG_BUGS, ...LEDGER_BUGS, ...LEASE_BUGS];
  const chosen = all.filter(({ name }) => name.includes(text));
  if (chosen.length > 0) return chosen;
  const names = all.map(({ name }) => `  ${name}`).join("\n");
  throw new CocoError(
    "WrongUsage",
    `--only ${JSON.stringify(text)}: no bug has this in its name. There are:\n${names}`,
  );
}

async function main(): Promise<number> {
  const { chosen, json } = readArguments("run seeded-bugs", OPTIONS, (values) => ({
    chosen: bugsNamed(values.only),
    json: values.json,
  }));
  const width = Math.max(...chosen.map(({ name }) => name.length));
  if (!json) say(`${"bug".padEnd(width)}  found by (after so many of its seeds, states or tests)  time`);
  const results = await seekAll(chosen, (result) => {
    if (!json) say(show(result, width));
  });
  const missed = results.filter(({ found }) => !found);
  if (json) say(JSON.stringify({ bugs: results.map(({ name, found, by, seeds }) => ({ name, found, by, seeds })) }));
  else say(`${results.length - missed.length} of ${results.length} bugs found`);
  return missed.length === 0 && results.length > 0 ? 0 : 1;
}

process.exitCode = await main();
