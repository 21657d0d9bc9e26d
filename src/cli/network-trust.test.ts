import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { derOfPem } from "../core/governance/pem.ts";
import {
  certificateDer,
  createServiceCertificate,
  endorseNodeCertificate,
  generateKeyPairPem,
} from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { attestReportData } from "../core/governance/attest.ts";
import { attestedNode, GENESIS_CODE, machineOf, NOW_MS } from "../../test/support/governed-actions.ts";
import { constitutionOf, GOVERNANCE_CRYPTO, idOf } from "../../test/support/governed-network.ts";
import { type SnpAllowance, STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import type { RecordedEvidence } from "./evidence-reader.ts";
import { judgedBy, judgedByLines, judgeNetwork, trustLines } from "./network-trust.ts";
import { EXIT, reportError } from "./output.ts";

const founded = constitutionOf([0, 1]);
const constitution = { ...founded, teeManifest: [machineOf("machine")] };
const NETWORK = "ab".repeat(32);
const [node0 = assert.fail()] = constitution.nodes;
const reportData = attestReportData(NETWORK, node0, new Uint8Array(32).fill(5), GOVERNANCE_CRYPTO.sha256);
const attestedAs = (measurement: string, machine: string, data = reportData) =>
  attestedNode(measurement, machineOf(machine).machineKey, data);
const good: RecordedEvidence = {
  ...{ nodeId: idOf(0), owner: "acme", isQuarantined: false, leaseEndsMs: NOW_MS + 1 },
  attested: attestedAs(GENESIS_CODE, "machine"),
};
const judge = (...nodes: readonly RecordedEvidence[]) =>
  judgeNetwork(
    { networkId: NETWORK, constitution },
    { ledgerTimeMs: NOW_MS, leaseMs: 60_000, nodes },
    GOVERNANCE_CRYPTO,
  );

describe("coco network trust", () => {
  test("trusts a node whose evidence verifies and appraises, and says that the virtual TEE isolates nothing", () => {
    const trust = judge(good);
    assert.deepEqual(trust.nodes[0]?.reasons, []);
    assert.equal(trust.weakestRunning, "virtual");
    const text = trustLines(trust).join("\n");
    assert.match(text, /: trusted/);
    assert.match(text, /weakest link: virtual/);
    assert.match(text, /identity, not isolation/);
    assert.match(text, /keys {3}in a file that its machine's operator can read/);
    assert.match(text, /TCB {4}none: the virtual TEE/);
    assert.match(trustLines(judge({ ...good, attested: undefined })).join("\n"), /TEE {4}unknown\n {2}TCB {4}unknown/);
  });

  test("does not trust what a node only claims, what is not listed, what was never recorded, and who is quarantined", () => {
    const forged = { ...good, attested: attestedAs("77".repeat(32), "machine") };
    const renamed = good.attested && { ...good, attested: { ...good.attested, measurement: "77".repeat(32) } };
    const elsewhere = { ...good, attested: attestedAs(GENESIS_CODE, "other") };
    const ofOthers = { ...good, attested: attestedAs(GENESIS_CODE, "machine", new Uint8Array(64)) };
    const nodes = [forged, renamed ?? assert.fail(), elsewhere, ofOthers, { ...good, attested: undefined }];
    for (const node of [...nodes, { ...good, isQuarantined: true }, { ...good, leaseEndsMs: NOW_MS }]) {
      const [judged] = judge(node).nodes;
      assert.equal(judged?.isTrusted, false);
      assert.match(trustLines(judge(node)).join("\n"), /NOT trusted/);
    }
    const told = trustLines(judge(elsewhere)).join("\n");
    assert.match(
      told,
      /why {4}the TEE manifest does not list the machine\n {2}do {5}Let a member propose `approve_tee`/,
    );
    assert.match(
      trustLines(judge({ ...good, attested: undefined })).join("\n"),
      / {2}do {5}Look for attestation_failed/,
    );
  });

  test("trusts one node of a machine only, unless the manifest lets more be there", () => {
    const other: RecordedEvidence = { ...good, nodeId: idOf(1), owner: "globex" };
    const judgedBy = (allow: readonly SnpAllowance[]) => {
      const entry = { tee: "snp", id: "test", note: "", policy: { ...STRICT_SNP_POLICY, allow } } as const;
      const network = { networkId: NETWORK, constitution: { ...constitution, teeManifest: [entry] } };
      const evidence = { ledgerTimeMs: NOW_MS, leaseMs: 60_000, nodes: [good, other] };
      const refusal = { manifest: "tee", reason: "TeeNotListed", message: "nothing is listed" } as const;
      // Whatever an entry lists is accepted here: which entries count is what is asked.
      const appraise: typeof GOVERNANCE_CRYPTO.appraise = (_, { teeManifest }) =>
        teeManifest.length === 0 ? [refusal] : [];
      return judgeNetwork(network, evidence, { ...GOVERNANCE_CRYPTO, appraise }).nodes.map(({ reasons }) =>
        reasons.filter((reason) => reason.includes("machine that another node")),
      );
    };
    assert.deepEqual(judgedBy(["shared-machine"]), [[], []]);
    const [first, second] = judgedBy([]);
    assert.deepEqual([first?.length, second?.length], [0, 1]);
  });

  test("counts leases by the constitution and by this machine's clock, whatever the node tells", () => {
    const leased = { ...constitution, settings: { ...constitution.settings, leaseMs: 60_000 } };
    const evidence = { ledgerTimeMs: NOW_MS, leaseMs: 0, nodes: [{ ...good, leaseEndsMs: undefined }] };
    const judgeAt = (localTimeMs: number) =>
      judgeNetwork({ networkId: NETWORK, constitution: leased }, evidence, GOVERNANCE_CRYPTO, { localTimeMs }).nodes[0];
    assert.equal(judgeAt(NOW_MS + 59_999)?.isTrusted, true);
    assert.equal(judgeAt(NOW_MS + 60_000)?.isTrusted, false);
    assert.equal(judgeAt(NOW_MS)?.leaseEndsMs, NOW_MS + 60_000);
  });

  test("names the node a connection ends at only when the evidence its certificate names is bound to its keys", () => {
    const [service, own] = [generateKeyPairPem(), generateKeyPairPem()];
    const issuance = { notBeforeMs: NOW_MS, days: 1, entropy: nodeEntropy };
    const issuer = { certificate: createServiceCertificate(service.privateKey, issuance), ...service };
    const publicKey = derOfPem(own.publicKey, "PUBLIC KEY") ?? assert.fail();
    const entry = { ...node0, publicKey };
    const network = { networkId: NETWORK, constitution: { ...constitution, nodes: [entry] } };
    const connectedBy = (data: Uint8Array) => {
      const attested = attestedAs(GENESIS_CODE, "machine", data);
      const evidenceDigest = GOVERNANCE_CRYPTO.sha256(attested.evidence);
      const subject = { nodeId: entry.nodeId, publicKey: own.publicKey, hosts: [], evidenceDigest };
      const certificate = certificateDer(endorseNodeCertificate(subject, issuer, issuance));
      const evidence = { ledgerTimeMs: NOW_MS, leaseMs: 0, nodes: [{ ...good, attested }] };
      return judgeNetwork(network, evidence, GOVERNANCE_CRYPTO, { certificate }).connectedTo;
    };
    const challenge = new Uint8Array(32).fill(5);
    assert.equal(connectedBy(attestReportData(NETWORK, entry, challenge, GOVERNANCE_CRYPTO.sha256)), entry.nodeId);
    assert.equal(connectedBy(reportData), null, "evidence of another node's keys");
  });

  test("names the weakest TEE that the manifest admits, though stronger ones run", () => {
    const snp = { tee: "snp", id: "milan", note: "", policy: STRICT_SNP_POLICY } as const;
    const mixed = { ...constitution, teeManifest: [...constitution.teeManifest, snp] };
    const evidence = { ledgerTimeMs: NOW_MS, leaseMs: 0, nodes: [{ ...good, attested: undefined }] };
    const trust = judgeNetwork({ networkId: NETWORK, constitution: mixed }, evidence, GOVERNANCE_CRYPTO);
    assert.deepEqual([trust.weakestRunning, trust.weakestAdmitted], [null, "virtual"]);
    const only = judgeNetwork(
      { networkId: NETWORK, constitution: { ...constitution, teeManifest: [snp] } },
      evidence,
      GOVERNANCE_CRYPTO,
    );
    assert.equal(only.weakestAdmitted, "snp");
  });

  test("says that manifests and policies are as told by the node, unless the caller names the constitution", () => {
    const [told, known] = ["ab".repeat(32), "cd".repeat(32)];
    assert.match(judgedByLines(judgedBy(3, told, undefined)).join("\n"), /AS TOLD BY THIS NODE\n.*nothing proves/);
    assert.doesNotMatch(judgedByLines(judgedBy(3, told, told)).join("\n"), /TOLD|proves/);
    assert.deepEqual(judgedBy(3, told, told), { version: 3, digest: told, source: "caller" });
    assert.throws(
      () => judgedBy(3, told, known),
      (error) => {
        const talk: string[] = [];
        const output = { data: () => assert.fail("nothing is data"), talk: (text: string) => void talk.push(text) };
        assert.equal(reportError(output, error, false), EXIT.verificationFailed);
        assert.match(talk.join(""), /ConstitutionDiffers: .*another owner's node; do not trust this one/s);
        return true;
      },
    );
  });
});
