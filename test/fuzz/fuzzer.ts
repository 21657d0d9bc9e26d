/**
 * A coverage-guided fuzzer: inputs that reach something new are kept and changed further. The same seed and count of inputs
 * give the same run. A decoder may refuse an input by a named error, and by nothing else.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import { CocoError } from "../../src/errors.ts";
import { SeededRandom } from "../simulation/seeded-random.ts";
import { Coverage } from "./coverage.ts";
import { drawFrom, mutate } from "./mutate.ts";

/** Most inputs that are kept. */
const MAX_CORPUS = 4096;
/** Inputs between two looks at the coverage, which costs more than most inputs do. */
const BATCH = 32;

/** What is fuzzed. */
export interface FuzzTarget {
  readonly name: string;
  /** Inputs to begin with. */
  readonly seeds: readonly Bytes[];
  /** Byte strings that mean something in this format. */
  readonly tokens?: readonly Bytes[];
  /** Which scripts count for coverage, by their address. */
  readonly scripts: RegExp;
  /** Decodes; throws what is wrong with the decoder, or the named error by which it refuses. */
  readonly run: (input: Bytes) => void;
}

/** When a run ends. */
export interface FuzzBounds {
  readonly seed: number;
  readonly inputs: number;
  /** Whether time is up. */
  readonly isOver?: () => boolean;
}

/** What a run found. */
export interface FuzzResult {
  readonly target: string;
  readonly inputs: number;
  readonly corpus: number;
  /** Functions that ran, and how many characters of them no input reached. */
  readonly functions: number;
  readonly unreached: number;
  /** The input that broke the decoder, and how. */
  readonly failure?: { readonly input: Bytes; readonly error: unknown };
}

/** What is wrong with how a decoder took an input; undefined when it took or refused it as it should. */
function faultOf({ run }: FuzzTarget, input: Bytes): unknown {
  try {
    run(input);
    return undefined;
  } catch (error) {
    return error instanceof CocoError && error.code !== "Internal" ? undefined : error;
  }
}

/** Runs a target until its bounds, or until its decoder breaks. */
export function fuzz(target: FuzzTarget, bounds: FuzzBounds): FuzzResult {
  const corpus = [...target.seeds];
  const draw = drawFrom(new SeededRandom(bounds.seed), corpus, target.tokens ?? []);
  const coverage = new Coverage(target.scripts);
  const result = (inputs: number, failure?: FuzzResult["failure"]): FuzzResult => ({
    ...{
      target: target.name,
      inputs,
      corpus: corpus.length,
      functions: coverage.functions,
      unreached: coverage.unreached,
    },
    ...(failure && { failure }),
  });
  for (const input of target.seeds) {
    const error = faultOf(target, input);
    if (error !== undefined) return result(0, { input, error });
  }
  coverage.look(true);
  let inputs = 0;
  while (inputs < bounds.inputs && bounds.isOver?.() !== true) {
    const size = Math.min(BATCH, bounds.inputs - inputs);
    const batch = Array.from({ length: size }, () => mutate(corpus[draw.below(corpus.length)] as Bytes, draw));
    for (const input of batch) {
      inputs++;
      const error = faultOf(target, input);
      if (error !== undefined) return result(inputs, { input, error });
    }
    if (batch.length > 0 && coverage.look(false)) keepNew(target, batch, corpus, coverage);
  }
  return result(inputs);
}

/** Runs a batch again in which something new was reached, in halves, down to the inputs that reached it. */
function keepNew(target: FuzzTarget, batch: readonly Bytes[], corpus: Bytes[], coverage: Coverage): void {
  const isOne = batch.length === 1;
  for (const input of batch) faultOf(target, input);
  if (!coverage.look(isOne)) return;
  if (isOne) {
    if (corpus.length < MAX_CORPUS) corpus.push(batch[0] as Bytes);
    return;
  }
  const middle = batch.length >> 1;
  keepNew(target, batch.slice(0, middle), corpus, coverage);
  keepNew(target, batch.slice(middle), corpus, coverage);
}
