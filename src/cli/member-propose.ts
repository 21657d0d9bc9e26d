/** `coco member propose`: what a change would do and need, then the signed proposal. */
import { toHex } from "../core/codec/bytes.ts";
import { neededPolicies, type NeededPolicy } from "../core/governance/dry-run.ts";
import type { DescribedChange } from "../core/governance/effects.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import { manifestNotes } from "../core/governance/manifest-notes.ts";
import { proposalPayload } from "../core/governance/request-signing.ts";
import { prospectOf, type ProspectiveEffect } from "../core/governance/vote-count.ts";
import { parseSignedRequest } from "../core/governance/signed-request.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { readProposal, type ProposalContent } from "./action-arguments.ts";
import type { NamedValue } from "./arguments.ts";
import { connect } from "./connection.ts";
import type { SigningOptions } from "./connection-options.ts";
import { printChanges, printNeeds } from "./effect-lines.ts";
import {
  govPath,
  listAll,
  readerOf,
  readNetworkId,
  readStanding,
  readSummary,
  type ProposalSummary,
  type Standing,
} from "./governance-reader.ts";
import { type CommandContext, forPeople, printJson } from "./output.ts";
import { digestOf, outcomeOf } from "./proposal-check.ts";
import type { ServiceClient } from "./service-client.ts";
import { offlineNetwork, printOutcome, signOrPrepare } from "./signing.ts";

/** Type of the bodies that are signed requests. */
export const COSE = "application/cose";

/** Options of `coco member propose`. */
export interface ProposeOptions extends SigningOptions {
  readonly action?: string;
  readonly arg: readonly NamedValue[];
  readonly description?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Runs `coco member propose`. */
export async function propose(
  context: CommandContext,
  file: string | undefined,
  options: ProposeOptions,
): Promise<void> {
  const { action, arg, description } = options;
  const content = await readProposal({
    ...{ file, arguments: arg },
    ...(action !== undefined && { action }),
    ...(description !== undefined && { description }),
  });
  const networkId = offlineNetwork(options);
  if (networkId !== undefined) {
    await signOrPrepare(context, options, { type: "proposal", payload: payloadOf(content), networkId });
    return;
  }
  const client = await connect(options);
  try {
    await proposeTo(client, context, content, options);
  } finally {
    client.close();
  }
}

function payloadOf({ actions, description }: ProposalContent): Uint8Array {
  return proposalPayload(actions, description);
}

async function proposeTo(
  client: ServiceClient,
  context: CommandContext,
  content: ProposalContent,
  options: ProposeOptions,
): Promise<void> {
  const asJson = options.json === true;
  const { loadGovernanceCrypto } = await import("../host/script-engine-file.ts");
  const crypto = await loadGovernanceCrypto();
  const { shown, effect, changes, notes, policies, standing } = await tryProposal(client, content, crypto);
  const same = await openWithEffect(client, effect);
  if (options.dryRun === true && asJson) return printJson(context.output, shown);
  const people = forPeople(context.output, asJson);
  printChanges(people, changes);
  printNeeds(people, policies, shown);
  for (const note of notes) context.output.talk(`note: ${note}\n`);
  for (const { id, proposer, state } of same) {
    const what = `proposal ${id} of ${proposer} is ${state.toLowerCase()} and would do the same`;
    context.output.talk(
      `note: ${what}${state === "Open" ? `; vote on it: coco member vote ${id.slice(0, 12)} yes` : ""}\n`,
    );
  }
  if (options.dryRun === true) return;
  if (!(await confirmed(context, options, `Propose this to the network ${standing.networkName}? (yes/no)`))) return;
  const { networkId } = standing.state;
  const signed = await signOrPrepare(context, options, { type: "proposal", payload: payloadOf(content), networkId });
  if (signed === undefined) return;
  await sendProposal(client, context, signed.message, asJson);
}

/** Whether a person at a terminal agrees; where nobody can be asked, the command itself is the agreement. */
export async function confirmed(
  context: CommandContext,
  options: { readonly yes?: boolean; readonly prepare?: string; readonly out?: string },
  question: string,
): Promise<boolean> {
  const isSent = options.prepare === undefined && options.out === undefined;
  if (options.yes === true || context.ask === undefined || !isSent) return true;
  const answer = await context.ask(question, "no");
  if (/^y(?:es)?$/i.test(answer)) return true;
  context.output.talk("nothing was sent\n");
  return false;
}

/** Most undecided proposals that are compared with a new one. */
export const MAX_COMPARED_PROPOSALS = 64;

/** Undecided proposals that have this effect (hex digest), as the node tells it. */
export async function openWithEffect(
  client: Pick<ServiceClient, "json">,
  effect: string,
): Promise<readonly ProposalSummary[]> {
  const lists = ["Open", "Scheduled"].map((state) => listAll(client, govPath("/members/proposals", { state })));
  const undecided = (await Promise.all(lists)).flat().map((item) => readSummary(readerOf(item)));
  const same: ProposalSummary[] = [];
  for (const summary of undecided.slice(0, MAX_COMPARED_PROPOSALS)) {
    const detail = readerOf(await client.json(govPath(`/members/proposals/${summary.id}`)));
    const digest = detail.nullable("effect", () =>
      detail.has("effect") ? readerOf(detail.value("effect"), "effect").hex("digest", 32) : null,
    );
    if (digest === effect) same.push(summary);
  }
  return same;
}

interface TriedProposal {
  /** As the node says it. */
  readonly shown: unknown;
  /** Hex digest. */
  readonly effect: string;
  /** As it comes out here. */
  readonly changes: readonly DescribedChange[];
  /** What no node could meet afterwards, and could so far. */
  readonly notes: readonly string[];
  readonly policies: readonly NeededPolicy[];
  readonly standing: Standing;
}

/** Asks the node what a proposal would do, and finds out by itself. Throws `EffectNotVerified` when these differ. */
async function tryProposal(
  client: ServiceClient,
  content: ProposalContent,
  crypto: GovernanceCrypto,
): Promise<TriedProposal> {
  const { actions } = content;
  for (let attempt = 1; ; attempt++) {
    const shown = await client.post(govPath("/members/proposals:dry-run"), "application/json", payloadOf(content));
    const standing = await readStanding(client, crypto);
    const prospect = prospectOf(standing.state, { id: "", actions }, Date.now(), crypto);
    const effect = readerOf(readerOf(shown).value("effect"), "effect").hex("digest", 32);
    const found = digestOf(prospect);
    if (effect === found) {
      const { changes } = outcomeOf(prospect, standing, crypto);
      const notes = newNotes(standing, prospect);
      return { shown, effect, changes, notes, policies: neededPolicies(standing.state, actions), standing };
    }
    // The constitution may have changed between the two questions.
    if (attempt === 2)
      throw new CocoError(
        "EffectNotVerified",
        `${client.url} says the effect is ${effect}; by its constitution (${standing.digest}) it is ${found || "none"}`,
      );
  }
}

function newNotes({ state }: Standing, prospect: ProspectiveEffect): readonly string[] {
  if (prospect.type === "failure") return [];
  const nowMs = Date.now();
  const before = manifestNotes(state.constitution, nowMs);
  return manifestNotes(prospect.effect.constitution, nowMs).filter((note) => !before.includes(note));
}

/** Hands a signed proposal to the network and tells what became of it. */
export async function sendProposal(
  client: ServiceClient,
  context: CommandContext,
  message: Uint8Array,
  asJson: boolean,
): Promise<void> {
  const answer = await client.post(govPath("/members/proposals:create"), COSE, message);
  const { id, state } = readSummary(readerOf(answer));
  if (id !== toHex(sha256(parseSignedRequest(message).signedBytes)))
    throw new CocoError("AnswerInvalid", `${client.url} answers for another proposal`);
  if (asJson) printJson(context.output, answer);
  else printOutcome(context, false, { proposal: id, state });
  if (state === "Open") context.output.talk(`next: members vote with coco member vote ${id.slice(0, 12)} yes\n`);
}

/** The network id of the options, else as the node tells it. */
export async function networkIdOf(client: ServiceClient, options: SigningOptions): Promise<string> {
  return options.networkId ?? (await readNetworkId(client));
}
