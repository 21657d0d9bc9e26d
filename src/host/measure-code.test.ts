import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { toHex } from "../core/codec/bytes.ts";
import { type CodeRuntime, measureCode } from "./measure-code.ts";
import { measuredFlags, measuredFolders, measuredVariables, ownFlags } from "./node-flags.ts";

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

  const shadow = (told: RegExp) => ({ ...invalid, message: told });

  test("what Node.js would find before the measured packages is refused", async () => {
    const nearer = /dist.node_modules: Node\.js would look there .*remove it/;
    await assert.rejects(measure({ ...flat, ...one("dist/node_modules") }), shadow(nearer));
    await assert.rejects(measure({ ...flat, "dist/node_modules/x.js": "" }), shadow(nearer));
    const asOne = '{"name":"one","exports":"./src/a.js"}';
    await assert.rejects(
      measure({ ...flat, "dist/package.json": asOne }),
      shadow(/dist.package\.json: Node\.js would/),
    );
    const inside = await measure({ ...flat, ...one("dist/src/node_modules") });
    assert.notEqual(inside, await measure(flat), "below the code it is code");
  });

  test("a folder without package.json, and a file, in the place of a package are refused", async () => {
    const inPlace = (place: string) => shadow(new RegExp(`${place}: Node\\.js could load it in place of .* npm ci`));
    const bare = { ...flat, "node_modules/one/node_modules/two/index.js": "Two" };
    await assert.rejects(measure(bare), inPlace("one.node_modules.two"));
    for (const extension of ["", ".js", ".json", ".node"]) {
      const file = { ...flat, [`node_modules/one/node_modules/two${extension}`]: "Two" };
      await assert.rejects(measure(file), inPlace(`one.node_modules.two${extension}`));
      if (extension === "") continue;
      await assert.rejects(measure({ ...flat, [`node_modules/one${extension}`]: "" }), inPlace(`one${extension}`));
      const optional = needing({ optionalDependencies: { "@a/one": "^1" } });
      const scoped = { ...optional, [`node_modules/@a/one${extension}`]: "" };
      await assert.rejects(measure(scoped), inPlace(`@a.one${extension}`), "also of a package that is not there");
    }
    const doubled = { ...own, ...one("node_modules"), ...two("node_modules/node_modules") };
    await assert.rejects(measure(doubled), inPlace("node_modules.node_modules.two"));
  });

  test("a package's folder is measured, not the one that its package.json is linked from", async () => {
    const dir = await makePackage({ ...flat, "node_modules/two/index.js": "Two" });
    await write(join(dir, "elsewhere"), two("."));
    const file = join(dir, "node_modules", "two", "package.json");
    await rm(file);
    await symlink(join(dir, "elsewhere", "two", "package.json"), file);
    await assert.rejects(measureIn(dir), shadow(/two.package\.json: neither file nor folder/));
  });

  test("a package that another one uses where it happens to be counts when it is there", async () => {
    const meta = { dependencies: { two: "^1" }, peerDependenciesMeta: { three: { optional: true } } };
    const using = { ...flat, "node_modules/one/package.json": manifest("one", meta) };
    const three = { "node_modules/three/package.json": manifest("three"), "node_modules/three/index.js": "three" };
    assert.notEqual(await measure({ ...using, ...three }), await measure(using));
    assert.equal(await measure({ ...flat, ...three }), await measure(flat));
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

  test("variables that bring in other code count, in the order of their names, and no others", () => {
    const other = { PATH: "/bin", HOME: "/root", NODE_ENV: "x", PREBUILD: "x", NODE_PATH: "", UV_THREADPOOL_SIZE: "8" };
    assert.deepEqual(measuredVariables(other), []);
    const loading = {
      SECP256K1_PREBUILD: "/x",
      NODE_PATH: "/y",
      NODE_PRESERVE_SYMLINKS: "1",
      NODE_PRESERVE_SYMLINKS_MAIN: "1",
      LD_PRELOAD: "z.so",
      OPENSSL_CONF: "c",
      npm_config_arch: "a",
    };
    assert.deepEqual(measuredVariables({ ...other, ...loading }), [
      ...[
        "LD_PRELOAD=z.so",
        "NODE_PATH=/y",
        "NODE_PRESERVE_SYMLINKS=1",
        "NODE_PRESERVE_SYMLINKS_MAIN=1",
        "OPENSSL_CONF=c",
        "SECP256K1_PREBUILD=/x",
        "npm_config_arch=a",
      ],
    ]);
  });

  test("a process has its own variables among its flags", () => {
    const before = ownFlags();
    process.env["SECP256K1_PREBUILD"] = "/elsewhere";
    const flags = ownFlags();
    delete process.env["SECP256K1_PREBUILD"];
    assert.deepEqual(
      flags.filter((flag) => !before.includes(flag)),
      ["SECP256K1_PREBUILD=/elsewhere"],
    );
  });

  test("folders that code is taken from where no package is count when they are there", async () => {
    const dir = await newFolder();
    const executable = join(dir, "bin", "node");
    assert.deepEqual(measuredFolders(dir, executable), []);
    await write(dir, { ".node_modules/x.js": "", "bin/prebuilds/x.node": "" });
    assert.deepEqual(measuredFolders(dir, executable), [join(dir, ".node_modules"), join(dir, "bin", "prebuilds")]);
    assert.deepEqual(measuredFolders(undefined, executable), [join(dir, "bin", "prebuilds")]);
  });
});
