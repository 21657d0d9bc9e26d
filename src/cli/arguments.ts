/** Reading option values: what does not fit is wrong usage (exit code 2). */
import { InvalidArgumentError, Option } from "commander";
import { CocoError } from "../errors.ts";
import { WORKER_LEVELS } from "../host/worker-settings.ts";
import type { Output } from "./output.ts";

/** Least severities of log lines, as `--log-level` takes them. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** The option that chooses how the workers of a node's adapters run. */
export function workersOption(description: string): Option {
  return new Option("--workers <level>", description).choices(WORKER_LEVELS);
}

/** A parser of whole numbers within bounds, both inclusive. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}

/** A text with a name before it: `name=value`. */
export interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** Collects options of the form `name=value` that may be given several times. */
export function collectNamed(text: string, before: readonly NamedValue[]): readonly NamedValue[] {
  const mark = text.indexOf("=");
  if (mark < 1 || mark === text.length - 1) throw new InvalidArgumentError("Expected the form NAME=FILE.");
  return [...before, { name: text.slice(0, mark), value: text.slice(mark + 1) }];
}

/** Collects options that may be given several times. */
export function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

/** Writes a new file and tells so. Throws `ConfigurationInvalid`, with nothing replaced, when the file exists. */
export async function createOutput(output: Output, file: string, data: Uint8Array | string): Promise<void> {
  const { createFileAtomic, PUBLIC_FILE_MODE } = await import("../host/files.ts");
  let created: boolean;
  try {
    created = await createFileAtomic(file, data, PUBLIC_FILE_MODE);
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: cannot be written`, { file }, { cause: error });
  }
  if (!created) throw new CocoError("ConfigurationInvalid", `${file}: exists; it is not overwritten`, { file });
  output.talk(`wrote ${file}\n`);
}

/** A text file of at most `maxBytes`. Throws `ConfigurationInvalid` with the file's name. */
export async function readText(file: string, maxBytes: number): Promise<string> {
  const { readConfigurationFile } = await import("../host/files.ts");
  return Buffer.from(await readConfigurationFile(file, maxBytes)).toString("utf8");
}

/** A file of at most `maxBytes`. Throws `ConfigurationInvalid` with the file's name. */
export async function readBytes(file: string, maxBytes: number): Promise<Uint8Array> {
  const { readConfigurationFile } = await import("../host/files.ts");
  return readConfigurationFile(file, maxBytes);
}

/** A JSON file of at most `maxBytes`. Throws `ConfigurationInvalid` with the file's name. */
export async function readJson(file: string, maxBytes: number): Promise<unknown> {
  const text = await readText(file, maxBytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${file}: not JSON`, { file }, { cause: error });
  }
}
