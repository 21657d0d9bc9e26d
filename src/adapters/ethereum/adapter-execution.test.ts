import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, bytesEqual, concatBytes, EMPTY, fromHex, toHex, utf8Decode } from "../../core/codec/bytes.ts";
import type { StateReader, TransactionOutcome } from "../adapter.ts";
import { KEYS_BETWEEN_ROOTS } from "./adapter-execution.ts";
import { readBlock, readHead } from "./block.ts";
import { balanceOf, codeOf, nonceOf, storageOf, transactionAt, transactionLocation } from "./chain.ts";
import { headerHash, receiptsRootOf, transactionsRootOf } from "./header.ts";
import { encodeReceipt } from "./receipts.ts";
import { encodeAccount } from "./records.ts";
import { encodeReplayState } from "./replay.ts";
import { bytes32OfBigint } from "./rlp.ts";
import { StateTrie } from "./state-trie.ts";
import { addressOfKey, signedAuthorization, signedTransaction, TEST_CHAIN_ID } from "./test-signing.ts";
import { prepareAll, TEST_COMPONENTS, TestNetwork } from "./test-state.ts";
import { TRANSACTION_BYTES_MAX, type TransactionFields } from "./transactions.ts";
import { TABLES } from "./types.ts";

const ETHER = 10n ** 18n;
const ALICE = 1;
const BOB = 2;
const COUNTER = fromHex("00000000000000000000000000000000c0c0c0c0");
/** Adds one to slot 0 and emits an empty log. */
const COUNTER_CODE = "0x60016000540160005560006000a000";

function network(options: object = {}): TestNetwork {
  const account = { balance: ETHER.toString() };
  const alloc = {
    [`0x${toHex(addressOfKey(ALICE))}`]: account,
    [`0x${toHex(addressOfKey(BOB))}`]: account,
    [`0x${toHex(COUNTER)}`]: { code: COUNTER_CODE },
  };
  return new TestNetwork({ chainId: TEST_CHAIN_ID, alloc, ...options });
}

function send(key: number, fields: Partial<TransactionFields>) {
  const [prepared] = prepareAll([signedTransaction(key, fields)]);
  assert.ok(prepared);
  return prepared;
}

function message(outcome: TransactionOutcome | undefined): string {
  assert.equal(outcome?.type, "rejected");
  const fault = JSON.parse(utf8Decode((outcome as { error: Bytes }).error)) as { code: number; message: string };
  assert.equal(fault.code, -32000);
  return fault.message;
}

describe("execution of batches", () => {
  test("a plain transfer gives its outcome without a promise", () => {
    const node = network();
    const draft = node.store.beginBatch();
    node.execution.beginBatch(node.state, { timeMs: 0, randomness: new Uint8Array(32) });
    const outcome = node.execution.execute(draft.begin(), send(ALICE, { value: 5n }));
    assert.equal(outcome instanceof Promise, false);
    assert.equal((outcome as TransactionOutcome).type, "included");
  });

  test("a batch becomes one block whose header, records and state agree", async () => {
    const node = network();
    const transfer = send(ALICE, { value: 5n });
    const call = send(BOB, { to: COUNTER });
    const outcomes = await node.run([transfer, call]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.type),
      ["included", "included"],
    );
    assert.equal(readHead(node.state), 1);
    const [genesis, block] = [readBlock(node.state, 0), readBlock(node.state, 1)];
    assert.ok(genesis && block);
    assert.ok(bytesEqual(block.header.parentHash, genesis.hash));
    assert.ok(bytesEqual(block.hash, headerHash(block.header)));
    assert.equal(block.header.baseFeePerGas, 875_000_000n);
    assert.ok(bytesEqual(block.header.mixHash, new Uint8Array(32).fill(7)));
    const records = [0, 1].map((index) => transactionAt(node.state, { blockNumber: 1, index }));
    const receipts = records.flatMap((record) => (record === undefined ? [] : [record.receipt]));
    assert.ok(bytesEqual(block.header.receiptsRoot, receiptsRootOf(receipts)));
    assert.ok(
      bytesEqual(block.header.transactionsRoot, transactionsRootOf(records.flatMap((record) => record?.raw ?? []))),
    );
    assert.ok(bytesEqual(block.header.stateRoot, new StateTrie().root(node.state)));
    assert.equal(block.header.gasUsed, receipts[1]?.cumulativeGasUsed);
    assert.equal(receipts[1]?.logs.length, 1);
    assert.deepEqual(transactionLocation(node.state, call.id), { blockNumber: 1, index: 1 });
    assert.equal(balanceOf(node.state, addressOfKey(99)), 5n);
    assert.equal(toHex(storageOf(node.state, COUNTER, new Uint8Array(32))), "01");
    const [first] = outcomes;
    assert.ok(first?.type === "included" && first.claimsDigest && receipts[0]);
    assert.ok(
      bytesEqual(first.claimsDigest, TEST_COMPONENTS.sha256(concatBytes(transfer.id, encodeReceipt(receipts[0])))),
    );
  });

  test("the state root stays right over many blocks and on a node that only applies", async () => {
    const node = network();
    for (let nonce = 0; nonce < 4; nonce++)
      await node.run([send(ALICE, { nonce, to: nonce % 2 ? COUNTER : addressOfKey(50 + nonce), value: 1n })]);
    const head = readBlock(node.state, 4);
    assert.ok(head && bytesEqual(head.header.stateRoot, new StateTrie().root(node.state)));
  });

  test("a transaction is included once, in its batch and after it", async () => {
    const node = network();
    const transfer = send(ALICE, { value: 5n });
    assert.deepEqual(
      (await node.run([transfer, transfer])).map((outcome) => outcome.type),
      ["included", "duplicate"],
    );
    assert.deepEqual(
      (await node.run([transfer])).map((outcome) => outcome.type),
      ["duplicate"],
    );
    assert.equal(readHead(node.state), 1);
  });

  test("transactions ahead of their nonce wait and run in order once the gap closes", async () => {
    const node = network();
    const [zero, one, two] = [0, 1, 2].map((nonce) => send(ALICE, { nonce, value: 1n }));
    assert.ok(zero && one && two);
    assert.deepEqual(
      (await node.run([two, one])).map((outcome) => outcome.type),
      ["waiting", "waiting"],
    );
    assert.equal(readHead(node.state), 0);
    const outcomes = await node.run([zero]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.type),
      ["included", "included", "included"],
    );
    assert.ok(
      outcomes.every(
        (outcome, at) => outcome.type === "included" && bytesEqual(outcome.result, [zero, one, two][at]?.id ?? EMPTY),
      ),
    );
    assert.equal(nonceOf(node.state, addressOfKey(ALICE)), 3);
    assert.equal(node.execution.pool.size, 0);
  });

  test("refused transactions say why in go-ethereum's words", async () => {
    const node = network();
    await node.run([send(ALICE, {})]);
    const refused = async (fields: Partial<TransactionFields>, key = BOB): Promise<string> =>
      message((await node.run([send(key, fields)]))[0]);
    assert.equal(await refused({ nonce: 0, value: 1n }, ALICE), "nonce too low: next nonce 1, tx nonce 0");
    assert.match(
      await refused({ value: 2n * ETHER }),
      /^insufficient funds for gas \* price \+ value: balance \d+, tx cost \d+, overshot \d+$/,
    );
    assert.equal(await refused({ gasLimit: 20_000 }), "intrinsic gas too low: gas 20000, minimum needed 21000");
    assert.match(
      await refused({ maxFeePerGas: 5n }),
      /^max fee per gas less than block base fee: address 0x[0-9a-f]{40}, maxFeePerGas: 5, baseFee: \d+$/,
    );
    assert.equal(
      await refused({ maxPriorityFeePerGas: 3_000_000_000n }),
      "max priority fee per gas higher than max fee per gas",
    );
    assert.equal(
      await refused({ gasLimit: 16_777_217 }),
      "transaction gas limit too high (cap: 16777216, tx: 16777217)",
    );
    assert.equal(await refused({ chainId: 5 }), "invalid sender: invalid chain id for signer: have 5 want 1337");
    assert.equal(
      await refused({ to: undefined, data: new Uint8Array(49_153), gasLimit: 5_000_000 }),
      "max initcode size exceeded: code size 49153 limit 49152",
    );
    assert.match(await refused({ type: 3, blobVersionedHashes: [new Uint8Array(32).fill(1)] }), /keeps no blobs/);
    assert.equal(
      await refused({ data: new Uint8Array(1000).fill(1), gasLimit: 40_000 }),
      "insufficient gas for floor data gas cost: gas 40000, minimum needed 61000",
    );
    assert.equal(readHead(node.state), 1, "a refused transaction leaves nothing behind");
  });

  test("the gas limit of the block binds a single transaction", async () => {
    const node = network({ blockGasLimit: 50_000 });
    assert.equal(message((await node.run([send(BOB, { gasLimit: 50_001 })]))[0]), "exceeds block gas limit");
  });

  test("creating a contract keeps its code and reports its address", async () => {
    const node = network();
    // Returns the two bytes 60 00.
    const outcomes = await node.run([
      send(ALICE, { to: undefined, data: fromHex("6160006000526002601ef3"), gasLimit: 200_000 }),
    ]);
    assert.equal(outcomes[0]?.type, "included");
    const receipt = transactionAt(node.state, { blockNumber: 1, index: 0 })?.receipt;
    assert.ok(receipt?.contractAddress);
    assert.equal(toHex(codeOf(node.state, receipt.contractAddress)), "6000");
  });

  test("a failing call is included, pays its gas and changes nothing else", async () => {
    const node = network();
    const before = balanceOf(node.state, addressOfKey(ALICE));
    await node.run([send(ALICE, { to: COUNTER, gasLimit: 21_100 })]);
    const receipt = transactionAt(node.state, { blockNumber: 1, index: 0 })?.receipt;
    assert.equal(receipt?.success, false);
    assert.equal(receipt?.gasUsed, 21_100);
    assert.equal(storageOf(node.state, COUNTER, new Uint8Array(32)).length, 0);
    assert.equal(balanceOf(node.state, addressOfKey(ALICE)), before - 21_100n * (receipt?.effectiveGasPrice ?? 0n));
  });

  test("an authorization lends an account the code of a contract (EIP-7702)", async () => {
    const node = network();
    const authorizationList = [signedAuthorization(BOB, COUNTER, 0n)];
    const outcomes = await node.run([
      send(ALICE, { type: 4, to: addressOfKey(BOB), authorizationList, gasLimit: 200_000 }),
    ]);
    assert.equal(outcomes[0]?.type, "included");
    assert.equal(toHex(codeOf(node.state, addressOfKey(BOB))), `ef0100${toHex(COUNTER)}`);
    assert.equal(toHex(storageOf(node.state, addressOfKey(BOB), new Uint8Array(32))), "01");
    const transfer = await node.run([send(BOB, { nonce: 1, value: 1n })]);
    assert.equal(transfer[0]?.type, "included", "an account with a delegation still sends transactions");
  });

  test("replay transactions are refused where the constitution does not allow replay", async () => {
    const raw = encodeReplayState([
      { address: addressOfKey(3), reset: true, nonce: 0, balance: ETHER, code: EMPTY, storage: [] },
    ]);
    assert.equal(message((await network().run(prepareAll([raw])))[0]), "this network does not allow replay");
  });

  test("a state chunk replaces accounts wholly and makes no block", async () => {
    const node = network({ replay: true });
    await node.run([send(ALICE, { to: COUNTER })]);
    const slot = bytes32OfBigint(5n);
    const account = { address: COUNTER, nonce: 3, balance: 9n, code: fromHex("00") };
    const first = encodeReplayState([{ ...account, reset: true, storage: [{ slot, value: Uint8Array.of(1) }] }]);
    const second = encodeReplayState([
      { ...account, reset: false, storage: [{ slot: bytes32OfBigint(6n), value: Uint8Array.of(2) }] },
    ]);
    const outcomes = await node.run(prepareAll([first, second]));
    assert.ok(outcomes.every((outcome) => outcome.type === "included"));
    assert.equal(readHead(node.state), 1);
    assert.equal(storageOf(node.state, COUNTER, new Uint8Array(32)).length, 0);
    assert.equal(toHex(storageOf(node.state, COUNTER, slot)), "01");
    assert.equal(toHex(storageOf(node.state, COUNTER, bytes32OfBigint(6n))), "02");
    await node.run([send(ALICE, { nonce: 1, value: 1n })]);
    const block = readBlock(node.state, 2);
    assert.ok(block && bytesEqual(block.header.stateRoot, new StateTrie().root(node.state)));
  });

  test("a transaction above go-ethereum's size limit is refused, but executed in a replay, as blocks hold larger ones", async () => {
    const large = { gasLimit: 16_000_000, data: new Uint8Array(TRANSACTION_BYTES_MAX), to: COUNTER };
    assert.match(
      message((await network().run([send(ALICE, large)]))[0]),
      /^oversized data: transaction size \d+, limit 131072$/,
    );
    const replaying = network({ replay: true });
    assert.equal((await replaying.run([send(ALICE, large)]))[0]?.type, "included");
  });

  test("a follower refuses a block whose state root does not follow from the writes", async () => {
    const leader = network();
    await leader.run([send(ALICE, { to: addressOfKey(BOB), value: 1n })]);
    const accounts = [addressOfKey(ALICE), addressOfKey(BOB), new Uint8Array(20)];
    const written = Array.from({ length: KEYS_BETWEEN_ROOTS }, (_, at) => ({
      table: TABLES.accounts as number,
      key: accounts[at % accounts.length] as Bytes,
    }));
    written.push({ table: TABLES.blocks, key: new Uint8Array(8) });
    assert.doesNotThrow(() => network().execution.applied(leader.state, written));
    const { state } = leader;
    const richer = encodeAccount({ nonce: 0, balance: 5n, codeHash: undefined });
    const get = (table: number, key: Bytes): Bytes | undefined =>
      table === TABLES.accounts && bytesEqual(key, addressOfKey(BOB)) ? richer : state.get(table, key);
    const scan: StateReader["scan"] = function* (table, ...bounds) {
      for (const [key, value] of state.scan(table, ...bounds)) yield [key, get(table, key) ?? value] as const;
    };
    const versionOf = state.versionOf.bind(state);
    const forged: StateReader = { version: state.version, get, versionOf, scan };
    assert.throws(() => network().execution.applied(forged, written), { code: "LedgerCorrupt" });
  });
});
