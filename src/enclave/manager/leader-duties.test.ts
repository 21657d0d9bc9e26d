import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  constitutionOf,
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  tupleOf,
} from "../../../test/support/governed-network.ts";
import { CODE, LEASE_MS, MACHINE } from "../../../test/support/leased-network.ts";
import { simulatedEvidence } from "../../../test/simulation/simulated-crypto.ts";
import { type AdministrativeTransaction, decodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { attestChallenge, attestReportData, type AttestTransaction } from "../../core/governance/attest.ts";
import { Administration } from "./administration.ts";
import { ATTEST_INTERVAL_MS, ATTEST_REFUSALS_LOGGED_MAX, ATTEST_REFUSALS_PERIOD_MS } from "./attest-rate.ts";
import { LeaderDuties, QUARANTINE_GRACE_MAX_MS } from "./leader-duties.ts";
import { sha256 } from "./node-crypto.ts";

/** The duties of node 0, which leads three; what it proposes is taken at once. */
class Bench {
  readonly network = new GovernedNetwork([0, 1, 2], { leaseMs: LEASE_MS, epoch: { lengthMs: 0 } });
  readonly proposed: AdministrativeTransaction[] = [];
  readonly administration = new Administration(
    constitutionOf([0, 1, 2], { leaseMs: LEASE_MS, epoch: { lengthMs: 0 } }),
    this.network.state.networkId,
    {
      ...GOVERNANCE_CRYPTO,
      verifyEvidence: (...given) => {
        this.verifications++;
        if (this.breaks) throw new RangeError("a fault of a verifier");
        return GOVERNANCE_CRYPTO.verifyEvidence(...given);
      },
    },
  );
  elapsedMs = 1_000;
  /** Nodes whose evidence was refused, by the log. */
  readonly refused: unknown[] = [];
  verifications = 0;
  /** Whether the verifier fails as only a fault of its own makes it. */
  breaks = false;
  agrees = true;
  readonly duties = new LeaderDuties({
    nodeId: idOf(0),
    administration: this.administration,
    maker: { epoch: () => assert.fail("no epoch is due"), grant: () => assert.fail("no key is missing") },
    keyOf: () => undefined,
    view: () => ({ now: this.nowMs, nextSeqno: this.network.place.firstSeqno, learnersCaughtUp: true }),
    snapshot: () => undefined,
    tracer: {
      event: (_level, event, fields) => {
        if (event === "attestation_refused") this.refused.push(fields?.["nodeId"]);
      },
    },
    elapsedMs: () => this.elapsedMs,
    agrees: () => this.agrees,
    challenge: () => undefined,
    propose: (encoded) => this.#take(decodeAdministrative(encoded)),
  });

  constructor() {
    this.administration.restore(this.network.state, 1, 0);
  }

  get nowMs(): number {
    return this.network.place.timeMs;
  }

  #take(transaction: AdministrativeTransaction): void {
    this.proposed.push(transaction);
    this.administration.restore(this.network.execute(transaction), this.network.place.index, 0);
  }

  /** Time passes, by all clocks. */
  pass(ms: number): void {
    this.elapsedMs += ms;
    this.network.place = { ...this.network.place, timeMs: this.nowMs + ms };
  }

  /** Evidence of a node for the newest challenge. */
  evidence(at: number): AttestTransaction {
    const { state } = this.network;
    const challenge = attestChallenge(state, idOf(at), sha256) ?? assert.fail("no epoch");
    const reportData = attestReportData(state.networkId, tupleOf(at), challenge, sha256);
    return { type: "attest", nodeId: idOf(at), challenge, evidence: simulatedEvidence(MACHINE, CODE, reportData) };
  }

  /** The types of what the leader proposes until it has nothing more to do. */
  proposals(): readonly string[] {
    const before = this.proposed.length;
    for (let count = -1; count < this.proposed.length; ) {
      count = this.proposed.length;
      this.duties.next();
      this.duties.committed();
    }
    return this.proposed.slice(before).map(({ type }) => type);
  }
}

describe("a leader that is sent evidence", () => {
  test("records it, and begins a challenge for whoever answers one that is too old", () => {
    const bench = new Bench();
    const stale = bench.evidence(1);
    bench.duties.attest(bench.evidence(2));
    assert.deepEqual(bench.proposals(), ["attest"]);
    bench.pass(LEASE_MS / 2 + 1);
    bench.duties.attest(stale);
    bench.duties.attest(stale);
    assert.deepEqual(bench.proposals(), ["challenge"]);
    bench.duties.attest(bench.evidence(1));
    assert.deepEqual(bench.proposals(), ["attest"]);
  });

  test("begins none while the newest one is young, whatever a node sends", () => {
    const bench = new Bench();
    bench.duties.attest({ ...bench.evidence(1), challenge: new Uint8Array(32) });
    assert.deepEqual(bench.proposals(), []);
    bench.pass(LEASE_MS / 4);
    assert.deepEqual(bench.proposals(), [], "nor later, since nobody asks any more");
  });
});

describe("a leader that is flooded with evidence", () => {
  test("verifies one piece of each node at a time, and takes the next after an interval", () => {
    const bench = new Bench();
    const unfit = { ...bench.evidence(1), evidence: Uint8Array.of(1) };
    for (let count = 0; count < 100; count++) {
      bench.duties.attest(unfit);
      bench.duties.next();
    }
    assert.equal(bench.verifications, 1);
    assert.deepEqual(bench.refused, [idOf(1)]);
    bench.duties.attest(bench.evidence(1));
    assert.deepEqual(bench.proposals(), [], "even what holds waits for its turn");
    bench.duties.attest(bench.evidence(2));
    assert.deepEqual(bench.proposals(), ["attest"], "another node's is taken");
    bench.pass(ATTEST_INTERVAL_MS);
    assert.deepEqual(bench.proposals(), ["attest"]);
  });

  test("refuses what no verifier can judge, and goes on", () => {
    const bench = new Bench();
    bench.breaks = true;
    bench.duties.attest(bench.evidence(1));
    assert.deepEqual(bench.proposals(), []);
    assert.deepEqual(bench.refused, [idOf(1)]);
    bench.breaks = false;
    bench.duties.attest(bench.evidence(2));
    assert.deepEqual(bench.proposals(), ["attest"]);
  });

  test("tells a few refusals of each node per period in the log, not each", () => {
    const bench = new Bench();
    const flood = (): void => {
      for (let ms = 0; ms < ATTEST_REFUSALS_PERIOD_MS / 2; ms += ATTEST_INTERVAL_MS) {
        bench.duties.attest({ ...bench.evidence(1), evidence: Uint8Array.of(1) });
        bench.duties.next();
        bench.elapsedMs += ATTEST_INTERVAL_MS;
      }
    };
    flood();
    assert.equal(bench.refused.length, ATTEST_REFUSALS_LOGGED_MAX);
    bench.duties.attest({ ...bench.evidence(2), evidence: Uint8Array.of(1) });
    bench.duties.next();
    assert.equal(bench.refused.at(-1), idOf(2), "another node's is told");
    flood();
    flood();
    assert.equal(bench.refused.length, 2 * ATTEST_REFUSALS_LOGGED_MAX + 1);
  });
});

describe("a leader that finds a lease ended", () => {
  test("proposes the quarantine after a grace, unless the lease is young by its own clocks", () => {
    const bench = new Bench();
    bench.pass(LEASE_MS / 2 + 1);
    bench.duties.attest(bench.evidence(0));
    assert.deepEqual(bench.proposals(), ["challenge"]);
    for (const at of [0, 1]) {
      bench.duties.attest(bench.evidence(at));
      assert.deepEqual(bench.proposals(), ["attest"]);
    }
    bench.pass(LEASE_MS / 2);
    assert.deepEqual(bench.proposals(), []);
    bench.agrees = false;
    bench.pass(QUARANTINE_GRACE_MAX_MS);
    assert.deepEqual(bench.proposals(), []);
    bench.agrees = true;
    bench.duties.next();
    assert.deepEqual(bench.proposed.at(-1), { type: "quarantine", nodeIds: [idOf(2)] });
  });
});
