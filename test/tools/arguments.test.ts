/** The commands behind `npm run`, as they are typed: help, and what is wrong with arguments, before any work begins. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { numberFrom } from "../../tools/arguments.ts";

const DIST = fileURLToPath(new URL("../..", import.meta.url));

function call(script: string, args: readonly string[]) {
  return spawnSync(process.execPath, [`${DIST}${script}.js`, ...args], { encoding: "utf8", timeout: 60_000 });
}

const COMMANDS: readonly (readonly [command: string, script: string, options: readonly string[]])[] = [
  ["run ci", "tools/ci", []],
  ["run check", "tools/check", []],
  ["test", "tools/test", ["--only TEXT", "--kind KIND"]],
  ["run test:pkcs11", "test/pkcs11", []],
  ["run explore", "test/exploration/main", ["--states N", "--model NAME", "--seed N", "--json"]],
  ["run fuzz", "test/fuzz/main", ["--target NAME", "--seconds N", "--inputs N", "--seed N", "--json"]],
  ["run seeded-bugs", "test/seeded-bugs/main", ["--only TEXT", "--json"]],
  ["run sim", "test/simulation/main", ["--seed N", "--crash-points", "--quiet"]],
  ["run bench", "bench/main", ["--quick", "--only NAME", "--profile DIR", "--json"]],
  ["run bench:core", "bench/core", ["--quick", "--only NAME", "--json"]],
  ["run bench:attestation", "bench/attestation", ["--rounds N", "--json"]],
  ["run demo:consortium", "bench/consortium-demo", ["--json", "--keep"]],
  ["run demo:replay", "bench/replay-demo", ["--data DIR", "--batch N", "--json"]],
];

/** What is wrong, and a word that must be in the answer. */
const WRONG: readonly (readonly [script: string, args: readonly string[], told: string])[] = [
  ["test/exploration/main", ["--states", "x"], "--states takes a whole number from 1 on"],
  ["test/exploration/main", ["--model", "nope"], "replication"],
  ["test/fuzz/main", ["--seconds", "x"], "--seconds takes a number from 0 on"],
  ["test/fuzz/main", ["--target", "nope"], "cbor"],
  ["test/seeded-bugs/main", ["--only", "nope"], "two-votes-in-one-term"],
  ["test/simulation/main", ["--seeds", "0"], "--seeds takes a whole number from 1 on"],
  ["bench/core", ["--only", "nope"], "ledger"],
  ["bench/attestation", ["--rounds", "0"], "--rounds takes a whole number from 1 on"],
];

describe("the arguments of tools", () => {
  for (const [command, script, options] of COMMANDS)
    test(`npm ${command}: --help has a line for each option; an unknown option ends with 2`, () => {
      const help = call(script, ["--help"]);
      assert.equal(help.status, 0);
      assert.equal(help.stderr, "");
      const [first, ...lines] = help.stdout.trimEnd().split("\n");
      assert.equal(first, `Usage: npm ${command} -- [options]`);
      for (const option of [...options, "--help"])
        assert.ok(
          lines.some((line) => line.startsWith(`  ${option} `) && /\S {2,}\S/.test(line)),
          option,
        );
      const wrong = call(script, ["--nope"]);
      assert.equal(wrong.status, 2);
      assert.equal(wrong.stdout, "");
      assert.match(wrong.stderr, /^Unknown option '--nope'/);
      assert.ok(wrong.stderr.endsWith(help.stdout));
    });

  for (const [script, args, told] of WRONG)
    test(`${script} ${args.join(" ")} ends with 2 and says what is taken`, () => {
      const { status, stdout, stderr } = call(script, args);
      assert.equal(status, 2);
      assert.equal(stdout, "");
      assert.ok(stderr.slice(0, stderr.indexOf("Usage: npm run ")).includes(told), stderr);
      assert.doesNotMatch(stderr, /\n\s+at /);
    });

  test("numbers are whole unless others are asked for, and not below the least", () => {
    assert.equal(numberFrom(1, "n", "1"), 1);
    assert.equal(numberFrom(0, "n", "0.5", "any"), 0.5);
    for (const text of ["", " ", "x", "0", "-1", "1.5", "1e99", "Infinity"])
      assert.throws(() => numberFrom(1, "n", text), { code: "WrongUsage" }, JSON.stringify(text));
    assert.throws(() => numberFrom(0, "n", "Infinity", "any"), { code: "WrongUsage" });
  });
});
