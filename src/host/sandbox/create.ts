/**
 * Makes a sandbox network's files by the steps of a real foundation (R11): each node makes its keys and asks for an entry,
 * its owner signs the entry, the genesis constitution is assembled from the entries and given to every node. The only
 * difference is that all members' keys are on one machine.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "../../core/codec/bytes.ts";
import { constitutionToJson } from "../../core/governance/constitution-codec.ts";
import type { AdapterEntry, Constitution } from "../../core/governance/constitution.ts";
import { availableAdapter } from "../adapters.ts";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";
import { assembleGenesis, signNodeEntry, type SignedNode } from "../genesis.ts";
import { measureCode, PACKAGE_FOLDER, packageIdentity } from "../measure-code.ts";
import { initNode } from "../node-folder.ts";
import { createOrganisation, createStaff, type Credentials, writeCredentials } from "../organisation.ts";
import { ACCOUNT_BALANCE_WEI, DEVELOPMENT_ACCOUNTS } from "./accounts.ts";
import { nodeName, SANDBOX_MEMBERS, SANDBOX_NETWORK, type SandboxLayout } from "./layout.ts";
import { type NodePorts, SANDBOX_HOST } from "./ports.ts";

/** Chain id of development networks, as anvil and Hardhat use it. */
export const SANDBOX_CHAIN_ID = 31_337;
/** Validity of a sandbox's certificates, in days. */
export const SANDBOX_CERTIFICATE_DAYS = 3_650;

const BLOCK_GAS_LIMIT = 30_000_000;
const INITIAL_BASE_FEE_WEI = "1000000000";

/** The Ethereum adapter of a sandbox, with the development accounts funded; `timestamp` in seconds since 1970. */
export function sandboxAdapter(timestamp: number): AdapterEntry {
  const { name, version, mounts } = availableAdapter("ethereum").manifest;
  const balance = ACCOUNT_BALANCE_WEI.toString();
  const options = {
    chainId: SANDBOX_CHAIN_ID,
    blockGasLimit: BLOCK_GAS_LIMIT,
    initialBaseFee: INITIAL_BASE_FEE_WEI,
    timestamp,
    alloc: Object.fromEntries(DEVELOPMENT_ACCOUNTS.map(({ address }) => [address.toLowerCase(), { balance }])),
  };
  return { id: 1, name, version, mount: mounts[0] ?? "/eth", options };
}

/** Makes all files of a network in an empty sandbox folder and returns its genesis constitution. */
export async function createSandbox(layout: SandboxLayout, ports: readonly NodePorts[]): Promise<Constitution> {
  const members = await createMembers(layout);
  const nodes: SignedNode[] = [];
  for (const [at, addresses] of ports.entries()) nodes.push(await createNode(layout, at, addresses, members));
  const measurement = toHex(await measureCode(PACKAGE_FOLDER));
  const genesis = assembleGenesis({
    networkName: SANDBOX_NETWORK,
    actors: members.map(({ certificate }, at) => ({
      id: `member${at}`,
      name: `Member ${at}`,
      role: "member",
      certificate,
    })),
    nodes,
    codeManifest: [{ measurement, ...(await packageIdentity(PACKAGE_FOLDER)) }],
    adapters: [sandboxAdapter(Math.floor(Date.now() / 1000))],
    settings: { answerAfter: "execution", consensus: ports.length === 1 ? "solo" : "raft" },
  });
  const text = constitutionToJson(genesis);
  await Promise.all(
    ports.map((_, at) => writeFileAtomic(join(layout.node(at), "genesis.json"), text, PUBLIC_FILE_MODE)),
  );
  return genesis;
}

async function createMembers(layout: SandboxLayout): Promise<readonly Credentials[]> {
  await mkdir(join(layout.dir, "members"), { mode: 0o700 });
  await mkdir(join(layout.dir, "gateway"), { mode: 0o700 });
  const members: Credentials[] = [];
  for (let at = 0; at < SANDBOX_MEMBERS; at++) {
    const files = layout.member(at);
    const member = createOrganisation(files.id, `Member ${at}`, SANDBOX_CERTIFICATE_DAYS);
    await writeCredentials(files, member);
    if (at === 0) {
      const gateway = createStaff("sandbox gateway", member, SANDBOX_CERTIFICATE_DAYS);
      await writeCredentials({ certificate: layout.gatewayCertificate, key: layout.gatewayKey }, gateway);
    }
    members.push(member);
  }
  return members;
}

async function createNode(
  layout: SandboxLayout,
  at: number,
  ports: NodePorts,
  members: readonly Credentials[],
): Promise<SignedNode> {
  const clients = `${SANDBOX_HOST}:${ports.client}`;
  const peers = `${SANDBOX_HOST}:${ports.peer}`;
  const addresses = { listen: peers, advertise: peers, clientListen: clients, clientAdvertise: clients };
  const options = { dir: layout.node(at), name: nodeName(at), machineKeyFile: layout.machineKey };
  const request = await initNode({ ...options, ...addresses });
  const owner = at % members.length;
  return signNodeEntry(request, members[owner]?.privateKey ?? "", `member${owner}`, SANDBOX_NETWORK);
}

/** Lower-case hex SHA-256 of a certificate in PEM, for people to compare. */
export function fingerprintOf(certificatePem: string): string {
  const der = Buffer.from(certificatePem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  return createHash("sha256").update(der).digest("hex");
}
