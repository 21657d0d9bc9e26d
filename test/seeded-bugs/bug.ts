/** What a seeded bug is: a small change of a source that breaks a rule, and what is expected to notice it. */

/** A replacement in one source file; the text must occur there exactly once. */
export interface Patch {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Something that can notice a bug; see detectors.ts. */
export type Detector =
  /** The transcripts of test/scenarios, in order. */
  | { readonly type: "scenarios" }
  /** The explorer, on one model. */
  | { readonly type: "explorer"; readonly model: string; readonly states: number }
  /** The enumeration of restarts. */
  | { readonly type: "restarts" }
  /** The simulator, over seeds from 1. */
  | { readonly type: "simulation"; readonly seeds: number }
  /** A file of tests, compiled, by its path under dist. */
  | { readonly type: "tests"; readonly file: string };

/** One bug. */
export interface SeededBug {
  readonly name: string;
  readonly patches: readonly Patch[];
  /** Tried in order until one notices. */
  readonly detectors: readonly Detector[];
}

/** Notices what a file of tests beside a source does. */
export const tests = (file: string): Detector => ({ type: "tests", file: `${file}.test.js` });

/** A bug of one source. */
export function sourceBug(
  name: string,
  file: string,
  change: { readonly find: string; readonly replace: string },
  ...detectors: readonly Detector[]
): SeededBug {
  return { name, patches: [{ file: `src/${file}.ts`, ...change }], detectors };
}
