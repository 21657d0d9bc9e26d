import assert from "node:assert/strict";
import { constants, createHmac, createPublicKey, sign, X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import { issue, makeKey, NOW_MS, type TestKey } from "../../../test/support/issue-certificates.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { fromHex, toHex, utf8Decode, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import type { MaaJwtPolicy, TokenTee } from "../../core/governance/policy-vsm.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import type { Expected } from "../bound-data.ts";
import { reasonsOf, type Verification } from "../checks.ts";
import {
  commonClaims,
  extensionWithPem,
  guestClaims,
  IDS,
  ISSUER,
  type JsonObject,
  makeToken,
  mutate,
  POLICY_HASH,
  rs256,
  seededChoices,
  sgxClaims,
  TOKEN_TIME,
  vbsClaims,
} from "../vsm/test-vsm-evidence.ts";
import { missingTee, teeVector } from "../vsm/test-vsm-vectors.ts";
import { appraiseMaa } from "./appraise.ts";
import { pinnedKeys, readKeySet, type TokenKey } from "./keys.ts";
import { MAX_TOKEN_LENGTH, parseToken } from "./token.ts";
import { type MaaClaims, verifyMaa } from "./verify.ts";

const crypto = createAttestationCrypto();
const key = makeKey("rsa");
const attacker = makeKey("rsa");
const keyId = "test key";
const keys = pinnedKeys([{ keyId, publicKey: key.spki }]);
const HEADER = { alg: "RS256", jku: `${ISSUER}/certs`, kid: keyId, typ: "JWT" };
const policy: MaaJwtPolicy = {
  format: "maa-jwt",
  issuer: ISSUER,
  keys: [{ keyId, publicKey: key.spki }],
  policyHash: toHex(POLICY_HASH),
  attestationTypes: ["sevsnpvm", "azurevm", "sgx", "vbs"],
  minimumKeyBits: 2048,
  authorIds: [IDS.authorId.repeat(32)],
  familyIds: [],
  imageIds: [IDS.imageId.repeat(16)],
  minimumEnclaveSvn: 0,
  minimumPlatformSvn: 0,
  allowDebug: false,
};
const guestPolicy: MaaJwtPolicy = { ...policy, authorIds: [], imageIds: [] };
const guest = { ...commonClaims("sevsnpvm"), ...guestClaims() };

function token(payload: JsonObject | string, header: JsonObject = HEADER, signer = rs256(key.privateKey)): string {
  return makeToken(header, payload, signer);
}

function verify(text: string, accepted: readonly TokenKey[] = keys, nowMs = NOW_MS): Verification<MaaClaims> {
  return verifyMaa({ token: text }, { nowMs, keys: accepted }, crypto);
}

function reasonsAgainst(text: string, accepted = keys, nowMs = NOW_MS): readonly string[] {
  try {
    return reasonsOf(verify(text, accepted, nowMs).checks);
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
    return ["Malformed"];
  }
}

/** Reasons of appraisal against a token that verifies. */
function judged(payload: JsonObject, change: Partial<MaaJwtPolicy> = {}, expected: Expected = {}) {
  const { claims, checks } = verify(token(payload));
  assert.deepEqual(reasonsOf(checks), []);
  return reasonsOf(appraiseMaa(claims, { ...policy, ...change }, expected));
}

/** A key set of one RSA key. */
function keySet(fields: JsonObject): Bytes {
  return utf8Encode(JSON.stringify({ keys: [{ kty: "RSA", kid: keyId, ...fields }] }));
}

function numbersOf({ spki }: TestKey): JsonObject {
  const { n, e } = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }).export({ format: "jwk" });
  return { n, e };
}

describe("a real token about a confidential machine of Azure", {
  skip: missingTee("vbs-maa/maa-azurevm-sevsnpvm"),
}, () => {
  const file = (name: string): Bytes => teeVector(`vbs-maa/maa-azurevm-sevsnpvm/${name}`);
  const atMs = Date.UTC(2022, 8, 7, 22);
  const jwks = (): Bytes => file("jwks.json");
  const real = (): string => utf8Decode(file("token.jwt"));
  const verifyReal = (text: string, nowMs = atMs) => verifyMaa({ token: text, jwks: jwks() }, { nowMs }, crypto);

  function realPolicy(): MaaJwtPolicy {
    const [pinned] = readKeySet(jwks());
    assert.ok(pinned !== undefined);
    return {
      ...guestPolicy,
      issuer: "https://sharedwus.wus.attest.azure.net",
      keys: [pinned],
      policyHash: "c26f661e5bd353cd9ef14aa83b2d588f51414523647def7dfbaf48603abd796b",
      attestationTypes: ["azurevm"],
    };
  }

  test("is accepted at its time, and claims what it is about", () => {
    const { claims, checks } = verifyReal(real());
    assert.deepEqual(reasonsOf(checks), []);
    assert.equal(claims.issuer, "https://sharedwus.wus.attest.azure.net");
    assert.equal(claims.attestationType, "azurevm");
    assert.equal(claims.key?.bits, 2048);
    assert.equal(
      claims.measurement,
      "ad6de16ac59ee52351c6038df58d1be5aeaf41cd0f7c81b2279ecca0df6ef43a2b69d663ad6973d6dbb9db0ffd7a9023",
    );
    assert.equal(
      claims.reportData,
      `09582323ae7edaa31fe76b4965b21d4c982e1e1a3b73c5b46a9a590b38ce7c01${"00".repeat(32)}`,
    );
    assert.equal(claims.hostData, "00".repeat(32));
    assert.deepEqual(claims.machine, { debugging: [], nonce: toHex(utf8Encode("1234")) });
    assert.equal(claims.subject?.type === "sevsnpvm" && claims.subject.isDebuggable, false);
    assert.deepEqual(
      [claims.notBeforeMs, claims.expiresMs],
      [Date.UTC(2022, 8, 7, 21, 4, 47), Date.UTC(2022, 8, 8, 5, 4, 47)],
    );
    assert.deepEqual(reasonsOf(appraiseMaa(claims, realPolicy())), []);
  });

  test("is rejected at other times", () => {
    const [begin, end] = [Date.UTC(2022, 8, 7, 21, 4, 47), Date.UTC(2022, 8, 8, 5, 4, 47)];
    for (const nowMs of [begin, end - 1]) assert.deepEqual(reasonsOf(verifyReal(real(), nowMs).checks), []);
    for (const nowMs of [begin - 1, end, NOW_MS])
      assert.deepEqual(reasonsOf(verifyReal(real(), nowMs).checks), ["TokenExpired"]);
  });

  test("R17: a policy token of another issuer is no evidence", () => {
    const text = utf8Decode(file("policy-update-token.jwt"));
    const { claims, checks } = verifyReal(text, Date.UTC(2022, 9, 7, 14));
    assert.deepEqual(reasonsOf(checks), ["TokenPolicyMismatch"]);
    const reasons = reasonsOf(appraiseMaa(claims, realPolicy()));
    assert.deepEqual(reasons, ["IssuerNotTrusted", "TokenPolicyMismatch"]);
  });

  test("is rejected by a policy that pins anything else", () => {
    const { claims } = verifyReal(real());
    const reasons = (change: Partial<MaaJwtPolicy>) => reasonsOf(appraiseMaa(claims, { ...realPolicy(), ...change }));
    assert.deepEqual(reasons({ issuer: ISSUER }), ["IssuerNotTrusted"]);
    assert.deepEqual(reasons({ keys: policy.keys }), ["IssuerNotTrusted"]);
    assert.deepEqual(reasons({ policyHash: policy.policyHash }), ["TokenPolicyMismatch"]);
    assert.deepEqual(reasons({ attestationTypes: ["sevsnpvm", "sgx", "vbs"] }), ["TokenPolicyMismatch"]);
    assert.deepEqual(reasons({ minimumKeyBits: 3072 }), ["AlgorithmNotAllowed"]);
  });

  test("is rejected with any character changed, and cut anywhere", () => {
    const text = real();
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    for (let at = 0; at < text.length; at++) {
      const other = alphabet[(alphabet.indexOf(text.charAt(at)) + 1 + (at % 64)) % alphabet.length] as string;
      for (const changed of [text.slice(0, at) + other + text.slice(at + 1), text.slice(0, at)]) {
        let reasons: readonly string[];
        try {
          reasons = reasonsOf(verifyReal(changed).checks);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code === "MalformedInput", String(error));
          continue;
        }
        assert.notDeepEqual(reasons, [], `character ${at}`);
      }
    }
  });
});

describe("verification of tokens", () => {
  test("accepts RS256 and PS256 about each kind of TEE", () => {
    const isolated = { "x-ms-isolation-tee": { "x-ms-attestation-type": "sevsnpvm", ...guestClaims() } };
    const kinds: Readonly<Record<TokenTee, JsonObject>> = {
      sevsnpvm: guestClaims(),
      azurevm: isolated,
      sgx: sgxClaims(),
      vbs: vbsClaims(),
    };
    const ps256 = (data: Bytes): Bytes =>
      new Uint8Array(
        sign("sha256", data, { key: key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
      );
    for (const [type, claims] of Object.entries(kinds)) {
      const payload = { ...commonClaims(type), ...claims };
      assert.deepEqual(reasonsAgainst(token(payload)), [], type);
      assert.deepEqual(reasonsAgainst(token(payload, { ...HEADER, alg: "PS256" }, ps256)), [], type);
      assert.deepEqual(reasonsAgainst(token(payload, { ...HEADER, alg: "PS256" })), ["TokenInvalid"]);
    }
  });

  test("R17: rejects a token without a signature", () => {
    const none = (): Bytes => new Uint8Array(0);
    for (const alg of ["none", "None", "NONE", ""])
      assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, alg }, none)), ["AlgorithmNotAllowed"], alg);
    assert.deepEqual(reasonsAgainst(token(guest, HEADER, none)), ["TokenInvalid"]);
    const { alg: _, ...header } = HEADER;
    assert.deepEqual(reasonsAgainst(token(guest, header)), ["AlgorithmNotAllowed"]);
  });

  test("R17: rejects a token whose secret is the public key", () => {
    for (const secret of [key.spki, utf8Encode(pemOfDer(key.spki, "PUBLIC KEY"))]) {
      const hs256 = (data: Bytes): Bytes => new Uint8Array(createHmac("sha256", secret).update(data).digest());
      assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, alg: "HS256" }, hs256)), ["AlgorithmNotAllowed"]);
    }
    for (const alg of ["RS384", "ES256", "EdDSA", "RSA1_5"])
      assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, alg })), ["AlgorithmNotAllowed"]);
  });

  test("R17: follows no address that leads to an attacker's keys", () => {
    const forged = rs256(attacker.privateKey);
    const place = "https://attacker.example/certs";
    assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, jku: place }, forged)), [
      "TokenInvalid",
      "IssuerNotTrusted",
    ]);
    assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, jku: place })), ["IssuerNotTrusted"]);
    for (const [name, value] of [
      ["jwk", { kty: "RSA", ...numbersOf(attacker) }],
      ["x5u", place],
      ["x5c", [toBase64(issue({ key: attacker }).der)]],
      ["crit", ["exp"]],
      ["b64", false],
    ] as const)
      assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, [name]: value }, forged)), ["TokenInvalid"], name);
  });

  test("R17: rejects unknown keys, and a known id with another key", () => {
    assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, kid: "other" })), ["TokenInvalid"]);
    const { kid: _, ...header } = HEADER;
    assert.deepEqual(reasonsAgainst(token(guest, header)), ["TokenInvalid"]);
    assert.deepEqual(reasonsAgainst(token(guest, HEADER, rs256(attacker.privateKey))), ["TokenInvalid"]);
    assert.deepEqual(reasonsAgainst(token(guest), []), ["TokenInvalid"]);
    assert.deepEqual(reasonsAgainst(token(guest, { ...HEADER, typ: "at+jwt" })), ["TokenInvalid"]);
  });

  test("R17: rejects tokens that are expired, not yet in force, or from the future", () => {
    const times: readonly JsonObject[] = [
      { exp: NOW_MS / 1000 },
      { nbf: NOW_MS / 1000 + 1 },
      { iat: NOW_MS / 1000 + 1 },
      { exp: undefined },
      { nbf: undefined },
      { iat: undefined },
      { exp: String(TOKEN_TIME + 9000) },
      { exp: TOKEN_TIME + 9000.5 },
      { exp: Number.MAX_SAFE_INTEGER },
      { nbf: -1 },
      { nbf: null },
    ];
    for (const change of times)
      assert.deepEqual(reasonsAgainst(token({ ...guest, ...change })), ["TokenExpired"], JSON.stringify(change));
    assert.deepEqual(reasonsAgainst(token({ ...guest, exp: NOW_MS / 1000 + 1, nbf: NOW_MS / 1000 })), []);
  });

  test("R17: rejects tokens about other things", () => {
    for (const type of ["tpm", "tdxvm", "opensgx", "", 7, undefined])
      assert.deepEqual(reasonsAgainst(token({ ...guest, "x-ms-attestation-type": type })), ["TokenPolicyMismatch"]);
    const vm = commonClaims("azurevm", guestClaims());
    assert.deepEqual(reasonsAgainst(token(vm)), ["TokenPolicyMismatch"], "a machine without isolation");
    const inner = { "x-ms-isolation-tee": { "x-ms-attestation-type": "tdxvm", ...guestClaims() } };
    assert.deepEqual(reasonsAgainst(token({ ...vm, ...inner })), ["TokenPolicyMismatch"]);
    assert.deepEqual(reasonsAgainst(token({ ...guest, iss: 7 })), ["IssuerNotTrusted"]);
  });

  test("rejects a token that lacks a claim, or has it in another type", () => {
    const kinds: Readonly<Record<string, JsonObject>> = { sevsnpvm: guestClaims(), sgx: sgxClaims(), vbs: vbsClaims() };
    const judgedLater = [
      "aikValidated",
      "secureBootEnabled",
      "bootDebuggingDisabled",
      "vbsEnabled",
      "vbsReportPresent",
    ];
    const optional = ["rp_data", "x-ms-sgx-report-data", ...judgedLater];
    for (const [type, claims] of Object.entries(kinds))
      for (const name of Object.keys(claims).filter((each) => !optional.includes(each)))
        for (const value of [undefined, null, "false", "AA", -1, 0.5, {}, []]) {
          const reasons = reasonsAgainst(token({ ...commonClaims(type), ...claims, [name]: value }));
          assert.deepEqual(reasons, ["TokenInvalid"], `${name}: ${JSON.stringify(value)}`);
        }
  });

  test("R9: refuses a claim that stands twice", () => {
    const json = JSON.stringify(guest);
    const twice = json.replace('"x-ms-sevsnpvm-is-debuggable":false', '"x-ms-sevsnpvm-is-debuggable":true,$&');
    assert.notEqual(twice, json);
    assert.deepEqual(reasonsAgainst(token(twice)), ["Malformed"]);
  });

  test("R18, R20: refuses every other spelling of a token", () => {
    const good = token(guest);
    const [header = "", payload = "", signature = ""] = good.split(".");
    const others = [
      `${good}\n`,
      ` ${good}`,
      `${good}=`,
      `${good}.`,
      `${good}.${signature}`,
      `${header}.${payload}`,
      `.${payload}.${signature}`,
      `${header}..${signature}`,
      good.replace(/.$/, (last) => (last === "A" ? "B" : String.fromCharCode(last.charCodeAt(0) + 1))),
      `${toBase64Url(utf8Encode("[]"))}.${payload}.${signature}`,
      `${header}.${toBase64Url(fromHex("22ff22"))}.${signature}`,
      "A".repeat(MAX_TOKEN_LENGTH + 1),
      "",
    ];
    for (const other of others) assert.notDeepEqual(reasonsAgainst(other), [], other.slice(0, 40));
    assert.throws(() => parseToken(`${good}=`), { code: "MalformedInput" });
  });

  test("R19: rejects a signature that is longer, shorter, or out of the key's range", () => {
    const [header = "", payload = "", signature = ""] = token(guest).split(".");
    const bytes = new Uint8Array(Buffer.from(signature, "base64url"));
    const zeros = new Uint8Array(256);
    const wrong = [bytes.subarray(1), Uint8Array.from([0, ...bytes]), zeros, new Uint8Array(256).fill(255)];
    for (const other of wrong)
      assert.deepEqual(reasonsAgainst(`${header}.${payload}.${toBase64Url(other)}`), ["TokenInvalid"]);
  });

  test("ends in a verdict or in a named error, whatever comes", () => {
    const seed = 20220907;
    const next = seededChoices(seed);
    const parts = [JSON.stringify(HEADER), JSON.stringify(guest), token(guest)].map(utf8Encode);
    const text = (bytes: Bytes): string => String.fromCharCode(...bytes);
    for (let round = 0; round < 2000; round++) {
      const [header, payload, whole] = parts.map((part) => mutate(part, next)) as [Bytes, Bytes, Bytes];
      const [, , signature = ""] = token(guest).split(".");
      for (const candidate of [`${toBase64Url(header)}.${toBase64Url(payload)}.${signature}`, text(whole)])
        assert.notDeepEqual(reasonsAgainst(candidate), undefined, `seed ${seed}, round ${round}`);
    }
  });
});

describe("key sets", () => {
  const good = token(guest);
  const withKeys = (jwks: Bytes) => reasonsOf(verifyMaa({ token: good, jwks }, { nowMs: NOW_MS }, crypto).checks);

  test("give keys by their numbers, or by their certificate alone", () => {
    assert.deepEqual(withKeys(keySet({ ...numbersOf(key), alg: "RS256", use: "sig" })), []);
    const certificate = issue({ key, subject: `CN=${ISSUER}` });
    const x5c = [toBase64(certificate.der)];
    assert.deepEqual(withKeys(keySet({ x5c })), []);
    assert.deepEqual(withKeys(keySet({ x5c, ...numbersOf(key) })), []);
    assert.throws(() => readKeySet(keySet({ x5c, ...numbersOf(attacker) })), { code: "MalformedInput" });
  });

  test("R18: give the key of the certificate itself, not of one inside it", () => {
    const pem = pemOfDer(issue({ key: attacker }).der, "CERTIFICATE");
    const certificate = issue({ key, more: [extensionWithPem(`\n${pem}`)] });
    const careless = new X509Certificate(certificate.der).publicKey.export({ type: "spki", format: "der" });
    assert.deepEqual(new Uint8Array(careless), attacker.spki, "the library takes what is inside");
    const jwks = keySet({ x5c: [toBase64(certificate.der)] });
    assert.deepEqual(readKeySet(jwks)[0]?.publicKey, key.spki);
    assert.deepEqual(withKeys(jwks), []);
    const forged = token(guest, HEADER, rs256(attacker.privateKey));
    assert.deepEqual(reasonsOf(verifyMaa({ token: forged, jwks }, { nowMs: NOW_MS }, crypto).checks), ["TokenInvalid"]);
  });

  test("R17: keys of less than 2048 bits prove nothing", () => {
    const short = makeKey("rsa-1024");
    const signed = token(guest, HEADER, rs256(short.privateKey));
    for (const jwks of [keySet(numbersOf(short)), keySet({ x5c: [toBase64(issue({ key: short }).der)] })])
      assert.deepEqual(reasonsOf(verifyMaa({ token: signed, jwks }, { nowMs: NOW_MS }, crypto).checks), [
        "AlgorithmNotAllowed",
      ]);
  });

  test("are judged by the dates of their certificates", () => {
    const x5c = [toBase64(issue({ key, untilMs: NOW_MS - 1000 }).der)];
    assert.deepEqual(withKeys(keySet({ x5c })), ["CertificateExpired"]);
  });

  test("leave out keys of other types and uses, and limit a key to its algorithm", () => {
    assert.deepEqual(readKeySet(keySet({ kty: "EC" })), []);
    assert.deepEqual(readKeySet(keySet({ ...numbersOf(key), use: "enc" })), []);
    assert.deepEqual(withKeys(keySet({ ...numbersOf(key), alg: "PS256" })), ["AlgorithmNotAllowed"]);
  });

  test("are refused when they are not what they say", () => {
    const one = { kty: "RSA", kid: keyId, ...numbersOf(key) };
    const { n, e } = numbersOf(key);
    const leading = toBase64Url(Uint8Array.from([0, ...Buffer.from(String(n), "base64url")]));
    const wrong: readonly unknown[] = [
      [],
      {},
      { keys: {} },
      { keys: [7] },
      { keys: [{ ...one, kid: 7 }] },
      { keys: [{ ...one, n: undefined }] },
      { keys: [{ ...one, n: leading }] },
      { keys: [{ ...one, n: `${n}=` }] },
      { keys: [{ ...one, e: "AQ" }] },
      { keys: [{ ...one, e: "" }] },
      { keys: [{ kty: "RSA", kid: keyId }] },
      { keys: [{ kty: "RSA", kid: keyId, x5c: [] }] },
      { keys: [{ kty: "RSA", kid: keyId, x5c: ["AAAA"] }] },
      { keys: [{ kty: "RSA", kid: keyId, x5c: [toBase64(issue().der)] }] },
      { keys: [one, { ...one, e }] },
      { keys: Array.from({ length: 65 }, (_, at) => ({ ...one, kid: String(at) })) },
    ];
    for (const value of wrong)
      assert.throws(
        () => readKeySet(utf8Encode(JSON.stringify(value))),
        { code: "MalformedInput" },
        JSON.stringify(value),
      );
  });

  test("end in keys or in a named error, whatever comes", () => {
    const seed = 2020;
    const next = seededChoices(seed);
    const set = keySet({ x5c: [toBase64(issue({ key }).der)] });
    for (let round = 0; round < 2000; round++) {
      try {
        readKeySet(mutate(set, next));
      } catch (error) {
        assert.ok(
          error instanceof CocoError && error.code === "MalformedInput",
          `seed ${seed}, ${round}: ${String(error)}`,
        );
      }
    }
  });

  test("pinned as what is no RSA key are left out", () => {
    assert.deepEqual(pinnedKeys([{ keyId, publicKey: makeKey().spki }]), []);
    assert.deepEqual(pinnedKeys([{ keyId, certificate: utf8Encode("none") }]), []);
    assert.deepEqual(pinnedKeys([{ keyId, certificate: issue().der }]), []);
    assert.equal(pinnedKeys([{ keyId, certificate: issue({ key }).der }])[0]?.bits, 2048);
  });
});

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

  test("R17: rejects another issuer, policy, key or kind than the policy's", () => {
    assert.deepEqual(judged(snp(), { ...guestPolicy, issuer: "https://other.example" }), ["IssuerNotTrusted"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, policyHash: "00".repeat(32) }), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged({ ...snp(), "x-ms-policy-hash": undefined }, guestPolicy), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged({ ...snp(), "x-ms-policy-hash": "AA" }, guestPolicy), ["TokenPolicyMismatch"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, attestationTypes: ["azurevm", "sgx"] }), ["TokenPolicyMismatch"]);
    const others = [{ keyId, publicKey: attacker.spki }];
    assert.deepEqual(judged(snp(), { ...guestPolicy, keys: others }), ["IssuerNotTrusted"]);
    assert.deepEqual(judged(snp(), { ...guestPolicy, minimumKeyBits: 3072 }), ["AlgorithmNotAllowed"]);
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
