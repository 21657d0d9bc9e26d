/** What may go wrong in a simulated network, and what it is made of. */
import type { QuorumPolicy } from "../types.ts";
import { configurationIn } from "./scriptedNode.ts";

/** Probabilities and delays of the simulated world. */
export interface Faults {
  readonly loss: number;
  readonly duplicate: number;
  readonly delayMaxMs: number;
  readonly diskDelayMaxMs: number;
  /** Probability that a write stalls for `diskStallMs`. */
  readonly diskStall: number;
}

/** A world in which nothing goes wrong. */
export const NO_FAULTS: Faults = { loss: 0, duplicate: 0, delayMaxMs: 3, diskDelayMaxMs: 3, diskStall: 0 };

/** What every simulated core has in common. */
export const TIMES_AND_LIMITS = {
  configurationOf: configurationIn,
  electionTimeoutMinMs: 150,
  electionTimeoutMaxMs: 300,
  heartbeatIntervalMs: 40,
  maxAppendBytes: 200,
  maxInflightAppends: 4,
  maxInflightBytes: 500,
};

/** What a simulation is made of. */
export interface SimulatorOptions {
  readonly seed: number;
  readonly nodeCount: number;
  readonly quorum: QuorumPolicy;
  readonly windowBytes: number;
  /** How many of the nodes are voters at the beginning; all of them unless given. */
  readonly voterCount?: number;
  /** Whether nodes believe their disks after a restart; true unless given. */
  readonly trustDisk?: boolean;
}
