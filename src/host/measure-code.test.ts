import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { toHex } from "../core/codec/bytes.ts";
import { type CodeRuntime, measureCode } from "./measure-code.ts";
import { measuredFlags } from "./node-flags.ts";

type Files = Readonly<Record<string, string>>;

const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coco-measure-"));
  folders.push(folder);
  return folder;
}

async function write(dir: string, files: Files): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(dir, path, ".."), { recursive: true });
    await writeFile(join(dir, path), content);
  }
}

async function makePackage(files: Files): Promise<string> {
  const dir = await newFolder();
  await write(dir, { "package.json": '{"name":"p","version":"1.0.0","scripts":{}}', ...files });
  return dir;
}

const code = { "dist/src/a.js": "a", "dist/src/b/c.js": "c" };
const measureIn = async (dir: string, runtime: CodeRuntime = {}) =>
  toHex(await measureCode(dir, { nodeVersion: "v20.0.0", ...runtime }));
const measure = async (files: Files, runtime: CodeRuntime = {}) => measureIn(await makePackage(files), runtime);
const invalid = { code: "ConfigurationInvalid" };

describe("the measurement of code", () => {
  test("does not depend on where the package lies, on tests, maps and declarations", async () => {
    const expected = await measure(code);
    assert.match(expected, /^[0-9a-f]{64}$/);
    const more = {
      "dist/src/a.test.js": "x",
      "dist/src/a.js.map": "x",
      "dist/src/a.d.ts": "x",
      "README.md": "x",
      "dist/test/x.js": "x",
    };
    assert.equal(await measure({ ...more, ...code }), expected);
    assert.equal(await measure({ ...code, "package.json": '{"version":"1.0.0","name":"p"}' }), expected);
  });

  test("changes with every shipped byte, path, version, runtime and flag", async () => {
    const changed = [
      await measure(code),
      await measure({ ...code, "dist/src/a.js": "b" }),
      await measure({ ...code, "dist/src/d.js": "" }),
      await measure({ "dist/src/a.js": "a", "dist/src/b/d.js": "c" }),
      await measure({ ...code, "package.json": '{"name":"p","version":"1.0.1"}' }),
      await measure(code, { nodeVersion: "v20.0.1" }),
      await measure(code, { flags: ["--import", "./x.mjs"] }),
      await measure(code, { flags: ["./x.mjs", "--import"] }),
      await measure(code, { flags: ["--import ./x.mjs"] }),
    ];
    assert.equal(new Set(changed).size, changed.length);
  });

  test("is refused where there is no built code, no package, or a link among the files", async () => {
    await assert.rejects(measureCode(await newFolder()), invalid);
    await assert.rejects(measure({ "dist/src/a.js": "a", "package.json": "{}" }), invalid);
    const dir = await makePackage(code);
    await symlink(join(dir, "package.json"), join(dir, "dist", "src", "linked.js"));
    await assert.rejects(measureIn(dir), invalid);
  });
});

describe("the packages in the measurement of code", () => {
  const manifest = (name: string, fields: object = {}) => JSON.stringify({ name, version: "1.0.0", ...fields });
  const needing = (fields: object) => ({ ...code, "package.json": manifest("p", fields) });
  const own = needing({ dependencies: { one: "^1" } });
  const one = (at: string, content = "one") => ({
    [`${at}/one/package.json`]: manifest("one", { dependencies: { two: "^1" } }),
    [`${at}/one/lib/index.js`]: content,
  });
  const two = (at: string, content = "two") => ({
    [`${at}/two/package.json`]: manifest("two"),
    [`${at}/two/index.js`]: content,
  });
  const flat = { ...own, ...one("node_modules"), ...two("node_modules") };

  test("an installation beside its packages measures as the checkout that has them inside", async () => {
    const expected = await measure(flat);
    const consumer = await newFolder();
    const installed = join(consumer, "node_modules", "p");
    await write(installed, own);
    await write(consumer, { ...one("node_modules"), ...two("node_modules") });
    assert.equal(await measureIn(installed), expected);
    const nested = { ...own, ...one("node_modules"), ...two("node_modules/one/node_modules") };
    assert.equal(await measure(nested), expected);
    const linked = await makePackage(flat);
    await rename(join(linked, "node_modules"), join(consumer, "elsewhere"));
    await symlink(join(consumer, "elsewhere"), join(linked, "node_modules"));
    await write(join(consumer, "elsewhere"), { "unused/package.json": manifest("unused"), "one/README.md": "x" });
    assert.equal(await measureIn(linked), expected);
  });

  test("every byte that is installed counts, also of packages that packages need, and which of two is found", async () => {
    const changed = [
      await measure(flat),
      await measure({ ...flat, "node_modules/one/lib/index.js": "One" }),
      await measure({ ...flat, "node_modules/one/lib/more.js": "" }),
      await measure({ ...flat, "node_modules/two/index.js": "Two" }),
      await measure({ ...flat, "node_modules/two/build/native.node": "x" }),
      await measure({ ...flat, ...needing({ dependencies: { one: "^1", two: "^1" } }) }),
      await measure({
        ...flat,
        ...needing({ dependencies: { one: "^1", two: "^1" } }),
        ...two("node_modules/one/node_modules", "Two"),
      }),
      await measure({
        ...flat,
        ...needing({ dependencies: { one: "^1", two: "^1" } }),
        ...two("node_modules", "Two"),
        ...two("node_modules/one/node_modules"),
      }),
    ];
    changed.forEach((measurement, at) => assert.equal(changed.indexOf(measurement), at, `case ${at}`));
  });

  test("one that is missing is refused, an optional one left out", async () => {
    await assert.rejects(measure(own), { ...invalid, message: /package one is not installed/ });
    await assert.rejects(measure({ ...own, ...one("node_modules") }), { message: /package two is not installed/ });
    const optional = needing({ dependencies: { one: "^1" }, optionalDependencies: { one: "^1" } });
    const without = await measure(optional);
    assert.notEqual(await measure({ ...optional, ...one("node_modules"), ...two("node_modules") }), without);
    const peers = needing({ peerDependencies: { one: "^1" } });
    assert.equal(await measure({ ...peers, ...one("node_modules") }), await measure(peers), "peers of the program");
  });

  test("packages that need each other are measured once", async () => {
    const circular = {
      ...flat,
      "node_modules/two/package.json": manifest("two", { dependencies: { one: "^1", p: "^1" } }),
      "node_modules/p/package.json": manifest("p"),
    };
    assert.match(await measure(circular), /^[0-9a-f]{64}$/);
  });
});

describe("the flags in the measurement of code", () => {
  test("are those of NODE_OPTIONS and of the command line, in order, as they are", () => {
    assert.deepEqual(measuredFlags([], undefined), []);
    assert.deepEqual(measuredFlags(["--import", "./x.mjs"], "-r  ./y.cjs"), ["-r", "./y.cjs", "--import", "./x.mjs"]);
    assert.deepEqual(measuredFlags([], String.raw`--require "a \"b\\c" --x="y z"`), [
      "--require",
      String.raw`a "b\c`,
      "--x=y z",
    ]);
  });

  test("those for memory and for what is printed of faults do not count, in one word only", () => {
    const harmless = ["--max-old-space-size=4096", "--enable-source-maps", "--no-warnings", "--stack_trace_limit=50"];
    assert.deepEqual(measuredFlags(harmless, harmless.join(" ")), []);
    const counted = ["--max-old-space-size", "4096", "--enable-source-maps=x", "--inspect", "--no-warnings --inspect"];
    assert.deepEqual(measuredFlags(counted, ""), counted);
  });
});
