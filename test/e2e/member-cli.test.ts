/**
 * Members govern a real network with the command line: three organisations with keys of three kinds, each in a folder of its
 * own and at its own node, one of them by its staff, one with a key that only openssl holds.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { constitutionFromJson } from "../../src/core/governance/constitution-codec.ts";
import { parseSignedRequest } from "../../src/core/governance/signed-request.ts";
import { coco, done, FoundedNetwork } from "./lib/founded-network.ts";
import { CLI, runProcess, startProcess, until } from "./lib/processes.ts";

let network: FoundedNetwork;

before(async () => {
  network = await FoundedNetwork.start(
    [
      { id: "acme", keygen: ["--ca"] },
      { id: "globex", keygen: ["--curve", "p256"] },
      { id: "initech", keygen: [] },
    ],
    ["--policy", "set_settings=unanimous", "--policy", "retire_code=veto:globex,majority/delay=1h"],
  );
});
after(() => network?.stop());

const member = (...args: readonly string[]) => coco("member", ...args);

async function json(...args: readonly string[]) {
  const { stdout } = await done(...args, "--json");
  return JSON.parse(stdout);
}

/** Proposes what opens the next epoch; the id. */
async function proposeEpoch(by: string, ...more: readonly string[]): Promise<string> {
  return (await json("member", "propose", "--action", "open_epoch", ...network.as(by), ...more)).proposalId;
}

describe("members with the command line", () => {
  test("a dry run says what would change and who must agree, and records nothing", async () => {
    const args = ["member", "propose", "--action", "set_settings", "--arg", "nodesPerActor=2", "--dry-run"];
    const text = (await done(...args, ...network.as("acme"))).stdout;
    assert.match(text, /changes\n.*nodesPerActor/);
    assert.match(text, /changing settings needs all 3 members/);
    assert.match(text, /asked to vote: acme, globex, initech/);
    assert.match(text, /it lapses 20\d\d-/);
    const shown = await json(...args, ...network.as("globex"));
    assert.match(shown.effect.digest, /^[0-9a-f]{64}$/);
    assert.deepEqual(shown.missingMembers, ["acme", "globex", "initech"]);
    assert.deepEqual((await json("member", "status", ...network.as("acme"))).proposals, []);
  });

  test("what is wrong is told with the exact field or reason, and an exit code of its own", async () => {
    const acme = network.as("acme");
    const field = await member("propose", "--action", "set_settings", "--arg", "nodesPerActor=many", ...acme);
    assert.equal(field.code, 1);
    assert.match(field.stderr, /ProposalInvalid: actions\[0\]\.args\.nodesPerActor: expected a whole number/);
    const unknown = await member("propose", "--action", "remove_member", "--arg", "actor=nobody", ...acme);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /nobody is not an actor.*\n {2}Name an actor of the constitution by its id\./);
    const nowhere = ["--url", "https://127.0.0.1:9", ...acme.slice(2)];
    const unreachable = await member("status", ...nowhere);
    assert.equal(unreachable.code, 3);
    assert.match(unreachable.stderr, /CannotConnect: https:\/\/127\.0\.0\.1:9: .*\n {2}Check the address/);
    const dir = join(network.dir, "stranger");
    await done("member", "keygen", "--id", "stranger", "--dir", dir, "--ca");
    const files = ["--cert", join(dir, "stranger_cert.pem"), "--key", join(dir, "stranger_privk.pem")];
    const stranger = await member("status", ...acme.slice(0, 4), ...files);
    assert.equal(stranger.code, 5);
    assert.match(stranger.stderr, /CertificateUnknown/);
    const otherService = await member("status", ...acme.slice(0, 3), join(dir, "stranger_cert.pem"), ...acme.slice(4));
    assert.equal(otherService.code, 4);
    assert.match(otherService.stderr, /ServiceNotTrusted/);
    const wrongKey = await member("status", ...acme.slice(0, 6), "--key", network.organisation("globex").key);
    assert.equal(wrongKey.code, 1);
    assert.match(wrongKey.stderr, /is not the key of the certificate/);
    assert.equal((await member("vote", "abc", "yes", ...acme)).code, 2);
    assert.equal((await member("vote", "abcdef", "yes", ...acme)).code, 1);
    assert.equal((await member("propose", "--action", "open_epoch")).code, 2);
  });

  test("staff, a key on P-256 and one that only openssl holds agree, each at its own node", async () => {
    const acme = network.organisation("acme");
    const ca = ["--ca-cert", acme.certificate, "--ca-key", acme.key];
    await done("member", "staff", "--id", "ada", "--name", "Ada", ...ca, "--dir", acme.dir, "--days", "30");
    const ada = ["--cert", join(acme.dir, "ada_cert.pem"), "--key", join(acme.dir, "ada_privk.pem")];
    const byAda = [...network.connection(acme), ...ada];
    const file = join(acme.dir, "change.json");
    const actions = [{ name: "set_settings", args: { nodesPerActor: 2 } }];
    await writeFile(file, JSON.stringify({ actions, description: "At most two nodes each" }));
    const { proposalId, proposalState } = await json("member", "propose", file, ...byAda);
    assert.equal(proposalState, "Open");

    const again = ["member", "propose", "--action", "set_settings", "--arg", "nodesPerActor=2", "--dry-run"];
    const same = `note: proposal ${proposalId} of acme is open and would do the same; vote on it: coco member vote`;
    assert.ok((await done(...again, ...network.as("globex"))).stderr.includes(same));
    const tee = ["--arg", "tee=snp", "--arg", "id=cloud", "--arg", "note=x", "--arg", 'policy={"products":["Milan"]}'];
    const approve = ["member", "propose", "--action", "approve_tee", ...tee, "--dry-run", ...network.as("globex")];
    const { stdout, stderr } = await done(...approve);
    assert.match(
      stdout,
      /approves AMD SEV-SNP by the entry cloud \(x\): chips of Milan only; of any TCB; nothing beyond/,
    );
    assert.match(
      stderr,
      /^note: the entry cloud of AMD SEV-SNP can be met by no node: no code has reference values of snp/m,
    );
    again[5] = "nodesPerActor=3";
    assert.doesNotMatch((await done(...again, ...network.as("globex"))).stderr, /note: proposal/);

    const vote = await done("member", "vote", proposalId.slice(0, 8), "yes", ...byAda);
    assert.match(vote.stdout, /by +acme\n +At most two nodes each\nchanges\n/);
    assert.match(vote.stdout, /effect +[0-9a-f]{64}, found out here/);
    assert.equal((await json("member", "vote", proposalId, "yes", ...network.as("globex"))).ballotCount, 2);
    const open = (await done("member", "status", proposalId, ...network.as("globex"))).stdout;
    assert.match(open, /state +Open[\s\S]*acme: yes[\s\S]*globex: yes[\s\S]*missing +initech/);
    const table = (await done("member", "status", "--state", "open", ...network.as("initech"))).stdout;
    assert.match(table, new RegExp(`${proposalId.slice(0, 12)} +Open +acme +set_settings +2 yes +initech +in 6 days`));

    const initech = network.organisation("initech");
    const prepared = join(initech.dir, "ballot.json");
    await done("member", "vote", proposalId, "yes", ...network.as("initech"), "--prepare", prepared);
    const key = ["-sign", initech.key, "-out", join(initech.dir, "ballot.sig"), `${prepared}.tbs`];
    const signed = await runProcess("openssl", ["dgst", "-sha384", ...key]);
    assert.equal(signed.code, 0, signed.stderr);
    const finish = ["member", "finish", prepared, "--signature", join(initech.dir, "ballot.sig")];
    const message = join(initech.dir, "ballot.cose");
    const answer = await json(...finish, "--out", message, "--send", ...network.connection(initech));
    assert.equal(answer.proposalState, "Accepted");
    assert.deepEqual(answer.finalVotes, { acme: true, globex: true, initech: true });
    assert.equal(parseSignedRequest(await readFile(message)).proposalId, proposalId);
    const { settings } = (await json("constitution", "show", ...network.as("acme"))).constitution;
    assert.equal(settings.nodesPerActor, 2);
    assert.equal((await member("status", proposalId, "--wait", "30", ...network.as("acme"))).code, 0);
    const late = await member("vote", proposalId, "no", ...network.as("acme"));
    assert.deepEqual([late.code, late.stdout], [1, ""]);
    assert.match(late.stderr, /the proposal is Accepted\n {2}Look at what became of the proposal/);
  });

  test("a signature of other bytes, or by another key, makes no request", async () => {
    const initech = network.organisation("initech");
    const prepared = join(initech.dir, "epoch.json");
    const { networkId } = await json("constitution", "show", ...network.as("initech"));
    const offline = ["--cert", initech.certificate, "--network-id", networkId, "--prepare", prepared];
    await done("member", "propose", "--action", "open_epoch", ...offline);
    const signature = join(initech.dir, "epoch.sig");
    const sign = ["-sign", network.organisation("acme").key, "-out", signature, `${prepared}.tbs`];
    assert.equal((await runProcess("openssl", ["dgst", "-sha384", ...sign])).code, 0);
    const out = join(initech.dir, "epoch.cose");
    const { code, stderr } = await member("finish", prepared, "--signature", signature, "--out", out);
    assert.equal(code, 1);
    assert.match(stderr, /SignerFailed: the signature is not of these bytes/);
    const text = await readFile(prepared, "utf8");
    await writeFile(prepared, text.replace("open_epoch", "rotate_service_identity"));
    const changed = await member("finish", prepared, "--signature", signature, "--out", out);
    assert.equal(changed.code, 1);
    assert.match(changed.stderr, /toBeSigned/);
  });

  test("a proposal is withdrawn by its member alone; one voted down ends a wait with 6, one undecided with 7", async () => {
    const id = await proposeEpoch("acme");
    const other = await member("withdraw", id, ...network.as("globex"));
    assert.equal(other.code, 1);
    assert.match(other.stderr, /withdrawn by the member that made it/);
    assert.equal((await member("status", id, "--wait", "1", ...network.as("globex"))).code, 7);
    assert.equal((await json("member", "withdraw", id, ...network.as("acme"))).proposalState, "Withdrawn");
    const rejected = await proposeEpoch("globex");
    for (const by of ["acme", "initech"]) await done("member", "vote", rejected, "no", ...network.as(by));
    const waited = await member("status", rejected, "--wait", "30", ...network.as("globex"));
    assert.equal(waited.code, 6, waited.stderr);
    assert.match(waited.stdout, /state +Rejected/);
  });

  test("criteria vote by themselves, and a ballot by script counts", async () => {
    const criteria = join(network.dir, "criteria.json");
    await writeFile(criteria, JSON.stringify({ criteria: [{ actions: ["open_epoch"] }] }));
    const registered = await json("member", "automatic-votes", criteria, ...network.as("globex"));
    assert.equal(registered.memberId, "globex");
    const id = await proposeEpoch("initech");
    const { votes } = await json("member", "status", id, ...network.as("acme"));
    assert.deepEqual(votes, [{ memberId: "globex", vote: "yes", by: "criteria" }]);
    const script = join(network.dir, "ballot.js");
    await writeFile(script, "export function vote (proposal, proposer) { return proposer === 'initech'; }");
    const voted = await json("member", "vote", id, "--ballot", script, ...network.as("acme"));
    assert.equal(voted.proposalState, "Accepted");
  });

  test("watch tells events as JSON lines until their number is reached, and Ctrl-C ends it with 0", async () => {
    const args = [CLI, "member", "watch", "--json", ...network.as("acme")];
    const counted = startProcess(process.execPath, [...args, "--count", "2"]);
    const interrupted = startProcess(process.execPath, args);
    for (const running of [counted, interrupted])
      await until("it follows", () => (running.stderr().includes("following") ? true : undefined));
    const id = await proposeEpoch("globex");
    await done("member", "withdraw", id, ...network.as("globex"));
    assert.equal((await counted.exited).code, 0, counted.stderr());
    const lines = counted.stdout().trim().split("\n");
    assert.equal(lines.length, 2);
    const [opened] = lines.map((line) => JSON.parse(line));
    assert.deepEqual([opened.type, opened.data.proposalId], ["proposal_opened", id]);
    await until("both events", () => (interrupted.stdout().split("\n").length > 2 ? true : undefined));
    interrupted.signal("SIGINT");
    assert.equal((await interrupted.exited).code, 0);
  });

  test("the constitution and the nodes are shown in words and in JSON", async () => {
    const text = (await done("constitution", "show", ...network.as("globex"))).stdout;
    assert.match(text, /changing settings needs all 3 members/);
    assert.match(text, /retiring code needs .*no veto by globex[\s\S]*takes effect 1 hour after it is accepted/);
    const { constitution, networkId, digest } = await json("constitution", "show", ...network.as("globex"));
    assert.notEqual(networkId, digest);
    const genesis = constitutionFromJson(await readFile(network.genesis, "utf8"));
    assert.equal(constitution.actors.length, genesis.actors.length);
    const checked = await json("constitution", "check", network.genesis);
    assert.deepEqual([checked.valid, checked.digest], [true, networkId]);
    const { nodes } = await json("node", "list", ...network.as("initech"));
    assert.deepEqual(
      nodes.map(({ status }: { status: string }) => status),
      ["Trusted", "Trusted", "Trusted"],
    );
    assert.match((await done("node", "list", ...network.as("acme"))).stdout, /^ID +STATUS +OWNER/);
  });
});
