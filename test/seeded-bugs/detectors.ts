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

/** Failed tests in the output of node:test, each with the number of tests up to it. */
function failedTests(detector: Detector, output: string): readonly Finding[] {
  const file = detector.type === "tests" ? /([^/]+)\.test\.js$/.exec(detector.file)?.[1] : detector.type;
  const failed: Finding[] = [];
  let position = 0;
  for (const line of output.split("\n")) {
    const match = /^\s*(not )?ok \d+ - (.*)/.exec(line);
    if (match === null) continue;
    position++;
    // A scenario's name ends where its title begins.
    const name = detector.type === "scenarios" ? match[2]?.split(": ")[0] : match[2];
    if (match[1] !== undefined) failed.push({ by: `${file}: ${name}`, seeds: position });
  }
  return failed;
}

function violations(model: string, output: string): readonly Finding[] {
  const states = /"states":(\d+)/.exec(output)?.[1];
  const message = /"violations":\[\{[^}]*?"message":"([^"]*)"/.exec(output)?.[1];
  return message === undefined ? [] : [{ by: `explorer ${model}: ${message}`, seeds: Math.max(1, Number(states)) }];
}

function failedSeeds(output: string): readonly Finding[] {
  const found = [...output.matchAll(/^\w*Error: seed (\d+): (.{0,80})/gm)];
  return found.map((match) => ({ by: `simulation: ${match[2]}`, seeds: Number(match[1]) }));
}

/** What a detector that ended with an error noticed, in order; nothing when its output says nothing about a bug. */
export function failures(detector: Detector, output: string): readonly Finding[] {
  switch (detector.type) {
    case "scenarios":
    case "restarts":
    case "tests":
      return failedTests(detector, output);
    case "explorer":
      return violations(detector.model, output);
    case "simulation":
      return failedSeeds(output);
  }
}
