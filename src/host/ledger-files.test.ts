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
import { type LedgerFiles, type LedgerFilesOptions, type LedgerRepair, openLedgerFiles } from "./ledger-files.ts";

const roots: string[] = [];
after(() => roots.forEach((root) => fs.rmSync(root, { recursive: true, force: true })));

function newFolder(): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "coco-ledger-"));
  roots.push(root);
  return path.join(root, "ledger");
}

function dataOf(index: number, length = 12): Bytes {
  return new Uint8Array(length).fill((index % 255) + 1);
}

const entry = (index: number, term = 1, length = 12): LogEntry => ({ index, term, data: dataOf(index, length) });

interface Opened extends LedgerFiles {
  readonly repairs: readonly LedgerRepair[];
  readonly failures: readonly CocoError[];
}

async function open(folder: string, changes: Partial<LedgerFilesOptions> = {}): Promise<Opened> {
  const repairs: LedgerRepair[] = [];
  const failures: CocoError[] = [];
  const options = {
    repair: "refuse" as const,
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
  const entries = [...content.entriesFrom(1)];
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
    const first = await open(folder, { chunkBytes: 140 });
    assert.deepEqual([...first.content.entriesFrom(1)], []);
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
        let ledger = await open(folder, { chunkBytes: 160 });
        const expected: LogEntry[] = [];
        let term = 1;
        const pending: Promise<void>[] = [];
        for (const change of steps) {
          if (change === "reopen") {
            await ledger.close();
            ledger = await open(folder, { chunkBytes: 160 });
            assert.deepEqual([...ledger.content.entriesFrom(1)], expected);
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
    assert.deepEqual(await read(disk, 2, 88), [entry(2), entry(3)]);
    assert.deepEqual(await read(disk, 2, 87), [entry(2)]);
    assert.deepEqual(await read(disk, 3, 0), [entry(3)]);
    assert.deepEqual(await read(disk, 5, 1000), []);
    assert.deepEqual(await read(disk, 0, 1000), []);
    await close();
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
    // One write more: the layout names the chunk that is begun.
    assert.deepEqual(counts, { write: 3, syncData: 2 });
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
        // No room is a reason to wait, except for a sync: that one is never tried again.
        const code = operation.startsWith("sync") ? "ENOSPC" : "EIO";
        return Promise.reject(Object.assign(new Error(`${code}: it failed`), { code }));
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
