/** What befalls machines: crashes at any point, pauses, slowness, clocks, and disks in every way. */
import { CHANNEL_SILENCE_MS } from "../../src/enclave/manager/channel.ts";
import type { FaultContext, FaultKind } from "./fault-context.ts";
import { PORT_CALLS } from "./port-watch.ts";
import type { RecordDamage } from "./simulated-disk.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import { SNAPSHOT_DAMAGES } from "./simulated-snapshots.ts";

/** How long before a host copied the disk that it puts back. */
const IMAGE_AGE_MIN_MS = 300;
const IMAGE_AGE_MAX_MS = 30_000;
const HOUR_MS = 3_600_000;
const PAUSE_MIN_MS = 30;
const PAUSE_MAX_MS = 12_000;
const SLOW_MIN_MS = 300;
const SLOW_MAX_MS = 5_000;
/** Longest time a slow process takes for one input. */
const INPUT_COST_MIN_MS = 0.1;
const INPUT_COST_MAX_MS = 15;
const DISK_SLOWNESS_MAX = 400;
const FULL_MIN_MS = 500;
const FULL_MAX_MS = 8_000;
/** Calls of a kind that come before the one a node dies at. */
const CRASH_AFTER_CALLS_MAX = 40;
const ROLLING_GAP_MIN_MS = 300;
const ROLLING_GAP_MAX_MS = 3_000;
const ROLLING_DOWN_MAX_MS = 800;

function stop(context: FaultContext, kind: string, node: SimulatedNode): void {
  if (!node.isRunning) return;
  context.note(kind, node.name);
  node.end({ silent: context.random.chance(0.2), byItself: true });
}

function crashAtPort(context: FaultContext): void {
  const { random } = context;
  const node = random.chance(0.4) ? context.leader() : context.target();
  // Counted when the node gets there.
  const phase = random.chance(0.5) ? "before" : "after";
  node.arm({ call: random.pick(PORT_CALLS), after: Math.floor(random.magnitude(1, CRASH_AFTER_CALLS_MAX)) - 1, phase });
}

/** Power fails for all at once. */
function crashAll(context: FaultContext): void {
  context.note("crash.all", "network");
  for (const node of context.targets) node.end({ silent: false, byItself: true });
}

/** One after the other is stopped and started again, as operators do for an upgrade. */
function rollingRestart(context: FaultContext): void {
  const { random, world } = context;
  context.note("restart.rolling", "network");
  const gapMs = random.magnitude(ROLLING_GAP_MIN_MS, ROLLING_GAP_MAX_MS);
  context.targets.forEach((node, place) => {
    world.scheduler.after(place * gapMs, () => {
      if (!node.isRunning || !context.targets.includes(node)) return;
      node.end({ silent: false, byItself: false });
      context.startLater(node, random.next() * ROLLING_DOWN_MAX_MS);
    });
  });
}

function pause(context: FaultContext): void {
  const node = context.random.chance(0.3) ? context.leader() : context.target();
  if (!node.isAwake) return;
  const { boots } = node;
  const { scheduler, network, nodes } = context.world;
  context.note("machine.pause", node.name);
  node.pause();
  context.endLater(context.random.magnitude(PAUSE_MIN_MS, PAUSE_MAX_MS), () => node.resume());
  scheduler.after(CHANNEL_SILENCE_MS, () => {
    if (node.boots !== boots || node.isAwake) return;
    for (const other of nodes) if (other !== node) network.break(node.id, other.id);
  });
}

/** The worker of an adapter ends while its node goes on, as a process does that uses up its memory. */
function loseWorker(context: FaultContext): void {
  const node = context.random.chance(0.4) ? context.leader() : context.target();
  if (node.isAwake && node.loseWorker(context.random)) context.note("worker.end", node.name);
}

function slowProcess(context: FaultContext): void {
  const node = context.target();
  context.note("machine.slow", node.name);
  node.slowDown(context.random.magnitude(INPUT_COST_MIN_MS, INPUT_COST_MAX_MS));
  context.endLater(context.random.magnitude(SLOW_MIN_MS, SLOW_MAX_MS), () => node.slowDown(0));
}

function slowDisk(context: FaultContext): void {
  const { disk, name } = context.target();
  context.note("disk.slow", name);
  disk.slowness = context.random.magnitude(2, DISK_SLOWNESS_MAX);
  context.endLater(context.random.magnitude(SLOW_MIN_MS, SLOW_MAX_MS), () => {
    disk.slowness = 1;
  });
}

function fullDisk(context: FaultContext): void {
  const { disk, name } = context.random.chance(0.4) ? context.leader() : context.target();
  context.note("disk.full", name);
  disk.room.full = true;
  context.endLater(context.random.magnitude(FULL_MIN_MS, FULL_MAX_MS), () => {
    disk.room.full = false;
  });
}

/** Counted when the disk is asked. */
function failSync(context: FaultContext): void {
  const { disk } = context.random.chance(0.4) ? context.leader() : context.target();
  disk.failNextSync = true;
  context.endLater(FULL_MAX_MS, () => {
    disk.failNextSync = false;
  });
}

/** Counted when the disk is asked. */
function failRead(context: FaultContext): void {
  const { disk } = context.random.chance(0.4) ? context.leader() : context.target();
  disk.failNextRead = true;
  context.endLater(FULL_MAX_MS, () => {
    disk.failNextRead = false;
  });
}

/** Whether a node may lose what it promised: so many may as the network bears, a minority. */
function mayLose(context: FaultContext, node: SimulatedNode): boolean {
  const unsound = context.world.nodes.filter(({ boots, isSound }) => boots > 0 && !isSound).length;
  return node.isSound && unsound + 1 <= context.bearableLosses(context.fewestNodes);
}

/** A record is damaged at rest. Most often the machine restarts soon, so that it is found. */
function damageRecord(context: FaultContext, kind: RecordDamage): void {
  const node = context.target();
  if (!mayLose(context, node) || !node.disk.damageRecord(kind)) return;
  context.note(`disk.${kind}`, node.name);
  if (context.random.chance(0.7)) stop(context, "crash.node", node);
}

/**
 * A snapshot is damaged at rest, which nobody notices who does not read it: at a start, or when a peer needs it. A node whose
 * log begins with one may be unable to start.
 */
function damageSnapshot(context: FaultContext): void {
  const { random } = context;
  const node = random.chance(0.5) ? context.leader() : context.target();
  const kind = random.pick(SNAPSHOT_DAMAGES);
  // Where disks are not trusted nodes that start again wait for everything that anybody is known to have had.
  const mayDamage =
    node.disk.firstIndex === 1 || (context.world.founded.constitution.settings.trustDisk && mayLose(context, node));
  if (!mayDamage || !node.disk.damageSnapshot(kind)) return;
  context.note(`disk.snapshot.${kind}`, node.name);
  if (random.chance(0.4)) stop(context, "crash.node", node);
}

/**
 * A host puts back what it copied from the disk a while ago, and starts the node on it: one disk at a time, while no other
 * is known to have lost anything.
 */
function putBackImage(context: FaultContext): void {
  const { random, world } = context;
  const node = context.target();
  const image = node.disk.image();
  world.scheduler.after(random.magnitude(IMAGE_AGE_MIN_MS, IMAGE_AGE_MAX_MS), () => {
    const isSettled = world.nodes.every(({ boots, disk }) => boots === 0 || !disk.hasLost);
    const isBearable = context.bearableLosses(context.fewestNodes) > 0;
    if (!node.isRunning || !isSettled || !isBearable || !context.targets.includes(node)) return;
    node.end({ silent: false, byItself: true });
    if (node.disk.putBack(image)) context.note("disk.olderImage", node.name);
  });
}

/** The wall clock jumps, forward or back; the monotonic one does not. */
function jumpClock(context: FaultContext): void {
  const { clock, name } = context.target();
  const jump = Math.floor((context.random.next() - 0.5) * 2 * HOUR_MS);
  clock.skewMs += jump;
  context.note(jump < 0 ? "clock.jumpBack" : "clock.jumpForward", name, jump);
}

/** Faults of machines. */
export const MACHINE_FAULTS: readonly FaultKind[] = [
  { name: "crash.port", strike: crashAtPort },
  { name: "crash.node", strike: (context) => stop(context, "crash.node", context.target()) },
  { name: "crash.leader", strike: (context) => stop(context, "crash.leader", context.leader()) },
  { name: "crash.all", strike: crashAll },
  { name: "restart.rolling", strike: rollingRestart },
  { name: "machine.pause", strike: pause },
  { name: "machine.slow", strike: slowProcess },
  { name: "worker.end", strike: loseWorker },
  { name: "disk.slow", strike: slowDisk },
  { name: "disk.full", strike: fullDisk },
  { name: "disk.fsyncFailure", strike: failSync },
  { name: "disk.readError", strike: failRead },
  { name: "disk.bitFlip", strike: (context) => damageRecord(context, "bitFlip") },
  { name: "disk.misdirectedWrite", strike: (context) => damageRecord(context, "misdirectedWrite") },
  { name: "disk.snapshot", strike: damageSnapshot },
  { name: "clock.jump", strike: jumpClock },
];

/** Faults of machines whose disks are not trusted. */
export const DISTRUSTED_FAULTS: readonly FaultKind[] = [{ name: "disk.olderImage", strike: putBackImage }];
