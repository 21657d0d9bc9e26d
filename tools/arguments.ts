/** Arguments of the commands behind `npm run`: read strictly, `--help` explains them, wrong ones end with 2. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { CocoError } from "../src/errors.ts";

/** An option as `parseArgs` takes it, with what `--help` says about it. */
type ToolOption = NonNullable<ParseArgsConfig["options"]>[string] & {
  /** One line about the option. */
  readonly help: string;
  /** What stands for the value of an option that takes one. */
  readonly value?: string;
};

/** The options of a command, by name. */
export type ToolOptions = Readonly<Record<string, ToolOption>>;

/** What was given, by the name of the option. */
export type ToolValues<T extends ToolOptions> = ReturnType<typeof parseArgs<{ options: T }>>["values"];

const WRONG_USAGE = 2;

function usageOf(command: string, options: ToolOptions): string {
  const lines = Object.entries({ ...options, help: { help: "show this" } as ToolOption }).map(
    ([name, { value, help, default: preset }]) => ({
      form: `--${name}${value === undefined ? "" : ` ${value}`}`,
      text: typeof preset === "string" && preset !== "" ? `${help} (${preset})` : help,
    }),
  );
  const width = Math.max(...lines.map(({ form }) => form.length));
  return [
    `Usage: npm ${command} -- [options]`,
    ...lines.map(({ form, text }) => `  ${form.padEnd(width)}  ${text}`),
    "",
  ].join("\n");
}

/**
 * Reads the arguments of this process. Ends it with 0 after `--help`, and with 2 when an argument is unknown or `read` refuses
 * one with a `CocoError`.
 * @param command what is typed after `npm`
 */
export function readArguments<const T extends ToolOptions, R>(
  command: string,
  options: T,
  read: (values: ToolValues<T>) => R,
): R {
  const usage = usageOf(command, options);
  try {
    const asksForHelp = parseArgs({ options: { help: { type: "boolean" } }, strict: false }).values["help"] === true;
    if (asksForHelp) {
      process.stdout.write(usage);
      process.exit(0);
    }
    return read(parseArgs<{ options: T }>({ options }).values);
  } catch (error) {
    const isUsage = error instanceof CocoError || (error instanceof TypeError && "code" in error);
    if (!isUsage) throw error;
    process.stderr.write(`${error.message}\n${usage}`);
    process.exit(WRONG_USAGE);
  }
}

/** For a command that has no options. */
export function readNoArguments(command: string): void {
  readArguments(command, {}, () => undefined);
}

/** The number an option gives. Throws `WrongUsage` when it is none from `min` on, or not a whole one where that is asked. */
export function numberFrom(min: number, name: string, text: string, kind: "whole" | "any" = "whole"): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < min || (kind === "whole" && !Number.isSafeInteger(value)))
    throw new CocoError(
      "WrongUsage",
      `--${name} takes a ${kind === "whole" ? "whole number" : "number"} from ${min} on, not ${JSON.stringify(text)}`,
    );
  return value;
}

/** The one of `names` that an option gives. Throws `WrongUsage`, with all of them, when it is none. */
export function oneOf<N extends string>(names: readonly N[], name: string, text: string): N {
  const found = names.find((each) => each === text);
  if (found === undefined)
    throw new CocoError("WrongUsage", `--${name} takes one of ${names.join(", ")}; not ${JSON.stringify(text)}`);
  return found;
}
