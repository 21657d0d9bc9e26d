/**
 * Test files that share a process: reading the modules below a test file takes longer than most of them run. Only folders
 * whose tests leave nothing behind in their process are shared. A file with a process of its own is a group of one: a test that
 * ends the process is noticed there as well.
 */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** Folders of sources whose test files may share a process: pure code, and code that has its surroundings from its tests. */
const SHARING: readonly string[] = ["src/adapters/", "src/attestation/", "src/core/", "src/enclave/"];
/** Most files of a process: one that ends it takes the others' results with it. */
const FILES_MAX = 12;

/** Files that run in one process, from a file that imports them. */
export interface TestGroup {
  readonly path: string;
  readonly name: string;
  readonly files: readonly string[];
}

/** What is run: groups, one file of its own among them, by the path of the file that imports them. */
export interface GroupedTests {
  readonly paths: readonly string[];
  readonly groups: ReadonlyMap<string, TestGroup>;
  /** Removes the files that were written. */
  readonly remove: () => void;
}

/**
 * Imports files one after the other; one that cannot be imported fails, and the others are run. A test that ends the process takes the
 * tests behind it along, which nobody would miss: the process then ends with a failure.
 */
function importing(files: readonly string[]): string {
  const urls = files.map((file) => pathToFileURL(file).href);
  return `import { test } from "node:test";
let isThrough = false;
process.on("beforeExit", () => { isThrough = true; });
process.on("exit", () => { if (!isThrough) process.exitCode = 1; });
for (const url of ${JSON.stringify(urls)}) {
  await import(url).catch((error) => test(\`\${url} is imported\`, () => Promise.reject(error)));
}
`;
}

/** Says the folder, and the first and the last file; of a file of its own its source. */
function nameOf(files: readonly string[], sourceOf: (path: string) => string): string {
  const source = sourceOf(files[0] ?? "");
  if (files.length === 1) return source;
  const [first = "", last = ""] = [files[0], files.at(-1)].map((file) => basename(file ?? "", ".test.js"));
  return `${dirname(source)}: ${first} to ${last}, ${files.length} files`;
}

/** Groups files by their folder. @param sourceOf the source of a file, from the root of the repository */
export function groupTests(files: readonly string[], sourceOf: (path: string) => string): GroupedTests {
  const folder = fs.mkdtempSync(join(tmpdir(), "coco-tests-"));
  const sharing = new Map<string, string[][]>();
  const alone: string[] = [];
  for (const file of files) {
    const source = sourceOf(file);
    if (!SHARING.some((start) => source.startsWith(start))) {
      alone.push(file);
      continue;
    }
    const parts = sharing.get(dirname(source)) ?? [];
    sharing.set(dirname(source), parts);
    const last = parts.at(-1);
    if (last === undefined || last.length >= FILES_MAX) parts.push([file]);
    else last.push(file);
  }
  const shared = [...sharing.values()].flat();
  const lone = [...alone.map((file) => [file]), ...shared.filter(({ length }) => length === 1)];
  // What takes long is begun first: those of src/ that are alone are short.
  const isShort = ([file = ""]: readonly string[]): boolean => sourceOf(file).startsWith("src/");
  const parts = [
    ...lone.filter((part) => !isShort(part)),
    ...shared.filter(({ length }) => length > 1),
    ...lone.filter(isShort),
  ];
  const groups = new Map<string, TestGroup>();
  for (const [number, files] of parts.entries()) {
    const path = join(folder, `${number}.mjs`);
    fs.writeFileSync(path, importing(files));
    groups.set(path, { path, name: nameOf(files, sourceOf), files });
  }
  const paths = [...groups.keys()];
  return { paths, groups, remove: () => fs.rmSync(folder, { recursive: true, force: true }) };
}
