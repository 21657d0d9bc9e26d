/** What a started sandbox prints, in the order people know from anvil, and then what is different here. */
import { readFile } from "node:fs/promises";
import { fingerprintOf } from "../host/sandbox/create.ts";
import { ACCOUNT_ETHER, DERIVATION_PATH, DEVELOPMENT_ACCOUNTS, MNEMONIC } from "../host/sandbox/accounts.ts";
import type { Sandbox } from "../host/sandbox/sandbox.ts";
import type { WorkerLevel } from "../host/worker-settings.ts";
import { measureCode, PACKAGE_FOLDER, packageIdentity } from "../host/measure-code.ts";

const NAME = String.raw`
   ____
  / ___|___   ___ ___
 | |   / _ \ / __/ _ \
 | |__| (_) | (_| (_) |
  \____\___/ \___\___/   Framework
`;

function section(title: string, lines: readonly string[]): string {
  return `\n${title}\n${"=".repeat(18)}\n\n${lines.join("\n")}\n`;
}

const WORKERS_IN_WORDS: Readonly<Record<WorkerLevel, string>> = {
  thread:
    "thread: adapters run inside the nodes' processes, kept from nothing; --workers process is what production has",
  process: "process: adapters run in processes of their own; the line workers of a node's log says what keeps them in",
};

function optionOf(options: unknown, name: string): string {
  if (typeof options !== "object" || options === null) return "?";
  const value: unknown = Object.entries(options).find(([field]) => field === name)?.[1];
  return typeof value === "string" || typeof value === "number" ? String(value) : "?";
}

/** The text for a sandbox that serves. */
export async function bannerOf(sandbox: Sandbox): Promise<string> {
  const { endpoints, folder } = sandbox;
  const { version } = await packageIdentity(PACKAGE_FOLDER);
  const measurement = Buffer.from(await measureCode(PACKAGE_FOLDER)).toString("hex");
  const fingerprint = fingerprintOf(await readFile(endpoints.ca, "utf8"));
  const options: unknown = folder.genesis.adapters[0]?.options;
  const started = new Date(Number(optionOf(options, "timestamp")) * 1000).toISOString();
  return [
    NAME,
    `\n    ${version}, code ${measurement.slice(0, 16)}…\n`,
    `    ${folder.resumed ? "resumed the ledger" : "new network"} in ${folder.layout.dir}\n`,
    section(
      "Available Accounts",
      DEVELOPMENT_ACCOUNTS.map(({ address }, at) => `(${at}) ${address} (${ACCOUNT_ETHER}.000000000000000000 ETH)`),
    ),
    section(
      "Private Keys",
      DEVELOPMENT_ACCOUNTS.map(({ privateKey }, at) => `(${at}) ${privateKey}`),
    ),
    section("Wallet", [`Mnemonic:          ${MNEMONIC}`, `Derivation path:   ${DERIVATION_PATH}`]),
    section("Chain ID", [String(endpoints.chainId)]),
    section("Base Fee", [optionOf(options, "initialBaseFee")]),
    section("Gas Limit", [optionOf(options, "blockGasLimit")]),
    section("Genesis Timestamp", [`${optionOf(options, "timestamp")} (${started})`]),
    section(
      "Members",
      endpoints.members.map(({ name, cert, key }) => `${name}  certificate ${cert}\n         key         ${key}`),
    ),
    section("Validating Nodes", [
      ...endpoints.nodes.map(({ name, rpc, pid }) => `${name}  ${rpc} (mutual TLS 1.3), process ${pid}`),
      `CA file: ${endpoints.ca}`,
      `         SHA-256 ${fingerprint}`,
    ]),
    section("Workers", [WORKERS_IN_WORDS[sandbox.workers]]),
    section("How to connect", examples(sandbox)),
    "\n*** The TEE is VIRTUAL: it protects NOTHING. Test data only. The account keys are known to everyone. ***\n",
    `\n${endpoints.nodes.map(({ name, ethRpc }) => `Listening on ${ethRpc.slice("http://".length)} (${name})`).join("\n")}\n`,
  ].join("");
}

function examples(sandbox: Sandbox): readonly string[] {
  const { nodes, members, ca, chainId } = sandbox.endpoints;
  const ethRpc = nodes[0]?.ethRpc ?? "";
  const rpc = nodes[0]?.rpc ?? "";
  const [from, to] = DEVELOPMENT_ACCOUNTS;
  const body = `'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'`;
  return [
    `MetaMask     add a network: RPC URL ${ethRpc}, chain id ${chainId}, symbol ETH; import a private key`,
    `curl         curl -H 'content-type: application/json' -d ${body} ${ethRpc}`,
    `curl (mTLS)  curl --cacert ${ca} --cert ${members[0]?.cert} --key ${members[0]?.key} ${rpc}/node/network`,
    `cast         cast send --rpc-url ${ethRpc} --private-key ${from?.privateKey} ${to?.address} --value 1ether`,
    `viem         createPublicClient({ chain: foundry, transport: http("${ethRpc}") })`,
    `govern       coco member status --url ${rpc} --service-cert ${ca} --cert ${members[0]?.cert} --key ${members[0]?.key}`,
    `endpoints    ${sandbox.folder.layout.endpoints}`,
  ];
}
