/**
 * What is refused of evidence in every format alike, through the one door by which it comes to channels and into the ledger. The
 * classes in brackets are those of docs/reference/attestation.md; what is particular to a format is tested beside its verifier.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, idOf, refusal, tupleOf } from "../../test/support/governed-network.ts";
import { makeEvidence, platformExtension, type QuoteForm } from "../../test/support/intel-platform.ts";
import { makeKey, NOW_MS } from "../../test/support/issue-certificates.ts";
import { makeSnpPki } from "../../test/support/snp-pki.ts";
import { concatBytes, toHex, utf8Encode, type Bytes } from "../core/codec/bytes.ts";
import { attestChallenge, attestReportData, executeAttest, type AttestationState } from "../core/governance/attest.ts";
import {
  constitutionFromJson,
  constitutionToJson,
  decodeConstitution,
  encodeConstitution,
} from "../core/governance/constitution-codec.ts";
import type { AttestedNode, GovernanceCrypto } from "../core/governance/governance-crypto.ts";
import type { CodeEntry, HardwareTeeEntry, ReferenceValues, TeeEntry } from "../core/governance/manifest-entries.ts";
import { STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import { STRICT_VBS_POLICY } from "../core/governance/policy-vsm.ts";
import { createEvidenceCrypto, createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { CocoError } from "../errors.ts";
import { appraise, otherOnMachine } from "./appraise.ts";
import { isAccepted } from "./checks.ts";
import type { HardwareClaims } from "./evidence.ts";
import { encodeHardwareEvidence } from "./hardware.ts";
import type { HardwareEvidence } from "./hardware-evidence.ts";
import { policy as tokenPolicy, token } from "./maa/test-tokens.ts";
import { makeVtpmEvidence, nonceFor, POLICY_PCRS, travelling } from "./tpm/test-azure-vtpm.ts";
import { verifyEvidence } from "./verify-evidence.ts";
import {
  commonClaims,
  guestClaims,
  type JsonObject,
  makeGuardian,
  makeReport,
  sgxClaims,
} from "./vsm/test-vsm-evidence.ts";

const pki = makeSnpPki();
const chain = [pki.vek(), pki.ask, pki.ark].map(({ der }) => ({ kind: "certificates" as const, content: der }));
const { roots: intel } = makeEvidence();
const guardian = makeGuardian();
const crypto = createEvidenceCrypto({ amd: pki.roots, intel });
const governance: GovernanceCrypto = {
  ...createGovernanceCrypto(undefined, { amd: pki.roots, intel }),
  identify: GOVERNANCE_CRYPTO.identify,
};

function quoteOf(form: QuoteForm, tee: "sgx" | "tdx", reportData: Bytes, extension = platformExtension()): Bytes {
  const made = makeEvidence({ form, extension, body: (body) => body.set(reportData, tee === "sgx" ? 320 : 520) });
  const endorsements = [{ kind: "collateral" as const, content: made.collateral }];
  return encodeHardwareEvidence({ tee, evidence: made.quote, endorsements });
}

/** One format: evidence that binds report data, the entry that accepts it, and values of its code. */
interface Format {
  readonly entry: HardwareTeeEntry;
  readonly make: (reportData: Bytes) => Bytes;
  /** As the evidence measures it. */
  readonly reference: ReferenceValues;
  /** Reference values that it does not have. */
  readonly others: readonly ReferenceValues[];
}

const id = { id: "test", note: "test" };

function tokenFormat(claims: (reportData: string) => JsonObject): Format {
  return {
    entry: { tee: "vsm", ...id, policy: { ...tokenPolicy, authorIds: [], imageIds: [] } },
    make: (data) => {
      const evidence = utf8Encode(token(claims(toHex(data))));
      return encodeHardwareEvidence({ tee: "vsm", evidence, endorsements: [] });
    },
    reference: { tee: "vsm" },
    others: [],
  };
}

const registers = [0, 1, 2, 3].map((at) => (0xa0 + at).toString(16).repeat(48));
const guest: Pick<Format, "entry" | "reference" | "others"> = {
  entry: { tee: "tdx", ...id, policy: {} },
  reference: { tee: "tdx", registers },
  others: [0, 1, 2, 3].map((at) => ({
    tee: "tdx",
    registers: registers.map((register, each) => (each === at ? "00".repeat(48) : register)),
  })),
};
const signer = "5a".repeat(32);
const enclave: Pick<Format, "entry" | "reference" | "others"> = {
  entry: { tee: "sgx", ...id, policy: {} },
  reference: { tee: "sgx", signer, productId: 3, minVersion: 9 },
  others: [
    { tee: "sgx", signer: "5b".repeat(32) },
    { tee: "sgx", signer, productId: 4 },
    { tee: "sgx", signer, productId: 3, minVersion: 10 },
  ],
};
const tpmKey = makeKey("rsa");

function throughTpm(data: Bytes, version: 1 | 2 = 1): HardwareEvidence {
  const snpReport = (bound: Bytes) => pki.report({ 80: bound });
  const made = makeVtpmEvidence(tpmKey, { snpReport, version }, { nonce: nonceFor(data) });
  return travelling({ ...made, certificates: chain.map(({ content }) => content) }, data);
}

const FORMATS: Readonly<Record<string, Format>> = {
  "an SNP report": {
    entry: { tee: "snp", ...id, policy: STRICT_SNP_POLICY },
    make: (data) => encodeHardwareEvidence({ tee: "snp", evidence: pki.report({ 80: data }), endorsements: chain }),
    reference: { tee: "snp", hostData: "c0".repeat(32) },
    others: [{ tee: "snp", hostData: "c1".repeat(32) }],
  },
  "an SNP report behind a virtual TPM": {
    entry: { tee: "snp", ...id, policy: { ...STRICT_SNP_POLICY, pcrs: POLICY_PCRS } },
    make: (data) => encodeHardwareEvidence(throughTpm(data)),
    reference: { tee: "snp", hostData: "c0".repeat(32) },
    others: [{ tee: "snp", hostData: "c1".repeat(32) }],
  },
  "an SNP report behind a virtual TPM, header version 2": {
    entry: { tee: "snp", ...id, policy: { ...STRICT_SNP_POLICY, pcrs: POLICY_PCRS } },
    make: (data) => encodeHardwareEvidence(throughTpm(data, 2)),
    reference: { tee: "snp", hostData: "c0".repeat(32) },
    others: [{ tee: "snp", hostData: "c1".repeat(32) }],
  },
  "a quote of SGX": { ...enclave, make: (data) => quoteOf("sgx-3", "sgx", data) },
  "a quote of TDX": { ...guest, make: (data) => quoteOf("tdx-4", "tdx", data) },
  "a quote of TDX 1.5": { ...guest, make: (data) => quoteOf("tdx-5-15", "tdx", data) },
  "a report of VBS": {
    entry: { tee: "vsm", ...id, policy: { ...STRICT_VBS_POLICY, roots: [guardian.root.der] } },
    make: (data) =>
      encodeHardwareEvidence({
        tee: "vsm",
        evidence: makeReport(guardian.key, { enclaveData: data }),
        endorsements: [{ kind: "health-certificate", content: guardian.health.der }],
      }),
    reference: { tee: "vsm" },
    others: [],
  },
  "a token about an enclave": tokenFormat((reportData) => ({
    ...commonClaims("sgx"),
    ...sgxClaims({ "report-data": reportData }),
  })),
  "a token about a guest": tokenFormat((reportdata) => ({
    ...commonClaims("sevsnpvm"),
    ...guestClaims({ reportdata }),
  })),
};
const VIRTUAL: TeeEntry = { tee: "virtual", machineKey: new Uint8Array(91), note: "test" };
const DATA = Uint8Array.from({ length: 64 }, (_, at) => at + 100);

const rejectedFor = (reason: string) => (error: unknown) => {
  assert.ok(error instanceof CocoError && error.code === "EvidenceRejected", String(error));
  assert.equal(error.data["reason"], reason, error.message);
  return true;
};

function claimsOf({ make }: Format, reportData = DATA): HardwareClaims {
  const claims = verifyEvidence(make(reportData), reportData, crypto, NOW_MS);
  return claims.tee === "virtual" ? assert.fail("of hardware") : claims;
}

function codeOf(format: Format, reference = format.reference): CodeEntry {
  return { measurement: claimsOf(format).measurement, name: "coco-framework", version: "0", reference };
}

/** A network whose manifests list this hardware and its code. */
function stateFor(format: Format): AttestationState {
  const { state } = new GovernedNetwork([0, 1]);
  const constitution = { ...state.constitution, teeManifest: [format.entry], codeManifest: [codeOf(format)] };
  const challenges = state.challenges.map((challenge) => ({ ...challenge, fromMs: NOW_MS }));
  return { ...state, constitution, challenges };
}

/** The state after evidence of a node, made for another node, network or challenge where that is given. */
function attested(
  format: Format,
  state: AttestationState,
  at: number,
  made: { readonly node?: number; readonly networkId?: string; readonly challenge?: Bytes } = {},
) {
  const challenge = attestChallenge(state, idOf(at), sha256) ?? assert.fail("no epoch");
  const { node = at, networkId = state.networkId } = made;
  const reportData = attestReportData(networkId, tupleOf(node), made.challenge ?? challenge, sha256);
  const transaction = { type: "attest", nodeId: idOf(at), challenge, evidence: format.make(reportData) } as const;
  return { ...executeAttest(state, transaction, NOW_MS, governance), transaction };
}

for (const [name, format] of Object.entries(FORMATS)) {
  describe(name, () => {
    const claims = claimsOf(format);
    const reasonsBy = (teeManifest: readonly TeeEntry[], codeManifest = [codeOf(format)]) =>
      appraise(claims, { teeManifest, codeManifest }, NOW_MS).reasons.map(({ reason }) => reason);

    test("can be approved: its entry and its code are read back from a constitution as they are", () => {
      const { constitution } = stateFor(format);
      assert.deepEqual(decodeConstitution(encodeConstitution(constitution)), constitution);
      assert.deepEqual(constitutionFromJson(constitutionToJson(constitution)), constitution);
    });

    test("is judged beside the entries of all other formats, and by none of them", () => {
      const all = Object.values(FORMATS).map(({ entry }) => entry);
      assert.deepEqual(reasonsBy([...all, format.entry]), []);
      assert.deepEqual(reasonsBy([format.entry, ...all]), []);
      const policyOf = (entry: TeeEntry) => ("policy" in entry && "format" in entry.policy ? entry.policy.format : "");
      const isOther = (entry: TeeEntry) => entry.tee !== format.entry.tee || policyOf(entry) !== policyOf(format.entry);
      const reasons = reasonsBy(all.filter(isOther));
      assert.ok(["TeeNotListed", "ProductNotAllowed"].includes(reasons[0] ?? ""), reasons.join());
    });

    test("[R13] binds all of its report data: no prefix, no tail, no other byte", () => {
      const evidence = format.make(DATA);
      const wrong: Bytes[] = [0, 31, 32, 63].map((at) => DATA.map((byte, each) => (each === at ? byte ^ 1 : byte)));
      wrong.push(DATA.subarray(0, 63), DATA.subarray(0, 32), concatBytes(DATA, new Uint8Array(1)), new Uint8Array(0));
      for (const expected of wrong)
        assert.throws(() => verifyEvidence(evidence, expected, crypto, NOW_MS), rejectedFor("ReportDataMismatch"));
      const short = format.make(concatBytes(DATA.subarray(0, 32), new Uint8Array(32)));
      assert.throws(() => verifyEvidence(short, DATA, crypto, NOW_MS), rejectedFor("ReportDataMismatch"));
    });

    test("[R13, R21] of another node, network or challenge is not recorded, nor is it a second time", () => {
      const state = stateFor(format);
      const recorded = attested(format, state, 0);
      assert.equal(recorded.attested.size, 1);
      const invalid = { code: "ProposalInvalid", data: { reason: "EvidenceInvalid", problem: "ReportDataMismatch" } };
      for (const made of [{ node: 1 }, { networkId: "00".repeat(32) }, { challenge: new Uint8Array(32) }])
        assert.throws(() => attested(format, state, 0, made), invalid, JSON.stringify(made));
      const replayed = { ...recorded.transaction, nodeId: idOf(1) };
      assert.throws(() => executeAttest(state, replayed, NOW_MS, governance), refusal("ChallengeStale"));
      const after = { ...state, attested: recorded.attested };
      assert.throws(() => executeAttest(after, recorded.transaction, NOW_MS, governance), refusal("ChallengeStale"));
    });

    test("[R18, R20] is read as a whole: cut off anywhere, or with a byte behind it, it is malformed", () => {
      const evidence = format.make(DATA);
      const step = Math.max(1, Math.floor(evidence.length / 500));
      for (let length = 0; length < evidence.length; length += step)
        assert.throws(
          () => verifyEvidence(evidence.subarray(0, length), DATA, crypto, NOW_MS),
          rejectedFor("Malformed"),
        );
      const longer = concatBytes(evidence, new Uint8Array(1));
      assert.throws(() => verifyEvidence(longer, DATA, crypto, NOW_MS), rejectedFor("Malformed"));
    });

    test("[R22] is refused where the TEE manifest lists nothing of its TEE, also when it lists every other", () => {
      const others = Object.values(FORMATS).filter(({ entry }) => entry.tee !== format.entry.tee);
      assert.deepEqual(reasonsBy([format.entry]), []);
      assert.deepEqual(reasonsBy([]), ["TeeNotListed"]);
      assert.deepEqual(reasonsBy([VIRTUAL, ...others.map(({ entry }) => entry)]), ["TeeNotListed"]);
      assert.deepEqual(
        claims.judge(others[0]?.entry ?? assert.fail()).map((check) => check.outcome),
        ["failed"],
      );
    });

    test("[R23] counts by the roots of production only, whatever the environment says", () => {
      const names = ["COCO_ROOTS", "COCO_TRUSTED_ROOTS", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "COCO_NOW"];
      const before = { ...process.env };
      for (const each of names) process.env[each] = toHex(pki.ark.der);
      try {
        const inProduction = () => verifyEvidence(format.make(DATA), DATA, createEvidenceCrypto(), NOW_MS);
        if (format.entry.tee !== "vsm") assert.throws(inProduction, rejectedFor("RootNotTrusted"));
        else {
          // Its roots are part of the policy: those of another policy do not count.
          const other = makeGuardian().root.der;
          const { policy } = format.entry;
          const foreign = policy.format === "vbs-hgs" ? { ...policy, roots: [other] } : { ...policy, keys: [] };
          const checks = claims.judge({ ...format.entry, policy: foreign });
          assert.ok(checks.some((check) => check.outcome === "failed"));
        }
      } finally {
        process.env = before;
      }
    });

    test("[R24] recorded is judged by the manifests as they are now, not as they were", () => {
      const state = stateFor(format);
      const node: AttestedNode = attested(format, state, 0).attested.get(idOf(0)) ?? assert.fail("not recorded");
      const { constitution } = state;
      const reasons = (change: object) =>
        governance.appraise(node, { ...constitution, ...change }, NOW_MS).map(({ reason }) => reason);
      for (let round = 0; round < 2; round++) {
        assert.deepEqual(reasons({}), []);
        assert.deepEqual(reasons({ teeManifest: [VIRTUAL] }), ["TeeNotListed"]);
        assert.deepEqual(reasons({ teeManifest: [{ ...format.entry, inForceUntil: NOW_MS }] }), ["TeeNotInForce"]);
        assert.deepEqual(reasons({ codeManifest: [] }), ["MeasurementNotListed"]);
      }
      const renamed = { ...node, measurement: "00".repeat(32) };
      assert.deepEqual(
        governance.appraise(renamed, constitution, NOW_MS).map(({ reason }) => reason),
        ["Malformed"],
        "a record that says something else than its evidence",
      );
    });

    test("[R14, R25] is of code whose reference values all fit", () => {
      const listed = (reference: ReferenceValues) => reasonsBy([format.entry], [codeOf(format, reference)]);
      assert.deepEqual(listed(format.reference), []);
      for (const reference of format.others)
        assert.deepEqual(listed(reference), ["MeasurementMismatch"], JSON.stringify(reference));
      const ofOther = Object.values(FORMATS).find(({ entry }) => entry.tee !== format.entry.tee);
      assert.deepEqual(listed(ofOther?.reference ?? assert.fail()), ["MeasurementMismatch"]);
      const { reference: _, ...virtual } = codeOf(format);
      assert.deepEqual(reasonsBy([format.entry], [virtual]), ["MeasurementMismatch"], "code of the virtual TEE");
    });
  });
}

describe("an SNP report behind a virtual TPM, and one without", () => {
  const { "an SNP report": plain, "an SNP report behind a virtual TPM": behind } = FORMATS;
  if (plain === undefined || behind === undefined) throw assert.fail("formats");

  test("are of entries of their own: neither stands in for the other, also where both are listed", () => {
    const reasonsOf = (claims: HardwareClaims, teeManifest: readonly TeeEntry[]) =>
      appraise(claims, { teeManifest, codeManifest: [codeOf(plain)] }, NOW_MS).reasons.map(({ reason }) => reason);
    for (const [mine, other] of [
      [plain, behind],
      [behind, plain],
    ] as const) {
      const claims = claimsOf(mine);
      assert.deepEqual(reasonsOf(claims, [other.entry]), ["RegistersMissing"]);
      assert.deepEqual(reasonsOf(claims, [other.entry, mine.entry]), []);
      const state = { ...stateFor(mine), constitution: stateFor(other).constitution };
      assert.throws(() => attested(mine, state, 0), { code: "ProposalInvalid", message: /values of the registers/ });
    }
    const pcrs = { ...POLICY_PCRS, 7: "00".repeat(32) };
    const otherBoot: TeeEntry = { tee: "snp", ...id, policy: { ...STRICT_SNP_POLICY, pcrs } };
    for (const entries of [[otherBoot], [plain.entry, otherBoot], [otherBoot, plain.entry]])
      assert.deepEqual(reasonsOf(claimsOf(behind), entries), ["MeasurementMismatch"], "the fitting entry is told");
    assert.deepEqual(reasonsOf(claimsOf(behind), [otherBoot, behind.entry]), []);
  });

  test("of which the quoted one comes with the data that its quote binds, once", () => {
    const evidence = throughTpm(DATA);
    const others = evidence.endorsements.filter(({ kind }) => kind !== "report-data");
    const data = (content: Bytes) => ({ kind: "report-data" as const, content });
    for (const [added, reason] of [
      [[], "Malformed"],
      [[data(DATA), data(DATA)], "Malformed"],
      [[data(DATA.subarray(0, 32))], "Malformed"],
      [[data(DATA.toReversed())], "NonceMismatch"],
    ] as const) {
      const changed = encodeHardwareEvidence({ ...evidence, endorsements: [...others, ...added] });
      assert.throws(() => verifyEvidence(changed, undefined, crypto, NOW_MS), rejectedFor(reason));
    }
  });

  test("of which the quoted one is refused with any byte changed, up to its certificates", () => {
    const made = behind.make(DATA);
    const end = Buffer.from(made).indexOf(Buffer.from(chain[0]?.content ?? assert.fail("no certificate")));
    assert.ok(end > 3000, "certificates come last");
    for (let at = 0; at < end; at += process.env["COCO_EVERY_OFFSET"] === undefined ? 7 : 1) {
      const changed = made.map((byte, each) => (each === at ? byte ^ (1 << (at % 8)) : byte));
      const judge = () => {
        const claims = verifyEvidence(changed, DATA, crypto, NOW_MS);
        if (claims.tee === "virtual" || isAccepted(claims.judge(behind.entry))) return;
        throw new CocoError("EvidenceRejected", "by its entry");
      };
      assert.throws(judge, { code: "EvidenceRejected" }, `byte ${at}`);
    }
  });
});

describe("one processor of Intel", () => {
  test("[R21] is one machine, for its guests and its enclaves together", () => {
    const { "a quote of SGX": sgx, "a quote of TDX": tdx } = FORMATS;
    if (sgx === undefined || tdx === undefined) throw assert.fail("formats");
    const state = stateFor(sgx);
    const recorded = { ...state, attested: attested(sgx, state, 0).attested };
    const { constitution } = state;
    const teeManifest = [sgx.entry, tdx.entry];
    const codeManifest = [codeOf(sgx), codeOf(tdx)];
    const network = { ...recorded, constitution: { ...constitution, teeManifest, codeManifest } };
    assert.equal(claimsOf(tdx).platform, "07".repeat(16));
    assert.throws(() => attested(tdx, network, 1), refusal("MachineInUse"));
    assert.equal(otherOnMachine(claimsOf(tdx), idOf(1), network, NOW_MS), idOf(0));
    // 16 bytes of 7 in the extension are the processor's id.
    const text = toHex(platformExtension()).replace("07".repeat(16), "08".repeat(16));
    const extension = new Uint8Array(Buffer.from(text, "hex"));
    const elsewhere: Format = { ...tdx, make: (data) => quoteOf("tdx-4", "tdx", data, extension) };
    assert.equal(attested(elsewhere, network, 1).attested.size, 2);
  });
});
