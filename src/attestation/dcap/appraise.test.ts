import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeEvidence, type PlatformChanges } from "../../../test/support/intel-platform.ts";
import type { DcapPolicy } from "../../core/governance/policy-dcap.ts";
import type { ReasonCode } from "../reasons.ts";
import { appraiseDcap } from "./appraise.ts";
import { refusals, refusedInEachForm, SGX_FORMS, TDX_FORMS, verified } from "./test-refusals.ts";

const ATTRIBUTES = { sgx: 48, tdx: 120 } as const;

/** Sets a bit of ATTRIBUTES or TDATTRIBUTES. */
function withBit(tee: "sgx" | "tdx", number: number): PlatformChanges {
  const at = ATTRIBUTES[tee] + (number >> 3);
  return { body: (bytes) => bytes.set([(bytes[at] as number) | (1 << (number & 7))], at) };
}

function withBytes(at: number, ...values: readonly number[]): PlatformChanges {
  return { body: (bytes) => bytes.set(values, at) };
}

/** Refused by the empty policy in every form, accepted by one that allows it. */
function needs(name: string, changes: PlatformChanges, code: ReasonCode, policy: DcapPolicy): void {
  const forms = name.includes("guest") ? TDX_FORMS : SGX_FORMS;
  refusedInEachForm(name, changes, [code], forms);
  for (const form of forms)
    test(`${form}: ${name}, where the policy allows it`, () =>
      assert.deepEqual(refusals({ form, ...changes }, policy), []));
}

describe("R1: debugging", () => {
  needs("an enclave that is debugged", withBit("sgx", 1), "DebugEnabled", { allow: ["debug"] });
  for (const number of [0, 1, 4, 7])
    needs(`a guest with bit ${number} of those for debugging`, withBit("tdx", number), "DebugEnabled", {
      allow: ["debug"],
    });
});

describe("R2: migration", () => {
  needs("a guest that may be moved", withBit("tdx", 29), "MigrationEnabled", { allow: ["migratable"] });

  test("a guest with a service guest, in any byte of its measurement", () => {
    for (const at of [600, 623, 647]) {
      const changes = { form: "tdx-5-15", ...withBytes(at, 1) } as const;
      assert.deepEqual(refusals(changes), ["MigrationEnabled"]);
      assert.deepEqual(refusals(changes, { allow: ["mrservicetd"] }), []);
      assert.deepEqual(refusals(changes, { allow: ["migratable", "debug", "no-sept-ve-disable"] }), [
        "MigrationEnabled",
      ]);
    }
  });
});

describe("attributes", () => {
  needs("a guest whose host may take pages away", withBytes(ATTRIBUTES.tdx + 3, 0), "FeatureRequired", {
    allow: ["no-sept-ve-disable"],
  });
  needs("a guest with an attribute that is not known", withBit("tdx", 40), "FeatureNotAllowed", {
    guestAttributes: "0000001000010000",
  });
  needs("a guest with an extended feature that is not known", withBytes(128 + 7, 0x80), "FeatureNotAllowed", {
    extendedFeatures: "ffffffffffffffff",
  });
  needs("an enclave that may have the provisioning key", withBit("sgx", 4), "FeatureNotAllowed", {
    enclaveAttributes: "1500000000000000",
  });
  needs("an enclave that may launch others", withBit("sgx", 5), "FeatureNotAllowed", {
    enclaveAttributes: "2500000000000000",
  });
  needs("an enclave with an extended feature that is not known", withBytes(56 + 7, 0x80), "FeatureNotAllowed", {
    extendedFeatures: "ffffffffffffffff",
  });
  refusedInEachForm("an enclave that is not initialised", withBytes(48, 4), ["FeatureRequired"], SGX_FORMS);
  refusedInEachForm("an enclave of 32 bits", withBytes(48, 1), ["FeatureRequired"], SGX_FORMS);

  test("a policy can allow less than the default", () => {
    assert.deepEqual(refusals({}, { guestAttributes: "0000000000000000" }), ["FeatureNotAllowed"]);
    assert.deepEqual(refusals({}, { extendedFeatures: "0300000000000000" }), ["FeatureNotAllowed"]);
    assert.deepEqual(refusals({ form: "sgx-3" }, { enclaveAttributes: "0100000000000000" }), ["FeatureNotAllowed"]);
  });

  test("allowing one thing allows no other", () => {
    const debug = { form: "tdx-4", ...withBit("tdx", 0) } as const;
    assert.deepEqual(refusals(debug, { allow: ["migratable", "mrservicetd", "no-sept-ve-disable"] }), ["DebugEnabled"]);
    const enclave = { form: "sgx-3", ...withBit("sgx", 1) } as const;
    assert.deepEqual(refusals(enclave, { allow: ["migratable"] }), ["DebugEnabled"]);
  });
});

describe("R25: identities", () => {
  test("MRSEAM, where the policy names modules", () => {
    const moduleMeasurements = ["00".repeat(48)];
    assert.deepEqual(refusals({}, { moduleMeasurements }), []);
    assert.deepEqual(refusals({}, { moduleMeasurements: ["01".repeat(48)] }), ["MeasurementMismatch"]);
    assert.deepEqual(refusals({}, { moduleMeasurements: [] }), ["MeasurementMismatch"]);
    assert.deepEqual(refusals({ form: "sgx-3" }, { moduleMeasurements: [] }), []);
  });

  test("signer, product and version of enclaves, where the policy names some", () => {
    const named = { signer: "5a".repeat(32), productId: 3, minVersion: 9 };
    const other = { ...named, productId: 4 };
    for (const form of SGX_FORMS) {
      assert.deepEqual(refusals({ form }, { enclaves: [other, named] }), []);
      assert.deepEqual(refusals({ form }, { enclaves: [{ ...named, minVersion: 8 }] }), []);
      for (const wrong of [other, { ...named, minVersion: 10 }, { ...named, signer: "5b".repeat(32) }])
        assert.deepEqual(refusals({ form }, { enclaves: [wrong] }), ["IdentityMismatch"]);
      assert.deepEqual(refusals({ form }, { enclaves: [] }), ["IdentityMismatch"]);
    }
  });

  test("the same claims and policy give the same checks", () => {
    const { claims } = verified(makeEvidence());
    assert.deepEqual(appraiseDcap(claims, {}), appraiseDcap(structuredClone(claims), {}));
  });
});
