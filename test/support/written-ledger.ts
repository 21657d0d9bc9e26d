/** A ledger folder of a network of one node, as the node itself would have written it. */
import assert from "node:assert/strict";
import { fromHex } from "../../src/core/codec/bytes.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { LogEntry } from "../../src/core/consensus/types.ts";
import { executeAdministrative, type GovernanceState } from "../../src/core/governance/administrative.ts";
import { decodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { createGovernanceCrypto, createNodeCrypto, nodeEntropy } from "../../src/enclave/manager/node-crypto.ts";
import { administrativeTransaction, Sealing } from "../../src/enclave/manager/sealing.ts";
import { firstTransactions } from "../../src/enclave/manager/service-keys.ts";
import { openLedgerFiles } from "../../src/host/ledger-files.ts";
import { systemClock } from "../../src/host/system.ts";
import type { TestNetwork } from "./founders.ts";

/** Genesis and first epoch of a network, by its first node. */
export class FirstBatch {
  readonly network: TestNetwork;
  readonly crypto: ReturnType<typeof createNodeCrypto>;
  readonly transactions: readonly Bytes[];

  constructor(network: TestNetwork) {
    const [node] = network.nodes;
    assert.ok(node);
    this.network = network;
    this.crypto = createNodeCrypto(node.privateKey);
    const ports = { crypto: this.crypto, entropy: nodeEntropy, clock: systemClock };
    this.transactions = firstTransactions(network.constitution, network.networkId, ports);
  }

  /** Governance after it. */
  state(): GovernanceState {
    let state: GovernanceState | undefined;
    const place = { index: 1, firstSeqno: 1, timeMs: 0 };
    for (const transaction of this.transactions)
      state = executeAdministrative(state, decodeAdministrative(transaction), place, createGovernanceCrypto());
    assert.ok(state);
    return state;
  }

  /** Writes a ledger of this batch, one per list of administrative transactions that follow, and empty ones up to `count`. */
  async write(folder: string, count: number, following: readonly (readonly Bytes[])[] = []): Promise<LogEntry[]> {
    const { crypto, network } = this;
    const sealing = new Sealing(new LedgerTail(crypto.sha256), crypto, systemClock, {
      signer: fromHex(network.nodes[0]?.request.nodeId ?? ""),
      salt: new Uint8Array(16),
      epochKeys: { newest: 0, keyOf: () => undefined, onWiped: () => undefined },
    });
    const common = { view: 2, adapterId: 0 } as const;
    const batches = [this.transactions, ...following].map((transactions, at) =>
      sealing.build({
        ...{ ...common, governanceVersion: at === 0 ? 0 : 1, kind: "administrative" },
        transactions: transactions.map(administrativeTransaction),
      }),
    );
    while (batches.length < count)
      batches.push(sealing.build({ ...common, governanceVersion: 1, kind: "empty", transactions: [] }));
    const entries = batches.map((data, at) => ({ index: at + 1, term: 2, data }));
    await writeEntries(folder, entries);
    return entries;
  }
}

/** Writes entries as the log of a folder. */
export async function writeEntries(folder: string, entries: readonly LogEntry[]): Promise<void> {
  const ledger = await openLedgerFiles(folder, {
    repair: "refuse",
    onRepair: () => undefined,
    onFatal: (error) => assert.fail(error),
  });
  const hardState = { term: 2, votedFor: undefined };
  await new Promise<void>((resolve) => ledger.disk.persist({ id: 1, hardState, entries }, resolve));
  await ledger.close();
}
