/** `coco ledger evidence`: what a ledger has recorded of its nodes, judged again, and written to files. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { loadGovernanceCrypto } from "../host/script-engine-file.ts";
import { CocoError } from "../errors.ts";
import { createOutput } from "./arguments.ts";
import {
  attestationJson,
  attestationLines,
  attestationsOf,
  judgeAttestations,
  recordedFile,
  type JudgedAttestation,
  type ToldAttestation,
} from "./ledger-attestations.ts";
import { loadLedgerGovernance, openLedgerFolder, verifyFolder, type LedgerReport } from "./ledger-reader.ts";
import { type CommandContext, printJson } from "./output.ts";

/** Most records of evidence that `coco ledger evidence` tells at once; `--newest` and `--node` tell fewer. */
export const MAX_TOLD_ATTESTATIONS = 10_000;

/** Options of `coco ledger evidence`. */
export interface EvidenceOptions {
  readonly node?: string;
  readonly newest?: boolean;
  readonly out?: string;
}

/** Tells what is recorded, and returns what verification of the ledger found. */
export async function tellEvidence(
  context: CommandContext,
  dir: string,
  { node, newest = false, out }: EvidenceOptions,
  asJson: boolean,
): Promise<LedgerReport> {
  const ledger = await openLedgerFolder(dir);
  const crypto = await loadGovernanceCrypto();
  const found = new Map<string, ToldAttestation>();
  const { report, state } = verifyFolder(ledger, await loadLedgerGovernance(), (batch, _tail, before, after) => {
    for (const record of attestationsOf(batch, { before, after }, crypto)) {
      const { nodeId } = record.node;
      if (!nodeId.startsWith(node ?? "")) continue;
      // In the order of the ledger: a node's newer record goes behind.
      if (newest) found.delete(nodeId);
      found.set(newest ? nodeId : record.transactionId, record);
    }
    if (found.size > MAX_TOLD_ATTESTATIONS)
      throw new CocoError(
        "LimitExceeded",
        `more than ${MAX_TOLD_ATTESTATIONS} records of evidence: --newest or --node tells fewer`,
      );
  });
  const wanted =
    state === undefined ? [] : judgeAttestations([...found.values()], state, report.lastTimeMs ?? 0, crypto);
  const files = out === undefined ? [] : await writeFiles(context, out, wanted);
  if (asJson)
    printJson(context.output, {
      network: report.networkId ?? null,
      evidence: wanted.map((record, at) => ({
        ...attestationJson(record),
        ...{ isNewest: record.isNewest, againstAtEnd: record.against, file: files[at] ?? null },
      })),
    });
  else for (const line of wanted.flatMap(attestationLines)) context.output.data(`${line}\n`);
  if (wanted.length === 0 && report.bad === undefined) context.output.talk("there is no such record of evidence\n");
  return report;
}

async function writeFiles(
  { output }: CommandContext,
  folder: string,
  records: readonly JudgedAttestation[],
): Promise<readonly string[]> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new CocoError("ConfigurationInvalid", `${folder}: cannot be made`, { file: folder }, { cause: error });
  }
  const files: string[] = [];
  for (const record of records) {
    const file = join(folder, `${record.transactionId}-${record.node.nodeId.slice(0, 16)}.json`);
    await createOutput(output, file, recordedFile(record));
    files.push(file);
  }
  return files;
}
