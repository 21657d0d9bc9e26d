/**
 * The commands of `coco`: names, options and help. Each command loads what it needs only when it runs, so that help is
 * quick.
 */
import { Command, CommanderError, Help, type Option } from "commander";
import { addAttestCommands } from "./attest/commands.ts";
import { addCodeCommands } from "./code-commands.ts";
import { addConstitutionCommands } from "./constitution-commands.ts";
import { addLedgerCommands } from "./ledger-commands.ts";
import { addMemberCommands } from "./member-commands.ts";
import { addNetworkCommands } from "./network-commands.ts";
import { addNodeCommands } from "./node-commands.ts";
import { type Ask, type CommandContext, EXIT, type Output, reportError } from "./output.ts";
import { addReceiptCommands } from "./receipt-commands.ts";
import { addSandboxCommands } from "./sandbox-commands.ts";
import { addVersionCommand } from "./version-command.ts";

const ROOT_HELP = `Examples:
  coco sandbox start                          a network of three validating nodes on this machine
  coco member propose --action open_epoch     propose a change of the network; coco member vote decides on it
Exit codes: 0 ok, 1 failed, 2 usage, 3 not ready, 4 unverified, 5 denied or removed, 6 voted down, 7 timeout, 130 interrupted.`;

/** Runs the command of these arguments and returns its exit code. */
export async function run(args: readonly string[], output: Output, ask?: Ask): Promise<number> {
  const context: CommandContext = { output, exitCode: EXIT.ok, ...(ask !== undefined && { ask }) };
  const program = createProgram(context);
  try {
    if (args.length === 0) program.outputHelp();
    else
      await program.parseAsync(withoutHelpOfNothing(program, withSandboxStart(withVersionCommand(args))), {
        from: "user",
      });
    return context.exitCode;
  } catch (error) {
    // Commander has said what it had to say: help and version end with 0, everything else is wrong usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return reportError(output, error, program.opts()["debug"] === true);
  }
}

const VERSION_FLAGS: readonly string[] = ["-V", "--version"];
const HELP_WORDS: readonly string[] = ["help", "-h", "--help"];

/** What a sandbox is there for needs no word: `coco sandbox --nodes 1` starts one. */
function withSandboxStart(args: readonly string[]): readonly string[] {
  const at = args.findIndex((arg) => arg !== "--debug");
  const next = args[at + 1];
  const isMeant =
    args[at] === "sandbox" && (next === undefined || (next.startsWith("-") && !HELP_WORDS.includes(next)));
  return isMeant ? args.toSpliced(at + 1, 0, "start") : args;
}

/** `--version` where a command would stand means the command `version`. */
function withVersionCommand(args: readonly string[]): readonly string[] {
  const at = args.findIndex((arg) => arg !== "--debug" && arg !== "--json");
  return VERSION_FLAGS.includes(args[at] ?? "") ? ["version", ...args.slice(0, at), ...args.slice(at + 1)] : args;
}

/** The arguments; without the wish for help where it is about a command that does not exist, which Commander then tells. */
function withoutHelpOfNothing(program: Command, args: readonly string[]): string[] {
  let command = program;
  for (const arg of args) {
    if (command.commands.length === 0) break;
    if (arg.startsWith("-") || HELP_WORDS.includes(arg)) continue;
    const next = command.commands.find((candidate) => candidate.name() === arg);
    if (next === undefined) return args.filter((other) => !HELP_WORDS.includes(other));
    command = next;
  }
  return [...args];
}

/** What help says of an option. That nothing was given is no default worth telling: options given several times begin empty. */
function describeOption(option: Option): string {
  const preset: unknown = option.defaultValue;
  const isEmpty = typeof preset === "object" && preset !== null && Object.keys(preset).length === 0;
  return isEmpty ? option.description : new Help().optionDescription(option);
}

function createProgram(context: CommandContext): Command {
  const program = new Command("coco")
    .description("Coco Framework: confidential consortium networks of validating nodes")
    .option("--debug", "print the stack of an error")
    .option("-V, --version", "print the version")
    .exitOverride()
    .configureOutput({ writeOut: context.output.data, writeErr: context.output.talk })
    .configureHelp({ optionDescription: describeOption })
    .showSuggestionAfterError()
    .showHelpAfterError("(coco --help tells more)")
    .addHelpText("after", ROOT_HELP);
  addSandboxCommands(program, context);
  addNodeCommands(program, context);
  addMemberCommands(program, context);
  addConstitutionCommands(program, context);
  addCodeCommands(program, context);
  addLedgerCommands(program, context);
  addNetworkCommands(program, context);
  addReceiptCommands(program, context);
  addAttestCommands(program, context);
  addVersionCommand(program, context);
  return program;
}
