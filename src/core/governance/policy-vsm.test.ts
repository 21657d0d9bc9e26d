import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { issue, makeKey } from "../../../test/support/issue-certificates.ts";
import { decodeCbor, encodeCbor } from "../codec/cbor.ts";
import { type FieldTree, readDocument, treeToCbor, treeToJson } from "./fields.ts";
import { pemOfDer } from "./pem.ts";
import { type MaaJwtPolicy, readVsmPolicy, type VbsHgsPolicy, type VsmPolicy, vsmPolicyTree } from "./policy-vsm.ts";
import { TOKEN_POLICY } from "./test-tee-policies.ts";

const root = issue({ ca: true }).der;
const pem = pemOfDer(root, "CERTIFICATE");
const publicKey = makeKey("rsa").spki;

const vbs: VbsHgsPolicy = {
  format: "vbs-hgs",
  roots: [root],
  uniqueIds: ["11".repeat(32)],
  authorIds: ["22".repeat(32), "23".repeat(32)],
  familyIds: ["33".repeat(16)],
  imageIds: ["44".repeat(16)],
  minimumEnclaveSvn: 1,
  minimumPlatformSvn: 2,
  minimumSecureKernelSvn: 3,
  allowDebug: true,
  allowSharedMachine: true,
};
const maa: MaaJwtPolicy = {
  ...TOKEN_POLICY,
  keys: [
    { keyId: "bare", publicKey },
    { keyId: "certified", certificate: root },
  ],
  attestationTypes: ["vbs", "azurevm"],
};

const readJson = (value: unknown): VsmPolicy =>
  readDocument(value, { form: "json", code: "ConstitutionInvalid" }, readVsmPolicy);
const readCbor = (value: unknown): VsmPolicy =>
  readDocument(value, { form: "cbor", code: "ConstitutionInvalid" }, readVsmPolicy);
const refused = (field: string) => ({ code: "ConstitutionInvalid", data: { field } });

describe("policies of VSM", () => {
  for (const policy of [vbs, maa])
    test(`${policy.format} is the same in both forms`, () => {
      const tree = vsmPolicyTree(policy);
      assert.deepEqual(readJson(JSON.parse(JSON.stringify(treeToJson(tree)))), policy);
      assert.deepEqual(readCbor(decodeCbor(encodeCbor(treeToCbor(tree)))), policy);
    });

  test("what JSON leaves out is the strict choice", () => {
    const none = { uniqueIds: [], authorIds: [], familyIds: [], imageIds: [] };
    const minimums = { minimumEnclaveSvn: 0, minimumPlatformSvn: 0, minimumSecureKernelSvn: 0 };
    assert.deepEqual(readJson({ format: "vbs-hgs", roots: [pem] }), {
      ...vbs,
      ...none,
      ...minimums,
      ...{ allowDebug: false, allowSharedMachine: false },
    });
    const { issuer, policyHash } = maa;
    const keys = [{ keyId: "certified", certificate: pem }];
    const read = readJson({ format: "maa-jwt", issuer, keys, policyHash, attestationTypes: ["vbs"] });
    assert.deepEqual(read, { ...maa, keys: [maa.keys[1]], attestationTypes: ["vbs"], minimumKeyBits: 2048 });
  });

  test("CBOR leaves nothing out, and neither form has anything else", () => {
    for (const policy of [vbs, maa]) {
      const tree = vsmPolicyTree(policy);
      for (const name of Object.keys(tree)) {
        const { [name]: _, ...others } = tree;
        assert.throws(() => readCbor(treeToCbor(others)), refused(name), name);
      }
      const more: FieldTree = { ...tree, more: 1 };
      assert.throws(() => readCbor(treeToCbor(more)), refused("more"));
      assert.throws(() => readJson(treeToJson(more)), refused("more"));
    }
  });

  test("refuses what would accept nothing, or more than it says", () => {
    const json = (policy: VsmPolicy, change: object) => () =>
      readJson({ ...Object(treeToJson(vsmPolicyTree(policy))), ...change });
    const cases: readonly (readonly [VsmPolicy, object, string])[] = [
      [vbs, { format: "vsm-sim" }, "format"],
      [vbs, { roots: [] }, "roots"],
      [vbs, { roots: ["none"] }, "roots[0]"],
      [vbs, { roots: Array.from({ length: 17 }, () => pem) }, "roots"],
      [vbs, { authorIds: ["22".repeat(31)] }, "authorIds[0]"],
      [vbs, { uniqueIds: ["AB".repeat(32)] }, "uniqueIds[0]"],
      [vbs, { minimumEnclaveSvn: -1 }, "minimumEnclaveSvn"],
      [vbs, { minimumSecureKernelSvn: 2 ** 32 }, "minimumSecureKernelSvn"],
      [vbs, { allowDebug: 1 }, "allowDebug"],
      [vbs, { allowSharedMachine: "yes" }, "allowSharedMachine"],
      [maa, { allowSharedMachine: true }, "allowSharedMachine"],
      [maa, { issuer: "http://test.example" }, "issuer"],
      [maa, { issuer: "https://test.example/" }, "issuer"],
      [maa, { issuer: "https://Test.example" }, "issuer"],
      [maa, { keys: [] }, "keys"],
      [
        maa,
        {
          keys: [
            { keyId: "a", publicKey: "00" },
            { keyId: "a", publicKey: "00" },
          ],
        },
        "keys",
      ],
      [maa, { keys: [{ keyId: "a" }] }, "keys[0].publicKey"],
      [maa, { keys: [{ keyId: "a", publicKey: "00", certificate: pem }] }, "keys[0].publicKey"],
      [maa, { policyHash: "ab" }, "policyHash"],
      [maa, { attestationTypes: [] }, "attestationTypes"],
      [maa, { attestationTypes: ["vbs", "vbs"] }, "attestationTypes"],
      [maa, { attestationTypes: ["tpm"] }, "attestationTypes[0]"],
      [maa, { minimumKeyBits: 1024 }, "minimumKeyBits"],
    ];
    for (const [policy, change, field] of cases)
      assert.throws(json(policy, change), refused(field), JSON.stringify(change).slice(0, 80));
  });
});
