/**
 * How commands speak: data on standard output, talk on standard error, and what an exit code means. Errors are told as
 * code, message and remedy; the stack only with `--debug`.
 */
import { isReasonCode, REASONS } from "../attestation/reasons.ts";
import { remedyOf } from "../core/governance/refusal.ts";
import { CocoError, type ErrorCode } from "../errors.ts";

/** Exit codes of the `coco` command. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notReady: 3,
  verificationFailed: 4,
  denied: 5,
  removed: 5,
  rejectedByVote: 6,
  timeout: 7,
  interrupted: 130,
} as const;

const EXIT_OF_ERROR: Partial<Record<ErrorCode, number>> = {
  NotReady: EXIT.notReady,
  NoLeader: EXIT.notReady,
  ChannelFailed: EXIT.notReady,
  RequestTimeout: EXIT.notReady,
  CannotConnect: EXIT.notReady,
  TooManyRequests: EXIT.notReady,
  EvidenceRejected: EXIT.verificationFailed,
  ConstitutionDiffers: EXIT.verificationFailed,
  EffectNotVerified: EXIT.verificationFailed,
  ServiceNotTrusted: EXIT.verificationFailed,
  AuthenticationRequired: EXIT.denied,
  CertificateUnknown: EXIT.denied,
  CertificateExpired: EXIT.denied,
  CertificateRevoked: EXIT.denied,
  CertificateInvalid: EXIT.denied,
  NotAuthorized: EXIT.denied,
  WrongUsage: EXIT.usage,
  JoinNotApproved: EXIT.notReady,
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

/** Asks a person at a terminal; an empty answer is the default. */
export type Ask = (question: string, standard?: string) => Promise<string>;

/** What a running command has at hand. */
export interface CommandContext {
  readonly output: Output;
  /** Undefined: nobody sits at a terminal. */
  readonly ask?: Ask;
  /** Code the process ends with. */
  exitCode: number;
}

/** Where people are told what they are to agree to: beside the data when that is JSON. */
export function forPeople({ data, talk }: Output, asJson: boolean): Output {
  return { data: asJson ? talk : data, talk };
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

/** Prints rows as aligned columns, the first row being their titles. */
export function printTable(output: Output, rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows)
    output.data(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
}

/** Tells an error and returns the exit code for it. */
export function reportError(output: Output, error: unknown, debug: boolean): number {
  const known = error instanceof CocoError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  output.talk(`COCO ${known?.code ?? "Internal"}: ${message}\n`);
  if (known !== undefined) output.talk(`  ${remedyFor(known)}\n`);
  else output.talk("  Run the command again with --debug and report what it prints.\n");
  if (debug && error instanceof Error) output.talk(`${stackOf(error)}\n`);
  return known === undefined ? EXIT.failed : (EXIT_OF_ERROR[known.code] ?? EXIT.failed);
}

/** What to do where a file of a node's folder is not there. */
const ABSENT: Readonly<Record<string, string>> = {
  "node.json": "Name the folder of a node, or make one: coco node init.",
  "genesis.json":
    "Copy the network's genesis.json into the folder when it is founded; to join one that runs: coco node join.",
};

/** Of evidence that was rejected the reason says more than the code, of a file that is absent its name. */
function remedyFor(error: CocoError): string {
  const { code, data } = error;
  const isOfEvidence = code === "EvidenceRejected" || code === "CodeNotApproved";
  const { reason, file } = data;
  const isMissing = code === "ConfigurationInvalid" && error.message.endsWith("does not exist");
  const absent = isMissing ? ABSENT[String(file).split(/[\\/]/).at(-1) ?? ""] : undefined;
  if (absent !== undefined) return absent;
  return isOfEvidence && isReasonCode(reason) ? REASONS[reason].remedy : remedyOf(error);
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
