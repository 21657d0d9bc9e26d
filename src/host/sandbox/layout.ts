/**
 * The folder of a sandbox network:
 *
 *   sandbox.json      what the sandbox is made of: number of nodes, ports; marks the folder as a sandbox's
 *   machine.key       key of the virtual TEE that all nodes of this machine share
 *   members/          certificate and key of each member organisation
 *   gateway/          certificate and key the gateways present to the nodes
 *   node<i>/          a validating node's folder, as `coco node init` makes it, and its log
 *   service_cert.pem  what clients trust, once the network has run
 *   endpoints.json    where everything is, only while the network serves
 */
import { join, resolve } from "node:path";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";
import { readJsonFile } from "../node-folder.ts";
import { MAX_SANDBOX_NODES } from "./limits.ts";
import type { NodePorts } from "./ports.ts";

/** Member organisations of a sandbox. */
export const SANDBOX_MEMBERS = 3;
/** Name of the network in its constitution. */
export const SANDBOX_NETWORK = "sandbox";
/** File that marks a folder as a sandbox's. */
export const SANDBOX_FILE = "sandbox.json";

const FORMAT_VERSION = 1;
const PORT_BOUNDS = { min: 1, max: 65_535 };

/** What `sandbox.json` says. */
export interface SandboxDescription {
  /** `creating` until all files of the network are there; nothing has run then. */
  readonly state: "creating" | "created";
  /** The port asked for; 0 took any. */
  readonly requestedPort: number;
  /** Ports of each node, in the order of the nodes. */
  readonly ports: readonly NodePorts[];
}

/** Paths of a member's certificate and key. */
export interface MemberFiles {
  readonly id: string;
  readonly certificate: string;
  readonly key: string;
}

/** Absolute paths in a sandbox folder. */
export class SandboxLayout {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = resolve(dir);
  }

  get description(): string {
    return join(this.dir, SANDBOX_FILE);
  }

  get machineKey(): string {
    return join(this.dir, "machine.key");
  }

  get serviceCertificate(): string {
    return join(this.dir, "service_cert.pem");
  }

  get endpoints(): string {
    return join(this.dir, "endpoints.json");
  }

  get gatewayCertificate(): string {
    return join(this.dir, "gateway", "gateway_cert.pem");
  }

  get gatewayKey(): string {
    return join(this.dir, "gateway", "gateway_privk.pem");
  }

  /** Folder of a node. */
  node(at: number): string {
    return join(this.dir, nodeName(at));
  }

  /** Folder of a node's ledger. */
  ledger(at: number): string {
    return join(this.node(at), "ledger");
  }

  /** Log of a node. */
  log(at: number): string {
    return join(this.node(at), "node.log");
  }

  /** Files of a member. */
  member(at: number): MemberFiles {
    const id = `member${at}`;
    const folder = join(this.dir, "members");
    return { id, certificate: join(folder, `${id}_cert.pem`), key: join(folder, `${id}_privk.pem`) };
  }
}

/** Name of a node of a sandbox. */
export function nodeName(at: number): string {
  return `node${at}`;
}

/** Reads `sandbox.json`. Throws `ConfigurationInvalid` with file and field. */
export function readDescription(file: string): Promise<SandboxDescription> {
  return readJsonFile(file, (fields) => {
    fields.integer("version", { min: FORMAT_VERSION, max: FORMAT_VERSION });
    return {
      state: fields.choice("state", ["creating", "created"]),
      requestedPort: fields.integer("requestedPort", { min: 0, max: PORT_BOUNDS.max }),
      ports: fields.list("ports", MAX_SANDBOX_NODES, (ports) => ({
        ethRpc: ports.integer("ethRpc", PORT_BOUNDS),
        client: ports.integer("client", PORT_BOUNDS),
        peer: ports.integer("peer", PORT_BOUNDS),
      })),
    };
  });
}

/** Writes `sandbox.json`. */
export async function writeDescription(file: string, description: SandboxDescription): Promise<void> {
  const text = JSON.stringify({ version: FORMAT_VERSION, ...description }, undefined, 2);
  await writeFileAtomic(file, `${text}\n`, PUBLIC_FILE_MODE);
}
