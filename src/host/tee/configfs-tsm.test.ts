import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { MAX_TSM_ATTEMPTS, MAX_TSM_BLOB_BYTES, readTsmReport, type TsmOptions } from "./configfs-tsm.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

const REPORT_DATA = Uint8Array.from({ length: 64 }, (_, at) => at);
let root = "";
let pauses: number[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "coco-tsm-"));
  pauses = [];
});

afterEach(() => rmSync(root, { recursive: true }));

/** Plays the kernel over a real folder: files appear with their folder, writes are counted, a report follows each write. */
function kernel(changes: Partial<TsmFiles> = {}, auxiliary?: Bytes): TsmFiles {
  const value = (file: string) => readFileSync(file, "utf8");
  return {
    ...TSM_FILES,
    async makeFolder(folder) {
      await TSM_FILES.makeFolder(folder);
      const files = { inblob: "", outblob: "", generation: "0\n", provider: "sev_guest\n" };
      for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
      writeFileSync(join(folder, "privlevel_floor"), "1\n");
      writeFileSync(join(folder, "privlevel"), "");
      if (auxiliary !== undefined) writeFileSync(join(folder, "auxblob"), auxiliary);
    },
    async writeOnce(file, data) {
      await TSM_FILES.writeOnce(file, data);
      const folder = dirname(file);
      writeFileSync(join(folder, "generation"), `${Number(value(join(folder, "generation"))) + 1}\n`);
      if (basename(file) === "inblob")
        writeFileSync(join(folder, "outblob"), concatBytes(data, new Uint8Array(5000).fill(7)));
    },
    async removeFolder(folder) {
      rmSync(folder, { recursive: true });
    },
    ...changes,
  };
}

function ask(files: TsmFiles, more: TsmOptions = {}) {
  const pause = async (durationMs: number) => void pauses.push(durationMs);
  return readTsmReport(REPORT_DATA, { folder: root, files, pause, ...more });
}

const isUnavailable = { code: "TeeUnavailable" };

/** A read that fails with a system error for this file, so many times. */
function failingRead(name: string, code: string, times: number): TsmFiles["read"] {
  let left = times;
  return async (file, maxBytes) => {
    if (basename(file) === name && left-- > 0) throw Object.assign(new Error(code), { code });
    return TSM_FILES.read(file, maxBytes);
  };
}

describe("reports through configfs-tsm", () => {
  test("bind the data, give report, certificates and provider, and leave nothing behind", async () => {
    const auxiliary = new Uint8Array(9000).fill(3);
    const result = await ask(kernel({}, auxiliary));
    assert.deepEqual(result.report, concatBytes(REPORT_DATA, new Uint8Array(5000).fill(7)));
    assert.deepEqual(result.auxiliary, auxiliary);
    assert.equal(result.provider, "sev_guest");
    assert.deepEqual(readdirSync(root), []);
    assert.deepEqual(pauses, []);
  });

  test("need no certificates beside them", async () => {
    assert.equal((await ask(kernel())).auxiliary.length, 0);
  });

  test("are made in a folder of their own each time, by one write", async () => {
    const writes: string[] = [];
    const real = kernel();
    const files = kernel({
      writeOnce: async (file, data) => {
        writes.push(file);
        await real.writeOnce(file, data);
      },
    });
    await ask(files);
    await ask(files);
    assert.equal(writes.length, 2);
    assert.equal(new Set(writes).size, 2);
    assert.ok(writes.every((file) => basename(file) === "inblob"));
  });

  test("name a privilege level where the floor allows it", async () => {
    await assert.rejects(ask(kernel(), { privilegeLevel: 0 }), isUnavailable);
    assert.deepEqual(readdirSync(root), []);
    assert.equal((await ask(kernel(), { privilegeLevel: 2 })).provider, "sev_guest");
  });

  test("are asked for again when somebody else wrote, and not for ever", async () => {
    let disturbances = 2;
    const disturbed = (limit: () => boolean) =>
      kernel({
        read: async (file, maxBytes) => {
          if (basename(file) === "provider" && limit()) writeFileSync(join(dirname(file), "generation"), "2\n");
          return TSM_FILES.read(file, maxBytes);
        },
      });
    await ask(disturbed(() => disturbances-- > 0));
    assert.deepEqual(pauses, [20, 40]);
    await assert.rejects(ask(disturbed(() => true)), isUnavailable);
    assert.equal(pauses.length, 2 + MAX_TSM_ATTEMPTS - 1);
    assert.deepEqual(readdirSync(root), []);
  });

  test("are asked for again when a write was lost", async () => {
    let lost = 1;
    const real = kernel();
    const files = kernel({ writeOnce: async (file, data) => void (lost-- > 0 || (await real.writeOnce(file, data))) });
    assert.deepEqual((await ask(files)).report.subarray(0, 64), REPORT_DATA);
    assert.deepEqual(pauses, [20]);
  });

  test("are asked for again while the device is busy", async () => {
    for (const code of ["EBUSY", "EAGAIN", "EINTR"]) {
      pauses = [];
      await ask(kernel({ read: failingRead("outblob", code, 3) }));
      assert.deepEqual(pauses, [20, 40, 80], code);
    }
    await assert.rejects(ask(kernel({ read: failingRead("outblob", "EBUSY", 99) })), isUnavailable);
  });

  test("that are too large, or that the kernel refuses, end at once", async () => {
    for (const code of ["EFBIG", "EINVAL", "EIO"]) {
      pauses = [];
      await assert.rejects(ask(kernel({ read: failingRead("outblob", code, 1) })), isUnavailable);
      assert.deepEqual(pauses, [], code);
    }
    const large = kernel({}, new Uint8Array(MAX_TSM_BLOB_BYTES + 1));
    await assert.rejects(ask(large), isUnavailable);
    assert.deepEqual(readdirSync(root), []);
  });

  test("are refused where there is no such folder, or for data of another length", async () => {
    await assert.rejects(readTsmReport(REPORT_DATA, { folder: join(root, "absent") }), isUnavailable);
    await assert.rejects(readTsmReport(REPORT_DATA.subarray(1), { folder: root, files: kernel() }), isUnavailable);
  });

  test("over the real file system neither make nor cut the kernel's files", async () => {
    const file = join(root, "inblob");
    await assert.rejects(TSM_FILES.writeOnce(file, REPORT_DATA), { code: "ENOENT" });
    writeFileSync(file, "x".repeat(100));
    await TSM_FILES.writeOnce(file, REPORT_DATA);
    assert.equal(readFileSync(file).length, 100);
    mkdirSync(join(root, "own"));
    await assert.rejects(TSM_FILES.makeFolder(join(root, "own")), { code: "EEXIST" });
    await TSM_FILES.removeFolder(join(root, "own"));
  });
});
