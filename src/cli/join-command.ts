/** `coco node join`: asks for a place in a network that exists, until there is one, and lets the owner approve what it is told. */
import { createInterface } from "node:readline/promises";
import { setTimeout as wait } from "node:timers/promises";
import { type Command, Option } from "commander";
import type { JoinOffer, JoinTrust, Newcomer } from "../host/join.ts";
import { CocoError, type ErrorCode } from "../errors.ts";
import { LOG_LEVELS, readText } from "./arguments.ts";
import { type CommandContext, EXIT, forPeople, type Output, printJson } from "./output.ts";
import { runNode } from "./run-node.ts";
import { stopRequested } from "./stop-signals.ts";
import { addTeeOptions, type TeeOptions, teeSettings } from "./tee-options.ts";

/**
 * Waiting times of a newcomer between two requests, in milliseconds: the last one repeats. A request costs both sides a
 * signature or two, and somebody waits for the node once the members have voted.
 */
export const JOIN_RETRY_MS = [500, 1_000, 2_000, 5_000] as const;
/** Part of a waiting time that is left to chance, so that newcomers that were refused together do not come back together. */
const JITTER = 0.25;

const MAX_CERTIFICATE_FILE_BYTES = 64 * 1024;
/** Digits of the digest that an owner types at least. */
const CONFIRMED_DIGITS = 8;

const HELP = `
Example:
  coco node join --dir node4 --url https://node0.example.com:8443 --service-cert service_cert.pem --start

It asks until the members have voted for the node, then shows the constitution. The owner approves it: at the terminal, by
--approve DIGEST, or by --constitution FILE with a constitution that somebody trusted gave. Without an answer it ends with
code 3 and changes nothing.`;

/** What is worth another attempt: the vote may come, the node may be back. */
const AGAIN: readonly ErrorCode[] = [
  "JoinNotListed",
  "JoinChallengeUnknown",
  "JoinChallengeExpired",
  "JoinConstitutionDiffers",
  "NotReady",
  "TooManyRequests",
  "ChannelFailed",
];

interface JoinOptions extends TeeOptions {
  readonly dir: string;
  readonly url: string;
  readonly serviceCert?: string;
  readonly networkId?: string;
  readonly approve?: string;
  readonly constitution?: string;
  readonly start?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** How long to wait after an attempt, counted from 0; `chance` is from 0 to 1. */
export function joinDelayMs(attempt: number, chance: number): number {
  const longest = JOIN_RETRY_MS[Math.min(attempt, JOIN_RETRY_MS.length - 1)] as number;
  return Math.round(longest * (1 - JITTER * chance));
}

/** Adds `coco node join`. */
export function addJoinCommand(node: Command, context: CommandContext): void {
  const command = node
    .command("join")
    .description("join a network that exists")
    .requiredOption(
      "--dir <folder>",
      "folder made by coco node init; its owner has signed the entry, members vote on it",
    )
    .requiredOption("--url <url>", "where clients reach any node of the network")
    .option("--service-cert <file>", "certificate of the network's service (PEM), newest or older")
    .option("--network-id <hex>", "id of the network")
    .addOption(
      new Option("--approve <digest>", "digest of the constitution the owner approves").conflicts("constitution"),
    )
    .option("--constitution <file>", "constitution the owner approves (JSON)")
    .option("--start", "run the node afterwards")
    .addOption(new Option("--log-level <level>", "least severity of log lines").choices(LOG_LEVELS).default("info"));
  addTeeOptions(command, "what the node runs on (default: what node.json says)")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action((options: JoinOptions) => join(context, options));
}

async function join(context: CommandContext, options: JoinOptions): Promise<void> {
  const { readNewcomer, acceptOffer } = await import("../host/join.ts");
  const { output } = context;
  const json = options.json === true;
  const trust = await readTrust(options);
  const tee = teeSettings(options);
  const newcomer = await readNewcomer(options.dir, tee);
  const stop = stopRequested();
  const stopped = new AbortController();
  void stop.then(() => stopped.abort());
  const offers = offerOf(output, newcomer, { url: options.url, trust, signal: stopped.signal });
  const offer = await Promise.race([offers, stop.then(() => undefined)]);
  if (offer === undefined) {
    output.talk("stopped; nothing was changed\n");
    context.exitCode = EXIT.interrupted;
    return;
  }
  await show(output, offer, json);
  await requireApproval(output, options, offer, stop);
  await acceptOffer(newcomer, offer);
  output.talk(`approved; ${options.dir} is ready\n`);
  if (options.start === true) await runNode(context, { dir: options.dir, logLevel: options.logLevel, tee, json }, stop);
  else output.talk(`next: coco node start --dir ${options.dir}\n`);
}

async function readTrust({ serviceCert, networkId }: JoinOptions): Promise<JoinTrust> {
  if (serviceCert === undefined && networkId === undefined)
    throw new CocoError("ConfigurationInvalid", "expected --service-cert or --network-id, to know the network by");
  if (networkId !== undefined && !/^[0-9a-f]{64}$/.test(networkId))
    throw new CocoError("ConfigurationInvalid", "--network-id: expected 64 hexadecimal digits in lower case");
  return {
    ...(serviceCert !== undefined && { serviceCertificate: await readText(serviceCert, MAX_CERTIFICATE_FILE_BYTES) }),
    ...(networkId !== undefined && { networkId }),
  };
}

/** Asks again and again, with a line each time; throws what another attempt would not change. Undefined: told to stop. */
async function offerOf(
  output: Output,
  newcomer: Newcomer,
  { url, trust, signal }: { readonly url: string; readonly trust: JoinTrust; readonly signal: AbortSignal },
): Promise<JoinOffer | undefined> {
  const { requestJoin } = await import("../host/join.ts");
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await requestJoin(newcomer, url, trust);
    } catch (error) {
      if (!(error instanceof CocoError) || !AGAIN.includes(error.code)) throw error;
      const delayMs = joinDelayMs(attempt, Math.random());
      output.talk(`not yet (${error.code}: ${error.message}); again in ${(delayMs / 1_000).toFixed(1)} s\n`);
      await wait(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}

/** The constitution in words, and what to compare. */
async function show(output: Output, { networkId, constitution, digest }: JoinOffer, json: boolean): Promise<void> {
  const { explainConstitution } = await import("../core/governance/constitution-words.ts");
  const { createGovernanceCrypto } = await import("../enclave/manager/node-crypto.ts");
  const { network, version } = constitution;
  const words = explainConstitution(constitution, createGovernanceCrypto());
  const parts = words.map(({ title, lines }) => `${title}\n${lines.map((line) => `  ${line}\n`).join("")}`);
  const people = forPeople(output, json);
  people.data(`network ${network.name}, id ${networkId}\n${parts.join("")}`);
  people.data(`constitution version ${version}, digest ${digest}\n`);
  if (json) printJson(output, { network: network.name, networkId, constitutionVersion: version, digest });
}

async function requireApproval(
  output: Output,
  { approve, constitution }: JoinOptions,
  { digest }: JoinOffer,
  stop: Promise<unknown>,
): Promise<void> {
  const expected = constitution === undefined ? approve : await digestOfFile(constitution);
  if (expected !== undefined) {
    if (expected === digest) return;
    throw new CocoError("JoinNotApproved", `the constitution in force has digest ${digest}, not ${expected}`);
  }
  if (process.stdin.isTTY === true && (await confirmed(output, digest, stop))) return;
  throw new CocoError("JoinNotApproved", `nobody approved the constitution with digest ${digest}`);
}

async function digestOfFile(file: string): Promise<string> {
  const { readConstitutionFile } = await import("../host/genesis.ts");
  const { constitutionDigest } = await import("../core/governance/constitution-codec.ts");
  const { sha256 } = await import("../enclave/manager/node-crypto.ts");
  return Buffer.from(constitutionDigest(await readConstitutionFile(file), sha256)).toString("hex");
}

/** The owner types the beginning of the digest that a member told, so that nobody approves by habit. */
async function confirmed(output: Output, digest: string, stop: Promise<unknown>): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    output.talk("Compare the digest with one that a member gives you.\n");
    const answer = terminal.question("To approve it, type its first 8 digits or more: ");
    const typed = (await Promise.race([answer, stop.then(() => "")])).trim().toLowerCase();
    return typed.length >= CONFIRMED_DIGITS && digest.startsWith(typed);
  } finally {
    terminal.close();
  }
}
