/**
 * Runs the tests: every compiled `*.test.js` under dist/src (kind `unit`) and dist/test/<kind>, each file in a process of
 * its own or with others of its folder (test-groups.ts), two processes at a time. Failures are printed in full, with what
 * their file wrote; the last line is the count.
 *
 *   npm test -- --only ledger        files whose path contains the text
 *   npm test -- --kind e2e           one kind; `slow` runs only when it is named
 *
 * Counted are leaf tests, and suites that are left out as a whole. A file that crashes, times out or holds no test counts as one failure.
 */
import { setMaxListeners } from "node:events";
import * as fs from "node:fs";
import { join, relative } from "node:path";
import { run } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { readArguments } from "./arguments.ts";
import { groupTests, type TestGroup } from "./test-groups.ts";

const DIST = fileURLToPath(new URL("..", import.meta.url));
const CONCURRENCY = 2;
const FILE_LIMIT_MS = 240_000;
const TOTAL_LIMIT_MS = 600_000;
/** Kind that is left out unless it is asked for. */
const SLOW_KIND = "slow";
/** Start of a test's diagnostic messages that are shown. */
const MEASURED = "measured: ";
/** Output kept per file; it is only shown when the file fails. */
const OUTPUT_LIMIT = 40_000;
const HOLDS_NO_TEST = "    The file holds no test.";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** What one file has reported so far. */
interface FileProgress {
  startedMs: number;
  output: string;
  failed: boolean;
  /** By nesting: whether a test at this depth was reported since the last one above it. */
  readonly reportedAt: boolean[];
}

interface TestEvent {
  readonly name: string;
  readonly nesting: number;
  readonly file?: string;
  readonly line?: number;
  readonly skip?: string | boolean;
  readonly todo?: string | boolean;
  readonly details: { readonly type?: string; readonly error?: Error };
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** The source of a test file: node:test names some events by the compiled file, others by what it was compiled from. */
const sourceOf = (path: string): string =>
  relative(DIST, path)
    .replaceAll("\\", "/")
    .replace(/^\.\.\//, "")
    .replace(/\.js$/, ".ts");

function kindOf(path: string): string {
  const [top, kind] = sourceOf(path).split("/");
  return top === "test" ? (kind ?? "") : "unit";
}

function testFiles(only: string | undefined, kind: string | undefined): string[] {
  // Those of test/ take long: begun last, one of them would end alone.
  return ["test", "src"]
    .map((folder) => join(DIST, folder))
    .filter((folder) => fs.existsSync(folder))
    .flatMap((folder) => {
      const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
      return names.map((name) => join(folder, name));
    })
    .filter((path) => path.endsWith(".test.js"))
    .filter((path) => (kind === undefined ? kindOf(path) !== SLOW_KIND : kindOf(path) === kind))
    .filter((path) => only === undefined || sourceOf(path).includes(only));
}

/** The error as its author wants to see it: node:test wraps what the test threw. */
function describeError(error: Error | undefined): string {
  const cause = error?.cause ?? error;
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
  return text.replaceAll(/^/gm, "    ");
}

class Report {
  readonly counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  readonly running = new Map<string, FileProgress>();
  /** Of what does not run itself: files that are through, and those whose tests another file runs. */
  readonly #others = new Map<string, FileProgress>();
  readonly #groups: ReadonlyMap<string, TestGroup>;

  constructor(groups: ReadonlyMap<string, TestGroup>) {
    this.#groups = groups;
  }

  /** The source of a file, or what a group of them is called. */
  #nameOf(path: string): string {
    return this.#groups.get(path)?.name ?? sourceOf(path);
  }

  #progress(path: string): FileProgress {
    const file = this.#nameOf(path);
    let progress = this.running.get(file) ?? this.#others.get(file);
    if (progress === undefined) {
      progress = { startedMs: performance.now(), output: "", failed: false, reportedAt: [] };
      this.#others.set(file, progress);
    }
    return progress;
  }

  started(event: { readonly name: string; readonly file?: string }): void {
    if (event.file === undefined || event.name !== event.file) return;
    const progress = this.#progress(event.file);
    progress.startedMs = performance.now();
    this.#others.delete(this.#nameOf(event.file));
    this.running.set(this.#nameOf(event.file), progress);
  }

  output(event: { readonly file?: string; readonly message: string }): void {
    if (event.file === undefined) return;
    const progress = this.#progress(event.file);
    progress.output = (progress.output + event.message).slice(-OUTPUT_LIMIT);
  }

  /** Says how long a file took, as soon as it is through; its tests may be reported a little later. */
  completed(event: TestEvent): void {
    const file = event.file;
    if (file === undefined || event.name !== file) return;
    const progress = this.#progress(file);
    const name = this.#nameOf(file);
    this.running.delete(name);
    this.#others.set(name, progress);
    const seconds = ((performance.now() - progress.startedMs) / 1000).toFixed(1);
    say(`${event.details.error === undefined ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
  }

  passed(event: TestEvent): void {
    const isFile = event.name === event.file;
    if (isFile) this.#failure(event, HOLDS_NO_TEST);
    else if (!this.#isLeaf(event) && !this.#isLeftOut(event)) return;
    else if (event.skip !== undefined || event.todo !== undefined) this.counts.skipped++;
    else this.counts.passed++;
  }

  /** Shows what a test has measured. */
  diagnostic(event: { readonly message: string }): void {
    if (event.message.startsWith(MEASURED)) say(`     ${event.message}`);
  }

  failed(event: TestEvent): void {
    const isLeaf = event.name === event.file || this.#isLeaf(event);
    const { error } = event.details;
    // A suite fails with its tests, which are counted; it fails by itself when a hook or its own body throws.
    const ofChildren = error !== undefined && "failureType" in error && error.failureType === "subtestsFailed";
    if (event.todo !== undefined) this.counts.skipped++;
    else if (isLeaf || !ofChildren) this.#failure(event, describeError(error));
  }

  #failure(event: TestEvent, text: string): void {
    this.counts.failed++;
    if (event.file !== undefined) this.#failed(event.file);
    const place =
      event.file === undefined
        ? ""
        : ` (${this.#nameOf(event.file)}${event.line === undefined ? "" : `:${event.line}`})`;
    say(`\nFAILED ${event.name === event.file ? "the file as a whole" : event.name}${place}\n${text}\n`);
  }

  /** A group's output is kept for all its files. */
  #failed(path: string): void {
    this.#progress(path).failed = true;
    const source = sourceOf(path);
    for (const group of this.#groups.values())
      if (group.files.some((file) => sourceOf(file) === source)) this.#progress(group.path).failed = true;
  }

  /** Tells why a suite is left out, none of whose tests is reported. */
  #isLeftOut({ name, skip, details }: TestEvent): boolean {
    if (details.type !== "suite" || typeof skip !== "string") return false;
    say(`     skipped: ${name}: ${skip}`);
    return true;
  }

  /** Tests are reported after the tests inside them: one with reports a level below is a suite. */
  #isLeaf(event: TestEvent): boolean {
    const { reportedAt } = this.#progress(event.file ?? "");
    const hasChildren = reportedAt[event.nesting + 1] === true;
    reportedAt.length = Math.min(reportedAt.length, event.nesting + 1);
    reportedAt[event.nesting] = true;
    return !hasChildren && event.details.type !== "suite";
  }

  /** A file of a group is not missed by node:test when it holds no test. */
  requireTests(): void {
    for (const { path, files } of this.#groups.values()) {
      if (this.#progress(path).failed) continue;
      for (const file of files)
        if (!this.#others.has(sourceOf(file)))
          this.#failure({ name: file, file, nesting: 0, details: {} }, HOLDS_NO_TEST);
    }
  }

  /** What failed files wrote, then the last line. */
  close(): void {
    for (const [file, progress] of [...this.#others, ...this.running]) {
      if (progress.failed && progress.output !== "") say(`--- output of ${file}\n${progress.output.trimEnd()}\n`);
    }
    const { passed, failed, skipped } = this.counts;
    say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  }
}

const OPTIONS = {
  only: { type: "string", value: "TEXT", help: "files whose path contains the text" },
  kind: {
    type: "string",
    value: "KIND",
    help: "unit, e2e or another folder of test/; slow runs only when it is named",
  },
} as const;

async function main(): Promise<number> {
  const values = readArguments("test", OPTIONS, (given) => given);
  const files = testFiles(values.only, values.kind);
  const { paths, groups, remove } = groupTests(files, sourceOf);
  process.on("exit", remove);
  const report = new Report(groups);
  if (files.length === 0) {
    say("No test file fits the selection.");
    report.close();
    return 1;
  }
  // Stack traces of the children point at the TypeScript source.
  process.env["NODE_OPTIONS"] = `${process.env["NODE_OPTIONS"] ?? ""} --enable-source-maps`.trim();
  const stop = new AbortController();
  // Slow tests put load on networks and measure: beside each other they would measure each other.
  const concurrency = values.kind === SLOW_KIND ? 1 : CONCURRENCY;
  // Every file listens for the abort.
  setMaxListeners(0, stop.signal);
  const events = run({ files: [...paths], concurrency, timeout: FILE_LIMIT_MS, signal: stop.signal });
  const timer = setTimeout(() => {
    // What the aborted children still report is not counted and must not come after the last line.
    events.removeAllListeners();
    report.counts.failed++;
    say(`\nFAILED the run as a whole: stopped after ${TOTAL_LIMIT_MS / 60_000} minutes. Still running:`);
    for (const file of report.running.keys()) say(`    ${file}`);
    report.close();
    stop.abort();
    setTimeout(() => process.exit(1), 1000);
  }, TOTAL_LIMIT_MS);
  events.on("test:dequeue", (event) => report.started(event));
  events.on("test:complete", (event) => report.completed(event));
  events.on("test:stdout", (event) => report.output(event));
  events.on("test:stderr", (event) => report.output(event));
  events.on("test:diagnostic", (event) => report.diagnostic(event));
  events.on("test:pass", (event) => report.passed(event));
  events.on("test:fail", (event) => report.failed(event));
  events.resume();
  await new Promise((done) => events.once("end", done));
  clearTimeout(timer);
  report.requireTests();
  report.close();
  return report.counts.failed > 0 || report.counts.passed === 0 ? 1 : 0;
}

process.exitCode = await main();
