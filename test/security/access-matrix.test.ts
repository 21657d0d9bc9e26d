/**
 * Who gets what from a real node: every kind of caller, at every endpoint, with every method. What is expected is said here, by
 * rules that know nothing of the product's; an endpoint that is added without a decision here fails.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Agent, request as httpsRequest } from "node:https";
import { after, before, describe, test } from "node:test";
import { toHex, utf8Encode } from "../../src/core/codec/bytes.ts";
import {
  assembleSignedRequest,
  bytesToSign,
  type RequestContent,
  type RequestType,
} from "../../src/core/governance/signed-request.ts";
import { createNodeCertificate } from "../../src/enclave/manager/certificates.ts";
import { nodeEntropy, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { openNodeKeys, signingKeyPem } from "../../src/enclave/manager/node-keys.ts";
import { loadNode } from "../../src/host/node-folder.ts";
import { readRequestSigner } from "../../src/host/request-signer.ts";
import { openVirtualTee } from "../../src/host/virtual-tee.ts";
import { agreeBy, postAgreed, postBallotOf } from "../e2e/lib/governance.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { present } from "../e2e/lib/processes.ts";
import { ETHEREUM_PATH } from "../e2e/lib/sandbox.ts";
import { type ClientIdentity, identityOf, makeOrganisations, type Standing } from "../support/client-identities.ts";

/** Number of identities that are asked about. */
const CALLERS = 15;
const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] as const;
const API = "?api-version=2024-07-01";
const PROPOSALS = "/gov/members/proposals";
const DAY_MS = 86_400_000;

/** What an endpoint answers to a caller it is for; an error as its status, code and reason. */
type Outcome = string;
type Who = "signed" | "newcomer" | "actor" | "member";

interface Decision {
  readonly who: Who;
  readonly outcome: Outcome;
  /** Type of the request that its callers sign. */
  readonly type?: RequestType;
  readonly body?: string;
}

const NO_PROPOSAL = "404 ProposalNotFound";
const NOT_HERE = "404 NotFound";
const BAD = "400 MalformedInput";
const UNSIGNED = "400 ProposalInvalid/Malformed";
const OPEN_EPOCH = JSON.stringify({ actions: [{ name: "open_epoch", args: {} }] });

const actor = (outcome: Outcome): Decision => ({ who: "actor", outcome });
const signed = (type: RequestType, outcome: Outcome): Decision => ({ who: "signed", type, outcome });

/** Every endpoint, and what was decided about it. Names in braces are filled in by {@link pathFor}. */
const DECISIONS: Readonly<Record<string, Decision>> = {
  "GET /node/api": actor("200"),
  "GET /node/join/challenge": { who: "newcomer", outcome: "200" },
  "POST /node/join": { who: "newcomer", outcome: "400 MalformedInput", body: "no evidence" },
  "GET /node/state": actor("200"),
  "GET /node/network": actor("200"),
  "GET /node/constitution": actor("200"),
  "GET /node/evidence": actor("200"),
  "GET /node/ready": actor("200"),
  "GET /node/commit": actor("200"),
  "GET /node/tx": actor(BAD),
  "GET /node/receipt": actor(BAD),
  "GET /node/service_endorsements": actor("200"),
  "GET /node/transactions": actor(BAD),
  "GET /node/recovery": actor("200"),
  "POST /node/resume": { who: "actor", outcome: BAD, body: "nothing signed" },
  [`POST ${PROPOSALS}:create`]: signed("proposal", "200"),
  [`POST ${PROPOSALS}:dry-run`]: { who: "member", outcome: "200", body: OPEN_EPOCH },
  [`POST ${PROPOSALS}/{proposalId}:withdraw`]: signed("withdrawal", "400 ProposalInvalid/ProposalNotFound"),
  [`POST ${PROPOSALS}/{proposalId}/ballots/{memberId}:submit`]: signed(
    "ballot",
    "400 ProposalInvalid/ProposalNotFound",
  ),
  "POST /gov/members/automatic-votes/{memberId}:register": signed("automatic_vote", "200"),
  [`GET ${PROPOSALS}`]: actor("200"),
  [`GET ${PROPOSALS}/{proposalId}`]: actor(NO_PROPOSAL),
  [`GET ${PROPOSALS}/{proposalId}/actions`]: actor(NO_PROPOSAL),
  [`GET ${PROPOSALS}/{proposalId}/ballots/{memberId}`]: actor(NO_PROPOSAL),
  [`GET ${PROPOSALS}/{proposalId}/history`]: actor(NO_PROPOSAL),
  "GET /gov/service/constitution": actor("200"),
  "GET /gov/service/info": actor("200"),
  "GET /gov/service/members": actor("200"),
  "GET /gov/service/members/{memberId}": actor(NOT_HERE),
  "GET /gov/service/participants": actor("200"),
  "GET /gov/service/participants/{memberId}": actor(NOT_HERE),
  "GET /gov/service/nodes": actor("200"),
  "GET /gov/service/nodes/{nodeId}": actor(NOT_HERE),
  "GET /gov/service/policies": actor("200"),
  "GET /gov/service/transactions/commit": actor("200"),
  "GET /gov/service/transactions/{transactionId}": actor("200"),
  "GET /gov/feed": actor("200"),
};

/** The adapter: JSON-RPC over POST, at its mount, under it, and at the root as it is the only one. */
const CALL = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
const MOUNTED = [ETHEREUM_PATH, "/"];
const NOWHERE = [
  ...["/gov", "/gov/", "/node", "/node/", "/nothing", "/gov/members", "/gov/service", `${PROPOSALS}/`, "/node/api/"],
  ...[
    "//gov/feed",
    "/gov//feed",
    "/GOV/feed",
    "/node/../gov/feed",
    "/%67ov/feed",
    `${PROPOSALS}//actions`,
    "/ethereal",
  ],
  ...[`${PROPOSALS}:create/`, `${PROPOSALS}:Create`, `${PROPOSALS}/:withdraw`, "/node/__proto__", "/__proto__"],
];

let network: Network;
let node: NetworkNode;
let identities: readonly ClientIdentity[];
const organisations = makeOrganisations(Date.now());

before(async () => {
  network = await Network.start(1, { consensus: "solo" }, organisations.founders);
  node = present(network.nodes[0]);
  const actions = [
    { name: "remove_member", args: { actor: "hooli" } },
    { name: "restrict_participant", args: { actor: "tyrell", restriction: { type: "banned" } } },
    { name: "set_revocations", args: { actor: "globex", revocations: [organisations.revocations] } },
  ] as const;
  const agreed = await agreeBy([network.member, organisations.globex], node, ...actions);
  assert.equal((await postAgreed(node, network, agreed)).status, 200);
  const answer = await postBallotOf(node, "globex", agreed.proposalId, present(agreed.others[0]));
  assert.match(answer.body, /"Accepted"/);
  const parts = { name: "a member", standing: "member", actor: network.memberId } as const;
  const { cert, key } = node.credentials;
  const member = identityOf(parts, { cert: String(cert), key: String(key) }, network.member);
  identities = [...organisations.identities, member, await nodeItself()];
});
after(() => network?.stop());

/** The node's own key: it has channels to its peers and, as a client, no standing. */
async function nodeItself(): Promise<ClientIdentity> {
  const folder = await loadNode(node.dir);
  const keys = await openNodeKeys(
    folder.sealedKeys,
    await openVirtualTee(folder.paths.machineKeyFile ?? assert.fail()),
  );
  const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
  const key = signingKeyPem(keys);
  const cert = createNodeCertificate(keys.nodeId, key, issuance);
  const parts = { name: "a validating node", standing: "CertificateUnknown", actor: network.memberId } as const;
  return identityOf(parts, { cert, key }, readRequestSigner(cert, key));
}

interface Answer {
  readonly outcome: Outcome;
  readonly allow: string | undefined;
}

/** One request, on a connection that may be used again. */
function ask(agent: Agent, method: string, path: string, body: Uint8Array | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-length": body.length };
    const sent = httpsRequest({ host: "127.0.0.1", port: node.clientPort, method, path, agent, headers });
    sent.on("response", (response) => {
      const { statusCode = 0, headers: said } = response;
      const done = (text: string) => resolve({ outcome: outcomeOf(statusCode, text), allow: said.allow });
      if (said["content-type"] === "text/event-stream") {
        done("");
        sent.destroy();
        return;
      }
      let text = "";
      response.on("data", (part: Buffer) => {
        text += part.toString();
      });
      response.on("end", () => done(text));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function outcomeOf(status: number, text: string): Outcome {
  if (status < 400 || text === "") return String(status);
  const { error } = JSON.parse(text) as { error: { code: string; reason?: string; remedy?: string } };
  assert.ok(present(error.remedy).length > 10, text);
  return `${status} ${error.code}${error.reason === undefined ? "" : `/${error.reason}`}`;
}

const isParticipant = (standing: Standing): boolean => standing === "participant" || standing === "banned";
const isKnown = (standing: Standing): boolean => standing === "member" || isParticipant(standing);

/** The rule: what this caller hears at this endpoint with its own method. */
function expectedAt({ who, outcome }: Decision, { standing }: ClientIdentity): Outcome {
  if (who === "signed") {
    // What counts is whose signature is in the body, and each of them signs as it can.
    if (standing === undefined) return UNSIGNED;
    if (standing === "member") return outcome;
    return `400 ProposalInvalid/${isParticipant(standing) ? "NotAMember" : "CertificateNotValid"}`;
  }
  if (who === "newcomer") return outcome;
  if (!isKnown(standing)) return refusalOf(standing);
  return who === "actor" || who === standing ? outcome : "403 NotAuthorized";
}

function refusalOf(standing: Standing): Outcome {
  return `401 ${standing ?? "AuthenticationRequired"}`;
}

function pathFor(template: string, { actor: id }: ClientIdentity): string {
  const isOfOwn = template.endsWith(":submit") || template.endsWith(":register");
  return template
    .replace("{proposalId}", "ab".repeat(32))
    .replace("{memberId}", isOfOwn ? id : "constructor")
    .replace("{nodeId}", "__proto__")
    .replace("{transactionId}", "1.1");
}

/** Made anew for each caller: a body that it signs with its own key, as if it were a member. */
function bodyFor({ type, body }: Decision, { signer, actor: id }: ClientIdentity): Uint8Array {
  if (body !== undefined) return utf8Encode(body);
  if (type === undefined || signer === undefined) return utf8Encode("{}");
  const payloads: Partial<Record<RequestType, string>> = {
    proposal: OPEN_EPOCH,
    ballot: JSON.stringify({ vote: "yes", effect: "00".repeat(32) }),
    automatic_vote: JSON.stringify({ criteria: [] }),
  };
  const refersToOne = type === "ballot" || type === "withdrawal";
  const content: RequestContent = {
    ...{ type, algorithm: signer.algorithm, createdAt: Math.floor(Date.now() / 1000) },
    keyId: toHex(sha256(present(signer.chain[0]))),
    ...(refersToOne && { proposalId: "ab".repeat(32) }),
    payload: utf8Encode(payloads[type] ?? JSON.stringify({ of: id })),
  };
  return assembleSignedRequest(content, signer.sign(bytesToSign(content)), signer.chain);
}

interface Cell {
  readonly method: string;
  readonly path: string;
  readonly body?: Uint8Array;
  readonly expected: Answer;
}

/**
 * Methods that a caller tries at a path where nothing is: all of them, or, as a refused caller needs a connection for each
 * request, as many as give the refused ones together every method at every path.
 */
function methodsNowhere(caller: ClientIdentity, path: number): readonly (typeof METHODS)[number][] {
  if (isKnown(caller.standing)) return METHODS;
  return [0, 1].map((at) => present(METHODS[(identities.indexOf(caller) * 2 + path + at) % METHODS.length]));
}

/** Every cell of one caller: endpoints with all methods, the adapter, and where nothing is. */
function cellsOf(caller: ClientIdentity): readonly Cell[] {
  const known = isKnown(caller.standing);
  const refused: Answer = { outcome: refusalOf(caller.standing), allow: undefined };
  const templates = new Set(Object.keys(DECISIONS).map((endpoint) => endpoint.replace(/^\w+ /, "")));
  const endpoints = [...templates].flatMap((template) => {
    const path = `${pathFor(template, caller)}${API}`;
    const served = METHODS.filter((method) => DECISIONS[`${method} ${template}`] !== undefined);
    const otherwise = known ? { outcome: "405 MethodNotAllowed", allow: served.join(", ") } : refused;
    return METHODS.map((method): Cell => {
      const decision = DECISIONS[`${method} ${template}`];
      if (decision === undefined) return { method, path, expected: otherwise };
      const expected = { outcome: expectedAt(decision, caller), allow: undefined };
      return method === "GET"
        ? { method, path, expected }
        : { method, path, expected, body: bodyFor(decision, caller) };
    });
  });
  const served = caller.standing === "banned" ? "403 ParticipantBanned" : "200";
  const adapters = MOUNTED.flatMap((path) =>
    METHODS.map((method): Cell => {
      if (!known) return { method, path, expected: refused };
      if (method !== "POST") return { method, path, expected: { outcome: "405 MethodNotAllowed", allow: "POST" } };
      return { method, path, expected: { outcome: served, allow: undefined }, body: utf8Encode(CALL) };
    }),
  );
  const nowhere = NOWHERE.flatMap((path, at) =>
    methodsNowhere(caller, at).map(
      (method): Cell => ({ method, path, expected: known ? { outcome: NOT_HERE, allow: undefined } : refused }),
    ),
  );
  return [...endpoints, ...adapters, ...nowhere];
}

/** An answer to HEAD has no body to name its code. */
function comparable({ method, expected }: Cell): Answer {
  return method === "HEAD" ? { ...expected, outcome: expected.outcome.slice(0, 3) } : expected;
}

async function gapsOf(caller: ClientIdentity): Promise<readonly string[]> {
  const ca = readFileSync(node.serviceCertificate);
  const agent = new Agent({ keepAlive: true, maxSockets: 2, ca, ...caller.tls });
  const gaps: string[] = [];
  try {
    for (const cell of cellsOf(caller)) {
      const { method, path, body } = cell;
      const [answer, expected] = [await ask(agent, method, path, body), comparable(cell)];
      if (answer.outcome !== expected.outcome || answer.allow !== expected.allow)
        gaps.push(`${method} ${path}: ${JSON.stringify(answer)}, not ${JSON.stringify(expected)}`);
    }
  } finally {
    agent.destroy();
  }
  return gaps;
}

describe("the access matrix", () => {
  test("decides about every endpoint that the node says it has, and about no other", async () => {
    const { endpoints } = await node.read<{ endpoints: { method: string; path: string; who: Who }[] }>("/node/api");
    const said = Object.fromEntries(endpoints.map(({ method, path, who }) => [`${method} ${path}`, who]));
    assert.deepEqual(said, Object.fromEntries(Object.entries(DECISIONS).map(([endpoint, { who }]) => [endpoint, who])));
  });

  test("has a cell for every caller, endpoint and method, and where nothing is for every path and method", () => {
    const paths = new Set(Object.keys(DECISIONS).map((endpoint) => endpoint.replace(/^\w+ /, ""))).size;
    const nowhere = { known: new Set<string>(), refused: new Set<string>() };
    for (const caller of identities) {
      const cells = cellsOf(caller);
      const found = cells.filter(({ path }) => NOWHERE.includes(path));
      assert.equal(cells.length - found.length, (paths + MOUNTED.length) * METHODS.length, caller.name);
      for (const { method, path } of found)
        nowhere[isKnown(caller.standing) ? "known" : "refused"].add(`${method} ${path}`);
    }
    for (const { size } of Object.values(nowhere)) assert.equal(size, NOWHERE.length * METHODS.length);
    assert.equal(new Set(identities.map(({ name }) => name)).size, CALLERS);
  });

  for (const at of Array.from({ length: CALLERS }, (_, index) => index))
    test(`holds for caller ${at}`, async (context) => {
      const caller = present(identities[at]);
      context.diagnostic(caller.name);
      assert.deepEqual(await gapsOf(caller), [], caller.name);
    });

  test("left nothing behind but what two members did", async () => {
    const { body } = await node.rpc.http({ method: "GET", path: `${PROPOSALS}${API}` });
    const { value } = JSON.parse(body) as { value: { proposerId: string; proposalState: string }[] };
    assert.deepEqual(
      value.map(({ proposerId, proposalState }) => [proposerId, proposalState]),
      [
        [network.memberId, "Accepted"],
        ["globex", "Open"],
        [network.memberId, "Open"],
      ],
    );
    const state = await node.read<{ refused_frames: number }>("/node/state");
    assert.equal(state.refused_frames, 0);
  });
});
