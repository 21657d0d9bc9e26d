/** Every transcript of this folder, as one test each; the test's name is the transcript's first line. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newScript, runLine } from "./commands.ts";

/** The sources: the transcripts are not copied by the compiler. */
const FOLDER = fileURLToPath(new URL("../../../test/scenarios/", import.meta.url));

function play(text: string): void {
  const script = newScript();
  for (const [at, line] of text.split("\n").entries()) {
    try {
      runLine(script, line);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`line ${at + 1}, \`${line}\`: ${reason}`, { cause: error });
    }
  }
  const stopped = [...(script.world?.nodes.values() ?? [])].filter(({ stoppedBy }) => stoppedBy !== undefined);
  assert.deepEqual(
    stopped.map(({ id, stoppedBy }) => `node ${id}: ${stoppedBy}`),
    [],
  );
}

const files = fs.readdirSync(FOLDER).filter((name) => name.endsWith(".txt"));

for (const name of files.sort()) {
  const text = fs.readFileSync(join(FOLDER, name), "utf8");
  const title = /^# (.+)/.exec(text)?.[1] ?? "";
  test(`${name.replace(/\.txt$/, "")}: ${title}`, () => {
    assert.ok(title.length > 0, "a transcript begins with a comment that says what it shows");
    assert.match(text, /^expect /m, "a transcript expects something");
    play(text);
  });
}
