/** `coco version`: which program this is, down to its measurement. */
import type { Command } from "commander";
import { type CommandContext, printJson } from "./output.ts";

/** Name and version, and as JSON the measurement that a code manifest would list. */
async function showVersion({ output }: CommandContext, asJson: boolean): Promise<void> {
  const { measureCode, PACKAGE_FOLDER, packageIdentity } = await import("../host/measure-code.ts");
  const { name, version } = await packageIdentity(PACKAGE_FOLDER);
  if (!asJson) {
    output.data(`${name} ${version}\n`);
    return;
  }
  const measurement = Buffer.from(await measureCode(PACKAGE_FOLDER)).toString("hex");
  printJson(output, { name, version, node: process.version, measurement });
}

/** Adds `coco version`. */
export function addVersionCommand(program: Command, context: CommandContext): void {
  program
    .command("version")
    .description("version of this installation (--json: its measurement)")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  coco version --json")
    .action((_options, command: Command) => showVersion(context, command.optsWithGlobals()["json"] === true));
}
