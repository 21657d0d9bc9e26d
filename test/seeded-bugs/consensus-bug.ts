/** How bugs in the consensus core are written down, and what looks for them. */
import type { Detector, Patch, SeededBug } from "./bug.ts";

/** The transcripts. */
export const SCENARIOS: Detector = { type: "scenarios" };
/** The enumeration of restarts. */
export const RESTARTS: Detector = { type: "restarts" };

/** States the explorer sees of one model before it gives up: at the first look, and at the second. */
const STATES = [20_000, 120_000];

/** The explorer on one model: a short look first, since most bugs are not deep. */
export const explorer = (model: string): readonly Detector[] =>
  STATES.map((states) => ({ type: "explorer", model, states }));

/** A patch of a file of the consensus core. */
export const at = (file: string, find: string, replace: string): Patch => ({
  file: `src/core/consensus/${file}.ts`,
  find,
  replace,
});

/** A bug in the consensus core. */
export function bug(
  name: string,
  patches: readonly Patch[],
  ...detectors: readonly (Detector | readonly Detector[])[]
): SeededBug {
  return { name, patches, detectors: detectors.flat() };
}
