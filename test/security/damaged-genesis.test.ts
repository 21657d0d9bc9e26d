/** A changed file is found at start as what it is: `LedgerCorrupt`, not as a mistake of the members in their constitution. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Administration } from "../../src/enclave/manager/administration.ts";
import { createGovernanceCrypto, createNodeCrypto, nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { firstTransactions } from "../../src/enclave/manager/service-keys.ts";
import { administrativeTransaction, Sealing } from "../../src/enclave/manager/sealing.ts";
import { ValidatingNode } from "../../src/enclave/manager/validating-node.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { fromHex } from "../../src/core/codec/bytes.ts";
import { systemClock } from "../../src/host/system.ts";
import { foundNetwork } from "../support/founders.ts";
import { CocoError } from "../../src/errors.ts";

describe("a ledger whose first record was changed", () => {
  test("is LedgerCorrupt wherever the change is", () => {
    const network = foundNetwork(1, 1);
    const [node] = network.nodes;
    assert.ok(node !== undefined);
    const crypto = createNodeCrypto(node.privateKey);
    const signer = fromHex(node.request.nodeId);
    const sealing = new Sealing(new LedgerTail(crypto.sha256), crypto, systemClock, {
      signer,
      salt: new Uint8Array(16),
      epochKeys: { newest: 0, keyOf: () => undefined, onWiped: () => {} },
    });
    const transactions = firstTransactions(network.constitution, network.networkId, {
      crypto,
      entropy: nodeEntropy,
      clock: systemClock,
    }).map(administrativeTransaction);
    const data = sealing.build({ kind: "administrative", view: 2, adapterId: 0, governanceVersion: 0, transactions });
    new Administration(network.constitution, network.networkId, createGovernanceCrypto());
    for (let at = 200; at < data.length; at += 97) {
      const changed = Uint8Array.from(data);
      changed[at] = (changed[at] as number) ^ 1;
      const start = () =>
        new ValidatingNode({
          keys: { ...node.request, signingKey: node.privateKey, decryptionKey: node.decryptionKey },
          genesis: network.constitution,
          approval: undefined,
          runScript: () => assert.fail("there are no scripts"),
          attest: () => new Uint8Array(0),
          listen: "127.0.0.1:0",
          clientListen: "127.0.0.1:0",
          clock: systemClock,
          entropy: nodeEntropy,
          disk: {
            persist: () => {},
            read: () => {},
            createSnapshot: () => assert.fail(),
            readSnapshot: () => {},
            removeSnapshot: () => {},
          },
          tookPart: false,
          content: {
            hardState: { term: 2, votedFor: undefined },
            snapshots: [],
            firstIndex: 1,
            entriesFrom: () => [{ index: 1, term: 2, data: changed }],
            damage: undefined,
          },
          sockets: { listen: () => assert.fail(), connect: () => assert.fail() },
          tracer: { event: () => {} },
          adapterProblem: () => undefined,
          workers: { level: "thread", network: "shared", files: "shared", privileges: "shared" },
          startExecutor: () => ({ send: () => {}, close: () => {} }),
          onServing: () => {},
          onFatal: () => {},
        });
      assert.throws(
        start,
        (error: unknown) => {
          assert.ok(error instanceof CocoError, String(error));
          assert.equal(error.code, "LedgerCorrupt", `byte ${at}: ${error.code}: ${error.message}`);
          return true;
        },
        `byte ${at}`,
      );
    }
  });
});
