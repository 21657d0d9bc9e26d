/**
 * `endpoints.json`: where a running sandbox is reached, for scripts and tests. It is there only while the network serves,
 * holds the keys of the development accounts and paths of members' keys, and is readable by its owner alone.
 */
import { rm } from "node:fs/promises";
import { SECRET_FILE_MODE, writeFileAtomic } from "../files.ts";
import { type DevelopmentAccount, DEVELOPMENT_ACCOUNTS } from "./accounts.ts";

/** A node as clients see it. */
export interface NodeEndpoint {
  readonly name: string;
  /** Plain HTTP for wallets, on this machine only. */
  readonly ethRpc: string;
  /** HTTP over mutually authenticated TLS. */
  readonly rpc: string;
  readonly pid: number;
  /** Folder of the node, absolute. */
  readonly dir: string;
}

/** A member's files, absolute paths. */
export interface MemberEndpoint {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
}

/** What `endpoints.json` holds. */
export interface Endpoints {
  readonly nodes: readonly NodeEndpoint[];
  /** File with the service certificate, absolute path. */
  readonly ca: string;
  readonly chainId: number;
  readonly accounts: readonly DevelopmentAccount[];
  readonly members: readonly MemberEndpoint[];
}

/** Endpoints with the development accounts. */
export function endpointsOf(parts: Omit<Endpoints, "accounts">): Endpoints {
  const { nodes, ca, chainId, members } = parts;
  return { nodes, ca, chainId, accounts: DEVELOPMENT_ACCOUNTS, members };
}

/** Writes the file atomically. */
export async function writeEndpoints(file: string, endpoints: Endpoints): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(endpoints, undefined, 2)}\n`, SECRET_FILE_MODE);
}

/** Removes the file, if there is one. */
export async function removeEndpoints(file: string): Promise<void> {
  await rm(file, { force: true });
}
