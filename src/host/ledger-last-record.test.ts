import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, test } from "node:test";
import type { Bytes } from "../core/codec/bytes.ts";
import { CocoError } from "../errors.ts";
import { type LedgerFilesOptions, type LedgerRepair, openLedgerFiles } from "./ledger-files.ts";
import { CHUNK_HEADER_LENGTH, RECORD_HEADER_LENGTH, recordEnd } from "./ledger-record.ts";
import { MemoryFiles } from "./testing/memory-files.ts";

const FOLDER = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "coco-last-record-")));
after(() => fs.rmSync(FOLDER, { recursive: true, force: true }));
const CHUNK = path.join(FOLDER, "ledger_0000000001");
const SECTOR = 512;

const filled = (length: number): Bytes => new Uint8Array(length).map((_, at) => 1 + ((at * 7) % 250));

async function open(files: MemoryFiles, repairs: LedgerRepair[] = [], changes: Partial<LedgerFilesOptions> = {}) {
  return openLedgerFiles(FOLDER, {
    repair: "refuse",
    onRepair: (repair) => repairs.push(repair),
    onFatal: (error) => assert.fail(error),
    files,
    ...changes,
  });
}

interface WrittenChunk {
  readonly files: MemoryFiles;
  /** Where the last record begins and ends. */
  readonly offset: number;
  readonly end: number;
}

/** A chunk whose last record has this data, and begins at this byte or behind the fill that is needed there. */
async function chunkWith(wanted: number, data: Bytes): Promise<WrittenChunk> {
  const files = new MemoryFiles();
  const ledger = await open(files);
  const before = filled(wanted - CHUNK_HEADER_LENGTH - RECORD_HEADER_LENGTH);
  for (const entry of [
    { index: 1, term: 1, data: before },
    { index: 2, term: 1, data },
  ])
    await new Promise<void>((resolve) => ledger.disk.persist({ id: 1, entries: [entry] }, resolve));
  await ledger.close();
  const offset = recordEnd(CHUNK_HEADER_LENGTH, before.length);
  const end = recordEnd(offset, data.length);
  assert.equal(files.files.get(CHUNK)?.length, end);
  return { files, offset, end };
}

function changed(files: MemoryFiles, change: (bytes: Uint8Array) => void): MemoryFiles {
  const copy = new Map([...files.files].map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
  change(copy.get(CHUNK) as Uint8Array);
  return new MemoryFiles(copy);
}

async function refusesUntouched(files: MemoryFiles, what: string): Promise<void> {
  const before = files.files;
  await assert.rejects(open(files), (error) => error instanceof CocoError && error.code === "LedgerCorrupt", what);
  assert.deepEqual(files.files, before, what);
}

describe("the last record", () => {
  /** All around the end of a sector. */
  const places = Array.from({ length: 26 }, (_, at) => SECTOR + 499 + at);

  test("has no small part of a sector", async () => {
    for (const wanted of places)
      for (let length = 460; length < 500; length++) {
        const { offset, end } = await chunkWith(wanted, filled(length));
        for (const at of [offset, end])
          assert.ok(at % SECTOR === 0 || (at % SECTOR >= 12 && at % SECTOR <= SECTOR - 12), `${offset} to ${end}`);
      }
  });

  test("with any byte changed is damage wherever it begins and ends, and never cut off", async () => {
    for (const wanted of places.filter((_, at) => at <= 13))
      for (const length of [248, 485]) {
        const { files, offset, end } = await chunkWith(wanted, filled(length));
        for (let at = offset; at < end; at++)
          for (const value of [0, 0x5a]) {
            const isSame = files.files.get(CHUNK)?.[at] === value;
            const damaged = changed(files, (bytes) => bytes.fill(isSame ? value ^ 0x11 : value, at, at + 1));
            await refusesUntouched(damaged, `byte ${at} set to ${value}, record of ${length} at ${offset}`);
          }
      }
  });

  test("of which a sector did not arrive is cut off, whichever it is", async () => {
    for (const wanted of places)
      for (const length of [8, 470, 485, 495, 1200]) {
        const { files, offset, end } = await chunkWith(wanted, filled(length));
        for (let start = offset - (offset % SECTOR); start < end; start += SECTOR) {
          const torn = changed(files, (bytes) => bytes.fill(0, Math.max(offset, start), start + SECTOR));
          const repairs: LedgerRepair[] = [];
          await (await open(torn, repairs)).close();
          assert.deepEqual([repairs[0]?.action, repairs[0]?.offset], ["cut", offset], `sector at ${start} to ${end}`);
        }
      }
  });

  test("whose data has a sector of zeros, or nearly, with any byte changed is damage", async () => {
    for (const single of [0, 0x33]) {
      const data = filled(2000);
      data.fill(0, 300, 1500);
      data[1000] = single;
      const { files, end } = await chunkWith(700, data);
      for (let at = 700; at < end; at += 7)
        await refusesUntouched(
          changed(files, (bytes) => bytes.fill((bytes[at] as number) ^ 0x33, at, at + 1)),
          `byte ${at}`,
        );
      await refusesUntouched(
        changed(files, (bytes) => bytes.fill((bytes[1732] as number) ^ 0x33, 1732, 1733)),
        "the one byte of a sector",
      );
      const ledger = await open(files);
      assert.deepEqual([...ledger.content.entriesFrom(2)][0]?.data, data);
      await ledger.close();
    }
  });

  test("of several in one write is judged by its own sectors, not by those of the records behind it", async () => {
    const files = new MemoryFiles();
    const ledger = await open(files);
    const zeros = filled(1800).fill(0, 100, 1700);
    const entries = [filled(600), zeros].map((data, at) => ({ index: at + 1, term: 1, data }));
    await new Promise<void>((resolve) => ledger.disk.persist({ id: 1, entries }, resolve));
    await ledger.close();
    for (let at = CHUNK_HEADER_LENGTH; at < CHUNK_HEADER_LENGTH + RECORD_HEADER_LENGTH + 600; at++)
      await refusesUntouched(
        changed(files, (bytes) => bytes.fill((bytes[at] as number) ^ 0x10, at, at + 1)),
        `byte ${at}`,
      );
  });
});
