/** `coco network genesis`: assembles the constitution a network begins with (R11). */
import { type Command, InvalidArgumentError } from "commander";
import type { QuorumSetting } from "../core/governance/constitution.ts";
import { CocoError } from "../errors.ts";
import { collect, collectNamed, createOutput, type NamedValue, readJson, readText, wholeNumber } from "./arguments.ts";
import { type CommandContext, printFields, printJson } from "./output.ts";

/** Largest file of adapter options in bytes. */
export const MAX_OPTIONS_FILE_BYTES = 4 * 1024 * 1024;
const MAX_SMALL_FILE_BYTES = 64 * 1024;
const MAX_NUMBER = 999_999_999;

const HELP = `
Example:
  coco network genesis --name trade --member acme=acme_cert.pem --member globex=globex_cert.pem \\
    --node node0-signed.json --node node1-signed.json --adapter ethereum=ethereum.json --out genesis.json

The code manifest lists this installation's own code unless --code names files of coco code measure --json. Every founder
compares the printed network id before putting genesis.json into a node's folder.`;

interface GenesisOptions {
  readonly name: string;
  readonly member: readonly NamedValue[];
  readonly participant: readonly NamedValue[];
  readonly node: readonly string[];
  readonly adapter: readonly NamedValue[];
  readonly code: readonly string[];
  readonly settings?: string;
  readonly closed: boolean;
  readonly epochLength?: number;
  readonly snapshotEvery?: number;
  readonly quorum?: QuorumSetting;
  readonly trustDisk?: boolean;
  readonly out: string;
}

/** Adds `coco network`. */
export function addNetworkCommands(program: Command, context: CommandContext): void {
  program
    .command("network")
    .description("founding a network")
    .command("genesis")
    .description("assemble the genesis constitution")
    .requiredOption("--name <name>", "name of the network")
    .requiredOption("--member <id=file>", "a member and its certificate (PEM); repeatable", collectNamed, [])
    .option("--participant <id=file>", "a participant and its certificate (PEM); repeatable", collectNamed, [])
    .requiredOption("--node <file>", "a node's entry signed by its owner; repeatable", collect, [])
    .option("--adapter <name=file>", "an adapter and its options (JSON); repeatable", collectNamed, [])
    .option("--closed", "adapters are not served before the members open the network", false)
    .option("--code <file>", "approved code, a file of coco code measure --json; repeatable", collect, [])
    .option("--settings <file>", "settings that differ from the defaults (JSON)")
    .option("--epoch-length <ms>", "longest life of an epoch; 0: no epoch ends by time", wholeNumber(0, MAX_NUMBER))
    .option("--snapshot-every <number>", "transactions between snapshots; 0: none", wholeNumber(0, MAX_NUMBER))
    .option("--quorum <policy>", "majority, per-actor, or E/R: nodes an election and a commit need", quorumSetting)
    .option("--trust-disk", "a node that restarts trusts its own disk (default)")
    .option("--no-trust-disk", "a node that restarts does not vote before it has caught up")
    .requiredOption("--out <file>", "file to write")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((options: GenesisOptions, command: Command) =>
      genesis(context, options, command.optsWithGlobals()["json"] === true),
    );
}

async function genesis({ output }: CommandContext, options: GenesisOptions, asJson: boolean): Promise<void> {
  const { assembleGenesis, readSignedNode } = await import("../host/genesis.ts");
  const { constitutionDigest, constitutionToJson } = await import("../core/governance/constitution-codec.ts");
  const { sha256 } = await import("../enclave/manager/node-crypto.ts");
  const constitution = assembleGenesis({
    networkName: options.name,
    open: !options.closed,
    actors: [
      ...(await readFounders(options.member, "member")),
      ...(await readFounders(options.participant, "participant")),
    ],
    nodes: await Promise.all(options.node.map(readSignedNode)),
    codeManifest: await readCode(options.code),
    adapters: await Promise.all(options.adapter.map(readAdapterOptions)),
    settings: await readSettingsOptions(options),
  });
  await createOutput(output, options.out, constitutionToJson(constitution));
  const networkId = Buffer.from(constitutionDigest(constitution, sha256)).toString("hex");
  const { actors, nodes } = constitution;
  const summary = { network: options.name, network_id: networkId, actors: actors.length, nodes: nodes.length };
  if (asJson) printJson(output, summary);
  else printFields(output, summary);
  output.talk("next: compare the network id with the other founders, then copy the file into each node's folder\n");
}

async function readFounders(entries: readonly NamedValue[], role: "member" | "participant") {
  const { X509Certificate } = await import("node:crypto");
  return await Promise.all(
    entries.map(async ({ name: id, value: file }) => {
      const certificate = await readText(file, MAX_SMALL_FILE_BYTES);
      let organisation: string | string[] | undefined;
      try {
        organisation = new X509Certificate(certificate).toLegacyObject().subject.O;
      } catch (error) {
        throw new CocoError(
          "ConfigurationInvalid",
          `${file}: expected one certificate in PEM`,
          { file },
          { cause: error },
        );
      }
      return { id, name: typeof organisation === "string" ? organisation : id, role, certificate };
    }),
  );
}

async function readCode(files: readonly string[]) {
  const { readJsonFile } = await import("../host/node-folder.ts");
  const { readCodeIdentity } = await import("../core/governance/constitution-codec.ts");
  if (files.length > 0) return await Promise.all(files.map((file) => readJsonFile(file, readCodeIdentity)));
  const { ownCode } = await import("./own-code.ts");
  return [await ownCode()];
}

async function readAdapterOptions({ name, value: file }: NamedValue, at: number) {
  const { availableAdapter } = await import("../host/adapters.ts");
  const { readJsonValue } = await import("../core/governance/json-value.ts");
  const adapter = availableAdapter(name);
  const options = readJsonValue(await readJson(file, MAX_OPTIONS_FILE_BYTES));
  if (options === undefined)
    throw new CocoError("ConfigurationInvalid", `${file}: whole numbers only, within the limits of depth and size`, {
      file,
    });
  // Refused now rather than by every node later.
  (await adapter.load())(options);
  const { version, mounts } = adapter.manifest;
  return { id: at + 1, name, version, mount: mounts[0] ?? `/${name}`, options };
}

/** Settings of the file, with what the command line names on top. */
async function readSettingsOptions(options: GenesisOptions) {
  const { readPartialSettings } = await import("../core/governance/settings.ts");
  const file = options.settings;
  const data = file === undefined ? { file: "settings" } : { file };
  const settings = readPartialSettings(file === undefined ? {} : await readJson(file, MAX_SMALL_FILE_BYTES), {
    form: "json",
    code: "ConfigurationInvalid",
    data,
  });
  return {
    ...settings,
    quorum: options.quorum ?? settings.quorum,
    trustDisk: options.trustDisk ?? settings.trustDisk,
    epoch: { ...settings.epoch, lengthMs: options.epochLength ?? settings.epoch.lengthMs },
    snapshot: { everyTransactions: options.snapshotEvery ?? settings.snapshot.everyTransactions },
  };
}

/** `majority`, `per-actor`, or the sizes of two quorums as `E/R`; whether they fit the nodes is checked with the constitution. */
function quorumSetting(text: string): QuorumSetting {
  if (text === "majority") return { type: "majority" };
  if (text === "per-actor") return { type: "perActor" };
  const [, election, replication] = /^([1-9][0-9]?)\/([1-9][0-9]?)$/.exec(text) ?? [];
  if (election === undefined || replication === undefined)
    throw new InvalidArgumentError("Expected majority, per-actor, or two numbers such as 3/2.");
  return { type: "flexible", election: Number(election), replication: Number(replication) };
}
