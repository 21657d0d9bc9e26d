/** What `npm run ci` runs, and for how long: measured on two quiet processors, with room for a busier machine. */
import type { Step } from "./steps.ts";

/** Most seconds that all suites may take together: the list stays something a person waits for. */
export const ALL_SUITES_SECONDS_MAX = 1_800;
/** Most seconds of {@link RELIABILITY_SUITES} together. */
export const RELIABILITY_SUITES_SECONDS_MAX = 1_200;
/** Names of the suites that say whether the core can be relied on. */
export const RELIABILITY_SUITES: readonly string[] = [
  "sim",
  "sim:crash-points",
  "explore",
  "seeded-bugs",
  "test:faults",
  "bench:core (smoke)",
];

/** In the order of how soon a suite tells what is wrong. */
export const SUITES: readonly Step[] = [
  { name: "check", script: "dist/tools/check.js", arguments: [], budgetSeconds: 100 },
  { name: "test", script: "dist/tools/test.js", arguments: [], budgetSeconds: 460 },
  {
    name: "test:long",
    script: "dist/tools/test.js",
    arguments: ["--kind", "slow", "--only", "long"],
    budgetSeconds: 50,
  },
  {
    name: "test:hostile-worker",
    script: "dist/tools/test.js",
    arguments: ["--kind", "slow", "--only", "hostile-worker"],
    budgetSeconds: 120,
  },
  {
    name: "test:faults",
    script: "dist/tools/test.js",
    arguments: ["--kind", "slow", "--only", "faults"],
    budgetSeconds: 360,
  },
  {
    name: "sim",
    script: "dist/test/simulation/main.js",
    arguments: ["--seeds", "150", "--quiet"],
    budgetSeconds: 150,
  },
  {
    name: "sim:crash-points",
    script: "dist/test/simulation/main.js",
    arguments: ["--crash-points", "--every", "13"],
    budgetSeconds: 60,
  },
  { name: "explore", script: "dist/test/exploration/main.js", arguments: ["--states", "500000"], budgetSeconds: 40 },
  { name: "fuzz", script: "dist/test/fuzz/main.js", arguments: ["--seconds", "2"], budgetSeconds: 90 },
  { name: "seeded-bugs", script: "dist/test/seeded-bugs/main.js", arguments: [], budgetSeconds: 110 },
  { name: "demo:consortium", script: "dist/bench/consortium-demo.js", arguments: [], budgetSeconds: 120 },
  { name: "bench:core (smoke)", script: "dist/bench/core.js", arguments: ["--quick"], budgetSeconds: 40 },
  { name: "bench (smoke)", script: "dist/bench/main.js", arguments: ["--quick"], budgetSeconds: 100 },
];
