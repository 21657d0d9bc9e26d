/**
 * A proposal checked without trusting the node that shows it: its id against its signature, its signature against the
 * constitution, and what it does by trying it on that constitution.
 */
import { fromHex, toHex, utf8Decode, type Bytes } from "../core/codec/bytes.ts";
import { readActionList } from "../core/governance/action-codec.ts";
import type { Action } from "../core/governance/actions.ts";
import { neededPolicies, type NeededPolicy } from "../core/governance/dry-run.ts";
import { describeEffect, type DescribedChange } from "../core/governance/effects.ts";
import { parseJson, readDocument, type FieldContext, type FieldReader } from "../core/governance/fields.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { ProposalFailure, SignedMessage } from "../core/governance/proposal.ts";
import { MAX_DESCRIPTION_LENGTH } from "../core/governance/action-codec.ts";
import { LEDGER_PROPOSER, removalContent } from "../core/governance/removal-proposals.ts";
import { parseSignedRequest } from "../core/governance/signed-request.ts";
import { verifySigner } from "../core/governance/signer.ts";
import { prospectOf, type ProspectiveEffect } from "../core/governance/vote-count.ts";
import { CocoError } from "../errors.ts";
import { govPath, readerOf, readStanding, readSummary, recordsOf, type Standing } from "./governance-reader.ts";
import type { ServiceClient } from "./service-client.ts";

const MAX_BASE64 = 1024 * 1024;

/** A proposal as it was checked here. */
export interface CheckedProposal {
  readonly id: string;
  readonly proposer: string;
  readonly state: string;
  readonly description: string | undefined;
  readonly actions: readonly Action[];
  readonly standing: Standing;
  /** Digest of what it does now; undefined when it can't be done. */
  readonly effect: Bytes | undefined;
  readonly changes: readonly DescribedChange[];
  readonly failure: ProposalFailure | undefined;
  readonly policies: readonly NeededPolicy[];
  /** What could not be checked, in words. */
  readonly unchecked: readonly string[];
}

/** Reads a proposal from a node and checks it; throws `EffectNotVerified` when something is not what the node says. */
export async function checkProposal(
  client: ServiceClient,
  id: string,
  crypto: GovernanceCrypto,
): Promise<CheckedProposal> {
  const { signed, actions, description } = await readContent(client, id, crypto);
  for (let attempt = 1; ; attempt++) {
    const detail = readerOf(await client.json(govPath(`/members/proposals/${id}`)));
    const standing = await readStanding(client, crypto);
    const prospect = prospectOf(standing.state, { id, actions }, Date.now(), crypto);
    const shown = shownEffect(detail);
    const { proposer, state } = readSummary(detail);
    // Between the two questions the constitution may have changed.
    if (shown !== undefined && shown !== digestOf(prospect) && attempt === 1) continue;
    if (shown !== undefined && shown !== digestOf(prospect)) throw differs(client, standing, prospect, shown);
    const by = signed === undefined ? LEDGER_PROPOSER : signerOf(standing, signed, crypto);
    if (by !== undefined && by !== proposer)
      throw new CocoError("EffectNotVerified", `${by} signed the proposal, and the node says ${proposer} did`);
    return {
      ...{ id, proposer, state, description, actions, standing },
      ...outcomeOf(prospect, standing, crypto),
      policies: neededPolicies(standing.state, actions),
      unchecked: [
        ...(by === undefined
          ? [`the signature of ${proposer}: its certificate is not valid by the constitution of now`]
          : []),
        `that constitution version ${standing.state.constitution.version} (${standing.digest}) is the one in force: the node says so`,
      ],
    };
  }
}

function differs(client: ServiceClient, standing: Standing, prospect: ProspectiveEffect, shown: string): CocoError {
  const here = digestOf(prospect) === "" ? "it cannot be done" : `it is ${digestOf(prospect)}`;
  const by = `by constitution version ${standing.state.constitution.version}`;
  return new CocoError("EffectNotVerified", `${client.url} says the effect is ${shown || "none"}; ${by} ${here}`);
}

/** The digest of an effect, hex; empty: it can't be done. */
export function digestOf(prospect: ProspectiveEffect): string {
  return prospect.type === "effect" ? toHex(prospect.digest) : "";
}

/** The effect the node shows: hex, empty when it says there is none, undefined for what is decided. */
function shownEffect(detail: FieldReader): string | undefined {
  if (!detail.has("effect")) return undefined;
  const effect = detail.value("effect");
  return effect === null ? "" : readerOf(effect, "effect").hex("digest", 32);
}

/** What comes of a proposal on the constitution in force. */
export function outcomeOf(prospect: ProspectiveEffect, { state }: Standing, crypto: GovernanceCrypto) {
  if (prospect.type === "failure") return { effect: undefined, changes: [], failure: prospect.failure };
  const changes = describeEffect(state.constitution, prospect.effect, crypto);
  return { effect: prospect.digest, changes, failure: undefined };
}

/** What a proposal says and who signed that; nobody signs those that the ledger makes, whose id says all. */
interface ProposalContent {
  readonly signed: SignedMessage | undefined;
  readonly actions: readonly Action[];
  readonly description: string | undefined;
}

async function readContent(client: ServiceClient, id: string, crypto: GovernanceCrypto): Promise<ProposalContent> {
  const history = readerOf(await client.json(govPath(`/members/proposals/${id}/history`)));
  const [first] = recordsOf(history, "value");
  if (first === undefined) throw new CocoError("AnswerInvalid", `${client.url}: the proposal has no history`);
  if (first.has("nodeId")) return removalOf(client, id, first, crypto);
  const bytes = (text: unknown): Bytes =>
    new Uint8Array(Buffer.from(typeof text === "string" && text.length <= MAX_BASE64 ? text : "", "base64"));
  const message = bytes(first.value("message"));
  const chain = first.values("certificates", 8).map(bytes);
  if (toHex(crypto.sha256(parseSignedRequest(message).signedBytes)) !== id)
    throw new CocoError("EffectNotVerified", `${client.url} shows another proposal under the id ${id}`);
  return { signed: { message, chain }, ...contentOf({ message, chain }) };
}

function removalOf({ url }: ServiceClient, id: string, fields: FieldReader, { sha256 }: GovernanceCrypto) {
  const seqno = fields.integer("openedAtSeqno", { min: 1, max: Number.MAX_SAFE_INTEGER });
  const { actions, description, id: made } = removalContent(fields.hex("nodeId", 32), seqno, sha256);
  if (made !== id) throw new CocoError("EffectNotVerified", `${url} shows another proposal under the id ${id}`);
  return { signed: undefined, actions, description };
}

function contentOf({ message }: SignedMessage) {
  const context: FieldContext = { form: "json", code: "ProposalInvalid", givesReasons: true };
  return readDocument(parseJson(utf8Decode(parseSignedRequest(message).payload), context), context, (fields) => ({
    description: fields.has("description") ? fields.text("description", { max: MAX_DESCRIPTION_LENGTH }) : undefined,
    actions: readActionList(fields),
  }));
}

/** Who signed it; undefined when that can't be said any more: a certificate may have expired or been replaced since. */
function signerOf({ state }: Standing, signed: SignedMessage, crypto: GovernanceCrypto): string | undefined {
  try {
    return verifySigner(state, signed, Date.now(), crypto).actor;
  } catch (error) {
    const reason = error instanceof CocoError ? error.data["reason"] : undefined;
    if (reason === "CertificateNotValid" || reason === "NotAMember") return undefined;
    throw new CocoError("EffectNotVerified", `the proposal is not signed as the node says`, {}, { cause: error });
  }
}

/** What a ballot names as the effect of a proposal that can't be done: as long as that is so, it is not looked at. */
export const NO_EFFECT: Bytes = fromHex("00".repeat(32));
