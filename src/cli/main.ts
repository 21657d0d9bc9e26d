#!/usr/bin/env node
/** The `coco` command: runs it with this process's arguments and streams, and ends the process with its exit code. */
import { processOutput } from "./output.ts";
import { run } from "./program.ts";
import { terminal } from "./terminal.ts";

// A reader that went away (`coco … | head`) is no failure.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

const exitCode = await run(process.argv.slice(2), processOutput, terminal());
// What was written to a pipe must have left before the process does; open handles of a failed node must not keep it.
process.stdout.write("", () => process.exit(exitCode));
