/**
 * `npm run ci`: every suite that guards a change, one after the other, each within its budget (`suites.ts`). A suite over
 * its budget fails: the list stays something a person waits for. All suites run; exits 1 when one failed.
 */
import { readNoArguments } from "./arguments.ts";
import { runStep, summarize, type StepResult } from "./steps.ts";
import { SUITES } from "./suites.ts";

async function main(): Promise<number> {
  readNoArguments("run ci");
  process.stdout.write("suite                budget\n");
  for (const { name, budgetSeconds } of SUITES) process.stdout.write(`${name.padEnd(20)} ${budgetSeconds} s\n`);
  const results: StepResult[] = [];
  for (const suite of SUITES) {
    process.stdout.write(`\n##### ${suite.name}\n`);
    results.push(await runStep(suite, true));
  }
  return summarize(results);
}

process.exitCode = await main();
