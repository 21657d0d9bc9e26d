/**
 * Roots of hardware come in by a constructor, from tests. This reads the program itself: no file of it hands any in, so that no
 * option, file or environment variable can become one.
 */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SRC = fileURLToPath(new URL("../../../src", import.meta.url));

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !/(?:^|[/\\])test-/.test(file))
  .map((file) => ({ file: file.replaceAll("\\", "/"), text: readFileSync(join(SRC, file), "utf8") }));

/** Files with a text in them, without what compares the pinned roots. */
const having = (text: RegExp): readonly string[] =>
  sources.filter((source) => text.test(source.text)).map(({ file }) => file);

test("no command plays a machine or gives roots", () => {
  assert.ok(sources.length > 300);
  const passedOn = ["join.ts", "node-folder.ts", "node.ts", "tee/node-tee.ts"].map((file) => `host/${file}`);
  assert.deepEqual(having(/PlayedMachine/).toSorted(), passedOn);
  assert.deepEqual(having(/hardwareRoots/).toSorted(), ["enclave/manager/validating-node.ts", "host/node.ts"]);
  assert.deepEqual(
    having(/\b(?:startNode|initNode|readNewcomer|requestJoin|teeOf|openNodeTee)\([^)]*\bplayed\b/).filter(
      (file) => !passedOn.includes(file),
    ),
    [],
  );
  // The object that a test would give is made in no file of the program.
  assert.deepEqual(having(/\{[^{}]*\broots:[^{}]*\bprovider\b/), []);
});

test("what verifies evidence on nodes and commands is made with the pinned roots", () => {
  const own = [
    "enclave/manager/node-crypto.ts",
    "enclave/manager/validating-node.ts",
    "host/join.ts",
    "host/tee/node-tee.ts",
  ];
  assert.deepEqual(
    having(/createEvidenceCrypto\([^)\s]/).filter((file) => !own.includes(file)),
    [],
  );
  for (const { file, text } of sources)
    for (const [, given = ""] of text.matchAll(/createGovernanceCrypto\(([^)]*)\)/g))
      assert.ok(!given.includes(",") || own.includes(file), `${file}: ${given}`);
});
