/**
 * A crash before and after every call through a port, by enumeration: a small run (three nodes, a few
 * transactions, snapshots of which one is given up, a leader that stops and starts again, workers that are lost) is played once to count the calls of each life of each node, then once for each of them and each side of it.
 * The node ends there and starts again on what its disk holds; everything that holds in every run must hold in each.
 */
import { invariant } from "../../src/errors.ts";
import type { Plan, SimulationOptions } from "./plan.ts";
import { type CrashPoint, PORT_CALLS, type PortWatch } from "./port-watch.ts";
import type { SimulatedNode } from "./simulated-node.ts";
import { createSimulation, type Simulation, type SimulationResult } from "./simulation.ts";

/** Nodes of the small run. */
export const CRASH_RUN_NODES = 3;
/** How long the run is; then all is healed, and nothing ends a node any more. */
const DURATION_MS = 3_500;
/** When the leader of the small run stops, and starts again. */
const STOP_MS = 2_000;
const START_MS = 2_600;
/** When the disk of a follower gets slow; it is full for a while once a snapshot is being written, which is given up. */
const SLOW_MS = 900;
const SLOWNESS = 100;
const FULL_LENGTH_MS = 300;
const WATCH_MS = 10;
/** When one node after the other loses its worker, whose state is then read back from disk. */
const WORKER_LOST_MS = 2_800;
const WORKER_LOST_GAP_MS = 70;
const WORKERS_LOST = 2 * CRASH_RUN_NODES;
/** Fewest transactions of the small run. */
const TRANSACTIONS_MIN = 8;

const FIXED: Partial<Plan> = {
  nodeCount: CRASH_RUN_NODES,
  trustDisk: true,
  quorum: { type: "majority" },
  clientCount: 3,
  durationMs: DURATION_MS,
  faults: false,
  network: "stream",
  hostileRate: undefined,
  latencyMs: 1.5,
  thinkMs: 250,
  retryMs: 100,
  // Small, so that who comes back is served from disk.
  windowBytes: 1_000,
  appendBytes: 2_000,
  upgrades: false,
  executionMaxMs: 0,
  spareMachines: 0,
  snapshotTransactions: 8,
  epochTransactions: 0,
  epochMs: 0,
};

/** A place where a node of the small run ends. */
export interface CrashPlace {
  readonly node: number;
  /** Which start of the node it is, from 1. */
  readonly life: number;
  /** Calls of that life before this one. */
  readonly call: number;
  readonly phase: CrashPoint["phase"];
}

/** Calls of one life of a node in the small run. */
export interface LifeCalls {
  readonly node: number;
  readonly life: number;
  readonly calls: number;
}

/** What fixes the small run; everything else is as above. */
export type CrashRunOptions = Pick<SimulationOptions, "seed" | "protocol" | "realCryptography" | "onTrace">;

async function createRun(
  options: CrashRunOptions,
  onStarts: (node: number, life: number, watch: PortWatch) => void,
): Promise<Simulation> {
  const simulation = await createSimulation({ ...options, fixed: FIXED });
  const { scheduler, nodes } = simulation;
  simulation.onStarts = (node, watch) => onStarts(nodes.indexOf(node), node.boots, watch);
  scheduler.after(STOP_MS, () => {
    const leader = nodes.find(({ status }) => status?.role === "leader");
    if (leader === undefined) return;
    leader.end({ silent: false, byItself: false });
    scheduler.after(START_MS - STOP_MS, () => leader.start());
  });
  scheduler.after(SLOW_MS, () => fillWhileWriting(simulation));
  for (let at = 0; at < WORKERS_LOST; at++)
    scheduler.after(WORKER_LOST_MS + at * WORKER_LOST_GAP_MS, () => {
      nodes[at % nodes.length]?.loseWorker(scheduler.random);
    });
  return simulation;
}

/** The disk of a follower gets slow, has no room in the middle of a snapshot, and is well again. */
function fillWhileWriting({ scheduler, nodes }: Simulation): void {
  const { disk } = nodes.find(({ status }) => status?.role === "follower") ?? (nodes[0] as SimulatedNode);
  disk.slowness = SLOWNESS;
  const watch = (): void => {
    if (!disk.isWritingSnapshot) {
      if (scheduler.now < STOP_MS) scheduler.after(WATCH_MS, watch);
      else disk.slowness = 1;
      return;
    }
    disk.room.full = true;
    scheduler.after(FULL_LENGTH_MS, () => {
      disk.room.full = false;
      disk.slowness = 1;
    });
  };
  watch();
}

/** Plays the run without a crash; gives the number of calls of each life of each node. Every kind of call is among them. */
export async function countCalls(options: CrashRunOptions): Promise<readonly LifeCalls[]> {
  const lives: { readonly node: number; readonly life: number; readonly watch: PortWatch }[] = [];
  const simulation = await createRun(options, (node, life, watch) => lives.push({ node, life, watch }));
  let counted: readonly LifeCalls[] = [];
  simulation.scheduler.after(DURATION_MS, () => {
    counted = lives.map(({ node, life, watch }) => ({ node, life, calls: watch.calls }));
  });
  const { transactions, terms } = await simulation.run();
  invariant(transactions >= TRANSACTIONS_MIN && terms > 1, `the run has ${transactions} transactions, ${terms} terms`);
  const missing = PORT_CALLS.filter((call) => !lives.some(({ watch }) => watch.kinds.has(call)));
  invariant(missing.length === 0, `the run has no call ${missing.join(", ")}`);
  invariant(lives.length === CRASH_RUN_NODES + 1, "one node of the run starts twice");
  invariant(
    simulation.nodes.every(({ disk }) => disk.hasSnapshots),
    "every node of the run takes a snapshot",
  );
  return counted;
}

/** All places in these lives, or one of every `every`, before and after by turns; `offset` says where they begin. */
export function crashPlaces(lives: readonly LifeCalls[], every = 1, offset = 0): CrashPlace[] {
  const places = lives.flatMap(({ node, life, calls }) =>
    Array.from({ length: calls * 2 }, (_, at): CrashPlace => {
      return { node, life, call: at >> 1, phase: at % 2 === 0 ? "before" : "after" };
    }),
  );
  return places.filter((_, at) => (at + Math.floor(at / every)) % every === offset % every);
}

/** Plays the run with a crash; throws when anything does not hold. */
export async function crashAt(options: CrashRunOptions, place: CrashPlace): Promise<SimulationResult> {
  const { call, phase } = place;
  let armed = false;
  const simulation = await createRun(options, (node, life, watch) => {
    if (node !== place.node || life !== place.life) return;
    watch.arm({ after: call, phase });
    armed = true;
  });
  const result = await simulation.run();
  const crashes = Object.keys(result.faults).filter((kind) => kind.startsWith(`crash.${phase}.`));
  invariant(armed && crashes.length === 1, `the node ends ${phase} call ${call}`);
  return result;
}
