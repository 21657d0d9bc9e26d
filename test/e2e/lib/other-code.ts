/** Code that differs from this installation's, and so has another measurement. */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "../../../src/core/codec/bytes.ts";
import { measureCode, PACKAGE_FOLDER } from "../../../src/host/measure-code.ts";

/** Makes it in a folder below this one: this installation's code with one more file. */
export async function otherCode(dir: string): Promise<{ readonly cli: string; readonly measurement: string }> {
  const folder = join(dir, "other-code");
  await mkdir(folder);
  await cp(join(PACKAGE_FOLDER, "dist", "src"), join(folder, "dist", "src"), { recursive: true });
  for (const file of ["package.json", "package-lock.json"]) await cp(join(PACKAGE_FOLDER, file), join(folder, file));
  await symlink(join(PACKAGE_FOLDER, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "dist", "src", "more.js"), "export const more = 1;\n");
  return { cli: join(folder, "dist", "src", "cli", "main.js"), measurement: toHex(await measureCode(folder)) };
}
