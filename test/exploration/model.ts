/** The named models: a small network each, where its search starts, and what is bounded. */
import type { NodeId } from "../../src/core/consensus/types.ts";
import { type CoreOptions, simple } from "./core-options.ts";

/** How often each kind of event may happen on one path from the start, and other limits of a model. */
export interface Bounds {
  /** Highest term; a fresh network is in term 1. */
  readonly term: number;
  /** Election timeouts, over all machines. */
  readonly timeouts: number;
  /** Heartbeats of leaders. */
  readonly beats: number;
  readonly reboots: number;
  /** Client requests. */
  readonly requests: number;
  /** Messages delivered twice. */
  readonly duplicates: number;
  /** Changes of membership; each is two entries. */
  readonly changes: number;
  /** Hand-overs of leadership. */
  readonly transfers: number;
  /** With so many messages on their way, only deliveries, losses and finished writes go on. */
  readonly inFlight: number;
}

/** What a search is about. */
export interface Model {
  readonly name: string;
  readonly machines: readonly NodeId[];
  readonly voters: readonly NodeId[];
  /** The voters that a change of membership leads to. */
  readonly target?: readonly NodeId[];
  readonly bounds: Bounds;
  /** What happens before the search: `timeout A`, `beat A`, `propose A`, or `drain`, which delivers and writes until all is quiet. */
  readonly prefix: readonly string[];
}

const THREE = ["A", "B", "C"];
const FOUR = [...THREE, "D"];
const LED = ["timeout A", "drain"];
const NOTHING: Bounds = {
  term: 3,
  timeouts: 0,
  beats: 0,
  reboots: 0,
  requests: 0,
  duplicates: 0,
  changes: 0,
  transfers: 0,
  inFlight: 4,
};

function model(name: string, bounds: Partial<Bounds>, prefix: readonly string[]): Model {
  return { name, machines: THREE, voters: THREE, bounds: { ...NOTHING, ...bounds }, prefix };
}

/** Every model, in the order they are searched. */
export const MODELS: readonly Model[] = [
  model("election", { timeouts: 2, inFlight: 3 }, []),
  model("replication", { timeouts: 2, beats: 1, requests: 2 }, LED),
  model("duplication", { timeouts: 1, requests: 2, duplicates: 2, inFlight: 3 }, LED),
  model("restart", { timeouts: 2, reboots: 2, requests: 1 }, LED),
  model("transfer", { timeouts: 1, requests: 1, transfers: 1, reboots: 1 }, LED),
  {
    ...model("membership", { timeouts: 2, requests: 2, changes: 1 }, LED),
    machines: FOUR,
    target: ["A", "B", "D"],
  },
  { ...model("removal", { timeouts: 2, beats: 1, requests: 1, changes: 1, reboots: 1 }, LED), target: ["B", "C"] },
];

/** The options of a machine in a model. */
export function coreOptionsIn({ voters }: Model, id: NodeId): CoreOptions {
  return { id, initial: simple(voters) };
}
