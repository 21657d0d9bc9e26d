import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constitutionOf, GOVERNANCE_CRYPTO, GovernedNetwork, idOf } from "../../../test/support/governed-network.ts";
import { simulatedEvidence } from "../../../test/simulation/simulated-crypto.ts";
import { type Bytes, fromHex, toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { ATTEST_REST_MS, attestChallenge } from "../../core/governance/attest.ts";
import { CHALLENGE_AGE_MAX_MS } from "../../core/governance/challenges.ts";
import { CocoError } from "../../errors.ts";
import type { TakeEvidence } from "./evidence-maker.ts";
import { sha256 } from "./node-crypto.ts";
import { ANSWER_INTERVAL_MS, ATTEST_RETRY_MS, type OwnEvidence, SelfAttestation } from "./self-attestation.ts";

const { codeManifest, teeManifest } = constitutionOf([0]);
const CODE = fromHex(codeManifest[0]?.measurement ?? "");
const MACHINE = teeManifest[0]?.tee === "virtual" ? teeManifest[0].machineKey : new Uint8Array(0);
const OTHER_CODE = sha256(utf8Encode("other code"));

/** Node 0 of a network, its TEE in the hands of the test. */
function attesting() {
  const network = new GovernedNetwork([0, 1, 2]);
  const asked: { readonly reportData: Bytes; readonly take: TakeEvidence }[] = [];
  const delivered: OwnEvidence[] = [];
  const events: string[] = [];
  const time = { nowMs: 0 };
  let timer: (() => void) | undefined;
  const attestation = new SelfAttestation({
    nodeId: idOf(0),
    clock: {
      now: () => time.nowMs,
      wallTime: () => time.nowMs,
      after: (delayMs, callback) => {
        assert.equal(delayMs, ATTEST_RETRY_MS);
        timer = callback;
        return () => undefined;
      },
    },
    crypto: GOVERNANCE_CRYPTO,
    evidence: {
      make: (reportData, take) => {
        asked.push({ reportData, take });
        return () => undefined;
      },
    },
    committed: () => network.state,
    batchTime: () => network.place.timeMs,
    deliver: (evidence) => delivered.push(evidence),
    leaseIsGood: () => false,
    tracer: { event: (_level, event) => events.push(event) },
  });
  const answer = (at: number): void => {
    const { reportData, take } = asked[at] ?? assert.fail("it was asked for");
    take(simulatedEvidence(MACHINE, CODE, reportData));
  };
  const retry = (): void => timer?.();
  return { network, attestation, asked, delivered, events, answer, retry, time };
}

const challengeOf = ({ state }: GovernedNetwork): Bytes =>
  attestChallenge(state, idOf(0), sha256) ?? assert.fail("no epoch");
const challenges = (delivered: readonly OwnEvidence[]) => delivered.map(({ challenge }) => challenge);

describe("a node that attests itself", () => {
  test("has its evidence made once, however often it is asked for meanwhile, and sends it when it comes", () => {
    const { network, attestation, asked, delivered, answer, retry } = attesting();
    attestation.governanceChanged();
    for (let at = 0; at < 5; at++) retry();
    attestation.governanceChanged();
    assert.deepEqual([asked.length, delivered.length], [1, 0]);
    answer(0);
    assert.deepEqual(challenges(delivered), [challengeOf(network)]);
    retry();
    assert.equal(asked.length, 2, "until it is recorded");
  });

  test("drops evidence for a challenge that has passed, and has it made for the present one at once", () => {
    const { network, attestation, asked, delivered, answer } = attesting();
    attestation.governanceChanged();
    const passed = challengeOf(network);
    network.place = { ...network.place, timeMs: network.place.timeMs + CHALLENGE_AGE_MAX_MS };
    network.execute({ type: "challenge" });
    assert.notDeepEqual(challengeOf(network), passed);
    answer(0);
    assert.deepEqual([asked.length, delivered.length], [2, 0]);
    answer(1);
    assert.deepEqual(challenges(delivered), [challengeOf(network)]);
  });

  test("answers the leader's newest challenge, and none before it", () => {
    const { network, attestation, asked, delivered, answer, time } = attesting();
    const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const { constitution, networkId } = network.state;
    const ask = (challenge: Bytes): void => {
      attestation.answer(challenge, constitution, networkId);
      time.nowMs += ANSWER_INTERVAL_MS;
    };
    ask(older);
    ask(older);
    ask(newer);
    ask(newer);
    assert.equal(asked.length, 1);
    answer(0);
    assert.deepEqual([asked.length, delivered.length], [2, 0]);
    answer(1);
    assert.deepEqual(challenges(delivered), [newer]);
  });

  test("gives the leader what it was making by itself for the same challenge", () => {
    const { network, attestation, asked, delivered, answer } = attesting();
    attestation.governanceChanged();
    attestation.answer(challengeOf(network), network.state.constitution, network.state.networkId);
    answer(0);
    assert.deepEqual([asked.length, challenges(delivered)], [1, [challengeOf(network)]]);
  });

  test("has none made while none would be recorded of it, and looks again", () => {
    const { network, attestation, asked, answer, delivered, retry } = attesting();
    attestation.governanceChanged();
    answer(0);
    // What is recorded is other code: this node was started with it and ended.
    const [record, reportData] = [delivered[0] ?? assert.fail("no evidence"), asked[0]?.reportData];
    network.decide({ name: "approve_code", args: { measurement: toHex(OTHER_CODE), name: "coco", version: "2" } });
    const evidence = simulatedEvidence(MACHINE, OTHER_CODE, reportData ?? assert.fail("not asked"));
    network.execute({ type: "attest", nodeId: idOf(0), challenge: record.challenge, evidence });
    attestation.governanceChanged();
    retry();
    assert.equal(asked.length, 1);
    network.place = { ...network.place, timeMs: network.place.timeMs + ATTEST_REST_MS };
    retry();
    assert.equal(asked.length, 2);
  });

  test("sends nothing once it is closed", () => {
    const { network, attestation, asked, delivered, answer } = attesting();
    attestation.governanceChanged();
    attestation.close();
    answer(0);
    attestation.answer(new Uint8Array(32), network.state.constitution, network.state.networkId);
    assert.deepEqual([asked.length, delivered.length], [1, 0]);
  });

  test("tells of a TEE that gives none, or evidence that does not hold, once, and tries again", () => {
    const { attestation, asked, delivered, events, answer, retry } = attesting();
    attestation.governanceChanged();
    asked[0]?.take(new CocoError("AttestationFailed", "no device"));
    retry();
    asked[1]?.take(new Uint8Array(10));
    assert.deepEqual([delivered.length, events], [0, ["attestation_failed"]]);
    retry();
    answer(2);
    assert.equal(delivered.length, 1);
  });
});
