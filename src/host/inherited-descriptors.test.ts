import assert from "node:assert/strict";
import { spawnSync, type StdioOptions } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";

const MODULE = new URL("./inherited-descriptors.js", import.meta.url);
const NUMBERS = [7, 40, 61];

/** What a child's child has at some numbers. */
function seenBelow(folder: number, how: string): string {
  const look = `console.log(${JSON.stringify(NUMBERS)}.map((at) => {
    try { return fs.readlinkSync("/proc/self/fd/" + at); } catch { return "nothing"; }
  }).join(" "))`;
  const script = `
    import { spawnSync } from "node:child_process";
    import { nothingInherited } from ${JSON.stringify(MODULE)};
    spawnSync(process.execPath, ["-e", ${JSON.stringify(look)}], { stdio: ${how}(["ignore", "inherit", "inherit"]) });`;
  const given = Array.from({ length: Math.max(...NUMBERS) + 1 }, (_, at) => (NUMBERS.includes(at) ? folder : "ignore"));
  const stdio: StdioOptions = ["ignore", "pipe", "inherit", ...given.slice(3)];
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], { stdio, encoding: "utf8" }).stdout.trim();
}

describe("descriptors a process was given", { skip: process.platform !== "linux" }, () => {
  test("are not passed on to a worker, whatever their numbers", () => {
    const dir = mkdtempSync(join(tmpdir(), "coco-descriptors-"));
    const folder = openSync(dir, "r");
    try {
      const passed = seenBelow(folder, "").split(" ");
      assert.ok(passed.includes(dir), "without it some are");
      const seen = seenBelow(folder, "nothingInherited").split(" ");
      for (const one of seen) assert.ok(one === "/dev/null" || /^(?:nothing|pipe:.*|anon_inode:.*)$/.test(one), one);
    } finally {
      closeSync(folder);
      rmSync(dir, { recursive: true });
    }
  });
});
