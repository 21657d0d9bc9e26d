import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  constitutionOf,
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  refusal,
  tupleOf,
  votersOf,
} from "../../../test/support/governed-network.ts";
import { simulatedEvidence, simulatedMachineKey } from "../../../test/simulation/simulated-crypto.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { fromHex, toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import type { GovernanceState } from "./administrative.ts";
import { decodeAdministrative, encodeAdministrative } from "./administrative-codec.ts";
import { ATTEST_REST_MS, attestChallenge, attestReportData, type AttestTransaction } from "./attest.ts";
import { CHALLENGE_AGE_MAX_MS } from "./challenges.ts";
import { dueExpulsion } from "./expulsion.ts";
import { nextStep } from "./next-step.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";

const { codeManifest, teeManifest } = constitutionOf([0]);
const CODE = fromHex(codeManifest[0]?.measurement ?? "");
const MACHINE = teeManifest[0]?.tee === "virtual" ? teeManifest[0].machineKey : new Uint8Array(0);
const NEW_CODE = sha256(utf8Encode("new code"));

interface Claimed {
  readonly code?: Bytes;
  readonly machine?: Bytes;
}

/** The node's attestation for the state as it is, with evidence of this code on this machine. */
function attestOf(state: GovernanceState, at: number, { code = CODE, machine = MACHINE }: Claimed = {}) {
  const challenge = attestChallenge(state, idOf(at), sha256) ?? assert.fail("no epoch");
  const reportData = attestReportData(state.networkId, tupleOf(at), challenge, sha256);
  const evidence = simulatedEvidence(machine, code, reportData);
  return { type: "attest", nodeId: idOf(at), challenge, evidence } as const satisfies AttestTransaction;
}

/** A network whose nodes are all recorded. */
function attestedNetwork(nodes: readonly number[]): GovernedNetwork {
  const network = new GovernedNetwork(nodes);
  for (const at of nodes) network.execute(attestOf(network.state, at));
  return network;
}

function pass(network: GovernedNetwork, ms: number): void {
  network.place = { ...network.place, timeMs: network.place.timeMs + ms };
}

function stepOf({ state, place }: GovernedNetwork) {
  return nextStep(state, { now: place.timeMs, nextSeqno: place.firstSeqno, learnersCaughtUp: true }, GOVERNANCE_CRYPTO);
}

const approveNewCode = (dates: { inForceFrom?: number; inForceUntil?: number } = {}) =>
  ({ name: "approve_code", args: { measurement: toHex(NEW_CODE), name: "coco", version: "2", ...dates } }) as const;

describe("an attest transaction", () => {
  test("records code and machine of a listed node, and comes back from the state's bytes", () => {
    const { state } = attestedNetwork([0, 1, 2]);
    assert.equal(state.attested.size, 3);
    const record = state.attested.get(idOf(1));
    assert.deepEqual([record?.measurement, record?.platform], [toHex(CODE), toHex(MACHINE)]);
    assert.deepEqual(decodeGovernanceState(encodeGovernanceState(state), sha256).attested, state.attested);
  });

  test("is refused for a node that is not listed", () => {
    const { state } = new GovernedNetwork([0]);
    const network = new GovernedNetwork([0]);
    assert.throws(() => network.execute(attestOf(state, 7)), refusal("NodeNotListed"));
  });

  test("is refused when the evidence is not genuine, or for other keys, another network or another challenge", () => {
    const network = new GovernedNetwork([0, 1]);
    const good = attestOf(network.state, 0);
    const invalid = { code: "ProposalInvalid", data: { problem: "SignatureInvalid", reason: "EvidenceInvalid" } };
    for (let at = 0; at < good.evidence.length; at++) {
      const evidence = Uint8Array.from(good.evidence);
      evidence[at] = (evidence[at] ?? 0) ^ 1;
      assert.throws(() => network.execute({ ...good, evidence }), invalid, `byte ${at}`);
    }
    const { challenge } = good;
    const made = (networkId: string, node: number, of: Bytes) =>
      simulatedEvidence(MACHINE, CODE, attestReportData(networkId, tupleOf(node), of, sha256));
    const { networkId } = network.state;
    for (const evidence of [
      made("00".repeat(32), 0, challenge),
      made(networkId, 1, challenge),
      made(networkId, 0, new Uint8Array(32)),
    ])
      assert.throws(() => network.execute({ ...good, evidence }), invalid);
    assert.equal(network.execute(good).attested.size, 1, "the good one holds");
  });

  test("is refused for code or a machine that is not in force at the ledger's time", () => {
    const network = attestedNetwork([0]);
    pass(network, ATTEST_REST_MS);
    const other = { machine: simulatedMachineKey(sha256(utf8Encode("other machine"))) };
    assert.throws(() => network.execute(attestOf(network.state, 0, { code: NEW_CODE })), refusal("CodeNotInForce"));
    assert.throws(() => network.execute(attestOf(network.state, 0, other)), refusal("TeeNotInForce"));
    const from = network.place.timeMs + 10_000;
    network.decide(approveNewCode({ inForceFrom: from }));
    assert.throws(() => network.execute(attestOf(network.state, 0, { code: NEW_CODE })), refusal("CodeNotInForce"));
    network.place = { ...network.place, timeMs: from };
    const state = network.execute(attestOf(network.state, 0, { code: NEW_CODE }));
    assert.equal(state.attested.get(idOf(0))?.measurement, toHex(NEW_CODE));
  });

  test("counts once: what a node ran before cannot be recorded again with the evidence of that time", () => {
    const network = new GovernedNetwork([0]);
    network.decide(approveNewCode());
    const old = attestOf(network.state, 0);
    network.execute(old);
    assert.throws(() => network.execute(old), refusal("ChallengeStale"));
    pass(network, ATTEST_REST_MS);
    network.execute(attestOf(network.state, 0, { code: NEW_CODE }));
    assert.throws(() => network.execute(old), refusal("ChallengeStale"));
    pass(network, ATTEST_REST_MS);
    const again = attestOf(network.state, 0, { code: NEW_CODE });
    assert.throws(() => network.execute(again), refusal("NothingChanged"));
  });

  test("records a node once in ten seconds of the ledger's clock, so that code that alternates does not fill the ledger", () => {
    const network = attestedNetwork([0, 1]);
    const began = network.place.timeMs;
    network.decide(approveNewCode());
    for (let seconds = 1; seconds < 60; seconds++) {
      const [code, before] = seconds % 20 < 10 ? [CODE, NEW_CODE] : [NEW_CODE, CODE];
      network.place = { ...network.place, timeMs: began + 1_000 * seconds };
      const changed = attestOf(network.state, 0, { code });
      if (seconds % 10 !== 0) {
        const other = attestOf(network.state, 0, { code: before });
        for (const attest of [changed, other])
          assert.throws(() => network.execute(attest), refusal("RecordedLately"), `${seconds}`);
      } else assert.equal(network.execute(changed).attested.get(idOf(0))?.measurement, toHex(code));
    }
    assert.equal(network.execute(attestOf(network.state, 1, { code: NEW_CODE })).attested.size, 2, "another node may");
  });

  test("is for a challenge that is young when it is recorded, so that evidence cannot be made in stock", () => {
    const network = new GovernedNetwork([0, 1]);
    const made = [0, 1].map((at) => attestOf(network.state, at));
    pass(network, CHALLENGE_AGE_MAX_MS);
    network.execute(made[0] ?? assert.fail());
    pass(network, 1);
    assert.throws(() => network.execute(made[1] ?? assert.fail()), refusal("ChallengeStale"));
    assert.equal(network.state.challenges.length, 2, "the batch of the other's began another");
    assert.equal(network.execute(attestOf(network.state, 1)).attested.size, 2);
  });

  test("may be for the challenge before the newest, which began while the evidence travelled", () => {
    const network = new GovernedNetwork([0]);
    const early = attestOf(network.state, 0);
    pass(network, CHALLENGE_AGE_MAX_MS / 2);
    const { challenges } = network.execute({ type: "challenge" });
    assert.equal(challenges.length, 2);
    const later = attestOf(network.state, 0);
    assert.notDeepEqual(later.challenge, early.challenge);
    network.execute(early);
    assert.throws(() => network.execute(later), refusal("ChallengeStale"), "what was recorded is part of it");
  });

  test("is forgotten with the node", () => {
    const network = attestedNetwork([0, 1, 2]);
    network.changeNodes([0, 1]);
    assert.deepEqual([...network.state.attested.keys()], [idOf(0), idOf(1)]);
  });

  test("is read strictly", () => {
    const encoded = encodeAdministrative(attestOf(new GovernedNetwork([0]).state, 0));
    for (let length = 0; length < encoded.length; length++)
      assert.throws(() => decodeAdministrative(encoded.subarray(0, length)), { code: "MalformedInput" });
  });
});

describe("an expulsion", () => {
  /** Four nodes; the first ones run code that ends by its date, which is now. */
  function endedFor(count: number): GovernedNetwork {
    const network = new GovernedNetwork([0, 1, 2, 3]);
    const until = network.place.timeMs + 60_000;
    network.decide(approveNewCode({ inForceUntil: until }));
    for (const at of [0, 1, 2, 3]) network.execute(attestOf(network.state, at, at < count ? { code: NEW_CODE } : {}));
    assert.notEqual(stepOf(network)?.type, "expel", "in force still");
    assert.throws(() => network.execute({ type: "expel", nodeIds: [idOf(0)] }), refusal("ExpulsionNotDue"));
    network.place = { ...network.place, timeMs: until };
    return network;
  }

  test("by a vote that retires code takes its nodes by the same decision", () => {
    const network = new GovernedNetwork([0, 1, 2, 3]);
    network.decide(approveNewCode());
    for (const at of [0, 1, 2, 3]) network.execute(attestOf(network.state, at, at === 2 ? { code: NEW_CODE } : {}));
    const state = network.decide({ name: "retire_code", args: { measurement: toHex(NEW_CODE) } });
    assert.deepEqual(
      state.constitution.nodes.map(({ nodeId }) => nodeId),
      [0, 1, 3].map(idOf),
    );
    assert.ok(state.epochDue && state.serviceRotationDue);
  });

  test("is the next step when code ends by its date, opens an epoch and rotates the service", () => {
    const network = endedFor(1);
    const { version } = network.state.constitution;
    assert.deepEqual(stepOf(network), { type: "expel", nodeIds: [idOf(0)] });
    const state = network.execute({ type: "expel", nodeIds: [idOf(0)] });
    assert.deepEqual(
      state.constitution.nodes.map(({ nodeId }) => nodeId),
      [1, 2, 3].map(idOf),
    );
    assert.deepEqual(
      state.departing.map(({ nodeId }) => nodeId),
      [idOf(0)],
    );
    assert.ok(state.epochDue && state.serviceRotationDue && !state.attested.has(idOf(0)));
    assert.equal(state.constitution.version, version + 1);
    assert.equal(stepOf(network)?.type, "configure");
  });

  test("names exactly those who are due", () => {
    const network = endedFor(1);
    for (const nodeIds of [[], [idOf(1)], [idOf(0), idOf(1)], [idOf(0), idOf(0)]])
      assert.throws(() => network.execute({ type: "expel", nodeIds }), refusal("ExpulsionNotDue"));
  });

  test("waits for as long as the others were too few, and takes as many as they can spare", () => {
    const network = endedFor(3);
    const due = dueExpulsion(network.state, network.place.timeMs, GOVERNANCE_CRYPTO);
    assert.deepEqual(due, { expels: [idOf(0)], waits: [idOf(1), idOf(2)] });
    network.execute({ type: "expel", nodeIds: due.expels });
    const before = votersOf([0, 1, 2, 3].map(idOf));
    const current = votersOf([1, 2, 3].map(idOf));
    const waiting = dueExpulsion(network.state, network.place.timeMs, GOVERNANCE_CRYPTO);
    assert.deepEqual(waiting, { expels: [], waits: [idOf(1), idOf(2)] }, "three of four voters are left");
    network.execute({ type: "configure", current, previous: before, learners: [] });
    assert.deepEqual(
      dueExpulsion(network.state, network.place.timeMs, GOVERNANCE_CRYPTO).expels,
      [],
      "not in the middle of a change",
    );
    network.execute({ type: "configure", current, previous: undefined, learners: [] });
    assert.deepEqual(dueExpulsion(network.state, network.place.timeMs, GOVERNANCE_CRYPTO).expels, [idOf(1)]);
  });

  test("never takes the only node", () => {
    const network = new GovernedNetwork([0]);
    const until = network.place.timeMs + 60_000;
    network.decide(approveNewCode({ inForceUntil: until }));
    network.execute(attestOf(network.state, 0, { code: NEW_CODE }));
    assert.deepEqual(dueExpulsion(network.state, until, GOVERNANCE_CRYPTO), { expels: [], waits: [idOf(0)] });
    network.place = { ...network.place, timeMs: until };
    assert.throws(() => network.execute({ type: "expel", nodeIds: [idOf(0)] }), refusal("ExpulsionNotDue"));
  });
});

test("evidence of the simulator is of the code it names", () => {
  const evidence = simulatedEvidence(MACHINE, CODE, new Uint8Array(64));
  assert.deepEqual(GOVERNANCE_CRYPTO.verifyEvidence(evidence, new Uint8Array(64), 0), {
    tee: "virtual",
    measurement: toHex(CODE),
    platform: toHex(MACHINE),
  });
});
