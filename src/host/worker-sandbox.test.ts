import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { workerSandbox } from "./worker-sandbox.ts";

/** Tells, without Node's permission model, everything that is no folder below the root, and what can be done. */
const LOOK = `
const fs = require("node:fs");
const net = require("node:net");
const files = [];
const look = (folder) => {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const path = folder + entry.name;
    if (entry.isDirectory()) look(path + "/");
    else files.push(path);
  }
};
if (process.argv[3] === "look") look("/");
const outcome = (action) => { try { action(); return "done"; } catch (error) { return error.code; } };
const socket = net.connect(process.argv[1]);
const tell = (connect) => {
  console.log(JSON.stringify({
    files,
    connect,
    writeRoot: outcome(() => fs.writeFileSync("/planted", "")),
    writeProgram: outcome(() => fs.writeFileSync(process.argv[2], "")),
    environment: process.env,
    pid: process.pid,
    interfaces: Object.keys(require("node:os").networkInterfaces()),
  }));
  process.exit();
};
socket.on("connect", () => tell("done")).on("error", (error) => tell(error.code));
`;
const MEMORY_MB = 256;

interface Seen {
  readonly files: readonly string[];
  readonly connect: string;
  readonly writeRoot: string;
  readonly writeProgram: string;
  readonly environment: Record<string, string>;
  readonly pid: number;
  readonly interfaces: readonly string[];
}

describe("the sandbox of a worker", { skip: process.platform !== "linux" }, () => {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "coco sandbox's-")));
  const program = join(dir, "program");
  const socketPath = join(dir, "engine.sock");
  const server = createServer();

  before(() => {
    mkdirSync(join(program, "packages"), { recursive: true });
    writeFileSync(join(program, "packages", "one.js"), "");
    writeFileSync(join(program, "main.js"), "");
    writeFileSync(join(dir, "secret"), "");
    symlinkSync(join(program, "packages"), join(dir, "linked"));
    server.listen(socketPath);
  });
  after(() => {
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function sandboxOf(toolFolders?: readonly string[]) {
    const paths = [join(program, "packages"), join(program, "main.js"), join(dir, "linked"), join(dir, "missing")];
    return workerSandbox({ program: paths, memoryMb: MEMORY_MB, ...(toolFolders !== undefined && { toolFolders }) });
  }

  /** Runs asynchronously: the socket is served by this process. */
  async function look(sandbox: ReturnType<typeof sandboxOf>, how: "look" | "quick"): Promise<Seen> {
    const args = ["-e", LOOK, socketPath, join(program, "main.js"), how];
    const command = sandbox.wrap({ file: process.execPath, args });
    const child = spawn(command.file, command.args, { env: {}, cwd: "/", stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    for await (const chunk of child.stdout) text += String(chunk);
    return JSON.parse(text) as Seen;
  }

  test("shows the program and what Node needs, no socket, nowhere to write", async (t) => {
    const sandbox = sandboxOf();
    const { network, files, privileges } = sandbox;
    t.diagnostic(`on this machine: ${JSON.stringify({ network, files, privileges })}`);
    if (files !== "isolated") {
      t.skip(files);
      return;
    }
    const seen = await look(sandbox, "look");
    const own = seen.files.filter((file) => file.startsWith(dir)).sort();
    assert.deepEqual(
      own,
      ["linked/one.js", "program/main.js", "program/packages/one.js"].map((file) => join(dir, file)),
    );
    const others = seen.files.filter((file) => !file.startsWith(dir) && file !== process.execPath);
    for (const file of others) assert.match(file, /^\/etc\/ld\.so\.cache$|\.so(?:\.[\d.]+)?$/);
    assert.equal(seen.connect, "ENOENT");
    assert.deepEqual([seen.writeRoot, seen.writeProgram], ["EROFS", "EROFS"]);
    assert.deepEqual([seen.environment, seen.pid, seen.interfaces], [{}, 1, []]);
  });

  test("lets nobody in it make a namespace, and with it privileges, again", (t) => {
    const unshare = "/usr/bin/unshare";
    const sandbox = workerSandbox({ program: [unshare], memoryMb: MEMORY_MB });
    if (sandbox.files !== "isolated") {
      t.skip(sandbox.files);
      return;
    }
    const run = (...args: string[]) => {
      const command = sandbox.wrap({ file: unshare, args });
      return spawnSync(command.file, command.args, { env: {}, cwd: "/", stdio: "ignore" }).status;
    };
    assert.equal(run("--version"), 0, "it can be run");
    for (const kind of ["--user", "--mount", "--net", "--pid"]) assert.equal(run(kind, "--", unshare, "--version"), 1);
  });

  test("holds as much as there is, and says what does not", async () => {
    const tools = join(dir, "tools");
    mkdirSync(tools);
    const states: unknown[] = [];
    const note = () => {
      // Each time other tools: what was found before does not count.
      const { network, files, privileges } = sandboxOf([tools, join(dir, String(states.length))]);
      states.push([network, files, privileges]);
    };
    const whole = sandboxOf();
    note();
    for (const name of ["unshare", "mount", "setpriv"]) {
      writeFileSync(join(tools, name), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
      note();
      rmSync(join(tools, name));
      symlinkSync(join("/usr/bin", name), join(tools, name));
      if (name === "unshare" && whole.network !== "isolated") return;
      if (name === "mount" && whole.files !== "isolated") return;
    }
    note();
    assert.deepEqual(states, [
      ["unshare-missing", "unshare-missing", "setpriv-missing"],
      ["unshare-refused", "unshare-refused", "setpriv-missing"],
      ["isolated", "mount-refused", "setpriv-missing"],
      ["isolated", "isolated", "setpriv-refused"],
      [whole.network, whole.files, whole.privileges],
    ]);
  });

  test("still keeps out the environment where nothing else is to be had", async () => {
    const seen = await look(sandboxOf([dir]), "quick");
    assert.deepEqual(seen.environment, {});
    assert.equal(seen.connect, "done", "what the test above sees refused is there");
  });

  test("bounds memory beside the heap", () => {
    // Not written to: what is asked for counts, and costs no memory until then.
    const script = "const kept = []; while (kept.length < 512) kept.push(Buffer.alloc(16 * 1024 * 1024))";
    const { file, args } = sandboxOf().wrap({ file: process.execPath, args: ["-e", script] });
    const { status, signal } = spawnSync(file, args, { env: {}, cwd: "/", stdio: "ignore" });
    assert.notEqual(status ?? signal, 0);
  });

  test("ends with the process that started it, whatever the program does", async (t) => {
    const sandbox = sandboxOf();
    if (sandbox.privileges !== "dropped") {
      t.skip(sandbox.privileges);
      return;
    }
    const command = sandbox.wrap({ file: process.execPath, args: ["-e", "setInterval(() => {}, 1000)", "endless"] });
    const script = `
      const { file, args } = JSON.parse(process.argv[1]);
      const child = require("node:child_process").spawn(file, args, { env: {}, cwd: "/", stdio: "ignore" });
      console.log(child.pid);`;
    const starter = spawn(process.execPath, ["-e", script, JSON.stringify(command)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await starter.stdout.take(1).toArray()) as Buffer[];
    const pid = Number(String(line));
    assert.ok(existsSync(`/proc/${pid}`), "it runs");
    starter.kill("SIGKILL");
    while (existsSync(`/proc/${pid}`)) await delay(20);
  });
});
