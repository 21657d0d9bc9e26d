import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, test } from "node:test";
import { type Bytes, concatBytes } from "../core/codec/bytes.ts";
import type { HardState, LogEntry } from "../core/consensus/types.ts";
import type { Disk, DiskContent, DiskRequest } from "../enclave/ports.ts";
import type { CocoError } from "../errors.ts";
import { type LedgerFiles, type LedgerFilesOptions, openLedgerFiles } from "./ledger-files.ts";
import { type CrashOutcome, type FailureRule, MemoryFiles } from "./testing/memory-files.ts";

// The lock is a real file; everything else is in memory under the same path.
const FOLDER = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "coco-crash-")));
after(() => fs.rmSync(FOLDER, { recursive: true, force: true }));
const CHUNK_BYTES = 1500;

function entry(index: number, term: number, length = 40 + ((index * 37) % 300)): LogEntry {
  return { index, term, data: new Uint8Array(length).fill(1 + ((index * 7 + term) % 250)) };
}

const snapshotData = (index: number): Bytes => new Uint8Array(700).fill(1 + (index % 250));

/** Everything that was asked for, and how much of it was acknowledged. */
class History {
  readonly requests: DiskRequest[] = [];
  acknowledged = 0;
  readonly #finishedSnapshots: number[] = [];
  readonly #begunSnapshots: number[] = [];
  #id = 0;

  persist(disk: Disk, request: Omit<DiskRequest, "id">, then: () => void = () => undefined): Promise<void> {
    this.requests.push({ id: ++this.#id, ...request });
    const place = this.requests.length;
    return new Promise((resolve) =>
      disk.persist({ id: this.#id, ...request }, () => {
        assert.equal(this.acknowledged, place - 1, "acknowledged in order");
        this.acknowledged = place;
        then();
        resolve();
      }),
    );
  }

  snapshot(disk: Disk, index: number, then: () => void = () => undefined): Promise<void> {
    this.#begunSnapshots.push(index);
    const file = disk.createSnapshot(index);
    file.append(snapshotData(index).subarray(0, 500), () => undefined);
    file.append(snapshotData(index).subarray(500), () => undefined);
    return new Promise((resolve) =>
      file.finish(() => {
        this.#finishedSnapshots.push(index);
        then();
        resolve();
      }),
    );
  }

  /** Snapshots that are finished and not to be replaced by newer ones. */
  get snapshots(): readonly number[] {
    return this.#finishedSnapshots.filter((index) => this.#begunSnapshots.filter((other) => other > index).length < 2);
  }
}

function logText(firstIndex: number, entries: readonly LogEntry[]): string {
  return `${firstIndex}: ${entries.map(({ index, term }) => `${index}/${term}`).join(" ")}`;
}

/** Every log that may be found: what was acknowledged, then any first part of what was asked for later. */
function allowedLogs(requests: readonly DiskRequest[], acknowledged: number): ReadonlySet<string> {
  const allowed = new Set<string>();
  let [firstIndex, log]: [number, LogEntry[]] = [1, []];
  requests.forEach(({ snapshot, truncateFrom, entries }, place) => {
    if (place === acknowledged) allowed.add(logText(firstIndex, log));
    const allow = (): void => void (place >= acknowledged && allowed.add(logText(firstIndex, log)));
    if (snapshot !== undefined) [firstIndex, log] = [snapshot.index + 1, []];
    allow();
    for (let end = log.length; truncateFrom !== undefined && end >= truncateFrom - firstIndex; end--) {
      log = log.slice(0, end);
      allow();
    }
    for (const one of entries) {
      log = [...log, one];
      allow();
    }
  });
  allowed.add(logText(firstIndex, log));
  return acknowledged === requests.length ? new Set([logText(firstIndex, log)]) : allowed;
}

function allowedHardStates(requests: readonly DiskRequest[], acknowledged: number): readonly (HardState | undefined)[] {
  const before = requests.slice(0, acknowledged).findLast(({ hardState }) => hardState !== undefined)?.hardState;
  return [before, ...requests.slice(acknowledged).flatMap(({ hardState }) => hardState ?? [])];
}

interface Opened extends LedgerFiles {
  readonly failures: readonly CocoError[];
  readonly full: readonly boolean[];
  /** Lets the timer run out. */
  retry(): void;
}

async function open(files: MemoryFiles, changes: Partial<LedgerFilesOptions> = {}): Promise<Opened> {
  const failures: CocoError[] = [];
  const full: boolean[] = [];
  let timer: (() => void) | undefined;
  const ledger = await openLedgerFiles(FOLDER, {
    repair: "refuse",
    onRepair: () => undefined,
    onFatal: (error) => failures.push(error),
    events: { diskFull: (isFull) => full.push(isFull) },
    chunkBytes: CHUNK_BYTES,
    files,
    after: (delayMs, callback) => {
      assert.equal(delayMs, 1000);
      timer = callback;
      return () => {
        timer = undefined;
      };
    },
    ...changes,
  });
  return { ...ledger, failures, full, retry: () => timer?.() };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Appends over several chunks, truncations within and across them, terms and votes, snapshots, a new beginning. */
async function work(disk: Disk, history: History, then?: () => void): Promise<void> {
  const row = (from: number, to: number, term: number): LogEntry[] =>
    Array.from({ length: to - from + 1 }, (_, at) => entry(from + at, term));
  const ask = (request: Omit<DiskRequest, "id">): Promise<void> => history.persist(disk, request, then);
  await ask({ hardState: { term: 1, votedFor: "aa" }, entries: [] });
  await ask({ entries: row(1, 3, 1) });
  await Promise.all([ask({ entries: row(4, 6, 1) }), ask({ entries: row(7, 7, 1) }), ask({ entries: row(8, 12, 1) })]);
  await ask({ hardState: { term: 2, votedFor: undefined }, truncateFrom: 11, entries: row(11, 11, 2) });
  await Promise.all([ask({ truncateFrom: 5, entries: row(5, 9, 2) }), history.snapshot(disk, 4, then)]);
  await Promise.all([ask({ entries: row(10, 14, 2) }), ask({ truncateFrom: 10, entries: [] })]);
  await history.snapshot(disk, 20, then);
  await Promise.all([
    ask({ hardState: { term: 3, votedFor: "bb" }, snapshot: { index: 20, term: 3 }, entries: row(21, 22, 3) }),
    ask({ entries: row(23, 27, 3) }),
  ]);
  await history.snapshot(disk, 25, then);
  await ask({ hardState: { term: 4, votedFor: undefined }, truncateFrom: 21, entries: row(21, 23, 4) });
}

function outcomes(files: MemoryFiles): readonly CrashOutcome[] {
  const names = [...new Set([0, 1, 2, files.pendingNames - 1])].filter((n) => n >= 0 && n <= files.pendingNames);
  const all = [...names, "all" as const];
  const sectors = Math.ceil(files.pendingBytes / 512) + 1;
  return [
    ...all.flatMap((lostNames) => [
      { lostNames, data: "kept" as const },
      { lostNames, data: "lost" as const },
    ]),
    ...[0, 0.01, 0.1, 0.3, 0.5, 0.8, 0.99].map((data) => ({ lostNames: 0, data })),
    ...(files.pendingBytes === 0 ? [] : Array.from({ length: sectors }, (_, at) => at)).flatMap((sector) => [
      { lostNames: 0, data: "kept" as const, hole: { sector, onlyIt: false } },
      { lostNames: 0, data: "kept" as const, hole: { sector, onlyIt: true } },
    ]),
  ];
}

/** What a crash left behind, and what had been promised by then. */
interface CrashState {
  readonly files: MemoryFiles;
  readonly outcome: CrashOutcome;
  readonly logs: ReadonlySet<string>;
  readonly hardStates: readonly (HardState | undefined)[];
  readonly snapshots: readonly number[];
}

function checkContent(content: DiskContent, state: CrashState): void {
  const entries = [...content.entriesFrom(1)];
  const text = logText(content.firstIndex, entries);
  const told = `after a crash with ${JSON.stringify(state.outcome)}: ${text}`;
  assert.ok(state.logs.has(text), `${told}; allowed: ${[...state.logs].join(", ")}`);
  for (const one of entries) assert.deepEqual(one, entry(one.index, one.term), told);
  assert.ok(
    state.hardStates.some((allowed) => JSON.stringify(allowed) === JSON.stringify(content.hardState)),
    `${told}: ${JSON.stringify(content.hardState)}`,
  );
  assert.ok(
    entries.every(({ term }) => term <= (content.hardState?.term ?? 0)),
    told,
  );
  assert.equal(content.damage, undefined, told);
  const indexes = content.snapshots.map(({ index }) => index);
  for (const index of state.snapshots) assert.ok(indexes.includes(index), `snapshot ${index}; ${told}`);
  assert.ok(content.firstIndex === 1 || indexes.includes(content.firstIndex - 1), told);
  for (const { index, parts } of content.snapshots)
    assert.deepEqual(concatBytes(...parts()), snapshotData(index), told);
}

/** Opens what a crash left, goes on, and opens it once more. */
async function checkCrash(state: CrashState, changes: Partial<LedgerFilesOptions> = {}): Promise<void> {
  const first = await open(state.files, changes);
  checkContent(first.content, state);
  const last = [...first.content.entriesFrom(1)].at(-1);
  const next = entry(last === undefined ? first.content.firstIndex : last.index + 1, 9);
  await new History().persist(first.disk, { hardState: { term: 9, votedFor: undefined }, entries: [next] });
  await first.close();
  assert.deepEqual(first.failures, []);
  const second = await open(state.files);
  assert.deepEqual([...second.content.entriesFrom(1)].at(-1), next);
  await second.close();
}

/** The states that crashes after each change of a run leave behind. */
class CrashRecorder {
  readonly states: CrashState[] = [];
  readonly #files: MemoryFiles;
  readonly #history: History;

  constructor(files: MemoryFiles, history: History) {
    this.#files = files;
    this.#history = history;
    files.afterChange = () => this.capture();
  }

  capture(): void {
    const { requests, acknowledged, snapshots } = this.#history;
    const promised = {
      logs: allowedLogs(requests, acknowledged),
      hardStates: allowedHardStates(requests, acknowledged),
      snapshots,
    };
    for (const outcome of outcomes(this.#files))
      this.states.push({ files: this.#files.crash(outcome), outcome, ...promised });
  }
}

describe("a crash", () => {
  test("at any point of any operation, with any part of what was not durable, loses nothing that was acknowledged", async (context) => {
    const files = new MemoryFiles();
    const history = new History();
    const recorder = new CrashRecorder(files, history);
    const ledger = await open(files);
    await work(ledger.disk, history, () => recorder.capture());
    await ledger.close();
    assert.deepEqual(ledger.failures, []);
    assert.equal(history.acknowledged, history.requests.length);
    for (const state of recorder.states) await checkCrash(state);
    assert.ok(recorder.states.length > 1000);
    context.diagnostic(`measured: ${recorder.states.length} crashes`);
  });

  test("while a folder is opened after a crash changes nothing of what is found", async () => {
    const files = new MemoryFiles();
    const history = new History();
    const recorder = new CrashRecorder(files, history);
    const ledger = await open(files);
    await work(ledger.disk, history, () => recorder.capture());
    await ledger.close();
    let again = 0;
    for (const state of recorder.states.filter((_, at) => at % 10 === 0)) {
      const nested: CrashState[] = [];
      const { files: crashed } = state;
      crashed.afterChange = () => {
        for (const outcome of outcomes(crashed)) nested.push({ ...state, outcome, files: crashed.crash(outcome) });
      };
      await (await open(crashed)).close();
      crashed.afterChange = () => undefined;
      for (const one of nested) await checkCrash(one);
      again += nested.length;
    }
    assert.ok(again > 100);
  });
});

/** Fails operations of these names, from the n-th on or only it. */
function failing(
  names: readonly string[],
  nth: number,
  failure: NonNullable<ReturnType<FailureRule>>,
): { rule: FailureRule; failed: () => boolean; stop: () => void } {
  let [count, failed, stopped] = [0, false, false];
  return {
    rule: ({ name, length }) => {
      if (stopped || !names.includes(name) || ++count < nth) return undefined;
      failed = true;
      return name === "write" ? { ...failure, written: Math.floor(length * (failure.written ?? 0)) } : failure;
    },
    failed: () => failed,
    stop: () => {
      stopped = true;
    },
  };
}

describe("a disk that fails", () => {
  test("at any sync, for any reason, ends everything: nothing is acknowledged any more, the error is told once", async () => {
    for (const code of ["EIO", "ENOSPC"]) {
      for (let nth = 1; ; nth++) {
        const files = new MemoryFiles();
        const history = new History();
        const fault = failing(["sync", "syncData", "syncDirectory"], nth, { code });
        const ledger = await open(files);
        let acknowledgedLater = false;
        files.failures = (call) => {
          const result = fault.rule(call);
          if (fault.failed()) fault.stop();
          return result;
        };
        void work(ledger.disk, history, () => {
          acknowledgedLater ||= ledger.failures.length > 0;
        });
        for (let turn = 0; turn < 60; turn++) await settled();
        ledger.retry();
        await ledger.close();
        if (!fault.failed()) {
          assert.ok(nth > 20);
          break;
        }
        assert.deepEqual(
          ledger.failures.map((error) => error.code),
          ["DiskFailed"],
        );
        assert.equal(acknowledgedLater, false);
        assert.deepEqual(ledger.full, []);
        const { requests, acknowledged } = history;
        const logs = allowedLogs(requests, acknowledged);
        const hardStates = allowedHardStates(requests, acknowledged);
        const outcome = { lostNames: 0, data: "lost" } as const;
        await checkCrash({ files: files.crash(outcome), outcome, logs, hardStates, snapshots: [] });
      }
    }
  });

  test("that is full at any operation waits, reads on, and goes on without a partial entry", async () => {
    for (const written of [0, 0.5, 0.999]) {
      for (let nth = 1; ; nth++) {
        const files = new MemoryFiles();
        const history = new History();
        const fault = failing(["write", "open", "rename", "makeDirectory"], nth, { code: "ENOSPC", written });
        const ledger = await open(files);
        // Opening a file that is there needs no room.
        files.failures = (call) => (call.name === "open" && files.files.has(call.file) ? undefined : fault.rule(call));
        const finished = work(ledger.disk, history);
        for (let turn = 0; turn < 60; turn++) await settled();
        if (!fault.failed()) {
          assert.ok(nth > 20);
          await finished;
          await ledger.close();
          break;
        }
        assert.deepEqual(ledger.full, [true], `full at operation ${nth}`);
        await new Promise((resolve) => ledger.disk.read(1, 1, resolve));
        const states = { logs: allowedLogs(history.requests, history.acknowledged) };
        const hardStates = allowedHardStates(history.requests, history.acknowledged);
        const outcome = { lostNames: 0, data: "kept" } as const;
        const crashed = files.crash(outcome);
        ledger.retry();
        for (let turn = 0; turn < 20; turn++) await settled();
        assert.deepEqual(ledger.full, [true]);
        fault.stop();
        ledger.retry();
        await finished;
        assert.deepEqual([ledger.full, ledger.failures], [[true, false], []]);
        await ledger.close();
        const logs = allowedLogs(history.requests, history.acknowledged);
        await checkCrash({ files, outcome, logs, hardStates: [{ term: 4, votedFor: undefined }], snapshots: [20, 25] });
        await checkCrash({ files: crashed, outcome, ...states, hardStates, snapshots: [] });
      }
    }
  });

  test("closes while it is full, with what waits given up", async () => {
    const files = new MemoryFiles();
    const ledger = await open(files);
    files.failures = ({ name }) => (name === "write" ? { code: "ENOSPC" } : undefined);
    let acknowledged = false;
    void new History().persist(ledger.disk, { entries: [entry(1, 1)] }, () => {
      acknowledged = true;
    });
    for (let turn = 0; turn < 10; turn++) await settled();
    await ledger.close();
    assert.deepEqual([acknowledged, ledger.full, ledger.failures], [false, [true], []]);
  });

  test("has room again when an unfinished snapshot is abandoned", async () => {
    const files = new MemoryFiles();
    const history = new History();
    const ledger = await open(files);
    const used = (): number => [...files.files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
    files.failures = ({ name, length }) =>
      name === "write" && used() + length > 4000 ? { code: "ENOSPC" } : undefined;
    const snapshot = ledger.disk.createSnapshot(7);
    snapshot.append(new Uint8Array(3900), () => undefined);
    const persisted = history.persist(ledger.disk, { entries: [entry(1, 1, 100), entry(2, 1, 100)] });
    for (let turn = 0; turn < 10; turn++) await settled();
    assert.deepEqual([ledger.full, history.acknowledged], [[true], 0]);
    snapshot.abandon();
    await persisted;
    assert.deepEqual([ledger.full, ledger.failures], [[true, false], []]);
    await ledger.close();
  });
});
