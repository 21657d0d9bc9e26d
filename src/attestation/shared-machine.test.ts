/** One machine, one node (R21 of the list of what is refused): in the ledger, at joining, on channels, and when policies change. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  entryOf,
  GOVERNANCE_CRYPTO,
  GovernedNetwork,
  idOf,
  refusal,
  tupleOf,
} from "../../test/support/governed-network.ts";
import { contextOf } from "../../test/support/governed-actions.ts";
import { DAY_MS, NOW_MS } from "../../test/support/issue-certificates.ts";
import { makeSnpPki, TEST_CHIP } from "../../test/support/snp-pki.ts";
import { toHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { expelledNodes } from "../core/governance/actions-manifests.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../core/governance/administrative.ts";
import { ATTEST_REST_MS, attestChallenge, attestReportData } from "../core/governance/attest.ts";
import type { Constitution } from "../core/governance/constitution.ts";
import { dueExpulsion } from "../core/governance/expulsion.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { HardwareTeeEntry, TeeEntry } from "../core/governance/manifest-entries.ts";
import { STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import { STRICT_VBS_POLICY } from "../core/governance/policy-vsm.ts";
import { allowsSharedMachine } from "../core/governance/shared-machine.ts";
import { decodeGovernanceState, encodeGovernanceState } from "../core/governance/state-codec.ts";
import type { Administration } from "../enclave/manager/administration.ts";
import { createChannelIdentity } from "../enclave/manager/channel-identity.ts";
import {
  createEvidenceCrypto,
  createGovernanceCrypto,
  createNodeCrypto,
  nodeEntropy,
  sha256,
} from "../enclave/manager/node-crypto.ts";
import { createNodeKeys, openNodeKeys } from "../enclave/manager/node-keys.ts";
import { checkJoinRequest, joinReportData } from "./join.ts";
import { channelReportData } from "./report-data.ts";
import { otherOnMachine } from "./appraise.ts";
import { encodeHardwareEvidence } from "./hardware.ts";
import { guestPolicy, guest, token } from "./maa/test-tokens.ts";
import { makeGuardian, makeReport } from "./vsm/test-vsm-evidence.ts";
import { verifyEvidence } from "./verify-evidence.ts";

const pki = makeSnpPki();
const roots = { amd: pki.roots, intel: [] };
const crypto = createEvidenceCrypto(roots);
const governance: GovernanceCrypto = {
  ...GOVERNANCE_CRYPTO,
  verifyEvidence: createGovernanceCrypto(undefined, roots).verifyEvidence,
  appraise: createGovernanceCrypto(undefined, roots).appraise,
};
const CODE = { measurement: toHex(pki.report().subarray(0x90, 0xc0)), name: "coco-framework", version: "0" };
const OTHER_CHIP: Bytes = TEST_CHIP.toReversed();
const strictEntry: TeeEntry = { tee: "snp", id: "own", note: "test", policy: STRICT_SNP_POLICY };
const sharedEntry: TeeEntry = {
  ...{ tee: "snp", id: "shared", note: "test" },
  policy: { ...STRICT_SNP_POLICY, allow: ["shared-machine"] },
};
const chains = new Map<Bytes, readonly Bytes[]>(
  [TEST_CHIP, OTHER_CHIP].map((hardwareId) => [hardwareId, [pki.vek({ hardwareId }).der, pki.ask.der, pki.ark.der]]),
);

function evidenceOf(reportData: Bytes, chip: Bytes): Bytes {
  const endorsements = (chains.get(chip) ?? []).map((content) => ({ kind: "certificates" as const, content }));
  return encodeHardwareEvidence({ tee: "snp", evidence: pki.report({ 80: reportData, 416: chip }), endorsements });
}

const place = placeAt(NOW_MS);
/** A node that was recorded at the beginning may be again. */
const MOVED_MS = NOW_MS + ATTEST_REST_MS;

/** A state whose manifests list this hardware; of four nodes unless others are named. */
function stateWith(teeManifest: readonly TeeEntry[], before?: GovernanceState): GovernanceState {
  const state = before ?? new GovernedNetwork([0, 1, 2, 3]).state;
  const codeManifest = [{ ...CODE, reference: { tee: "snp" as const } }];
  const challenges = state.challenges.map((challenge) => ({ ...challenge, fromMs: NOW_MS }));
  return { ...state, challenges, constitution: { ...state.constitution, teeManifest, codeManifest } };
}

/** A node's evidence from a chip, for the state as it is. */
function attestOf(state: GovernanceState, at: number, chip: Bytes) {
  const challenge = attestChallenge(state, idOf(at), sha256) ?? assert.fail("no epoch");
  const evidence = evidenceOf(attestReportData(state.networkId, tupleOf(at), challenge, sha256), chip);
  return { type: "attest", nodeId: idOf(at), challenge, evidence } as const;
}

/** The state after a node's evidence from a chip was recorded. */
function attested(state: GovernanceState, at: number, chip = TEST_CHIP, timeMs = NOW_MS): GovernanceState {
  return executeAdministrative(state, attestOf(state, at, chip), { ...place, timeMs }, governance);
}

/** Node 0 and node 1 on one chip, as an entry allows that. */
const sharing = attested(attested(stateWith([sharedEntry]), 0), 1);

describe("R21: one chip for two nodes", () => {
  test("is refused unless an entry that accepts the second one allows it", () => {
    const first = attested(stateWith([strictEntry]), 0);
    assert.throws(() => attested(first, 1), refusal("MachineInUse"));
    assert.equal(attested(first, 1, OTHER_CHIP).attested.size, 2, "on a chip of its own");
    const hostData = { ...STRICT_SNP_POLICY, allow: ["shared-machine"], hostData: ["ab".repeat(32)] } as const;
    const elsewhere: TeeEntry = { tee: "snp", id: "others", note: "test", policy: hostData };
    const mixed = stateWith([strictEntry, elsewhere], first);
    assert.throws(() => attested(mixed, 1), refusal("MachineInUse"), "that entry does not accept the node");
    assert.equal(attested(stateWith([strictEntry, sharedEntry], first), 1).attested.size, 2);
  });

  test("is refused to a node that moves, and the chip is free once the other has moved or is listed no more", () => {
    const apart = attested(attested(stateWith([strictEntry]), 0), 1, OTHER_CHIP);
    assert.throws(() => attested(apart, 1, TEST_CHIP, MOVED_MS), refusal("MachineInUse"));
    const moved = attested(attested(stateWith([strictEntry]), 0), 0, OTHER_CHIP, MOVED_MS);
    assert.equal(attested(moved, 1, TEST_CHIP, MOVED_MS).attested.get(idOf(1))?.platform, toHex(TEST_CHIP));
    const { constitution } = apart;
    const without = {
      ...apart,
      constitution: { ...constitution, nodes: [1, 2, 3].map((at) => entryOf(at)) },
      attested: new Map([...apart.attested].filter(([nodeId]) => nodeId !== idOf(0))),
    };
    assert.equal(attested(without, 2).attested.get(idOf(2))?.platform, toHex(TEST_CHIP));
  });

  test("does not keep a node from renewing the lease it has on its own chip", () => {
    const state = attested(stateWith([strictEntry]), 0);
    const leased = { ...state.constitution, settings: { ...state.constitution.settings, leaseMs: DAY_MS } };
    const later = NOW_MS + DAY_MS / 2;
    const challenges = state.challenges.map((challenge) => ({ ...challenge, fromMs: later }));
    const renewed = attested({ ...state, challenges, constitution: leased }, 0, TEST_CHIP, later);
    assert.equal(renewed.attested.get(idOf(0))?.attestedAtMs, later);
  });

  test("is judged the same from a state that was read back", () => {
    const first = attested(stateWith([strictEntry]), 0);
    const again = decodeGovernanceState(encodeGovernanceState(first), sha256);
    assert.throws(() => attested(again, 1), refusal("MachineInUse"));
    const other = attestOf(first, 1, OTHER_CHIP);
    const [here, there] = [first, again].map((state) => executeAdministrative(state, other, place, governance));
    assert.deepEqual(here?.attested, there?.attested);
    assert.equal(here?.attested.size, 2);
  });

  test("ends by a vote that forbids it: all but the first one listed leave by the same decision", () => {
    const { constitution, attested: recorded } = sharing;
    const context = contextOf({ attested: recorded, nowMs: NOW_MS, crypto: governance });
    const after: Constitution = { ...constitution, teeManifest: [strictEntry] };
    assert.deepEqual(expelledNodes(after, constitution, context), [idOf(1)]);
    assert.deepEqual(expelledNodes(constitution, constitution, context), []);
  });

  test("ends when the entry that allows it ends by its date", () => {
    const ending = { ...sharedEntry, inForceUntil: NOW_MS + DAY_MS };
    const state = attested(attested(stateWith([strictEntry, ending]), 0), 1);
    const due = (timeMs: number) => dueExpulsion(state, timeMs, governance).expels;
    assert.deepEqual([due(NOW_MS), due(NOW_MS + DAY_MS)], [[], [idOf(1)]]);
  });
});

describe("R21: whoever asks for a channel or to join", () => {
  const claims = verifyEvidence(evidenceOf(new Uint8Array(64), TEST_CHIP), undefined, crypto, NOW_MS);
  const other = (state: GovernanceState, at: number) => otherOnMachine(claims, idOf(at), state, NOW_MS);

  test("is told which node is recorded on its chip, unless an entry lets it be there", () => {
    const first = attested(stateWith([strictEntry]), 0);
    assert.deepEqual([other(first, 0), other(first, 1)], [undefined, idOf(0)]);
    assert.equal(other(stateWith([strictEntry]), 1), undefined, "nobody is recorded");
    assert.equal(other(stateWith([sharedEntry], first), 1), undefined);
    assert.equal(other(first, 7), undefined, "a node that leaves makes room for the one after it");
  });
});

describe("R21: a node that joins", () => {
  const join = (state: GovernanceState, at: number, chip = TEST_CHIP) => {
    const { networkId, constitutionDigest } = state;
    const bound = {
      networkId,
      constitutionDigest,
      node: tupleOf(at),
      challenge: new Uint8Array(32),
      measurement: CODE.measurement,
    };
    const evidence = evidenceOf(joinReportData(bound, sha256), chip);
    const request = { ...bound, ownChallenge: new Uint8Array(32), evidence };
    return checkJoinRequest(request, { ...state, nowMs: NOW_MS }, crypto);
  };

  test("is let in on a chip of its own, and on that of another only where an entry allows it", () => {
    const first = attested(stateWith([strictEntry]), 0);
    assert.throws(() => join(first, 1), { code: "JoinMachineInUse" });
    assert.equal(join(first, 1, OTHER_CHIP).nodeId, idOf(1));
    assert.equal(join(first, 0).nodeId, idOf(0), "one that comes back");
    assert.equal(join(stateWith([strictEntry, sharedEntry], first), 1).nodeId, idOf(1));
  });
});

describe("R21: a channel", () => {
  /** How node 0 judges the evidence of a peer, by what is recorded. */
  async function identityOf(state: GovernanceState) {
    const sealer = { seal: (secret: Bytes) => secret, unseal: (sealed: Bytes) => sealed };
    const { sealed } = await createNodeKeys(sealer, nodeEntropy);
    const { nodes } = state.constitution;
    const administration = {
      attested: state.attested,
      nodeOf: (nodeId: string) => nodes.find((node) => node.nodeId === nodeId),
    };
    const evidence = { attest: () => assert.fail("asked"), evidence: { make: () => assert.fail("asked") } };
    const keys = await openNodeKeys(sealed, sealer);
    return createChannelIdentity({
      ...evidence,
      keys,
      networkId: state.networkId,
      certificate: "",
      crypto: createNodeCrypto(keys.signingKey),
      evidenceCrypto: crypto,
      administration: administration as unknown as Administration,
      constitution: () => state.constitution,
      now: () => NOW_MS,
    });
  }

  async function appraised(state: GovernanceState, peer: number) {
    const identity = await identityOf(state);
    const [challenge, exporter] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const { nodeId, encryptionKey } = tupleOf(peer);
    const theirs = { networkId: state.networkId, constitutionDigest: identity.networkId };
    const sender = { sender: nodeId, senderEncryptionKey: encryptionKey };
    const reportData = channelReportData({ ...theirs, ...sender, challenge, exporter }, sha256);
    return identity.appraise(nodeId, evidenceOf(reportData, TEST_CHIP), challenge, exporter);
  }

  test("is refused to a node on another one's chip, and ends when the other is recorded there", async () => {
    const nobody = stateWith([strictEntry]);
    const first = attested(nobody, 0);
    const claims = await appraised(nobody, 1);
    await assert.rejects(appraised(first, 1), { code: "EvidenceRejected", data: { reason: "MachineInUse" } });
    assert.equal((await appraised(first, 0)).tee, "snp");
    assert.equal((await appraised(stateWith([strictEntry, sharedEntry], first), 1)).tee, "snp");
    assert.equal((await identityOf(nobody)).stillAppraises(idOf(1), claims), true);
    assert.equal((await identityOf(first)).stillAppraises(idOf(1), claims), false);
    assert.equal((await identityOf(sharing)).stillAppraises(idOf(1), claims), true);
  });
});

describe("which entries allow it", () => {
  test("those that say so, machines of the virtual TEE, which are listed themselves, and tokens, which name none", () => {
    const vbs = (allowSharedMachine: boolean): TeeEntry => ({
      ...{ tee: "vsm", id: "vbs", note: "test" },
      policy: { ...STRICT_VBS_POLICY, allowSharedMachine },
    });
    const dcap = (
      tee: "sgx" | "tdx",
      policy: Extract<HardwareTeeEntry, { tee: "sgx" | "tdx" }>["policy"],
    ): TeeEntry => ({
      ...{ tee, id: "dcap", note: "test", policy },
    });
    const entries: readonly (readonly [TeeEntry, boolean])[] = [
      [strictEntry, false],
      [sharedEntry, true],
      [dcap("sgx", {}), false],
      [dcap("tdx", { allow: ["debug"] }), false],
      [dcap("tdx", { allow: ["shared-machine"] }), true],
      [vbs(false), false],
      [vbs(true), true],
      [{ tee: "vsm", id: "maa", note: "test", policy: guestPolicy }, true],
      [{ tee: "virtual", machineKey: new Uint8Array(91), note: "test" }, true],
    ];
    for (const [entry, allows] of entries) assert.equal(allowsSharedMachine(entry), allows, JSON.stringify(entry));
  });

  test("a VBS enclave's machine is its Secure Kernel's key, whoever certified it; a token names who vouches", () => {
    const platformOf = (evidence: Bytes, health?: Bytes): string => {
      const endorsements = health === undefined ? [] : [{ kind: "health-certificate" as const, content: health }];
      const envelope = encodeHardwareEvidence({ tee: "vsm", evidence, endorsements });
      const claims = verifyEvidence(envelope, undefined, crypto, NOW_MS);
      return claims.tee === "virtual" ? "" : claims.platform;
    };
    const [one, two] = [makeGuardian(), makeGuardian()];
    const ofOne = platformOf(makeReport(one.key), one.health.der);
    assert.equal(ofOne, toHex(sha256(one.health.key.spki)));
    assert.notEqual(ofOne, platformOf(makeReport(two.key), two.health.der));
    assert.equal(platformOf(utf8Encode(token(guest))), platformOf(utf8Encode(token({ ...guest, jti: "another" }))));
  });
});
