/**
 * `npm run demo:consortium [-- --json --keep]`: three organisations found a network by the commands a user types, admit two
 * more, move to a new version of the code, change how they vote, and expel a member, while clients write all the time; then
 * somebody who holds only the first service certificate verifies all of it from a copied ledger. Exits 1 when anything that
 * is promised does not hold.
 */
import { CocoError } from "../src/errors.ts";
import { readArguments } from "../tools/arguments.ts";
import { Consortium } from "./lib/consortium.ts";
import { audit, countWrites, type Writes } from "./lib/consortium-audit.ts";
import { admitTwo, changePolicy, expel, rollOver } from "./lib/consortium-changes.ts";
import { type Cast, found, makeCast, open } from "./lib/consortium-founding.ts";
import { renderTable } from "./lib/table.ts";

const OPTIONS = {
  json: { type: "boolean", default: false, help: "one JSON object as the last line" },
  keep: { type: "boolean", default: false, help: "keep the folder with everybody's files" },
} as const;

interface StepResult {
  readonly step: string;
  readonly seconds: number;
  readonly asserted: string;
}

interface Step {
  readonly name: string;
  run(cast: Cast): Promise<string>;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function writesInWords({ sent, acknowledged, committed, failed, retries, longestMs }: Writes): string {
  const counts = `${sent} writes sent, ${acknowledged} acknowledged, ${committed} committed on every node, ${failed} failed`;
  return `${counts}; ${retries} attempts repeated at another node, longest ${Math.round(longestMs)} ms`;
}

async function perform(consortium: Consortium, results: StepResult[]): Promise<Writes> {
  let writes: Writes | undefined;
  const steps: readonly Step[] = [
    { name: "found a network", run: found },
    { name: "open it by vote", run: open },
    { name: "admit a member and a participant", run: admitTwo },
    { name: "roll over to new code", run: rollOver },
    { name: "change the voting policy", run: changePolicy },
    { name: "expel a member", run: expel },
    {
      name: "look up every write",
      run: async (cast) => {
        writes = await countWrites(cast);
        return writesInWords(writes);
      },
    },
    { name: "audit a copied ledger", run: audit },
  ];
  const cast = await makeCast(consortium);
  try {
    for (const { name, run } of steps) {
      say(`\n=== ${name}`);
      const startedMs = performance.now();
      const asserted = await run(cast);
      results.push({ step: name, seconds: (performance.now() - startedMs) / 1000, asserted });
    }
  } finally {
    cast.load.current?.close();
  }
  if (writes === undefined) throw new CocoError("Internal", "the writes were not counted");
  return writes;
}

function report(results: readonly StepResult[]): void {
  const rows = results.map(({ step, seconds, asserted }) => [step, seconds.toFixed(1), asserted]);
  say(`\n${renderTable([["step", "seconds", "what holds"], ...rows])}`);
}

async function main(): Promise<void> {
  const values = readArguments("run demo:consortium", OPTIONS, (given) => given);
  const consortium = new Consortium(say);
  // Whatever ends this process ends all of it.
  process.once("exit", () => consortium.kill(values.keep));
  const results: StepResult[] = [];
  try {
    const writes = await perform(consortium, results);
    report(results);
    if (values.json) say(JSON.stringify({ ok: true, steps: results, writes }));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    report(results);
    const code = error instanceof CocoError ? error.code : "Internal";
    process.stderr.write(`FAILED after ${results.length} steps: ${code}: ${error.message}\n`);
    if (values.json) say(JSON.stringify({ ok: false, steps: results, error: { code, message: error.message } }));
    process.exitCode = 1;
  } finally {
    await consortium.close(values.keep);
    if (values.keep) say(`kept: ${consortium.dir}`);
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
await main();
