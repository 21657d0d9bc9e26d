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
import { parseArgs } from "node:util";
import { toHex } from "../../src/core/codec/bytes.ts";
import { fuzz, type FuzzResult } from "./fuzzer.ts";
import { fuzzSeeds } from "./seeds.ts";
import { CANARY, fuzzTargets } from "./targets.ts";

const { values } = parseArgs({
  options: {
    target: { type: "string" },
    seconds: { type: "string", default: "20" },
    inputs: { type: "string", default: "1000000000" },
    seed: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const CANARY_PATIENCE = 10;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const [inputs, seconds] = [Number(values.inputs), Number(values.seconds)];
const targets = [CANARY, ...fuzzTargets(fuzzSeeds())].filter(
  ({ name }) => values.target === undefined || name === values.target,
);

function told({ target, inputs: count, corpus, functions, missed, failure }: FuzzResult, rate: number): void {
  const outcome = failure === undefined ? "held" : target === CANARY.name ? "found, as it must be" : "BROKEN";
  const columns = [target.padEnd(18), `${count}`.padStart(9), `${rate}/s`.padStart(9), `${corpus}`.padStart(6)];
  say([...columns, `${functions}`.padStart(10), `${missed}`.padStart(7), ` ${outcome}`].join(" "));
  if (failure === undefined || target === CANARY.name) return;
  say(`  input: ${toHex(failure.input)}`);
  say(`  ${failure.error instanceof Error ? failure.error.stack : String(failure.error)}`);
}

if (targets.length === 0) {
  say(
    `no target ${String(values.target)}; there are: ${fuzzTargets(fuzzSeeds())
      .map(({ name }) => name)
      .join(", ")}`,
  );
  process.exit(2);
}
if (!values.json) say(`seed ${seed}\n${"target".padEnd(18)}    inputs      rate corpus  functions  missed  outcome`);
const results: FuzzResult[] = [];
for (const target of targets) {
  const startedMs = performance.now();
  // The canary ends when it is found: until then it may take longer than what is asked of the others.
  const limitMs = seconds * 1000 * (target.name === CANARY.name ? CANARY_PATIENCE : 1);
  const result = fuzz(target, { seed, inputs, isOver: () => performance.now() - startedMs > limitMs });
  results.push(result);
  if (!values.json) told(result, Math.round(result.inputs / ((performance.now() - startedMs) / 1000)));
}
const broken = results.filter(({ target, failure }) => (target === CANARY.name) !== (failure !== undefined));
if (values.json)
  say(
    JSON.stringify({
      seed,
      targets: results.map(({ failure, ...rest }) => ({ ...rest, ...(failure && { failure: toHex(failure.input) }) })),
      broken: broken.map(({ target }) => target),
    }),
  );
process.exitCode = broken.length === 0 ? 0 : 1;
