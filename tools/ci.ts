/**
 * `npm run ci`: every suite that guards a change, one after the other, each within the budget stated here. A suite over
 * its budget fails: the list stays something a person waits for. All suites run; exits 1 when one failed.
 */
import { runStep, summarize, type Step, type StepResult } from "./steps.ts";

/** In the order of how soon a suite tells what is wrong. */
const SUITES: readonly Step[] = [
  { name: "check", script: "dist/tools/check.js", arguments: [], budgetSeconds: 240 },
  { name: "test", script: "dist/tools/test.js", arguments: [], budgetSeconds: 620 },
  {
    name: "test:faults",
    script: "dist/tools/test.js",
    arguments: ["--kind", "slow", "--only", "faults"],
    budgetSeconds: 480,
  },
  {
    name: "sim",
    script: "dist/test/simulation/main.js",
    arguments: ["--seeds", "300", "--quiet"],
    budgetSeconds: 240,
  },
  {
    name: "sim:crash-points",
    script: "dist/test/simulation/main.js",
    arguments: ["--crash-points", "--every", "13"],
    budgetSeconds: 60,
  },
  { name: "explore", script: "dist/test/exploration/main.js", arguments: ["--states", "200000"], budgetSeconds: 120 },
  { name: "fuzz", script: "dist/test/fuzz/main.js", arguments: ["--seconds", "4"], budgetSeconds: 120 },
  { name: "seeded-bugs", script: "dist/test/seeded-bugs/main.js", arguments: [], budgetSeconds: 420 },
  { name: "demo:consortium", script: "dist/bench/consortium-demo.js", arguments: [], budgetSeconds: 300 },
  { name: "bench:core (smoke)", script: "dist/bench/core.js", arguments: ["--quick"], budgetSeconds: 120 },
  { name: "bench (smoke)", script: "dist/bench/main.js", arguments: ["--quick"], budgetSeconds: 180 },
];

async function main(): Promise<number> {
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
