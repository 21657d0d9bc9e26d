/**
 * The constitution a stopped node's ledger ends in, read from its chunk files without opening the ledger for writing.
 * Administrative transactions are plain in the ledger, so no key is needed; every other batch is skipped by its first
 * bytes. What is read may end in batches that are not committed yet, as the node itself sees them when it starts.
 */
import { existsSync } from "node:fs";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { executeAdministrativeBatch } from "../core/governance/administrative-batch.ts";
import { parseBatch } from "../core/ledger/batch-format.ts";
import { batchKindOf } from "../core/ledger/batch-glance.ts";
import { decodeGovernanceState } from "../core/governance/state-codec.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import { FILE_SYSTEM } from "./file-operations.ts";
import { corrupt, entriesOf } from "./ledger-chunks.ts";
import { readLedger, requireNoGap } from "./ledger-files.ts";
import { loadGovernanceCrypto } from "./script-engine-file.ts";
import { readSnapshotManifest } from "./snapshot-head.ts";

/**
 * The state after the last administrative transaction of a ledger folder; undefined when there is no ledger yet.
 * Changes nothing on disk. Throws `LedgerCorrupt`, or the error of a transaction that does not hold.
 */
export async function readLedgerGovernance(ledgerFolder: string): Promise<GovernanceState | undefined> {
  if (!existsSync(ledgerFolder)) return undefined;
  const { scan, layout, snapshots } = await readLedger(ledgerFolder);
  const { chunks, damage } = scan;
  requireNoGap(scan);
  if (damage !== undefined) throw corrupt(damage.file, damage.offset, damage.reason);
  const crypto = await loadGovernanceCrypto();
  let state: GovernanceState | undefined;
  let from = 1;
  const [newest] = snapshots;
  if (layout.firstIndex > 1 && newest !== undefined) {
    state = decodeGovernanceState(readSnapshotManifest(newest).governance, sha256);
    from = newest.index + 1;
  }
  for (const { data } of entriesOf(chunks, from, FILE_SYSTEM)) {
    if (batchKindOf(data) !== "administrative") continue;
    state = executeAdministrativeBatch(state, parseBatch(data), crypto);
  }
  return state;
}
