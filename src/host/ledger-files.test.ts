import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import type { Bytes } from "../core/codec/bytes.ts";
import type { HardState, LogEntry, PersistRequest } from "../core/consensus/types.ts";
import type { Disk } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import { FILE_SYSTEM, type FileOperations } from "./file-operations.ts";
import type { LedgerRepair } from "./ledger-chunks.ts";
import { type LedgerFiles, type LedgerFilesOptions, openLedgerFiles } from "./ledger-files.ts";

const roots: string[] = [];
after(() => roots.forEach((root) => fs.rmSync(root, { recursive: true, force: true })));

function newFolder(): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "coco-ledger-"));
  roots.push(root);
  return path.join(root, "ledger");
}

/** Data that says how long it is and ends with a sum, so that damage shows. */
function dataOf(index: number, length = 12): Bytes {
  const data = new Uint8Array(length).fill(index & 255);
  data[length - 1] = data.subarray(0, -1).reduce((sum, byte) => (sum + byte) & 255, length & 255);
  return data;
}

const check = (data: Bytes): boolean =>
  data[data.length - 1] === data.subarray(0, -1).reduce((sum, byte) => (sum + byte) & 255, data.length & 255);

const entry = (index: number, term = 1, length = 12): LogEntry => ({ index, term, data: dataOf(index, length) });

interface Opened extends LedgerFiles {
  readonly repairs: readonly LedgerRepair[];
  readonly failures: readonly CocoError[];
}

async function open(folder: string, changes: Partial<LedgerFilesOptions> = {}): Promise<Opened> {
  const repairs: LedgerRepair[] = [];
  const failures: CocoError[] = [];
  const options = {
    check,
    onRepair: (repair: LedgerRepair) => repairs.push(repair),
    onFatal: (error: CocoError) => failures.push(error),
    ...changes,
  };
  return { ...(await openLedgerFiles(folder, options)), repairs, failures };
}

let lastId = 0;
function persist(disk: Disk, request: Omit<PersistRequest, "id">): Promise<void> {
  return new Promise((resolve) => disk.persist({ id: ++lastId, ...request }, resolve));
}

function read(disk: Disk, fromIndex: number, maxBytes: number): Promise<readonly LogEntry[]> {
  return new Promise((resolve) => disk.read(fromIndex, maxBytes, resolve));
}

/** Writes entries to a new folder, one request each, and closes it. */
async function folderWith(entries: readonly LogEntry[], chunkBytes = 1024): Promise<string> {
  const folder = newFolder();
  const { disk, close } = await open(folder, { chunkBytes });
  await Promise.all(entries.map((one) => persist(disk, { entries: [one] })));
  await close();
  return folder;
}

async function contentOf(
  folder: string,
  changes: Partial<LedgerFilesOptions> = {},
): Promise<{ entries: readonly LogEntry[]; hardState: HardState | undefined; repairs: readonly LedgerRepair[] }> {
  const { content, close, repairs } = await open(folder, changes);
  const entries = [...content.entries];
  await close();
  return { entries, hardState: content.hardState, repairs };
}

const chunkFiles = (folder: string): readonly string[] =>
  fs
    .readdirSync(folder)
    .filter((name) => name.startsWith("ledger_"))
    .sort();

function isCode(code: string, data: Readonly<Record<string, unknown>> = {}): (error: unknown) => boolean {
  return (error) =>
    error instanceof CocoError &&
    error.code === code &&
    Object.entries(data).every(([name, value]) => error.data[name] === value);
}

describe("ledger folder", () => {
  test("what was persisted is there after reopening, over several chunks, with term and vote", async () => {
    const folder = newFolder();
    const entries = [1, 2, 3, 4, 5, 6, 7].map((index) => entry(index, 1 + Math.floor(index / 4)));
    const first = await open(folder, { chunkBytes: 70 });
    assert.deepEqual([...first.content.entries], []);
    assert.equal(first.content.hardState, undefined);
    await persist(first.disk, { hardState: { term: 1, votedFor: "abc" }, entries: entries.slice(0, 5) });
    await persist(first.disk, { hardState: { term: 2, votedFor: undefined }, entries: entries.slice(5) });
    await first.close();
    assert.deepEqual(chunkFiles(folder), ["ledger_0000000001", "ledger_0000000004", "ledger_0000000007"]);
    const content = await contentOf(folder);
    assert.deepEqual(content.entries, entries);
    assert.deepEqual(content.hardState, { term: 2, votedFor: undefined });
    assert.deepEqual(content.repairs, []);
  });

  test("any row of appends, truncations and reopenings leaves what a list would hold", async () => {
    const step = fc.oneof(
      fc.record({ keep: fc.nat(12), add: fc.integer({ min: 0, max: 4 }), length: fc.integer({ min: 2, max: 60 }) }),
      fc.constant("reopen" as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        const folder = newFolder();
        let ledger = await open(folder, { chunkBytes: 100 });
        const expected: LogEntry[] = [];
        let term = 1;
        const pending: Promise<void>[] = [];
        for (const change of steps) {
          if (change === "reopen") {
            await ledger.close();
            ledger = await open(folder, { chunkBytes: 100 });
            assert.deepEqual([...ledger.content.entries], expected);
            continue;
          }
          const truncateFrom = change.keep < expected.length ? change.keep + 1 : undefined;
          if (truncateFrom !== undefined) expected.length = change.keep;
          term++;
          const entries = Array.from({ length: change.add }, (_, at) =>
            entry(expected.length + 1 + at, term, change.length),
          );
          expected.push(...entries);
          pending.push(persist(ledger.disk, { entries, ...(truncateFrom === undefined ? {} : { truncateFrom }) }));
        }
        await Promise.all(pending);
        const readBack: LogEntry[] = [];
        while (readBack.length < expected.length) readBack.push(...(await read(ledger.disk, readBack.length + 1, 90)));
        assert.deepEqual(readBack, expected);
        await ledger.close();
        assert.deepEqual((await contentOf(folder)).entries, expected);
      }),
      { numRuns: 20 },
    );
  });

  test("a read gives entries of at most the bytes asked for, but one at least, and none beyond the end", async () => {
    const folder = await folderWith([1, 2, 3, 4].map((index) => entry(index)));
    const { disk, close } = await open(folder);
    assert.deepEqual(await read(disk, 2, 64), [entry(2), entry(3)]);
    assert.deepEqual(await read(disk, 2, 63), [entry(2)]);
    assert.deepEqual(await read(disk, 3, 0), [entry(3)]);
    assert.deepEqual(await read(disk, 5, 1000), []);
    assert.deepEqual(await read(disk, 0, 1000), []);
    await close();
  });

  test("a last record cut at any point is dropped and reported, and writing goes on after it", async () => {
    const whole = await folderWith([entry(1), entry(2), entry(3)]);
    const bytes = fs.readFileSync(path.join(whole, "ledger_0000000001"));
    for (let length = 65; length < 96; length++) {
      const folder = newFolder();
      fs.mkdirSync(folder);
      const file = path.join(folder, "ledger_0000000001");
      fs.writeFileSync(file, bytes.subarray(0, length));
      const { disk, content, close, repairs } = await open(folder);
      assert.deepEqual([...content.entries], [entry(1), entry(2)]);
      assert.deepEqual(
        repairs.map(({ offset, removedBytes }) => [offset, removedBytes]),
        [[64, length - 64]],
      );
      assert.equal(fs.statSync(file).size, 64);
      if (length % 8 === 0) await persist(disk, { entries: [entry(3, 2)] });
      await close();
      assert.deepEqual(
        (await contentOf(folder)).entries,
        length % 8 === 0 ? [entry(1), entry(2), entry(3, 2)] : [entry(1), entry(2)],
      );
    }
  });

  test("a last record that the check refuses, and zeros after the last record, are dropped", async () => {
    for (const damage of [(bytes: Buffer) => bytes.fill(0xff, 90, 92), (bytes: Buffer) => bytes.fill(0, 64)]) {
      const folder = await folderWith([entry(1), entry(2), entry(3)]);
      const file = path.join(folder, "ledger_0000000001");
      fs.writeFileSync(file, damage(fs.readFileSync(file)));
      const { entries, repairs } = await contentOf(folder);
      assert.deepEqual(entries, [entry(1), entry(2)]);
      assert.equal(repairs[0]?.offset, 64);
      assert.equal(fs.statSync(file).size, 64);
    }
  });

  test("a first record of a new chunk that is torn leaves the chunk empty", async () => {
    const folder = await folderWith([entry(1), entry(2), entry(3)], 60);
    const file = path.join(folder, "ledger_0000000003");
    fs.truncateSync(file, 25);
    const { disk, content, close } = await open(folder, { chunkBytes: 60 });
    assert.deepEqual([...content.entries], [entry(1), entry(2)]);
    await persist(disk, { entries: [entry(3, 5)] });
    await close();
    assert.deepEqual((await contentOf(folder)).entries, [entry(1), entry(2), entry(3, 5)]);
    assert.deepEqual(chunkFiles(folder), ["ledger_0000000001", "ledger_0000000003"]);
  });

  test("damage before the last record is named with file and offset, and the file is not touched", async () => {
    const damages: readonly (readonly [what: string, offset: number, at: number, value: number])[] = [
      ["length too small", 32, 35, 11],
      ["length beyond the file", 32, 34, 1],
      ["length beyond any batch", 0, 0, 0xff],
      ["another index", 32, 43, 9],
      ["a term that goes back", 32, 51, 0],
    ];
    for (const [what, offset, at, value] of damages) {
      const folder = await folderWith([entry(1), entry(2), entry(3)]);
      const file = path.join(folder, "ledger_0000000001");
      const bytes = fs.readFileSync(file);
      bytes[at] = value;
      fs.writeFileSync(file, bytes);
      const named = what === "length too small" ? { file } : { file, offset };
      await assert.rejects(contentOf(folder), isCode("LedgerCorrupt", named), what);
      assert.deepEqual(fs.readFileSync(file), bytes);
    }
  });

  test("a chunk that is cut or missing before the last one is damage", async () => {
    const cut = await folderWith(
      [1, 2, 3, 4, 5].map((index) => entry(index)),
      60,
    );
    fs.truncateSync(path.join(cut, "ledger_0000000003"), 50);
    await assert.rejects(
      contentOf(cut),
      isCode("LedgerCorrupt", { file: path.join(cut, "ledger_0000000003"), offset: 32 }),
    );
    const missing = await folderWith(
      [1, 2, 3, 4, 5].map((index) => entry(index)),
      60,
    );
    fs.unlinkSync(path.join(missing, "ledger_0000000003"));
    await assert.rejects(
      contentOf(missing),
      isCode("LedgerCorrupt", { file: path.join(missing, "ledger_0000000005") }),
    );
  });

  test("a damaged term and vote stop the node at every byte", async () => {
    const folder = newFolder();
    const { disk, close } = await open(folder);
    await persist(disk, { hardState: { term: 7, votedFor: "ff" }, entries: [] });
    await close();
    const file = path.join(folder, "consensus");
    const bytes = fs.readFileSync(file);
    for (let at = 0; at < bytes.length; at++) {
      fs.writeFileSync(
        file,
        Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 4 : byte)),
      );
      await assert.rejects(contentOf(folder), isCode("LedgerCorrupt", { file }));
      fs.writeFileSync(file, bytes.subarray(0, at));
      await assert.rejects(contentOf(folder), isCode("LedgerCorrupt", { file }));
    }
    fs.writeFileSync(file, bytes);
    fs.writeFileSync(`${file}.new`, "left behind by a crash before the rename");
    assert.deepEqual((await contentOf(folder)).hardState, { term: 7, votedFor: "ff" });
  });
});

describe("group commit", () => {
  /** Syncs wait until they are let go; every operation is counted. */
  function slowFiles(): { files: FileOperations; counts: { write: number; syncData: number }; letGo: () => void } {
    const counts = { write: 0, syncData: 0 };
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const files: FileOperations = {
      ...FILE_SYSTEM,
      write: (descriptor, data, position) => {
        counts.write++;
        return FILE_SYSTEM.write(descriptor, data, position);
      },
      syncData: async (descriptor) => {
        counts.syncData++;
        await gate;
        await FILE_SYSTEM.syncData(descriptor);
      },
    };
    return { files, counts, letGo };
  }

  test("requests that arrive while a sync runs share the next one, and are reported in order", async () => {
    const { files, counts, letGo } = slowFiles();
    const { disk, close } = await open(newFolder(), { files });
    const order: number[] = [];
    const submit = (index: number): Promise<void> =>
      persist(disk, { entries: [entry(index)] }).then(() => void order.push(index));
    const requests = [submit(1)];
    while (counts.syncData === 0) await new Promise((resolve) => setImmediate(resolve));
    for (let index = 2; index <= 50; index++) requests.push(submit(index));
    assert.deepEqual(order, []);
    letGo();
    await Promise.all(requests);
    assert.deepEqual(
      order,
      Array.from({ length: 50 }, (_, at) => at + 1),
    );
    assert.deepEqual(counts, { write: 2, syncData: 2 });
    await close();
  });

  test("callbacks never come inside the call that was given them", async () => {
    const { disk, close } = await open(newFolder());
    let inside = true;
    const persisted = new Promise<boolean>((resolve) => disk.persist({ id: 1, entries: [] }, () => resolve(inside)));
    const wasRead = new Promise<boolean>((resolve) => disk.read(1, 1, () => resolve(inside)));
    inside = false;
    assert.deepEqual(await Promise.all([persisted, wasRead]), [false, false]);
    await close();
  });

  for (const operation of ["write", "syncData", "open", "syncDirectory", "rename"] as const) {
    test(`after a failed ${operation} nothing is reported durable any more, and nothing is tried again`, async () => {
      let calls = 0;
      const fail = (): Promise<never> => {
        calls++;
        return Promise.reject(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
      };
      const { disk, close, failures } = await open(newFolder(), { files: { ...FILE_SYSTEM, [operation]: fail } });
      let reported = 0;
      const request = { hardState: { term: 1, votedFor: undefined }, entries: [entry(1)] };
      disk.persist({ id: 1, ...request }, () => reported++);
      disk.persist({ id: 2, entries: [entry(2)] }, () => reported++);
      while (failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
      disk.persist({ id: 3, entries: [entry(3)] }, () => reported++);
      disk.read(1, 1, () => reported++);
      await close();
      assert.deepEqual(
        failures.map(({ code }) => code),
        ["DiskFailed"],
      );
      assert.equal(calls, 1);
      assert.equal(reported, 0);
    });
  }

  test("an entry that does not follow is refused at once", async () => {
    const { disk, close } = await open(newFolder());
    assert.throws(() => disk.persist({ id: 1, entries: [entry(2)] }, () => undefined), isCode("Internal"));
    await persist(disk, { entries: [entry(1)] });
    assert.throws(() => disk.persist({ id: 2, truncateFrom: 3, entries: [] }, () => undefined), isCode("Internal"));
    await close();
  });
});
