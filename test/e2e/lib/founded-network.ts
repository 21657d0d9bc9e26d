/**
 * A network founded with the command line alone, as three organisations would: each has its keys and its node in a folder of
 * its own, and its nodes run as processes.
 */
import assert from "node:assert/strict";
import { copyFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../src/cli/program.ts";
import { freePorts } from "./free-ports.ts";
import { CLI, type ManagedProcess, present, startProcess, until } from "./processes.ts";
import { temporaryFolder } from "./sandbox.ts";

const NETWORK = "trade";

/** An organisation and what is in its folder. */
export interface FoundedOrganisation {
  readonly id: string;
  readonly dir: string;
  readonly certificate: string;
  readonly key: string;
  /** `https://host:port` of its node. */
  readonly url: string;
}

/** How an organisation's key is made. */
export interface OrganisationPlan {
  readonly id: string;
  /** Arguments of `coco member keygen`. */
  readonly keygen: readonly string[];
}

/** See the module's header. */
export class FoundedNetwork {
  readonly dir: string;
  readonly organisations: readonly FoundedOrganisation[];
  readonly genesis: string;
  readonly #processes: readonly ManagedProcess[];

  private constructor(
    dir: string,
    organisations: readonly FoundedOrganisation[],
    genesis: string,
    processes: readonly ManagedProcess[],
  ) {
    this.dir = dir;
    this.organisations = organisations;
    this.genesis = genesis;
    this.#processes = processes;
  }

  /** Founds a network and starts it; resolves once every node knows a leader. */
  static async start(plans: readonly OrganisationPlan[], initArguments: readonly string[]): Promise<FoundedNetwork> {
    const dir = await temporaryFolder();
    const organisations: FoundedOrganisation[] = [];
    const entries: string[] = [];
    for (const plan of plans) {
      const { organisation, entry } = await foundOrganisation(dir, plan);
      organisations.push(organisation);
      entries.push(entry);
    }
    const ethereum = join(dir, "ethereum.json");
    await writeFile(ethereum, JSON.stringify({ chainId: 31_337 }));
    const genesis = join(dir, "genesis.json");
    await done(
      ...["constitution", "init", "--name", NETWORK, "--adapter", `ethereum=${ethereum}`, "--out", genesis],
      ...organisations.flatMap(({ id, certificate }) => ["--member", `${id}=${certificate}`]),
      ...entries.flatMap((entry) => ["--node", entry]),
      ...initArguments,
    );
    const processes: ManagedProcess[] = [];
    for (const organisation of organisations) {
      const node = join(organisation.dir, "node");
      await copyFile(genesis, join(node, "genesis.json"));
      processes.push(startProcess(process.execPath, [CLI, "node", "start", "--dir", node]));
    }
    const network = new FoundedNetwork(dir, organisations, genesis, processes);
    for (const organisation of organisations) await network.#ready(organisation);
    return network;
  }

  /** The organisation of this id. */
  organisation(id: string): FoundedOrganisation {
    return present(this.organisations.find((one) => one.id === id));
  }

  /** Options of a connection to the node of an organisation, without an identity. */
  connection({ dir, url }: FoundedOrganisation): readonly string[] {
    return ["--url", url, "--service-cert", join(dir, "node", "service_cert.pem")];
  }

  /** Options of a connection to an organisation's own node, with its own key. */
  as(id: string): readonly string[] {
    const organisation = this.organisation(id);
    const { certificate, key } = organisation;
    return [...this.connection(organisation), "--cert", certificate, "--key", key];
  }

  async #ready(organisation: FoundedOrganisation): Promise<void> {
    await until(
      `the node of ${organisation.id} serves and has a leader`,
      async () => {
        const hasCertificate = await stat(join(organisation.dir, "node", "service_cert.pem")).catch(() => undefined);
        if (hasCertificate === undefined) return undefined;
        const { code, stdout } = await coco("node", "state", ...this.as(organisation.id), "--json");
        return code === 0 && JSON.parse(stdout).primary_id !== null ? true : undefined;
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
  }

  /** Ends every process and removes the folder. */
  async stop(): Promise<void> {
    for (const running of this.#processes) running.signal("SIGKILL");
    await Promise.all(this.#processes.map((running) => running.exited));
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** What a command left. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `coco` in this process: a test has many commands, and a process takes longer to start than most of them. */
export async function coco(...arguments_: readonly string[]): Promise<Finished> {
  let [stdout, stderr] = ["", ""];
  const output = {
    data: (text: string) => {
      stdout += text;
    },
    talk: (text: string) => {
      stderr += text;
    },
  };
  const code = await run(arguments_, output);
  return { code, stdout, stderr };
}

/** Runs `coco`, which must end with 0. */
export async function done(...arguments_: readonly string[]): Promise<Finished> {
  const finished = await coco(...arguments_);
  assert.equal(finished.code, 0, `coco ${arguments_.join(" ")}\n${finished.stdout}${finished.stderr}`);
  return finished;
}

async function foundOrganisation(
  network: string,
  { id, keygen }: OrganisationPlan,
): Promise<{ readonly organisation: FoundedOrganisation; readonly entry: string }> {
  const dir = join(network, id);
  const [certificate, key] = [join(dir, `${id}_cert.pem`), join(dir, `${id}_privk.pem`)];
  await done("member", "keygen", "--id", id, "--name", `${id} Ltd`, "--dir", dir, ...keygen);
  const node = join(dir, "node");
  const [peers, clients] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`) as [string, string];
  await done(
    ...["node", "init", "--dir", node, "--name", id, "--machine-key", join(dir, "machine.key")],
    ...["--listen", peers, "--advertise", peers, "--client-listen", clients, "--client-advertise", clients],
  );
  const entry = join(dir, "node-signed.json");
  const owner = ["--member", id, "--key", key, "--network", NETWORK];
  await done("node", "sign", "--entry", join(node, "vn-entry.json"), ...owner, "--out", entry);
  return { organisation: { id, dir, certificate, key, url: `https://${clients}` }, entry };
}
