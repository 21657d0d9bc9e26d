/** `coco ledger`: verifying, showing and exporting the ledger of a folder offline, without keys. */
import { type Command, InvalidArgumentError } from "commander";
import { CocoError } from "../errors.ts";
import { createOutput, readText } from "./arguments.ts";
import { type CommandContext, EXIT, printFields, printJson } from "./output.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import type { LedgerTail } from "../core/ledger/tail.ts";
import type { BadPlace, LedgerReport, VerifiedFolder } from "./ledger-reader.ts";
import type { BatchSurroundings } from "./ledger-attestations.ts";
import type { EvidenceOptions } from "./ledger-evidence.ts";
import type { SeqnoRange } from "./ledger-lines.ts";
import type { StartReport } from "./ledger-start.ts";

const MAX_CERTIFICATE_FILE_BYTES = 1024 * 1024;
/** Most bytes that `coco ledger export --out` writes at once; a larger range is exported in pieces. */
export const EXPORT_BYTES_MAX = 256 * 1024 * 1024;

const OTHER_SERVICE = "the ledger is of a service with another certificate than the one given";

const VERIFY_HELP = `
Example:
  coco ledger verify node0 --service-cert service_cert.pem --expect 4.1052

DIR is a node's folder or its ledger folder; the node may be running. Every batch is checked from the genesis on: form, chain,
Merkle root, signature, the votes behind every change of the constitution, and the endorsements behind every change of the service
identity: the certificate given may be of any of them. What is sealed stays sealed. Where a leader's snapshot has taken the place
of the beginning, checks begin behind it: what came before is not in the folder, and the snapshot is taken at its word.
--from-genesis refuses such a folder.

The certificate of a service stands in a ledger as data, which anybody can copy into one of their own. Where whoever gives you the folder
is not trusted, name the network as well: --network-id, the digest of its first constitution, as its members know it.

A ledger whose end was cut off is a shorter ledger that holds: only who knows of a later transaction can tell. --expect demands
that the ledger has a transaction, whose id a receipt or an answer gave: end every audit with the newest one you know. A last entry
that is incomplete is bad: it was cut off, or a crash left it, and the node cuts it off when it starts. Of a running node, which may just
be writing, it is only told as unfinished bytes behind the last transaction.
Exit code 0: all of it holds. 1: it does not, or what was expected is not there; the first bad entry or missing place is named.
2: wrong usage.`;

const SHOW_HELP = `
Example:
  coco ledger show node0 --range 1-20
  coco ledger show node0 --administrative --json

One line per batch and per transaction; with --json one JSON value per line. Ranges are of sequence numbers.`;

const EXPORT_HELP = `
Example:
  coco ledger export node0 --range 1-1000 --out transactions.jsonl

One JSON value per transaction and line: public part, digests, and the path to the signed root of its batch.`;

const GOVERNANCE_HELP = `
Example:
  coco ledger governance node0 --service-cert service_cert.pem

Every proposal with who proposed it, who voted what and when, what it changed and what became of it. The whole ledger is
verified on the way, signatures of proposals and ballots included. Of a folder that does not begin with the genesis, what was
proposed and voted before its oldest snapshot is missing, and a note says so. Ends with 1, after what holds, when some of it
does not.`;

const EVIDENCE_HELP = `
Example:
  coco ledger evidence node0 --newest
  coco ledger evidence node0 --out evidence && coco attest verify --recorded evidence/2.4-….json

For each record of what a node runs: the node, its code, TEE and TCB, when and by which version of the constitution it was
accepted, and whether the constitution at the end of the ledger still allows it. The whole ledger is verified on the way, and
each evidence again, with the roots built in; no network is needed. --out writes a file per record, with the node's keys and the
challenge, for coco attest verify --recorded under a policy of your own.`;

interface VerifyOptions {
  readonly serviceCert?: string;
  readonly networkId?: string;
  readonly fromGenesis?: boolean;
  readonly expect?: ExpectedTransaction;
}

/** A transaction that a ledger has to have. */
interface ExpectedTransaction {
  readonly view: number;
  readonly seqno: number;
}

interface ShowOptions {
  readonly range?: SeqnoRange;
  readonly administrative?: boolean;
}

interface ExportOptions {
  readonly range: SeqnoRange;
  readonly out?: string;
  readonly json?: boolean;
}

function parseRange(text: string): SeqnoRange {
  const [, from = "", to = from] = /^([1-9][0-9]{0,14})(?:-([1-9][0-9]{0,14}))?$/.exec(text) ?? [];
  const range = { from: Number(from), to: Number(to) };
  if (from === "" || range.to < range.from) throw new InvalidArgumentError("Expected sequence numbers A-B.");
  return range;
}

function parseTransaction(text: string): ExpectedTransaction {
  const [, view = "", seqno = ""] = /^([1-9][0-9]{0,14})\.([1-9][0-9]{0,14})$/.exec(text) ?? [];
  if (view === "") throw new InvalidArgumentError("Expected the id of a transaction, view.seqno.");
  return { view: Number(view), seqno: Number(seqno) };
}

function nodePrefix(text: string): string {
  if (/^[0-9a-f]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("Expected the first hex digits of a node's id.");
}

function networkIdOf(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new InvalidArgumentError("Expected the 64 hex digits of a network's id.");
}

/** Adds `coco ledger`. */
export function addLedgerCommands(program: Command, context: CommandContext): void {
  const ledger = program.command("ledger").description("the ledger of a node's folder, offline");
  const isJson = (command: Command): boolean => command.optsWithGlobals()["json"] === true;
  ledger
    .command("verify")
    .description("check the whole ledger, from its genesis on if it is there")
    .argument("<dir>", "a node's folder, or a ledger folder")
    .option("--service-cert <file>", "the ledger must be of the service with this certificate (PEM)")
    .option("--network-id <id>", "the ledger must be of the network with this id", networkIdOf)
    .option("--from-genesis", "refuse a ledger whose beginning is not in the folder")
    .option("--expect <view.seqno>", "the ledger must have this transaction", parseTransaction)
    .option("--json", "print JSON")
    .addHelpText("after", VERIFY_HELP)
    .action((dir: string, options: VerifyOptions, command: Command) => verify(context, dir, options, isJson(command)));
  ledger
    .command("show")
    .description("print batches and transactions")
    .argument("<dir>", "a node's folder, or a ledger folder")
    .option("--range <A-B>", "only these sequence numbers", parseRange)
    .option("--administrative", "only administrative transactions")
    .option("--json", "print one JSON value per line")
    .addHelpText("after", SHOW_HELP)
    .action((dir: string, options: ShowOptions, command: Command) => show(context, dir, options, isJson(command)));
  ledger
    .command("governance")
    .description("print proposals, votes and what became of them")
    .argument("<dir>", "a node's folder, or a ledger folder")
    .option("--service-cert <file>", "the ledger must be of the service with this certificate (PEM)")
    .option("--json", "print JSON")
    .addHelpText("after", GOVERNANCE_HELP)
    .action((dir: string, options: VerifyOptions, command: Command) =>
      governance(context, dir, options, isJson(command)),
    );
  ledger
    .command("evidence")
    .description("print what the nodes were recorded to run, and write the evidence to files")
    .argument("<dir>", "a node's folder, or a ledger folder")
    .option("--node <id>", "only of the node whose id begins so", nodePrefix)
    .option("--newest", "only the newest record of each node")
    .option("--out <folder>", "write a file per record into this folder")
    .option("--json", "print JSON")
    .addHelpText("after", EVIDENCE_HELP)
    .action((dir: string, options: EvidenceOptions, command: Command) =>
      evidence(context, dir, options, isJson(command)),
    );
  ledger
    .command("export")
    .description("write transactions as JSON lines")
    .argument("<dir>", "a node's folder, or a ledger folder")
    .requiredOption("--range <A-B>", "these sequence numbers", parseRange)
    .option("--out <file>", "write a new file instead of standard output")
    .option("--json", "with --out: print JSON about the file; what is exported is JSON anyway")
    .addHelpText("after", EXPORT_HELP)
    .action((dir: string, options: ExportOptions) => exportRange(context, dir, options));
}

function badEntry({ file, offset, index, seqno, reason, code }: BadPlace): CocoError {
  const message = `entry ${index}, from sequence number ${seqno}, in ${file} at byte ${offset}: ${reason}`;
  return new CocoError(code, message, { file, offset, index, seqno });
}

async function verify(context: CommandContext, dir: string, options: VerifyOptions, asJson: boolean): Promise<void> {
  const { isServiceOf, loadLedgerGovernance, openLedgerFolder, verifyFolder } = await import("./ledger-reader.ts");
  const certificate =
    options.serviceCert === undefined ? undefined : await readText(options.serviceCert, MAX_CERTIFICATE_FILE_BYTES);
  const ledger = await openLedgerFolder(dir);
  const verified = verifyFolder(ledger, await loadLedgerGovernance());
  const { report } = verified;
  const missing = options.expect && missingPlace(options.expect, verified);
  const isService = certificate === undefined ? undefined : isServiceOf(report, certificate);
  const isForeign = options.networkId !== undefined && options.networkId !== report.networkId;
  const isCut = options.fromGenesis === true && ledger.layout.firstIndex > 1;
  const isValid =
    report.bad === undefined &&
    !isForeign &&
    !isCut &&
    missing === undefined &&
    isService !== false &&
    report.snapshots.every(({ problem }) => problem === undefined);
  // Of a ledger whose first entry is bad nobody can tell whose it is.
  const isOther = isService === false && (report.bad === undefined || report.services.length > 0);
  const other = isForeign && report.networkId ? "of another network" : isOther ? "of another service" : undefined;
  const verdict = other ?? verdictOf(report, isCut, missing);
  if (asJson)
    printJson(context.output, {
      valid: isValid,
      verdict,
      ...report,
      service: isService ?? null,
      missing: missing ?? null,
    });
  else printReport(context, report, verdict);
  if (isValid) return;
  context.exitCode = EXIT.failed;
  if (report.bad !== undefined) throw badEntry(report.bad);
  if (isCut) {
    const what = `the ledger begins after the snapshot of batch ${ledger.layout.firstIndex - 1}`;
    throw new CocoError("LedgerIncomplete", what);
  }
  if (missing !== undefined) throw new CocoError("LedgerIncomplete", missing);
  if (isService === false) throw new CocoError("LedgerOfAnotherService", OTHER_SERVICE);
  if (isForeign)
    throw new CocoError("LedgerOfAnotherService", `the ledger is of network ${report.networkId}, not of the one given`);
  const bad = report.snapshots.find(({ problem }) => problem !== undefined);
  throw new CocoError("LedgerCorrupt", `snapshot ${bad?.index}: ${bad?.problem}`);
}

/** Where a ledger has something else than a transaction that was expected, in words; undefined when the transaction is there. */
function missingPlace(
  { view, seqno }: ExpectedTransaction,
  { report, viewOfSeqno }: VerifiedFolder,
): string | undefined {
  const { lastSeqno, lastTransactionId = "nothing", start } = report;
  const what = `transaction ${view}.${seqno} is not in the ledger`;
  if (seqno > lastSeqno)
    return `${what}: it ends with ${lastTransactionId}, the first that is missing has sequence number ${lastSeqno + 1}`;
  if (start !== undefined && seqno <= start.seqno)
    return `${what} in this folder: what is verified begins with sequence number ${start.seqno + 1}`;
  const found = viewOfSeqno(seqno);
  return found === view ? undefined : `${what}: sequence number ${seqno} is of view ${found ?? "none"}, not of ${view}`;
}

function verdictOf(
  { bad, lastTransactionId, snapshots, unfinishedBytes }: LedgerReport,
  isCut: boolean,
  missing: string | undefined,
): string {
  const reached = lastTransactionId ?? "nothing";
  if (bad !== undefined) return `valid only to ${reached}`;
  if (missing !== undefined) return `valid to ${reached}; what was expected is missing`;
  if (isCut) return "without its genesis";
  if (snapshots.some(({ problem }) => problem !== undefined)) return `valid to ${reached}; a snapshot is damaged`;
  return unfinishedBytes === 0 ? "valid" : `valid to ${reached}; then ${unfinishedBytes} unfinished bytes`;
}

function printReport({ output }: CommandContext, report: LedgerReport, verdict: string): void {
  const { start } = report;
  printFields(output, {
    ledger: verdict,
    ...(start && startFields(start)),
    network: report.networkId ?? "not known",
    batches: `${(start?.index ?? 0) + 1}-${report.lastIndex}`,
    "sequence numbers": `${(start?.seqno ?? 0) + 1}-${report.lastSeqno}`,
    bytes: report.bytes,
    views: report.views.join(", "),
    epochs: report.epochs,
    "service identities": report.services.map(({ keyId, fromSeqno }) => `${keyId} from ${fromSeqno}`).join(", "),
    signers: report.signers.join(", "),
    "last root": report.lastRoot ?? "none",
    "last time": report.lastTimeMs === undefined ? "none" : new Date(report.lastTimeMs).toISOString(),
    "unfinished bytes at the end": report.unfinishedBytes,
    snapshots:
      report.snapshots.map(({ index, problem }) => `${index} (${problem ?? "form holds"})`).join(", ") || "none",
  });
}

/** What a reader must know of a ledger that does not begin with its genesis. */
function startFields({ index, firstIndex, evidenceIndex, keeper }: StartReport): Readonly<Record<string, string>> {
  const linked = firstIndex <= index ? `; ${firstIndex}-${index} lead to it by their digests` : "";
  return {
    "not in this folder": `batches 1-${firstIndex - 1}`,
    "taken at its word": `the open part of the snapshot of batch ${index}${linked}`,
    "evidence of it":
      evidenceIndex === undefined ? "none in what follows" : `batch ${evidenceIndex}; sealed with it by node ${keeper}`,
  };
}

/** Says what is not shown of a ledger that does not begin with its genesis. */
function noteStart({ output }: CommandContext, { start }: LedgerReport): void {
  if (start === undefined) return;
  const { index } = start;
  output.talk(
    `note: what stands in batches 1-${index} is not shown: the folder is read from the snapshot of batch ${index} on\n`,
  );
}

/** Verifies a folder and hands out lines for its batches; throws naming the first bad entry after those before it. */
async function printLines(
  context: CommandContext,
  dir: string,
  linesOf: (batch: ParsedBatch, tail: LedgerTail, around: BatchSurroundings) => readonly string[],
  print: (line: string) => void,
): Promise<LedgerReport> {
  const { loadLedgerGovernance, openLedgerFolder, verifyFolder } = await import("./ledger-reader.ts");
  const { report } = verifyFolder(
    await openLedgerFolder(dir),
    await loadLedgerGovernance(),
    (batch, tail, before, after) => linesOf(batch, tail, { before, after }).forEach(print),
  );
  noteStart(context, report);
  if (report.bad !== undefined) throw badEntry(report.bad);
  return report;
}

/** Says where the ledger ends when more of it was asked for. */
function noteEnd({ output }: CommandContext, report: LedgerReport, range: SeqnoRange | undefined): void {
  const { lastSeqno, lastTransactionId = "nothing" } = report;
  if (range !== undefined && range.to > lastSeqno) output.talk(`note: the ledger ends with ${lastTransactionId}\n`);
}

async function show(context: CommandContext, dir: string, options: ShowOptions, asJson: boolean): Promise<void> {
  const { showBatch } = await import("./ledger-lines.ts");
  const { attestationsOf } = await import("./ledger-attestations.ts");
  const { createGovernanceCrypto } = await import("../enclave/manager/node-crypto.ts");
  const crypto = createGovernanceCrypto();
  const { range, administrative = false } = options;
  const report = await printLines(
    context,
    dir,
    (batch, _tail, around) =>
      administrative && batch.header.kind !== "administrative"
        ? []
        : showBatch(batch, range, asJson, attestationsOf(batch, around, crypto)),
    (line) => context.output.data(`${line}\n`),
  );
  noteEnd(context, report, range);
}

async function evidence(
  context: CommandContext,
  dir: string,
  options: EvidenceOptions,
  asJson: boolean,
): Promise<void> {
  const { tellEvidence } = await import("./ledger-evidence.ts");
  const report = await tellEvidence(context, dir, options, asJson);
  noteStart(context, report);
  if (report.bad !== undefined) throw badEntry(report.bad);
}

async function governance(
  context: CommandContext,
  dir: string,
  options: VerifyOptions,
  asJson: boolean,
): Promise<void> {
  const { isServiceOf, loadLedgerGovernance, openLedgerFolder, verifyFolder } = await import("./ledger-reader.ts");
  const { GovernanceHistory, proposalLines } = await import("./ledger-governance.ts");
  const { loadGovernanceCrypto } = await import("../host/script-engine-file.ts");
  const certificate =
    options.serviceCert === undefined ? undefined : await readText(options.serviceCert, MAX_CERTIFICATE_FILE_BYTES);
  const ledger = await openLedgerFolder(dir);
  const crypto = await loadGovernanceCrypto();
  let history: InstanceType<typeof GovernanceHistory> | undefined;
  const { report } = verifyFolder(ledger, await loadLedgerGovernance(), (batch, _tail, before) => {
    history ??= new GovernanceHistory(crypto, before);
    history.see(batch);
  });
  const proposals = history?.proposals() ?? [];
  const isService = certificate === undefined ? undefined : isServiceOf(report, certificate);
  const isValid = report.bad === undefined && isService !== false;
  const { networkId: network = null, start = null } = report;
  if (asJson) printJson(context.output, { valid: isValid, network, start, proposals });
  else for (const line of proposals.flatMap(proposalLines)) context.output.data(`${line}\n`);
  if (proposals.length === 0 && report.bad === undefined && !asJson) context.output.talk("there are no proposals\n");
  noteStart(context, report);
  if (report.bad !== undefined) throw badEntry(report.bad);
  if (isService === false) throw new CocoError("LedgerOfAnotherService", OTHER_SERVICE);
}

async function exportRange(context: CommandContext, dir: string, { range, out, json }: ExportOptions): Promise<void> {
  const { exportBatch } = await import("./ledger-lines.ts");
  const linesOf = (batch: ParsedBatch, tail: LedgerTail): readonly string[] => exportBatch(batch, tail, range);
  if (out === undefined) {
    const print = (line: string): void => context.output.data(`${line}\n`);
    noteEnd(context, await printLines(context, dir, linesOf, print), range);
    return;
  }
  const lines: string[] = [];
  let bytes = 0;
  const collect = (line: string): void => {
    bytes += line.length + 1;
    if (bytes > EXPORT_BYTES_MAX)
      throw new CocoError("LimitExceeded", `the range is larger than ${EXPORT_BYTES_MAX} bytes; export it in pieces`);
    lines.push(`${line}\n`);
  };
  const report = await printLines(context, dir, linesOf, collect);
  await createOutput(context.output, out, lines.join(""));
  noteEnd(context, report, range);
  if (json === true) printJson(context.output, { file: out, transactions: lines.length });
}
