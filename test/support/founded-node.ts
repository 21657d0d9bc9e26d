/** A network of one validating node in a folder, for tests that start it in their own process. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { allocOf, type Account } from "../../bench/lib/wallet.ts";
import { type ClientIdentity, Connection, type Endpoint, getRequest } from "../../bench/lib/connection.ts";
import { fromHex, toHex } from "../../src/core/codec/bytes.ts";
import { decodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { constitutionToJson } from "../../src/core/governance/constitution-codec.ts";
import { createOrganisationCertificate, generateKeyPairPem } from "../../src/enclave/manager/certificates.ts";
import { createNodeCrypto, nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import type { NodeKeys } from "../../src/enclave/manager/node-keys.ts";
import { openEpochKey, openServiceKey } from "../../src/enclave/manager/service-keys.ts";
import { assembleGenesis, signNodeEntry } from "../../src/host/genesis.ts";
import { measureCode, PACKAGE_FOLDER } from "../../src/host/measure-code.ts";
import { initNode, NODE_CONFIGURATION_FILE, SERVICE_CERTIFICATE_FILE } from "../../src/host/node-folder.ts";

/** Chain id of the network's Ethereum. */
export const GENERATED_CHAIN_ID = 31_337;
const NETWORK = "one";
const DAY_MS = 86_400_000;

/** A node that was founded and can be started. */
export interface FoundedNode {
  readonly dir: string;
  /** Where its client reaches it, once it serves. */
  endpoint(): Endpoint;
  /** The keys of the network that the running node has: of its first epoch, and of the service (PEM). */
  networkSecrets(keys: NodeKeys): Promise<{ readonly epochKey: Uint8Array; readonly serviceKey: string }>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The second adapter of the network, which only a test's own worker can run, and where it answers. */
export const OTHER_ADAPTER = { name: "other", mount: "/other" } as const;

/** Makes the folder of a node and of its network, whose one member is the client; `others` are known to its second adapter alone. */
export async function foundNode(
  parent: string,
  accounts: readonly Account[],
  others: readonly Account[],
  workers: { readonly memoryMb: number },
): Promise<FoundedNode> {
  const dir = join(parent, "node");
  const port = await freePort();
  const [address, clientAddress] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${port}`];
  const addresses = {
    listen: address,
    advertise: address,
    clientListen: clientAddress,
    clientAdvertise: clientAddress,
  };
  const request = await initNode({ dir, name: "node", ...addresses, machineKeyFile: join(parent, "machine.key") });
  const { privateKey } = generateKeyPairPem();
  const issuance = { notBeforeMs: Date.now() - DAY_MS, days: 30, entropy: nodeEntropy };
  const certificate = createOrganisationCertificate({ commonName: "member" }, privateKey, issuance);
  const optionsWith = (known: readonly Account[]) => ({ chainId: GENERATED_CHAIN_ID, alloc: allocOf(known) });
  const genesis = assembleGenesis({
    networkName: NETWORK,
    actors: [{ id: "member", name: "Member", role: "member", certificate }],
    nodes: [signNodeEntry(request, privateKey, "member", NETWORK)],
    codeManifest: [{ measurement: toHex(await measureCode(PACKAGE_FOLDER)), name: "coco-framework", version: "0.1.0" }],
    adapters: [
      { id: 1, name: "ethereum", version: "0.1.0", mount: "/eth", options: optionsWith(accounts) },
      { id: 2, ...OTHER_ADAPTER, version: "0.1.0", options: optionsWith(others) },
    ],
    settings: { answerAfter: "execution", consensus: "solo", snapshot: { everyTransactions: 20 } },
  });
  writeFileSync(join(dir, "genesis.json"), constitutionToJson(genesis));
  const file = join(dir, NODE_CONFIGURATION_FILE);
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), workers }));
  const identity = (): ClientIdentity => ({
    ca: readFileSync(join(dir, SERVICE_CERTIFICATE_FILE), "utf8"),
    cert: certificate,
    key: privateKey,
  });
  const endpoint = (): Endpoint => ({ port, path: "/eth", identity: identity() });
  return { dir, endpoint, networkSecrets: (keys) => networkSecrets(endpoint(), keys) };
}

async function networkSecrets(endpoint: Endpoint, keys: NodeKeys) {
  const connection = await Connection.open(endpoint);
  const ask = async (path: string) => JSON.parse((await connection.send(getRequest(path))).toString());
  const { network_id: networkId }: { network_id: string } = await ask("/node/network");
  const { transactions }: { transactions: readonly { public_part: string; kind: string }[] } = await ask(
    "/node/transactions?from_seqno=1&to_seqno=4",
  );
  connection.close();
  for (const { kind, public_part: part } of transactions) {
    const transaction = kind === "administrative" ? decodeAdministrative(fromHex(part)) : undefined;
    if (transaction?.type !== "epoch") continue;
    const epochKey = openEpochKey(transaction, networkId, keys);
    const crypto = createNodeCrypto(keys.signingKey);
    const serviceKey = epochKey && openServiceKey(transaction, networkId, epochKey, crypto);
    if (epochKey !== undefined && serviceKey !== undefined) return { epochKey, serviceKey };
  }
  throw new Error("the ledger begins with the network's first epoch");
}
