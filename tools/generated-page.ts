/**
 * Pages of docs/reference that are generated from the sources: written, or with `--check` compared, so that a page that
 * is out of date fails `npm run check`.
 */
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Writes a page, or with `--check` on the command line compares it; returns the exit code. */
export function writeOrCompare(name: string, content: string): number {
  const path = join(ROOT, name);
  if (process.argv.includes("--check")) {
    const present = fs.existsSync(path) ? fs.readFileSync(path, "utf8").replaceAll("\r\n", "\n") : "";
    if (present === content) return 0;
    process.stdout.write(`${name} is out of date: run \`npm run docs:reference\`\n`);
    return 1;
  }
  fs.mkdirSync(dirname(path), { recursive: true });
  fs.writeFileSync(path, content);
  return 0;
}
