/** How the detectors are started, and what their output says when they notice something. */
import type { Detector } from "./bug.ts";

/** What noticed a bug, and after how many seeds, states or tests. */
export interface Finding {
  readonly by: string;
  readonly seeds: number;
}

/** Arguments for Node, from the root of the copy. */
export function commandOf(detector: Detector): readonly string[] {
  switch (detector.type) {
    case "scenarios":
      return ["dist/test/scenarios/scenarios.test.js"];
    case "explorer": {
      const { model, states } = detector;
      return ["dist/test/exploration/main.js", "--model", model, "--states", String(states), "--json"];
    }
    case "restarts":
      return ["dist/test/exploration/restart-rules.test.js"];
    case "simulation":
      return ["dist/test/simulation/main.js", "--seeds", String(detector.seeds), "--quiet"];
    case "tests":
      return [`dist/${detector.file}`];
  }
}

/** First failed test in the output of node:test, and how many came before it. */
function failedTest(output: string): { readonly name: string; readonly position: number } | undefined {
  let position = 0;
  for (const line of output.split("\n")) {
    const match = /^\s*(not )?ok \d+ - (.*)/.exec(line);
    if (match === null) continue;
    position++;
    if (match[1] !== undefined) return { name: match[2] ?? "", position };
  }
  return undefined;
}

function foundByTests(detector: Detector, output: string): Finding | undefined {
  const failed = failedTest(output);
  if (failed === undefined) return undefined;
  const file = detector.type === "tests" ? /([^/]+)\.test\.js$/.exec(detector.file)?.[1] : detector.type;
  // A scenario's name ends where its title begins.
  const name = detector.type === "scenarios" ? failed.name.split(": ")[0] : failed.name;
  return { by: `${file}: ${name}`, seeds: failed.position };
}

function foundByExplorer(model: string, output: string): Finding | undefined {
  const states = /"states":(\d+)/.exec(output)?.[1];
  const message = /"violations":\[\{[^}]*?"message":"([^"]*)"/.exec(output)?.[1];
  return message === undefined
    ? undefined
    : { by: `explorer ${model}: ${message}`, seeds: Math.max(1, Number(states)) };
}

function foundBySimulation(output: string): Finding | undefined {
  const match = /seed (\d+): (.{0,80})/.exec(output);
  return match === null ? undefined : { by: `simulation: ${match[2]}`, seeds: Number(match[1]) };
}

/** Reads the output of a detector that ended with an error; undefined when it says nothing about a bug, so that it failed itself. */
export function readFinding(detector: Detector, output: string): Finding | undefined {
  switch (detector.type) {
    case "scenarios":
    case "restarts":
    case "tests":
      return foundByTests(detector, output);
    case "explorer":
      return foundByExplorer(detector.model, output);
    case "simulation":
      return foundBySimulation(output);
  }
}
