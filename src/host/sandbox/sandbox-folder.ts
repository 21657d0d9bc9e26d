/**
 * Opening a sandbox folder: takes its lock, then makes a new network in it or resumes the one it holds. A folder that is
 * not a sandbox's is never touched.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Constitution } from "../../core/governance/constitution.ts";
import { CocoError } from "../../errors.ts";
import { folderHolder, type FolderLock, lockFolder } from "../folder-lock.ts";
import { readConstitutionFile } from "../genesis.ts";
import { createSandbox } from "./create.ts";
import { removeEndpoints } from "./endpoints.ts";
import {
  nodeName,
  readDescription,
  SANDBOX_FILE,
  SandboxLayout,
  type SandboxDescription,
  writeDescription,
} from "./layout.ts";
import { DEFAULT_NODES, DEFAULT_PORT } from "./limits.ts";
import { choosePorts, type NodePorts, requireFree } from "./ports.ts";

/** Time nodes of an earlier run have to end, after their launcher went away. */
export const EARLIER_NODES_WAIT_MS = 5_000;

const POLL_MS = 50;
/** What may stand in a folder that is empty otherwise: its lock. */
const LOCK_FILE = /^node\.lock/;

/** How a sandbox folder is opened. */
export interface SandboxFolderOptions {
  readonly dir: string;
  /** Undefined: as the folder has it, {@link DEFAULT_NODES} for a new one. */
  readonly nodes: number | undefined;
  /** Base port, 0 for any; undefined: as the folder has it, {@link DEFAULT_PORT} for a new one. */
  readonly port: number | undefined;
  /** Remove the network that is there and begin a new one. */
  readonly fresh: boolean;
}

/** An open sandbox folder; nothing runs in it. */
export interface SandboxFolder {
  readonly layout: SandboxLayout;
  readonly lock: FolderLock;
  readonly ports: readonly NodePorts[];
  readonly genesis: Constitution;
  /** Whether the network was there already. */
  readonly resumed: boolean;
}

/** Opens a sandbox folder. Throws `FolderInUse`, `PortTaken` or `ConfigurationInvalid`. */
export async function openSandboxFolder(options: SandboxFolderOptions): Promise<SandboxFolder> {
  const layout = new SandboxLayout(options.dir);
  await requireSandboxFolder(layout.dir);
  await mkdir(layout.dir, { recursive: true, mode: 0o700 });
  const lock = lockFolder(layout.dir);
  try {
    // A launcher that was killed may have left it, and nothing serves now.
    await removeEndpoints(layout.endpoints);
    const description = await existing(layout);
    if (description === undefined || description.state === "creating" || options.fresh) {
      return { layout, lock, ...(await createNew(layout, description, options)) };
    }
    requireSame(description, options);
    await requireStopped(layout, description.ports.length);
    await requireFree(description.ports);
    const genesis = await readConstitutionFile(join(layout.node(0), "genesis.json"));
    return { layout, lock, ports: description.ports, genesis, resumed: true };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function listing(dir: string): Promise<readonly string[] | undefined> {
  try {
    return (await readdir(dir)).filter((name) => !LOCK_FILE.test(name));
  } catch {
    return undefined;
  }
}

async function requireSandboxFolder(dir: string): Promise<void> {
  const names = await listing(dir);
  if (names === undefined || names.length === 0 || names.includes(SANDBOX_FILE)) return;
  throw new CocoError("ConfigurationInvalid", `${dir} is not empty and no sandbox folder; nothing in it was changed`, {
    directory: dir,
  });
}

async function existing(layout: SandboxLayout): Promise<SandboxDescription | undefined> {
  const names = await listing(layout.dir);
  return names?.includes(SANDBOX_FILE) ? await readDescription(layout.description) : undefined;
}

function requireSame(description: SandboxDescription, { nodes, port, dir }: SandboxFolderOptions): void {
  const count = description.ports.length;
  if (nodes !== undefined && nodes !== count) {
    const has = count === 1 ? "1 node" : `${count} nodes`;
    throw new CocoError(
      "ConfigurationInvalid",
      `the sandbox in ${dir} has ${has}; to have ${nodes} takes --fresh, which begins a new ledger`,
    );
  }
  if (port !== undefined && port !== description.requestedPort && port !== description.ports[0]?.ethRpc) {
    const now = description.ports[0]?.ethRpc ?? 0;
    throw new CocoError(
      "ConfigurationInvalid",
      `the sandbox in ${dir} has port ${now}; another needs --fresh, which begins a new ledger`,
    );
  }
}

async function createNew(layout: SandboxLayout, old: SandboxDescription | undefined, options: SandboxFolderOptions) {
  const requestedPort = options.port ?? DEFAULT_PORT;
  if (old !== undefined) {
    await requireStopped(layout, old.ports.length);
    // Looked at before anything is removed: a taken port must not cost the old ledger.
    if (requestedPort !== 0) await choosePorts(requestedPort, options.nodes ?? DEFAULT_NODES);
    for (const name of (await listing(layout.dir)) ?? []) {
      if (name !== SANDBOX_FILE) await rm(join(layout.dir, name), { recursive: true, force: true });
    }
  }
  const ports = await choosePorts(requestedPort, options.nodes ?? DEFAULT_NODES);
  await writeDescription(layout.description, { state: "creating", requestedPort, ports });
  const genesis = await createSandbox(layout, ports);
  await writeDescription(layout.description, { state: "created", requestedPort, ports });
  return { ports, genesis, resumed: false };
}

/** Waits for nodes of an earlier run to end; throws `FolderInUse` naming the one that does not. */
async function requireStopped(layout: SandboxLayout, nodes: number): Promise<void> {
  const deadlineMs = performance.now() + EARLIER_NODES_WAIT_MS;
  for (let at = 0; at < nodes; at++) {
    for (let pid = folderHolder(layout.ledger(at)); pid !== undefined; pid = folderHolder(layout.ledger(at))) {
      if (performance.now() > deadlineMs) {
        throw new CocoError("FolderInUse", `${nodeName(at)} of this sandbox runs already as process ${pid}`, {
          directory: layout.node(at),
          pid,
        });
      }
      await delay(POLL_MS);
    }
  }
}
