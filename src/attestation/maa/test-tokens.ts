/** Test support: tokens by a key that a policy pins, and what is found against them. */
import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { makeKey, NOW_MS, type TestKey } from "../../../test/support/issue-certificates.ts";
import { toHex, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import type { MaaJwtPolicy } from "../../core/governance/policy-vsm.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import type { Expected } from "../bound-data.ts";
import { reasonsOf, type Verification } from "../checks.ts";
import { appraiseMaa } from "./appraise.ts";
import { pinnedKeys, type TokenKey } from "./keys.ts";
import { type MaaClaims, verifyMaa } from "./verify.ts";
import {
  commonClaims,
  guestClaims,
  IDS,
  ISSUER,
  type JsonObject,
  makeToken,
  POLICY_HASH,
  rs256,
} from "../vsm/test-vsm-evidence.ts";

export const crypto = createAttestationCrypto();
/** Of the issuer. */
export const key = makeKey("rsa");
export const attacker = makeKey("rsa");
export const keyId = "test key";
export const keys = pinnedKeys([{ keyId, publicKey: key.spki }]);
/** What tokens of the issuer say of themselves. */
export const HEADER = { alg: "RS256", jku: `${ISSUER}/certs`, kid: keyId, typ: "JWT" };
/** Names the issuer, its key and the enclave of made tokens. */
export const policy: MaaJwtPolicy = {
  format: "maa-jwt",
  issuer: ISSUER,
  keys: [{ keyId, publicKey: key.spki }],
  policyHash: toHex(POLICY_HASH),
  hostData: [],
  attestationTypes: ["sevsnpvm", "azurevm", "sgx", "vbs"],
  minimumKeyBits: 2048,
  authorIds: [IDS.authorId.repeat(32)],
  familyIds: [],
  imageIds: [IDS.imageId.repeat(16)],
  minimumEnclaveSvn: 0,
  minimumPlatformSvn: 0,
  allowDebug: false,
};
/** The same without an enclave, for guests. */
export const guestPolicy: MaaJwtPolicy = { ...policy, authorIds: [], imageIds: [] };
/** Claims of a token about a guest. */
export const guest = { ...commonClaims("sevsnpvm"), ...guestClaims() };

/** A token of the issuer, unless it says otherwise. */
export function token(
  payload: JsonObject | string,
  header: JsonObject = HEADER,
  signer = rs256(key.privateKey),
): string {
  return makeToken(header, payload, signer);
}

/** Verifies by the issuer's key. */
export function verify(text: string, accepted: readonly TokenKey[] = keys, nowMs = NOW_MS): Verification<MaaClaims> {
  return verifyMaa({ token: text }, { nowMs, keys: accepted }, crypto);
}

/** Reasons against a token; `Malformed` when it cannot be read. */
export function reasonsAgainst(text: string, accepted = keys, nowMs = NOW_MS): readonly string[] {
  try {
    return reasonsOf(verify(text, accepted, nowMs).checks);
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
    return ["Malformed"];
  }
}

/** Reasons of appraisal against a token that verifies. */
export function judged(payload: JsonObject, change: Partial<MaaJwtPolicy> = {}, expected: Expected = {}) {
  const { claims, checks } = verify(token(payload));
  assert.deepEqual(reasonsOf(checks), []);
  return reasonsOf(appraiseMaa(claims, { ...policy, ...change }, expected));
}

/** A key set of one RSA key. */
export function keySet(fields: JsonObject): Bytes {
  return utf8Encode(JSON.stringify({ keys: [{ kty: "RSA", kid: keyId, ...fields }] }));
}

/** Modulus and exponent of a key. */
export function numbersOf({ spki }: TestKey): JsonObject {
  const { n, e } = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }).export({ format: "jwk" });
  return { n, e };
}
