/** Each class of evidence that is refused has a test in each format, as the table in docs/reference/attestation.md says. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/** The root of the package: the first folder above this file that holds the page. */
function rootOf(folder: string): string {
  const isRoot = fs.existsSync(join(folder, "docs/reference/attestation.md"));
  assert.ok(isRoot || folder !== "/", "docs/reference/attestation.md is not found");
  return isRoot ? folder : rootOf(join(folder, ".."));
}

const ROOT = rootOf(import.meta.dirname);
const SOURCES = join(ROOT, "src/attestation");
const CLASSES = 25;
/** Tests that go through every format that the ledger takes. */
const ALIKE = ["formats.test.ts"];
const SCANNED = "snp/roots.test.ts";

/** Columns of the table, with the tests of each format. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  "SNP report": [...testsOf("snp"), "shared-machine.test.ts", ...ALIKE],
  "utility VM": [...testsOf("uvm"), SCANNED],
  "quote (SGX, TDX)": [...testsOf("dcap"), ...ALIKE],
  "VBS report": [...testsOf("vsm"), ...ALIKE],
  token: [...testsOf("maa"), ...ALIKE],
  "virtual TPM": [...testsOf("tpm"), SCANNED, ...ALIKE],
};

function testsOf(folder: string): readonly string[] {
  return fs
    .readdirSync(join(SOURCES, folder))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `${folder}/${name}`);
}

/** The numbers of classes in the names of tests and of groups of them. */
function classesIn(files: readonly string[]): ReadonlySet<number> {
  const found = files.flatMap((file) => {
    const text = fs.readFileSync(join(SOURCES, file), "utf8");
    const names = text.match(/(?:test|describe)\(\s*["'`][^"`]*["'`]|^\s*\["R\d+: [^"]*"/gm) ?? [];
    return names.flatMap((name) => [...name.matchAll(/\bR(\d{1,2})\b/g)].map(([, number]) => Number(number)));
  });
  return new Set(found);
}

function cells(line: string): readonly string[] {
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

const PAGE = fs.readFileSync(join(ROOT, "docs/reference/attestation.md"), "utf8").split("\n");
const [, ...columns] = cells(PAGE.find((line) => line.startsWith("| class | SNP report")) ?? "");
const rows = PAGE.filter((line) => /^\| R\d+ /.test(line)).map(cells);

test("the table has every class once, and the formats there are", () => {
  const numbers = rows.map(([name = ""]) => Number(/^R(\d+) /.exec(name)?.[1]));
  assert.deepEqual(
    numbers,
    Array.from({ length: CLASSES }, (_, at) => at + 1),
  );
  assert.deepEqual(columns, Object.keys(FORMATS));
});

for (const [at, [format, files]] of Object.entries(FORMATS).entries())
  test(`${format}: each class that applies has a test that carries its number`, () => {
    const tested = classesIn(files);
    const wanted = rows.flatMap(([, ...formats], row) => (formats[at] === "–" ? [] : [row + 1]));
    assert.ok(wanted.length > 5);
    assert.deepEqual(
      wanted.filter((number) => !tested.has(number)),
      [],
    );
  });
