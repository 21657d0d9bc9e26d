/** The open part of a snapshot file, which anyone reads without a key: what it says of itself, verified by nobody yet. */
import type { Bytes } from "../core/codec/bytes.ts";
import { parseSnapshotHead, type SnapshotManifest, snapshotHeadLength } from "../core/ledger/snapshot-format.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";

/** The manifest of a snapshot file; throws `MalformedInput` when its form does not hold. */
export function readSnapshotManifest(snapshot: StoredSnapshot): SnapshotManifest {
  return parseSnapshotHead(headOf(snapshot)).manifest;
}

function headOf(snapshot: StoredSnapshot): Bytes {
  const parts: Bytes[] = [];
  let length = 0;
  for (const part of snapshot.parts()) {
    parts.push(part);
    length += part.length;
    const front = new Uint8Array(Buffer.concat(parts));
    const headLength = snapshotHeadLength(front);
    if (length >= headLength) return front.subarray(0, headLength);
  }
  throw new CocoError("MalformedInput", "snapshot: it ends within its head");
}
