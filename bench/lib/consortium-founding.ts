/** How the consortium of the demonstration begins: keys, nodes, a constitution, three processes, and a vote that opens it. */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import { assertThat, type Consortium, type Organisation, type Party, readOf, until } from "./consortium.ts";
import { ConsortiumLoad } from "./consortium-load.ts";
import { allocOf, makeAccounts } from "./wallet.ts";

const CHAIN_ID = 4711;
const WRITERS = 4;
const ANSWER_LIMIT_MS = 5_000;
/** Name of the network. */
export const NETWORK = "trade";
/** The service certificate that organisations know the network by: the first one, whatever comes later. */
export const SERVICE_CERTIFICATE = "service_cert.pem";

/** The parties of the demonstration; those of `running` have a node in the network. */
export interface Cast {
  readonly consortium: Consortium;
  readonly acme: Organisation;
  readonly globex: Organisation;
  readonly initech: Organisation;
  readonly hooli: Organisation;
  readonly umbra: Organisation;
  readonly auditor: Party;
  readonly running: Organisation[];
  readonly load: { current?: ConsortiumLoad };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, "127.0.0.1", done))));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Makes the folders of all parties. */
export async function makeCast(consortium: Consortium): Promise<Cast> {
  const ports = await freePorts(10);
  const organisation = (id: string, name: string): Organisation => {
    const [peerPort = 0, clientPort = 0] = ports.splice(0, 2);
    const { dir, code } = consortium.party(id);
    const env = {
      COCO_URL: `https://127.0.0.1:${clientPort}`,
      COCO_SERVICE_CERT: SERVICE_CERTIFICATE,
      COCO_CERT: `keys/${id}_cert.pem`,
      COCO_KEY: `keys/${id}_privk.pem`,
    };
    return { id, name, dir, code, env, peerPort, clientPort };
  };
  return {
    consortium,
    acme: organisation("acme", "Acme Bank"),
    globex: organisation("globex", "Globex Bank"),
    initech: organisation("initech", "Initech Bank"),
    hooli: organisation("hooli", "Hooli Bank"),
    umbra: organisation("umbra", "Umbra Brokers"),
    auditor: consortium.party("auditor"),
    running: [],
    load: {},
  };
}

/** Keys of an organisation, its node, and its signature under the node's entry. */
export async function prepare({ consortium }: Cast, organisation: Organisation): Promise<void> {
  const { id, name, peerPort, clientPort } = organisation;
  await consortium.run(organisation, ["member", "keygen", "--id", id, "--name", name, "--dir", "keys", "--ca"]);
  const [peers, clients] = [`127.0.0.1:${peerPort}`, `127.0.0.1:${clientPort}`];
  await consortium.run(organisation, [
    ...["node", "init", "--dir", "node", "--name", `${id}-node`, "--machine-key", "machine.key"],
    ...["--listen", peers, "--advertise", peers, "--client-listen", clients, "--client-advertise", clients],
  ]);
  await consortium.run(organisation, [
    ...["node", "sign", "--entry", "node/vn-entry.json", "--member", id, "--key", `keys/${id}_privk.pem`],
    ...["--network", NETWORK, "--out", `${id}-node.json`],
  ]);
}

/** What a node answers its owner; undefined when it does not answer with success. */
export function ask<T>(organisation: Organisation, path: string): Promise<T | undefined> {
  const { id, clientPort } = organisation;
  const identity = {
    ca: readOf(organisation, SERVICE_CERTIFICATE),
    cert: readOf(organisation, `keys/${id}_cert.pem`),
    key: readOf(organisation, `keys/${id}_privk.pem`),
  };
  return new Promise((resolve) => {
    const where = { host: "127.0.0.1", port: clientPort, path, agent: false, timeout: ANSWER_LIMIT_MS } as const;
    const asked = get({ ...where, ...identity }, (answer) => {
      let text = "";
      answer.on("data", (data: Buffer) => {
        text += data.toString();
      });
      answer.on("end", () => resolve(answer.statusCode === 200 ? (JSON.parse(text) as T) : undefined));
      answer.on("error", () => resolve(undefined));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
  });
}

interface NodeState {
  readonly committed_seqno: number;
}

/** Waits until a node is ready and has committed all that another had committed when this was asked. */
export async function caughtUp(organisation: Organisation, other?: Organisation): Promise<void> {
  const aim = other === undefined ? undefined : await ask<NodeState>(other, "/node/state");
  await until(`the node of ${organisation.id} is ready`, async () => {
    if ((await ask(organisation, "/node/ready")) === undefined) return undefined;
    const state = await ask<NodeState>(organisation, "/node/state");
    return state !== undefined && state.committed_seqno >= (aim?.committed_seqno ?? 0) ? true : undefined;
  });
}

/** Three organisations agree on a constitution and start a node each. */
export async function found(cast: Cast): Promise<string> {
  const { consortium, acme, globex, initech, running } = cast;
  const founders = [acme, globex, initech];
  await Promise.all(founders.map((founder) => prepare(cast, founder)));
  for (const { id, ...party } of [globex, initech]) {
    consortium.hand({ id, ...party }, `keys/${id}_cert.pem`, acme);
    consortium.hand({ id, ...party }, `${id}-node.json`, acme);
  }
  const ethereum = { chainId: CHAIN_ID, timestamp: 1_767_225_600, alloc: allocOf(makeAccounts(WRITERS)) };
  writeFileSync(join(acme.dir, "ethereum.json"), JSON.stringify(ethereum));
  await consortium.run(acme, [
    ...["constitution", "init", "--name", NETWORK, "--member", "acme=keys/acme_cert.pem"],
    ...["--member", "globex=globex_cert.pem", "--member", "initech=initech_cert.pem"],
    ...founders.flatMap(({ id }) => ["--node", `${id}-node.json`]),
    ...["--adapter", "ethereum=ethereum.json", "--policy", "default=majority", "--closed", "--out", "genesis.json"],
  ]);
  consortium.hand(acme, "genesis.json", globex, initech);
  const checked = await Promise.all(
    founders.map((founder) => consortium.run(founder, ["constitution", "check", "genesis.json"], { show: /digest/ })),
  );
  const digests = new Set(checked.map(({ stdout }) => /digest\s+([0-9a-f]{64})/.exec(stdout)?.[1]));
  assertThat(digests.size === 1 && !digests.has(undefined), "all founders compute the same network id");
  for (const founder of founders) {
    copyFileSync(join(founder.dir, "genesis.json"), join(founder.dir, "node", "genesis.json"));
    consortium.startNode(founder);
    running.push(founder);
  }
  await until("the service has a certificate", () =>
    /serves clients/.test(consortium.nodeLog(acme)) ? true : undefined,
  );
  copyFileSync(join(acme.dir, "node", SERVICE_CERTIFICATE), join(acme.dir, SERVICE_CERTIFICATE));
  consortium.hand(acme, SERVICE_CERTIFICATE, globex, initech, cast.hooli, cast.umbra, cast.auditor);
  for (const founder of founders) await caughtUp(founder);
  return "three founders compute the same network id; three nodes are ready";
}

/** The members let the network take requests; the load starts. */
export async function open(cast: Cast): Promise<string> {
  const { consortium, acme, globex, running } = cast;
  const id = await decide(cast, acme, ["--action", "open_network"], [acme, globex]);
  await consortium.run(globex, ["member", "status", id.slice(0, 12), "--wait", "20"], { show: /^state/ });
  const staff = ["member", "staff", "--id", "settlement", "--name", "Settlement application"];
  const issuer = ["--ca-cert", "keys/acme_cert.pem", "--ca-key", "keys/acme_privk.pem", "--dir", "application"];
  mkdirSync(join(acme.dir, "application"), { recursive: true });
  await consortium.run(acme, [...staff, ...issuer]);
  const identity = {
    ca: readOf(acme, SERVICE_CERTIFICATE),
    cert: readOf(acme, "application/settlement_cert.pem"),
    key: readOf(acme, "application/settlement_privk.pem"),
  };
  const load = new ConsortiumLoad(
    identity,
    CHAIN_ID,
    running.map(({ clientPort }) => clientPort),
  );
  cast.load.current = load;
  load.start(makeAccounts(WRITERS));
  await until("writes are acknowledged", () => (load.count().acknowledged > 0 ? true : undefined));
  return "closed until a majority votes; then an application of acme writes through all nodes";
}

/** Proposes and lets members vote until it is decided; gives the id. */
export async function decide(
  { consortium }: Cast,
  proposer: Organisation,
  proposal: readonly string[],
  voters: readonly Organisation[],
): Promise<string> {
  const proposed = await consortium.run(proposer, ["member", "propose", ...proposal, "--yes"], {
    show: /^proposal|^state/,
  });
  const id = /^proposal\s+([0-9a-f]{64})/m.exec(proposed.stdout)?.[1] ?? "";
  assertThat(id !== "", "the proposal has an id");
  let state = "";
  for (const voter of voters) {
    const voted = await consortium.run(voter, ["member", "vote", id.slice(0, 12), "yes", "--yes"], { show: /^state/ });
    state = /^state\s+(\w+)/m.exec(voted.stdout)?.[1] ?? "";
  }
  assertThat(state === "Accepted", `the proposal is accepted with these votes, and not ${state}`);
  return id;
}
