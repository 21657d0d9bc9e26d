/**
 * What nodes say under /gov, read by type. A node is believed as far as its service certificate goes, and what can be checked
 * is: the constitution against its digest, a proposal against the signatures in it.
 */
import { toHex } from "../core/codec/bytes.ts";
import { constitutionDigest, constitutionFromJson } from "../core/governance/constitution-codec.ts";
import { MAX_DATE_MS } from "../core/governance/manifest-codec.ts";
import { FieldReader, type FieldContext } from "../core/governance/fields.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { VotingState } from "../core/governance/vote-count.ts";
import { CocoError } from "../errors.ts";
import { readEvidence } from "./evidence-reader.ts";
import type { ServiceClient } from "./service-client.ts";

const API_VERSION = "2024-07-01";
const CONTEXT: FieldContext = { form: "json", code: "AnswerInvalid" };
const MAX_TEXT = 4_096;
/** Most pages of a list that are read. */
const MAX_PAGES = 100;
const DATE = { min: 0, max: MAX_DATE_MS };

/** A path with the version of the endpoints. */
export function govPath(path: string, query: Readonly<Record<string, string>> = {}): string {
  return `/gov${path}?${new URLSearchParams({ "api-version": API_VERSION, ...query })}`;
}

/** A reader of an answer; fields it does not ask for may be there. */
export function readerOf(value: unknown, path = ""): FieldReader {
  return new FieldReader(value, path, CONTEXT);
}

/** A text that may be absent. */
export function optionalText(fields: FieldReader, name: string): string | undefined {
  return fields.has(name) ? fields.text(name, { max: MAX_TEXT }) : undefined;
}

/** A list of records, which may have more fields. */
export function recordsOf(fields: FieldReader, name: string): readonly FieldReader[] {
  if (!fields.has(name)) return [];
  return fields.values(name, 10_000).map((item, at) => readerOf(item, `${fields.pathOf(name)}[${at}]`));
}

/** What is asked of a node here. */
export type GovernanceClient = Pick<ServiceClient, "url" | "text" | "json">;

/** The items of a list, all its pages together. */
export async function listAll(client: Pick<ServiceClient, "json">, path: string): Promise<readonly unknown[]> {
  const items: unknown[] = [];
  let next: string | undefined = path;
  for (let page = 0; next !== undefined && page < MAX_PAGES; page++) {
    const fields: FieldReader = readerOf(await client.json(next));
    items.push(...fields.values("value", 10_000));
    next = optionalText(fields, "nextLink");
    if (next !== undefined && !next.startsWith("/gov/")) throw fields.invalid("nextLink", "expected a path under /gov");
  }
  return items;
}

/** What is known of a network at a moment. */
export interface Standing {
  readonly networkName: string;
  /** Hex digest of the constitution. */
  readonly digest: string;
  /** What proposals are tried on; proposals and criteria of the state itself are not read. */
  readonly state: VotingState;
}

/** Id of the network. */
export async function readNetworkId(client: ServiceClient): Promise<string> {
  return readerOf(await client.json(govPath("/service/info"))).hex("networkId", 32);
}

/** Times the parts are read: a vote may be committed between two of them. */
const STANDING_READS = 4;

/** Reads the constitution in force with what votes are counted by. Throws `AnswerInvalid` when the parts do not fit. */
export async function readStanding(client: GovernanceClient, crypto: GovernanceCrypto): Promise<Standing> {
  for (let reads = 0; reads < STANDING_READS; reads++) {
    const standing = await readParts(client, crypto);
    if (standing !== undefined) return standing;
  }
  throw new CocoError("AnswerInvalid", `${client.url}: the constitution does not have the digest the node names`);
}

/** Undefined when the parts are not of one constitution. */
async function readParts(client: GovernanceClient, crypto: GovernanceCrypto): Promise<Standing | undefined> {
  const [text, info, evidence] = await Promise.all([
    client.text(govPath("/service/constitution")),
    client.json(govPath("/service/info")),
    readEvidence(client),
  ]);
  const fields = readerOf(info);
  const constitution = constitutionFromJson(text);
  const digest = toHex(constitutionDigest(constitution, crypto.sha256));
  if (fields.hex("constitutionDigest", 32) !== digest) return undefined;
  const networkId = fields.hex("networkId", 32);
  const state = {
    // Nodes that are leaving only bound how many more may leave at once; the network refuses what would be too much.
    ...{ networkId, constitution, proposals: [], automaticVotes: [], departing: [] },
    attested: new Map(evidence.nodes.flatMap(({ nodeId, attested }) => (attested ? [[nodeId, attested]] : []))),
  };
  return { networkName: constitution.network.name, digest, state };
}

/** A proposal as a list shows it. */
export interface ProposalSummary {
  readonly id: string;
  readonly proposer: string;
  readonly state: string;
  readonly actions: readonly string[];
  readonly description: string | undefined;
  readonly expiresAtMs: number;
}

/** Reads what every answer about a proposal says. */
export function readSummary(fields: FieldReader): ProposalSummary {
  return {
    id: fields.hex("proposalId", 32),
    proposer: fields.text("proposerId", { max: MAX_TEXT }),
    state: fields.text("proposalState", { max: 64 }),
    actions: textsOf(fields, "actions"),
    description: optionalText(fields, "description"),
    expiresAtMs: fields.integer("expiresAtMs", DATE),
  };
}

/** A list of texts, empty when it is absent. */
export function textsOf(fields: FieldReader, name: string): readonly string[] {
  if (!fields.has(name)) return [];
  return fields.values(name, 10_000).map((item, at) => {
    return readerOf({ item }, `${fields.pathOf(name)}[${at}]`).text("item", { max: MAX_TEXT });
  });
}

const PREFIX = /^[0-9a-f]{6,64}$/;

/** The full id of a proposal, of which its first digits are enough. */
export async function resolveProposalId(client: ServiceClient, given: string): Promise<string> {
  if (!PREFIX.test(given))
    throw new CocoError("WrongUsage", `${given}: expected the id of a proposal, or its first 6 digits at least`);
  if (given.length === 64) return given;
  const proposals = await listAll(client, govPath("/members/proposals"));
  const ids = proposals.map((item) => readerOf(item).hex("proposalId", 32)).filter((id) => id.startsWith(given));
  const [id, ...more] = ids;
  if (id === undefined) throw new CocoError("ProposalNotFound", `there is no proposal ${given}…`);
  if (more.length > 0)
    throw new CocoError("WrongUsage", `${given} begins the ids of several proposals: ${ids.join(", ")}`);
  return id;
}
