import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { toBase64 } from "../../core/codec/base64.ts";
import type { MaaJwtPolicy } from "../../core/governance/policy-vsm.ts";
import { commonClaims, guestClaims, IDS, type JsonObject, sgxClaims, vbsClaims } from "../vsm/test-vsm-evidence.ts";
import { reasonsOf } from "../checks.ts";
import { appraiseMaa } from "./appraise.ts";
import { attacker, keyId, guestPolicy, judged, token, verify } from "./test-tokens.ts";

describe("appraisal of tokens", () => {
  const bound = new Uint8Array(64).fill(9);
  const vbs = (more: JsonObject = {}) => ({ ...commonClaims("vbs"), ...vbsClaims(more) });
  const sgx = (more: JsonObject = {}) => ({ ...commonClaims("sgx"), ...sgxClaims(more) });
  const snp = (more: JsonObject = {}) => ({ ...commonClaims("sevsnpvm"), ...guestClaims(more) });
  const azure = (inner: JsonObject = {}, outer: JsonObject = {}) => ({
    ...commonClaims("azurevm", {
      "x-ms-azurevm-bootdebug-enabled": false,
      "x-ms-azurevm-kerneldebug-enabled": false,
      "x-ms-azurevm-hypervisordebug-enabled": false,
      "x-ms-runtime": { "client-payload": { nonce: toBase64(bound) } },
    }),
    ...outer,
    "x-ms-isolation-tee": {
      "x-ms-attestation-type": "sevsnpvm",
      "x-ms-compliance-status": "azure-compliant-cvm",
      ...guestClaims(),
      ...inner,
    },
  });

  test("accepts what a policy names", () => {
    const expected = (measurement: string) => ({ reportData: bound, measurements: [measurement] });
    assert.deepEqual(judged(vbs(), {}, expected("00")), []);
    assert.deepEqual(judged(sgx(), { imageIds: [] }, expected("cc".repeat(32))), []);
    assert.deepEqual(judged(snp(), guestPolicy, expected("aa".repeat(48))), []);
    assert.deepEqual(judged(azure(), guestPolicy, expected("aa".repeat(48))), []);
  });

  test("R6, R14, R17: rejects another issuer, policy, key, kind or host data than the policy's", () => {
    assert.deepEqual(judged(snp(), { ...guestPolicy, issuer: "https://other.example" }), ["IssuerNotTrusted"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, policyHash: "00".repeat(32) }), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, hostData: ["00".repeat(31) + "01"] }), ["HostDataMismatch"]);
    assert.deepEqual(judged({ ...snp(), "x-ms-policy-hash": undefined }, guestPolicy), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged({ ...snp(), "x-ms-policy-hash": "AA" }, guestPolicy), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, attestationTypes: ["azurevm", "sgx"] }), ["TokenPolicyMismatch"]);
    const others = [{ keyId, publicKey: attacker.spki }];
    assert.deepEqual(judged(snp(), { ...guestPolicy, keys: others }), ["IssuerNotTrusted"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, minimumKeyBits: 3072 }), ["AlgorithmNotAllowed"]);
  });

  test("R17: says of a token without a key that it is not trusted, and nothing of a key's length", () => {
    const { claims, checks } = verify(token(snp()), []);
    assert.deepEqual(reasonsOf(checks), ["TokenInvalid"]);
    assert.deepEqual(reasonsOf(appraiseMaa(claims, guestPolicy)), ["IssuerNotTrusted"]);
  });

  test("claims a measurement of each kind; of a VBS enclave its image", () => {
    const measurementOf = (payload: JsonObject) => verify(token(payload)).claims.measurement;
    assert.equal(measurementOf(snp()), "aa".repeat(48));
    assert.equal(measurementOf(azure()), "aa".repeat(48));
    assert.equal(measurementOf(sgx()), "cc".repeat(32));
    assert.equal(measurementOf(vbs()), IDS.imageId.repeat(16));
  });

  test("R1: rejects debugging unless the policy allows it", () => {
    const cases: readonly (readonly [JsonObject, Partial<MaaJwtPolicy>])[] = [
      [snp({ "is-debuggable": true }), guestPolicy],
      [sgx({ "is-debuggable": true }), { imageIds: [] }],
      [vbs({ enclaveFlags: 1 }), {}],
      [azure({ "x-ms-sevsnpvm-is-debuggable": true }), guestPolicy],
      [azure({}, { "x-ms-azurevm-kerneldebug-enabled": true }), guestPolicy],
      [azure({}, { "x-ms-azurevm-bootdebug-enabled": undefined }), guestPolicy],
    ];
    for (const [payload, change] of cases) {
      assert.deepEqual(judged(payload, change), ["DebugEnabled"]);
      assert.deepEqual(judged(payload, { ...change, allowDebug: true }), []);
    }
  });

  test("R2, R3: rejects guests that may be moved, or are not at the highest level", () => {
    assert.deepEqual(judged(snp({ "migration-allowed": true }), guestPolicy), ["MigrationEnabled"]);
    for (const vmpl of [1, 2, 3, 4, 0xffffffff])
      assert.deepEqual(judged(snp({ vmpl }), guestPolicy), ["PrivilegeLevel"]);
    for (const status of ["none", undefined])
      assert.deepEqual(judged(azure({ "x-ms-compliance-status": status }), guestPolicy), ["FeatureRequired"]);
  });

  test("rejects VBS enclaves on machines whose security is not shown", () => {
    for (const name of ["aikValidated", "secureBootEnabled", "bootDebuggingDisabled", "vbsEnabled", "vbsReportPresent"])
      for (const value of [false, undefined, 1, "true"])
        assert.deepEqual(judged(vbs({ [name]: value })), ["FeatureRequired"], name);
  });

  test("R5, R25: rejects other identities and lower versions than the policy names", () => {
    for (const name of ["authorIds", "imageIds", "familyIds"] as const) {
      const other = ["00".repeat(name === "authorIds" ? 32 : 16)];
      assert.deepEqual(judged(vbs(), { [name]: other }), ["IdentityMismatch"], name);
    }
    for (const name of ["authorIds", "imageIds"] as const)
      assert.deepEqual(judged(vbs(), { [name]: [] }), ["IdentityMismatch"], "a VBS enclave has to be named");
    assert.deepEqual(judged(vbs(), { minimumEnclaveSvn: 6 }), ["TcbTooOld"]);
    assert.deepEqual(judged(vbs(), { minimumPlatformSvn: 8 }), ["TcbTooOld"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, minimumPlatformSvn: 1 }), ["TcbTooOld"]);
    assert.deepEqual(judged(sgx(), { imageIds: [], authorIds: ["00".repeat(32)] }), ["IdentityMismatch"]);
    assert.deepEqual(judged(snp(), guestPolicy, { measurements: ["00".repeat(48)] }), ["MeasurementMismatch"]);
  });

  test("R13: binds report data whole", () => {
    const other = Uint8Array.from(bound);
    other[63] = 0;
    for (const reportData of [other, bound.subarray(0, 32), bound.subarray(0, 63)]) {
      const mismatch = ["ReportDataMismatch"];
      assert.deepEqual(judged(vbs(), {}, { reportData }), mismatch);
      assert.deepEqual(judged(sgx(), { imageIds: [] }, { reportData }), mismatch);
      assert.deepEqual(judged(snp(), guestPolicy, { reportData }), mismatch);
      assert.deepEqual(judged(azure(), guestPolicy, { reportData }), mismatch);
    }
    assert.deepEqual(judged(vbs({ rp_data: undefined }), {}, { reportData: bound }), ["ReportDataMismatch"]);
    assert.deepEqual(judged(sgx({ "report-data": undefined }), { imageIds: [] }, { reportData: bound }), [
      "ReportDataMismatch",
    ]);
    const noNonce = azure({}, { "x-ms-runtime": {} });
    assert.deepEqual(judged(noNonce, guestPolicy, { reportData: bound }), ["ReportDataMismatch"]);
  });
});
