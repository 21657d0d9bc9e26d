/** Snapshots on their way from one node to another, part by part, for tests. */
import assert from "node:assert/strict";
import { type Bytes, EMPTY } from "../../src/core/codec/bytes.ts";
import type { SnapshotMark } from "../../src/core/consensus/types.ts";
import { SnapshotNetwork, SnapshotNode } from "./snapshot-node.ts";

/** Bytes of one part of a snapshot on its way to a peer. */
export const PART_BYTES = 700;

/** A node that has founded the network and finished a snapshot without evidence. */
export function withSnapshot(): { network: SnapshotNetwork; node: SnapshotNode; index: number } {
  const network = new SnapshotNetwork();
  const node = new SnapshotNode(network);
  node.found();
  node.execute(3);
  const index = node.execute(4);
  node.run();
  return { network, node, index };
}

/** One part of what a node gives its peers. */
export function load(node: SnapshotNode, offset: number, index?: number) {
  const found: { snapshot: SnapshotMark | undefined; data: Bytes; last: boolean }[] = [];
  const part = { peer: "peer", index, offset, maxBytes: PART_BYTES, heard: true };
  node.snapshots.load(part, (snapshot, data, last) => found.push({ snapshot, data, last }));
  node.run();
  assert.equal(found.length, 1);
  return found[0] ?? { snapshot: undefined, data: EMPTY, last: true };
}

/** What happens to a snapshot on its way. */
export interface Falsification {
  readonly data?: (data: Bytes, offset: number) => Bytes;
  readonly mark?: Partial<SnapshotMark>;
}

/** Hands the confirmed snapshot of a node to another. */
export function transfer(
  from: SnapshotNode,
  to: SnapshotNode,
  { data: change, mark: wrong }: Falsification = {},
): SnapshotMark {
  for (let offset = 0; ; ) {
    const { snapshot, data, last } = load(from, offset);
    assert.ok(snapshot);
    to.snapshots.receive({
      from: from.nodeId,
      snapshot: { ...snapshot, ...wrong },
      offset,
      data: change?.(data, offset) ?? data,
      last,
    });
    if (last) return snapshot;
    offset += data.length;
  }
}

/** A node with a confirmed snapshot, and one that has nothing. */
export function confirmed() {
  const { network, node, index } = withSnapshot();
  node.confirm(node.unconfirmed);
  node.durable();
  node.run();
  return { network, node, index, other: new SnapshotNode(network, 1) };
}
