import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, describe, test } from "node:test";
import { groupTests } from "../../tools/test-groups.ts";

const folder = await mkdtemp(join(tmpdir(), "coco-groups-"));
after(() => rm(folder, { recursive: true, force: true }));

/** Exit code of a group of files that hold these bodies of tests, one after the other. */
async function exitCode(...bodies: readonly string[]): Promise<number> {
  const files = bodies.map((_, at) => join(folder, `${at}.test.mjs`));
  for (const [at, body] of bodies.entries())
    await writeFile(files[at] ?? "", `import { test } from "node:test";\n${body}\n`);
  const { paths, groups, remove } = groupTests(files, (path) => join("src/core", relative(folder, path)));
  try {
    assert.deepEqual([...groups.keys()], paths);
    // As the child of a test runner node:test would run it otherwise.
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
    const child = spawn(process.execPath, [...paths], { stdio: "ignore", env: environment });
    const [code] = (await once(child, "exit")) as [number];
    return code;
  } finally {
    remove();
  }
}

const PASSES = 'test("passes", () => undefined);';

describe("a group of test files", () => {
  test("ends well when all its tests do", async () => {
    assert.equal(await exitCode(PASSES, PASSES), 0);
  });

  test("fails with a test, with a file that cannot be imported, and where a test ends the process before the others", async () => {
    assert.equal(await exitCode(PASSES, 'test("fails", () => Promise.reject(new Error()));'), 1);
    assert.equal(await exitCode(PASSES, 'throw new Error("no import");'), 1);
    const ends = 'test("ends all", () => process.exit(0));\ntest("fails", () => Promise.reject(new Error()));';
    assert.equal(await exitCode(PASSES, ends), 1);
    assert.equal(await exitCode(ends), 1, "a file of its own");
  });
});
