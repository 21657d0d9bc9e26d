import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeMachine, makeNode, TEST_CODE } from "../../../test/support/founders.ts";
import { started, network, ports } from "./test-service-network.ts";
import {
  checkAnswerEvidence,
  decodeJoinAnswer,
  decodeJoinRequest,
  encodeJoinAnswer,
  encodeJoinRequest,
  type JoinAnswer,
  joinReportData,
  type JoinRequest,
} from "../../attestation/join.ts";
import { encodeVirtualEvidence } from "../../attestation/virtual.ts";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../../core/codec/cbor.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { constitutionDigest, decodeConstitution } from "../../core/governance/constitution-codec.ts";
import type { NodeTuple } from "../../core/governance/constitution.ts";
import { CocoError } from "../../errors.ts";
import {
  JOIN_ANSWERS_WAITING_MAX,
  JOIN_CHALLENGE_MS,
  JOIN_CHALLENGES_MAX,
  JOIN_REQUESTS_BURST,
  JOIN_REQUESTS_PER_SECOND,
  JoinDesk,
} from "./join-desk.ts";
import type { EvidenceMaker, TakeEvidence } from "./evidence-maker.ts";
import type { FrontendResponse } from "./frontend.ts";
import { isJoinPath, JOIN_ENDPOINTS } from "./join-api.ts";
import { createGovernanceCrypto, nodeEntropy, sha256 } from "./node-crypto.ts";

const { constitution, networkId, machine } = network;
const [server, listed] = network.nodes;
if (server === undefined || listed === undefined) throw assert.fail("a network has nodes");
const OWN_CHALLENGE = new Uint8Array(32).fill(5);
const stranger = makeNode(9, machine);

function tupleOf({ tee: _tee, ...tuple }: NodeTuple & { readonly tee?: unknown }): NodeTuple {
  return tuple;
}

interface Desk {
  readonly desk: JoinDesk;
  advance(ms: number): void;
}

function deskOf(state: GovernanceState | undefined = started, evidence = readyEvidence): Desk {
  let now = 0;
  const desk = new JoinDesk({
    networkId,
    genesis: constitution,
    node: tupleOf(server?.request ?? assert.fail()),
    committed: () => state,
    evidence,
    crypto: ports.crypto,
    clock: { now: () => now, wallTime: () => now, after: () => () => undefined },
    entropy: nodeEntropy,
    tracer: { event: () => undefined },
    ledgerTime: () => now,
  });
  return { desk, advance: (ms) => (now += ms) };
}

function evidenceOf(reportData: Bytes, measurement = TEST_CODE.measurement, by = machine): Bytes {
  return encodeVirtualEvidence({ measurement, reportData, machineKey: by.machineKey }, by.sign);
}

/** A TEE that answers at once. */
const readyEvidence: Pick<EvidenceMaker, "make"> = {
  make: (reportData, take) => {
    take(evidenceOf(reportData));
    return () => undefined;
  },
};

/** The answer of a desk whose TEE answers at once; throws what it refuses with. */
function answerOf(desk: JoinDesk, request: JoinRequest): JoinAnswer {
  let answer: JoinAnswer | CocoError | undefined;
  desk.join(request, (outcome) => {
    answer = outcome;
  });
  if (answer instanceof CocoError) throw answer;
  return answer ?? assert.fail("answered at once");
}

type Bound = Omit<JoinRequest, "evidence" | "ownChallenge">;

function boundTo(challenge: Bytes, node = tupleOf(listed?.request ?? assert.fail())): Bound {
  const { constitutionDigest } = started;
  return { networkId, node, challenge, measurement: TEST_CODE.measurement, constitutionDigest };
}

function requestOf(bound: Bound, evidence = evidenceOf(joinReportData(bound, sha256), bound.measurement)): JoinRequest {
  return { ...bound, ownChallenge: OWN_CHALLENGE, evidence };
}

/** The code a request is refused with that is made for a fresh challenge. */
function refusedWith(make: (bound: Bound) => JoinRequest, state = started): string {
  const { desk } = deskOf(state);
  try {
    answerOf(desk, make(boundTo(desk.challenge().challenge)));
    return "taken";
  } catch (error) {
    assert.ok(error instanceof CocoError, String(error));
    return error.code;
  }
}

describe("a node that joins", () => {
  test("is answered with constitution, service certificate and evidence for its own challenge when it is listed", () => {
    const { desk } = deskOf();
    const answer = decodeJoinAnswer(encodeJoinAnswer(answerOf(desk, requestOf(boundTo(desk.challenge().challenge)))));
    const inForce = decodeConstitution(answer.constitution);
    assert.deepEqual([inForce, decodeConstitution(answer.genesis)], [constitution, constitution]);
    assert.equal(answer.nodeId, server.request.nodeId);
    const binding = {
      networkId,
      node: server.request,
      challenge: OWN_CHALLENGE,
      constitutionDigest: constitutionDigest(inForce, sha256),
      serviceCertificate: answer.serviceCertificate,
    };
    const known = { constitution: inForce, nowMs: 0 };
    const crypto = createGovernanceCrypto();
    assert.doesNotThrow(() => checkAnswerEvidence(answer.evidence, binding, known, crypto));
    for (const change of [
      { networkId: "00".repeat(32) },
      { node: listed.request },
      { challenge: new Uint8Array(32) },
      { constitutionDigest: new Uint8Array(32) },
      { serviceCertificate: new Uint8Array(10) },
    ])
      assert.throws(() => checkAnswerEvidence(answer.evidence, { ...binding, ...change }, known, crypto), {
        code: "JoinAnswerUntrusted",
      });
    const retired = { constitution: { ...inForce, codeManifest: [] }, nowMs: 0 };
    assert.throws(() => checkAnswerEvidence(answer.evidence, binding, retired, crypto), {
      code: "JoinAnswerUntrusted",
    });
  });

  test("has the TEE work for its newest request only", () => {
    const asked: { readonly take: TakeEvidence; cancelled: boolean }[] = [];
    const slow: Pick<EvidenceMaker, "make"> = {
      make: (_reportData, take) => {
        const one = { take, cancelled: false };
        asked.push(one);
        return () => {
          one.cancelled = true;
        };
      },
    };
    const { desk } = deskOf(started, slow);
    const outcomes: string[] = [];
    for (const name of ["older", "newer"])
      desk.join(requestOf(boundTo(desk.challenge().challenge)), (outcome) =>
        outcomes.push(`${name} ${outcome instanceof CocoError ? outcome.code : "answered"}`),
      );
    assert.deepEqual(
      asked.map(({ cancelled }) => cancelled),
      [true, false],
    );
    asked[1]?.take(Uint8Array.of(1));
    assert.deepEqual(outcomes, ["older TooManyRequests", "newer answered"]);
    desk.join(requestOf(boundTo(desk.challenge().challenge)), () => undefined);
    assert.equal(asked[1]?.cancelled, false, "what was answered is not cancelled");
  });

  test("is one of eight that wait for the TEE at a time; one that waits may ask again, and an answer makes room", () => {
    const newcomers = Array.from({ length: JOIN_ANSWERS_WAITING_MAX + 1 }, (_, at) => makeNode(20 + at, machine));
    const [entry = assert.fail()] = constitution.nodes;
    const nodes = [...constitution.nodes, ...newcomers.map(({ request }) => ({ ...entry, ...tupleOf(request) }))];
    const asked: TakeEvidence[] = [];
    const slow: Pick<EvidenceMaker, "make"> = {
      make: (_reportData, take) => {
        asked.push(take);
        return () => undefined;
      },
    };
    const { desk } = deskOf({ ...started, constitution: { ...constitution, nodes } }, slow);
    const ask = (at: number) => {
      const newcomer = newcomers[at] ?? assert.fail();
      const bound = boundTo(desk.challenge().challenge, tupleOf(newcomer.request));
      desk.join(requestOf(bound), () => undefined);
    };
    for (let at = 0; at < JOIN_ANSWERS_WAITING_MAX; at++) ask(at);
    assert.throws(() => ask(JOIN_ANSWERS_WAITING_MAX), { code: "TooManyRequests" });
    assert.equal(asked.length, JOIN_ANSWERS_WAITING_MAX);
    ask(0);
    asked[1]?.(new CocoError("AttestationFailed", "no device"));
    ask(JOIN_ANSWERS_WAITING_MAX);
    assert.equal(asked.length, JOIN_ANSWERS_WAITING_MAX + 2);
  });

  test("waits no more once it is answered, also when the TEE answers at once", () => {
    const { desk, advance } = deskOf();
    let answers = 0;
    for (let at = 0; at < 2 * JOIN_ANSWERS_WAITING_MAX; at++) {
      advance(1_000);
      const outcomes: (JoinAnswer | CocoError)[] = [];
      desk.join(requestOf(boundTo(desk.challenge().challenge)), (outcome) => outcomes.push(outcome));
      assert.equal(outcomes.length, 1);
      answers += outcomes[0] instanceof CocoError ? 0 : 1;
    }
    assert.equal(answers, 2 * JOIN_ANSWERS_WAITING_MAX);
    // Whoever asks again must not be told that the one before was given up: it was answered.
    const twice: (JoinAnswer | CocoError)[] = [];
    desk.join(requestOf(boundTo(desk.challenge().challenge)), (outcome) => twice.push(outcome));
    desk.join(requestOf(boundTo(desk.challenge().challenge)), () => undefined);
    assert.equal(twice.length, 1);
  });

  test("is refused with a code of its own for each field of request and evidence that is not right", () => {
    const wrong: readonly (readonly [string, (bound: Bound) => JoinRequest])[] = [
      ["JoinOtherNetwork", (bound) => requestOf({ ...bound, networkId: "00".repeat(32) })],
      ["JoinKeyMismatch", (bound) => requestOf({ ...bound, node: { ...bound.node, nodeId: "00".repeat(32) } })],
      ["JoinChallengeUnknown", (bound) => requestOf({ ...bound, challenge: new Uint8Array(32) })],
      ["JoinEvidenceMalformed", (bound) => requestOf(bound, new Uint8Array(10))],
      ["JoinTeeUnknown", (bound) => ofAnotherTee(requestOf(bound))],
      ["JoinSignatureInvalid", (bound) => forged(requestOf(bound))],
      ["JoinCodeMismatch", (bound) => ({ ...requestOf(bound), measurement: "99".repeat(32) })],
      ["JoinConfigurationMismatch", (bound) => moved(requestOf(bound))],
      ["JoinConstitutionDiffers", (bound) => requestOf({ ...bound, constitutionDigest: new Uint8Array(32) })],
      ["JoinCodeNotApproved", (bound) => requestOf({ ...bound, measurement: "99".repeat(32) })],
      ["JoinTeeNotApproved", (bound) => onMachine(bound, makeMachine())],
      ["JoinNotListed", (bound) => requestOf({ ...bound, node: tupleOf(stranger.request) })],
      ["JoinEntryDiffers", (bound) => requestOf({ ...bound, node: { ...bound.node, address: "elsewhere.test:1" } })],
    ];
    for (const [code, make] of wrong) assert.equal(refusedWith(make), code);
    assert.equal(new Set(wrong.map(([code]) => code)).size, wrong.length);
    assert.equal(refusedWith(requestOf), "taken");
  });

  test("is refused when its evidence was made for another network, other keys or another challenge", () => {
    const madeFor = (change: Partial<Bound>) => (bound: Bound) =>
      requestOf(bound, evidenceOf(joinReportData({ ...bound, ...change }, sha256)));
    const node = boundTo(OWN_CHALLENGE).node;
    for (const change of [
      { networkId: "00".repeat(32) },
      { challenge: new Uint8Array(32) },
      { node: { ...node, publicKey: stranger.request.publicKey } },
      { node: { ...node, encryptionKey: stranger.request.encryptionKey } },
    ])
      assert.equal(refusedWith(madeFor(change)), "JoinBindingMismatch");
    for (const change of [
      { measurement: "99".repeat(32) },
      { constitutionDigest: new Uint8Array(32) },
      { node: { ...node, address: "a.test:1" } },
      { node: { ...node, clientAddress: "a.test:1" } },
    ])
      assert.equal(refusedWith(madeFor(change)), "JoinConfigurationMismatch");
  });

  test("is refused for every changed byte of its evidence", () => {
    const { desk, advance } = deskOf();
    for (let at = 0; ; at++) {
      advance(1_000);
      const good = requestOf(boundTo(desk.challenge().challenge));
      if (at >= good.evidence.length) break;
      const evidence = Uint8Array.from(good.evidence);
      evidence[at] = (evidence[at] ?? 0) ^ 1;
      assert.throws(() => answerOf(desk, { ...good, evidence }), CocoError, `byte ${at}`);
    }
  });

  test("is told that it is too early before it is told about its machine, which the same vote may bring", () => {
    const node = tupleOf(stranger.request);
    assert.equal(
      refusedWith((bound) => onMachine({ ...bound, node }, makeMachine())),
      "JoinNotListed",
    );
  });

  test("is refused under code that is not in force now", () => {
    const codeManifest = constitution.codeManifest.map((code) => ({ ...code, inForceFrom: 1 }));
    const state = { ...started, constitution: { ...constitution, codeManifest } };
    assert.equal(refusedWith(requestOf, state), "JoinCodeNotApproved");
  });
});

describe("a challenge for a node that joins", () => {
  test("is good for one request, whatever becomes of it", () => {
    const { desk } = deskOf();
    const { challenge } = desk.challenge();
    const wrong = requestOf({ ...boundTo(challenge), networkId: "00".repeat(32) });
    assert.throws(() => answerOf(desk, wrong), { code: "JoinOtherNetwork" });
    assert.throws(() => answerOf(desk, requestOf(boundTo(challenge))), { code: "JoinChallengeUnknown" });
    const other = desk.challenge().challenge;
    answerOf(desk, requestOf(boundTo(other)));
    assert.throws(() => answerOf(desk, requestOf(boundTo(other))), { code: "JoinChallengeUnknown" });
  });

  test("ends after its time", () => {
    const { desk, advance } = deskOf();
    const [first, second] = [desk.challenge().challenge, desk.challenge().challenge];
    advance(JOIN_CHALLENGE_MS - 1);
    answerOf(desk, requestOf(boundTo(first)));
    advance(1);
    assert.throws(() => answerOf(desk, requestOf(boundTo(second))), { code: "JoinChallengeExpired" });
  });

  test("is one of a bounded number, given out at a bounded rate", () => {
    const { desk, advance } = deskOf();
    const { challenge } = desk.challenge();
    for (let at = 1; at < JOIN_REQUESTS_BURST; at++) desk.challenge();
    assert.throws(() => desk.challenge(), { code: "TooManyRequests" });
    assert.throws(() => answerOf(desk, requestOf(boundTo(challenge))), { code: "TooManyRequests" });
    for (let at = 0; at < JOIN_CHALLENGES_MAX; at++) {
      advance(1_000 / JOIN_REQUESTS_PER_SECOND);
      desk.challenge();
    }
    advance(1_000);
    assert.throws(() => answerOf(desk, requestOf(boundTo(challenge))), { code: "JoinChallengeUnknown" });
  });

  test("is not given out before the node knows its network", () => {
    const { desk } = deskOf({ ...started });
    assert.equal(desk.challenge().networkId, networkId);
    const unknowing = new JoinDesk({
      ...{ networkId, genesis: constitution, node: server.request, evidence: readyEvidence, crypto: ports.crypto },
      ...{ entropy: nodeEntropy, clock: ports.clock, tracer: { event: () => undefined } },
      committed: () => undefined,
      ledgerTime: () => 0,
    });
    assert.throws(() => unknowing.challenge(), { code: "NotReady" });
  });
});

describe("the endpoints for nodes that join", () => {
  test("answer by path and method, with the code of what is wrong", () => {
    const { desk } = deskOf();
    const ask = (method: string, path: string, body: Bytes = new Uint8Array(0)): FrontendResponse => {
      const rest = { query: new URLSearchParams(), headers: {}, caller: undefined, chain: [] };
      let answer: FrontendResponse | undefined;
      JOIN_ENDPOINTS.answer(
        desk,
        { method, path, body, ...rest },
        () => constitution,
        (response) => (answer = response),
      );
      return answer ?? assert.fail("answered at once");
    };
    const told = JSON.parse(Buffer.from(ask("GET", "/node/join/challenge").body).toString()) as { challenge: string };
    const request = encodeJoinRequest(requestOf(boundTo(Buffer.from(told.challenge, "hex"))));
    assert.equal(ask("POST", "/node/join", request).status, 200);
    assert.equal(ask("POST", "/node/join", request).status, 403);
    assert.equal(ask("POST", "/node/join/challenge").status, 405);
    assert.equal(ask("GET", "/node/join").status, 405);
    assert.equal(ask("GET", "/node/join/else").status, 404);
    assert.equal(ask("POST", "/node/join", new Uint8Array(100)).status, 400);
    assert.equal(ask("POST", "/node/join", new Uint8Array(128 * 1024)).status, 413);
    assert.ok(JOIN_ENDPOINTS.isSigned("POST", "/node/join") && JOIN_ENDPOINTS.isSigned("GET", "/node/join/challenge"));
    assert.ok(isJoinPath("/node/join") && isJoinPath("/node/join/challenge"));
    assert.ok(!isJoinPath("/node/joined") && !isJoinPath("/node"));
  });

  test("read requests strictly", () => {
    const encoded = encodeJoinRequest(requestOf(boundTo(OWN_CHALLENGE)));
    assert.deepEqual(decodeJoinRequest(encoded), requestOfSame(encoded));
    for (let length = 0; length < encoded.length; length++)
      assert.throws(() => decodeJoinRequest(encoded.subarray(0, length)), { code: "MalformedInput" });
    const fields = decodeCbor(encoded);
    assert.ok(fields instanceof Map);
    assert.throws(() => decodeJoinRequest(encodeCbor(new Map([...fields, ["more", 1]]))), { code: "MalformedInput" });
  });
});

function requestOfSame(encoded: Bytes): JoinRequest {
  const decoded = decodeJoinRequest(encoded);
  assert.equal(toHex(encodeJoinRequest(decoded)), toHex(encoded));
  return decoded;
}

function withEvidenceField(request: JoinRequest, name: string, value: string | Bytes): JoinRequest {
  const fields = decodeCbor(request.evidence);
  assert.ok(fields instanceof Map);
  return { ...request, evidence: encodeCbor(new Map([...fields, [name, value]])) };
}

const ofAnotherTee = (request: JoinRequest): JoinRequest => withEvidenceField(request, "tee", "sgx");
const forged = (request: JoinRequest): JoinRequest => withEvidenceField(request, "signature", new Uint8Array(64));
const moved = (request: JoinRequest): JoinRequest => ({
  ...request,
  node: { ...request.node, clientAddress: "elsewhere.test:2" },
});

function onMachine(bound: Bound, other: ReturnType<typeof makeMachine>): JoinRequest {
  return requestOf(bound, evidenceOf(joinReportData(bound, sha256), bound.measurement, other));
}
