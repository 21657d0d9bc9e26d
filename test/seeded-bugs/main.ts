/**
 * Plants known bugs, one at a time, and shows what notices each:
 *
 *   npm run seeded-bugs                       the table; exits 1 when a bug was not found
 *   npm run seeded-bugs -- --json             {"bugs":[{"name","found","by","seeds"}]}
 *   npm run seeded-bugs -- --only ccf         bugs whose name contains the text
 */
import { parseArgs } from "node:util";
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

function show({ name, found, by, seeds, wallSeconds }: BugResult): string {
  const outcome = found ? `${by} (after ${seeds})` : "NOT FOUND";
  return `${name.padEnd(44)} ${outcome}  ${wallSeconds} s`;
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

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: "boolean", default: false }, only: { type: "string", default: "" } },
  });
  const chosen = [...ELECTION_BUGS, ...LOG_BUGS, ...LEDGER_BUGS, ...LEASE_BUGS].filter(({ name }) =>
    name.includes(values.only),
  );
  const results = await seekAll(chosen, (result) => {
    if (!values.json) say(show(result));
  });
  const missed = results.filter(({ found }) => !found);
  if (values.json)
    say(JSON.stringify({ bugs: results.map(({ name, found, by, seeds }) => ({ name, found, by, seeds })) }));
  else say(`${results.length - missed.length} of ${results.length} bugs found`);
  return missed.length === 0 && results.length > 0 ? 0 : 1;
}

process.exitCode = await main();
