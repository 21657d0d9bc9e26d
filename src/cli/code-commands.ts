/** `coco code`: measuring code; voting it into a network is a proposal (`coco member propose`). */
import type { Command } from "commander";
import { CocoError } from "../errors.ts";
import { type CommandContext, printJson } from "./output.ts";
import { addTeeOptions, type TeeOptions, teeSettings, tellWhoIsAsked } from "./tee-options.ts";

/** Adds `coco code`. */
export function addCodeCommands(program: Command, context: CommandContext): void {
  const command = program
    .command("code")
    .description("measuring code")
    .command("measure")
    .description("print the measurement of this installation's code, or of what a TEE of hardware measured here");
  addTeeOptions(command, "what measures (default: virtual, this installation's files)")
    .option(
      "--node-flags <flags>",
      "virtual: flags of Node.js that nodes are started with, as in NODE_OPTIONS (default: none)",
    )
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExample:\n  coco code measure --json > measured-by-us.json\n  coco code measure --tee snp --json > guest.json\n" +
        "  coco code measure --tee snp --vtpm /dev/tpmrm0 --json > firmware.json\n\n" +
        "Of a confidential Azure machine (--vtpm) that is its firmware; what it booted is told besides, as a policy names it.",
    )
    .action((options: MeasureOptions, command: Command) =>
      measure(context, options, command.optsWithGlobals()["json"] === true),
    );
}

type MeasureOptions = TeeOptions & { readonly nodeFlags?: string };

async function measure({ output }: CommandContext, options: MeasureOptions, asJson: boolean): Promise<void> {
  const { ownCode, codeOnTee } = await import("./own-code.ts");
  const { ownFlags } = await import("../host/node-flags.ts");
  const tee = teeSettings(options);
  const { nodeFlags } = options;
  const isVirtual = tee === undefined || tee.name === "virtual";
  if (!isVirtual && nodeFlags !== undefined)
    throw new CocoError("WrongUsage", "--node-flags is for --tee virtual: hardware measures what was started");
  tellWhoIsAsked(output, tee);
  const own = isVirtual ? { code: await ownCode(nodeFlags) } : await codeOnTee(tee.name, tee);
  const { code, entry } = { entry: undefined, ...own };
  if (asJson) printJson(output, code);
  else output.data(`${code.measurement}\n`);
  const flags = isVirtual && nodeFlags === undefined ? ownFlags() : [];
  if (flags.length > 0)
    output.talk(
      `measured for a node without the flags of this command (${flags.join(" ")}); with them: --node-flags\n`,
    );
  // Of a machine with a virtual TPM the measurement is that of the firmware alone.
  if (entry?.tee === "snp" && entry.policy.pcrs !== undefined)
    output.talk(`what it booted, for a policy (--tee snp=FILE): ${JSON.stringify({ pcrs: entry.policy.pcrs })}\n`);
}
