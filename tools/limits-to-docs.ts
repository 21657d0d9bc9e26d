/**
 * Writes docs/reference/limits.md: every exported constant that bounds something, with its value and doc comment, read
 * from the syntax tree of src/. With `--check` it only compares. A bound is known by its name: `MAX_...`, `..._MAX`,
 * `..._LIMIT`, `..._TIMEOUT_MS` and other times.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { writeOrCompare } from "./generated-page.ts";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));
const BOUND = /^(?:MAX|MAXIMUM|LARGEST)_|_(?:MAX|LIMIT|MS)$|_MAX_/;

const INTRODUCTION = `# Limits

This page is generated from the exported constants of \`src/\` by \`tools/limits-to-docs.ts\`. Do not edit it by hand: change the
constant or its doc comment, then run \`npm run docs:reference\`.

Every queue, cache, body, depth and time is bounded. Input beyond a bound is refused as a whole with \`LimitExceeded\` or
\`MalformedInput\`; a full queue answers \`TooManyRequests\`; a time that runs out answers \`RequestTimeout\`
([error codes](errors.md)). Constants are fixed in this version; what the constitution sets is described in
[the members' guide](../members/README.md).
`;

/** Titles of the parts, by the folder they live in; the first that fits counts. */
const PARTS: readonly (readonly [string, string])[] = [
  ["core/certificates/", "Certificates"],
  ["core/codec/", "Codecs"],
  ["core/consensus/", "Consensus"],
  ["core/governance/", "Governance"],
  ["core/kv/", "Key-value store"],
  ["core/ledger/", "Ledger and receipts"],
  ["attestation/", "Attestation"],
  ["enclave/manager/", "Manager: channels, requests, queues"],
  ["enclave/worker/", "Worker"],
  ["adapters/ethereum/", "Ethereum adapter"],
  ["host/", "Host"],
  ["client/", "Client"],
  ["cli/", "Command line"],
];

interface Limit {
  readonly file: string;
  readonly name: string;
  readonly value: string;
  readonly meaning: string;
}

/** The value of an arithmetic expression over numbers; other expressions have none. */
function evaluate(node: ts.Expression): number | undefined {
  if (ts.isNumericLiteral(node)) return Number(node.text.replaceAll("_", ""));
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return evaluate(node.expression);
  if (!ts.isBinaryExpression(node)) return undefined;
  const left = evaluate(node.left);
  const right = evaluate(node.right);
  if (left === undefined || right === undefined) return undefined;
  if (node.operatorToken.kind === ts.SyntaxKind.AsteriskToken) return left * right;
  if (node.operatorToken.kind === ts.SyntaxKind.AsteriskAsteriskToken) return left ** right;
  if (node.operatorToken.kind === ts.SyntaxKind.PlusToken) return left + right;
  return node.operatorToken.kind === ts.SyntaxKind.MinusToken ? left - right : undefined;
}

/** A number as people read it: bytes in binary units, other large numbers in groups. */
function shownValue(name: string, value: number): string {
  if (name.includes("BYTES") && value >= 1024) {
    if (value % (1024 * 1024) === 0) return `${value / (1024 * 1024)} MiB`;
    if (value % 1024 === 0) return `${value / 1024} KiB`;
  }
  return name.endsWith("_MS") ? `${value.toLocaleString("en-US")} ms` : value.toLocaleString("en-US");
}

/** Text of the doc comment in front of a statement, on one line. */
function docComment(text: string, statement: ts.Statement): string {
  const comment = (ts.getLeadingCommentRanges(text, statement.pos) ?? []).at(-1);
  if (comment === undefined || !text.startsWith("/**", comment.pos)) return "";
  return text
    .slice(comment.pos + 3, comment.end - 2)
    .replace(/^\s*\* ?/gm, "")
    .replace(/\{@link ([^}]+)\}/g, "`$1`")
    .replace(/\s+/g, " ")
    .replaceAll("|", "\\|")
    .trim();
}

function limitsOf(file: string): Limit[] {
  const text = fs.readFileSync(join(SRC, file), "utf8");
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, false);
  return tree.statements.flatMap((statement) => {
    if (!ts.isVariableStatement(statement)) return [];
    if (!statement.modifiers?.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)) return [];
    return statement.declarationList.declarations.flatMap((declaration) => {
      const name = declaration.name.getText(tree);
      if (!BOUND.test(name) || declaration.initializer === undefined) return [];
      const value = evaluate(declaration.initializer);
      const shown =
        value === undefined ? declaration.initializer.getText(tree).replace(/\s+/g, " ") : shownValue(name, value);
      return [{ file, name, value: shown, meaning: docComment(text, statement) }];
    });
  });
}

function render(): string {
  const limits = fs
    .readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !name.endsWith(".d.ts"))
    .sort()
    .flatMap(limitsOf);
  let page = INTRODUCTION;
  for (const [folder, title] of PARTS) {
    const rows = limits.filter((limit) => limit.file.startsWith(folder));
    if (rows.length === 0) continue;
    page += `\n## ${title}\n\n| bound | value | meaning |\n| --- | --- | --- |\n`;
    for (const { file, name, value, meaning } of rows) {
      page += `| [\`${name}\`](../../src/${file}) | ${value} | ${meaning} |\n`;
    }
  }
  return page;
}

process.exitCode = writeOrCompare("docs/reference/limits.md", render());
