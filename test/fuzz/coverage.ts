/**
 * Which parts of the code inputs reach: V8's own block coverage, read through the inspector of this very process. No
 * instrumentation, no native package. V8 tells of each function that ran which of its blocks did not, so what is kept of a
 * function is what no input has reached yet; something new was reached when that becomes less.
 */
import { type Profiler, Session } from "node:inspector";

/** A part of a script's text, from and up to. */
type Part = readonly [number, number];

/**
 * One session, begun as this module is loaded and never ended: functions that are compiled while there is none are not
 * counted by block for the rest of the process.
 */
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });

/** What ran since the last call; the inspector of the same thread answers before `post` returns. */
function takeCoverage(): readonly Profiler.ScriptCoverage[] {
  let scripts: readonly Profiler.ScriptCoverage[] = [];
  session.post("Profiler.takePreciseCoverage", (error, answer) => {
    if (error === null) scripts = answer.result;
  });
  return scripts;
}

/** Coverage of the scripts whose address a pattern fits; see the module's header. */
export class Coverage {
  readonly #scripts: RegExp;
  /** What was not reached so far of functions that ran, by script and place. */
  readonly #missed = new Map<string, readonly Part[]>();

  constructor(scripts: RegExp) {
    this.#scripts = scripts;
    takeCoverage();
  }

  /** How many functions ran. */
  get functions(): number {
    return this.#missed.size;
  }

  /** How many characters of those functions were not reached. */
  get unreached(): number {
    return [...this.#missed.values()].flat().reduce((sum, [from, to]) => sum + to - from, 0);
  }

  /** Whether anything since the last look was new; `remember`: it is not from now on. */
  look(remember: boolean): boolean {
    let isNew = false;
    for (const { url, functions } of takeCoverage()) {
      if (!this.#scripts.test(url)) continue;
      for (const { ranges } of functions) {
        const [whole, ...blocks] = ranges;
        if (whole === undefined || whole.count === 0) continue;
        const place = `${url}:${whole.startOffset}`;
        const before = this.#missed.get(place);
        const now = missedOf(blocks);
        const after = before === undefined ? now : common(before, now);
        if (before !== undefined && lengthOf(after) === lengthOf(before)) continue;
        isNew = true;
        if (remember) this.#missed.set(place, after);
      }
    }
    return isNew;
  }
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, [from, to]) => sum + to - from, 0);
}

/** The parts that did not run, in order; V8 lists an outer block before those inside it, which never run without it. */
function missedOf(blocks: readonly Profiler.CoverageRange[]): readonly Part[] {
  const parts: Part[] = [];
  for (const { startOffset, endOffset, count } of blocks) {
    const last = parts.at(-1);
    if (count === 0 && (last === undefined || startOffset >= last[1])) parts.push([startOffset, endOffset]);
  }
  return parts;
}

/** What is in both of two ordered lists. */
function common(left: readonly Part[], right: readonly Part[]): readonly Part[] {
  return left.flatMap(([from, to]) =>
    right.flatMap(([start, end]): Part[] => {
      const part: Part = [Math.max(from, start), Math.min(to, end)];
      return part[0] < part[1] ? [part] : [];
    }),
  );
}
