import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constitutionOf, GOVERNANCE_CRYPTO, GovernedNetwork, idOf } from "../../../test/support/governed-network.ts";
import { simulatedEvidence } from "../../../test/simulation/simulated-crypto.ts";
import { fromHex } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { ANSWER_INTERVAL_MS, type OwnEvidence, SelfAttestation } from "./self-attestation.ts";

const LEASE_MS = 60_000;
const OWN = idOf(1);
const { codeManifest, teeManifest } = constitutionOf([0]);
const CODE = fromHex(codeManifest[0]?.measurement ?? "");
const MACHINE = teeManifest[0]?.tee === "virtual" ? teeManifest[0].machineKey : assert.fail();

/** A node that attests itself, with a clock that is moved by hand and no timer that fires by itself. */
class Bench {
  readonly network = new GovernedNetwork([0, 1, 2], { leaseMs: LEASE_MS });
  readonly delivered: OwnEvidence[] = [];
  nowMs = 1_000;
  leaseIsGood = true;
  readonly attestation = new SelfAttestation({
    nodeId: OWN,
    clock: { now: () => this.nowMs, wallTime: () => this.nowMs, after: () => () => undefined },
    crypto: GOVERNANCE_CRYPTO,
    evidence: {
      make: (reportData, take, options) => {
        assert.equal(options?.first, true, "what others have made of the TEE waits");
        take(simulatedEvidence(MACHINE, CODE, reportData));
        return () => undefined;
      },
    },
    committed: () => this.state,
    batchTime: () => this.network.place.timeMs,
    deliver: (evidence) => this.delivered.push(evidence),
    leaseIsGood: () => this.leaseIsGood,
    tracer: { event: () => undefined },
  });

  get state(): GovernanceState {
    return this.network.state;
  }

  /** How many times the node answers these challenges of the leader. */
  answersTo(...fills: readonly number[]): number {
    const before = this.delivered.length;
    const { constitution, networkId } = this.state;
    for (const fill of fills) this.attestation.answer(new Uint8Array(32).fill(fill), constitution, networkId);
    return this.delivered.length - before;
  }

  /** Its evidence is recorded. */
  record(): void {
    this.network.execute({ type: "attest", nodeId: OWN, ...(this.delivered.at(-1) ?? assert.fail("no evidence")) });
    this.attestation.governanceChanged();
  }
}

describe("a node that is asked for evidence by the leader", () => {
  test("answers with evidence for that challenge, but not all the time", () => {
    const bench = new Bench();
    assert.equal(bench.answersTo(1, 2, 3), 1);
    assert.deepEqual(bench.delivered.at(-1)?.challenge, new Uint8Array(32).fill(1));
    bench.nowMs += ANSWER_INTERVAL_MS - 1;
    assert.equal(bench.answersTo(4), 0);
    bench.nowMs++;
    assert.equal(bench.answersTo(5, 6), 1);
    assert.deepEqual(bench.delivered.at(-1)?.challenge, new Uint8Array(32).fill(5));
  });

  test("does not answer while its lease is young as far as it knows, which it does when it was recorded since its start", () => {
    const bench = new Bench();
    bench.attestation.governanceChanged();
    assert.equal(bench.answersTo(1), 1, "what it finds at its start may be old");
    bench.nowMs += ANSWER_INTERVAL_MS;
    bench.attestation.governanceChanged();
    const other = new Bench();
    other.attestation.governanceChanged();
    other.record();
    assert.equal(other.answersTo(2), 0);
    other.leaseIsGood = false;
    assert.equal(other.answersTo(3), 1);
  });

  test("answers nothing once it has ended, or when it is not listed", () => {
    const bench = new Bench();
    const { constitution, networkId } = bench.state;
    const others = { nodes: constitution.nodes.filter(({ nodeId }) => nodeId !== OWN) };
    bench.attestation.answer(new Uint8Array(32), others, networkId);
    bench.attestation.close();
    assert.equal(bench.answersTo(1), 0);
    assert.equal(bench.delivered.length, 0);
  });
});
