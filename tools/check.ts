/**
 * `npm run check`: everything that can be said about the sources without running them. All steps run, two at a time;
 * what a failed step printed follows, then a summary. Exits 1 when one failed.
 */
import { readNoArguments } from "./arguments.ts";
import { runStep, summarize, type Step, type StepResult } from "./steps.ts";

const TSC = "node_modules/typescript/bin/tsc";
const BIOME = "node_modules/@biomejs/biome/bin/biome";
const INCREMENTAL = ["--noEmit", "--incremental", "--tsBuildInfoFile"];

const STEPS: readonly Step[] = [
  {
    name: "types",
    script: TSC,
    arguments: ["-p", "tsconfig.json", ...INCREMENTAL, "dist/.check.tsbuildinfo"],
    budgetSeconds: 180,
  },
  { name: "format", script: BIOME, arguments: ["format", "--max-diagnostics=50"], budgetSeconds: 30 },
  { name: "lint", script: BIOME, arguments: ["lint", "--max-diagnostics=200"], budgetSeconds: 60 },
  { name: "types of src/core", script: TSC, arguments: ["-p", "src/core/tsconfig.json"], budgetSeconds: 60 },
  {
    name: "import directions",
    script: "node_modules/dependency-cruiser/bin/dependency-cruise.mjs",
    arguments: ["--config", ".dependency-cruiser.cjs", "src"],
    budgetSeconds: 60,
  },
  {
    name: "unused code",
    script: "node_modules/knip/bin/knip.js",
    arguments: ["--no-progress", "--no-config-hints"],
    budgetSeconds: 60,
  },
  { name: "tidy", script: "dist/tools/tidy.js", arguments: [], budgetSeconds: 60 },
  { name: "error reference", script: "dist/tools/errors-to-docs.js", arguments: ["--check"], budgetSeconds: 10 },
  { name: "limits reference", script: "dist/tools/limits-to-docs.js", arguments: ["--check"], budgetSeconds: 20 },
  { name: "links of the pages", script: "dist/tools/doc-links.js", arguments: [], budgetSeconds: 10 },
  { name: "lock file", script: "dist/tools/complete-lock.js", arguments: ["--check"], budgetSeconds: 10 },
];

async function main(): Promise<number> {
  readNoArguments("run check");
  const waiting = [...STEPS];
  const results: StepResult[] = [];
  const lane = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift())
      results.push(await runStep(step, false));
  };
  await Promise.all([lane(), lane()]);
  results.sort((a, b) => STEPS.indexOf(a.step) - STEPS.indexOf(b.step));
  for (const { step, failure, output } of results) {
    if (failure !== undefined) process.stdout.write(`\n=== ${step.name}\n${output.trim()}\n`);
  }
  return summarize(results);
}

process.exitCode = await main();
