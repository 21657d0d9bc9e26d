/** The named models: a small network each, where its search starts, and what is bounded. */
import type { NodeId } from "../../src/core/consensus/types.ts";
import { CocoError } from "../../src/errors.ts";
import type { CoreOptions } from "./core-options.ts";

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
  /** With so many messages on their way, only deliveries, losses and finished writes go on. */
  readonly inFlight: number;
}

/** What a search is about. */
export interface Model {
  readonly name: string;
  readonly machines: readonly NodeId[];
  readonly voters: readonly NodeId[];
  readonly bounds: Bounds;
  /** What happens before the search: `timeout A`, `beat A`, `propose A`, or `drain`, which delivers and writes until all is quiet. */
  readonly prefix: readonly string[];
}

const THREE = ["A", "B", "C"];
const QUIET: Bounds = { term: 3, timeouts: 0, beats: 0, reboots: 0, requests: 0, duplicates: 0, inFlight: 4 };

/** Every model, in the order they are searched. */
export const MODELS: readonly Model[] = [
  {
    name: "election",
    machines: THREE,
    voters: THREE,
    bounds: { ...QUIET, timeouts: 3, duplicates: 1 },
    prefix: [],
  },
  {
    name: "replication",
    machines: THREE,
    voters: THREE,
    bounds: { ...QUIET, timeouts: 2, beats: 1, requests: 2 },
    prefix: ["timeout A", "drain"],
  },
  {
    name: "restart",
    machines: THREE,
    voters: THREE,
    bounds: { ...QUIET, timeouts: 2, reboots: 2, requests: 1 },
    prefix: ["timeout A", "drain"],
  },
];

/** The model of a name. */
export function modelNamed(name: string): Model {
  const model = MODELS.find((candidate) => candidate.name === name);
  if (model !== undefined) return model;
  throw new CocoError("ConfigurationInvalid", `no model ${name}; there are ${MODELS.map((each) => each.name).join(", ")}`);
}

/** The options of a machine in a model. */
export function coreOptionsIn(model: Model, id: NodeId): CoreOptions {
  return { id, voters: model.voters };
}
