/**
 * Descriptors this process was given by the one that started it, and that its own children would get in turn: a file or
 * folder that is open is open to whoever has its number, whatever walls are around. What Node opens itself it does not pass on.
 */
import type { IOType } from "node:child_process";
import { openSync, readdirSync, readFileSync } from "node:fs";
import type { Stream } from "node:stream";

const CLOSE_ON_EXEC = 0o2000000;
const FOLDER = "/proc/self/fdinfo";

/** What a child gets at its descriptors, by their numbers. */
export type ChildDescriptors = readonly (IOType | Stream | number)[];

let nothing: number | undefined;

function isInherited(descriptor: number): boolean {
  try {
    const [, flags = ""] = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`${FOLDER}/${descriptor}`, "latin1")) ?? [];
    return (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // It was open only while the folder was read.
    return false;
  }
}

/** The same, and nothing at those numbers where the child would get what this process was given. On Linux alone. */
export function nothingInherited(descriptors: ChildDescriptors): (IOType | Stream | number)[] {
  const all = [...descriptors];
  if (process.platform !== "linux") return all;
  for (const descriptor of readdirSync(FOLDER).map(Number)) {
    if (descriptor < descriptors.length || !isInherited(descriptor)) continue;
    // What is ignored beyond the first three is left as it is.
    while (all.length < descriptor) all.push("ignore");
    nothing ??= openSync("/dev/null", "r");
    all[descriptor] = nothing;
  }
  return all;
}
