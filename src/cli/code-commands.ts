/**
 * `coco code`: measuring code, and voting it into a running network (R8, R10) with members' own keys: one member proposes,
 * members vote, anyone assembles the approval and puts it into the node folders that are to run the new code.
 */
import type { Command } from "commander";
import type { CodeEntry } from "../core/governance/constitution.ts";
import { CocoError } from "../errors.ts";
import { collect, createOutput, readText } from "./arguments.ts";
import { type CommandContext, printFields, printJson } from "./output.ts";

const MAX_KEY_FILE_BYTES = 16 * 1024;

const PROPOSE_HELP = `
Example:
  curl --cacert service_cert.pem --cert acme_cert.pem --key acme_privk.pem \\
    https://127.0.0.1:8645/node/constitution > constitution.json
  coco code propose --genesis genesis.json --constitution constitution.json --member acme --key acme_privk.pem \\
    --out new-code.proposal

Proposes this installation's own code unless --code names a file of coco code measure --json.`;

const VOTE_HELP = `
Example:
  coco code vote --proposal new-code.proposal --code measured-by-us.json --member globex --key globex_privk.pem \\
    --out globex.ballot

Votes for nothing but the code you name: your own measurement (--code), or else this installation's own code.`;

const ASSEMBLE_HELP = `
Example:
  coco code assemble --genesis genesis.json --constitution constitution.json --proposal new-code.proposal \\
    --ballot acme.ballot --ballot globex.ballot --out node0/approval.cbor

Judges the votes by the network's own policy first. A node reads the file when it starts: from then on it trusts the new
code and puts the approval into the ledger. A running node has to be restarted.`;

interface StandingOptions {
  readonly genesis: string;
  readonly constitution?: string;
}

interface SignerOptions {
  readonly member: string;
  readonly key: string;
  readonly code?: string;
  readonly out: string;
}

/** Adds `coco code`. */
export function addCodeCommands(program: Command, context: CommandContext): void {
  const code = program.command("code").description("measuring and approving code");
  code
    .command("measure")
    .description("print the measurement of this installation's code")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  coco code measure --json > measured-by-us.json")
    .action((_options, command: Command) => measure(context, command.optsWithGlobals()["json"] === true));
  signerOptions(standingOptions(code.command("propose").description("propose code for the code manifest")))
    .addHelpText("after", PROPOSE_HELP)
    .action((options: StandingOptions & SignerOptions) => propose(context, options));
  signerOptions(code.command("vote").description("vote on a proposal"))
    .requiredOption("--proposal <file>", "file of coco code propose")
    .option("--against", "vote against it")
    .addHelpText("after", VOTE_HELP)
    .action((options: SignerOptions & VoteOptions) => vote(context, options));
  standingOptions(code.command("assemble").description("put a proposal and its ballots together into an approval"))
    .requiredOption("--proposal <file>", "file of coco code propose")
    .requiredOption("--ballot <file>", "file of coco code vote; repeatable", collect, [])
    .requiredOption("--out <file>", "file to write: approval.cbor in a node's folder")
    .addHelpText("after", ASSEMBLE_HELP)
    .action((options: StandingOptions & AssembleOptions) => assemble(context, options));
}

interface VoteOptions {
  readonly proposal: string;
  readonly against?: boolean;
}

interface AssembleOptions {
  readonly proposal: string;
  readonly ballot: readonly string[];
  readonly out: string;
}

function standingOptions(command: Command): Command {
  return command
    .requiredOption("--genesis <file>", "genesis.json of the network")
    .option("--constitution <file>", "the constitution in force, as GET /node/constitution gives it; else the genesis");
}

function signerOptions(command: Command): Command {
  return command
    .requiredOption("--member <id>", "id of the signing member")
    .requiredOption("--key <file>", "private key of the member (PEM)")
    .option("--code <file>", "the code, a file of coco code measure --json")
    .requiredOption("--out <file>", "file to write");
}

async function measure({ output }: CommandContext, asJson: boolean): Promise<void> {
  const { ownCode } = await import("./own-code.ts");
  const code = await ownCode();
  if (asJson) printJson(output, code);
  else output.data(`${code.measurement}\n`);
}

async function codeOf(file: string | undefined): Promise<CodeEntry> {
  if (file === undefined) return await (await import("./own-code.ts")).ownCode();
  const { readJsonFile } = await import("../host/node-folder.ts");
  const { readCodeIdentity } = await import("../core/governance/constitution-codec.ts");
  return await readJsonFile(file, readCodeIdentity);
}

async function readStanding(options: StandingOptions) {
  const { readConstitutionFile } = await import("../host/genesis.ts");
  const { constitutionDigest } = await import("../core/governance/constitution-codec.ts");
  const { sha256 } = await import("../enclave/manager/node-crypto.ts");
  const genesis = await readConstitutionFile(options.genesis);
  if (genesis.version !== 1)
    throw new CocoError("ConfigurationInvalid", `${options.genesis}: not a genesis constitution`, {
      file: options.genesis,
    });
  const constitution = options.constitution === undefined ? genesis : await readConstitutionFile(options.constitution);
  const networkId = Buffer.from(constitutionDigest(genesis, sha256)).toString("hex");
  return { networkId, constitution, constitutionDigest: constitutionDigest(constitution, sha256) };
}

async function readSigner({ member, key }: SignerOptions) {
  const { signerOf } = await import("../host/genesis.ts");
  return signerOf(member, await readText(key, MAX_KEY_FILE_BYTES));
}

async function readSigned(file: string): Promise<Uint8Array> {
  const { readConfigurationFile } = await import("../host/files.ts");
  const { MAX_PROPOSAL_BYTES } = await import("../core/governance/decision.ts");
  return await readConfigurationFile(file, MAX_PROPOSAL_BYTES);
}

async function propose({ output }: CommandContext, options: StandingOptions & SignerOptions): Promise<void> {
  const { basisOf, signProposal } = await import("../core/governance/decision.ts");
  const standing = await readStanding(options);
  const { measurement, name, version } = await codeOf(options.code);
  const signed = signProposal(
    { action: "approve_code", ...basisOf(standing), measurement, name, version },
    await readSigner(options),
  );
  await createOutput(output, options.out, signed);
  printFields(output, {
    network: standing.networkId,
    constitution: standing.constitution.version,
    code: `${name} ${version}`,
    measurement,
  });
  output.talk("next: members vote with coco code vote\n");
}

async function vote({ output }: CommandContext, options: SignerOptions & VoteOptions): Promise<void> {
  const { proposalDigest, readProposal, signBallot } = await import("../core/governance/decision.ts");
  const { sha256 } = await import("../enclave/manager/node-crypto.ts");
  const proposal = await readSigned(options.proposal);
  const content = readProposal(proposal);
  if (content.action !== "approve_code")
    throw new CocoError("ProposalInvalid", `the proposal is to ${content.action}, not to approve code`);
  const { networkId, constitutionVersion, measurement, name, version } = content;
  const isAgainst = options.against === true;
  if (!isAgainst && (await codeOf(options.code)).measurement !== measurement) {
    throw new CocoError(
      "ProposalInvalid",
      `the proposal is for measurement ${measurement}, not for the code you named; no ballot was signed`,
    );
  }
  const ballot = { proposal: proposalDigest(proposal, { sha256 }), vote: isAgainst ? "against" : "for" } as const;
  await createOutput(output, options.out, signBallot(ballot, await readSigner(options)));
  printFields(output, {
    vote: ballot.vote,
    network: networkId,
    constitution: constitutionVersion,
    code: `${name} ${version}`,
    measurement,
  });
}

async function assemble({ output }: CommandContext, options: StandingOptions & AssembleOptions): Promise<void> {
  const { encodeDecision, judgeDecision } = await import("../core/governance/decision.ts");
  const { createGovernanceCrypto } = await import("../enclave/manager/node-crypto.ts");
  const [proposal, ballots] = await Promise.all([
    readSigned(options.proposal),
    Promise.all(options.ballot.map(readSigned)),
  ]);
  const approval = { proposal, ballots };
  const { constitution: next } = judgeDecision(await readStanding(options), approval, createGovernanceCrypto());
  await createOutput(output, options.out, encodeDecision(approval));
  printFields(output, { constitution: next.version, measurement: next.codeManifest.at(-1)?.measurement ?? "" });
}
