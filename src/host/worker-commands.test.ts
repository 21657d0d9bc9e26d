import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { recoveryBackend } from "../adapters/ethereum/recover.ts";
import { permissionFlag, workerCommands } from "./worker-commands.ts";

describe("the commands of a worker", () => {
  test("name the permission model as each version of Node does", () => {
    for (const version of ["20.20.2", "22.12.0", "23.4.0"])
      assert.equal(permissionFlag(version), "--experimental-permission");
    for (const version of ["22.13.0", "23.5.0", "24.0.0", "25.1.0"])
      assert.equal(permissionFlag(version), "--permission");
  });

  test("allow the worker to read the program and nothing else, and only what prepares native code and threads", () => {
    const commands = workerCommands({ memoryMb: 256 });
    const worker = commands.adapter.args;
    const allowed = worker.filter((argument) => argument.startsWith("--allow"));
    assert.ok(allowed.length > 0 && allowed.every((argument) => argument.startsWith("--allow-fs-read=/")));
    assert.ok(!allowed.some((argument) => /=\/(?:\*)?$|=\*/.test(argument)));
    for (const flag of ["--no-addons", "--disable-proto=delete", "--max-old-space-size=256"])
      assert.ok(worker.includes(flag), flag);
    const more = commands.prepare("ethereum").args.filter((argument) => argument.startsWith("--allow"));
    const native = ["--allow-addons", "--allow-worker", "--allow-fs-read=/etc/alpine-release"];
    assert.deepEqual(more, [...allowed, ...native]);
  });

  test("let the process that prepares recover signatures as fast as this one does", () => {
    const { file, args } = workerCommands({ memoryMb: 256 }).prepare("ethereum");
    const module = new URL("../adapters/ethereum/recover.js", import.meta.url);
    const script = `console.log((await import(${JSON.stringify(module)})).recoveryBackend())`;
    const run = spawnSync(file, [...args.slice(0, -2), "--input-type=module", "-e", script], {
      env: {},
      cwd: "/",
      encoding: "utf8",
    });
    assert.equal(run.stdout.trim(), recoveryBackend(), run.stderr);
  });
});
