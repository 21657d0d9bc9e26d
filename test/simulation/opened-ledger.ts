/**
 * Starting a simulated node on what its disk holds, damaged or not, and what an operator does where the node cannot: damage
 * in the log is set aside, a ledger that does not hold without it is moved away.
 */
import { CocoError } from "../../src/errors.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { OpenedDisk, SimulatedDisk, SimulatedDiskEvents } from "./simulated-disk.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

/** A node that starts. */
export interface Starting<T> {
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly events: SimulatedDiskEvents;
  readonly world: { readonly scheduler: Scheduler; readonly faults: FaultCounts; readonly trace: Trace };
  /** Puts the node together; throws when the ledger does not hold. */
  readonly assemble: (opened: OpenedDisk) => T;
  /** Whether it has not ended meanwhile. */
  readonly isAlive: () => boolean;
}

/** Starts a node; see the module's header. */
export function startOnDisk<T>(starting: Starting<T>): T {
  const { name, disk, events, world, assemble } = starting;
  const damaged = disk.damagedIndex;
  if (damaged !== undefined) {
    world.faults.add("disk.damageAtOpen");
    world.trace.event("damage found", name, damaged);
    // By its checksum at once, or when the ledger does not verify.
    const checksum = disk.hasSnapshots || world.scheduler.random.chance(0.5);
    if (!checksum) mustNotVerify(starting, damaged);
    disk.setAside(damaged);
  }
  try {
    return assemble(disk.open(events));
  } catch (error) {
    const isCorrupt = error instanceof CocoError && error.code === "LedgerCorrupt";
    const mayBe = damaged !== undefined || disk.hasDamagedBeginning || disk.hadReadError;
    if (!starting.isAlive() || !isCorrupt || !mayBe) throw error;
    // What could not be read once is read when the process starts again.
    if (disk.hadReadError) return startOnDisk(starting);
    // The log begins with a snapshot that is damaged, or that a later one replaced whose evidence is set aside.
    world.faults.add("disk.ledgerMovedAway");
    disk.moveAway();
    return assemble(disk.open(events));
  }
}

/** What no checksum covers the signatures do. */
function mustNotVerify<T>({ disk, events, assemble, isAlive, name }: Starting<T>, damaged: number): void {
  try {
    assemble(disk.open(events));
  } catch (error) {
    if (!isAlive() || !(error instanceof CocoError) || error.code === "Internal") throw error;
    return;
  }
  throw new CocoError("Internal", `${name} starts with a damaged entry ${damaged}`);
}
