/**
 * What members take from an actor counts for clients that are connected already: a ban, a limit, the removal of a member. Each
 * with its code, on every node, and until members decide otherwise.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Action } from "../../src/core/governance/actions.ts";
import { toHex } from "../../src/core/codec/bytes.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { privateKeyToAccount } from "viem/accounts";
import { follow } from "./lib/feed.ts";
import { agree, agreeBy, constitutionOf, postAgreed, postBallotOf, postProposal } from "./lib/governance.ts";
import { type HttpAnswer, RpcClient } from "./lib/json-rpc.ts";
import { requireSameLedgers } from "./lib/ledgers.ts";
import { signTransfer } from "./lib/load.ts";
import { accountKey, Network, type NetworkNode } from "./lib/network.ts";
import {
  certificateOf,
  derOf,
  type Identity,
  issuedBy,
  revocationListOf,
  selfSigned,
  signByOpenssl,
} from "./lib/organisations.ts";
import { present, until } from "./lib/processes.ts";

const API = "api-version=2024-07-01";
const CREATE = `/gov/members/proposals:create?${API}`;
const CALL = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });

let dir: string;
let network: Network;
let guest: Identity;
/** A member by its CA, and its staff. */
let hooli: Identity;
let staff: Identity;
const clients: RpcClient[] = [];

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "coco-rights-"));
  guest = await selfSigned(dir, "guest", "P-256");
  hooli = await selfSigned(dir, "hooli-ca", "P-256", true);
  staff = await issuedBy(hooli, dir, "hooli-staff", "P-256");
  network = await Network.start(3, {}, [
    { id: "guest", name: "Guest", role: "participant", certificate: certificateOf(guest) },
    { id: "hooli", name: "Hooli", role: "member", certificate: certificateOf(hooli) },
  ]);
});
after(async () => {
  for (const client of clients) client.close();
  await network?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A client that keeps its connection. */
function clientOf(node: NetworkNode, by: Identity): RpcClient {
  const credentials = {
    ca: readFileSync(node.serviceCertificate),
    cert: certificateOf(by),
    key: readFileSync(by.keyFile),
  };
  const client = new RpcClient(`https://127.0.0.1:${node.clientPort}/eth`, credentials);
  clients.push(client);
  return client;
}

const clientsOf = (by: Identity): readonly RpcClient[] => network.nodes.map((node) => clientOf(node, by));
const call = (client: RpcClient): Promise<HttpAnswer> => client.http({ body: CALL });
const read = (client: RpcClient, path: string): Promise<HttpAnswer> => client.http({ method: "GET", path });

/** Status and code of an answer, as one text. */
function outcome({ status, body }: HttpAnswer): string {
  if (status === 200) return "200";
  const { error } = JSON.parse(body) as { error: { code: string; reason?: string; remedy: string } };
  assert.ok(error.remedy.length > 10, body);
  return [status, error.code, ...(error.reason === undefined ? [] : [error.reason])].join(" ");
}

/** The yes of both members, so far as there are two. */
async function decide(...actions: readonly Action[]): Promise<void> {
  const { leader } = await network.leader();
  const members = (await constitutionOf(leader)).actors.filter(({ role }) => role === "member");
  if (members.length === 1) {
    const { status, body } = await postAgreed(leader, network, await agree(network, leader, ...actions));
    assert.equal(status, 200, body);
    return;
  }
  const { proposal, proposalId, ballot } = await agreeBy([network.member], leader, ...actions);
  const proposed = await postProposal(leader, proposal);
  assert.equal(proposed.status, 200, proposed.body);
  const cast = await postBallotOf(leader, network.memberId, proposalId, ballot);
  assert.equal(cast.status, 200, cast.body);
  const { effect } = JSON.parse(
    (await leader.rpc.http({ method: "GET", path: `/gov/members/proposals/${proposalId}?${API}` })).body,
  ) as {
    effect: { digest: string };
  };
  const payload = { vote: "yes", effect: effect.digest };
  const { message } = await signByOpenssl(dir, staff, "ballot", { payload, proposalId });
  const decided = await postBallotOf(leader, "hooli", proposalId, Buffer.from(message));
  assert.equal(decided.status, 200, decided.body);
  assert.equal((JSON.parse(decided.body) as { proposalState: string }).proposalState, "Accepted");
}

/** Waits until every node has the outcome of the decision: a follower may be a moment behind. */
async function everywhere(
  among: readonly RpcClient[],
  ask: (client: RpcClient) => Promise<HttpAnswer>,
  expected: string,
) {
  for (const client of among)
    await until(`it is ${expected}`, async () => (outcome(await ask(client)) === expected ? true : undefined));
}

const restrict = (restriction: Extract<Action, { name: "restrict_participant" }>["args"]["restriction"]): Action => ({
  name: "restrict_participant",
  args: { actor: "guest", restriction },
});

describe("a participant that is connected", () => {
  let connected: readonly RpcClient[];
  const account = privateKeyToAccount(accountKey(5));
  const send = async (client: RpcClient, nonce: number) =>
    client.http({
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "eth_sendRawTransaction",
        params: [await signTransfer(account, nonce)],
      }),
    });

  test("is banned on every node at once, reads on why, and goes on when the ban is lifted", async () => {
    connected = clientsOf(guest);
    // A worker may be a moment behind its node, which is ready.
    await everywhere(connected, call, "200");
    for (const [nonce, client] of connected.entries()) {
      const sent = await send(client, nonce);
      assert.equal(outcome(sent), "200", sent.body);
    }
    const feed = follow(present(network.nodes[1]), guest);
    await until("the feed is open", () => (feed.state.text.includes("retry") ? true : undefined));

    await decide(restrict({ type: "banned" }));
    await everywhere(connected, call, "403 ParticipantBanned");
    const fresh = clientsOf(guest);
    for (const client of [...connected, ...fresh]) {
      assert.equal(outcome(await send(client, 3)), "403 ParticipantBanned");
      const shown = await read(client, `/gov/service/participants/guest?${API}`);
      assert.equal(outcome(shown), "200");
      assert.match(shown.body, /"type": ?"banned"/);
      assert.equal(outcome(await read(client, "/node/commit")), "200");
    }
    const nonceAt = await present(network.nodes[0]).rpc.call("eth_getTransactionCount", account.address, "latest");
    assert.equal(nonceAt, "0x3", "nothing of it came into the ledger");
    await until("the feed told it", () => (feed.state.text.includes("constitution_changed") ? true : undefined));
    assert.equal(feed.state.ended, false);
    feed.stop();

    await decide(restrict(null));
    await everywhere(connected, call, "200");
    assert.equal(outcome(await send(present(connected[0]), 3)), "200");
  });

  test("is limited to so many requests on each node, is told when to come again, and is not when that is lifted", async () => {
    await decide(restrict({ type: "limited", requestsPerMinute: 2 }));
    for (const [at, client] of connected.entries()) {
      // A follower may be a moment behind: from then on two of them pass.
      await until(`node ${at} limits it`, async () =>
        outcome(await call(client)) === "429 RequestLimitExceeded" ? true : undefined,
      );
      const { headers, status } = await call(client);
      assert.equal(status, 429);
      const seconds = Number(headers["retry-after"]);
      assert.ok(seconds >= 1 && seconds <= 30, `retry-after ${seconds}`);
      assert.equal(outcome(await read(client, "/node/commit")), "200", "what it may read is not limited");
    }
    assert.equal(outcome(await call(present(network.nodes[0]).rpc)), "200", "others are not limited");
    await decide(restrict(null));
    await everywhere(connected, call, "200");
    for (const client of connected)
      for (let times = 0; times < 5; times++) assert.equal(outcome(await call(client)), "200");
  });
});

describe("a member whose keys change", () => {
  test("rolls over without losing its id; what it lists no more, or has revoked, is refused on open connections", async () => {
    const [next, other] = [
      await selfSigned(dir, "hooli-next", "P-384", true),
      await issuedBy(hooli, dir, "other", "P-256"),
    ];
    const revoked = clientsOf(other);
    for (const client of revoked) assert.equal(outcome(await call(client)), "200");
    const list = await revocationListOf(hooli, dir, [other]);
    const rolled = clientsOf(next);
    for (const client of rolled) assert.equal(outcome(await call(client)), "401 CertificateUnknown");
    const certificate = derOf(next);
    await decide(
      { name: "set_revocations", args: { actor: "hooli", revocations: [list] } },
      { name: "add_certificate", args: { actor: "hooli", certificate } },
    );
    await everywhere(revoked, call, "401 CertificateRevoked");
    await everywhere(rolled, call, "200");
    const shown = await read(present(rolled[0]), `/gov/service/members/${toHex(sha256(certificate))}?${API}`);
    assert.equal((JSON.parse(shown.body) as { memberId: string }).memberId, "hooli");
    assert.equal(
      outcome(await call(clientOf(present(network.nodes[2]), staff))),
      "200",
      "the rest of its staff goes on",
    );

    await decide({ name: "remove_certificate", args: { actor: "hooli", fingerprint: toHex(sha256(certificate)) } });
    await everywhere(rolled, call, "401 CertificateUnknown");
  });
});

describe("a member that is removed", () => {
  test("is refused everywhere at once: connections, feeds, signed requests, its staff; what it proposed is dropped", async () => {
    const connected = [...clientsOf(hooli), ...clientsOf(staff)];
    for (const client of connected) {
      assert.equal(outcome(await call(client)), "200");
      assert.equal(outcome(await read(client, `/gov/service/info?${API}`)), "200");
    }
    const feeds = network.nodes.map((node) => follow(node, staff));
    await until("the feeds are open", () =>
      feeds.every(({ state }) => state.text.includes("retry")) ? true : undefined,
    );
    const payload = { actions: [{ name: "open_epoch", args: {} }] };
    const open = await signByOpenssl(dir, staff, "proposal", { payload });
    assert.equal((await postProposal(present(network.nodes[0]), Buffer.from(open.message))).status, 200);

    await decide({ name: "remove_member", args: { actor: "hooli" } });
    await everywhere(connected, call, "401 CertificateUnknown");
    for (const client of [...connected, ...clientsOf(hooli), ...clientsOf(staff)])
      for (const path of [`/gov/service/info?${API}`, `/gov/feed?${API}`, "/node/state", "/node/commit"])
        assert.equal(outcome(await read(client, path)), "401 CertificateUnknown", path);
    await until("its feeds have ended", () => (feeds.every(({ state }) => state.ended) ? true : undefined));
    for (const { state } of feeds) assert.doesNotMatch(state.text, /constitution_changed/, "it is told nothing more");

    const member = present(network.nodes[0]).rpc;
    await until("what it proposed is dropped", async () => {
      const { body } = await read(member, `/gov/members/proposals/${open.id}?${API}`);
      return (JSON.parse(body) as { proposalState: string }).proposalState === "Dropped" ? true : undefined;
    });
    for (const [at, node] of network.nodes.entries()) {
      const { message } = await signByOpenssl(dir, staff, "proposal", {
        payload: { ...payload, description: `late ${at}` },
      });
      const refused = await postProposal(node, Buffer.from(message));
      assert.equal(outcome(refused), "400 ProposalInvalid CertificateNotValid");
      // With the connection of the removed member too: the endpoint is open to everybody, the signature counts.
      const byItself = await present(connected[at]).http({
        path: CREATE,
        headers: { "content-type": "application/cose" },
        body: Buffer.from(message),
      });
      assert.equal(outcome(byItself), "400 ProposalInvalid CertificateNotValid");
    }
    await decide(restrict({ type: "banned" }));
    await requireSameLedgers(network.nodes);
  });
});
