import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { readDocument, treeToCbor, treeToJson, type FieldContext } from "./fields.ts";
import {
  allowingDcap,
  DCAP_ALLOWANCES,
  dcapPolicyTree,
  MAX_EVALUATION_NUMBER,
  readDcapPolicy,
  TCB_STATUSES,
  type DcapPolicy,
} from "./policy-dcap.ts";

const JSON_FORM: FieldContext = { form: "json", code: "ConfigurationInvalid" };
const CBOR_FORM: FieldContext = { form: "cbor", code: "ConfigurationInvalid" };

const FULL: DcapPolicy = {
  statuses: ["UpToDate", "SWHardeningNeeded", "TDRelaunchAdvised"],
  advisories: ["INTEL-SA-00615"],
  minEvaluationNumber: 17,
  allow: [...DCAP_ALLOWANCES],
  enclaveAttributes: "0500000000000000",
  guestAttributes: "0000001000000000",
  extendedFeatures: "e702060000000000",
  moduleMeasurements: ["ab".repeat(48)],
  enclaves: [{ signer: "cd".repeat(32), productId: 1, minVersion: 2 }],
};

const fromJson = (value: unknown) => readDocument(value, JSON_FORM, readDcapPolicy);

test("a policy is read as it is written, in both forms", () => {
  for (const policy of [{}, FULL, { statuses: [] }, { minEvaluationNumber: MAX_EVALUATION_NUMBER }] as DcapPolicy[]) {
    const tree = dcapPolicyTree(policy);
    assert.deepEqual(fromJson(JSON.parse(JSON.stringify(treeToJson(tree)))), policy);
    const cbor = encodeCbor(treeToCbor(tree));
    assert.deepEqual(readDocument(decodeCbor(cbor), CBOR_FORM, readDcapPolicy), policy);
  }
});

test("what a policy does not know, or says twice, is refused by the name of its field", () => {
  const wrong: readonly (readonly [string, unknown])[] = [
    ["more", 1],
    ["statuses", "UpToDate"],
    ["statuses", ["Fine"]],
    ["statuses", ["Revoked"]],
    ["statuses", ["UpToDate", "UpToDate"]],
    ["advisories", ["INTEL-SA-1"]],
    ["advisories", [1]],
    ["allow", ["everything"]],
    ["allow", new Array<string>(300).fill("debug")],
    ["minEvaluationNumber", -1],
    ["minEvaluationNumber", MAX_EVALUATION_NUMBER + 1],
    ["minEvaluationNumber", "17"],
    ["enclaveAttributes", "05"],
    ["guestAttributes", "000000100000000000"],
    ["extendedFeatures", "E702060000000000"],
    ["moduleMeasurements", ["ab".repeat(47)]],
    ["moduleMeasurements", [{}]],
    ["enclaves", [{ signer: "cd".repeat(32), productId: 1 }]],
    ["enclaves", [{ signer: "cd".repeat(32), productId: 65536, minVersion: 0 }]],
  ];
  for (const [name, value] of wrong)
    assert.throws(
      () => fromJson({ [name]: value }),
      (error: unknown) => String((error as { data?: { field?: string } }).data?.field).startsWith(name),
      `${name}: ${JSON.stringify(value).slice(0, 60)}`,
    );
});

test("names of statuses and allowances widen a policy, other names do not", () => {
  const widened = allowingDcap({}, ["OutOfDate", "debug"]);
  assert.deepEqual(widened, { statuses: ["UpToDate", "OutOfDate"], allow: ["debug"] });
  assert.deepEqual(allowingDcap(FULL, ["debug"])?.allow, FULL.allow);
  for (const name of ["", "Revoked", "vlek", "Debug"]) assert.equal(allowingDcap({}, [name]), undefined, name);
  const all = TCB_STATUSES.filter((status) => status !== "Revoked");
  assert.deepEqual([...(allowingDcap({}, all)?.statuses ?? [])].sort(), [...all].sort());
});
