/** `coco member keygen` and `staff`: an organisation's own key and certificate, and those of its people and programs. */
import { join } from "node:path";
import { type Command, Option } from "commander";
import { CocoError } from "../errors.ts";
import { readText, wholeNumber } from "./arguments.ts";
import { type CommandContext, printJson } from "./output.ts";

const DEFAULT_DAYS = 730;
const DEFAULT_STAFF_DAYS = 365;

const KEYGEN_HELP = `
Example:
  coco member keygen --id acme --name "Acme Ltd" --dir keys --ca

Writes keys/acme_privk.pem (mode 0600, never overwritten) and keys/acme_cert.pem, self-signed. The certificate goes into the
constitution; the key stays with the organisation. With --ca it also issues certificates to staff (coco member staff), which
the network takes for the organisation's without a vote.`;

const STAFF_HELP = `
Example:
  coco member staff --id ada --name "Ada" --ca-cert keys/acme_cert.pem --ca-key keys/acme_privk.pem --dir keys --days 90

Writes keys/ada_privk.pem (mode 0600) and keys/ada_cert.pem, issued by the organisation's CA certificate.`;

const CURVES = { p256: "P-256", p384: "P-384" } as const;

interface KeyOptions {
  readonly id: string;
  readonly name?: string;
  readonly dir: string;
  readonly days: number;
  readonly curve: keyof typeof CURVES;
  readonly json?: boolean;
}

interface KeygenOptions extends KeyOptions {
  readonly ca?: boolean;
}

interface StaffOptions extends KeyOptions {
  readonly caCert: string;
  readonly caKey: string;
}

function addKeyOptions(command: Command, days: number): Command {
  return command
    .option("--name <name>", "name in the certificate (default: the id)")
    .requiredOption("--dir <folder>", "folder for the two files; made when it does not exist")
    .option("--days <days>", "validity of the certificate in days", wholeNumber(1, 36_500), days)
    .addOption(new Option("--curve <curve>", "curve of the key").choices(Object.keys(CURVES)).default("p384"))
    .option("--json", "print JSON");
}

/** Adds the commands. */
export function addKeyCommands(member: Command, context: CommandContext): void {
  const keygen = member
    .command("keygen")
    .description("make an organisation's private key and certificate")
    .requiredOption("--id <id>", "id of the actor in the constitution: lower-case letters, digits, . _ -")
    .option("--ca", "let it issue certificates to its staff");
  addKeyOptions(keygen, DEFAULT_DAYS)
    .addHelpText("after", KEYGEN_HELP)
    .action((options: KeygenOptions) => makeOrganisation(context, options));
  const staff = member
    .command("staff")
    .description("make a key and certificate for a member of staff, or a program")
    .requiredOption("--id <id>", "name of the files: lower-case letters, digits, . _ -")
    .requiredOption("--ca-cert <file>", "CA certificate of the organisation")
    .requiredOption("--ca-key <file>", "its private key");
  addKeyOptions(staff, DEFAULT_STAFF_DAYS)
    .addHelpText("after", STAFF_HELP)
    .action((options: StaffOptions) => makeStaff(context, options));
}

async function makeOrganisation(context: CommandContext, options: KeygenOptions): Promise<void> {
  const { createOrganisation } = await import("../host/organisation.ts");
  const { id, name = id, days, curve, ca } = options;
  const kind = { curve: CURVES[curve], kind: ca === true ? "ca" : "signer" } as const;
  await write(context, options, name, () => createOrganisation(id, name, days, kind));
}

async function makeStaff(context: CommandContext, options: StaffOptions): Promise<void> {
  const { createStaff } = await import("../host/organisation.ts");
  const { id, name = id, days, curve } = options;
  const { MAX_PEM_FILE_BYTES } = await import("./connection.ts");
  const certificate = await readText(options.caCert, MAX_PEM_FILE_BYTES);
  const privateKey = await readText(options.caKey, MAX_PEM_FILE_BYTES);
  await write(context, options, name, () => createStaff(name, { certificate, privateKey }, days, CURVES[curve]));
}

async function write(
  { output }: CommandContext,
  { id, dir, json }: KeyOptions,
  name: string,
  make: () => { readonly certificate: string; readonly privateKey: string },
): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  const { writeCredentials } = await import("../host/organisation.ts");
  const { IDENTIFIER } = await import("../core/governance/constitution.ts");
  if (!IDENTIFIER.test(id)) throw new CocoError("WrongUsage", `--id ${id}: expected lower-case letters, digits, . _ -`);
  const files = { certificate: join(dir, `${id}_cert.pem`), key: join(dir, `${id}_privk.pem`) };
  const credentials = make();
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${dir}: cannot be made`, { file: dir }, { cause: error });
  }
  await writeCredentials(files, credentials);
  if (json === true) printJson(output, { id, name, ...files });
  else output.data(`${files.certificate}\n${files.key}\n`);
}
