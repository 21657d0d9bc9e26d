import assert from "node:assert/strict";
import { constants, createHmac, sign } from "node:crypto";
import { describe, test } from "node:test";
import { issue, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { missingTeeVectors, teeVector } from "../../../test/support/tee-vectors.ts";
import { toBase64, toBase64Url } from "../../core/codec/base64.ts";
import { fromHex, toHex, utf8Decode, utf8Encode, type Bytes } from "../../core/codec/bytes.ts";
import type { MaaJwtPolicy, TokenTee } from "../../core/governance/policy-vsm.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";
import { reasonsOf } from "../checks.ts";
import { appraiseMaa } from "./appraise.ts";
import { readKeySet } from "./keys.ts";
import { MAX_TOKEN_LENGTH, parseToken } from "./token.ts";
import { verifyMaa } from "./verify.ts";
import {
  commonClaims,
  guestClaims,
  ISSUER,
  type JsonObject,
  mutate,
  rs256,
  seededChoices,
  sgxClaims,
  TOKEN_TIME,
  vbsClaims,
} from "../vsm/test-vsm-evidence.ts";
import {
  crypto,
  key,
  attacker,
  HEADER,
  policy,
  guestPolicy,
  guest,
  token,
  reasonsAgainst,
  numbersOf,
} from "./test-tokens.ts";

describe("a real token about a confidential machine of Azure", {
  skip: missingTeeVectors("vbs-maa/maa-azurevm-sevsnpvm"),
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
      hostData: [],
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

  test("R8, R17: rejects tokens that are expired, not yet in force, or from the future", () => {
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
