/**
 * Ledger folders of nodes, as an auditor sees them: the `coco ledger` commands, and the comparison of what nodes hold.
 */
import assert from "node:assert/strict";
import { FILE_SYSTEM } from "../../../src/host/file-operations.ts";
import { entriesOf } from "../../../src/host/ledger-chunks.ts";
import { readLedger } from "../../../src/host/ledger-files.ts";
import { sha256 } from "../../../src/enclave/manager/node-crypto.ts";
import { toHex } from "../../../src/core/codec/bytes.ts";
import { coco } from "../../support/coco-here.ts";
import type { NetworkNode } from "./network.ts";
import { present, until } from "./processes.ts";

/** An administrative transaction as `coco ledger show --json` prints it. */
export interface ShownTransaction {
  readonly type: string;
  readonly transactionId: string;
  /** Time of its batch, milliseconds since 1970. */
  readonly timeMs: number;
  readonly epoch?: number;
  readonly index?: number;
  readonly seqno?: number;
}

/** The administrative transactions of a node's ledger, in order. */
export async function administrativeOf(dir: string): Promise<readonly ShownTransaction[]> {
  const { code, data, talk } = await coco("ledger", "show", dir, "--administrative", "--json");
  assert.equal(code, 0, talk);
  return data
    .trim()
    .split("\n")
    .flatMap((line) => {
      const { time, transactions } = JSON.parse(line) as ShownBatch;
      const timeMs = Date.parse(time);
      return transactions.map(({ transactionId, administrative }) => ({ transactionId, timeMs, ...administrative }));
    });
}

interface ShownBatch {
  readonly time: string;
  readonly transactions: readonly {
    readonly transactionId: string;
    readonly administrative: Omit<ShownTransaction, "transactionId" | "timeMs">;
  }[];
}

/** Fails unless `coco ledger verify` finds the whole ledger of a node good. */
export async function requireValidLedger(node: NetworkNode): Promise<void> {
  const { code, data, talk } = await coco(
    ...["ledger", "verify", node.dir, "--service-cert", node.serviceCertificate, "--json"],
  );
  assert.equal(code, 0, `${node.name}: ${data}${talk}`);
  assert.equal(JSON.parse(data).valid, true);
}

/** SHA-256 of every batch of a ledger folder, by index. */
export async function batchHashes(ledger: string): Promise<ReadonlyMap<number, string>> {
  const { scan, layout } = await readLedger(ledger);
  assert.equal(scan.damage, undefined, `${ledger} is whole`);
  const hashes = new Map<number, string>();
  for (const { index, data } of entriesOf(scan.chunks, layout.firstIndex, FILE_SYSTEM))
    hashes.set(index, toHex(sha256(data)));
  return hashes;
}

interface Progress {
  readonly commit_index: number;
  readonly last_index: number;
}

/** Waits until nodes have committed the same log; the index of its last batch. */
export function sameLog(nodes: readonly NetworkNode[]): Promise<number> {
  return until(
    "all nodes have committed the same log",
    async () => {
      const states = await Promise.all(nodes.map((node) => node.read<Progress>("/node/state").catch(() => undefined)));
      const indexes = new Set(states.flatMap((state) => [state?.commit_index, state?.last_index]));
      return indexes.size === 1 ? states[0]?.last_index : undefined;
    },
    { timeoutMs: 40_000, everyMs: 100 },
  );
}

/** Waits until nodes have the same log, then fails unless every batch that two of them hold is the same, byte by byte. Returns the first index of each. */
export async function requireSameLedgers(nodes: readonly NetworkNode[]): Promise<readonly number[]> {
  const last = await sameLog(nodes);
  // A quorum without it can commit what a node is still writing.
  const ledgers = await Promise.all(
    nodes.map(({ name, ledger }) =>
      until(`${name} has written batch ${last}`, async () => {
        const hashes = await batchHashes(ledger);
        return hashes.has(last) ? hashes : undefined;
      }),
    ),
  );
  const whole = present(ledgers.reduce((longest, ledger) => (ledger.size > longest.size ? ledger : longest)));
  const firsts: number[] = [];
  for (const [at, ledger] of ledgers.entries()) {
    const first = present([...ledger.keys()][0]);
    firsts.push(first);
    for (let index = first; index <= last; index++)
      assert.equal(ledger.get(index), whole.get(index), `batch ${index} of ${nodes[at]?.name}`);
  }
  return firsts;
}
