/**
 * Governance as members outside of this library do it: keys of openssl, requests of curl, on any node of a real network, also
 * while its leader goes down.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseSignedRequest } from "../../src/core/governance/signed-request.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { toHex } from "../../src/core/codec/bytes.ts";
import {
  API_VERSION,
  asClient,
  certificateOf,
  curl,
  type CurlAnswer,
  derOf,
  type Identity,
  issuedBy,
  post,
  selfSigned,
  signByOpenssl,
} from "./lib/organisations.ts";
import { eventsOf, follow } from "./lib/feed.ts";
import { Network, type NetworkNode } from "./lib/network.ts";
import { delay, present, startProcess, until } from "./lib/processes.ts";

const PROPOSALS = "/gov/members/proposals";
const CREATE = `${PROPOSALS}:create`;

let dir: string;
let network: Network;
/** Lists its own leaf certificate. */
let globex: Identity;
/** Lists a CA certificate, under which this employee has a P-384 key. */
let staff: Identity;
let participant: Identity;
let leader: NetworkNode;
let followers: readonly NetworkNode[];

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "coco-governance-"));
  globex = await selfSigned(dir, "globex", "P-256");
  const ca = await selfSigned(dir, "initech-ca", "P-384", true);
  staff = await issuedBy(ca, dir, "initech-staff", "P-384");
  participant = await selfSigned(dir, "umbrella", "P-256");
  network = await Network.start(3, {}, [
    { id: "globex", name: "Globex", role: "member", certificate: certificateOf(globex) },
    { id: "initech", name: "Initech", role: "member", certificate: certificateOf(ca) },
    { id: "umbrella", name: "Umbrella", role: "participant", certificate: certificateOf(participant) },
  ]);
  ({ leader, followers } = await network.leader());
});
after(async () => {
  await network?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const follower = (at = 0): NetworkNode => present(followers[at]);
const settings = (maxDelayMs: number) => ({ actions: [{ name: "set_settings", args: { maxDelayMs } }] });
const read = async (node: NetworkNode, path: string, by: Identity = globex): Promise<CurlAnswer> =>
  curl(node, `${path}${path.includes("?") ? "&" : "?"}${API_VERSION}`, ...asClient(by));
const propose = (payload: unknown, by: Identity = globex) => signByOpenssl(dir, by, "proposal", { payload });

async function castBallot(node: NetworkNode, by: Identity, proposalId: string, memberId: string, vote = "yes") {
  const { effect } = (await read(node, `${PROPOSALS}/${proposalId}`)).json;
  const payload = { vote, effect: present(effect).digest };
  const ballot = await signByOpenssl(dir, by, "ballot", { payload, proposalId });
  return post(node, `${PROPOSALS}/${proposalId}/ballots/${memberId}:submit`, ballot.file);
}

function requireRefusal({ status, json }: CurlAnswer, expected: readonly [number, string, string?]): void {
  assert.deepEqual([status, json.error?.code, json.error?.reason], [expected[0], expected[1], expected[2]]);
  assert.ok(present(json.error?.remedy).length > 0);
}

describe("a proposal that openssl signed", () => {
  test("goes to a follower without a client certificate, is voted on by staff, and is told", async () => {
    const feed = follow(follower(1), participant);
    const curlFeed = startProcess("curl", [
      ...["-sSN", "--cacert", leader.serviceCertificate, ...asClient(globex)],
      `https://127.0.0.1:${leader.clientPort}/gov/feed?${API_VERSION}`,
    ]);
    await until("the feeds are open", () =>
      feed.state.text.includes("retry") && curlFeed.stdout().includes("retry") ? true : undefined,
    );
    const { file, id } = await propose(settings(3));
    const created = await post(follower(), CREATE, file);
    assert.equal(created.status, 200, created.body);
    const { proposalId, proposerId, proposalState, ballotCount } = created.json;
    assert.deepEqual(
      { proposalId, proposerId, proposalState, ballotCount },
      {
        ...{ proposalId: id, proposerId: "globex", proposalState: "Open", ballotCount: 0 },
      },
    );
    const transactionId = /x-ms-ccf-transaction-id: (\d+\.\d+)/.exec(created.headers)?.[1];
    const status = await read(follower(), `/gov/service/transactions/${transactionId}`);
    assert.deepEqual(status.json, { transactionId, status: "Committed" });

    const detail = (await read(follower(), `${PROPOSALS}/${id}`)).json;
    assert.deepEqual(detail.missingMembers, ["member0", "globex", "initech"]);
    assert.match(present(detail.effect?.changes[0]).words, /maxDelayMs to 3/);

    const own = await castBallot(follower(), globex, id, toHex(sha256(derOf(globex))));
    assert.deepEqual([own.status, own.json.proposalState, own.json.ballotCount], [200, "Open", 1], own.body);
    const decided = await castBallot(follower(1), staff, id, "initech");
    assert.deepEqual([decided.status, decided.json.proposalState], [200, "Accepted"], decided.body);
    assert.deepEqual(decided.json.finalVotes, { globex: true, initech: true });
    assert.match((await read(follower(1), "/gov/service/constitution")).body, /"maxDelayMs": ?3/);

    const names = ["proposal_opened", "ballot_cast", "ballot_cast", "proposal_accepted", "constitution_changed"];
    const told = await until("everything is told", () => {
      const events = eventsOf(feed.state.text);
      return events.length >= names.length ? events : undefined;
    });
    assert.deepEqual(
      told.map(({ event }) => event),
      names,
    );
    assert.ok(told.slice(0, 4).every(({ data }) => data.proposalId === id));
    const byCurl = await until("curl has read it", () => {
      const events = eventsOf(curlFeed.stdout());
      return events.length >= names.length ? events : undefined;
    });
    assert.deepEqual(byCurl, told, "the same events with the same ids on every node");
    curlFeed.signal("SIGTERM");
    feed.stop();

    const resumed = follow(leader, globex, { "last-event-id": present(told[2]?.id) });
    await until("what was missed comes", () => (eventsOf(resumed.state.text).length >= 2 ? true : undefined));
    assert.deepEqual(eventsOf(resumed.state.text), told.slice(3));
    resumed.stop();
  });

  test("is taken with a client certificate, and its signer named by that of TLS", async () => {
    const { file, id } = await propose(settings(4));
    const created = await post(leader, CREATE, file, ...asClient(participant));
    assert.deepEqual([created.status, created.json.proposerId], [200, "globex"], created.body);

    const bare = await signByOpenssl(dir, { ...staff, chain: [] }, "proposal", { payload: settings(5) });
    requireRefusal(await post(follower(), CREATE, bare.file), [400, "ProposalInvalid", "CertificateNotValid"]);
    const known = await post(follower(), CREATE, bare.file, ...asClient(staff));
    assert.deepEqual([known.status, known.json.proposerId], [200, "initech"], known.body);

    const withdrawal = await signByOpenssl(dir, globex, "withdrawal", { payload: {}, proposalId: id });
    requireRefusal(await post(leader, `${PROPOSALS}/${bare.id}:withdraw`, withdrawal.file), [
      ...([400, "ProposalInvalid", "OtherPath"] as const),
    ]);
    const withdrawn = await post(follower(1), `${PROPOSALS}/${id}:withdraw`, withdrawal.file);
    assert.deepEqual([withdrawn.status, withdrawn.json.proposalState], [200, "Withdrawn"], withdrawn.body);

    const history = (await read(follower(1), `${PROPOSALS}/${id}/history`, participant)).json.value ?? [];
    assert.deepEqual(
      history.map(({ type }) => type),
      ["proposal", "withdrawal"],
    );
    const [first] = history;
    const signed = parseSignedRequest(Buffer.from(present(first?.message), "base64"));
    assert.equal(toHex(sha256(signed.signedBytes)), id);
    assert.equal(toHex(sha256(Buffer.from(present(first?.certificates?.[0]), "base64"))), signed.keyId);

    const listed = (await read(leader, `${PROPOSALS}?state=Withdrawn&proposer=globex&action=set_settings`)).json;
    assert.deepEqual(
      listed.value?.map(({ proposalId }) => proposalId),
      [id],
    );
    const page = (await read(leader, `${PROPOSALS}?limit=1`)).json;
    assert.equal(page.value?.length, 1);
    const next = (await curl(leader, present(page.nextLink), ...asClient(globex))).json;
    assert.notEqual(next.value?.[0]?.proposalId, page.value?.[0]?.proposalId);
  });

  test("is tried before by members, and voted on by criteria", async () => {
    const file = join(dir, "dry-run.json");
    writeFileSync(file, JSON.stringify({ actions: [{ name: "open_epoch", args: {} }] }));
    const tried = await post(follower(), `${PROPOSALS}:dry-run`, file, ...asClient(staff));
    assert.equal(tried.status, 200, tried.body);
    assert.match(present(tried.json.policies?.[0]).words, /2 of 3 members/);
    assert.match(present(tried.json.effect?.changes[0]).words, /opens the next epoch/);
    assert.deepEqual([tried.json.verdict, tried.json.missingMembers?.length], ["open", 3]);
    requireRefusal(await post(leader, `${PROPOSALS}:dry-run`, file, ...asClient(participant)), [403, "NotAuthorized"]);
    requireRefusal(await post(leader, `${PROPOSALS}:dry-run`, file), [401, "AuthenticationRequired"]);

    const payload = {
      criteria: [{ actions: ["open_epoch"], existingActor: false, nodesPerActor: 0, codeApprovedByMajority: false }],
    };
    const votes = await signByOpenssl(dir, globex, "automatic_vote", { payload });
    const registered = await post(follower(), "/gov/members/automatic-votes/globex:register", votes.file);
    assert.deepEqual([registered.status, registered.json.memberId], [200, "globex"], registered.body);
    const again = await post(follower(), `${PROPOSALS}:dry-run`, file, ...asClient(globex));
    assert.deepEqual(again.json.missingMembers, ["member0", "initech"]);
  });

  test("is refused with a reason, and nothing else is open to strangers", async () => {
    const proposal = await propose(settings(6));
    const send = (body: Uint8Array, path = CREATE) => {
      const file = join(dir, "hostile");
      writeFileSync(file, body);
      return post(follower(), path, file);
    };
    assert.equal((await post(follower(), CREATE, proposal.file)).status, 200);
    requireRefusal(await post(leader, CREATE, proposal.file), [400, "ProposalInvalid", "ProposalReplay"]);
    const flipped = Uint8Array.from(proposal.message);
    flipped[flipped.length - 1] = present(flipped.at(-1)) ^ 1;
    requireRefusal(await send(flipped), [400, "ProposalInvalid", "SignatureInvalid"]);
    requireRefusal(await send(Buffer.from("{}")), [400, "ProposalInvalid", "Malformed"]);
    requireRefusal(await send(new Uint8Array(200_000)), [413, "LimitExceeded"]);
    const ballot = `${PROPOSALS}/${proposal.id}/ballots/globex:submit`;
    requireRefusal(await send(proposal.message, ballot), [400, "ProposalInvalid", "OtherPath"]);
    const unknown = await propose({ actions: [{ name: "set_moon", args: {} }] });
    const refused = await post(follower(), CREATE, unknown.file);
    requireRefusal(refused, [400, "ProposalInvalid", "UnknownAction"]);
    assert.equal((await read(leader, `${PROPOSALS}/${unknown.id}`)).json.error?.code, "ProposalNotFound");
    const logged = await until("the refusal is in the log", () =>
      follower()
        .events("request_refused")
        .find(({ request }) => request === unknown.id),
    );
    assert.deepEqual([logged["actor"], logged["reason"]], ["globex", "UnknownAction"]);
    for (const { reason } of follower().events("request_refused")) assert.notEqual(reason, "SignatureInvalid");

    requireRefusal(await curl(leader, `${PROPOSALS}?${API_VERSION}`), [401, "AuthenticationRequired"]);
    requireRefusal(await curl(leader, "/node/state"), [401, "AuthenticationRequired"]);
    requireRefusal(await curl(leader, PROPOSALS, ...asClient(globex)), [400, "MissingApiVersionParameter"]);
    const old = await curl(leader, `${PROPOSALS}?api-version=2020-01-01`, ...asClient(globex));
    requireRefusal(old, [400, "UnsupportedApiVersionValue"]);
    const wrong = await curl(leader, `${PROPOSALS}?${API_VERSION}`, "-X", "DELETE", ...asClient(globex));
    requireRefusal(wrong, [405, "MethodNotAllowed"]);
    assert.match(wrong.headers, /allow: get/);
    requireRefusal(await read(leader, "/gov/nothing"), [404, "NotFound"]);
    const { endpoints = [] } = (await read(leader, "/node/api")).json;
    assert.ok(endpoints.some(({ path, who }) => path === CREATE && who === "signed"));
  });
});

describe("the service as members see it", () => {
  test("names members by id and by certificate, nodes, policies and itself", async () => {
    const members = (await read(follower(), "/gov/service/members")).json.value ?? [];
    assert.deepEqual(
      members.map(({ memberId }) => memberId),
      ["member0", "globex", "initech"],
    );
    const byCertificate = await read(follower(), `/gov/service/members/${toHex(sha256(derOf(globex)))}`);
    assert.equal(byCertificate.json.memberId, "globex");
    requireRefusal(await read(follower(), "/gov/service/members/umbrella"), [404, "NotFound"]);
    const participants = (await read(follower(), "/gov/service/participants")).json.value ?? [];
    assert.deepEqual(
      participants.map(({ memberId }) => memberId),
      ["umbrella"],
    );
    const nodes = (await read(follower(), "/gov/service/nodes")).json.value ?? [];
    assert.deepEqual(
      nodes.map(({ status }) => status),
      ["Trusted", "Trusted", "Trusted"],
    );
    const one = await read(follower(), `/gov/service/nodes/${nodes[0]?.nodeId}`);
    assert.deepEqual(one.json, nodes[0]);
    const policies = (await read(follower(), "/gov/service/policies")).json.value ?? [];
    assert.match(present(policies[0]?.words), /needs 2 of 3 members/);
    const info = (await read(follower(), "/gov/service/info")).json;
    assert.equal(info.status, "Open");
    assert.match(present((await read(leader, "/gov/service/transactions/commit")).json.transactionId), /^\d+\.\d+$/);
  });
});

describe("while the leader goes down", () => {
  test("requests of clients of other nodes are neither lost nor doubled", async () => {
    const seconds = Math.floor(Date.now() / 1000);
    const signed = await Promise.all(
      [10, 11, 12].map((maxDelayMs, at) =>
        signByOpenssl(dir, globex, "proposal", { payload: settings(maxDelayMs), createdAt: seconds + at }),
      ),
    );
    // It takes what comes and does nothing with it.
    leader.signal("SIGSTOP");
    const answers = Promise.all(signed.map(({ file }, at) => post(follower(at % 2), CREATE, file)));
    // They reach it while it is still held for the leader; were they late, the test would only be weaker.
    await delay(300);
    await leader.end("SIGKILL");
    for (const answer of await answers) assert.equal(answer.status, 200, answer.body);

    leader.start();
    await network.ready();
    for (const node of network.nodes) {
      const listed = await until(`${node.name} has caught up`, async () => {
        const { value = [] } = (await read(node, `${PROPOSALS}?proposer=globex&state=Open`)).json;
        const ids = value.map(({ proposalId }) => proposalId);
        return signed.every(({ id }) => ids.includes(id)) ? ids : undefined;
      });
      assert.equal(new Set(listed).size, listed.length);
      for (const { file } of signed)
        requireRefusal(await post(node, CREATE, file), [400, "ProposalInvalid", "ProposalReplay"]);
    }
    ({ leader, followers } = await network.leader());
  });
});

describe("a feed", () => {
  test("ends when its actor is removed, and not for others", async () => {
    const [gone, stays] = [follow(follower(), participant), follow(follower(), globex)];
    await until("the feeds are open", () =>
      gone.state.text.includes("retry") && stays.state.text.includes("retry") ? true : undefined,
    );
    const { file, id } = await propose({ actions: [{ name: "remove_participant", args: { actor: "umbrella" } }] });
    const created = await post(leader, CREATE, file);
    assert.equal(created.status, 200, created.body);
    await castBallot(leader, globex, id, "globex");
    const decided = await castBallot(leader, staff, id, "initech");
    assert.equal(decided.json.proposalState, "Accepted", decided.body);
    await until("its feed ends", () => (gone.state.ended ? true : undefined));
    await until("the other goes on", () => (stays.state.text.includes("constitution_changed") ? true : undefined));
    assert.equal(stays.state.ended, false);
    assert.ok(!gone.state.text.includes("constitution_changed"));
    assert.match((await read(follower(), PROPOSALS, participant)).body, /CertificateUnknown/);
    stays.stop();
  });
});
