import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { describe, test } from "node:test";
import { missingTeeVectors, teeJson, teeText, teeVector } from "../../../test/support/tee-vectors.ts";
import { fromBase64, fromBase64Url } from "../../core/codec/base64.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import { isAccepted, reasonsOf } from "../checks.ts";
import { appraiseUvm, MICROSOFT_UVM_ISSUERS } from "./appraise.ts";
import { resolveDidX509 } from "./did-x509.ts";
import { verifyUvm } from "./verify.ts";

/** A test of the method's own suite. */
interface DidVector {
  readonly id: string;
  readonly input: { readonly did: string; readonly chain: readonly string[] };
  readonly output: {
    readonly error?: string;
    readonly document?: {
      readonly verificationMethod: readonly { readonly publicKeyJwk: Readonly<Record<string, string>> }[];
      readonly assertionMethod?: readonly string[];
      readonly keyAgreement?: readonly string[];
    };
  };
}

const crypto = createAttestationCrypto();
const FILE = "uvm-did/did-x509-test-vectors.json";
const CONTAINERS = MICROSOFT_UVM_ISSUERS[0]?.did;
const KATA = MICROSOFT_UVM_ISSUERS[1]?.did;

describe("did:x509, the method's own vectors", { skip: missingTeeVectors(FILE) }, () => {
  const vectors = missingTeeVectors(FILE) === false ? teeJson<readonly DidVector[]>(FILE) : [];

  test("there are as many as there were", () => assert.equal(vectors.length, 58));

  for (const { id, input, output } of vectors) {
    test(id, () => {
      const resolved = resolveDidX509(input.did, input.chain.map(fromBase64Url), crypto);
      if (output.document === undefined) {
        assert.ok("problem" in resolved, output.error);
        return;
      }
      assert.ok(!("problem" in resolved), "problem" in resolved ? resolved.problem : "");
      assert.equal(resolved.maySign, output.document.assertionMethod !== undefined);
      assert.equal(resolved.mayAgree, output.document.keyAgreement !== undefined);
      const key = createPublicKey({ key: Buffer.from(resolved.leaf.publicKey), format: "der", type: "spki" });
      assert.deepEqual(key.export({ format: "jwk" }), output.document.verificationMethod[0]?.publicKeyJwk);
    });
  }
});

const ENDORSEMENTS = [
  {
    file: "uvm-did/rsa_test1.cose",
    issuer: CONTAINERS,
    feed: "ContainerPlat-AMD-UVM",
    svn: 100,
    measurement: "02c3b0d5bf1d256fa4e3b5deefc07b55ff2f7029085ed350f60959140a1a51f1310753ba5ab2c03a0536b1c0c193af47",
  },
  {
    file: "uvm-did/ecdsa_test1.cose",
    issuer: KATA,
    feed: "ConfAKS-AMD-UVM",
    svn: 1,
    measurement: "1b66347ceafca663690ff17ed2144b8acdee661edc5d28e69a7c85dde7ba0c3a6f9862096e8b38da7aa622ddeed75c37",
  },
  {
    file: "uvm-did/int_svn.cose",
    issuer: CONTAINERS,
    feed: "ContainerPlat-AMD-UVM",
    svn: 102,
    measurement: "d0c9e2be22046e60779be88868cff64c2aa22047c15d3127ba495cee3fbc2854c5633f9da2096e6c64ae2b69bbff8082",
  },
  {
    file: "snp/sidecar/attest/body.uvm_reference_info.bin",
    issuer: CONTAINERS,
    feed: "ContainerPlat-AMD-UVM",
    svn: 22,
    measurement: "51068107cdc7ee3d89c7821b05bca6147eb77b2005ae759050fc049b65a1b0beabc65a9d857acecf23225f5ec76849f5",
  },
  {
    file: "snp/sidecar/security-context/reference-info-base64",
    issuer: CONTAINERS,
    feed: "ContainerPlat-AMD-UVM",
    svn: 100,
    measurement: "03fea02823189b25d0623a5c81f97c8ba4d2fbc48c914a55ce525f90454ddcec303743dac2fc013f0846912d1412f6df",
  },
];

function endorsementOf(file: string): Bytes {
  return file.endsWith("base64") ? fromBase64(teeText(file).trim()) : teeVector(file);
}

describe("real endorsements of utility VMs", { skip: missingTeeVectors("uvm-did") }, () => {
  for (const { file, ...expected } of ENDORSEMENTS) {
    test(`${file} verifies with exactly the expected claims`, () => {
      const { claims, checks } = verifyUvm(endorsementOf(file), crypto);
      assert.deepEqual(reasonsOf(checks), []);
      const { signedAtMs = 0, ...rest } = claims;
      assert.deepEqual(rest, expected);
      assert.ok(signedAtMs > Date.UTC(2023, 0) && signedAtMs < Date.UTC(2026, 0));
      assert.ok(isAccepted(appraiseUvm(claims, MICROSOFT_UVM_ISSUERS)));
    });
  }

  test("an endorsement with any byte under its signature changed is refused", () => {
    const genuine = endorsementOf("uvm-did/int_svn.cose");
    const accepted: number[] = [];
    for (let at = 0; at < genuine.length; at += 13) {
      const changed = Uint8Array.from(genuine);
      changed[at] = (genuine[at] as number) ^ (1 << (at % 8));
      try {
        if (isAccepted(verifyUvm(changed, crypto).checks)) accepted.push(at);
      } catch (error) {
        assert.ok(error instanceof CocoError && error.code === "EvidenceRejected", String(error));
      }
    }
    // The countersignature of a time stamp is outside of the signature, and nothing is taken from it.
    const stamp = Buffer.from(genuine).indexOf("timestamp");
    assert.ok(
      accepted.length > 0 && accepted.every((at) => at >= stamp && at < stamp + 9 + 3 + 5193),
      String(accepted),
    );
  });

  test("cut off anywhere it cannot be read", () => {
    const genuine = endorsementOf("uvm-did/int_svn.cose");
    for (let length = 0; length < genuine.length; length += 1)
      assert.throws(() => verifyUvm(genuine.subarray(0, length), crypto), { code: "EvidenceRejected" });
  });
});
