/**
 * The snapshot files of a simulated disk, by the rules of the real ones (host/ledger-snapshots.ts): written step by step,
 * found after a restart once they are finished, gone with a crash before. Removing one is durable after a while, too.
 *
 * What goes wrong with them: no room, a failed sync, a read that fails, and damage at rest, which nothing on the disk
 * tells: only who reads a file to its end knows that it does not hold.
 */
import { type Bytes, concatBytes } from "../../src/core/codec/bytes.ts";
import type { Disk, SnapshotFile, StoredSnapshot } from "../../src/enclave/ports.ts";
import { CocoError, invariant } from "../../src/errors.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";

/** What may become of a finished file: a bit flips; its end, a piece in it, or a write to another place never was there as it should. */
export const SNAPSHOT_DAMAGES = ["bitFlip", "tornWrite", "lostWrite", "misdirectedWrite"] as const;
/** See {@link SNAPSHOT_DAMAGES}. */
export type SnapshotDamage = (typeof SNAPSHOT_DAMAGES)[number];

/** Longest piece that one write puts somewhere. */
const WRITE_BYTES_MAX = 512;
/** Probability that what a crash interrupted is there all the same. */
const REACHED_DISK = 0.5;

/** A finished file. */
interface StoredFile {
  readonly bytes: Bytes;
  readonly isDamaged: boolean;
}

/** Finished files at some time, by index. */
export type SnapshotImage = ReadonlyMap<number, StoredFile>;

/** The disk they lie on. */
export interface SnapshotDisk {
  readonly scheduler: Scheduler;
  readonly faults: FaultCounts;
  readonly room: DiskRoom;
  readonly duration: () => number;
  /** Whether the next sync, or read, is to fail: it does once. */
  readonly takeSyncFailure: () => boolean;
  readonly takeReadFailure: () => boolean;
  /** A sync failed: the process ends. */
  readonly died: () => void;
}

interface Step {
  readonly isLast: boolean;
  readonly write: () => void;
  readonly done: () => void;
}

/** See the module's header. */
export class SimulatedSnapshots {
  readonly #disk: SnapshotDisk;
  #files = new Map<number, StoredFile>();
  /** Removed, but not for good yet. */
  readonly #removing = new Map<number, StoredFile>();
  /** Files that were begun and have all their bytes: a crash may leave them finished. */
  readonly #finishing = new Map<number, Bytes>();
  /** Files that are being written. */
  unfinished = 0;
  #generation = 0;

  constructor(disk: SnapshotDisk) {
    this.#disk = disk;
  }

  /** Number of finished files. */
  get count(): number {
    return this.#files.size;
  }

  /** Whether a file from this index on is damaged. */
  isDamagedFrom(index: number): boolean {
    return [...this.#files].some(([at, { isDamaged }]) => at >= index && isDamaged);
  }

  /** Finished files as a starting node finds them, newest first. */
  stored(): StoredSnapshot[] {
    return [...this.#files]
      .sort(([left], [right]) => right - left)
      .map(
        ([
          index,
          {
            bytes: { length },
          },
        ]) => ({ index, bytes: length, parts: () => this.#parts(index, length) }),
      );
  }

  *#parts(index: number, length: number): Generator<Bytes> {
    const bytes = this.#files.get(index)?.bytes;
    const hasFailed = this.#disk.takeReadFailure();
    if (hasFailed) this.#disk.faults.add("disk.snapshot.readErrorAtOpen");
    if (hasFailed || bytes === undefined || bytes.length < length)
      throw new CocoError("DiskFailed", `snapshot ${index}: cannot be read`, { index });
    yield bytes;
  }

  /** The port of the node that starts now, as far as it is about snapshots. */
  open(): Pick<Disk, "createSnapshot" | "readSnapshot" | "removeSnapshot"> {
    const generation = this.#generation;
    const isOpen = () => generation === this.#generation;
    return {
      createSnapshot: (index) => this.#create(index, isOpen),
      readSnapshot: (index, offset, maxBytes, done) => {
        this.#disk.scheduler.after(this.#disk.duration(), () => {
          if (isOpen()) this.#read(index, offset, maxBytes, done);
        });
      },
      removeSnapshot: (index) => {
        if (isOpen()) this.#remove(index);
      },
    };
  }

  #read(index: number, offset: number, maxBytes: number, done: Parameters<Disk["readSnapshot"]>[3]): void {
    const bytes = this.#files.get(index)?.bytes;
    if (bytes === undefined) return done(undefined, false);
    if (this.#disk.takeReadFailure()) {
      this.#disk.faults.add("disk.snapshot.readError");
      return done(undefined, false);
    }
    done(bytes.slice(offset, offset + maxBytes), offset + maxBytes >= bytes.length);
  }

  #remove(index: number): void {
    const file = this.#files.get(index);
    if (file === undefined) return;
    this.#files.delete(index);
    this.#removing.set(index, file);
    this.#disk.scheduler.after(this.#disk.duration(), () => {
      if (this.#removing.get(index) === file) this.#removing.delete(index);
    });
  }

  #create(index: number, isOpen: () => boolean): SnapshotFile {
    const { scheduler, duration, room } = this.#disk;
    const pieces: Bytes[] = [];
    const steps: Step[] = [];
    let isWanted = true;
    const isUnderWay = () => isWanted && isOpen();
    const next = () =>
      scheduler.after(duration(), () => {
        if (isUnderWay()) room.enter(step);
      });
    const step = { kind: "disk.full.snapshot", isWanted: isUnderWay, go: () => this.#carryOut(steps[0], go) };
    const go = () => {
      room.leave(step);
      // What is asked for meanwhile comes after this step.
      steps[0]?.done();
      steps.shift();
      if (steps.length > 0 && isUnderWay()) next();
    };
    const enqueue = (added: Step) => {
      if (!isUnderWay()) return;
      steps.push(added);
      if (steps.length === 1) next();
    };
    this.unfinished++;
    return {
      append: (data, done) => enqueue({ isLast: false, write: () => void pieces.push(data), done }),
      finish: (done) => {
        const write = () => {
          this.#finishing.delete(index);
          this.#removing.delete(index);
          this.#files.set(index, { bytes: concatBytes(...pieces), isDamaged: false });
          this.unfinished--;
          isWanted = false;
        };
        enqueue({ isLast: true, write, done });
        // The name may reach the disk before anybody is told.
        scheduler.after(0, () => {
          if (isUnderWay() && steps.length === 1) this.#finishing.set(index, concatBytes(...pieces));
        });
      },
      abandon: () => {
        if (!isUnderWay()) return;
        isWanted = false;
        this.unfinished--;
        this.#finishing.delete(index);
        room.retrySoon();
      },
    };
  }

  /** Carries a step of a file out, unless the disk fails. */
  #carryOut(step: Step | undefined, done: () => void): void {
    invariant(step !== undefined, "a step of a snapshot is under way");
    if (step.isLast && this.#disk.takeSyncFailure()) {
      this.#disk.faults.add("disk.snapshot.fsyncFailure");
      this.#disk.died();
      return;
    }
    step.write();
    done();
  }

  /** Something befalls a finished file up to this index; false when there is none that is whole. */
  damage(kind: SnapshotDamage, upTo: number): boolean {
    const { random } = this.#disk.scheduler;
    const whole = [...this.#files].filter(([index, { isDamaged }]) => index <= upTo && !isDamaged);
    if (whole.length === 0) return false;
    const [index, { bytes }] = random.pick(whole);
    const damaged = this.#damaged(kind, bytes);
    const isSame = damaged.length === bytes.length && damaged.every((byte, at) => byte === bytes[at]);
    if (isSame) return false;
    this.#files.set(index, { bytes: damaged, isDamaged: true });
    return true;
  }

  #damaged(kind: SnapshotDamage, bytes: Bytes): Bytes {
    const { random } = this.#disk.scheduler;
    const at = random.below(bytes.length);
    if (kind === "tornWrite") return bytes.slice(0, at);
    const copy = bytes.slice();
    if (kind === "bitFlip") copy[at] = (copy[at] as number) ^ (1 << random.below(8));
    const end = Math.min(bytes.length, at + 1 + random.below(WRITE_BYTES_MAX));
    if (kind === "lostWrite") copy.fill(0, at, end);
    // What belongs elsewhere, in this file or another one.
    if (kind === "misdirectedWrite") {
      const { bytes: other } = random.pick([...this.#files.values()]);
      const from = random.below(other.length);
      copy.set(other.subarray(from, from + end - at), at);
    }
    return copy.subarray(0, bytes.length);
  }

  /** What is durable now. */
  image(): SnapshotImage {
    return new Map(this.#files);
  }

  /** While no node uses the disk other files take the place of these. */
  replace(image: SnapshotImage): void {
    this.#files = new Map(image);
    this.#removing.clear();
  }

  /** The machine stops: unfinished files are gone, and what was under way may have come to pass or not. */
  crash(): void {
    const { random } = this.#disk.scheduler;
    this.#generation++;
    for (const [index, bytes] of this.#finishing)
      if (random.chance(REACHED_DISK)) {
        this.#files.set(index, { bytes, isDamaged: false });
        this.#disk.faults.add("disk.snapshot.finishedUnseen");
        this.unfinished--;
      }
    for (const [index, file] of this.#removing)
      if (!this.#files.has(index) && random.chance(REACHED_DISK)) {
        this.#files.set(index, file);
        this.#disk.faults.add("disk.snapshot.removalLost");
      }
    if (this.unfinished > 0) this.#disk.faults.add("disk.snapshot.lostUnfinished", this.unfinished);
    this.unfinished = 0;
    this.#finishing.clear();
    this.#removing.clear();
  }
}
