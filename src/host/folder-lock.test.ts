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

const OURS = new RegExp(`^${process.pid}(?: [0-9a-f:-]+)?\\n$`);

function refuses(pid: number | undefined): (error: unknown) => boolean {
  return (error) => error instanceof CocoError && error.code === "FolderInUse" && error.data["pid"] === pid;
}

test("a folder is held once within a process, and free again after release", () => {
  const lock = lockFolder(folder);
  assert.match(fs.readFileSync(file, "utf8"), OURS);
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

test("a lock of a dead process, of one that cannot be, of an earlier life with our process id, or without content is taken over", () => {
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  for (const content of [`${dead}\n`, "9999999999\n", `${process.pid}\n`, ""]) {
    fs.writeFileSync(file, content);
    const lock = lockFolder(folder);
    assert.match(fs.readFileSync(file, "utf8"), OURS);
    lock.release();
  }
  assert.deepEqual(fs.readdirSync(folder), []);
});

test("of many processes that take over a stale lock at once exactly one gets it", async () => {
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const module = new URL("./folder-lock.js", import.meta.url).href;
  const script = `import { lockFolder } from ${JSON.stringify(module)};
    try { lockFolder(process.argv[1]); console.log("held"); setTimeout(() => {}, 60000); } catch (error) { console.log(error.code); }`;
  fs.writeFileSync(file, `${dead}\n`);
  const processes = Array.from({ length: 5 }, () =>
    spawn(process.execPath, ["--input-type=module", "-e", script, folder], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  try {
    const told = await Promise.all(
      processes.map(
        (child) => new Promise<string>((resolve) => child.stdout.once("data", (data) => resolve(String(data).trim()))),
      ),
    );
    assert.deepEqual(told.sort(), ["FolderInUse", "FolderInUse", "FolderInUse", "FolderInUse", "held"]);
  } finally {
    for (const child of processes) child.kill();
    await Promise.all(
      processes.map(
        (child) => child.exitCode ?? child.signalCode ?? new Promise((resolve) => child.once("exit", resolve)),
      ),
    );
    fs.rmSync(file, { force: true });
  }
});

test("a process that has the id of an earlier holder is not taken for it", {
  skip: process.platform !== "linux",
}, () => {
  const other = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"]);
  try {
    fs.writeFileSync(file, `${other.pid} 00000000-0000-0000-0000-000000000000:1\n`);
    lockFolder(folder).release();
  } finally {
    other.kill();
  }
  assert.deepEqual(fs.readdirSync(folder), []);
});
