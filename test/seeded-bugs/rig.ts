/**
 * Plants one bug in a copy of the built project and lets the detectors look for it.
 *
 * The copy is made of hard links, except for the files that are patched: those are compiled anew, alone, from the patched
 * source. Nothing of this is in the shipped code, and the project's own dist is never written to.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { CocoError } from "../../src/errors.ts";
import type { Detector, Patch, SeededBug } from "./bug.ts";
import { commandOf, failures, type Finding } from "./detectors.ts";

const DIST = fileURLToPath(new URL("../..", import.meta.url));
const ROOT = join(DIST, "..");

/** Longest run of one detector; a bug that makes it hang is found by that. */
const DETECTOR_LIMIT_MS = 120_000;

/** Output of a detector that is kept. */
const OUTPUT_CHARACTERS_MAX = 400_000;

/** What became of a bug. */
export interface BugResult {
  readonly name: string;
  readonly found: boolean;
  /** What noticed it. */
  readonly by: string;
  /** After how many seeds, states or tests of that detector. */
  readonly seeds: number;
  readonly wallSeconds: number;
}

/** The source with every patch applied; throws `Internal` unless each text occurs exactly once. */
export function patched(source: string, patches: readonly Patch[], name: string): string {
  return patches.reduce((text, { file, find, replace }) => {
    const count = text.split(find).length - 1;
    if (count === 1) return text.replace(find, () => replace);
    throw new CocoError("Internal", `bug ${name}: its text occurs ${count} times in ${file}, not once:\n${find}`);
  }, source);
}

/** The patched files of a bug, compiled, by path under dist. */
export function compiled(bug: SeededBug): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const file of new Set(bug.patches.map((patch) => patch.file))) {
    const source = fs.readFileSync(join(ROOT, file), "utf8");
    const text = patched(
      source,
      bug.patches.filter((patch) => patch.file === file),
      bug.name,
    );
    const { outputText } = ts.transpileModule(text, {
      fileName: file,
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    files.set(file.replace(/\.ts$/, ".js"), outputText);
  }
  return files;
}

/** Copies what runs of dist by hard links; files that are given have another content. */
function copyDist(into: string, replaced: ReadonlyMap<string, string>): void {
  const copy = (folder: string): void => {
    fs.mkdirSync(join(into, folder), { recursive: true });
    for (const entry of fs.readdirSync(join(DIST, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      const content = replaced.get(path);
      if (entry.isDirectory()) copy(path);
      else if (content !== undefined) fs.writeFileSync(join(into, path), content);
      else if (/\.(?:js|json)$/.test(entry.name)) fs.linkSync(join(DIST, path), join(into, path));
    }
  };
  copy("src");
  copy("test");
  copy("tools");
}

function makeCopy(bug: SeededBug): string {
  const files = compiled(bug);
  // Beside dist if possible: hard links do not cross file systems.
  const folder = fs.mkdtempSync(join(linksWorkIn(tmpdir()) ? tmpdir() : ROOT, "seeded-bug-"));
  copyDist(join(folder, "dist"), files);
  for (const name of ["src", "test", "node_modules", "package.json"]) {
    fs.symlinkSync(fs.realpathSync(join(ROOT, name)), join(folder, name));
  }
  return folder;
}

function linksWorkIn(folder: string): boolean {
  return fs.statSync(folder).dev === fs.statSync(DIST).dev;
}

interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

function run(folder: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const take = (chunk: Buffer): void => {
      if (output.length < OUTPUT_CHARACTERS_MAX) output += chunk.toString();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const timer = setTimeout(() => child.kill("SIGKILL"), DETECTOR_LIMIT_MS);
    child.on("error", failed);
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code, output });
    });
  });
}

const withoutBug = new Map<string, Promise<Outcome>>();

/** What a detector says when there is no bug; run once. */
function baseline(detector: Detector): Promise<Outcome> {
  const key = JSON.stringify(detector);
  const known = withoutBug.get(key);
  if (known !== undefined) return known;
  const folder = makeCopy({ name: "none", patches: [], detectors: [] });
  const made = run(folder, commandOf(detector)).finally(() => fs.rmSync(folder, { recursive: true, force: true }));
  withoutBug.set(key, made);
  return made;
}

/** A detector that fails without the bug as well has found nothing, and the rig cannot say anything: throws `Internal`. */
async function look(folder: string, detector: Detector): Promise<Finding | undefined> {
  const { code, output } = await run(folder, commandOf(detector));
  if (code === 0) return undefined;
  const plain = await baseline(detector);
  const fails = plain.code === 0 ? [] : failures(detector, plain.output);
  if (plain.code === null || (plain.code !== 0 && fails.length === 0)) {
    throw new CocoError(
      "Internal",
      `${commandOf(detector).join(" ")} fails without a bug:\n${plain.output.slice(-2000)}`,
    );
  }
  if (code === null) return { by: `${detector.type}: did not end`, seeds: 1 };
  const found = failures(detector, output).find(({ seeds }) => !fails.some((known) => known.seeds === seeds));
  if (found === undefined && fails.length === 0) {
    throw new CocoError("Internal", `${commandOf(detector).join(" ")} failed by itself:\n${output.slice(-2000)}`);
  }
  return found;
}

/** Plants a bug and looks for it. */
export async function seek(bug: SeededBug): Promise<BugResult> {
  const startedMs = performance.now();
  const folder = makeCopy(bug);
  const wallSeconds = (): number => Number(((performance.now() - startedMs) / 1000).toFixed(1));
  try {
    for (const detector of bug.detectors) {
      const finding = await look(folder, detector);
      if (finding !== undefined) return { name: bug.name, found: true, ...finding, wallSeconds: wallSeconds() };
    }
    return { name: bug.name, found: false, by: "", seeds: 0, wallSeconds: wallSeconds() };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
