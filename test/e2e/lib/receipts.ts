/**
 * Receipts of a test network's transactions, in both formats, checked with the command line.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Hex } from "viem";
import type { NetworkNode } from "./network.ts";
import { coco } from "../../support/coco-here.ts";
import { present, until } from "./processes.ts";

/** The ledger's name of an Ethereum transaction, once it is committed on the node. */
export function transactionIdOf(node: NetworkNode, hash: Hex): Promise<string> {
  return until(
    `${hash} is committed on ${node.name}`,
    async () => (await node.rpc.call<string | null>("coco_getTransactionId", hash)) ?? undefined,
  );
}

/** The sequence number in a transaction id. */
export function seqnoOf(transactionId: string): number {
  return Number(present(transactionId.split(".")[1]));
}

/** Fails unless a node gives both forms of a transaction's receipt, and both prove it to who has the service certificate alone. */
export async function requireReceipts(
  node: NetworkNode,
  transactionId: string,
  serviceCertificate: string,
): Promise<void> {
  for (const format of ["json", "cose"]) {
    const path = `/node/receipt?transaction_id=${transactionId}&format=${format}`;
    const { status, body, bytes } = await node.rpc.http({ method: "GET", path });
    assert.equal(status, 200, `${node.name}, ${transactionId}: ${body}`);
    const file = join(node.dir, `receipt-${transactionId}.${format}`);
    await writeFile(file, bytes);
    const { code, data, talk } = await coco(
      ...["receipt", "verify", file, "--service-cert", serviceCertificate, "--json"],
    );
    assert.equal(code, 0, talk);
    assert.equal(JSON.parse(data).transaction_id, transactionId);
  }
}
