import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { type Bytes, concatBytes } from "../core/codec/bytes.ts";
import type { LogEntry } from "../core/consensus/types.ts";
import type { DiskRequest } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";
import {
  type LedgerEnds,
  type LedgerFiles,
  type LedgerFilesOptions,
  type LedgerRepair,
  openLedgerFiles,
} from "./ledger-files.ts";
import { LEDGER_FORMAT_VERSION } from "./ledger-record.ts";
import { MemoryFiles } from "./testing/memory-files.ts";

const FOLDER = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "coco-damage-")));
after(() => fs.rmSync(FOLDER, { recursive: true, force: true }));
const inFolder = (name: string): string => path.join(FOLDER, name);
const FIRST = inFolder("ledger_0000000001");
const CHUNKS = [1, 4, 7].map((index) => inFolder(`ledger_${String(index).padStart(10, "0")}`));

const entry = (index: number, term = 1): LogEntry => ({
  index,
  term,
  data: new Uint8Array(60).map((_, at) => 1 + ((index * 31 + at * 7) % 250)),
});

interface Opened extends LedgerFiles {
  readonly repairs: readonly LedgerRepair[];
}

async function open(files: MemoryFiles, changes: Partial<LedgerFilesOptions> = {}): Promise<Opened> {
  const repairs: LedgerRepair[] = [];
  const ledger = await openLedgerFiles(FOLDER, {
    repair: "from-peers",
    onRepair: (repair) => repairs.push(repair),
    onFatal: (error) => assert.fail(error),
    chunkBytes: 280,
    files,
    ...changes,
  });
  return { ...ledger, repairs };
}

const persist = (ledger: LedgerFiles, entries: readonly LogEntry[]): Promise<void> =>
  new Promise((resolve) => ledger.disk.persist({ id: 1, entries }, resolve));

/** Three chunks of entries 1-3, 4-6 and 7-8 with term and vote; one write each, or one for all of a chunk. */
async function ledgerFiles(chunkBytes = 280): Promise<ReadonlyMap<string, Bytes>> {
  const files = new MemoryFiles();
  const ledger = await open(files, { chunkBytes });
  await new Promise<void>((resolve) =>
    ledger.disk.persist({ id: 1, hardState: { term: 5, votedFor: undefined }, entries: [] }, resolve),
  );
  for (let index = 1; index <= 8; index++) await persist(ledger, [entry(index, 1 + Math.floor(index / 4))]);
  await ledger.close();
  return files.files;
}

function changed(
  files: ReadonlyMap<string, Bytes>,
  name: string,
  change: (bytes: Bytes) => Bytes | undefined,
): MemoryFiles {
  const copy = new Map<string, Bytes>([...files].map(([file, bytes]) => [file, bytes.slice()]));
  const bytes: Bytes | undefined = change(copy.get(name) as Bytes);
  if (bytes === undefined) copy.delete(name);
  else copy.set(name, bytes);
  return new MemoryFiles(copy);
}

const flipped =
  (at: number, mask = 0x10) =>
  (bytes: Bytes): Bytes => {
    const copy = new Uint8Array(bytes);
    copy[at] = (copy[at] as number) ^ mask;
    return copy;
  };

const ofVersion =
  (version: number) =>
  (bytes: Bytes): Bytes => {
    const copy = bytes.slice();
    copy[11] = version;
    new DataView(copy.buffer).setUint32(20, crc32(copy.subarray(0, 20)));
    return copy;
  };

function refused(code: string, data: Readonly<Record<string, unknown>> = {}): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CocoError && error.code === code, String(error));
    for (const [name, value] of Object.entries(data)) assert.equal(error.data[name], value, error.message);
    return true;
  };
}

/** Opening is refused, and not one byte changes. */
async function refusesUntouched(
  files: MemoryFiles,
  isExpected: (error: unknown) => boolean,
  changes: Partial<LedgerFilesOptions> = { repair: "refuse" },
): Promise<void> {
  const before = files.files;
  await assert.rejects(open(files, changes), isExpected);
  assert.deepEqual(files.files, before);
}

const contentOf = (ledger: LedgerFiles): readonly LogEntry[] => [...ledger.content.entriesFrom(1)];
const written = (count: number): readonly LogEntry[] =>
  Array.from({ length: count }, (_, at) => entry(at + 1, 1 + Math.floor((at + 1) / 4)));

describe("the end of a ledger", () => {
  test("cut at any byte of the last chunk is a shorter ledger, and writing goes on after it", async () => {
    const files = await ledgerFiles(10_000);
    const size = (files.get(FIRST) as Bytes).length;
    for (let length = 0; length <= size; length++) {
      const cut = changed(files, FIRST, (bytes) => bytes.slice(0, length));
      const ledger = await open(cut, { repair: "refuse", chunkBytes: 10_000 });
      const whole = Math.max(0, Math.floor((length - 24) / 92));
      assert.deepEqual(contentOf(ledger), written(whole));
      const isWhole = whole > 0 && length === 24 + 92 * whole;
      assert.equal(ledger.repairs.length, isWhole ? 0 : 1);
      await persist(ledger, [entry(whole + 1, 6)]);
      await ledger.close();
      const again = await open(cut);
      assert.deepEqual([contentOf(again).at(-1), again.repairs], [entry(whole + 1, 6), []]);
      await again.close();
    }
  });

  test("of zeros, or of a last write of which sectors did not arrive, is cut off", async () => {
    const files = await ledgerFiles(10_000);
    const zeros = changed(files, FIRST, (bytes) => new Uint8Array([...bytes, ...new Uint8Array(700)]));
    const ledger = await open(zeros, { repair: "refuse" });
    assert.deepEqual(contentOf(ledger), written(8));
    assert.deepEqual(ledger.repairs[0]?.action, "cut");
    await ledger.close();
  });
});

describe("damage in a ledger", () => {
  test("of any byte of any chunk is found; what is before it stays, and how far the ledger had gone is known", async () => {
    const files = await ledgerFiles();
    for (const [position, chunk] of CHUNKS.entries()) {
      const bytes = files.get(chunk) as Bytes;
      for (let at = 0; at < bytes.length; at++) {
        const first = 1 + 3 * position;
        const index = at < 24 ? first : first + Math.floor((at - 24) / 92);
        await refusesUntouched(changed(files, chunk, flipped(at)), (error) => {
          assert.ok(error instanceof CocoError && ["LedgerCorrupt", "LedgerTooNew"].includes(error.code));
          return error.data["file"] === chunk;
        });
        const damaged = changed(files, chunk, flipped(at));
        const ledger = await open(damaged);
        assert.deepEqual(contentOf(ledger), written(index - 1), `byte ${at} of ${chunk}`);
        const { damage } = ledger.content;
        assert.equal(damage?.index, index);
        // The last record's header tells its term; without it, the newest term there was.
        const isLastHeader = position === 2 && index === 8 && at < 24 + 92 + 32;
        assert.deepEqual([damage?.lastIndex, damage?.lastTerm], [8, isLastHeader ? 5 : 3], `byte ${at} of ${chunk}`);
        await ledger.close();
      }
    }
  });

  test("keeps the damaged chunk and the later ones, and is remembered until the ledger has got as far again", async () => {
    const files = await ledgerFiles();
    const damaged = changed(files, CHUNKS[1] as string, flipped(130));
    const ledger = await open(damaged);
    assert.deepEqual(contentOf(ledger), written(4));
    assert.equal(ledger.repairs[0]?.action, "set aside");
    await ledger.close();
    const kept = damaged.files;
    assert.deepEqual(
      kept.get(inFolder("damaged-1/ledger_0000000004")),
      flipped(130)(files.get(CHUNKS[1] as string) as Bytes),
    );
    assert.deepEqual(kept.get(inFolder("damaged-1/ledger_0000000007")), files.get(CHUNKS[2] as string));
    for (const index of [5, 6, 7, 8]) {
      const again = await open(damaged);
      assert.deepEqual(again.content.damage, { index, lastIndex: 8, lastTerm: 3 });
      assert.deepEqual(again.repairs, []);
      await persist(again, [entry(index, 1 + Math.floor(index / 4))]);
      await again.close();
    }
    const whole = await open(damaged);
    assert.deepEqual([whole.content.damage, contentOf(whole)], [undefined, written(8)]);
    await whole.close();
  });

  test("survives a crash at every step of setting it aside", async () => {
    const files = await ledgerFiles();
    const damaged = changed(files, CHUNKS[1] as string, flipped(130));
    const crashed: MemoryFiles[] = [];
    damaged.afterChange = () => {
      for (const lostNames of [0, 1, "all"] as const)
        for (const data of ["kept", "lost", 0.5] as const) crashed.push(damaged.crash({ lostNames, data }));
    };
    await (await open(damaged)).close();
    assert.ok(crashed.length > 50);
    for (const left of crashed) {
      const ledger = await open(left);
      assert.deepEqual(contentOf(ledger), written(4));
      assert.deepEqual(ledger.content.damage, { index: 5, lastIndex: 8, lastTerm: 3 });
      await ledger.close();
      const aside = [...left.files].find(([name]) => /damaged-\d+\/ledger_0000000004$/.test(name))?.[1];
      assert.deepEqual(aside, flipped(130)(files.get(CHUNKS[1] as string) as Bytes));
    }
  });

  test("that the disk cannot read is treated as what it is", async () => {
    const files = new MemoryFiles(await ledgerFiles(10_000));
    const grown = await open(files, { chunkBytes: 100_000 });
    for (let index = 9; index < 120; index++) await persist(grown, [entry(index, 3)]);
    await grown.close();
    const unreadable = new MemoryFiles(files.files);
    const { read } = MemoryFiles.prototype;
    unreadable.read = async function (this: MemoryFiles, descriptor, position, length) {
      if (position <= 5000 && position + length > 5000) throw Object.assign(new Error("EIO"), { code: "EIO" });
      return read.call(this, descriptor, position, length);
    };
    await refusesUntouched(unreadable, refused("LedgerCorrupt", { file: FIRST }));
    const ledger = await open(unreadable);
    const { length } = contentOf(ledger);
    assert.equal(length, Math.floor((4096 - 24) / 92));
    assert.deepEqual(ledger.content.damage, { index: length + 1, lastIndex: 119, lastTerm: 3 });
    await ledger.close();
  });

  test("that verification finds is set aside from its index on", async () => {
    const files = new MemoryFiles(await ledgerFiles());
    await refusesUntouched(files, refused("LedgerCorrupt", { file: CHUNKS[1], offset: 116 }), {
      repair: "refuse",
      damagedFrom: 5,
    });
    for (const [index, count] of [
      [5, 4],
      [4, 3],
      [1, 0],
    ] as const) {
      const copy = new MemoryFiles(files.files);
      const ledger = await open(copy, { damagedFrom: index });
      assert.deepEqual(contentOf(ledger), written(count));
      assert.deepEqual(ledger.content.damage, { index, lastIndex: 8, lastTerm: 3 });
      await ledger.close();
    }
  });
});

describe("a ledger that is refused is left untouched", () => {
  const both = ["refuse", "from-peers"] as const;

  test("with a missing chunk", async () => {
    const files = await ledgerFiles();
    for (const repair of both) {
      for (const chunk of CHUNKS.slice(0, 2)) {
        const next = CHUNKS[CHUNKS.indexOf(chunk) + 1];
        const missing = changed(files, chunk, () => undefined);
        await refusesUntouched(missing, refused("LedgerCorrupt", { file: next }), { repair });
      }
    }
  });

  test("with its last chunk missing, or every chunk", async () => {
    const files = await ledgerFiles();
    for (const repair of both)
      for (const kept of [2, 1, 0]) {
        const copy = new Map(files);
        for (const chunk of CHUNKS.slice(kept)) copy.delete(chunk);
        await refusesUntouched(new MemoryFiles(copy), refused("LedgerCorrupt", { file: CHUNKS[2] }), { repair });
      }
  });

  test("with its last chunk missing after chunks were removed, moved or begun anew", async () => {
    const files = changed(await ledgerFiles(), CHUNKS[1] as string, flipped(130));
    const isChunk = (file: string): boolean =>
      path.dirname(file) === FOLDER && path.basename(file).startsWith("ledger_");
    const newestOf = (): string => [...files.files.keys()].filter(isChunk).sort().at(-1) ?? "";
    const isMissed = (): Promise<void> =>
      refusesUntouched(
        changed(files.files, newestOf(), () => undefined),
        refused("LedgerCorrupt", { file: newestOf() }),
      );
    const ask = async (request: Omit<DiskRequest, "id">): Promise<void> => {
      const ledger = await open(files);
      await new Promise<void>((resolve) => ledger.disk.persist({ id: 1, ...request }, resolve));
      await ledger.close();
    };
    await (await open(files)).close();
    assert.equal(newestOf(), CHUNKS[1]);
    await isMissed();
    await ask({ entries: [5, 6, 7, 8, 9, 10].map((index) => entry(index, 5)) });
    assert.notEqual(newestOf(), CHUNKS[1]);
    await isMissed();
    await ask({ truncateFrom: 3, entries: [] });
    assert.equal(newestOf(), FIRST);
    await isMissed();
    await ask({ truncateFrom: 1, entries: [] });
    assert.equal(newestOf(), "");
    await ask({ entries: [1, 2, 3, 4, 5].map((index) => entry(index, 5)) });
    await isMissed();
  });

  test("with a term that none can be, though its checksum fits", async () => {
    const files = await ledgerFiles();
    const ofTerm = (term: number): MemoryFiles =>
      changed(files, inFolder("consensus"), (bytes) => {
        const content = bytes.slice(0, -8);
        new DataView(content.buffer).setBigUint64(5, BigInt(term));
        return concatBytes(content, createHash("sha256").update(content).digest().subarray(0, 8));
      });
    for (const repair of both)
      for (const term of [2 ** 52, 2 ** 52 - 1, Number.MAX_SAFE_INTEGER])
        await refusesUntouched(ofTerm(term), refused("LedgerCorrupt", { file: inFolder("consensus") }), { repair });
    const ledger = await open(ofTerm(2 ** 51), { repair: "refuse" });
    assert.equal(ledger.content.hardState?.term, 2 ** 51);
    await ledger.close();
  });

  test("with a layout of an older version", async () => {
    const files = await ledgerFiles();
    const older = changed(files, inFolder("layout"), (bytes) => bytes.with(11, 1));
    for (const repair of both)
      await refusesUntouched(older, refused("LedgerCorrupt", { file: inFolder("layout") }), { repair });
  });

  test("of a newer format", async () => {
    const files = await ledgerFiles();
    const newer = ofVersion(LEDGER_FORMAT_VERSION + 1);
    for (const repair of both)
      for (const chunk of CHUNKS)
        await refusesUntouched(changed(files, chunk, newer), refused("LedgerTooNew", { file: chunk, version: 4 }), {
          repair,
        });
  });

  test("of an older format, which is no damage", async () => {
    const files = await ledgerFiles();
    for (const repair of both)
      for (const chunk of CHUNKS)
        await refusesUntouched(
          changed(files, chunk, ofVersion(LEDGER_FORMAT_VERSION - 1)),
          refused("LedgerCorrupt", { file: chunk }),
          { repair },
        );
  });

  test("of something else altogether", async () => {
    const foreign = new MemoryFiles(new Map([[FIRST, new Uint8Array(500).fill(65)]]));
    for (const repair of both) await refusesUntouched(foreign, refused("LedgerCorrupt", { file: FIRST }), { repair });
  });

  test("of another network, even with a torn end", async () => {
    const files = changed(await ledgerFiles(10_000), FIRST, (bytes) => bytes.slice(0, -5));
    const refuse = async (ends: LedgerEnds): Promise<void> => {
      assert.deepEqual(ends, { first: entry(1), last: entry(7, 2) });
      throw new CocoError("FolderOfAnotherNetwork", "another network");
    };
    await refusesUntouched(files, refused("FolderOfAnotherNetwork"), { repair: "from-peers", admit: refuse });
  });

  test("that is not there is not made either: who puts it back would put it inside", async () => {
    const admit = () => Promise.reject(new CocoError("LedgerIncomplete", "gone"));
    const directory = inFolder("gone");
    const onFatal = (error: Error): void => assert.fail(error);
    const options = { repair: "refuse", admit, onRepair: () => undefined, onFatal } as const;
    await assert.rejects(openLedgerFiles(directory, options), { code: "LedgerIncomplete" });
    assert.equal(fs.existsSync(directory), false);
  });

  test("with a damaged layout", async () => {
    const damaged = changed(await ledgerFiles(), CHUNKS[1] as string, flipped(130));
    await (await open(damaged)).close();
    const layout = inFolder("layout");
    for (let at = 0; at < (damaged.files.get(layout) as Bytes).length; at++) {
      const broken = changed(damaged.files, layout, flipped(at, 1));
      await assert.rejects(open(broken), (error) => error instanceof CocoError && error.data["file"] === layout);
    }
  });
});
