/** A ledger folder of a network of one node, as the node itself would have written it. */
import assert from "node:assert/strict";
import { fromHex } from "../../src/core/codec/bytes.ts";
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { LogEntry } from "../../src/core/consensus/types.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { executeAdministrativeBatch } from "../../src/core/governance/administrative-batch.ts";
import { parseBatch } from "../../src/core/ledger/batch-format.ts";
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
    const { header, transactions } = parseBatch(this.#build(this.#sealing(), 0, this.transactions));
    return executeAdministrativeBatch(undefined, { header, transactions }, createGovernanceCrypto());
  }

  /** Writes a ledger of this batch, one per list of administrative transactions that follow, and empty ones up to `count`. */
  async write(folder: string, count: number, following: readonly (readonly Bytes[])[] = []): Promise<LogEntry[]> {
    const sealing = this.#sealing();
    const batches = [this.transactions, ...following].map((transactions, at) =>
      this.#build(sealing, Math.min(at, 1), transactions),
    );
    const empty = { view: 2, adapterId: 0, governanceVersion: 1, kind: "empty", transactions: [] } as const;
    while (batches.length < count) batches.push(sealing.build(empty));
    const entries = batches.map((data, at) => ({ index: at + 1, term: 2, data }));
    await writeEntries(folder, entries);
    return entries;
  }

  #build(sealing: Sealing, governanceVersion: number, transactions: readonly Bytes[]): Bytes {
    const made = transactions.map(administrativeTransaction);
    return sealing.build({ view: 2, adapterId: 0, governanceVersion, kind: "administrative", transactions: made });
  }

  #sealing(): Sealing {
    const { crypto, network } = this;
    return new Sealing(new LedgerTail(crypto.sha256), crypto, systemClock, {
      signer: fromHex(network.nodes[0]?.request.nodeId ?? ""),
      salt: new Uint8Array(16),
      epochKeys: { newest: 0, keyOf: () => undefined, onWiped: () => undefined },
    });
  }
}

/** Writes entries as the log of a folder, each in a write of its own when chunks are to be smaller than usual. */
export async function writeEntries(
  folder: string,
  entries: readonly LogEntry[],
  sizes: { readonly chunkBytes?: number } = {},
): Promise<void> {
  const ledger = await openLedgerFiles(folder, {
    ...sizes,
    repair: "refuse",
    onRepair: () => undefined,
    onFatal: (error) => assert.fail(error),
  });
  const hardState = { term: 2, votedFor: undefined };
  const writes = sizes.chunkBytes === undefined ? [entries] : entries.map((entry) => [entry]);
  for (const [at, written] of writes.entries())
    await new Promise<void>((resolve) => ledger.disk.persist({ id: at + 1, hardState, entries: written }, resolve));
  await ledger.close();
}
