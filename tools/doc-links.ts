/**
 * Follows every relative link and anchor of the Markdown pages: a page that moved, a heading that was reworded and a
 * source file that was renamed all show here. Links to the web are left alone. Exits 1 when one leads nowhere.
 */
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

function pages(): string[] {
  const below = (folder: string): string[] =>
    fs.readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  return [...fs.readdirSync(ROOT), ...below("docs")].filter((name) => name.endsWith(".md")).sort();
}

/** Anchors of a page as GitHub makes them: lower case, punctuation dropped, spaces to hyphens. */
function anchors(page: string): Set<string> {
  const headings = page.match(/^#+ .*$/gm) ?? [];
  return new Set(
    headings.map((heading) =>
      heading
        .replace(/^#+ /, "")
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\- _]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** Why a link of a page leads nowhere; undefined when it is good. */
function problemOf(page: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path);
  if (!fs.existsSync(target)) return "no such file";
  if (anchor === undefined || !target.endsWith(".md")) return undefined;
  return anchors(fs.readFileSync(target, "utf8")).has(anchor) ? undefined : "no such heading";
}

function main(): number {
  let findings = 0;
  for (const page of pages()) {
    const text = fs.readFileSync(join(ROOT, page), "utf8").replace(/```[\s\S]*?```/g, "");
    for (const [, link = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      const problem = problemOf(page, link);
      if (problem === undefined) continue;
      findings++;
      process.stdout.write(`${page}: ${link}: ${problem}\n`);
    }
  }
  return findings > 0 ? 1 : 0;
}

process.exitCode = main();
