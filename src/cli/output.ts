/**
 * How commands speak: data on standard output, talk on standard error, and what an exit code means. Errors are told as
 * code, message and remedy; the stack only with `--debug`.
 */
import { CocoError, type ErrorCode } from "../errors.ts";

/** Exit codes of the `coco` command. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notReady: 3,
  verificationFailed: 4,
  removed: 5,
  interrupted: 130,
} as const;

const EXIT_OF_ERROR: Partial<Record<ErrorCode, number>> = {
  NotReady: EXIT.notReady,
  NoLeader: EXIT.notReady,
  ChannelFailed: EXIT.notReady,
  RequestTimeout: EXIT.notReady,
  JoinNotApproved: EXIT.notReady,
  EvidenceRejected: EXIT.verificationFailed,
  JoinAnswerUntrusted: EXIT.verificationFailed,
  NodeRemoved: EXIT.removed,
};

/** Where a command writes. */
export interface Output {
  /** Standard output, as it is. */
  data(text: string): void;
  /** Standard error, as it is. */
  talk(text: string): void;
}

/** The streams of this process. */
export const processOutput: Output = {
  data: (text) => void process.stdout.write(text),
  talk: (text) => void process.stderr.write(text),
};

/** What a running command has at hand. */
export interface CommandContext {
  readonly output: Output;
  /** Code the process ends with. */
  exitCode: number;
}

/** Prints one value as indented JSON. */
export function printJson(output: Output, value: unknown): void {
  output.data(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Prints fields as aligned lines. */
export function printFields(output: Output, fields: Readonly<Record<string, string | number>>): void {
  const width = Math.max(...Object.keys(fields).map((name) => name.length));
  for (const [name, value] of Object.entries(fields)) output.data(`${name.padEnd(width)}  ${value}\n`);
}

/** Tells an error and returns the exit code for it. */
export function reportError(output: Output, error: unknown, debug: boolean): number {
  const known = error instanceof CocoError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  output.talk(`COCO ${known?.code ?? "Internal"}: ${message}\n`);
  if (known !== undefined) output.talk(`  ${known.remedy}\n`);
  else output.talk("  Run the command again with --debug and report what it prints.\n");
  if (debug && error instanceof Error) output.talk(`${stackOf(error)}\n`);
  return known === undefined ? EXIT.failed : (EXIT_OF_ERROR[known.code] ?? EXIT.failed);
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
