/** `coco member vote`, `withdraw`, `automatic-votes` and `finish`: signed requests about proposals. */
import { toHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { readCriteria } from "../core/governance/automatic-votes.ts";
import { readDocument, type FieldContext } from "../core/governance/fields.ts";
import type { Vote } from "../core/governance/policy.ts";
import type { SignedMessage } from "../core/governance/proposal.ts";
import { ballotPayload, criteriaPayload } from "../core/governance/request-signing.ts";
import { MAX_SCRIPT_BYTES } from "../core/governance/script.ts";
import { MAX_REQUEST_BYTES, parseSignedRequest, type RequestType } from "../core/governance/signed-request.ts";
import { refused } from "../core/governance/refusal.ts";
import { CocoError } from "../errors.ts";
import { createOutput, readBytes, readJson, readText } from "./arguments.ts";
import { connect } from "./connection.ts";
import type { ConnectionOptions, SigningOptions } from "./connection-options.ts";
import { printChanges, printFailure } from "./effect-lines.ts";
import { govPath, readerOf, readSummary, resolveProposalId } from "./governance-reader.ts";
import { confirmed, COSE, networkIdOf, sendProposal } from "./member-propose.ts";
import { type CommandContext, forPeople, type Output, printJson } from "./output.ts";
import { checkProposal, NO_EFFECT, type CheckedProposal } from "./proposal-check.ts";
import type { ServiceClient } from "./service-client.ts";
import { finishRequest, offlineNetwork, printOutcome, readPrepared, readSignature, signOrPrepare } from "./signing.ts";

const MAX_CRITERIA_FILE_BYTES = 256 * 1024;

/** Options of commands about proposals. */
export interface VoteOptions extends SigningOptions {
  readonly ballot?: string;
  readonly effect?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Options of `coco member finish`. */
export interface FinishOptions extends ConnectionOptions {
  readonly signature: string;
  readonly send?: boolean;
  readonly out?: string;
  readonly json?: boolean;
}

async function withClient(
  options: ConnectionOptions,
  purpose: "read" | "send",
  run: (client: ServiceClient) => Promise<void>,
): Promise<void> {
  const client = await connect(options, purpose);
  try {
    await run(client);
  } finally {
    client.close();
  }
}

/** Runs `coco member vote`. */
export async function castBallot(
  context: CommandContext,
  id: string,
  vote: Vote | undefined,
  options: VoteOptions,
): Promise<void> {
  const { ballot, effect } = options;
  if ((vote === undefined) === (ballot === undefined))
    throw new CocoError("WrongUsage", "vote yes, no or abstain, or by a script with --ballot");
  const networkId = offlineNetwork(options);
  if (networkId !== undefined && (effect !== undefined || ballot !== undefined)) {
    requireFullId(id);
    const payload = await ballotOf(vote, ballot, hexBytes(effect));
    await signOrPrepare(context, options, { type: "ballot", payload, networkId, proposalId: id });
    return;
  }
  await withClient(options, "read", (client) => voteAt(client, context, { given: id, vote }, options));
}

function requireFullId(id: string): void {
  if (!/^[0-9a-f]{64}$/.test(id))
    throw new CocoError("WrongUsage", "without a node to ask, the whole id of the proposal is needed: 64 hex digits");
}

function hexBytes(text: string | undefined): Bytes {
  if (text === undefined) return NO_EFFECT;
  if (!/^[0-9a-f]{64}$/.test(text)) throw new CocoError("WrongUsage", "--effect: expected 64 hex digits");
  return new Uint8Array(Buffer.from(text, "hex"));
}

async function ballotOf(vote: Vote | undefined, script: string | undefined, effect: Bytes): Promise<Bytes> {
  if (vote !== undefined) return ballotPayload(vote, effect);
  const source = await readText(script ?? "", MAX_SCRIPT_BYTES);
  return utf8Encode(JSON.stringify({ ballot: source }));
}

async function voteAt(
  client: ServiceClient,
  context: CommandContext,
  { given, vote }: { readonly given: string; readonly vote: Vote | undefined },
  options: VoteOptions,
): Promise<void> {
  const { loadGovernanceCrypto } = await import("../host/script-engine-file.ts");
  const proposalId = await resolveProposalId(client, given);
  const checked = await checkProposal(client, proposalId, await loadGovernanceCrypto());
  if (checked.state !== "Open") throw refused("ProposalNotOpen", `the proposal is ${checked.state}`);
  const shown = checked.effect === undefined ? undefined : toHex(checked.effect);
  if (options.effect !== undefined && options.effect !== shown)
    throw new CocoError("EffectNotVerified", `the proposal's effect is ${shown ?? "none"} now, not ${options.effect}`);
  printChecked(forPeople(context.output, options.json === true), checked);
  const { networkId } = checked.standing.state;
  const question = `Vote ${vote ?? "by the script"} on this in the network ${checked.standing.networkName}? (yes/no)`;
  if (!(await confirmed(context, options, question))) return;
  const payload = await ballotOf(vote, options.ballot, checked.effect ?? NO_EFFECT);
  const signed = await signOrPrepare(context, options, { type: "ballot", payload, networkId, proposalId });
  if (signed !== undefined) await sendAbout(client, context, signed, options.json === true);
}

function printChecked(output: Output, checked: CheckedProposal): void {
  const { id, proposer, description, changes, failure, effect, policies, unchecked } = checked;
  output.data(`proposal  ${id}\nby        ${proposer}\n`);
  if (description !== undefined) output.data(`          ${description}\n`);
  if (failure === undefined) printChanges(output, changes);
  else printFailure(output, failure);
  output.data(`needs\n${policies.map(({ words }) => `  ${words}\n`).join("")}`);
  if (effect !== undefined) output.data(`effect    ${toHex(effect)}, found out here\n`);
  for (const words of unchecked) output.talk(`not checked: ${words}\n`);
}

/** Runs `coco member withdraw`. */
export async function withdrawProposal(context: CommandContext, id: string, options: VoteOptions): Promise<void> {
  const networkId = offlineNetwork(options);
  if (networkId !== undefined) {
    requireFullId(id);
    await signOrPrepare(context, options, { type: "withdrawal", payload: NO_PAYLOAD, networkId, proposalId: id });
    return;
  }
  await withClient(options, "read", async (client) => {
    const proposalId = await resolveProposalId(client, id);
    const request = {
      type: "withdrawal",
      payload: NO_PAYLOAD,
      networkId: await networkIdOf(client, options),
      proposalId,
    };
    const signed = await signOrPrepare(context, options, { ...request, type: "withdrawal" });
    if (signed !== undefined) await sendAbout(client, context, signed, options.json === true);
  });
}

const NO_PAYLOAD: Bytes = new Uint8Array(0);

/** Runs `coco member automatic-votes`. */
export async function register(context: CommandContext, file: string, options: VoteOptions): Promise<void> {
  const fieldContext: FieldContext = { form: "json", code: "ProposalInvalid", data: { file }, givesReasons: true };
  const payload = criteriaPayload(
    readDocument(await readJson(file, MAX_CRITERIA_FILE_BYTES), fieldContext, readCriteria),
  );
  const networkId = offlineNetwork(options);
  if (networkId !== undefined) {
    await signOrPrepare(context, options, { type: "automatic_vote", payload, networkId });
    return;
  }
  await withClient(options, "read", async (client) => {
    const request = { type: "automatic_vote", payload, networkId: await networkIdOf(client, options) } as const;
    const signed = await signOrPrepare(context, options, request);
    if (signed !== undefined) await sendAbout(client, context, signed, options.json === true);
  });
}

/** Where requests of a type go; the path names the member as CCF does, by its signing certificate. */
const PATHS: Partial<Record<RequestType, (id: string, keyId: string) => string>> = {
  ballot: (id, keyId) => `/members/proposals/${id}/ballots/${keyId}:submit`,
  withdrawal: (id) => `/members/proposals/${id}:withdraw`,
  automatic_vote: (_, keyId) => `/members/automatic-votes/${keyId}:register`,
};

/** Sends a signed request of any type and tells what became of it. */
async function sendAbout(
  client: ServiceClient,
  context: CommandContext,
  { message }: SignedMessage,
  asJson: boolean,
): Promise<void> {
  const { type, proposalId = "", keyId } = parseSignedRequest(message);
  if (type === "proposal") return sendProposal(client, context, message, asJson);
  const path = PATHS[type]?.(proposalId, keyId);
  if (path === undefined)
    throw new CocoError("WrongUsage", "a resume goes to the nodes it is for: coco member resume --signed FILE --send");
  const answer = await client.post(govPath(path), COSE, message);
  if (asJson) return printJson(context.output, answer);
  if (type === "automatic_vote") {
    const { length } = readerOf(answer).values("criteria", 1_000);
    return printOutcome(context, false, { criteria: String(length) });
  }
  const { id, state } = readSummary(readerOf(answer));
  printOutcome(context, false, { proposal: id, state });
}

/** Runs `coco member finish`. */
export async function finishPrepared(context: CommandContext, file: string, options: FinishOptions): Promise<void> {
  const { send, out, signature } = options;
  if (send !== true && out === undefined)
    throw new CocoError("WrongUsage", "say what to do with it: --send, --out, or both");
  const signed = finishRequest(await readPrepared(file), await readSignature(signature));
  if (out !== undefined) await createOutput(context.output, out, signed.message);
  if (send === true)
    await withClient(options, "send", (client) => sendAbout(client, context, signed, options.json === true));
  else if (options.json === true)
    printJson(context.output, { type: parseSignedRequest(signed.message).type, file: out });
}

/** Runs `coco member send`. */
export async function sendFile(
  context: CommandContext,
  file: string,
  options: ConnectionOptions & { readonly json?: boolean },
): Promise<void> {
  const message = await readBytes(file, MAX_REQUEST_BYTES);
  const signed = { message, chain: parseSignedRequest(message).chain };
  await withClient(options, "send", (client) => sendAbout(client, context, signed, options.json === true));
}
