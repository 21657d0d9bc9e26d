import assert from "node:assert/strict";
import { createPrivateKey, sign as signWith, type KeyObject } from "node:crypto";
import { describe, test } from "node:test";
import { encode, Tagged } from "cborg";
import fc from "fast-check";
import { makeFounder, TEST_TIME_MS, type TestFounder } from "../../../test/support/founders.ts";
import { refusal } from "../../../test/support/governed-network.ts";
import { issue, makeKey, NOW_MS } from "../../../test/support/issue-certificates.ts";
import { createGovernanceCrypto, sha256 } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { toHex, utf8Encode, type Bytes } from "../codec/bytes.ts";
import { derOfPem } from "./pem.ts";
import {
  assembleSignedRequest,
  bytesToSign,
  MAX_CREATED_AT,
  MAX_REQUEST_BYTES,
  parseSignedRequest,
  type RequestContent,
} from "./signed-request.ts";
import { verifySigner } from "./signer.ts";

const crypto = createGovernanceCrypto();
const PAYLOAD = utf8Encode('{"actions":[{"name":"open_epoch","args":{}}]}');
const NETWORK = "ab".repeat(32);
const PROPOSAL = "cd".repeat(32);
const derOf = (pem: string): Bytes => derOfPem(pem, "CERTIFICATE") ?? new Uint8Array(0);

/** What a program with another CBOR library and another order of keys makes of a request, as CCF's Python tool does. */
interface Foreign {
  readonly headers: ReadonlyMap<number | string, unknown>;
  readonly unprotected?: ReadonlyMap<number | string, unknown>;
  readonly payload?: unknown;
  readonly tag?: number;
  readonly signature?: Uint8Array;
}

/** No sorting: maps keep the order in which they were filled. */
const asInserted = { mapSorter: () => 0 };
const cbor = (value: unknown): Bytes => Uint8Array.from(encode(value, asInserted));

function foreignMessage({ headers, unprotected = new Map(), payload = PAYLOAD, tag = 18, signature }: Foreign): Bytes {
  const parts = [cbor(headers), unprotected, payload, signature ?? new Uint8Array(64)];
  return cbor(new Tagged(tag, parts));
}

function headersOf(change: Readonly<Record<string, unknown>> = {}): Map<number | string, unknown> {
  const all = new Map<number | string, unknown>([
    [1, -7],
    [4, utf8Encode("ef".repeat(32))],
    ["ccf.gov.msg.type", "proposal"],
    ["ccf.gov.msg.created_at", 1_900_000_000],
  ]);
  for (const [name, value] of Object.entries(change)) {
    const key = name === "1" || name === "4" || name === "33" ? Number(name) : name;
    if (value === undefined) all.delete(key);
    else all.set(key, value);
  }
  return all;
}

const content: RequestContent = {
  type: "proposal",
  algorithm: "ES256",
  keyId: "ef".repeat(32),
  createdAt: 1_900_000_000,
  networkId: NETWORK,
  payload: PAYLOAD,
};

describe("a signed request", () => {
  test("comes back as it was made, of every type", () => {
    const certificate = Uint8Array.of(0x30, 0);
    for (const type of ["proposal", "ballot", "withdrawal", "automatic_vote"] as const) {
      const refers = type === "ballot" || type === "withdrawal" ? { proposalId: PROPOSAL } : {};
      for (const algorithm of ["ES256", "ES384"] as const) {
        const made: RequestContent = { ...content, type, algorithm, ...refers };
        const signature = new Uint8Array(algorithm === "ES256" ? 64 : 96).fill(1);
        const parsed = parseSignedRequest(assembleSignedRequest(made, signature, [certificate]));
        const signedBytes = bytesToSign(made);
        assert.deepEqual(parsed, { ...made, signature, chain: [certificate], signedBytes });
      }
    }
  });

  test("of another program is read in whatever order it wrote its headers", () => {
    const headers = [...headersOf({ "coco.network": Buffer.from(NETWORK, "hex") })];
    fc.assert(
      fc.property(fc.shuffledSubarray(headers, { minLength: headers.length }), (shuffled) => {
        const map = new Map(shuffled);
        const parsed = parseSignedRequest(foreignMessage({ headers: map }));
        assert.equal(parsed.type, "proposal");
        assert.equal(parsed.createdAt, 1_900_000_000);
        assert.equal(parsed.networkId, NETWORK);
        assert.deepEqual(
          parsed.signedBytes,
          Uint8Array.from(cbor(["Signature1", cbor(map), new Uint8Array(0), PAYLOAD])),
        );
      }),
    );
  });

  test("has one certificate or several in x5chain", () => {
    const certificate = Uint8Array.of(0x30, 0);
    const chainOf = (x5chain: unknown) =>
      parseSignedRequest(foreignMessage({ headers: headersOf(), unprotected: new Map([[33, x5chain]]) })).chain;
    assert.deepEqual(chainOf(certificate), [certificate]);
    assert.deepEqual(chainOf([certificate, certificate]), [certificate, certificate]);
    for (const wrong of ["text", 7, [[certificate]], [certificate, "text"], Array(5).fill(certificate), new Map()])
      assert.throws(() => chainOf(wrong), refusal("Malformed"), JSON.stringify(wrong));
  });

  test("is refused with any header that is missing, unknown, or of another form", () => {
    const wrong: readonly (readonly [string, unknown])[] = [
      ...["1", "4", "ccf.gov.msg.type"].map((name) => [name, undefined] as const),
      ...[-8, -36, "ES256", 7].map((value) => ["1", value] as const),
      ...["text", new Uint8Array(32), utf8Encode("EF".repeat(32)), utf8Encode("ef".repeat(33))].map(
        (value) => ["4", value] as const,
      ),
      ...["Proposal", "", 1, "ack"].map((value) => ["ccf.gov.msg.type", value] as const),
      ["ccf.gov.msg.proposal_id", PROPOSAL],
      ["coco.network", NETWORK],
      ["coco.network", new Uint8Array(31)],
      ["other", 1],
      ["33", Uint8Array.of(0x30, 0)],
    ];
    for (const [name, value] of wrong)
      assert.throws(
        () => parseSignedRequest(foreignMessage({ headers: headersOf({ [name]: value }) })),
        {
          code: "ProposalInvalid",
          data: { reason: "Malformed" },
        },
        `${name}: ${String(value)}`,
      );
    for (const value of [undefined, -1, MAX_CREATED_AT + 1, "1900000000", true, 2n ** 63n])
      assert.throws(
        () => parseSignedRequest(foreignMessage({ headers: headersOf({ "ccf.gov.msg.created_at": value }) })),
        { code: "ProposalInvalid" },
        String(value),
      );
    for (const value of [undefined, PROPOSAL.toUpperCase(), PROPOSAL.slice(1), Buffer.from(PROPOSAL, "hex")]) {
      const headers = headersOf({ "ccf.gov.msg.type": "ballot", "ccf.gov.msg.proposal_id": value });
      assert.throws(() => parseSignedRequest(foreignMessage({ headers })), refusal("Malformed"), String(value));
    }
  });

  test("is refused when it is no COSE Sign1 with its payload inside", () => {
    const headers = headersOf();
    const good = foreignMessage({ headers });
    const parts = [cbor(headers), new Map(), PAYLOAD, new Uint8Array(64)];
    const wrong: readonly Uint8Array[] = [
      cbor(parts),
      foreignMessage({ headers, tag: 17 }),
      foreignMessage({ headers, payload: null }),
      foreignMessage({ headers, signature: new Uint8Array(63) }),
      foreignMessage({ headers, signature: new Uint8Array(96) }),
      foreignMessage({ headers, unprotected: new Map([[4, utf8Encode("x")]]) }),
      cbor(new Tagged(18, parts.slice(1))),
      cbor(new Tagged(18, [...parts, 1])),
      cbor(new Tagged(18, new Tagged(18, parts))),
      Buffer.concat([good, Uint8Array.of(0)]),
      good.subarray(1),
      new Uint8Array(0),
      foreignMessage({ headers, payload: new Uint8Array(MAX_REQUEST_BYTES) }),
    ];
    assert.doesNotThrow(() => parseSignedRequest(good));
    for (const [at, message] of wrong.entries())
      assert.throws(() => parseSignedRequest(Uint8Array.from(message)), { code: "ProposalInvalid" }, `${at}`);
  });

  test("with a header twice is refused", () => {
    const headers = cbor(headersOf());
    const twice = Buffer.concat([Uint8Array.of((headers[0] ?? 0) + 1), headers.subarray(1), cbor(1), cbor(-7)]);
    const message = cbor(new Tagged(18, [twice, new Map(), PAYLOAD, new Uint8Array(64)]));
    assert.throws(() => parseSignedRequest(Uint8Array.from(message)), refusal("Malformed"));
  });

  test("that is arbitrary or damaged is read or refused, and nothing else happens", () => {
    const good = foreignMessage({ headers: headersOf() });
    const damaged = fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => good.with(at, byte));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (message) => {
        try {
          parseSignedRequest(message);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code === "ProposalInvalid", String(error));
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

/** Signs as another program does: Node's own ECDSA over a structure of another CBOR library. */
function signedBy(key: KeyObject, chain: readonly Bytes[], hash: "sha256" | "sha384", change = {}): Bytes {
  const keyId = utf8Encode(toHex(sha256(chain[0] ?? new Uint8Array(0))));
  const headers = headersOf({ "1": hash === "sha256" ? -7 : -35, "4": keyId, ...change });
  const structure = cbor(["Signature1", cbor(headers), new Uint8Array(0), PAYLOAD]);
  const signature = new Uint8Array(signWith(hash, structure, { key, dsaEncoding: "ieee-p1363" }));
  return foreignMessage({ headers, signature });
}

function stateOf(
  { founder }: TestFounder,
  role: "member" | "participant" = "member",
  certificate = derOf(founder.certificate),
) {
  const certificates = [certificate];
  const actors = [{ id: founder.id, name: founder.name, role, certificates, revocations: [] }];
  return { networkId: NETWORK, constitution: { actors } } as unknown as Parameters<typeof verifySigner>[0];
}

describe("the signer of a request", () => {
  const acme = makeFounder("acme");
  const own = derOf(acme.founder.certificate);
  const nowMs = TEST_TIME_MS + 1_000;
  const keyOfFounder = acme.issuer.privateKey;

  test("is the member whose certificate it names, by another program's signature too", () => {
    const message = signedBy(createPrivateKey(keyOfFounder), [own], "sha256");
    const verified = verifySigner(stateOf(acme), { message, chain: [own] }, nowMs, crypto);
    assert.deepEqual([verified.actor, verified.certificate], ["acme", toHex(sha256(own))]);
    const other = { "coco.network": new Uint8Array(32) };
    const elsewhere = signedBy(createPrivateKey(keyOfFounder), [own], "sha256", other);
    const verify =
      (bytes: Bytes, chain: readonly Bytes[], at = nowMs, state = stateOf(acme)) =>
      () =>
        verifySigner(state, { message: bytes, chain }, at, crypto);
    assert.throws(verify(elsewhere, [own]), refusal("OtherNetwork"));
    assert.throws(verify(message, []), refusal("Malformed"));
    assert.throws(verify(message, Array(5).fill(own)), refusal("Malformed"));
    assert.throws(verify(message, [derOf(makeFounder("other").founder.certificate)]), refusal("SignatureInvalid"));
    assert.throws(verify(message, [own], nowMs, stateOf(acme, "participant")), refusal("NotAMember"));
    assert.throws(verify(message, [own], nowMs + 400 * 86_400_000), refusal("CertificateNotValid"));
    assert.throws(verify(message, [own], nowMs, stateOf(makeFounder("third"))), refusal("CertificateNotValid"));
  });

  test("may be staff of the member, with a P-384 key and a certificate of the member's CA", () => {
    const authority = issue({ subject: "CN=Acme, O=Acme", ca: true });
    const staff = issue({ subject: "CN=Ann, O=Acme", key: makeKey("P-384"), issuer: authority });
    const state = stateOf(acme, "member", authority.der);
    const chain = [staff.der, authority.der];
    const message = signedBy(staff.key.privateKey, chain, "sha384");
    assert.equal(verifySigner(state, { message, chain }, NOW_MS, crypto).actor, "acme");
    assert.equal(verifySigner(state, { message, chain: chain.slice(0, 1) }, NOW_MS, crypto).actor, "acme");
    assert.throws(
      () => verifySigner(stateOf(acme), { message, chain }, NOW_MS, crypto),
      refusal("CertificateNotValid"),
    );
    for (let at = 0; at < message.length; at += 7) {
      const changed = message.with(at, (message[at] ?? 0) ^ 4);
      assert.throws(() => verifySigner(state, { message: changed, chain }, NOW_MS, crypto), {
        code: "ProposalInvalid",
      });
    }
  });
});
