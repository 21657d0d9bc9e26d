/**
 * Proposals that are refused when they are made, with real certificates and signatures: each for its own reason, with a remedy
 * that says what to do, and nothing recorded. Then requests that are forged.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteReader, ByteWriter, toHex, utf8Encode, type Bytes } from "../../src/core/codec/bytes.ts";
import { executeAdministrative, type GovernanceState, placeAt } from "../../src/core/governance/administrative.ts";
import { pemOfDer } from "../../src/core/governance/pem.ts";
import type { SignedMessage } from "../../src/core/governance/proposal.ts";
import { type Refusal, REFUSALS, remedyOf } from "../../src/core/governance/refusal.ts";
import type { RequestSigner } from "../../src/core/governance/request-signing.ts";
import { encodeGovernanceState } from "../../src/core/governance/state-codec.ts";
import { errorResponse } from "../../src/enclave/manager/frontend.ts";
import { readRefusal, writeRefusal } from "../../src/enclave/manager/governance-frames.ts";
import { createGovernanceCrypto, sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { DAY_MS, issueRevocationList, makeKey, USAGE } from "../support/issue-certificates.ts";
import {
  certificate,
  execute,
  founderSigner,
  genesisState,
  NOW_MS,
  requestBy,
  signerOf,
} from "../support/real-governance.ts";

const CRYPTO = createGovernanceCrypto();
const FIRST = founderSigner("member1");

/** A CA and a P-384 leaf that member2 lists beside its own. */
const CA = certificate({ subject: "CN=member2 CA", ca: true });
const LEAF = certificate({ subject: "CN=member2 leaf", key: makeKey("P-384") });
const STATE = genesisState(CRYPTO, {}, { member2: [CA, LEAF] });

/** Asserts that a request is refused as every node refuses it, and that the state is the same, byte by byte. */
function requireRefused(state: GovernanceState, request: SignedMessage, reason: Refusal): CocoError {
  const before = encodeGovernanceState(state);
  const again = structuredClone(before);
  let refused: unknown;
  try {
    executeAdministrative(state, { type: "request", ...request }, placeAt(NOW_MS), CRYPTO);
  } catch (error) {
    refused = error;
  }
  assert.ok(refused instanceof CocoError, "refused");
  assert.deepEqual([refused.code, refused.data["reason"]], ["ProposalInvalid", reason], refused.message);
  assert.equal(remedyOf(refused), REFUSALS[reason]);
  assert.deepEqual(encodeGovernanceState(state), again);
  return refused;
}

type ActionJson = readonly [name: unknown, args: unknown];

const payloadOf = (...actions: readonly ActionJson[]): object => ({
  actions: actions.map(([name, args]) => ({ name, args })),
});
const addMember = (pem: string): ActionJson => ["add_member", { id: "hooli", name: "Hooli", certificates: [pem] }];
const withCertificate = (options: Parameters<typeof certificate>[0]): ActionJson =>
  addMember(pemOfDer(certificate(options).der, "CERTIFICATE"));
const setPolicy = (rule: object, times: object = {}): ActionJson => [
  "set_policy",
  { action: "default", policy: { rule, ...times } },
];

const withList = (times: { readonly fromMs?: number; readonly untilMs?: number }): ActionJson => {
  const list = issueRevocationList({ issuer: CA, fromMs: NOW_MS - DAY_MS, untilMs: NOW_MS + DAY_MS, ...times });
  return ["set_revocations", { actor: "member2", revocations: [pemOfDer(list, "X509 CRL")] }];
};

interface Case {
  readonly what: string;
  readonly payload: unknown;
  readonly reason: Refusal;
  /** What the message names. */
  readonly says?: RegExp;
  readonly state?: GovernanceState;
}

const text = (json: string): Bytes => utf8Encode(json);
const ONE_MEMBER = genesisState(CRYPTO, {
  actors: STATE.constitution.actors.map((actor) =>
    actor.role === "member" && actor.id !== "member1" ? { ...actor, role: "participant" } : actor,
  ),
});

const CASES: readonly Case[] = [
  { what: "an unknown action", payload: payloadOf(["set_moon", {}]), reason: "UnknownAction", says: /set_moon/ },
  { what: "an action named like what objects have", payload: payloadOf(["constructor", {}]), reason: "UnknownAction" },
  { what: "an action of no name", payload: payloadOf([7, {}]), reason: "UnknownAction", says: /actions\[0\]\.name/ },
  { what: "no actions", payload: { actions: [] }, reason: "NoActions" },
  { what: "an unknown field", payload: payloadOf(["open_epoch", { at: 1 }]), reason: "UnknownField", says: /args\.at/ },
  {
    what: "the prototype as a field",
    payload: text('{"actions":[{"name":"open_epoch","args":{"__proto__":{"name":"set_script"}}}]}'),
    reason: "UnknownField",
  },
  { what: "a missing field", payload: payloadOf(["remove_member", {}]), reason: "MissingField", says: /args\.actor/ },
  {
    what: "a number as an id",
    payload: payloadOf(["remove_member", { actor: 1 }]),
    reason: "WrongType",
    says: /actor/,
  },
  { what: "a list as arguments", payload: payloadOf(["open_epoch", []]), reason: "WrongType" },
  { what: "null as arguments", payload: payloadOf(["open_epoch", null]), reason: "WrongType" },
  { what: "half a number", payload: payloadOf(["set_settings", { maxDelayMs: 1.5 }]), reason: "WrongType" },
  {
    what: "an expired certificate",
    payload: payloadOf(withCertificate({ untilMs: NOW_MS - 1000 })),
    reason: "CertificateExpired",
    says: /2030-01-10T23:59:59/,
  },
  {
    what: "a leaf that may not sign",
    payload: payloadOf(withCertificate({ usage: USAGE.keyAgreement })),
    reason: "CertificateUsage",
  },
  {
    what: "a CA that may not issue",
    payload: payloadOf(withCertificate({ ca: true, usage: USAGE.digitalSignature })),
    reason: "CertificateUsage",
  },
  { what: "an RSA key", payload: payloadOf(withCertificate({ key: makeKey("rsa") })), reason: "CertificateKeyType" },
  {
    what: "an Ed25519 key",
    payload: payloadOf(withCertificate({ key: makeKey("ed25519") })),
    reason: "CertificateKeyType",
  },
  {
    what: "DER that is no certificate",
    payload: payloadOf(addMember(pemOfDer(Uint8Array.of(0x30, 1, 0), "CERTIFICATE"))),
    reason: "CertificateMalformed",
  },
  {
    what: "a revocation list past its next update",
    payload: payloadOf(withList({ untilMs: NOW_MS - 1000 })),
    reason: "RevocationsNotCurrent",
    says: /CN=member2 CA of member2 .* next update at 2030-01-10T23:59:59/,
  },
  {
    what: "a revocation list of tomorrow",
    payload: payloadOf(withList({ fromMs: NOW_MS + 1000 })),
    reason: "RevocationsNotCurrent",
    says: /issued at 2030-01-11T00:00:01/,
  },
  { what: "a policy of nobody", payload: payloadOf(setPolicy({ type: "count", yes: 0 })), reason: "PolicyInvalid" },
  {
    what: "a threshold above the number of members",
    payload: payloadOf(setPolicy({ type: "count", yes: 4 })),
    reason: "PolicyInvalid",
    says: /3/,
  },
  {
    what: "a threshold above all weights",
    payload: payloadOf(setPolicy({ type: "weighted", weights: { member1: 1, member2: 1 }, threshold: 3 })),
    reason: "PolicyInvalid",
    says: /threshold/,
  },
  {
    what: "a stage of more than its group",
    payload: payloadOf(setPolicy({ type: "stages", stages: [{ group: ["member1"], yes: 2 }] })),
    reason: "PolicyInvalid",
  },
  {
    what: "a deliberation that outlasts the proposal",
    payload: payloadOf(setPolicy({ type: "majority" }, { expiresAfterMs: 10, deliberationMs: 11 })),
    reason: "PolicyInvalid",
  },
  {
    what: "a veto within a veto",
    payload: payloadOf(
      setPolicy({ type: "veto", by: ["member1"], rule: { type: "veto", by: ["member2"], rule: { type: "majority" } } }),
    ),
    reason: "ValueInvalid",
  },
  { what: "a script that is not there", payload: payloadOf(setPolicy({ type: "script" })), reason: "PolicyInvalid" },
  {
    what: "the removal of the last member",
    payload: payloadOf(
      ...ONE_MEMBER.constitution.nodes
        .filter(({ owner }) => owner === "member1")
        .map(({ nodeId }): ActionJson => ["remove_node", { nodeId }]),
      ["remove_member", { actor: "member1" }],
    ),
    reason: "LastMember",
    state: ONE_MEMBER,
  },
  { what: "what is so already", payload: payloadOf(setPolicy({ type: "majority" })), reason: "NothingChanged" },
  { what: "no JSON", payload: text("{"), reason: "Malformed" },
  { what: "JSON nested without end", payload: text("[".repeat(100_000)), reason: "Malformed" },
  { what: "no UTF-8", payload: Uint8Array.of(0x22, 0xff, 0x22), reason: "Malformed" },
  { what: "a list", payload: [], reason: "Malformed", says: /record/ },
  {
    what: "a field beside actions",
    payload: { ...payloadOf(["open_epoch", {}]), state: "Accepted" },
    reason: "Malformed",
    says: /state/,
  },
];

describe("a proposal is refused when it is made", () => {
  for (const { what, payload, reason, says = /./, state = STATE } of CASES)
    test(`${what}: ${reason}`, () => {
      assert.match(requireRefused(state, requestBy(FIRST, "proposal", payload), reason).message, says);
    });

  test("and what another node is told of it, it can read and tell", () => {
    const words = [
      requireRefused(STATE, requestBy(FIRST, "proposal", text('{"\\ud800":1,"actions":[]}')), "NoActions").message,
      requireRefused(STATE, requestBy(FIRST, "proposal", payloadOf(["open_epoch", { "\ud800": 1 }])), "UnknownField")
        .message,
      requireRefused(
        STATE,
        requestBy(FIRST, "proposal", payloadOf([`x${"\u{1f600}".repeat(9_000)}`, {}])),
        "UnknownAction",
      ).message,
    ];
    for (const message of words) {
      const error = new CocoError("ProposalInvalid", message, { reason: "UnknownField", field: message });
      const bytes = writeRefusal(new ByteWriter(), { key: "ab".repeat(32), error }).finish();
      const read = readRefusal(new ByteReader(bytes));
      assert.equal(read.error.data["reason"], "UnknownField");
      assert.ok(read.error.message.length > 0);
    }
  });
});

describe("what another node says of a refusal", () => {
  test("gets into no header and takes no field's place", () => {
    for (const allow of ["GET\r\nset-cookie: a=b", "get", "", "GET,POST", "\u0000"]) {
      const { headers } = errorResponse(new CocoError("MethodNotAllowed", "no", { allow }));
      assert.equal(headers, undefined, JSON.stringify(allow));
    }
    const data = { reason: "Malformed", code: "NotFound", message: "yes", remedy: "pay", ["__proto__"]: "x" };
    const { status, body } = errorResponse(new CocoError("ProposalInvalid", "no", data));
    const { error } = JSON.parse(Buffer.from(body).toString()) as { error: Record<string, string> };
    assert.deepEqual(
      [status, error["code"], error["message"], error["remedy"]],
      [400, "ProposalInvalid", "no", REFUSALS.Malformed],
    );
  });
});

describe("a forged request", () => {
  const VICTIM = FIRST.chain[0] ?? new Uint8Array(0);
  const OPEN_EPOCH = payloadOf(["open_epoch", {}]);
  const by = (signer: RequestSigner, change: Parameters<typeof requestBy>[3] = {}): SignedMessage =>
    requestBy(signer, "proposal", OPEN_EPOCH, change);
  const stranger = signerOf(certificate({ subject: "CN=member1" }));
  const leafSigner = signerOf(LEAF);
  const keyId = toHex(sha256(VICTIM));
  const asVictim = { chain: [VICTIM], keyId };
  const under = (issuer: typeof CA, options = {}) => certificate({ issuer, subject: "CN=staff", ...options });
  const zeros = (signature: Bytes): Bytes => new Uint8Array(signature.length);

  const FORGED: readonly (readonly [what: string, request: () => SignedMessage, reason: Refusal])[] = [
    ["a member's certificate, another key", () => by(stranger, asVictim), "SignatureInvalid"],
    ["a member's key id, another certificate", () => by(stranger, { keyId }), "SignatureInvalid"],
    [
      "its own certificate, a member's behind it",
      () => by({ ...stranger, chain: [...stranger.chain, VICTIM] }),
      "CertificateNotValid",
    ],
    ["a certificate of the same name", () => by(stranger), "CertificateNotValid"],
    [
      "a certificate that names the CA, signed by another key",
      () => by(signerOf(under(CA, { signer: makeKey() }), CA)),
      "CertificateNotValid",
    ],
    ["a certificate issued by a leaf", () => by(signerOf(under(LEAF), LEAF)), "CertificateNotValid"],
    ["a certificate issued by staff", () => by(signerOf(under(under(CA)), under(CA))), "CertificateNotValid"],
    [
      "an expired certificate of the CA",
      () => by(signerOf(under(CA, { untilMs: NOW_MS - DAY_MS / 2 }))),
      "CertificateNotValid",
    ],
    [
      "a certificate of the CA that may not sign",
      () => by(signerOf(under(CA, { usage: USAGE.keyAgreement }))),
      "CertificateNotValid",
    ],
    [
      "a certificate and rubbish behind it",
      () => by({ ...leafSigner, chain: [LEAF.der, Uint8Array.of(1, 2, 3)] }),
      "CertificateNotValid",
    ],
    ["five certificates", () => by({ ...leafSigner, chain: Array.from({ length: 5 }, () => LEAF.der) }), "Malformed"],
    ["a P-384 key as ES256", () => by(leafSigner, { algorithm: "ES256" }), "Malformed"],
    [
      "a P-384 key as ES256, cut to its length",
      () => by(leafSigner, { algorithm: "ES256", signature: (made) => made.slice(0, 64) }),
      "SignatureInvalid",
    ],
    ["a P-256 key as ES384", () => by(FIRST, { algorithm: "ES384" }), "Malformed"],
    [
      "a P-256 key as ES384, filled to its length",
      () => by(FIRST, { algorithm: "ES384", signature: padded }),
      "SignatureInvalid",
    ],
    ["a signature of zeros", () => by(FIRST, { signature: zeros }), "SignatureInvalid"],
    ["a participant's signature", () => by(founderSigner("participant1")), "NotAMember"],
    ["another network's id", () => by(FIRST, { networkId: "ab".repeat(32) }), "OtherNetwork"],
    ["a time to come", () => by(FIRST, { createdAt: NOW_MS / 1000 + 301 }), "InvalidCreatedAt"],
  ];

  for (const [what, request, reason] of FORGED)
    test(`${what}: ${reason}`, () => {
      requireRefused(STATE, request(), reason);
    });

  test("a signature of the same words in another form is the same proposal", () => {
    const first = by(leafSigner);
    const state = execute(STATE, { type: "request", ...first }, CRYPTO);
    assert.equal(state.proposals.length, 1);
    requireRefused(state, by(leafSigner), "ProposalReplay");
    requireRefused(state, by(leafSigner, { signature: mirrored }), "ProposalReplay");
  });
});

/** r and s of 32 bytes as 48 bytes each. */
function padded(signature: Bytes): Bytes {
  const wide = new Uint8Array(96);
  wide.set(signature.subarray(0, 32), 16);
  wide.set(signature.subarray(32), 64);
  return wide;
}

/** The other signature that ECDSA takes for the same: s in place of n - s, on P-384. */
function mirrored(signature: Bytes): Bytes {
  const order = 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n;
  const s = order - BigInt(`0x${toHex(signature.subarray(48))}`);
  return new Uint8Array([...signature.subarray(0, 48), ...Buffer.from(s.toString(16).padStart(96, "0"), "hex")]);
}
