/**
 * Fuzzes decoders for as long as asked.
 *
 *   npm run fuzz                                  every target for 20 seconds each, under a fresh seed
 *   npm run fuzz -- --target cbor --seconds 600   one target, longer
 *   npm run fuzz -- --seed 7 --inputs 100000      the same inputs again
 *   npm run fuzz -- --json
 *
 * Exits 1 when a decoder broke, or when the canary, which is broken, was not found to be.
 */
import { randomInt } from "node:crypto";
import { toHex } from "../../src/core/codec/bytes.ts";
import { numberFrom, oneOf, readArguments } from "../../tools/arguments.ts";
import { fuzz, type FuzzResult } from "./fuzzer.ts";
import { fuzzSeeds } from "./seeds.ts";
import { CANARY, fuzzTargets } from "./targets.ts";

const CANARY_PATIENCE = 10;
const ALL_TARGETS = [CANARY, ...fuzzTargets(fuzzSeeds())];
const NAMES = ALL_TARGETS.map(({ name }) => name);
const OPTIONS = {
  target: { type: "string", value: "NAME", help: "one target; a wrong name is answered with all of them" },
  seconds: { type: "string", value: "N", default: "20", help: "time for each target" },
  inputs: { type: "string", value: "N", default: "1000000000", help: "most inputs for each target" },
  seed: { type: "string", value: "N", help: "the same inputs again; else a fresh seed, which is printed" },
  json: { type: "boolean", default: false, help: "print one JSON object" },
} as const;
const { targets, seconds, inputs, seed, json } = readArguments("run fuzz", OPTIONS, (values) => ({
  targets: ALL_TARGETS.filter(
    ({ name }) => values.target === undefined || name === oneOf(NAMES, "target", values.target),
  ),
  seconds: numberFrom(0, "seconds", values.seconds, "any"),
  inputs: numberFrom(1, "inputs", values.inputs),
  seed: values.seed === undefined ? randomInt(2 ** 31) : numberFrom(0, "seed", values.seed),
  json: values.json,
}));
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function told({ target, inputs: count, corpus, functions, unreached, failure }: FuzzResult, rate: number): void {
  const outcome = failure === undefined ? "held" : target === CANARY.name ? "found, as it must be" : "BROKEN";
  const columns = [target.padEnd(18), `${count}`.padStart(9), `${rate}/s`.padStart(9), `${corpus}`.padStart(6)];
  say([...columns, `${functions}`.padStart(10), `${unreached}`.padStart(10), ` ${outcome}`].join(" "));
  if (failure === undefined || target === CANARY.name) return;
  say(`  input: ${toHex(failure.input)}`);
  say(`  ${failure.error instanceof Error ? failure.error.stack : String(failure.error)}`);
}

if (!json) {
  say(`seed ${seed}; unreached: characters of the functions that no input ran`);
  say(`${"target".padEnd(18)}    inputs      rate corpus  functions  unreached  outcome`);
}
const results: FuzzResult[] = [];
for (const target of targets) {
  const startedMs = performance.now();
  // The canary ends when it is found: until then it may take longer than what is asked of the others.
  const limitMs = seconds * 1000 * (target.name === CANARY.name ? CANARY_PATIENCE : 1);
  const result = fuzz(target, { seed, inputs, isOver: () => performance.now() - startedMs > limitMs });
  results.push(result);
  if (!json) told(result, Math.round(result.inputs / ((performance.now() - startedMs) / 1000)));
}
const broken = results.filter(({ target, failure }) => (target === CANARY.name) !== (failure !== undefined));
if (json)
  say(
    JSON.stringify({
      seed,
      targets: results.map(({ failure, ...rest }) => ({ ...rest, ...(failure && { failure: toHex(failure.input) }) })),
      broken: broken.map(({ target }) => target),
    }),
  );
process.exitCode = broken.length === 0 ? 0 : 1;
