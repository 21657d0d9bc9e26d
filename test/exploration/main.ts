/**
 * Exhaustive search over the real consensus core, from the command line:
 *
 *   npm run explore                                   every model, 5,000,000 states together
 *   npm run explore -- --states 500000 --json         the bound of continuous integration
 *   npm run explore -- --model replication --seed 7   one model; the seed is for the walks beyond the exhausted depth
 *
 * Prints what was searched and within which bounds. On a violation prints the shortest trace found and exits 1.
 */
import { numberFrom, oneOf, readArguments } from "../../tools/arguments.ts";
import { exposePrivates } from "./expose-privates.ts";
import type { Model } from "./model.ts";
import type { SearchResult } from "./search.ts";

exposePrivates();
const { MODELS } = await import("./model.ts");
const { search } = await import("./search.ts");

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const thousands = (value: number): string => value.toLocaleString("en-US");

function describe(model: Model, result: SearchResult, seconds: number): void {
  const { states, depth, deepest, complete, localStates, coreSteps } = result;
  const reach = complete ? `exhausted at depth ${deepest}` : `all to depth ${depth}, walks to ${deepest}`;
  const rate = thousands(Math.round(states / seconds));
  say(`${model.name}: ${thousands(states)} states, ${reach}; ${seconds.toFixed(1)} s, ${rate} states/s`);
  say(`  ${thousands(localStates)} states of one machine, ${thousands(coreSteps)} steps of the real core`);
  say(
    `  bounds: ${Object.entries(model.bounds)
      .map(([name, bound]) => `${name} ${bound}`)
      .join(", ")}`,
  );
  if (result.violation === undefined) return;
  say(`  VIOLATION: ${result.violation.message}`);
  for (const [at, line] of [...model.prefix.map((step) => `(before) ${step}`), ...result.violation.trace].entries())
    say(`  ${String(at + 1).padStart(3)}  ${line}`);
}

const OPTIONS = {
  states: { type: "string", value: "N", default: "5000000", help: "most states of all models together" },
  model: { type: "string", value: "NAME", help: `one model: ${MODELS.map(({ name }) => name).join(", ")}` },
  seed: { type: "string", value: "N", default: "1", help: "seed of the walks beyond the exhausted depth" },
  json: { type: "boolean", default: false, help: "print one JSON object" },
} as const;

const readOptions = () =>
  readArguments("run explore", OPTIONS, ({ states, model, seed, json }) => {
    const names = MODELS.map(({ name }) => name);
    const wanted = model === undefined ? names : [oneOf(names, "model", model)];
    const models = MODELS.filter(({ name }) => wanted.includes(name));
    return { states: numberFrom(1, "states", states), models, seed: numberFrom(0, "seed", seed), json };
  });

function main(): number {
  const { models, seed, json, states: statesMax } = readOptions();
  const results: SearchResult[] = [];
  const startedMs = performance.now();
  let left = statesMax;
  for (const [at, model] of models.entries()) {
    const beganMs = performance.now();
    const result = search(model, Math.max(1, Math.floor(left / (models.length - at))), seed);
    left -= result.states;
    results.push(result);
    if (!json) describe(model, result, (performance.now() - beganMs) / 1000);
    if (result.violation !== undefined) break;
  }
  const violations = results.flatMap(({ model, violation }) =>
    violation === undefined ? [] : [{ model, ...violation }],
  );
  const states = results.reduce((sum, result) => sum + result.states, 0);
  const wallSeconds = Number(((performance.now() - startedMs) / 1000).toFixed(1));
  const depth = Math.max(...results.map(({ deepest }) => deepest));
  const bounds = Object.fromEntries(models.map((model) => [model.name, model.bounds]));
  if (json) say(JSON.stringify({ states, depth, violations, bounds, wallSeconds, models: results }));
  else say(`${thousands(states)} states in ${wallSeconds} s, ${violations.length} violations`);
  return violations.length === 0 ? 0 : 1;
}

process.exitCode = main();
