/** What the consortium of the demonstration decides and does while clients write. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assertThat, type Organisation, PACKAGE, readOf, until } from "./consortium.ts";
import { ask, caughtUp, type Cast, decide, prepare, SERVICE_CERTIFICATE } from "./consortium-founding.ts";

interface Code {
  readonly measurement: string;
  readonly name: string;
  readonly version: string;
}

interface NodeView {
  readonly nodeId: string;
  readonly status: string;
  readonly owner: string;
  readonly measurement: string | null;
}

interface Shown {
  readonly digest: string;
  readonly version: number;
}

function propose(organisation: Organisation, file: string, proposal: unknown): void {
  writeFileSync(join(organisation.dir, file), `${JSON.stringify(proposal, undefined, 2)}\n`);
}

async function nodesOf(organisation: Organisation): Promise<readonly NodeView[]> {
  const answer = await ask<{ readonly value: readonly NodeView[] }>(
    organisation,
    "/gov/service/nodes?api-version=2024-07-01",
  );
  return answer?.value ?? [];
}

/** An organisation comes in with its node: too early, then by vote, then when its owner has approved what it is told. */
async function admit(
  cast: Cast,
  newcomer: Organisation,
  host: Organisation,
  voters: readonly Organisation[],
): Promise<void> {
  const { consortium, running, load } = cast;
  const { id, name } = newcomer;
  await prepare(cast, newcomer);
  const join_ = ["node", "join", "--dir", "node", "--url", `https://127.0.0.1:${host.clientPort}`];
  const arguments_ = [...join_, "--service-cert", SERVICE_CERTIFICATE];
  const early = consortium.start(newcomer, arguments_);
  await until("the newcomer is told that it is too early", () =>
    early.text().includes("JoinNotListed") ? true : undefined,
  );
  consortium.hand(newcomer, `keys/${id}_cert.pem`, host);
  consortium.hand(newcomer, `${id}-node.json`, host);
  const kind = id === "umbra" ? "add_participant" : "add_member";
  propose(host, `admit-${id}.json`, {
    description: `${name} joins with a node of its own`,
    actions: [
      { name: kind, args: { id, name, certificates: [`@${id}_cert.pem`] } },
      { name: "add_node", args: { entry: `@${id}-node.json` } },
    ],
  });
  await consortium.run(host, ["member", "propose", `admit-${id}.json`, "--dry-run"], { show: /./ });
  await decide(cast, host, [`admit-${id}.json`], voters);
  // It has gone on asking; nobody sits at its terminal to approve, so that it ends and changes nothing.
  await consortium.finish(early, `${id}: coco node join`, { code: 3, show: /not yet|^constitution|JoinNotApproved/ });
  const { digest, version } = await consortium.json<Shown>(host, ["constitution", "show"]);
  const approved = await consortium.run(newcomer, [...arguments_, "--approve", digest], {
    show: /^constitution|approved/,
  });
  assertThat(
    approved.stdout.includes(`constitution version ${version}, digest ${digest}`),
    "the newcomer sees that digest",
  );
  consortium.startNode(newcomer);
  await caughtUp(newcomer, host);
  await until(`the node of ${id} votes`, async () =>
    (await nodesOf(host)).some(({ owner, status }) => owner === id && status === "Trusted") ? true : undefined,
  );
  running.push(newcomer);
  if (load.current !== undefined) load.current.ports = running.map(({ clientPort }) => clientPort);
}

/** A fourth member and a fifth organisation, a participant, each with a node. */
export async function admitTwo(cast: Cast): Promise<string> {
  const { consortium, acme, globex, initech, hooli, umbra } = cast;
  await admit(cast, hooli, acme, [acme, globex]);
  await admit(cast, umbra, acme, [globex, initech, hooli]);
  await consortium.run(acme, ["node", "list"]);
  const nodes = await nodesOf(acme);
  assertThat(nodes.length === 5 && nodes.every(({ status }) => status === "Trusted"), "five nodes vote");
  return "refused before the vote, let in after it and its owner's approval; five nodes vote";
}

/** The package with a changed file, as somebody installs a new version. */
function installNewVersion(cast: Cast): string {
  const folder = join(cast.consortium.dir, "new-version");
  mkdirSync(folder);
  cpSync(join(PACKAGE, "dist", "src"), join(folder, "dist", "src"), { recursive: true });
  cpSync(join(PACKAGE, "package-lock.json"), join(folder, "package-lock.json"));
  symlinkSync(join(PACKAGE, "node_modules"), join(folder, "node_modules"), "junction");
  const description = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "package.json"), JSON.stringify({ ...description, version: "0.1.1" }));
  const changed = join(folder, "dist", "src", "cli", "version-command.js");
  writeFileSync(changed, `${readFileSync(changed, "utf8")}// Changed in version 0.1.1.\n`);
  return folder;
}

/** New code is approved, every node rolled over to it in turn, and the old code retired. */
export async function rollOver(cast: Cast): Promise<string> {
  const { consortium, acme, globex, initech, hooli, running, load } = cast;
  const before = await consortium.json<Code>(acme, ["code", "measure"]);
  const code = installNewVersion(cast);
  const after = await consortium.json<Code>({ ...acme, code }, ["code", "measure"]);
  assertThat(before.measurement !== after.measurement, "the changed code has another measurement");
  const { measurement, name, version } = after;
  const approve = ["measurement", "name", "version"].flatMap((field, at) => [
    "--arg",
    `${field}=${[measurement, name, version][at]}`,
  ]);
  await decide(cast, acme, ["--action", "approve_code", ...approve], [acme, globex, hooli]);
  for (const organisation of [...running]) {
    const others = running.filter((other) => other !== organisation);
    if (load.current !== undefined) load.current.ports = running.map(({ clientPort }) => clientPort);
    await consortium.stopNode(organisation);
    organisation.code = code;
    consortium.startNode(organisation);
    const [other] = others;
    await caughtUp(organisation, other);
  }
  await until("the ledger says that all nodes run the new code", async () =>
    (await nodesOf(acme)).every((node) => node.measurement === measurement) ? true : undefined,
  );
  await consortium.run(acme, ["node", "list"]);
  const retire = ["--action", "retire_code", "--arg", `measurement=${before.measurement}`];
  const tried = await consortium.run(globex, ["member", "propose", ...retire, "--dry-run"]);
  assertThat(!tried.stdout.includes("expels"), "retiring the old code expels nobody");
  await decide(cast, globex, retire, [globex, initech, hooli]);
  assertThat((await nodesOf(acme)).length === running.length, "all nodes are still listed");
  assertThat(load.current?.count().failed === 0, "no write has failed");
  return `five nodes one by one to ${measurement.slice(0, 12)}, 0 failed writes; old code retired, nobody expelled`;
}

/** Another policy for admitting members, judged by the one before it; what follows is judged by the new one. */
export async function changePolicy(cast: Cast): Promise<string> {
  const { consortium, acme, globex, initech, hooli } = cast;
  const rule = { type: "veto", by: ["acme"], rule: { type: "count", yes: 3 } };
  const policy = { rule, expiresAfterMs: 86_400_000, deliberationMs: 0, delayMs: 0 };
  const change = ["--action", "set_policy", "--arg", "action=add_member", "--arg", `policy=${JSON.stringify(policy)}`];
  await consortium.run(globex, [
    "member",
    "keygen",
    "--id",
    "vandelay",
    "--name",
    "Vandelay Bank",
    "--dir",
    "vandelay",
  ]);
  const add = ["--action", "add_member", "--arg", "id=vandelay", "--arg", "name=Vandelay Bank"];
  const admission = [...add, "--arg", 'certificates=["@vandelay/vandelay_cert.pem"]'];
  const needs = { show: /needs/ };
  const before = await consortium.run(globex, ["member", "propose", ...admission, "--dry-run"], needs);
  assertThat(/adding a member needs 3 of 4 members;/.test(before.stdout), "so far a majority admits a member");
  const tried = await consortium.run(initech, ["member", "propose", ...change, "--dry-run"], { show: /./ });
  assertThat(/setting a voting policy needs 3 of 4 members;/.test(tried.stdout), "the old policy judges its change");
  await decide(cast, initech, change, [initech, globex, hooli]);
  const proposed = await consortium.run(globex, ["member", "propose", ...admission, "--yes"], { show: /./ });
  assertThat(
    /adding a member needs 3 of 4 members, and no veto/.test(proposed.stdout),
    "the new policy judges what follows",
  );
  const id = /^proposal\s+([0-9a-f]{64})/m.exec(proposed.stdout)?.[1] ?? "";
  await consortium.run(globex, ["member", "vote", id.slice(0, 12), "yes", "--yes"], { show: /^state/ });
  await consortium.run(hooli, ["member", "vote", id.slice(0, 12), "yes", "--yes"], { show: /^state/ });
  const vetoed = await consortium.run(acme, ["member", "vote", id.slice(0, 12), "no", "--yes"], {
    show: /^needs|^ {2}|^state/,
  });
  assertThat(/^state\s+Rejected/m.test(vetoed.stdout), "the veto rejects it at once");
  await consortium.run(hooli, ["member", "status", id.slice(0, 12), "--wait", "20"], {
    code: 6,
    show: /^state|^ {2}\w+:/,
  });
  return "accepted by the old majority; then 2 yes and acme's veto: rejected at once";
}

/** A member goes with its node; the network takes a new key and the service a new identity. */
export async function expel(cast: Cast): Promise<string> {
  const { consortium, acme, globex, initech, hooli, umbra, running, load } = cast;
  const node = (await nodesOf(acme)).find(({ owner }) => owner === initech.id);
  assertThat(node !== undefined, "initech has a node");
  propose(globex, "expel-initech.json", {
    description: "Initech leaves the consortium",
    actions: [
      { name: "remove_member", args: { actor: initech.id } },
      { name: "remove_node", args: { nodeId: node.nodeId } },
    ],
  });
  const oldService = readOf(acme, join("node", SERVICE_CERTIFICATE));
  await consortium.run(globex, ["member", "propose", "expel-initech.json", "--dry-run"], { show: /./ });
  await decide(cast, globex, ["expel-initech.json"], [globex, acme, hooli]);
  running.splice(running.indexOf(initech), 1);
  if (load.current !== undefined) load.current.ports = running.map(({ clientPort }) => clientPort);
  await until("the service has a new identity on all nodes that stay", () =>
    running.every((organisation) => readOf(organisation, join("node", SERVICE_CERTIFICATE)) !== oldService)
      ? true
      : undefined,
  );
  await until("the channels to the removed node are closed", () =>
    consortium
      .nodeLog(acme)
      .split("\n")
      .some((line) => line.includes("channel_down") && line.includes(node.nodeId))
      ? true
      : undefined,
  );
  const elsewhere = { ...initech, env: { ...initech.env, COCO_URL: `https://127.0.0.1:${acme.clientPort}` } };
  const refused = await consortium.run(elsewhere, ["member", "status"], { code: 5, show: /./ });
  assertThat(/CertificateUnknown/.test(refused.stderr), "its certificate is refused");
  const { acknowledged } = load.current?.count() ?? { acknowledged: 0 };
  await until("writes go on", () => ((load.current?.count().acknowledged ?? 0) > acknowledged + 20 ? true : undefined));
  await caughtUp(umbra, acme);
  assertThat(load.current?.count().failed === 0, "no write has failed");
  return "channels end, new epoch, new service identity; its certificate is refused; writes go on, 0 failed";
}
