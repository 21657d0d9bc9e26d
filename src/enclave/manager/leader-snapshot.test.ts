import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { transfer } from "../../../test/support/snapshot-transfer.ts";
import { cheapHash } from "../../../test/simulation/cheap-hash.ts";
import { SnapshotNetwork, SnapshotNode } from "../../../test/support/snapshot-node.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import { constitutionDigest } from "../../core/governance/constitution-codec.ts";

describe("a snapshot of a leader", () => {
  /** A node that has committed two epochs, and a leader whose snapshot continues that ledger with another governance state. */
  const offered = (change: (state: GovernanceState, first: GovernanceState) => GovernanceState) => {
    const network = new SnapshotNetwork();
    const leader = new SnapshotNode(network);
    leader.found();
    const first = leader.administration.committed;
    assert.ok(first);
    const { founded } = network;
    const requests = founded.askForEpoch(first, 0).map((message) => ({ type: "request", ...message }) as const);
    const epoch = founded.epochMaker((length) => new Uint8Array(length).fill(8)).epoch(first);
    leader.administrate([...requests, epoch].map(encodeAdministrative));
    const other = new SnapshotNode(network, 1);
    other.follow();
    const state = leader.administration.committed;
    assert.ok(state);
    assert.deepEqual([state.epochs.length, state.constitution.version], [2, 2]);
    leader.administration.restore(change(state, first), leader.tail.lastIndex, 0);
    leader.execute(9);
    leader.run();
    leader.confirm(leader.unconfirmed);
    leader.durable();
    const mark = transfer(leader, other);
    other.run();
    const taken = other.stored.length === 1 && other.stored[0]?.index === mark.index;
    assert.ok(taken || (other.stored[0] === undefined && other.disk.files.size === 0));
    return taken;
  };
  const withConstitution = (state: GovernanceState, constitution: Constitution): GovernanceState => ({
    ...state,
    constitution,
    constitutionDigest: constitutionDigest(constitution, cheapHash),
  });
  const renamed = ({ constitution }: GovernanceState, version: number): Constitution => ({
    ...constitution,
    version,
    network: { name: "another", open: true },
  });

  test("is taken when its governance is, or continues, what is committed here", () => {
    const same = offered((state) => state);
    // How a later constitution came about is for the evidence to say.
    const later = offered((state) => withConstitution(state, renamed(state, 3)));
    assert.deepEqual([same, later], [true, true]);
  });

  test("is refused with another epoch in the place of a committed one, or without it", () => {
    for (const place of [0, 1]) {
      const another = (state: GovernanceState): GovernanceState => ({
        ...state,
        epochs: state.epochs.map((epoch, at) =>
          at === place ? { ...epoch, sealedServiceKey: epoch.sealedServiceKey.map((byte) => byte ^ 1) } : epoch,
        ),
      });
      assert.equal(offered(another), false);
    }
    assert.equal(
      offered((state) => ({ ...state, epochs: state.epochs.slice(0, 1) })),
      false,
    );
  });

  test("is refused with an older constitution than the committed one, or another one of its version", () => {
    assert.equal(
      offered((state, first) => withConstitution(state, first.constitution)),
      false,
    );
    assert.equal(
      offered((state) => withConstitution(state, renamed(state, 2))),
      false,
    );
  });
});
