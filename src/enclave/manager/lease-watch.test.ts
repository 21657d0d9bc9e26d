import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GovernedNetwork, idOf } from "../../../test/support/governed-network.ts";
import { type AdministrativeTransaction, encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { AppendRequest, ConsensusMessage, NodeId } from "../../core/consensus/types.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { buildBatch } from "../../core/ledger/batch.ts";
import { LedgerKeys } from "../../core/ledger/keys.ts";
import { simulatedCrypto } from "../../../test/simulation/simulated-crypto.ts";
import { EMPTY, fromHex } from "../../core/codec/bytes.ts";
import { BATCH_AHEAD_MAX_MS, LEADER_UNHEARD_MS, LeaseWatch, QUARANTINE_REFUSED_MS } from "./lease-watch.ts";

const LEASE_MS = 60_000;
const [LEADER, OWN, OTHER] = [idOf(0), idOf(1), idOf(2)];

/** A watch of node 1 of three, led by node 0, with clocks that are moved by hand. */
class Bench {
  readonly network = new GovernedNetwork([0, 1, 2], { leaseMs: LEASE_MS });
  readonly events: string[] = [];
  nowMs = 1_000_000;
  wallMs = this.network.place.timeMs;
  readonly watch: LeaseWatch;
  committed: GovernanceState = this.network.state;

  /** @param ageMs how old the leases are when this node learns of them */
  constructor(ageMs = 0) {
    this.wallMs += ageMs;
    const committedOf = (): GovernanceState => this.committed;
    this.watch = new LeaseWatch({
      nodeId: OWN,
      clock: { now: () => this.nowMs, wallTime: () => this.wallMs },
      administration: {
        get committed() {
          return committedOf();
        },
      },
      ledgerTimeMs: () => this.network.place.timeMs,
      tracer: { event: (_level, name) => void this.events.push(name) },
    });
    this.watch.follow();
    this.tick();
  }

  tick(term = 1): void {
    this.watch.tick({ leader: LEADER, role: "follower", term }, () => assert.fail("this node does not lead"));
  }

  /** Time passes, by the clocks of this node. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.wallMs += ms;
  }

  /** All leases begin anew, at this time by the leader's clock, and this node learns of it after a while. */
  renew(fromMs: number, afterMs = LEASE_MS / 4): void {
    const leases = new Map([...this.committed.leases].map(([id, lease]) => [id, { ...lease, fromMs }]));
    this.committed = { ...this.committed, leases };
    this.pass(afterMs);
    this.watch.follow();
  }

  /** A node's lease ends by the ledger's clock. */
  quarantine(nodeId: NodeId): GovernanceState {
    this.network.place = { ...this.network.place, timeMs: this.network.place.timeMs + LEASE_MS };
    return this.network.execute({ type: "quarantine", nodeIds: [nodeId] });
  }
}

function append(change: Partial<AppendRequest> = {}): AppendRequest {
  const position = { previousIndex: 1, previousTerm: 1, commitIndex: 1, round: 1 };
  return {
    type: "append",
    term: 1,
    ...position,
    entries: [entryOf({ type: "quarantine", nodeIds: [OTHER] })],
    ...change,
  };
}

/** An entry with one administrative transaction. */
function entryOf(transaction: AdministrativeTransaction, timeMs = 1) {
  const crypto = simulatedCrypto(new Uint8Array(32));
  const content = { id: EMPTY, publicPart: encodeAdministrative(transaction), privatePart: EMPTY };
  const { bytes } = buildBatch(
    {
      ...({ kind: "administrative", view: 1, adapterId: 0, governanceVersion: 0, timeMs, epoch: 0 } as const),
      ...{ salt: new Uint8Array(16), nonceCounter: 1, signer: fromHex(LEADER) },
      transactions: [{ ...content, claimsDigest: undefined }],
    },
    new LedgerTail(crypto.sha256),
    new LedgerKeys(crypto, () => undefined),
    crypto,
  );
  return { index: 2, term: 1, data: bytes };
}

const HEARTBEAT = append({ entries: [] });

describe("a quarantine that a leader sends", () => {
  test("is not taken while the lease is young by this node's own clocks, nor is the leader heard meanwhile", () => {
    const bench = new Bench();
    bench.pass(LEASE_MS / 2);
    assert.equal(bench.watch.isDeaf(LEADER, HEARTBEAT), false);
    assert.equal(bench.watch.isDeaf(LEADER, append()), true);
    assert.equal(bench.watch.isDeaf(LEADER, HEARTBEAT), true, "an election follows");
    const vote = { type: "vote", term: 2, preVote: true, transfer: false, lastIndex: 1, lastTerm: 1 } as const;
    assert.equal(bench.watch.isDeaf(LEADER, vote), true, "which is not for it to win");
    assert.equal(bench.watch.isDeaf(OTHER, vote), false);
    assert.deepEqual([bench.events, bench.watch.refusedQuarantines], [["quarantine_refused"], 1]);
    bench.tick(2);
    assert.equal(bench.watch.isDeaf(LEADER, { ...HEARTBEAT, term: 2 }), false, "whoever leads the next term is heard");
    assert.equal(bench.watch.isDeaf(LEADER, append({ term: 2 })), true, "and its quarantine is as early");
  });

  test("is taken after a while, in whatever term: a node whose own clock is behind must not hold the others up", () => {
    const bench = new Bench();
    assert.equal(bench.watch.isDeaf(LEADER, append()), true);
    for (let term = 2; term < 6; term++) {
      bench.pass(QUARANTINE_REFUSED_MS / 5);
      bench.tick(term);
      assert.equal(bench.watch.isDeaf(LEADER, append({ term })), true);
    }
    bench.pass(QUARANTINE_REFUSED_MS / 5);
    assert.equal(bench.watch.isDeaf(LEADER, append({ term: 5 })), false);
    assert.equal(bench.watch.isDeaf(LEADER, { ...HEARTBEAT, term: 5 }), false);
    assert.equal(bench.watch.refusedQuarantines, 1);
  });

  test("is taken at once when the lease is old by this node's clocks", () => {
    const bench = new Bench();
    bench.pass((LEASE_MS * 3) / 4);
    assert.equal(bench.watch.isDeaf(LEADER, append()), false);
  });

  test("is taken at once when the lease began before this node knew of it, by its wall clock", () => {
    const bench = new Bench((LEASE_MS * 3) / 4);
    assert.equal(bench.watch.isDeaf(LEADER, append()), false);
  });

  test("is taken at once when it is committed, as when a node catches up", () => {
    const bench = new Bench();
    assert.equal(bench.watch.isDeaf(LEADER, append({ commitIndex: 2 })), false);
  });

  test("is no more agreed to because the leader's clock dates a renewal long back", () => {
    const bench = new Bench();
    bench.pass(LEASE_MS);
    const fromMs = bench.wallMs - LEASE_MS;
    bench.renew(fromMs + 1);
    assert.equal(bench.watch.isDeaf(LEADER, append()), false, "it may be as old as the sight of the lease before it");
    bench.renew(fromMs + 2);
    assert.equal(bench.watch.isDeaf(LEADER, append()), true, "this one was not there a quarter of a lease ago");
  });

  test("is taken at once when the lease ended long ago in a ledger that this node catches up with", () => {
    const bench = new Bench(3 * LEASE_MS);
    bench.renew(bench.wallMs - 2 * LEASE_MS, 1);
    bench.renew(bench.wallMs - LEASE_MS, 1);
    assert.equal(bench.watch.isDeaf(LEADER, append()), false);
  });

  test("is judged anew for a lease that was renewed since", () => {
    const bench = new Bench();
    assert.equal(bench.watch.isDeaf(LEADER, append()), true);
    bench.pass(QUARANTINE_REFUSED_MS);
    assert.equal(bench.watch.isDeaf(LEADER, append()), false);
    const { leases } = bench.committed;
    bench.committed = { ...bench.committed, leases: new Map(leases).set(OTHER, { fromMs: bench.wallMs }) };
    bench.watch.follow();
    assert.equal(bench.watch.isDeaf(LEADER, append()), true);
    assert.equal(bench.watch.refusedQuarantines, 2);
  });

  test("and other batches are told apart; what is malformed is left to who verifies it", () => {
    const bench = new Bench();
    for (const entry of [entryOf({ type: "challenge" }), { index: 2, term: 1, data: Uint8Array.of(1, 2, 3) }])
      assert.equal(bench.watch.isDeaf(LEADER, append({ entries: [entry] })), false);
  });
});

describe("a node that is quarantined", () => {
  const vote = { type: "vote", term: 2, lastIndex: 1, lastTerm: 1, preVote: false, transfer: false } as const;
  const response = { type: "voteResponse", term: 2, granted: true, preVote: false } as const;
  const isDeaf = ({ watch }: Bench, peer: NodeId, message: object): boolean =>
    watch.isDeaf(peer, message as ConsensusMessage);

  test("has no vote: neither what it asks nor what it answers gets through", () => {
    const bench = new Bench();
    for (const message of [vote, response]) assert.equal(isDeaf(bench, OTHER, message), false);
    bench.committed = bench.quarantine(OTHER);
    bench.watch.follow();
    for (const message of [vote, response]) {
      assert.equal(isDeaf(bench, OTHER, message), true);
      assert.equal(isDeaf(bench, LEADER, message), false);
    }
  });

  test("gives no vote either, leads nobody, and hands over when it does", () => {
    const bench = new Bench();
    bench.committed = bench.quarantine(OWN);
    bench.watch.follow();
    assert.equal(isDeaf(bench, LEADER, vote), true);
    assert.deepEqual([bench.watch.own, bench.watch.mayLead], ["quarantined", false]);
    let handsOver = 0;
    bench.watch.tick({ leader: OWN, role: "leader", term: 1 }, () => handsOver++);
    assert.equal(handsOver, 1);
  });

  test("is not heard as a leader for a while", () => {
    const bench = new Bench();
    bench.committed = bench.quarantine(LEADER);
    bench.watch.follow();
    assert.equal(bench.watch.isDeaf(LEADER, HEARTBEAT), true);
    bench.pass(LEADER_UNHEARD_MS);
    assert.equal(bench.watch.isDeaf(LEADER, HEARTBEAT), false);
  });
});

describe("a batch whose time is far ahead of this node's wall clock", () => {
  const at = (timeMs: number, change: Partial<AppendRequest> = {}) =>
    append({
      entries: [entryOf({ type: "snapshot", index: 1, seqno: 2, digest: new Uint8Array(32), bytes: 5 }, timeMs)],
      ...change,
    });

  test("is not taken at first, nor is its sender heard or elected meanwhile: later times would mean nothing", () => {
    const bench = new Bench();
    assert.equal(bench.watch.isDeaf(LEADER, at(bench.wallMs + BATCH_AHEAD_MAX_MS)), false, "clocks differ");
    assert.equal(bench.watch.isDeaf(LEADER, at(bench.wallMs + BATCH_AHEAD_MAX_MS + 1)), true);
    assert.equal(bench.watch.isDeaf(LEADER, HEARTBEAT), true);
    const vote = { type: "vote", term: 2, preVote: true, transfer: false, lastIndex: 1, lastTerm: 1 } as const;
    assert.deepEqual([bench.watch.isDeaf(LEADER, vote), bench.watch.isDeaf(OTHER, vote)], [true, false]);
    assert.deepEqual(bench.events, ["batch_time_refused"]);
  });

  test("is taken after a while, in whatever term, or at once when it is committed: this node's clock may be behind", () => {
    const bench = new Bench();
    const far = bench.wallMs + 2 * BATCH_AHEAD_MAX_MS;
    assert.equal(bench.watch.isDeaf(LEADER, at(far)), true);
    assert.equal(bench.watch.isDeaf(OTHER, at(far, { term: 2, commitIndex: 2 })), false);
    bench.pass(QUARANTINE_REFUSED_MS);
    for (let term = 3; term < 6; term++) {
      bench.tick(term);
      assert.equal(bench.watch.isDeaf(LEADER, at(far, { term })), false, `term ${term}`);
    }
    assert.deepEqual(bench.events, ["batch_time_refused"]);
  });

  test("is not taken again once the network went on without it", () => {
    const bench = new Bench();
    const far = bench.wallMs + 2 * BATCH_AHEAD_MAX_MS;
    assert.equal(bench.watch.isDeaf(LEADER, at(far)), true);
    bench.pass(QUARANTINE_REFUSED_MS);
    bench.network.place = { ...bench.network.place, timeMs: bench.network.place.timeMs + 1 };
    bench.tick(3);
    assert.equal(bench.watch.isDeaf(LEADER, at(far, { term: 3 })), true);
    bench.pass(QUARANTINE_REFUSED_MS);
    bench.network.place = { ...bench.network.place, timeMs: far };
    assert.equal(bench.watch.isDeaf(LEADER, at(far + 1, { term: 3 })), false, "it is in this node's ledger");
  });

  test("is waited for once by a node whose clock is a little too far behind, however batches age", () => {
    const bench = new Bench();
    const ahead = BATCH_AHEAD_MAX_MS + 60_000;
    assert.equal(bench.watch.isDeaf(LEADER, at(bench.wallMs + ahead)), true);
    for (let batch = 0; batch < 6; batch++) {
      bench.pass(120_000);
      const timeMs = bench.wallMs + ahead;
      assert.equal(bench.watch.isDeaf(LEADER, at(timeMs)), false, `batch ${batch}`);
      bench.network.place = { ...bench.network.place, timeMs };
    }
    // Its clock was set right: who is far ahead now is waited for again.
    bench.wallMs += ahead;
    assert.equal(bench.watch.isDeaf(LEADER, at(bench.wallMs + ahead)), true);
    assert.deepEqual(bench.events, ["batch_time_refused", "batch_time_refused"]);
  });

  test("what nodes send that do not lead changes nothing of that", () => {
    const bench = new Bench();
    const far = bench.wallMs + 2 * BATCH_AHEAD_MAX_MS;
    // Neither does it begin the wait, nor does it end what the wait was for.
    for (const term of [0, 1]) assert.equal(bench.watch.isDeaf(OTHER, at(far, { term })), false);
    assert.deepEqual(bench.events, []);
    bench.pass(QUARANTINE_REFUSED_MS);
    assert.equal(bench.watch.isDeaf(LEADER, at(far)), true);
    bench.pass(QUARANTINE_REFUSED_MS);
    for (const term of [0, 1]) assert.equal(bench.watch.isDeaf(OTHER, at(bench.wallMs, { term })), false);
    assert.equal(bench.watch.isDeaf(LEADER, at(far)), false);
    assert.deepEqual(bench.events, ["batch_time_refused"]);
  });
});
