import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, test } from "node:test";
import { CocoError } from "../errors.ts";
import { lockFolder } from "./folder-lock.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "coco-lock-"));
const file = path.join(folder, "node.lock");
after(() => fs.rmSync(folder, { recursive: true, force: true }));

function refuses(pid: number | undefined): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === "FolderInUse" && error.data["pid"] === pid;
}

test("a folder is held once within a process, and free again after release", () => {
  const lock = lockFolder(folder);
  assert.equal(fs.readFileSync(file, "utf8"), `${process.pid}\n`);
  assert.throws(() => lockFolder(folder), refuses(process.pid));
  lock.release();
  assert.ok(!fs.existsSync(file));
  lockFolder(folder).release();
});

test("a folder that a living process holds is refused with its process id", () => {
  const holder = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"]);
  try {
    fs.writeFileSync(file, `${holder.pid}\n`);
    assert.throws(() => lockFolder(folder), refuses(holder.pid));
    assert.equal(fs.readFileSync(file, "utf8"), `${holder.pid}\n`);
  } finally {
    holder.kill();
    fs.rmSync(file);
  }
});

test("a lock of a dead process, of an earlier life with our process id, or without content is taken over", () => {
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  for (const content of [`${dead}\n`, `${process.pid}\n`, ""]) {
    fs.writeFileSync(file, content);
    const lock = lockFolder(folder);
    assert.equal(fs.readFileSync(file, "utf8"), `${process.pid}\n`);
    lock.release();
  }
  assert.deepEqual(fs.readdirSync(folder), []);
});
