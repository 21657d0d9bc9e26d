/** Evidence of hardware where governance meets it: envelopes, manifests of several TEEs, roots, and records in the ledger. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, idOf, refusal, tupleOf } from "../../test/support/governed-network.ts";
import { makeEvidence, REPORT_DATA } from "../../test/support/intel-platform.ts";
import { NOW_MS } from "../../test/support/issue-certificates.ts";
import { makeSnpPki } from "../../test/support/snp-pki.ts";
import { toHex, type Bytes } from "../core/codec/bytes.ts";
import { attestChallenge, attestReportData, executeAttest, mayRun } from "../core/governance/attest.ts";
import { constitutionFromJson, constitutionToJson } from "../core/governance/constitution-codec.ts";
import type { Constitution } from "../core/governance/constitution.ts";
import type { GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { CodeEntry, HardwareTeeEntry, TeeEntry } from "../core/governance/manifest-entries.ts";
import { STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import { createAttestationCrypto } from "../enclave/manager/attestation-crypto.ts";
import { createEvidenceCrypto, createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { appraise } from "./appraise.ts";
import { type AttestationCrypto, isAccepted } from "./checks.ts";
import type { HardwareRoots } from "./evidence.ts";
import type { HardwareEvidence } from "./hardware-evidence.ts";
import { encodeHardwareEvidence, verifyHardware } from "./hardware.ts";
import { pinnedRoots } from "./pinned-roots.ts";
import { verifyEvidence } from "./verify-evidence.ts";

const pki = makeSnpPki();
const chain = [pki.vek(), pki.ask, pki.ark];
const intel = makeEvidence({ form: "tdx-4" });
const roots: HardwareRoots = { amd: pki.roots, intel: intel.roots };
const crypto = createEvidenceCrypto(roots);
const SNP_CODE = toHex(pki.report().subarray(0x90, 0xc0));
const HOST_DATA = toHex(pki.report().subarray(0xc0, 0xe0));

const snpParts: HardwareEvidence = {
  tee: "snp",
  evidence: pki.report({ 80: REPORT_DATA }),
  endorsements: chain.map(({ der }) => ({ kind: "certificates", content: der })),
};
const tdxParts: HardwareEvidence = {
  tee: "tdx",
  evidence: intel.quote,
  endorsements: [{ kind: "collateral", content: intel.collateral }],
};

function snpEvidence(reportData: Bytes): Bytes {
  return encodeHardwareEvidence({ ...snpParts, evidence: pki.report({ 80: reportData }) });
}

const tdxEvidence = encodeHardwareEvidence(tdxParts);

const SNP_ENTRY: HardwareTeeEntry = { tee: "snp", id: "milan", note: "test", policy: STRICT_SNP_POLICY };
const code = (measurement: string, reference: CodeEntry["reference"]): CodeEntry => ({
  ...{ measurement, name: "coco-framework", version: "0" },
  ...(reference && { reference }),
});
const manifests = (teeManifest: readonly TeeEntry[], codeManifest: readonly CodeEntry[]) => ({
  teeManifest,
  codeManifest,
});
const rejectedFor = (reason: string) => (error: unknown) => {
  assert.ok(error instanceof CocoError && error.code === "EvidenceRejected", String(error));
  assert.equal(error.data["reason"], reason, error.message);
  return true;
};

describe("evidence of hardware", () => {
  const claims = verifyEvidence(snpEvidence(REPORT_DATA), REPORT_DATA, crypto, NOW_MS);
  const reasonsBy = (...how: Parameters<typeof manifests>) =>
    appraise(claims, manifests(...how), NOW_MS).reasons.map(({ reason }) => reason);

  test("that an entry cannot be applied to is refused by that entry alone, and by none for a fault of the program", () => {
    assert.ok(claims.tee === "snp");
    const odd: TeeEntry = { ...SNP_ENTRY, id: "odd" };
    const judgedBy = (thrown: Error, ...entries: readonly TeeEntry[]) => {
      const judge: typeof claims.judge = (entry) => {
        if (entry.id === "odd") throw thrown;
        return claims.judge(entry);
      };
      return appraise({ ...claims, judge }, manifests(entries, [code(SNP_CODE, { tee: "snp" })]), NOW_MS).reasons;
    };
    const malformed = new CocoError("EvidenceRejected", "a form that this policy does not take", {
      reason: "Malformed",
    });
    const [reason, ...more] = judgedBy(malformed, odd);
    assert.deepEqual([reason?.code, reason?.reason, more], ["EvidenceRejected", "Malformed", []]);
    assert.match(reason?.message ?? "", /a form that this policy does not take/);
    for (const entries of [
      [odd, SNP_ENTRY],
      [SNP_ENTRY, odd],
    ])
      assert.deepEqual(judgedBy(malformed, ...entries), []);
    for (const fault of [new CocoError("Internal", "a fault"), new TypeError("a fault")])
      assert.throws(() => judgedBy(fault, odd, SNP_ENTRY), fault);
  });

  test("costs signatures once, however many entries it is judged by", () => {
    let used = 0;
    const own = createAttestationCrypto();
    const counted: AttestationCrypto = {
      digest: (...of) => {
        used++;
        return own.digest(...of);
      },
      verify: (...of) => {
        used++;
        return own.verify(...of);
      },
    };
    const tdxEntry: HardwareTeeEntry = { tee: "tdx", id: "tdx", note: "test", policy: {} };
    for (const [parts, entry] of [
      [snpParts, SNP_ENTRY],
      [tdxParts, tdxEntry],
    ] as const) {
      used = 0;
      const { judge } = verifyHardware(parts, { crypto: counted, roots }, NOW_MS);
      assert.ok(used > 3);
      used = 0;
      for (let entries = 0; entries < 3; entries++) assert.ok(isAccepted(judge(entry)));
      assert.equal(used, 0);
    }
  });

  test("is genuine by the roots that are handed in, and bound to what the verifier expects", () => {
    assert.deepEqual([claims.tee, claims.measurement], ["snp", SNP_CODE]);
    assert.deepEqual(claims.reportData, REPORT_DATA);
    const other = new Uint8Array(64);
    const verify = (evidence: Bytes) => verifyEvidence(evidence, other, crypto, NOW_MS);
    assert.throws(() => verify(snpEvidence(REPORT_DATA)), rejectedFor("ReportDataMismatch"));
    const tdx = verifyEvidence(tdxEvidence, REPORT_DATA, crypto, intel.nowMs);
    assert.equal(tdx.tee, "tdx");
    assert.throws(
      () => verifyEvidence(tdxEvidence, REPORT_DATA, crypto, intel.nowMs + 5 * 365 * 86_400_000),
      (error: unknown) => error instanceof CocoError && error.code === "EvidenceRejected",
      "by the ledger's time",
    );
  });

  test("is refused for each byte cut off, and for a field too many", () => {
    const evidence = snpEvidence(REPORT_DATA);
    for (let length = 0; length < evidence.length; length += 7)
      assert.throws(
        () => verifyEvidence(evidence.subarray(0, length), REPORT_DATA, crypto, NOW_MS),
        rejectedFor("Malformed"),
      );
  });

  test("is appraised by the entries for its TEE, of which one is enough, and by reference values", () => {
    const listed = code(SNP_CODE, { tee: "snp", hostData: HOST_DATA });
    assert.deepEqual(reasonsBy([SNP_ENTRY], [listed]), []);
    const genoa: TeeEntry = { ...SNP_ENTRY, id: "genoa", policy: { ...STRICT_SNP_POLICY, products: ["Genoa"] } };
    assert.deepEqual(reasonsBy([genoa], [listed]), ["ProductNotAllowed"]);
    assert.deepEqual(reasonsBy([genoa, SNP_ENTRY], [listed]), []);
    assert.deepEqual(reasonsBy([], [listed]), ["TeeNotListed"]);
    assert.deepEqual(reasonsBy([{ ...SNP_ENTRY, inForceUntil: NOW_MS }], [listed]), ["TeeNotInForce"]);
    assert.deepEqual(reasonsBy([SNP_ENTRY], []), ["MeasurementNotListed"]);
    const otherHost = code(SNP_CODE, { tee: "snp", hostData: "ab".repeat(32) });
    assert.deepEqual(reasonsBy([SNP_ENTRY], [otherHost]), ["MeasurementMismatch"]);
    assert.deepEqual(reasonsBy([SNP_ENTRY], [code(SNP_CODE, { tee: "tdx" })]), ["MeasurementMismatch"]);
    assert.deepEqual(
      reasonsBy([SNP_ENTRY], [code(SNP_CODE, undefined)]),
      ["MeasurementMismatch"],
      "of the virtual TEE",
    );
    assert.deepEqual(reasonsBy([SNP_ENTRY], [otherHost, listed]), [], "code that differs in its host data only");
  });
});

describe("roots of hardware in production", () => {
  test("are the pinned ones: nothing else makes evidence of a test's own root count", () => {
    const pinned = createEvidenceCrypto();
    const evidence = snpEvidence(REPORT_DATA);
    const refused = () => verifyEvidence(evidence, REPORT_DATA, pinned, NOW_MS);
    assert.throws(refused, rejectedFor("RootNotTrusted"));
    const before = { ...process.env };
    for (const name of [
      "COCO_ROOTS",
      "COCO_AMD_ROOTS",
      "COCO_INTEL_ROOTS",
      "COCO_TRUSTED_ROOTS",
      "NODE_EXTRA_CA_CERTS",
    ])
      process.env[name] = toHex(pki.ark.der);
    try {
      const again = createEvidenceCrypto();
      assert.throws(() => verifyEvidence(evidence, REPORT_DATA, again, NOW_MS), rejectedFor("RootNotTrusted"));
    } finally {
      process.env = before;
    }
    assert.deepEqual(pinnedRoots(), pinnedRoots());
    assert.throws(() => verifyEvidence(tdxEvidence, REPORT_DATA, pinned, intel.nowMs), rejectedFor("RootNotTrusted"));
  });

  test("cannot be named in a constitution", () => {
    const { constitution } = new GovernedNetwork([0]).state;
    const text = (entry: object): string => {
      const json = JSON.parse(constitutionToJson(constitution)) as { teeManifest: object[] };
      return JSON.stringify({ ...json, teeManifest: [...json.teeManifest, entry] });
    };
    const snp = { tee: "snp", id: "milan", note: "test", policy: {} };
    assert.equal(constitutionFromJson(text(snp)).teeManifest.length, 2);
    const ark = toHex(pki.ark.der);
    for (const entry of [
      { ...snp, roots: [ark] },
      { ...snp, policy: { roots: [ark] } },
      { tee: "tdx", id: "guests", note: "test", policy: { roots: [ark] } },
      { tee: "sgx", id: "enclaves", note: "test", policy: {}, roots: { intel: [ark] } },
    ])
      assert.throws(() => constitutionFromJson(text(entry)), { code: "ConstitutionInvalid" });
  });
});

describe("a network of several TEEs", () => {
  const real = createGovernanceCrypto(undefined, roots);
  const isSnp = (evidence: Bytes): boolean => evidence.length > 1000;
  /** Simulated machines, and hardware under the roots of this test. */
  const mixed: GovernanceCrypto = {
    ...GOVERNANCE_CRYPTO,
    verifyEvidence: (evidence, ...rest) =>
      (isSnp(evidence) ? real : GOVERNANCE_CRYPTO).verifyEvidence(evidence, ...rest),
    appraise: (node, ...rest) => (isSnp(node.evidence) ? real : GOVERNANCE_CRYPTO).appraise(node, ...rest),
  };

  function attest(network: GovernedNetwork, change: Partial<Constitution>) {
    const state = { ...network.state, constitution: { ...network.state.constitution, ...change } };
    const challenge = attestChallenge(state, idOf(1), sha256) ?? assert.fail("no epoch");
    const evidence = snpEvidence(attestReportData(state.networkId, tupleOf(1), challenge, sha256));
    return executeAttest(state, { type: "attest", nodeId: idOf(1), challenge, evidence }, NOW_MS, mixed);
  }

  test("records a node of hardware that both manifests list, refuses it otherwise, and expels it when they change", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.place = { ...network.place, timeMs: NOW_MS };
    network.execute({ type: "challenge" });
    const { teeManifest, codeManifest } = network.state.constitution;
    const listed = code(SNP_CODE, { tee: "snp" });
    assert.throws(() => attest(network, {}), refusal("TeeNotInForce"));
    assert.throws(() => attest(network, { teeManifest: [...teeManifest, SNP_ENTRY] }), refusal("CodeNotInForce"));
    const change = { teeManifest: [...teeManifest, SNP_ENTRY], codeManifest: [...codeManifest, listed] };
    const node = attest(network, change).attested.get(idOf(1)) ?? assert.fail("not recorded");
    assert.deepEqual([node.tee, node.measurement], ["snp", SNP_CODE]);
    const constitution = { ...network.state.constitution, ...change };
    assert.equal(mayRun(constitution, node, NOW_MS, mixed), true);
    const strict: TeeEntry = { ...SNP_ENTRY, policy: { ...STRICT_SNP_POLICY, hostData: ["cd".repeat(32)] } };
    const stricter = { ...constitution, teeManifest: [...teeManifest, strict] };
    assert.equal(mayRun(stricter, node, NOW_MS, mixed), false, "judged anew when the manifest changes");
  });
});
