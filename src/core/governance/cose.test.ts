import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { CocoError } from "../../errors.ts";
import {
  createActorSigner,
  createGovernanceCrypto,
  createSignFunction,
  createVerifier,
} from "../../enclave/manager/node-crypto.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../codec/cbor.ts";
import { concatBytes, fromHex, toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { encodeSign1, MAX_SIGN1_BYTES, parseSign1 } from "./cose.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const sign = createSignFunction(privateKey);
const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
const content = { contentType: "application/test", keyId: "member1", payload: utf8Encode("payload") };
const signed = encodeSign1(content, sign);

function malformed(error: unknown): boolean {
  return error instanceof CocoError && (error.code === "MalformedInput" || error.code === "LimitExceeded");
}

/** A message with other items than {@link encodeSign1} writes. */
function message(items: readonly CborValue[], tag = 18): Bytes {
  return encodeCbor({ tag, value: items });
}

function headers(...entries: readonly (readonly [number, CborValue])[]): Bytes {
  return encodeCbor(new Map(entries));
}

describe("COSE Sign1", () => {
  test("gives back what was signed, and verifies by the signer's key only", () => {
    const parsed = parseSign1(signed);
    assert.deepEqual({ contentType: parsed.contentType, keyId: parsed.keyId, payload: parsed.payload }, content);
    const verify = createVerifier();
    assert.ok(verify(spki, parsed.signedBytes, parsed.signature));
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" });
    assert.ok(!verify(other, parsed.signedBytes, parsed.signature));
  });

  test("takes P-384 keys under their own algorithm", () => {
    const pair = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const { algorithm, sign: signWith384 } = createActorSigner(pair.privateKey);
    const parsed = parseSign1(encodeSign1({ ...content, algorithm }, signWith384));
    assert.deepEqual([parsed.algorithm, parsed.signature.length], ["ES384", 96]);
    const key = new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" }));
    assert.ok(createGovernanceCrypto().verify(key, parsed.signedBytes, parsed.signature));
    assert.throws(() => parseSign1(encodeSign1(content, signWith384)), malformed);
    assert.throws(() => parseSign1(encodeSign1({ ...content, algorithm: "ES384" }, sign)), malformed);
  });

  test("signs the Sig_structure of RFC 9052 section 4.4", () => {
    // 84 "Signature1", bstr protected {1: -7, 3: "application/test", 4: h'member1'}, empty bstr, bstr payload
    const protectedHeaders = `a3012603706170706c69636174696f6e2f7465737404476d656d62657231`;
    const expected = `846a5369676e617475726531581e${protectedHeaders}40477061796c6f6164`;
    assert.equal(toHex(parseSign1(signed).signedBytes), expected);
    assert.equal(toHex(signed.subarray(0, 4)), "d284581e");
  });

  test("refuses other tags, algorithms, headers, detached payloads and short signatures", () => {
    const good = headers([1, -7], [3, "application/test"], [4, utf8Encode("member1")]);
    const { payload } = content;
    const signature = new Uint8Array(64);
    assert.doesNotThrow(() => parseSign1(message([good, new Map(), payload, signature])));
    const bad: readonly Bytes[] = [
      message([good, new Map(), payload, signature], 98),
      encodeCbor([good, new Map(), payload, signature]),
      message([good, new Map(), payload]),
      message([good, new Map([[5, 1]]), payload, signature]),
      message([good, new Map(), null, signature]),
      message([good, new Map(), payload, signature.subarray(1)]),
      message([headers([1, -35], [3, "application/test"], [4, utf8Encode("member1")]), new Map(), payload, signature]),
      message([headers([1, -7], [3, 50], [4, utf8Encode("member1")]), new Map(), payload, signature]),
      message([headers([1, -7], [3, "application/test"], [4, new Uint8Array(0)]), new Map(), payload, signature]),
      message([headers([1, -7], [3, "application/test"]), new Map(), payload, signature]),
      message([headers([1, -7], [2, [99]], [3, "a"], [4, utf8Encode("m")]), new Map(), payload, signature]),
      message([fromHex("ff"), new Map(), payload, signature]),
      concatBytes(signed, Uint8Array.of(0)),
      new Uint8Array(MAX_SIGN1_BYTES + 1),
    ];
    for (const [at, bytes] of bad.entries()) assert.throws(() => parseSign1(bytes), malformed, `case ${at}`);
    for (let length = 0; length < signed.length; length++)
      assert.throws(() => parseSign1(signed.subarray(0, length)), malformed);
  });

  test("is deterministic CBOR as a whole", () => {
    assert.deepEqual(encodeCbor(decodeCbor(signed, { tags: [18] })), signed);
  });
});
