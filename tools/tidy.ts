/**
 * Style as a check: what CONTRIBUTING.md says in numbers, held over src/ and tools/ by the TypeScript syntax tree.
 * Prints `file:line: message` per finding and the length of the median function; exits 1 when there is a finding.
 *
 * Only what neither the compiler nor the linter can say is checked here. Test files may have long functions, need no
 * doc comments and may throw what they like.
 */
import * as fs from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDERS = ["src", "tools"];
const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LINE_WIDTH_MAX = 140;
const PARAMETERS_MAX = 4;

/** Tests, and what only they use. */
const TEST_CODE = /(?:\.test|\/test-[^/]+|^src\/.+\/testing\/.+)\.ts$/;

/** Folders whose time and randomness come in through ports, so that a run can be simulated and replayed. */
const DETERMINISTIC = ["src/core/", "src/enclave/", "src/adapters/"];

/** Calls that are banned there, each with what to use instead. */
const AMBIENT_CALLS: Readonly<Record<string, string>> = {
  "Date.now": "take the time from the Clock port",
  "performance.now": "take the time from the Clock port",
  "Math.random": "take randomness from the Entropy port",
};

/** Words that must not stay in a source, each with the reason. */
const BANNED_WORDS: readonly (readonly [RegExp, string])[] = [
  [/\b(?:TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))/, "a leftover needs an issue number: TODO(#12)"],
  [/@ts-(?:ignore|nocheck|expect-error)/, "the compiler must not be silenced"],
  [/\b(?:test|describe|it)\.only\(/, "the other tests of the file would not run"],
];

interface Finding {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** One source file under examination. */
interface Source {
  readonly file: string;
  readonly isTest: boolean;
  readonly tree: ts.SourceFile;
  readonly findings: Finding[];
  readonly functionLines: number[];
}

function lineOf(source: Source, position: number): number {
  return source.tree.getLineAndCharacterOfPosition(position).line + 1;
}

function report(source: Source, line: number, message: string): void {
  source.findings.push({ file: source.file, line, message });
}

function checkLines(source: Source): void {
  const lines = source.tree.text.split("\n");
  const count = lines.at(-1) === "" ? lines.length - 1 : lines.length;
  if (count > FILE_LINES_MAX) report(source, 1, `file of ${count} lines; at most ${FILE_LINES_MAX}`);
  for (const [index, line] of lines.entries()) {
    if (line.length > LINE_WIDTH_MAX)
      report(source, index + 1, `line of ${line.length} characters; at most ${LINE_WIDTH_MAX}`);
    if (source.file === "tools/tidy.ts") continue;
    for (const [word, reason] of BANNED_WORDS) if (word.test(line)) report(source, index + 1, reason);
  }
}

/** The module's contract: a doc comment before the first statement. */
function checkHeader(source: Source): void {
  const text = source.tree.text;
  const comment = (ts.getLeadingCommentRanges(text, text.startsWith("#!") ? text.indexOf("\n") : 0) ?? [])[0];
  if (comment !== undefined && text.startsWith("/**", comment.pos)) return;
  report(source, 1, "module without a header comment that says its contract");
}

function checkFunction(source: Source, node: ts.SignatureDeclaration & { readonly body?: ts.Node | undefined }): void {
  if (node.body === undefined || !ts.isBlock(node.body)) return;
  const start = lineOf(source, node.getStart(source.tree));
  const lines = lineOf(source, node.end) - start + 1;
  source.functionLines.push(lines);
  if (lines > FUNCTION_LINES_MAX) report(source, start, `function of ${lines} lines; at most ${FUNCTION_LINES_MAX}`);
  const count = node.parameters.length;
  if (count > PARAMETERS_MAX)
    report(source, start, `${count} parameters; beyond ${PARAMETERS_MAX} take an options object`);
}

function checkThrow(source: Source, node: ts.ThrowStatement): void {
  const thrown = node.expression;
  if (!ts.isNewExpression(thrown) || !ts.isIdentifier(thrown.expression)) return;
  if (!/^(?:Error|TypeError|RangeError|SyntaxError|AggregateError)$/.test(thrown.expression.text)) return;
  report(
    source,
    lineOf(source, node.getStart(source.tree)),
    "throw CocoError with a code of src/errors.ts, or use invariant",
  );
}

function checkAmbient(source: Source, node: ts.Node): void {
  if (!DETERMINISTIC.some((folder) => source.file.startsWith(folder))) return;
  const line = lineOf(source, node.getStart(source.tree));
  if (ts.isPropertyAccessExpression(node)) {
    const name = node.getText(source.tree);
    const instead = Object.hasOwn(AMBIENT_CALLS, name) ? AMBIENT_CALLS[name] : undefined;
    if (instead !== undefined) report(source, line, `${name} is banned here: ${instead}`);
  } else if (
    ts.isNewExpression(node) &&
    node.expression.getText(source.tree) === "Date" &&
    (node.arguments?.length ?? 0) === 0
  ) {
    report(source, line, "new Date() is banned here: take the time from the Clock port");
  }
}

function hasModifier(node: ts.Node, kind: ts.SyntaxKind): boolean {
  return ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === kind);
}

function hasDocComment(source: Source, node: ts.Node): boolean {
  const comments = ts.getLeadingCommentRanges(source.tree.text, node.pos) ?? [];
  // The first comment of a file is the module's own.
  return comments.some((comment) => comment.pos > 0 && source.tree.text.startsWith("/**", comment.pos));
}

function checkExport(source: Source, node: ts.Statement, previous: ts.Statement | undefined): void {
  const line = lineOf(source, node.getStart(source.tree));
  if (ts.isExportAssignment(node) || hasModifier(node, ts.SyntaxKind.DefaultKeyword)) {
    report(source, line, "no default export: a name is searched for");
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
    report(source, line, "no re-export: import from where it is defined");
  }
  if (source.isTest || !hasModifier(node, ts.SyntaxKind.ExportKeyword)) return;
  // Of overloads only the first needs the comment.
  const follows = previous !== undefined && ts.isFunctionDeclaration(previous) && previous.body === undefined;
  if (!(follows && ts.isFunctionDeclaration(node)) && !hasDocComment(source, node)) {
    report(source, line, "exported without a doc comment of one sentence");
  }
}

function visit(source: Source, node: ts.Node): void {
  if (ts.isFunctionLike(node) && !source.isTest) checkFunction(source, node);
  if (node.kind === ts.SyntaxKind.AnyKeyword)
    report(source, lineOf(source, node.getStart(source.tree)), "no any: use unknown and decode");
  if (!source.isTest) {
    if (ts.isThrowStatement(node) && source.file.startsWith("src/")) checkThrow(source, node);
    checkAmbient(source, node);
  }
  ts.forEachChild(node, (child) => visit(source, child));
}

function examine(file: string): Source {
  const text = fs.readFileSync(join(ROOT, file), "utf8");
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, false);
  const source: Source = { file, isTest: TEST_CODE.test(file), tree, findings: [], functionLines: [] };
  checkLines(source);
  if (!source.isTest) checkHeader(source);
  for (const [index, statement] of tree.statements.entries())
    checkExport(source, statement, tree.statements[index - 1]);
  visit(source, tree);
  return source;
}

function sourceFiles(folder: string): string[] {
  return fs
    .readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
    .map((name) => relative(ROOT, join(ROOT, folder, name)).replaceAll("\\", "/"))
    .sort();
}

function main(): number {
  const sources = FOLDERS.flatMap(sourceFiles).map(examine);
  const findings = sources
    .flatMap((source) => source.findings)
    .sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
  for (const { file, line, message } of findings) process.stdout.write(`${file}:${line}: ${message}\n`);
  const lengths = sources.flatMap((source) => source.functionLines).sort((a, b) => a - b);
  const median = lengths[Math.floor(lengths.length / 2)] ?? 0;
  process.stdout.write(
    `${sources.length} files, ${lengths.length} functions, median ${median} lines; ${findings.length} findings\n`,
  );
  return findings.length > 0 ? 1 : 0;
}

process.exitCode = main();
