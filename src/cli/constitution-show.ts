/** `coco constitution check` and `show`: a constitution in words. */
import { toHex } from "../core/codec/bytes.ts";
import { constitutionDigest, constitutionToJson } from "../core/governance/constitution-codec.ts";
import type { Constitution } from "../core/governance/constitution.ts";
import { requireUsable } from "../core/governance/actions-certificates.ts";
import { manifestNotes } from "../core/governance/manifest-notes.ts";
import { isRefusal } from "../core/governance/refusal.ts";
import { type ExplainedPart, explainConstitution } from "../core/governance/constitution-words.ts";
import { createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { connect } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { readStanding } from "./governance-reader.ts";
import { type CommandContext, EXIT, type Output, printFields, printJson } from "./output.ts";

/** Certificates that speak for nobody now, in words: a founder's typing error, or time. */
export function unusableCertificates({ actors }: Constitution): readonly string[] {
  const context = { crypto: createGovernanceCrypto(), nowMs: Date.now() };
  return actors.flatMap(({ id, certificates }) =>
    certificates.flatMap((certificate, at) => {
      try {
        requireUsable(certificate, context);
        return [];
      } catch (error) {
        if (!(error instanceof CocoError) || !isRefusal(error)) throw error;
        return [`${id}, certificates[${at}]: ${error.message}`];
      }
    }),
  );
}

/** Tells what holds, and is probably a mistake. */
export function printNotes(output: Output, notes: readonly string[]): void {
  for (const note of notes) output.talk(`note: ${note}\n`);
}

/** Runs `coco constitution check`. */
export async function check(context: CommandContext, file: string, asJson: boolean): Promise<void> {
  const { readConstitutionFile } = await import("../host/genesis.ts");
  try {
    const constitution = await readConstitutionFile(file);
    const notes = [...unusableCertificates(constitution), ...manifestNotes(constitution, Date.now())];
    print(context.output, constitution, { valid: true, notes }, asJson);
    if (!asJson) printNotes(context.output, notes);
  } catch (error) {
    if (!asJson || !(error instanceof CocoError) || error.code !== "ConstitutionInvalid") throw error;
    const { code, message, remedy, data } = error;
    printJson(context.output, { valid: false, error: { code, message, remedy, field: data["field"] ?? null } });
    context.exitCode = EXIT.failed;
  }
}

/** Runs `coco constitution show`. */
export async function show(
  { output }: CommandContext,
  options: ConnectionOptions & { readonly json?: boolean },
): Promise<void> {
  const client = await connect(options);
  try {
    const { state } = await readStanding(client, createGovernanceCrypto());
    print(output, state.constitution, { networkId: state.networkId }, options.json === true);
  } finally {
    client.close();
  }
}

function print(
  output: Output,
  constitution: Constitution,
  more: Readonly<Record<string, string | boolean | readonly string[]>>,
  asJson: boolean,
): void {
  const { version } = constitution;
  const { name } = constitution.network;
  const digest = toHex(constitutionDigest(constitution, sha256));
  const parts = explainConstitution(constitution, createGovernanceCrypto());
  if (asJson) {
    const document: unknown = JSON.parse(constitutionToJson(constitution));
    return printJson(output, { ...more, version, digest, explanation: parts, constitution: document });
  }
  const { networkId } = more;
  printFields(output, {
    network: name,
    version,
    digest,
    ...(typeof networkId === "string" && { network_id: networkId }),
  });
  for (const part of parts) printPart(output, part);
}

function printPart(output: Output, { title, lines }: ExplainedPart): void {
  output.data(`\n${title}\n${lines.map((line) => `  ${line}\n`).join("")}`);
}
