/**
 * Processor time of processes, where the system tells. On a machine that others use too it says more than a rate: it is
 * the work a transaction costs, whoever else works.
 */
import { existsSync, readFileSync } from "node:fs";

/** Unit of the times in /proc, in milliseconds; the same on every Linux that Node runs on. */
const TICK_MS = 10;
/** Positions of user and system time behind the name of the process, which may contain anything. */
const USER_TIME = 11;
const SYSTEM_TIME = 12;

/** Processor time each process has used so far in milliseconds, all threads; undefined where it cannot be known. */
export function processorTimesMs(pids: readonly number[]): number[] | undefined {
  const files = pids.map((pid) => `/proc/${pid}/stat`);
  if (!files.every((file) => existsSync(file))) return undefined;
  return files.map((file) => {
    const text = readFileSync(file, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) * TICK_MS;
  });
}
