/** `coco member`: an organisation's own key and certificate. */
import { join } from "node:path";
import type { Command } from "commander";
import { CocoError } from "../errors.ts";
import { wholeNumber } from "./arguments.ts";
import { type CommandContext, printJson } from "./output.ts";

const DEFAULT_DAYS = 730;

const HELP = `
Example:
  coco member keygen --id acme --name "Acme Ltd" --out keys

Writes keys/acme_privk.pem (mode 0600, never overwritten) and keys/acme_cert.pem. The certificate goes into the genesis
constitution; the key stays with the organisation: it signs node entries, proposals and ballots, and issues staff
certificates.`;

interface KeygenOptions {
  readonly id: string;
  readonly name: string;
  readonly out: string;
  readonly days: number;
}

/** Adds `coco member`. */
export function addMemberCommands(program: Command, context: CommandContext): void {
  program
    .command("member")
    .description("member organisations")
    .command("keygen")
    .description("make an organisation's private key and certificate")
    .requiredOption("--id <id>", "id of the member in the constitution: lower-case letters, digits, . _ -")
    .requiredOption("--name <name>", "name of the organisation")
    .requiredOption("--out <folder>", "folder for the two files; made when it does not exist")
    .option("--days <days>", "validity of the certificate in days", wholeNumber(1, 36_500), DEFAULT_DAYS)
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((options: KeygenOptions, command: Command) =>
      keygen(context, options, command.optsWithGlobals()["json"] === true),
    );
}

async function keygen({ output }: CommandContext, options: KeygenOptions, asJson: boolean): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  const { createOrganisation, writeCredentials } = await import("../host/organisation.ts");
  const { IDENTIFIER } = await import("../core/governance/constitution.ts");
  const { id, name, out, days } = options;
  if (!IDENTIFIER.test(id))
    throw new CocoError("MalformedInput", `--id ${id}: expected lower-case letters, digits, . _ -`);
  const files = { certificate: join(out, `${id}_cert.pem`), key: join(out, `${id}_privk.pem`) };
  const organisation = createOrganisation(id, name, days);
  try {
    await mkdir(out, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${out}: cannot be made`, { file: out }, { cause: error });
  }
  await writeCredentials(files, organisation);
  if (asJson) printJson(output, { id, name, ...files });
  else output.data(`${files.certificate}\n${files.key}\n`);
}
