import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AdapterHost } from "../../enclave/worker/adapter-host.ts";
import type { FromWorker, ToWorker } from "../../enclave/worker/protocol.ts";
import { type Bytes, bytesEqual, concatBytes, fromHex, toHex, utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import { VersionedStore } from "../../core/kv/store.ts";
import { readHeadBlock } from "./block.ts";
import { createEthereumAdapter } from "./ethereum-adapter.ts";
import { prepare } from "./prepare.ts";
import { StateTrie } from "./state-trie.ts";
import { addressOfKey, signedTransaction, TEST_CHAIN_ID } from "./test-signing.ts";
import { prepareAll, TEST_COMPONENTS } from "./test-state.ts";
import { keccak256 } from "./keccak.ts";

const ETHER = 10n ** 18n;
const [ALICE, BOB] = [1, 2];
const COUNTER = fromHex("00000000000000000000000000000000c0c0c0c0");
/** Adds one to slot 0, emits an empty log, and returns the slot. */
const COUNTER_CODE = "0x60016000540160005560006000a060005460005260206000f3";
/** Creates a contract whose code is one STOP. */
const CREATION = fromHex("6001600c60003960016000f300");

type Outgoing<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;

/** One node's worker with the Ethereum adapter, whose ledger has a transaction of the framework before every batch. */
class Node {
  readonly store: VersionedStore;
  readonly #host: AdapterHost;
  readonly #emitted: FromWorker[] = [];
  #wake = (): void => undefined;
  seqno = 1;

  constructor() {
    const account = { balance: ETHER.toString() };
    const alloc = {
      [`0x${toHex(addressOfKey(ALICE))}`]: account,
      [`0x${toHex(addressOfKey(BOB))}`]: account,
      [`0x${toHex(COUNTER)}`]: { code: COUNTER_CODE },
    };
    const adapter = createEthereumAdapter({ chainId: TEST_CHAIN_ID, alloc })(TEST_COMPONENTS);
    this.store = new VersionedStore({ tables: adapter.tables, keptVersions: 64 });
    this.#host = new AdapterHost({
      adapter,
      recreate: (options) => createEthereumAdapter(options)(TEST_COMPONENTS),
      store: this.store,
      preparer: { prepare: (transactions, done) => done(prepare(transactions)) },
      emit: (message) => {
        this.#emitted.push(message);
        this.#wake();
      },
      defer: (callback) => setImmediate(callback),
      log: () => undefined,
    });
  }

  handle(message: ToWorker): void {
    this.#host.handle(message);
  }

  /** The next message of a kind. */
  async next<T extends FromWorker["type"]>(type: T): Promise<Outgoing<T>> {
    for (;;) {
      const at = this.#emitted.findIndex((message) => message.type === type || message.type === "failed");
      const [found] = at < 0 ? [] : this.#emitted.splice(at, 1);
      if (found !== undefined) {
        assert.equal(found.type, type, JSON.stringify(found));
        return found as Outgoing<T>;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async genesis(): Promise<Bytes[]> {
    this.handle({ type: "genesis", generation: 0, timeMs: 0, randomness: new Uint8Array(32) });
    return this.#finish();
  }

  /** Executes a batch of transactions and gives its write sets. */
  async execute(...raws: readonly Bytes[]): Promise<Bytes[]> {
    const randomness = new Uint8Array(32).fill(raws.length);
    this.handle({ type: "execute", generation: 0, timeMs: 1_700_000_000_000, randomness, items: prepareAll(raws) });
    return this.#finish();
  }

  async #finish(): Promise<Bytes[]> {
    const { transactions, outcomes } = await this.next("executed");
    assert.ok(outcomes.every(({ type }) => type === "included"));
    return transactions.flatMap(({ publicPart, privatePart }) => [publicPart, privatePart]);
  }

  commit(parts: readonly Bytes[]): void {
    const count = parts.length / 2;
    const batch = { version: this.store.committedVersion + 1, view: 3, firstSeqno: this.seqno + 1, count };
    this.handle({ type: "commit", batches: [batch] });
    this.seqno += 1 + count;
  }

  apply(parts: readonly Bytes[]): void {
    this.handle({ type: "apply", generation: 0, parts });
    this.commit(parts);
  }

  async exported(): Promise<Bytes[]> {
    const version = this.store.committedVersion;
    this.handle({ type: "exportSnapshot", version, maxBytes: 4096 });
    for (const parts: Bytes[] = []; ; ) {
      this.handle({ type: "nextPart", version });
      const { part, last } = await this.next("snapshotPart");
      parts.push(part);
      if (last) return parts;
    }
  }

  async import(source: Node): Promise<void> {
    const version = source.store.committedVersion;
    const parts = await source.exported();
    parts.forEach((part, at) =>
      this.handle({ type: "importSnapshot", version, part, first: at === 0, last: at === parts.length - 1 }),
    );
    await this.next("imported");
    this.seqno = source.seqno;
  }

  async ask(method: string, ...params: readonly unknown[]): Promise<unknown> {
    const body = utf8Encode(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
    const request = { id: 1, path: "/eth", body, caller: { actor: "a", certificate: "00" } };
    this.handle({ type: "requests", leading: true, requests: [request] });
    const { responses } = await this.next("responses");
    return JSON.parse(utf8Decode(responses[0]?.response.body ?? new Uint8Array()));
  }
}

const hex = (bytes: Bytes): string => `0x${toHex(bytes)}`;
const send = (key: number, nonce: number, to = COUNTER): Bytes =>
  signedTransaction(key, { nonce, to, value: 0n, gasLimit: 200_000 });

/** The blocks of a small chain: transfers, calls that write storage and logs, the making of a contract. */
const BLOCKS: readonly (readonly Bytes[])[] = [
  [send(ALICE, 0), send(ALICE, 1, addressOfKey(77))],
  [send(BOB, 0), send(ALICE, 2)],
  [signedTransaction(BOB, { nonce: 1, to: undefined, data: CREATION, value: 0n, gasLimit: 200_000 })],
  [send(ALICE, 3)],
  [send(BOB, 2, addressOfKey(78)), send(BOB, 3)],
];
const MORE: readonly (readonly Bytes[])[] = [[send(ALICE, 4), send(BOB, 4)], [send(ALICE, 5, addressOfKey(79))]];

/** Everything a client can ask about the chain. */
async function answers(node: Node, blocks: readonly (readonly Bytes[])[]): Promise<unknown[]> {
  const asked: [string, ...unknown[]][] = [
    ["eth_blockNumber"],
    ["eth_chainId"],
    ["eth_feeHistory", "0x4", "latest", [50]],
  ];
  for (const address of [addressOfKey(ALICE), addressOfKey(BOB), addressOfKey(77), COUNTER].map(hex)) {
    asked.push(["eth_getBalance", address, "latest"], ["eth_getTransactionCount", address, "pending"]);
    asked.push(["eth_getCode", address, "latest"], ["eth_getStorageAt", address, "0x0", "latest"]);
  }
  asked.push(["eth_call", { to: hex(COUNTER) }, "latest"], ["eth_estimateGas", { to: hex(COUNTER) }]);
  asked.push(
    ["eth_getLogs", { fromBlock: "0x0", toBlock: "latest" }],
    ["eth_getLogs", { address: hex(COUNTER), fromBlock: "0x2" }],
  );
  for (let number = 0; number <= blocks.length + 1; number++) {
    asked.push(["eth_getBlockByNumber", `0x${number.toString(16)}`, true]);
    asked.push(["eth_getBlockReceipts", `0x${number.toString(16)}`]);
    asked.push(["eth_getHeaderByNumber", `0x${number.toString(16)}`]);
  }
  for (const hash of blocks.flat().map((raw) => hex(keccak256(raw)))) {
    asked.push(
      ["eth_getTransactionReceipt", hash],
      ["eth_getTransactionByHash", hash],
      ["coco_getTransactionId", hash],
    );
  }
  const results: unknown[] = [];
  for (const [method, ...params] of asked) results.push([method, params, await node.ask(method, ...params)]);
  return results;
}

/** A node that executed the small chain, and one that applied its beginning and answered about it. */
async function chain(): Promise<{ source: Node; lagging: Node }> {
  const [source, lagging] = [new Node(), new Node()];
  const genesis = await source.genesis();
  source.commit(genesis);
  lagging.apply(genesis);
  for (const [at, block] of BLOCKS.entries()) {
    const parts = await source.execute(...block);
    source.commit(parts);
    if (at < 2) lagging.apply(parts);
  }
  await answers(lagging, BLOCKS.slice(0, 2));
  return { source, lagging };
}

function headRoot(node: Node): { readonly root: Bytes; readonly built: Bytes; readonly hash: Bytes } {
  const reader = node.store.reader(node.store.headVersion);
  assert.ok(reader);
  const { header, hash } = readHeadBlock(reader);
  return { root: header.stateRoot, built: new StateTrie().root(reader), hash };
}

describe("the Ethereum adapter on a state that was restored", () => {
  test("answers as the node it comes from, and executes the same next blocks", async () => {
    const { source, lagging } = await chain();
    const fresh = new Node();
    for (const target of [fresh, lagging]) {
      await target.import(source);
      assert.deepEqual(await answers(target, BLOCKS), await answers(source, BLOCKS));
    }
    for (const block of MORE) {
      const expected = await source.execute(...block);
      source.commit(expected);
      for (const target of [fresh, lagging]) {
        const parts = await target.execute(...block);
        assert.ok(bytesEqual(concatBytes(...parts), concatBytes(...expected)));
        target.commit(parts);
      }
    }
    const wanted = await answers(source, [...BLOCKS, ...MORE]);
    for (const target of [fresh, lagging]) {
      assert.deepEqual(await answers(target, [...BLOCKS, ...MORE]), wanted);
      const { root, built, hash } = headRoot(target);
      assert.deepEqual([toHex(root), toHex(hash)], [toHex(built), toHex(headRoot(source).hash)]);
      assert.deepEqual(await target.exported(), await source.exported());
    }
  });

  test("knows the transaction ids of all blocks, the newest ones too", async () => {
    const { source } = await chain();
    const target = new Node();
    await target.import(source);
    const ids: unknown[] = [];
    for (const raw of BLOCKS.flat()) {
      const answer = (await target.ask("coco_getTransactionId", hex(keccak256(raw)))) as { readonly result: unknown };
      ids.push(answer.result);
    }
    assert.deepEqual(ids, ["3.4", "3.5", "3.8", "3.9", "3.12", "3.15", "3.18", "3.19"]);
  });

  test("goes on with the filters of its clients", async () => {
    const { source, lagging } = await chain();
    const { result: filter } = (await lagging.ask("eth_newBlockFilter")) as { readonly result: string };
    await lagging.import(source);
    const { result: found } = (await lagging.ask("eth_getFilterChanges", filter)) as { readonly result: unknown[] };
    assert.equal(found.length, BLOCKS.length - 2);
    assert.equal(found.at(-1), hex(headRoot(source).hash));
    assert.deepEqual(await lagging.ask("eth_getFilterChanges", filter), { jsonrpc: "2.0", id: 1, result: [] });
  });
});
