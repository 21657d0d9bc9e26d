/**
 * Wallets and libraries nobody here wrote, against a network of three processes: viem, ethers and cast.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { type Contract, ContractFactory, type InterfaceAbi, JsonRpcProvider, parseEther, Wallet } from "ethers";
import {
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  createWalletClient,
  http,
  parseAbiItem,
  parseGwei,
  type Abi,
  type Address,
  type Hash,
  type Hex,
} from "viem";
import { privateKeyToAccount, generatePrivateKey } from "viem/accounts";
import { foundry } from "viem/chains";
import { type CompiledContract, compileToken } from "./lib/contracts.ts";
import type { RpcClient } from "./lib/json-rpc.ts";
import { present, runProcess, until } from "./lib/processes.ts";
import { type Sandbox, startSandbox } from "./lib/sandbox.ts";

const SUPPLY = 1_000_000n * 10n ** 18n;
const ONE_ETHER = 10n ** 18n;
/** The program itself: the script npm puts before it swallows exit codes. */
const CAST = createRequire(import.meta.url).resolve(
  `@foundry-rs/cast-${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}/bin/cast`,
);
const TRANSFER = parseAbiItem("event Transfer(address indexed from, address indexed to, uint256 value)");
/** Receives what the tests send away. */
const SINK: Address = "0x00000000000000000000000000000000c0c0c0c0";

let sandbox: Sandbox;
let token: CompiledContract;

before(async () => {
  token = compileToken();
  sandbox = await startSandbox();
});
after(() => sandbox?.stop());

const url = (node = 0): string => present(sandbox.endpoints.nodes[node]).ethRpc;
const account = (at: number) => privateKeyToAccount(present(sandbox.endpoints.accounts[at]).privateKey);
const publicClient = (node = 0) =>
  createPublicClient({ chain: foundry, transport: http(url(node)), pollingInterval: 20, cacheTime: 0 });
const walletClient = (at: number, node = 0) =>
  createWalletClient({ chain: foundry, transport: http(url(node)), account: account(at) });

async function cast(...arguments_: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProcess(CAST, arguments_);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

/** The receipt of a transaction, as soon as this node has it. */
function receiptOf(node: RpcClient, hash: Hex): Promise<{ readonly status: Hex; readonly transactionIndex: Hex }> {
  return until(
    `receipt of ${hash}`,
    async () =>
      (await node.call<{ status: Hex; transactionIndex: Hex } | null>("eth_getTransactionReceipt", hash)) ?? undefined,
  );
}

describe("viem", () => {
  let address: Address;
  let deployed: Hash;
  const abi = (): Abi => token.abi;

  test("reads chain id and balances, and sends ether", async () => {
    const client = publicClient();
    assert.equal(await client.getChainId(), sandbox.endpoints.chainId);
    const target = privateKeyToAccount(generatePrivateKey()).address;
    assert.equal(await client.getBalance({ address: account(0).address }), 10_000n * ONE_ETHER);
    const hash = await walletClient(0).sendTransaction({ to: target, value: ONE_ETHER });
    const receipt = await client.waitForTransactionReceipt({ hash });
    assert.equal(receipt.status, "success");
    assert.equal(receipt.gasUsed, 21_000n);
    for (const node of [0, 1, 2]) {
      await until("the node has the block", async () =>
        (await publicClient(node).getBlockNumber()) >= receipt.blockNumber ? true : undefined,
      );
      assert.equal(await publicClient(node).getBalance({ address: target }), ONE_ETHER);
    }
  });

  test("deploys an OpenZeppelin ERC-20, transfers, and reads balances", async () => {
    const client = publicClient();
    deployed = await walletClient(0).deployContract({ abi: abi(), bytecode: token.bytecode, args: [SUPPLY] });
    const receipt = await client.waitForTransactionReceipt({ hash: deployed });
    address = present(receipt.contractAddress);
    assert.equal(receipt.status, "success");
    const balanceOf = (of: Address) =>
      client.readContract({ address, abi: abi(), functionName: "balanceOf", args: [of] });
    assert.equal(await balanceOf(account(0).address), SUPPLY);
    assert.equal(await client.readContract({ address, abi: abi(), functionName: "symbol" }), "TST");
    const hash = await walletClient(0).writeContract({
      ...{ address, abi: abi(), functionName: "transfer", args: [account(1).address, 5n] },
    });
    const transfer = await client.waitForTransactionReceipt({ hash });
    assert.equal(transfer.logs.length, 1);
    assert.equal(await balanceOf(account(1).address), 5n);
    assert.equal(await balanceOf(account(0).address), SUPPLY - 5n);
  });

  test("reads logs by range, by filter and by subscription", async () => {
    const client = publicClient(1);
    const fromBlock = (await publicClient(0).getTransactionReceipt({ hash: deployed })).blockNumber;
    const logs = await client.getLogs({ address, event: TRANSFER, fromBlock, toBlock: "latest" });
    assert.deepEqual(
      logs.map(({ args }) => [args.to, args.value]),
      [
        [account(0).address, SUPPLY],
        [account(1).address, 5n],
      ],
    );
    const byTopic = await client.getLogs({ address, event: TRANSFER, args: { to: account(1).address }, fromBlock });
    assert.equal(byTopic.length, 1);

    const filter = await client.createEventFilter({ address, event: TRANSFER, fromBlock });
    const blocks = await client.createBlockFilter();
    assert.equal((await client.getFilterLogs({ filter })).length, 2);
    await client.getFilterChanges({ filter });
    await client.getFilterChanges({ filter: blocks });
    const hash = await walletClient(0, 1).writeContract({
      ...{ address, abi: abi(), functionName: "transfer", args: [SINK, 7n] },
    });
    const receipt = await client.waitForTransactionReceipt({ hash });
    const changes = await client.getFilterChanges({ filter });
    assert.deepEqual(
      changes.map((log) => [log.transactionHash, log.args.value]),
      [[hash, 7n]],
    );
    assert.deepEqual(await client.getFilterChanges({ filter: blocks }), [receipt.blockHash]);
    assert.deepEqual(await client.getFilterChanges({ filter }), []);
    assert.equal(await client.uninstallFilter({ filter }), true);
    await assert.rejects(client.getFilterChanges({ filter }), /filter not found/);
  });

  test("decodes a custom error and a require string", async () => {
    const client = publicClient();
    const reason = async (
      functionName: string,
      arguments_: readonly unknown[],
    ): Promise<ContractFunctionRevertedError> => {
      try {
        await client.simulateContract({ address, abi: abi(), functionName, args: arguments_, account: account(2) });
      } catch (error) {
        const reverted =
          error instanceof BaseError && error.walk((cause) => cause instanceof ContractFunctionRevertedError);
        if (reverted instanceof ContractFunctionRevertedError) return reverted;
        throw error;
      }
      assert.fail("the call went through");
    };
    const custom = await reason("transfer", [SINK, 1n]);
    assert.equal(custom.data?.errorName, "ERC20InsufficientBalance");
    assert.deepEqual(custom.data?.args, [account(2).address, 0n, 1n]);
    assert.equal((await reason("mint", [SINK, 1n])).reason, "only the issuer mints");
  });

  test("estimates gas that is enough", async () => {
    const client = publicClient();
    assert.equal(await client.estimateGas({ account: account(0), to: SINK, value: 1n }), 21_000n);
    const request = { address, abi: abi(), functionName: "transfer", args: [SINK, 3n], account: account(0) } as const;
    const gas = await client.estimateContractGas(request);
    const hash = await walletClient(0).writeContract({ ...request, gas });
    const receipt = await client.waitForTransactionReceipt({ hash });
    assert.equal(receipt.status, "success");
    assert.ok(receipt.gasUsed <= gas);
    // A transaction that reverts is part of the chain, too.
    const failed = await walletClient(2).writeContract({ ...request, account: account(2), gas: 100_000n });
    assert.equal((await client.waitForTransactionReceipt({ hash: failed })).status, "reverted");
  });

  test("sends transactions of the types legacy, 2930, 1559 and 7702", async () => {
    const client = publicClient();
    const wallet = walletClient(3);
    const gasPrice = await client.getGasPrice();
    const hashes = [
      await wallet.sendTransaction({ to: SINK, value: 1n, type: "legacy", gasPrice }),
      await wallet.sendTransaction({
        ...{ to: SINK, value: 1n, type: "eip2930", gasPrice },
        accessList: [{ address, storageKeys: [] }],
      }),
      await wallet.sendTransaction({
        ...{ to: SINK, value: 1n, type: "eip1559" },
        ...{ maxFeePerGas: parseGwei("10"), maxPriorityFeePerGas: 1n },
      }),
    ];
    const delegating = privateKeyToAccount(generatePrivateKey());
    const authorization = await delegating.signAuthorization({ address, chainId: foundry.id, nonce: 0 });
    hashes.push(await wallet.sendTransaction({ to: SINK, authorizationList: [authorization] }));
    const types: string[] = [];
    for (const hash of hashes) {
      const receipt = await client.waitForTransactionReceipt({ hash });
      assert.equal(receipt.status, "success");
      types.push(receipt.type);
    }
    assert.deepEqual(types, ["legacy", "eip2930", "eip1559", "eip7702"]);
    assert.equal(await client.getCode({ address: delegating.address }), `0xef0100${address.slice(2).toLowerCase()}`);
  });
});

describe("ethers", () => {
  let provider: JsonRpcProvider;
  before(() => {
    provider = new JsonRpcProvider(url(1), undefined, { pollingInterval: 20, cacheTimeout: -1 });
  });
  after(() => provider.destroy());
  const signer = (at: number): Wallet => new Wallet(present(sandbox.endpoints.accounts[at]).privateKey, provider);

  test("reads the network and sends ether", async () => {
    assert.equal((await provider.getNetwork()).chainId, BigInt(sandbox.endpoints.chainId));
    const sent = await signer(4).sendTransaction({ to: SINK, value: parseEther("1") });
    const receipt = present(await sent.wait());
    assert.equal(receipt.status, 1);
    assert.equal(await provider.getTransactionCount(signer(4).address), 1);
    assert.equal((await provider.getBlock(receipt.blockNumber))?.hash, receipt.blockHash);
  });

  test("deploys the token, transfers, queries events and decodes errors", async () => {
    const factory = new ContractFactory(token.abi as InterfaceAbi, token.bytecode, signer(4));
    const contract = (await (await factory.deploy(SUPPLY)).waitForDeployment()) as Contract;
    const { transfer, balanceOf, mint } = contract;
    await (await present(transfer)(SINK, 9n)).wait();
    assert.equal(await present(balanceOf)(SINK), 9n);
    const events = await contract.queryFilter("Transfer", 0, "latest");
    assert.equal(events.length, 2);
    const stranger = contract.connect(signer(5)) as Contract;
    await assert.rejects(present(stranger["transfer"]).staticCall(SINK, 1n), (error: { revert?: { name: string } }) => {
      assert.equal(error.revert?.name, "ERC20InsufficientBalance");
      return true;
    });
    await assert.rejects(present(stranger["mint"]).staticCall(SINK, 1n), /only the issuer mints/);
    assert.equal((await (await present(mint)(SINK, 1n)).wait()).status, 1);
  });
});

describe("cast", () => {
  const rpc = (): readonly string[] => ["--rpc-url", url(2)];
  const key = (at: number): readonly string[] => ["--private-key", present(sandbox.endpoints.accounts[at]).privateKey];

  test("reads, sends ether and deploys", async () => {
    assert.equal(await cast("chain-id", ...rpc()), String(sandbox.endpoints.chainId));
    assert.equal(await cast("balance", account(6).address, ...rpc()), String(10_000n * ONE_ETHER));
    const sent = JSON.parse(await cast("send", SINK, "--value", "1", ...key(6), ...rpc(), "--json"));
    assert.equal(sent.status, "0x1");
    const supply = SUPPLY.toString(16).padStart(64, "0");
    const created = JSON.parse(await cast("send", ...key(6), ...rpc(), "--json", "--create", token.bytecode + supply));
    assert.equal(created.status, "0x1");
    const address: string = created.contractAddress;
    await cast("send", address, "transfer(address,uint256)", SINK, "11", ...key(6), ...rpc());
    assert.equal(await cast("call", address, "balanceOf(address)(uint256)", SINK, ...rpc()), "11");
    const logs = JSON.parse(await cast("logs", "--address", address, "--from-block", "0", "--json", ...rpc()));
    assert.equal(logs.length, 2);
    const { code, stderr } = await runProcess(CAST, [
      ...["call", address, "mint(address,uint256)", SINK, "1", "--from", account(7).address],
      ...rpc(),
    ]);
    assert.notEqual(code, 0);
    assert.match(stderr, /only the issuer mints/);
  });
});

describe("one sender through many nodes", () => {
  async function signed(at: number, nonce: number, tip = 1n): Promise<Hex> {
    return account(at).signTransaction({
      ...{ to: SINK, value: 1n, nonce, gas: 21_000n, chainId: foundry.id, type: "eip1559" },
      ...{ maxFeePerGas: parseGwei("10") + tip, maxPriorityFeePerGas: tip },
    });
  }
  const pendingCount = (node: RpcClient, at: number): Promise<Hex> =>
    node.call("eth_getTransactionCount", account(at).address, "pending");

  test("a nonce gap waits and is filled later", async () => {
    const nodes = [0, 1, 2].map(sandbox.gateway);
    const [first, second, third] = nodes.map((node) => present(node));
    const gap = await present(first).call<Hex>("eth_sendRawTransaction", await signed(8, 1));
    const farther = await present(second).call<Hex>("eth_sendRawTransaction", await signed(8, 2));
    assert.equal(await present(third).call("eth_getTransactionReceipt", gap), null);
    assert.equal(await pendingCount(present(third), 8), "0x0");
    const filling = await present(third).call<Hex>("eth_sendRawTransaction", await signed(8, 0));
    for (const hash of [filling, gap, farther]) assert.equal((await receiptOf(present(first), hash)).status, "0x1");
    assert.equal(await pendingCount(present(second), 8), "0x3");
  });

  test("a waiting transaction is replaced only for a higher fee", async () => {
    const node = sandbox.gateway(0);
    await node.call("eth_sendRawTransaction", await signed(8, 4, 1000n));
    const { error } = await node.ask("eth_sendRawTransaction", await signed(8, 4, 1001n));
    assert.deepEqual(error, { code: -32000, message: "replacement transaction underpriced" });
    assert.deepEqual((await node.ask("eth_sendRawTransaction", await signed(8, 4, 1000n))).error, {
      code: -32000,
      message: "already known",
    });
    const replacing = await account(8).signTransaction({
      ...{ to: SINK, value: 2n, nonce: 4, gas: 21_000n, chainId: foundry.id, type: "eip1559" },
      ...{ maxFeePerGas: parseGwei("20"), maxPriorityFeePerGas: 2000n },
    });
    const hash = await node.call<Hex>("eth_sendRawTransaction", replacing);
    await node.call("eth_sendRawTransaction", await signed(8, 3));
    assert.equal((await receiptOf(node, hash)).status, "0x1");
  });

  test("the pending count is right on every node directly after a send", async () => {
    const nodes = [0, 1, 2].map(sandbox.gateway);
    for (let nonce = 0; nonce < 12; nonce++) {
      await present(nodes[nonce % 3]).call("eth_sendRawTransaction", await signed(9, nonce));
      const counts = await Promise.all(nodes.map((node) => pendingCount(node, 9)));
      assert.deepEqual(counts, Array(3).fill(`0x${(nonce + 1).toString(16)}`));
    }
  });

  test("50 concurrent sends out of order through all nodes never get stuck", async () => {
    const nodes = [0, 1, 2].map(sandbox.gateway);
    const raw = await Promise.all(Array.from({ length: 50 }, (_, at) => signed(9, 12 + at)));
    const shuffled = raw.map((_, at) => present(raw[(at * 37 + 11) % raw.length]));
    const hashes = await Promise.all(
      shuffled.map((transaction, at) => present(nodes[at % 3]).call<Hex>("eth_sendRawTransaction", transaction)),
    );
    const receipts = await Promise.all(hashes.map((hash, at) => receiptOf(present(nodes[(at + 1) % 3]), hash)));
    assert.equal(receipts.filter(({ status }) => status === "0x1").length, 50);
    assert.deepEqual(await Promise.all(nodes.map((node) => pendingCount(node, 9))), Array(3).fill("0x3e"));
  });

  test("a JSON-RPC batch is answered in order, its reads seeing its sends", async () => {
    const node = sandbox.gateway(1);
    const sender = account(9).address;
    const answers = await node.batch([
      ["eth_chainId", []],
      ["eth_sendRawTransaction", [await signed(9, 62)]],
      ["eth_sendRawTransaction", [await signed(9, 63)]],
      ["eth_getTransactionCount", [sender, "pending"]],
      ["eth_nothing", []],
    ]);
    assert.deepEqual(
      answers.map(({ result, error }) => (typeof result === "string" && result.length < 10 ? result : error?.code)),
      ["0x7a69", undefined, undefined, "0x40", -32601],
    );
  });
});
