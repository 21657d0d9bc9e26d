import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { readDocument, treeToCbor, treeToJson } from "./fields.ts";
import {
  allowingSnp,
  type PcrValues,
  readSnpPolicy,
  snpPolicyTree,
  type SnpPolicy,
  STRICT_SNP_POLICY,
} from "./policy-snp.ts";

const FULL: SnpPolicy = {
  products: ["Genoa", "Turin"],
  minimumTcb: [
    { cpuid: "00a00f11", tcb: "d315000000000004" },
    { cpuid: "00a10f11", tcb: "541700000000000a" },
  ],
  allow: ["vlek", "vmpl1"],
  require: ["alias-check", "no-smt"],
  idKeyDigests: ["01".repeat(48)],
  authorKeyDigests: ["02".repeat(48)],
  familyId: "03".repeat(16),
  imageId: "04".repeat(16),
  hostData: ["05".repeat(32)],
  uvm: [{ did: "did:x509:0:sha256:abc::eku:1.2.3", feed: "UVM", minSvn: 100 }],
  pcrs: { 4: "06".repeat(32), 11: "07".repeat(32) },
};

const fromJson = (value: unknown): SnpPolicy =>
  readDocument(value, { form: "json", code: "ConfigurationInvalid" }, readSnpPolicy);
const fromCbor = (value: unknown): SnpPolicy =>
  readDocument(value, { form: "cbor", code: "ConstitutionInvalid" }, readSnpPolicy);

test("a policy for SNP is read as it was written, in both forms", () => {
  for (const policy of [FULL, STRICT_SNP_POLICY]) {
    assert.deepEqual(fromCbor(decodeCbor(encodeCbor(treeToCbor(snpPolicyTree(policy))))), policy);
    assert.deepEqual(fromJson(JSON.parse(JSON.stringify(treeToJson(snpPolicyTree(policy))))), policy);
  }
});

test("what JSON leaves out is strict, and CBOR leaves nothing out", () => {
  assert.deepEqual(fromJson({}), STRICT_SNP_POLICY);
  assert.deepEqual(fromJson({ allow: ["v2"] }), { ...STRICT_SNP_POLICY, allow: ["v2"] });
  assert.throws(() => fromCbor(new Map()), { code: "ConstitutionInvalid" });
});

test("registers of a TPM have one encoding, in the order of their numbers, and a policy without them is written as before", () => {
  const encode = (pcrs: PcrValues) => encodeCbor(treeToCbor(snpPolicyTree({ ...FULL, pcrs })));
  const [four, ten] = ["06".repeat(32), "07".repeat(32)];
  assert.deepEqual(encode({ 10: ten, 4: four }), encode({ 4: four, 10: ten }));
  const json = JSON.stringify(treeToJson(snpPolicyTree({ ...FULL, pcrs: { 10: ten, 4: four } })));
  assert.ok(json.endsWith(`"pcrs":{"4":"${four}","10":"${ten}"}}`), json);
  assert.ok(!("pcrs" in (treeToJson(snpPolicyTree(STRICT_SNP_POLICY)) as object)));
  assert.throws(() => fromCbor(new Map([["pcrs", new Map([[4, four]])]])), { code: "ConstitutionInvalid" });
});

test("unknown fields and names, repetitions and other lengths are refused, by name", () => {
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ more: 1 }, "more"],
    [{ allow: ["everything"] }, "allow[0]"],
    [{ allow: ["v2", "v2"] }, "allow"],
    [{ allow: "v2" }, "allow"],
    [{ require: ["smt"] }, "require[0]"],
    [{ products: ["Milan-B0"] }, "products[0]"],
    [{ idKeyDigests: ["00"] }, "idKeyDigests[0]"],
    [{ hostData: ["AB".repeat(32)] }, "hostData[0]"],
    [{ familyId: "00" }, "familyId"],
    [{ minimumTcb: [{ cpuid: "a00f11", tcb: "00".repeat(8) }] }, "minimumTcb[0].cpuid"],
    [{ minimumTcb: [{ cpuid: "00a00f11", tcb: "00" }] }, "minimumTcb[0].tcb"],
    [{ minimumTcb: [...FULL.minimumTcb, ...FULL.minimumTcb] }, "minimumTcb"],
    [{ uvm: [{ did: "did:web:x", feed: "f", minSvn: 1 }] }, "uvm[0].did"],
    [{ uvm: [{ did: "did:x509:x", feed: "f", minSvn: "1" }] }, "uvm[0].minSvn"],
    [{ uvm: [...FULL.uvm, ...FULL.uvm] }, "uvm"],
    [{ pcrs: {} }, "pcrs"],
    [{ pcrs: ["06".repeat(32)] }, "pcrs"],
    [{ pcrs: { 16: "06".repeat(32) } }, "pcrs.16"],
    [{ pcrs: { "04": "06".repeat(32) } }, "pcrs.04"],
    [{ pcrs: { "-1": "06".repeat(32) } }, "pcrs.-1"],
    [{ pcrs: { 4: "06" } }, "pcrs.4"],
    [{ pcrs: { 4: "AB".repeat(32) } }, "pcrs.4"],
  ];
  for (const [document, field] of cases)
    assert.throws(
      () => fromJson(document),
      { code: "ConfigurationInvalid", data: { field } },
      JSON.stringify(document),
    );
});

test("names from outside open a policy, when all of them are known", () => {
  assert.deepEqual(allowingSnp(STRICT_SNP_POLICY, ["vlek", "v2"])?.allow, ["v2", "vlek"]);
  assert.deepEqual(allowingSnp(FULL, ["vlek"])?.allow, ["vlek", "vmpl1"]);
  assert.deepEqual(allowingSnp(STRICT_SNP_POLICY, []), STRICT_SNP_POLICY);
  assert.equal(allowingSnp(STRICT_SNP_POLICY, ["v2", "everything"]), undefined);
});
