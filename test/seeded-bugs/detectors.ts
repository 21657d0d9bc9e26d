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

/** First failed test in the output of node:test, and how many leaf tests came before it. */
function failedTest(output: string): { readonly name: string; readonly position: number } {
  let position = 0;
  let name = "";
  for (const line of output.split("\n")) {
    const match = /^\s*(not )?ok \d+ - (.*)/.exec(line);
    if (match === null) continue;
    position++;
    name = match[2] ?? "";
    if (match[1] !== undefined) return { name, position };
  }
  return { name: "did not end", position: position + 1 };
}

/** Reads the output of a detector that ended with an error. */
export function readFinding(detector: Detector, output: string, code: number | null): Finding {
  switch (detector.type) {
    case "scenarios":
    case "restarts":
    case "tests": {
      const { name, position } = failedTest(output);
      const what =
        detector.type === "tests" ? detector.file.replace(/^.*\//, "").replace(/\.test\.js$/, "") : detector.type;
      return { by: `${what}: ${name.split(": ")[0]}`, seeds: position };
    }
    case "explorer": {
      const states = /"states":(\d+)/.exec(output)?.[1];
      const message = /"message":"([^"]*)"/.exec(output)?.[1] ?? (code === null ? "did not end" : "stopped");
      return { by: `explorer ${detector.model}: ${message}`, seeds: Number(states ?? 1) };
    }
    case "simulation": {
      const seed = /seed (\d+):/.exec(output)?.[1];
      return { by: `simulation: ${/seed \d+: (.{0,60})/.exec(output)?.[1] ?? "stopped"}`, seeds: Number(seed ?? 1) };
    }
  }
}
