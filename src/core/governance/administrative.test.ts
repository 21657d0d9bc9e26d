import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  foundNetwork,
  makeFounder,
  TEST_CODE,
  TEST_TIME_MS,
  type TestFounder,
} from "../../../test/support/founders.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, type Bytes } from "../codec/bytes.ts";
import type { Action } from "./actions.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "./administrative.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  type AdministrativeTransaction,
  type EpochTransaction,
} from "./administrative-codec.ts";
import { agreedRequests } from "./agreed-requests.ts";
import { derOfPem } from "./pem.ts";
import type { Vote } from "./policy.ts";
import type { SignedMessage } from "./proposal.ts";
import {
  ballotPayload,
  proposalPayload,
  signProposal,
  signRequest,
  type RequestOrigin,
  type SignedProposal,
} from "./request-signing.ts";
import { serviceCertificateOf } from "./service-chain.ts";
import { prospectOf } from "./vote-count.ts";

const crypto = createGovernanceCrypto();
const PLACE = { ...placeAt(TEST_TIME_MS + 60_000), index: 10, firstSeqno: 20 };
/** When the first epoch has ended by time. */
const LATER = { ...PLACE, timeMs: PLACE.timeMs + 86_400_000 };
const network = foundNetwork(3, 3);
const other = foundNetwork(3, 1, "other");
const [first, second, third, participant] = network.founders as readonly [
  TestFounder,
  TestFounder,
  TestFounder,
  TestFounder,
];
const genesis: AdministrativeTransaction = { type: "genesis", constitution: network.constitution };
const state = executeAdministrative(undefined, genesis, PLACE, crypto);

const CODE = { measurement: "22".repeat(32), name: "coco-framework", version: "0.2.0" };
const APPROVE: Action = { name: "approve_code", args: CODE };

function originOf({ requestSigner }: TestFounder, change: Partial<RequestOrigin> = {}): RequestOrigin {
  const createdAt = Math.floor(PLACE.timeMs / 1000);
  return { signer: requestSigner, networkId: network.networkId, createdAt, sha256: crypto.sha256, ...change };
}

function propose(by: TestFounder, change: Partial<RequestOrigin> = {}, action: Action = APPROVE): SignedProposal {
  return signProposal(proposalPayload([action]), originOf(by, change));
}

function ballot(by: TestFounder, id: string, vote: Vote = "yes", change: Partial<RequestOrigin> = {}): SignedMessage {
  const prospect = prospectOf(state, { id, actions: [APPROVE] }, PLACE.timeMs, crypto);
  assert.ok(prospect.type === "effect");
  return signRequest("ballot", ballotPayload(vote, prospect.digest), originOf(by, change), id);
}

function refusedFor(reason: string) {
  return (error: unknown) => {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "ProposalInvalid", error.message);
    assert.equal(error.data["reason"], reason, error.message);
    return true;
  };
}

function execute(messages: readonly SignedMessage[], from: GovernanceState = state): GovernanceState {
  return messages.reduce(
    (after, { message, chain }) => executeAdministrative(after, { type: "request", message, chain }, PLACE, crypto),
    from,
  );
}

describe("requests of members, with real keys", () => {
  test("a majority adds the measurement and makes the next constitution version", () => {
    const proposal = propose(first);
    const next = execute([proposal, ballot(first, proposal.id), ballot(second, proposal.id)]);
    assert.equal(next.constitution.version, 2);
    const entry = { ...CODE, approvedAt: 2, approval: { yes: 2, members: 3 } };
    assert.deepEqual(next.constitution.codeManifest, [TEST_CODE, entry]);
    assert.equal(next.networkId, network.networkId);
    assert.ok(!bytesEqual(next.constitutionDigest, state.constitutionDigest));
    assert.equal(state.constitution.version, 1);
    assert.equal(next.proposals[0]?.state, "Accepted");
  });

  test("the same approval is refused a second time", () => {
    const proposal = propose(first);
    const next = execute([proposal, ballot(first, proposal.id), ballot(second, proposal.id)]);
    assert.throws(() => execute([proposal], next), refusedFor("ProposalReplay"));
    assert.throws(() => execute([ballot(third, proposal.id)], next), refusedFor("ProposalNotOpen"));
    assert.throws(() => execute([propose(second)], next), refusedFor("AlreadyApproved"));
  });

  test("a request for another network is refused", () => {
    assert.throws(() => execute([propose(first, { networkId: other.networkId })]), refusedFor("OtherNetwork"));
    const proposal = propose(first);
    const astray = ballot(first, proposal.id, "yes", { networkId: other.networkId });
    assert.throws(() => execute([proposal, astray]), refusedFor("OtherNetwork"));
  });

  test("half of the members is no majority, and votes against do not count", () => {
    const proposal = propose(first);
    const open = execute([proposal, ballot(first, proposal.id), ballot(second, proposal.id, "no")]);
    assert.deepEqual([open.constitution.version, open.proposals[0]?.state], [1, "Open"]);
    const four = foundNetwork(4, 1, "four");
    const [one, two, three] = four.founders.map(({ requestSigner }) => requestSigner);
    assert.ok(one && two && three);
    const start = executeAdministrative(undefined, { type: "genesis", constitution: four.constitution }, PLACE, crypto);
    const half = execute(agreedRequests(start, [APPROVE], [one, two], { crypto, nowMs: PLACE.timeMs }), start);
    assert.deepEqual([half.constitution.version, half.proposals[0]?.state], [1, "Open"]);
    const most = execute(agreedRequests(start, [APPROVE], [one, two, three], { crypto, nowMs: PLACE.timeMs }), start);
    assert.equal(most.constitution.version, 2);
  });

  test("one member's vote counts once, however often it is signed", () => {
    const proposal = propose(first);
    const later = { createdAt: originOf(first).createdAt + 1 };
    const twice = execute([proposal, ballot(first, proposal.id), ballot(first, proposal.id, "yes", later)]);
    assert.equal(twice.constitution.version, 1);
    assert.throws(() => execute([ballot(first, proposal.id)], twice), refusedFor("BallotNotNewer"));
  });

  test("participants and strangers neither propose nor vote", () => {
    const proposal = propose(first);
    const stranger = makeFounder("stranger");
    assert.throws(() => execute([propose(participant)]), refusedFor("NotAMember"));
    assert.throws(() => execute([proposal, ballot(participant, proposal.id)]), refusedFor("NotAMember"));
    assert.throws(() => execute([propose(stranger)]), refusedFor("CertificateNotValid"));
    assert.throws(() => execute([proposal, ballot(stranger, proposal.id)]), refusedFor("CertificateNotValid"));
  });

  test("a request in a member's name by another key is refused", () => {
    const thief = { ...second, requestSigner: { ...second.requestSigner, chain: first.requestSigner.chain } };
    assert.throws(() => execute([propose(thief)]), refusedFor("SignatureInvalid"));
    const { chain } = first.requestSigner;
    assert.throws(() => execute([{ ...propose(second), chain }]), refusedFor("SignatureInvalid"));
  });

  test("a ballot for another proposal is refused", () => {
    const unknown = propose(third);
    assert.throws(() => execute([propose(first), ballot(first, unknown.id)]), refusedFor("ProposalNotFound"));
  });

  test("a signature for one use is worth nothing for another", () => {
    const [node] = network.constitution.nodes;
    assert.ok(node);
    const { chain } = first.requestSigner;
    assert.throws(() => execute([{ message: node.signature, chain }]), refusedFor("Malformed"));
    const asBallot = signRequest("ballot", proposalPayload([APPROVE]), originOf(first), propose(first).id);
    assert.throws(() => execute([propose(first), asBallot]), refusedFor("Malformed"));
  });

  test("every flipped byte of a proposal or ballot is refused", () => {
    const proposal = propose(first);
    const proposed = execute([proposal]);
    for (const [message, from] of [
      [proposal, state],
      [ballot(first, proposal.id), proposed],
    ] as const) {
      for (let at = 0; at < message.message.length; at += 5) {
        const changed = Uint8Array.from(message.message);
        changed[at] = (changed[at] as number) ^ 1;
        assert.throws(() => execute([{ ...message, message: changed }], from), { code: "ProposalInvalid" });
      }
    }
  });
});

const serviceCertificate = derOfPem(first.issuer.certificate, "CERTIFICATE") as Bytes;
const epoch: EpochTransaction = {
  type: "epoch",
  epoch: 1,
  wraps: network.constitution.nodes.map(({ nodeId }) => ({ nodeId, wrapped: new Uint8Array(80) })),
  serviceCertificate,
  sealedServiceKey: new Uint8Array(100),
};

describe("administrative transactions", () => {
  test("each has one encoding and comes back as it was", () => {
    const { message, chain } = propose(first);
    const request = { type: "request", message, chain } as const;
    const resolve = { type: "resolve", proposalId: "ab".repeat(32) } as const;
    for (const transaction of [genesis, epoch, request, resolve]) {
      const bytes = encodeAdministrative(transaction);
      assert.deepEqual(decodeAdministrative(bytes), transaction);
      for (let length = 0; length < bytes.length; length += 11) {
        assert.throws(() => decodeAdministrative(bytes.subarray(0, length)), CocoError);
      }
    }
    const ofType = (type: string) => () => decodeAdministrative(encodeCbor(new Map([["type", type]])));
    assert.throws(ofType("other"), { code: "LedgerTooNew", data: { type: "other" } });
    for (const retired of ["decision", "approveCode"]) assert.throws(ofType(retired), { code: "MalformedInput" });
    for (const none of ["", "a b", "x".repeat(33)]) assert.throws(ofType(none), { code: "MalformedInput" });
  });

  test("genesis comes first and once, has version 1, and gives the network its id", () => {
    assert.equal(state.networkId, network.networkId);
    assert.throws(() => executeAdministrative(state, genesis, PLACE, crypto), refusedFor("SecondGenesis"));
    assert.throws(() => executeAdministrative(undefined, epoch, PLACE, crypto), refusedFor("BeforeGenesis"));
    const later = { type: "genesis", constitution: { ...network.constitution, version: 2 } } as const;
    assert.throws(() => executeAdministrative(undefined, later, PLACE, crypto), { code: "ConstitutionInvalid" });
  });

  test("genesis with an entry its owner did not sign is refused", () => {
    const nodes = network.constitution.nodes.map((node) => ({
      ...node,
      address: `10.0.0.1:${node.address.split(":")[1]}`,
    }));
    const forged = { type: "genesis", constitution: { ...network.constitution, nodes } } as const;
    assert.throws(() => executeAdministrative(undefined, forged, PLACE, crypto), { code: "ConstitutionInvalid" });
  });

  test("epochs count up and wrap their key to each listed node", () => {
    const next = executeAdministrative(state, epoch, PLACE, crypto);
    assert.equal(next.epochs.length, 1);
    assert.deepEqual(serviceCertificateOf(next), serviceCertificate);
    assert.equal(executeAdministrative(next, { ...epoch, epoch: 2 }, LATER, crypto).epochs.length, 2);
    assert.throws(() => executeAdministrative(next, epoch, PLACE, crypto), refusedFor("EpochNumber"));
    assert.throws(
      () => executeAdministrative(state, { ...epoch, wraps: epoch.wraps.slice(1) }, PLACE, crypto),
      refusedFor("EpochWraps"),
    );
    assert.throws(
      () => executeAdministrative(state, { ...epoch, wraps: epoch.wraps.toReversed() }, PLACE, crypto),
      refusedFor("EpochWraps"),
    );
  });

  test("the service certificate is a certificate, and nobody swaps it", () => {
    const next = executeAdministrative(state, epoch, PLACE, crypto);
    const swapped = derOfPem(second.issuer.certificate, "CERTIFICATE") as Bytes;
    assert.throws(
      () => executeAdministrative(next, { ...epoch, epoch: 2, serviceCertificate: swapped }, LATER, crypto),
      refusedFor("ServiceCertificate"),
    );
    const none = Uint8Array.of(0x30, 0x00);
    assert.throws(
      () => executeAdministrative(state, { ...epoch, serviceCertificate: none }, PLACE, crypto),
      refusedFor("ServiceCertificate"),
    );
  });
});
