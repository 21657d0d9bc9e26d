/**
 * The constitution a stopped node's ledger ends in, read from its chunk files without opening the ledger for writing.
 * Administrative transactions are plain in the ledger, so no key is needed; every other batch is skipped by its first
 * bytes. What is read may end in batches that are not committed yet, as the node itself sees them when it starts.
 */
import { existsSync } from "node:fs";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { executeAdministrativeBatch } from "../core/governance/administrative-batch.ts";
import { decodeGovernanceState } from "../core/governance/state-codec.ts";
import { batchKindOf, parseBatch } from "../core/ledger/batch-format.ts";
import { createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { FILE_SYSTEM } from "./file-operations.ts";
import { corrupt, entriesOf } from "./ledger-chunks.ts";
import { readLedger } from "./ledger-files.ts";
import { readSnapshotHead } from "./snapshot-head.ts";

/**
 * The state after the last administrative transaction of a ledger folder; undefined when there is no ledger yet.
 * Changes nothing on disk. Throws `LedgerCorrupt`, or the error of a transaction that does not hold.
 */
export async function readLedgerGovernance(ledgerFolder: string): Promise<GovernanceState | undefined> {
  if (!existsSync(ledgerFolder)) return undefined;
  const { scan, layout, snapshots } = await readLedger(ledgerFolder);
  const { chunks, damage } = scan;
  if (damage !== undefined) throw corrupt(damage.file, damage.offset, damage.reason);
  const crypto = createGovernanceCrypto();
  const { firstIndex } = layout;
  // A ledger that begins after an installed snapshot has its governance so far in the snapshot, in plain.
  const snapshot = firstIndex === 1 ? undefined : snapshots.findLast(({ index }) => index + 1 >= firstIndex);
  let state = snapshot && decodeGovernanceState(readSnapshotHead(snapshot).manifest.governance, sha256);
  for (const { data } of entriesOf(chunks, (snapshot?.index ?? 0) + 1, FILE_SYSTEM)) {
    if (batchKindOf(data) !== "administrative") continue;
    state = executeAdministrativeBatch(state, parseBatch(data), crypto);
  }
  return state;
}
