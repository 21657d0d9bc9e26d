/** What one run is: everything that is drawn before it begins. Options fix what the seed would draw. */
import type { QuorumSetting } from "../../src/core/governance/constitution.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** Every so many seeds the nodes have the enclave's own cryptography. */
export const REAL_CRYPTOGRAPHY_EVERY = 50;
/** Every so many seeds the network runs the Ethereum adapter; at this place in each row of so many. */
export const ETHEREUM_EVERY = 50;
const ETHEREUM_PLACE = 25;
/** Sizes of networks, the most common most often. */
const NODE_COUNTS = [3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7] as const;
const CLIENTS_MAX = 6;
const THINK_MIN_MS = 150;
const THINK_MAX_MS = 60_000;
const DURATION_MIN_MS = 20_000;
const DURATION_MAX_MS = 120_000;
/** Mean latency of near and far networks. */
const LATENCY_MIN_MS = 0.5;
const LATENCY_MAX_MS = 60;
const BATCH_TRANSACTIONS_MAX = 30;
const BATCH_BYTES = 4096;
const MEGABYTE = 1024 * 1024;
/** How much faster or slower than another one machine's clock runs. */
const DRIFT_MAX = 0.02;
const GRAIN_MAX_MS = 60;
const EXECUTION_MAX_MS = 100;
const HOSTILE_RATE_MAX = 0.1;
const SPARE_MACHINES_MAX = 4;
/** Quorums that the simulator plays; those counted per actor need nodes of several owners. */
export type SimulatedQuorum = Exclude<QuorumSetting, { readonly type: "perActor" }>;

/** Shares of runs whose nodes do not trust their disks, and whose quorums are not majorities. */
const DISTRUST = 0.2;
const FLEXIBLE = 0.2;

/** Share of runs whose nodes hold leases, and how long these are: shorter ones would make most of what such a run does renewals. */
const LEASED = 0.08;
const LEASE_MIN_MS = 12_000;
const LEASE_MAX_MS = 40_000;
/**
 * Pieces of such runs are so large that a snapshot of them gets over within a calm: renewals make ledgers and snapshots grow for
 * as long as a run goes on, and pieces are sent one at a time.
 */
const LEASED_SNAPSHOT_BYTES = 100_000;
const LEASED_SNAPSHOT_MS = 10_000;
/** What a piece takes besides its way there and back. */
const PIECE_MS = 5;

/** How a run is made; what is not given is drawn from the seed. */
export interface SimulationOptions {
  readonly seed: number;
  readonly nodeCount?: number;
  /** How long clients and faults are at work, in virtual milliseconds. */
  readonly durationMs?: number;
  readonly faults?: boolean;
  readonly clientCount?: number;
  /** Mean time between a client's jobs, in virtual milliseconds. */
  readonly thinkMs?: number;
  readonly answerAfter?: "commit" | "execution";
  readonly network?: "stream" | "datagram";
  readonly hostile?: boolean;
  readonly realCryptography?: boolean;
  /** What the network runs. */
  readonly protocol?: "kv" | "ethereum";
  /** Whether nodes that were voted out may be voted in again. */
  readonly readmits?: boolean;
  readonly trustDisk?: boolean;
  /** Whether quorums are other than majorities. */
  readonly flexible?: boolean;
  /** Fixes anything of a run. */
  readonly fixed?: Partial<Plan>;
  /** Gets every line of the trace. */
  readonly onTrace?: (line: string) => void;
}

/** What one run is; see the module's header. */
export interface Plan {
  readonly nodeCount: number;
  readonly clientCount: number;
  readonly durationMs: number;
  readonly faults: boolean;
  readonly answerAfter: "commit" | "execution";
  readonly network: "stream" | "datagram";
  /** Probability of hostile frames; undefined: nobody sends any. */
  readonly hostileRate: number | undefined;
  readonly realCryptography: boolean;
  readonly protocol: "kv" | "ethereum";
  readonly latencyMs: number;
  readonly thinkMs: number;
  readonly retryMs: number;
  readonly maxBatch: { readonly transactions: number; readonly bytes: number };
  readonly windowBytes: number;
  readonly appendBytes: number;
  readonly upgrades: boolean;
  readonly executionMaxMs: number;
  /** Machines that are no nodes at first, for changes of membership. */
  readonly spareMachines: number;
  readonly readmits: boolean;
  readonly trustDisk: boolean;
  readonly quorum: SimulatedQuorum;
  readonly snapshotTransactions: number;
  readonly epochTransactions: number;
  readonly epochMs: number;
  /** 0: nodes hold no leases. */
  readonly leaseMs: number;
  readonly clocks: readonly { readonly skewMs: number; readonly rate: number; readonly grainMs: number }[];
}

/** What the network of a run runs. */
export function protocolOf({ seed, protocol }: SimulationOptions): Plan["protocol"] {
  return protocol ?? (seed % ETHEREUM_EVERY === ETHEREUM_PLACE ? "ethereum" : "kv");
}

/** Draws a run. Everything is drawn, also what an option then fixes, so that the rest stays what the seed says. */
export function drawPlan(options: SimulationOptions, random: SeededRandom): Plan {
  const drawn = {
    nodeCount: random.pick(NODE_COUNTS),
    clientCount: 1 + random.below(CLIENTS_MAX),
    durationMs: random.between(DURATION_MIN_MS, DURATION_MAX_MS),
    answerAfter: random.chance(0.3) ? ("execution" as const) : ("commit" as const),
    network: random.chance(0.4) ? ("datagram" as const) : ("stream" as const),
    hostile: random.chance(0.1),
    realCryptography: options.seed % REAL_CRYPTOGRAPHY_EVERY === 0,
    protocol: protocolOf(options),
  };
  const grainMs = random.chance(0.3) ? 0 : random.between(5, GRAIN_MAX_MS);
  const drifting = random.chance(0.5);
  const rest = {
    latencyMs: random.magnitude(LATENCY_MIN_MS, LATENCY_MAX_MS),
    thinkMs: random.magnitude(THINK_MIN_MS, THINK_MAX_MS),
    retryMs: random.magnitude(50, 1_000),
    maxBatch: { transactions: 1 + random.below(BATCH_TRANSACTIONS_MAX), bytes: BATCH_BYTES },
    windowBytes: random.chance(0.5) ? 64 * MEGABYTE : random.below(8_000),
    appendBytes: random.chance(0.5) ? 2 * MEGABYTE : 1 + random.below(8_000),
    upgrades: random.chance(0.5),
    executionMaxMs: random.chance(0.7) ? 0 : random.next() ** 2 * EXECUTION_MAX_MS,
    hostileRate: random.magnitude(HOSTILE_RATE_MAX / 50, HOSTILE_RATE_MAX),
    readmits: false,
    spareMachines: random.chance(0.5) ? 0 : 1 + random.below(SPARE_MACHINES_MAX),
    snapshotTransactions: random.chance(0.4) ? 0 : Math.floor(random.magnitude(15, 300)),
    epochTransactions: random.chance(0.6) ? 0 : Math.floor(random.magnitude(15, 300)),
    epochMs: random.chance(0.7) ? 0 : Math.floor(random.magnitude(3_000, 30_000)),
  };
  const distrust = random.chance(DISTRUST);
  const isFlexible = random.chance(FLEXIBLE);
  const { hostile, flexible = isFlexible, ...plain } = { ...drawn, ...given(options) };
  const clocks = Array.from({ length: plain.nodeCount + rest.spareMachines }, () => ({
    skewMs: 0,
    rate: drifting ? 1 + random.between(-DRIFT_MAX, DRIFT_MAX) : 1,
    grainMs,
  }));
  const quorum: SimulatedQuorum = flexible ? flexibleQuorum(plain.nodeCount, random) : { type: "majority" };
  const drawnLeaseMs = Math.floor(random.magnitude(LEASE_MIN_MS, LEASE_MAX_MS));
  const isLeased = random.chance(LEASED) && plain.protocol === "kv" && !plain.realCryptography;
  const leaseMs = options.fixed?.leaseMs ?? (isLeased ? drawnLeaseMs : 0);
  const pieceMin = (LEASED_SNAPSHOT_BYTES * (2 * rest.latencyMs + PIECE_MS)) / LEASED_SNAPSHOT_MS;
  return {
    ...rest,
    ...plain,
    leaseMs,
    appendBytes: leaseMs > 0 ? Math.max(rest.appendBytes, Math.ceil(pieceMin)) : rest.appendBytes,
    trustDisk: options.trustDisk ?? !distrust,
    quorum,
    faults: options.faults ?? true,
    hostileRate: hostile ? rest.hostileRate : undefined,
    clocks,
    ...options.fixed,
  };
}

/** Quorums that meet each other, of any sizes that may be: elections need a majority at least. */
function flexibleQuorum(count: number, random: SeededRandom): SimulatedQuorum {
  const majority = Math.floor(count / 2) + 1;
  const election = majority + random.below(count - majority + 1);
  return { type: "flexible", election, replication: count - election + 1 + random.below(election) };
}

/** Nodes that elect a leader and commit, of so many voters. */
export function quorumSize(quorum: QuorumSetting, voters: number): number {
  if (quorum.type !== "flexible") return Math.floor(voters / 2) + 1;
  return Math.max(quorum.election, quorum.replication);
}

/** Options that are set. */
function given(options: SimulationOptions): Partial<Omit<SimulationOptions, "seed" | "faults" | "fixed" | "onTrace">> {
  const { seed: _seed, faults: _faults, fixed: _fixed, onTrace: _onTrace, ...rest } = options;
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
}
