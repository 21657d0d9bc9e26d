/**
 * Snapshot files of a ledger folder, `snapshot_<index, at least 10 digits>`: written to a temporary name, made durable, renamed.
 * What is not finished is removed when the folder is opened. Snapshots are written beside the log, not between its requests.
 */
import * as path from "node:path";
import type { Bytes } from "../core/codec/bytes.ts";
import type { SnapshotFile, StoredSnapshot } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import { type FileOperations, TEMPORARY_SUFFIX } from "./file-operations.ts";
import type { DiskHealth } from "./ledger-health.ts";

/**
 * Most finished snapshots that are kept: the one that is finished, one before it without evidence, the newest with evidence, and
 * an older one that a peer is being sent. Older ones are removed when one is finished.
 */
export const SNAPSHOTS_KEPT_MAX = 4;
/** Most bytes of one snapshot that wait to be written. */
export const SNAPSHOT_QUEUED_BYTES_MAX = 64 * 1024 * 1024;

const NAME_PATTERN = /^snapshot_([0-9]{10,16})$/;
const PART_BYTES = 1024 * 1024;

function snapshotName(index: number): string {
  return `snapshot_${String(index).padStart(10, "0")}`;
}

/** Indexes of the finished snapshots among the names of a folder, newest first. */
export function snapshotIndexes(names: readonly string[]): readonly number[] {
  const indexes = names.flatMap((name) => {
    const index = Number(NAME_PATTERN.exec(name)?.[1] ?? 0);
    return index > 0 && name === snapshotName(index) ? [index] : [];
  });
  return indexes.sort((left, right) => right - left);
}

/** A finished snapshot for who starts from it. */
export async function storedSnapshot(directory: string, index: number, files: FileOperations): Promise<StoredSnapshot> {
  const file = path.join(directory, snapshotName(index));
  const bytes = await files.size(file);
  return { index, bytes, parts: () => partsOf(file, bytes, files) };
}

function* partsOf(file: string, bytes: number, files: FileOperations): Generator<Bytes> {
  for (let at = 0; at < bytes; at += PART_BYTES) {
    const length = Math.min(PART_BYTES, bytes - at);
    let part: Bytes;
    try {
      part = files.readSync(file, at, length);
    } catch (error) {
      throw new CocoError(
        "DiskFailed",
        `${file} at byte ${at}: cannot be read`,
        { file, offset: at },
        { cause: error },
      );
    }
    if (part.length < length)
      throw new CocoError("DiskFailed", `${file} at byte ${at}: ends too early`, { file, offset: at });
    yield part;
  }
}

/** What the files of a folder's snapshots share. */
interface SnapshotFolder {
  readonly directory: string;
  readonly files: FileOperations;
  readonly health: DiskHealth;
  /** A snapshot is durable under its name. */
  finished(index: number): Promise<void>;
}

interface QueuedStep {
  readonly bytes: number;
  readonly write: () => Promise<void>;
  readonly done: () => void;
}

/** A snapshot being written: its steps in order, none at the same time. */
class UnfinishedSnapshot implements SnapshotFile {
  readonly #folder: SnapshotFolder;
  readonly #index: number;
  readonly #temporary: string;
  readonly #queue: QueuedStep[] = [];
  #queuedBytes = 0;
  #descriptor: number | undefined;
  #size = 0;
  #isWhole = false;
  #state: "open" | "finished" | "abandoned" = "open";
  #running: Promise<void> | undefined;

  constructor(folder: SnapshotFolder, index: number, number: number) {
    this.#folder = folder;
    this.#index = index;
    this.#temporary = path.join(folder.directory, `${snapshotName(index)}.${number}${TEMPORARY_SUFFIX}`);
  }

  append(data: Bytes, done: () => void): void {
    this.#queuedBytes += data.length;
    invariant(this.#queuedBytes <= SNAPSHOT_QUEUED_BYTES_MAX, "too much of a snapshot waits to be written");
    this.#enqueue({ bytes: data.length, write: () => this.#write(data), done });
  }

  finish(done: () => void): void {
    this.#enqueue({ bytes: 0, write: () => this.#finish(), done });
  }

  abandon(): void {
    if (this.#state !== "open") return;
    this.#state = "abandoned";
    this.#queue.length = 0;
    // A step that waits for room gives up, and the room of this file is free for others.
    this.#folder.health.retryNow();
    this.#running ??= this.#run();
  }

  #enqueue(step: QueuedStep): void {
    if (this.#state === "abandoned") return;
    invariant(this.#state === "open", "the snapshot is finished");
    this.#queue.push(step);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve();
    const { health } = this.#folder;
    try {
      for (let step = this.#queue.shift(); step !== undefined; step = this.#queue.shift()) {
        const isWanted = (): boolean => this.#state !== "abandoned";
        const { write, done, bytes } = step;
        const stored = await health.carryOut({ write, isWanted, cutBack: () => this.#cutBack() });
        this.#queuedBytes -= bytes;
        if (!stored || !health.isOpen) break;
        if (isWanted()) done();
      }
      if (this.#state === "abandoned" && !health.isFailed) await this.#remove();
    } catch (error) {
      health.fail(error);
    }
    this.#running = undefined;
  }

  async #open(): Promise<number> {
    this.#descriptor ??= await this.#folder.files.open(this.#temporary, "w");
    return this.#descriptor;
  }

  async #write(data: Bytes): Promise<void> {
    await this.#folder.files.write(await this.#open(), data, this.#size);
    this.#size += data.length;
  }

  async #cutBack(): Promise<void> {
    if (this.#descriptor !== undefined) await this.#folder.files.truncate(this.#descriptor, this.#size);
  }

  async #finish(): Promise<void> {
    const { directory, files, finished } = this.#folder;
    // Tried again after a full disk: a file that is closed already would be emptied by opening it.
    if (!this.#isWhole) await files.sync(await this.#open());
    this.#isWhole = true;
    await this.#close();
    await files.rename(this.#temporary, path.join(directory, snapshotName(this.#index)));
    await files.syncDirectory(directory);
    this.#state = "finished";
    await finished(this.#index);
  }

  async #close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    if (descriptor !== undefined) await this.#folder.files.close(descriptor);
  }

  async #remove(): Promise<void> {
    if (this.#descriptor === undefined && !this.#isWhole) return;
    await this.#close();
    await this.#folder.files.unlink(this.#temporary);
    this.#folder.health.retryNow();
  }

  /** Waits for what is under way and closes the file. */
  async close(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    await this.#close();
  }
}

/** The snapshots of an open ledger folder. */
export class SnapshotFiles {
  readonly #directory: string;
  readonly #files: FileOperations;
  readonly #health: DiskHealth;
  readonly #unfinished = new Map<number, UnfinishedSnapshot>();
  /** Finished ones, newest first. */
  #indexes: readonly number[];
  #number = 0;
  #changes: Promise<void> = Promise.resolve();

  constructor(directory: string, indexes: readonly number[], files: FileOperations, health: DiskHealth) {
    this.#directory = directory;
    this.#indexes = indexes;
    this.#files = files;
    this.#health = health;
  }

  /** Whether there is a finished snapshot of this index. */
  has(index: number): boolean {
    return this.#indexes.includes(index);
  }

  /** Begins a snapshot; an unfinished one of that index is abandoned. */
  create(index: number): SnapshotFile {
    this.#unfinished.get(index)?.abandon();
    const folder = {
      directory: this.#directory,
      files: this.#files,
      health: this.#health,
      finished: (finished: number) => this.#finished(finished),
    };
    const snapshot = new UnfinishedSnapshot(folder, index, ++this.#number);
    this.#unfinished.set(index, snapshot);
    return snapshot;
  }

  async #finished(index: number): Promise<void> {
    this.#unfinished.delete(index);
    this.#indexes = [...this.#indexes.filter((other) => other !== index), index].sort((left, right) => right - left);
    const others = this.#indexes.filter((other) => other !== index);
    for (const old of others.slice(SNAPSHOTS_KEPT_MAX - 1)) await this.#unlink(old);
  }

  async #unlink(index: number): Promise<void> {
    if (!this.has(index)) return;
    this.#indexes = this.#indexes.filter((other) => other !== index);
    await this.#files.unlink(path.join(this.#directory, snapshotName(index)));
    await this.#files.syncDirectory(this.#directory);
  }

  /** Removes a finished snapshot, if it is there. */
  remove(index: number): void {
    this.#changes = this.#changes
      .then(() => (this.#health.isOpen ? this.#unlink(index) : undefined))
      .catch((error: unknown) => this.#health.fail(error));
  }

  /** Reads a part; undefined when there is no such snapshot or it cannot be read. */
  async read(
    index: number,
    offset: number,
    maxBytes: number,
  ): Promise<{ readonly data: Bytes | undefined; readonly last: boolean }> {
    if (!this.has(index)) return { data: undefined, last: false };
    const file = path.join(this.#directory, snapshotName(index));
    try {
      const size = await this.#files.size(file);
      const descriptor = await this.#files.open(file, "r");
      try {
        const data = await this.#files.read(descriptor, offset, Math.max(0, Math.min(maxBytes, size - offset)));
        return { data, last: offset + data.length >= size };
      } finally {
        await this.#files.close(descriptor);
      }
    } catch {
      // Removed meanwhile, or damaged: who asked goes on with another one.
      return { data: undefined, last: false };
    }
  }

  /** Waits for what is under way and closes the files. */
  async close(): Promise<void> {
    await this.#changes;
    for (const snapshot of this.#unfinished.values()) await snapshot.close();
  }
}
