/**
 * Runs an entry of dist/ and first does what it needs: checks the Node version, installs packages, builds.
 *
 *   node tools/bootstrap.mjs <entry under dist> [arguments...]     for example dist/src/cli/main.js sandbox start
 *   node tools/bootstrap.mjs --build                               only install and build
 *
 * Plain JavaScript on Node built-ins alone, because it runs before anything is installed or compiled. Nothing is done
 * twice: packages are compared with package-lock.json, sources with dist/.stamp. The entry is imported into this very
 * process, so that arguments, exit code and signals are its own. The build does not check types: `npm run check` does.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const DIST = join(ROOT, "dist");
const STAMP = join(DIST, ".stamp");
/** Our own, so that a type check by hand, which writes the one of tsconfig.json, does not confuse the build. */
const BUILD_INFO = join(DIST, ".build.tsbuildinfo");
const LOCK = join(DIST, ".lock");
const SOURCE_FOLDERS = ["src", "test", "bench", "tools"];
const OLDEST_NODE = [20, 19];
/** A build takes seconds and an installation about a minute: whoever holds the lock longer is stuck. */
const LOCK_WAIT_MS = 300_000;

const say = (line) => process.stderr.write(`${line}\n`);

function fail(line) {
  say(line);
  process.exit(1);
}

function checkNodeVersion() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  fail(
    `Coco Framework needs Node ${OLDEST_NODE.join(".")} or newer; this is ${process.versions.node} (${process.execPath}).`,
  );
}

/** Runs a Node script to its end; ends this process when the child fails or is interrupted. */
async function runNode(step, script, args) {
  const child = spawn(process.execPath, [script, ...args], { cwd: ROOT, stdio: ["ignore", 2, 2] });
  // Ctrl-C reaches the child itself, as part of the terminal's process group; the other signals only reach us.
  const forward = (signal) => child.kill(signal);
  const ignore = () => {};
  process.on("SIGINT", ignore).on("SIGTERM", forward).on("SIGHUP", forward);
  const [code, signal] = await new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (...result) => done(result));
  });
  process.off("SIGINT", ignore).off("SIGTERM", forward).off("SIGHUP", forward);
  if (code === 0) return;
  releaseLock();
  if (signal !== null) process.kill(process.pid, signal);
  fail(`${step} failed (${signal ?? `exit code ${code}`}).`);
}

function readJson(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** Whether node_modules holds what package-lock.json asks for; npm notes what it installed in a hidden lock file. */
function packagesFit() {
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages;
  const installed = readJson(join(ROOT, "node_modules", ".package-lock.json"))?.packages;
  if (wanted === undefined) fail("package-lock.json is missing or unreadable: restore it from the repository.");
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    const present = installed[path];
    // Optional packages are for other platforms as a rule.
    if (path === "" || (present === undefined && (entry.optional || entry.devOptional))) return true;
    return present !== undefined && present.version === entry.version && present.integrity === entry.integrity;
  });
}

/** npm's own script: the one that runs us, or the one that came with this Node. */
function npmScript() {
  const beside = dirname(process.execPath);
  const candidates = [
    process.env.npm_execpath ?? "",
    join(beside, "node_modules", "npm", "bin", "npm-cli.js"),
    join(beside, "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"),
    join(beside, "..", "share", "nodejs", "npm", "bin", "npm-cli.js"),
  ];
  const found = candidates.find((path) => path.endsWith("npm-cli.js") && fs.existsSync(path));
  return found ?? fail("npm was not found beside Node: run `npm ci --ignore-scripts` in this folder, then try again.");
}

async function installPackages() {
  if (packagesFit()) return;
  say("Installing packages (npm ci)...");
  await runNode("npm ci", npmScript(), ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
}

/** Every file under a folder, as paths relative to the repository. */
function filesBelow(folder) {
  const absolute = join(ROOT, folder);
  if (!fs.existsSync(absolute)) return [];
  return fs
    .readdirSync(absolute, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath ?? entry.path, entry.name)));
}

const isSource = (path) => (path.endsWith(".ts") && !path.endsWith(".d.ts")) || path.endsWith(".json");

/** What the build depends on, in one hash: names, sizes and times of the sources, contents of the settings. */
function fingerprint(sources) {
  const hash = createHash("sha256");
  for (const path of sources) {
    const { size, mtimeMs } = fs.statSync(join(ROOT, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  for (const name of ["tsconfig.json", "tsconfig.base.json", "package-lock.json"])
    hash.update(fs.readFileSync(join(ROOT, name)));
  return hash.digest("hex");
}

const outputOf = (source) => join(ROOT, "dist", source.replace(/\.ts$/, ".js"));

function readText(path) {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** `fresh`, `changed`, or `incomplete` when outputs are missing, so that an incremental build would not bring them back. */
function buildState() {
  const sources = SOURCE_FOLDERS.flatMap(filesBelow).filter(isSource).sort();
  const hash = fingerprint(sources);
  const stamp = readText(STAMP);
  if (stamp === undefined || sources.some((path) => path.endsWith(".ts") && !fs.existsSync(outputOf(path)))) {
    return { state: "incomplete", hash };
  }
  return { state: stamp === hash ? "fresh" : "changed", hash };
}

/** Removes what was compiled from sources that are gone: a test runner must not find them. */
function removeStaleOutputs() {
  for (const path of SOURCE_FOLDERS.flatMap((folder) => filesBelow(join("dist", folder)))) {
    const source = relative("dist", path).replace(/(\.js|\.js\.map|\.d\.ts|\.d\.ts\.map)$/, ".ts");
    if (isSource(source) && !fs.existsSync(join(ROOT, source))) fs.rmSync(join(ROOT, path), { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Takes away a lock whose holder is dead. The rename makes sure that only one of several waiting processes does. */
function removeDeadLock() {
  const holder = readText(LOCK);
  // An empty file is a lock that is being written at this moment.
  if (holder === undefined || holder === "" || isAlive(Number(holder))) return;
  const taken = `${LOCK}.${process.pid}`;
  try {
    fs.renameSync(LOCK, taken);
    // Between look and rename a faster process may have taken the dead lock away and made its own: give it back.
    if (readText(taken) !== holder) fs.linkSync(taken, LOCK);
  } catch {
    // Another process was faster.
  }
  fs.rmSync(taken, { force: true });
}

let holdsLock = false;

async function takeLock() {
  fs.mkdirSync(DIST, { recursive: true });
  for (let waitedMs = 0; waitedMs <= LOCK_WAIT_MS; waitedMs += 100) {
    try {
      fs.writeFileSync(LOCK, String(process.pid), { flag: "wx" });
      holdsLock = true;
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (waitedMs === 0) say("Waiting for another process that builds...");
    removeDeadLock();
    await new Promise((done) => setTimeout(done, 100));
  }
  fail(
    `Another process has been building for ${LOCK_WAIT_MS / 1000} s; if there is none, delete ${relative(ROOT, LOCK)}.`,
  );
}

function releaseLock() {
  if (holdsLock) fs.rmSync(LOCK, { force: true });
  holdsLock = false;
}

async function build() {
  const { state, hash } = buildState();
  if (state === "fresh") return;
  const startedMs = Date.now();
  fs.rmSync(STAMP, { force: true });
  if (state === "incomplete") fs.rmSync(BUILD_INFO, { force: true });
  removeStaleOutputs();
  const compiler = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  await runNode("The build", compiler, ["-p", "tsconfig.json", "--noCheck", "--tsBuildInfoFile", BUILD_INFO]);
  // `npx coco` runs this file itself, and the compiler makes no file that can be run.
  fs.chmodSync(join(ROOT, "dist", "src", "cli", "main.js"), 0o755);
  // The hash from before the build: a file that was saved meanwhile makes the next run build again.
  fs.writeFileSync(STAMP, hash);
  say(`Built in ${((Date.now() - startedMs) / 1000).toFixed(1)} s.`);
}

/** Installs and builds under the lock; without it only looks, which is what happens nearly always. */
async function prepare() {
  checkNodeVersion();
  process.chdir(ROOT);
  if (packagesFit() && buildState().state === "fresh") return;
  await takeLock();
  await installPackages();
  await build();
  releaseLock();
}

const [target, ...args] = process.argv.slice(2);
if (target === undefined) fail("Usage: node tools/bootstrap.mjs <entry under dist> [arguments...]  or  --build");
const callerFolder = process.cwd();
await prepare();
if (target !== "--build") {
  const entry = resolve(ROOT, target);
  if (!entry.startsWith(DIST + sep) || !fs.existsSync(entry)) fail(`${target} is no compiled file under dist/.`);
  process.chdir(callerFolder);
  process.argv = [process.argv[0], entry, ...args];
  await import(pathToFileURL(entry).href);
}
