/** `coco attest verify`: checks evidence of a TEE offline, and says of each check what came out. */
import { type Command, InvalidArgumentError, type Option } from "commander";
import type { PcrValues } from "../../core/governance/policy-snp.ts";
import { fromHex } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { parseStrictJson } from "../../core/codec/json.ts";
import { readText } from "../arguments.ts";
import { addTrustCommand } from "../network-commands.ts";
import { type CommandContext, type Output, printFields, printJson, reportError } from "../output.ts";
import type { EvidenceFiles, TeeName } from "./inputs.ts";
import type { ClaimValue, Judgement, JudgeOptions } from "./judge.ts";

/** Largest policy file in bytes. */
export const MAX_POLICY_FILE_BYTES = 1024 * 1024;

const TEES = ["snp", "sgx", "tdx", "vsm", "uvm", "maa"];
const EXIT_OF_VERDICT = { accept: 0, reject: 1, error: 2 } as const;

const HELP = `
Examples: a folder as the platforms write them, or files.
  coco attest verify /opt/uvm-context --report report.bin          an Azure container's security context with its report
  coco attest verify --tee snp --report report.bin --certs vcek.der
  coco attest verify --tee tdx --quote quote.bin --collateral collateral.json --at 2026-03-18T00:00:00Z
  coco attest verify --tee uvm --uvm reference-info-base64
  coco attest verify --tee maa --token token.jwt --jwks jwks.json
  coco attest verify --recorded evidence/2.4-0a1b….json             what a ledger has recorded of a node

Nothing is fetched. Roots are those of AMD and Intel, built in. Who else is trusted stands in the policy; without one, Microsoft's
endorsements of Azure's utility VMs count in any version, a token's keys are those of --jwks, whoever issued it, and nobody vouches
for a VBS enclave. Nobody but --machine-key vouches for a machine of the virtual TEE. What a machine with a virtual TPM booted is
judged by "pcrs" of the policy, without which it is rejected, and by --pcr; with neither policy nor --pcr that is left open.
Otherwise the strict policy counts: --allow opens it by name, such as v2,vlek,vmpl1,debug,SWHardeningNeeded.

An option that has nothing to do with the evidence, and a second piece of evidence, are wrong usage: nothing is left aside unseen.

Exit code 0: accepted. 1: rejected; the reasons are printed. 2: wrong usage, or evidence that can't be read. What goes with evidence
and is missing or can't be read rejects it.`;

interface VerifyOptions extends Omit<EvidenceFiles, "tee"> {
  readonly recorded?: string;
  readonly tee?: string;
  readonly at?: string;
  readonly policy?: string;
  readonly allow?: string;
  readonly measurement?: string;
  readonly reportData?: string;
  readonly nonce?: string;
  readonly pcr: PcrValues;
  readonly machineKey?: readonly string[];
}

/** Adds `coco attest`. */
export function addAttestCommands(program: Command, context: CommandContext): void {
  const attest = program.command("attest").description("evidence of trusted execution environments");
  const command = attest.command("verify");
  command
    .description("check evidence offline")
    .argument("[folder]", "a folder with evidence")
    .option("--tee <name>", `what the evidence is of: ${TEES.join(", ")}; told by its form where it can be`)
    .option(
      "--report <file>",
      "report of SNP or of a VBS enclave: binary, hex or base64; or evidence of a vTPM as for --vtpm",
    )
    .option("--certs <files...>", "certificates that go with it: PEM, DER, JSON as Azure writes it, or base64 of these")
    .option("--quote <file>", "quote of SGX or TDX: binary, hex or base64")
    .option("--collateral <file>", "collateral of the quote, JSON")
    .option("--crl <files...>", "SNP: lists of certificates that AMD's root revoked: DER, PEM or base64")
    .option("--uvm <file>", "endorsement of a utility VM: COSE, binary, hex or base64")
    .option("--token <file>", "token of Azure Attestation")
    .option("--jwks <file>", "keys of its issuer, JSON")
    .option("--vtpm <file>", "evidence of an Azure confidential VM's vTPM, JSON")
    .option(
      "--recorded <file>",
      "evidence of a node as coco ledger evidence --out wrote it; judged at the time of its record",
    )
    .option("--security-policy <file>", "what the report's host data must be the digest of, as it is or base64")
    .option("--runtime-data <file>", "what the report data must be the digest of")
    .option("--measurement <hex>", "what the measurement must be")
    .option("--report-data <hex>", "what the report data must be, all 64 bytes")
    .option("--nonce <hex>", "what the quote of a vTPM must answer")
    .option(
      "--pcr <number=hex>",
      "what a register of the vTPM must hold, beside the policy; repeatable",
      collectPcr,
      {},
    )
    .option("--machine-key <hex...>", "virtual: keys of machines that count, as the TEE manifest lists them")
    .option("--at <time>", "time of verification, ISO 8601; now unless given")
    .option("--policy <file>", "appraisal policy, JSON; the strict one unless given")
    .option("--allow <names>", "what to allow beside it, separated by commas; repeatable", (names, before?: string) =>
      before === undefined ? names : `${before},${names}`,
    )
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((folder: string | undefined, options: VerifyOptions, command: Command) =>
      verify(context, folder, options, command.optsWithGlobals()["json"] === true),
    );
  for (const option of command.options.filter(takesOne)) option.argParser(once);
  addTrustCommand(attest.command("network"), context);
}

function takesOne({ required, variadic, parseArg }: Option): boolean {
  return required && !variadic && parseArg === undefined;
}

/** Of two values the first would be left aside. */
function once(value: string, before: string | undefined): string {
  if (before !== undefined) throw new InvalidArgumentError(`It was given before, as ${before}; only one counts.`);
  return value;
}

async function verify(
  context: CommandContext,
  folder: string | undefined,
  options: VerifyOptions,
  asJson: boolean,
): Promise<void> {
  try {
    await judgeFiles(context, folder, options, asJson);
  } catch (error) {
    // Nothing was verified: that is neither of the two verdicts.
    if (!(error instanceof CocoError) || !["ConfigurationInvalid", "WrongUsage"].includes(error.code)) throw error;
    const { code, message } = error;
    const { tee = null } = options;
    if (asJson) printJson(context.output, { tee, verdict: "error", reasons: [code], claims: {}, error: message });
    context.exitCode = reportError(context.output, new CocoError("WrongUsage", message), false);
  }
}

async function judgeFiles(
  context: CommandContext,
  folder: string | undefined,
  options: VerifyOptions,
  asJson: boolean,
): Promise<void> {
  const { policiesFor } = await import("./policies.ts");
  const { isReasonCode, REASONS } = await import("../../attestation/reasons.ts");
  const { tee, at, policy, allow, measurement, reportData, nonce, pcr, recorded, machineKey, ...files } = options;
  const named: EvidenceFiles = { ...filesOnly(files), ...(tee !== undefined && { tee: teeOf(tee) }) };
  const given = recorded === undefined ? await contentOf(folder, named) : await recordOf(recorded, folder, named);
  requireApplicable(given, options);
  const document = policy === undefined ? undefined : await readPolicyFile(policy);
  const names = (allow ?? "").split(",").filter((name) => name.trim() !== "");
  const nowMs = at === undefined ? (given.timeMs ?? Date.now()) : timeOf(at);
  const judgement = given.judge({
    nowMs,
    policies: policiesFor(given.tee, document, names, policy),
    expected: {
      ...(measurement !== undefined && { measurement: hexOf("--measurement", measurement) }),
      ...(reportData !== undefined && { reportData: hexOf("--report-data", reportData) }),
      ...(nonce !== undefined && { nonce: fromHex(hexOf("--nonce", nonce)) }),
      pcrs: pcr,
      ...(machineKey !== undefined && { machineKeys: machineKey.map((key) => hexOf("--machine-key", key)) }),
    },
  });
  context.exitCode = EXIT_OF_VERDICT[judgement.verdict];
  const by = { verifiedAt: new Date(nowMs).toISOString(), policy: policy ?? "strict", allowed: names };
  const explained = judgement.reasons.filter(isReasonCode).map((reason) => ({ reason, ...REASONS[reason] }));
  if (asJson) printJson(context.output, { ...judgement, explained, ...by });
  else {
    printJudgement(context.output, judgement, { ...by, allowed: names.join(",") || "nothing more" });
    for (const { reason, meaning, remedy } of explained) context.output.data(`\n${reason}: ${meaning}\n  ${remedy}\n`);
  }
}

/** An option that would not be looked at is an error: the verdict would be taken for an answer to it. */
function requireApplicable({ tee, vtpm, isRecorded }: GivenEvidence, options: VerifyOptions): void {
  const { nonce, pcr, policy, machineKey } = options;
  const isMachine = tee === "snp" && vtpm !== undefined;
  const refuse = (problem: string): never => {
    throw new CocoError("WrongUsage", problem);
  };
  if (nonce !== undefined && !isMachine) refuse("--nonce goes with --vtpm: other evidence binds --report-data");
  if (Object.keys(pcr).length > 0 && !isMachine && !(isRecorded && tee === "snp"))
    refuse("--pcr goes with --vtpm, or with --recorded evidence of SNP: others have no TPM");
  if (machineKey !== undefined && tee !== "virtual")
    refuse("--machine-key goes with --recorded evidence of the virtual TEE: hardware is told by its maker's keys");
  if (tee === "virtual" && policy !== undefined)
    refuse("--policy: evidence of the virtual TEE has nothing that a policy judges");
}

/** Evidence that is at hand, and how it is judged. */
interface GivenEvidence {
  readonly tee: TeeName | "virtual";
  readonly vtpm?: Uint8Array;
  /** Whether a ledger has recorded it. */
  readonly isRecorded: boolean;
  /** When it was recorded. */
  readonly timeMs?: number;
  readonly judge: (options: JudgeOptions) => Judgement;
}

async function contentOf(folder: string | undefined, named: EvidenceFiles): Promise<GivenEvidence> {
  const [{ filesOfFolder, requireFitting }, { readEvidence }, { judgeEvidence }] = await Promise.all([
    import("./inputs.ts"),
    import("./content.ts"),
    import("./judge.ts"),
  ]);
  const content = await readEvidence(folder === undefined ? named : await filesOfFolder(folder, named));
  requireFitting(content.tee, named);
  return {
    tee: content.tee,
    isRecorded: false,
    ...(content.vtpm !== undefined && { vtpm: content.vtpm }),
    judge: (options) => judgeEvidence(content, options),
  };
}

async function recordOf(file: string, folder: string | undefined, named: EvidenceFiles): Promise<GivenEvidence> {
  if (folder !== undefined || Object.keys(named).length > 0)
    throw new CocoError("WrongUsage", "--recorded: the file has all of the evidence; name no other");
  const { judgeRecorded, readRecorded } = await import("./recorded.ts");
  const record = await readRecorded(file);
  const { tee, timeMs } = record;
  return { tee, isRecorded: true, timeMs, judge: (options) => judgeRecorded(record, options) };
}

/** A policy that names something twice would be read one way here and another way by its author. */
async function readPolicyFile(file: string): Promise<unknown> {
  const text = await readText(file, MAX_POLICY_FILE_BYTES);
  try {
    parseStrictJson(text);
    return JSON.parse(text);
  } catch (error) {
    const problem = error instanceof CocoError ? error.message : "not JSON";
    throw new CocoError("ConfigurationInvalid", `${file}: ${problem}`, { file }, { cause: error });
  }
}

/** The files among the options, without what stands for all commands. */
function filesOnly(options: Omit<EvidenceFiles, "tee">): Omit<EvidenceFiles, "tee"> {
  const { report, certs, crl, quote, collateral, uvm, token, jwks, vtpm, securityPolicy, runtimeData } = options;
  const files = { report, certs, crl, quote, collateral, uvm, token, jwks, vtpm, securityPolicy, runtimeData };
  return Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined));
}

function teeOf(name: string): TeeName {
  if (!TEES.includes(name)) throw new CocoError("WrongUsage", `--tee ${name}: expected one of ${TEES.join(", ")}`);
  return name as TeeName;
}

/** Collects `--pcr 7=…`. */
function collectPcr(text: string, before: PcrValues): PcrValues {
  const [, number = "", value = ""] = /^(\d|1\d|2[0-3])=([0-9a-f]{64})$/i.exec(text) ?? [];
  if (value === "") throw new InvalidArgumentError("Expected NUMBER=HEX: 0 to 23, and 64 hex digits (SHA-256).");
  if (before[Number(number)] !== undefined) throw new InvalidArgumentError(`Register ${number} was given before.`);
  return { ...before, [Number(number)]: value.toLowerCase() };
}

/** Lower-case hex of an option that may have been given with 0x. */
function hexOf(option: string, text: string): string {
  const hex = text.replace(/^0x/i, "").toLowerCase();
  if (!/^(?:[0-9a-f]{2})+$/.test(hex))
    throw new CocoError("WrongUsage", `${option}: expected hex, not ${text || "nothing"}`);
  return hex;
}

function timeOf(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  // A day that does not exist would become another one.
  const day = text.slice(0, 10);
  if (Number.isNaN(ms) || new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) !== day)
    throw new CocoError("WrongUsage", `--at ${text}: expected a time like 2026-03-18T00:00:00Z`);
  return ms;
}

function printJudgement(output: Output, judgement: Judgement, by: Readonly<Record<string, string>>): void {
  const { tee, verdict, reasons, tcbStatus, claims, checks, error } = judgement;
  for (const check of checks) {
    const mark = { passed: "ok  ", failed: "FAIL", skipped: "-   " }[check.outcome];
    const code = check.outcome === "failed" ? `: ${check.code}` : "";
    const detail = check.outcome === "passed" ? "" : `${code}: ${check.detail}`;
    output.data(`${mark}  ${check.name}${detail}\n`);
  }
  if (checks.length > 0) output.data("\n");
  printFields(output, {
    tee,
    ...lines(claims),
    ...(tcbStatus !== undefined && { tcbStatus }),
  });
  output.data("\n");
  printFields(output, {
    verdict,
    ...(reasons.length > 0 && { reasons: reasons.join(", ") }),
    ...(error !== undefined && { error }),
    ...by,
  });
}

/** Claims as lines; what is nested has the names of what it is in before its own. */
function lines(claims: Readonly<Record<string, ClaimValue>>, prefix = ""): Record<string, string> {
  return Object.assign(
    {},
    ...Object.entries(claims).map(([name, value]) =>
      typeof value === "object" && !Array.isArray(value)
        ? lines(value as Readonly<Record<string, ClaimValue>>, `${prefix}${name}.`)
        : { [`${prefix}${name}`]: inWords(name, value) },
    ),
  ) as Record<string, string>;
}

function inWords(name: string, value: ClaimValue): string {
  if (typeof value === "number" && name.endsWith("Ms")) return new Date(value).toISOString();
  if (!Array.isArray(value)) return String(value);
  const entries = value.map((entry: ClaimValue) => (typeof entry === "object" ? JSON.stringify(entry) : String(entry)));
  return entries.join(" ") || "none";
}
