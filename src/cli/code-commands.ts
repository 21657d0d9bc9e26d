/** `coco code`: measuring code; voting it into a network is a proposal (`coco member propose`). */
import type { Command } from "commander";
import { type CommandContext, printJson } from "./output.ts";

/** Adds `coco code`. */
export function addCodeCommands(program: Command, context: CommandContext): void {
  program
    .command("code")
    .description("measuring code")
    .command("measure")
    .description("print the measurement of this installation's code")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  coco code measure --json > measured-by-us.json")
    .action((_options, command: Command) => measure(context, command.optsWithGlobals()["json"] === true));
}

async function measure({ output }: CommandContext, asJson: boolean): Promise<void> {
  const { ownCode } = await import("./own-code.ts");
  const code = await ownCode();
  if (asJson) printJson(output, code);
  else output.data(`${code.measurement}\n`);
}
