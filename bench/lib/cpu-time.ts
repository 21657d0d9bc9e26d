/**
 * Processor time of processes, where the system tells. On a machine that others use too it says more than a rate: it is
 * the work a transaction costs, whoever else works.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Unit of the times in /proc, in milliseconds; the same on every Linux that Node runs on. */
const TICK_MS = 10;
/** Positions of user and system time behind the name of the process, which may contain anything. */
const USER_TIME = 11;
const SYSTEM_TIME = 12;

/**
 * Processor time each process and those it started have used so far in milliseconds, all threads; undefined where it cannot be
 * known.
 */
export function processorTimesMs(pids: readonly number[]): number[] | undefined {
  if (!pids.every((pid) => existsSync(`/proc/${pid}/stat`))) return undefined;
  return pids.map((pid) => timeMs(pid));
}

function timeMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const own = (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) * TICK_MS;
  return childrenOf(pid).reduce((sum, child) => sum + timeMs(child), own);
}

/** Processes that a process has started and that still run. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}
