/** `coco constitution init`: assembles the constitution a network begins with (R11). */
import { CocoError } from "../errors.ts";
import { createOutput, type NamedValue, readJson, readText } from "./arguments.ts";
import type { InitOptions } from "./constitution-options.ts";
import { askForMissing } from "./constitution-questions.ts";
import { type CommandContext, printFields, printJson } from "./output.ts";

/** Largest file of adapter options in bytes. */
export const MAX_OPTIONS_FILE_BYTES = 4 * 1024 * 1024;
const MAX_SMALL_FILE_BYTES = 64 * 1024;

/** Runs `coco constitution init`. */
export async function init(context: CommandContext, given: InitOptions): Promise<void> {
  const { output } = context;
  const options = await askForMissing(context, given);
  const { assembleGenesis, readSignedNode } = await import("../host/genesis.ts");
  const { constitutionDigest, constitutionToJson } = await import("../core/governance/constitution-codec.ts");
  const { manifestNotes } = await import("../core/governance/manifest-notes.ts");
  const { readPolicies } = await import("./policy-argument.ts");
  const { readTeeEntries } = await import("./hardware-options.ts");
  const { printNotes, unusableCertificates } = await import("./constitution-show.ts");
  const { sha256 } = await import("../enclave/manager/node-crypto.ts");
  const { script } = options;
  const constitution = assembleGenesis({
    networkName: options.name,
    open: options.closed !== true,
    actors: [
      ...(await readFounders(options.member, "member")),
      ...(await readFounders(options.participant, "participant")),
    ],
    nodes: await Promise.all(options.node.map(readSignedNode)),
    codeManifest: await readCode(options),
    hardware: await readTeeEntries(options.tee),
    adapters: await Promise.all(options.adapter.map(readAdapterOptions)),
    policies: readPolicies(await readPoliciesFile(options.policies), options.policy),
    settings: await readSettingsOptions(options),
    ...(script !== undefined && { script: await readText(script, MAX_OPTIONS_FILE_BYTES) }),
  });
  const [unusable] = unusableCertificates(constitution);
  if (unusable !== undefined) throw new CocoError("ConstitutionInvalid", unusable, { field: "actors" });
  await createOutput(output, options.out, constitutionToJson(constitution));
  const networkId = Buffer.from(constitutionDigest(constitution, sha256)).toString("hex");
  const { actors, nodes } = constitution;
  const summary = { network: options.name, network_id: networkId, actors: actors.length, nodes: nodes.length };
  if (options.json === true) printJson(output, summary);
  else printFields(output, summary);
  printNotes(output, manifestNotes(constitution, Date.now()));
  output.talk("next: look at it with coco constitution check, compare the network id with the other founders,\n");
  output.talk("      then copy the file into each node's folder\n");
}

async function readPoliciesFile(file: string | undefined): Promise<unknown> {
  return file === undefined ? undefined : await readJson(file, MAX_SMALL_FILE_BYTES);
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

async function readCode({ code: files, measured }: Pick<InitOptions, "code" | "measured">) {
  const { ownCode } = await import("./own-code.ts");
  const { measuredCode } = await import("./hardware-options.ts");
  const { readJsonFile } = await import("../host/node-folder.ts");
  const { readCodeIdentity } = await import("../core/governance/manifest-codec.ts");
  const named = await Promise.all(files.map((file) => readJsonFile(file, readCodeIdentity)));
  const own = named.length > 0 && measured.length === 0 ? [] : [await ownCode()];
  return [...(named.length > 0 ? named : own), ...own.flatMap((code) => measuredCode(code, measured))];
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
async function readSettingsOptions(options: InitOptions) {
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
    nodesPerActor: options.nodesPerActor ?? settings.nodesPerActor,
    epoch: { ...settings.epoch, lengthMs: options.epochLength ?? settings.epoch.lengthMs },
    snapshot: { everyTransactions: options.snapshotEvery ?? settings.snapshot.everyTransactions },
  };
}
