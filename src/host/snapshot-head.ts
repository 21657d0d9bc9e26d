/** The open front of a snapshot on disk: readable without a key. */
import type { Bytes } from "../core/codec/bytes.ts";
import { parseSnapshotHead, type SnapshotHead, snapshotHeadLength } from "../core/ledger/snapshot-format.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";
import { CocoError } from "../errors.ts";

/** Reads the front of a snapshot; nothing of it is authenticated. Throws `MalformedInput` when it is none. */
export function readSnapshotHead(snapshot: StoredSnapshot): SnapshotHead {
  const parts: Bytes[] = [];
  let length = 0;
  for (const part of snapshot.parts()) {
    parts.push(part);
    length += part.length;
    const front = new Uint8Array(Buffer.concat(parts));
    const headLength = snapshotHeadLength(front);
    if (length >= headLength) return parseSnapshotHead(front.subarray(0, headLength));
  }
  throw new CocoError("MalformedInput", "snapshot: it ends within its head");
}
