import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { foundNetwork, makeFounder, TEST_CODE, type TestFounder } from "../../../test/support/founders.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { encodeCbor } from "../codec/cbor.ts";
import { bytesEqual, utf8Encode, type Bytes } from "../codec/bytes.ts";
import {
  decodeAdministrative,
  encodeAdministrative,
  executeAdministrative,
  type AdministrativeTransaction,
  type EpochTransaction,
  type GovernanceState,
} from "./administrative.ts";
import { serviceCertificateOf } from "./service-chain.ts";
import {
  decodeDecision,
  encodeDecision,
  judgeDecision,
  proposalDigest,
  signBallot,
  signProposal,
  type ApproveCodeProposal,
  type Decision,
} from "./decision.ts";
import { derOfPem } from "./pem.ts";

const crypto = createGovernanceCrypto();
const PLACE = { index: 10, firstSeqno: 20, timeMs: 0 };
/** When the first epoch has ended by time. */
const LATER = { ...PLACE, timeMs: 86_400_000 };
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

const proposal: ApproveCodeProposal = {
  action: "approve_code",
  networkId: network.networkId,
  constitutionVersion: 1,
  constitutionDigest: network.digest,
  measurement: "22".repeat(32),
  name: "coco-framework",
  version: "0.2.0",
};

function ballots(signedProposal: Bytes, voters: readonly TestFounder[], vote: "for" | "against" = "for"): Bytes[] {
  return voters.map(({ signer }) => signBallot({ proposal: proposalDigest(signedProposal, crypto), vote }, signer));
}

function approval(
  change: Partial<ApproveCodeProposal> = {},
  voters: readonly TestFounder[] = [first, second],
): Decision {
  const signedProposal = signProposal({ ...proposal, ...change }, first.signer);
  return { proposal: signedProposal, ballots: ballots(signedProposal, voters) };
}

function refusedFor(reason: string) {
  return (error: unknown) => {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "ProposalInvalid", error.message);
    assert.equal(error.data["reason"], reason);
    return true;
  };
}

function execute(bundle: Decision, from: GovernanceState = state): GovernanceState {
  return executeAdministrative(from, { type: "decision", bundle }, PLACE, crypto);
}

describe("approving code", () => {
  test("a majority adds the measurement and makes the next constitution version", () => {
    const next = execute(approval());
    assert.equal(next.constitution.version, 2);
    const entry = { measurement: proposal.measurement, name: "coco-framework", version: "0.2.0", approvedAt: 2 };
    assert.deepEqual(next.constitution.codeManifest, [TEST_CODE, entry]);
    assert.equal(next.networkId, network.networkId);
    assert.ok(!bytesEqual(next.constitutionDigest, state.constitutionDigest));
    assert.equal(state.constitution.version, 1);
  });

  test("the same approval is refused a second time", () => {
    const bundle = approval();
    assert.throws(() => execute(bundle, execute(bundle)), refusedFor("OtherConstitution"));
  });

  test("an approval made for a constitution that was overtaken is refused", () => {
    const overtaken = approval({ measurement: "33".repeat(32) });
    assert.throws(() => execute(overtaken, execute(approval())), refusedFor("OtherConstitution"));
    assert.throws(() => execute(approval({ constitutionDigest: new Uint8Array(32) })), refusedFor("OtherConstitution"));
    assert.throws(() => execute(approval({ constitutionVersion: 2 })), refusedFor("OtherConstitution"));
  });

  test("an approval for another network is refused", () => {
    assert.throws(() => execute(approval({ networkId: other.networkId })), refusedFor("OtherNetwork"));
  });

  test("half of the members is no majority, and votes against do not count", () => {
    assert.throws(() => execute(approval({}, [first])), refusedFor("NotEnoughVotes"));
    assert.throws(() => execute(approval({}, [])), refusedFor("NotEnoughVotes"));
    const signedProposal = signProposal(proposal, first.signer);
    const bundle = {
      proposal: signedProposal,
      ballots: [...ballots(signedProposal, [first]), ...ballots(signedProposal, [second], "against")],
    };
    assert.throws(() => execute(bundle), refusedFor("NotEnoughVotes"));
    const four = foundNetwork(4, 1, "four");
    const founders = four.founders.slice(0, 2);
    const change = { networkId: four.networkId, constitutionDigest: four.digest };
    const half = signProposal({ ...proposal, ...change }, (founders[0] as TestFounder).signer);
    const standing = { networkId: four.networkId, constitution: four.constitution, constitutionDigest: four.digest };
    assert.throws(
      () => judgeDecision(standing, { proposal: half, ballots: ballots(half, founders) }, crypto),
      refusedFor("NotEnoughVotes"),
    );
  });

  test("one member's vote counts once, however often and however it is signed", () => {
    assert.throws(() => execute(approval({}, [first, first])), refusedFor("DuplicateBallot"));
    const bundle = approval({}, [first]);
    const against = ballots(bundle.proposal, [first], "against");
    assert.throws(
      () => execute({ ...bundle, ballots: [...bundle.ballots, ...against] }),
      refusedFor("DuplicateBallot"),
    );
  });

  test("participants and strangers neither propose nor vote", () => {
    assert.throws(() => execute(approval({}, [first, participant])), refusedFor("NotAMember"));
    assert.throws(() => execute(approval({}, [first, makeFounder("stranger")])), refusedFor("NotAMember"));
    const byParticipant = signProposal(proposal, participant.signer);
    assert.throws(
      () => execute({ proposal: byParticipant, ballots: ballots(byParticipant, [first, second]) }),
      refusedFor("NotAMember"),
    );
  });

  test("a vote in a member's name by another key is refused", () => {
    assert.throws(() => execute(approval({}, [first, makeFounder("member2")])), refusedFor("SignatureInvalid"));
  });

  test("a ballot for another proposal is refused", () => {
    const bundle = approval();
    const otherProposal = signProposal({ ...proposal, version: "0.2.1" }, first.signer);
    assert.throws(() => execute({ ...bundle, proposal: otherProposal }), refusedFor("OtherProposal"));
    const byAnotherProposer = signProposal(proposal, third.signer);
    assert.throws(() => execute({ ...bundle, proposal: byAnotherProposer }), refusedFor("OtherProposal"));
  });

  test("a signature for one use is worth nothing for another", () => {
    const bundle = approval();
    assert.throws(() => execute({ ...bundle, ballots: [bundle.proposal] }), refusedFor("Malformed"));
    const [node] = network.constitution.nodes;
    assert.ok(node);
    assert.throws(() => execute({ ...bundle, proposal: node.signature }), refusedFor("Malformed"));
  });

  test("a measurement that is approved already is refused", () => {
    assert.throws(() => execute(approval({ measurement: TEST_CODE.measurement })), refusedFor("AlreadyApproved"));
  });

  test("every flipped byte of a proposal or ballot is refused", () => {
    const bundle = approval();
    for (const [position, item] of [bundle.proposal, ...bundle.ballots].entries()) {
      for (let at = 0; at < item.length; at += 5) {
        const changed = Uint8Array.from(item);
        changed[at] = (changed[at] as number) ^ 1;
        const items = [bundle.proposal, ...bundle.ballots].with(position, changed);
        const [changedProposal, ...changedBallots] = items;
        assert.ok(changedProposal);
        assert.throws(() => execute({ proposal: changedProposal, ballots: changedBallots }), {
          code: "ProposalInvalid",
        });
      }
    }
  });

  test("bundles travel in one encoding", () => {
    const bundle = approval();
    assert.deepEqual(decodeDecision(encodeDecision(bundle)), bundle);
    assert.throws(() => decodeDecision(utf8Encode("no")), refusedFor("Malformed"));
    assert.throws(() => decodeDecision(encodeCbor(new Map([["proposal", bundle.proposal]]))), refusedFor("Malformed"));
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
    for (const transaction of [genesis, epoch, { type: "decision", bundle: approval() } as const]) {
      const bytes = encodeAdministrative(transaction);
      assert.deepEqual(decodeAdministrative(bytes), transaction);
      for (let length = 0; length < bytes.length; length += 11) {
        assert.throws(() => decodeAdministrative(bytes.subarray(0, length)), CocoError);
      }
    }
    assert.throws(() => decodeAdministrative(encodeCbor(new Map([["type", "other"]]))), { code: "MalformedInput" });
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
