/**
 * What nodes say under /gov, read by type. A node is believed as far as its service certificate goes, and what can be checked
 * is: the constitution against its digest, a proposal against the signatures in it.
 */
import { toHex, type Bytes } from "../core/codec/bytes.ts";
import type { AttestedNode } from "../core/governance/action-kind.ts";
import { readCriteria } from "../core/governance/automatic-votes.ts";
import { constitutionDigest, constitutionFromJson } from "../core/governance/constitution-codec.ts";
import { MAX_NODES } from "../core/governance/constitution.ts";
import { FieldReader, type FieldContext } from "../core/governance/fields.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { AutomaticVotes } from "../core/governance/proposal.ts";
import type { VotingState } from "../core/governance/vote-count.ts";
import { CocoError } from "../errors.ts";
import type { ServiceClient } from "./service-client.ts";

const API_VERSION = "2024-07-01";
const CONTEXT: FieldContext = { form: "json", code: "AnswerInvalid" };
const MAX_TEXT = 4_096;
/** Most pages of a list that are read. */
const MAX_PAGES = 100;
const COUNT = { min: 0, max: Number.MAX_SAFE_INTEGER };
const NO_BYTES: Bytes = new Uint8Array(0);

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

/** The items of a list, all its pages together. */
export async function listAll(client: ServiceClient, path: string): Promise<readonly unknown[]> {
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
  /** For counting votes on proposals that are handed in; the state's own are not read. */
  readonly state: VotingState;
}

/** Id of the network. */
export async function readNetworkId(client: ServiceClient): Promise<string> {
  return readerOf(await client.json(govPath("/service/info"))).hex("networkId", 32);
}

/** Reads the constitution in force with what votes are counted by. Throws `AnswerInvalid` when the parts do not fit. */
export async function readStanding(client: ServiceClient, crypto: GovernanceCrypto): Promise<Standing> {
  const [text, info, nodes, members] = await Promise.all([
    client.text(govPath("/service/constitution")),
    client.json(govPath("/service/info")),
    listAll(client, govPath("/service/nodes")),
    listAll(client, govPath("/service/members")),
  ]);
  const fields = readerOf(info);
  const constitution = constitutionFromJson(text);
  const digest = toHex(constitutionDigest(constitution, crypto.sha256));
  if (fields.hex("constitutionDigest", 32) !== digest)
    throw new CocoError("AnswerInvalid", `${client.url}: the constitution does not have the digest the node names`);
  const networkId = fields.hex("networkId", 32);
  const state = {
    ...{ networkId, constitution, proposals: [], departing: [] },
    automaticVotes: members.flatMap(readAutomaticVotes),
    attested: new Map(nodes.slice(0, 2 * MAX_NODES).flatMap(readAttested)),
  };
  return { networkName: constitution.network.name, digest, state };
}

function readAttested(node: unknown): readonly (readonly [string, AttestedNode])[] {
  const fields = readerOf(node, "nodes");
  const nodeId = fields.hex("nodeId", 32);
  const measurement = fields.nullable("measurement", () => fields.hex("measurement", 32));
  const machineKey = fields.nullable("machineKey", () => fields.bytes("machineKey", { max: 256 }));
  if (measurement === null || machineKey === null) return [];
  return [[nodeId, { measurement, machineKey }]];
}

function readAutomaticVotes(member: unknown): readonly AutomaticVotes[] {
  const fields = readerOf(member, "members");
  const id = fields.text("memberId", { max: MAX_TEXT });
  const criteria = fields.has("automaticVotes")
    ? readCriteria(readerOf({ criteria: fields.value("automaticVotes") }, "automaticVotes"))
    : [];
  if (criteria.length === 0) return [];
  return [{ member: id, criteria, certificate: "", createdAt: 0, atMs: 0, message: NO_BYTES, chain: [] }];
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
    expiresAtMs: fields.integer("expiresAtMs", COUNT),
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
