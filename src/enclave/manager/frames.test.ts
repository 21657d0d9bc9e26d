import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, utf8Encode } from "../../core/codec/bytes.ts";
import { MAX_ATTESTED_EVIDENCE_BYTES } from "../../core/governance/attest.ts";
import { MAX_CERTIFICATE_BYTES } from "../../core/governance/certificate-limits.ts";
import { MAX_REQUEST_BYTES, MAX_REQUEST_CHAIN } from "../../core/governance/signed-request.ts";
import { CocoError } from "../../errors.ts";
import { decodeFrame, encodeFrame, FORWARD_FRAME_BYTES, type Frame, MAX_FRAME_ITEMS, outcomeFrames } from "./frames.ts";

const bytes = (text: string) => utf8Encode(text);

const sent = (id: string, actor: string) => ({
  item: { id: bytes(id), body: bytes("body") },
  sender: { actor, certificate: "ab".repeat(32) },
});

const FRAMES: readonly Frame[] = [
  { type: "consensus", message: { type: "vote", preVote: true, transfer: false, term: 3, lastIndex: 7, lastTerm: 2 } },
  { type: "forward", adapter: 1, items: [sent("i", "acme"), sent("j", "globex")] },
  {
    type: "outcomes",
    adapter: 2,
    outcomes: [
      { id: bytes("a"), index: 9, outcome: { type: "included", result: bytes("r"), position: 0 } },
      { id: bytes("b"), index: 0, outcome: { type: "rejected", error: bytes("e") } },
      { id: bytes("c"), index: 0, outcome: { type: "waiting", result: bytes("w") } },
      { id: bytes("d"), index: 4, outcome: { type: "duplicate", result: bytes("d") } },
      { id: bytes("e"), index: 0, outcome: { type: "unavailable", code: "TooManyRequests" } },
      { id: bytes("f"), index: 8, outcome: { type: "refused", code: "ActorNotAllowed" } },
    ],
  },
  { type: "query", id: 5, path: "/kv", body: bytes("get a"), caller: { actor: "member1", certificate: "00" } },
  { type: "queryResponse", id: 5, response: { status: 200, contentType: "text/plain", body: bytes("x") } },
  { type: "challenge", challenge: new Uint8Array(32).fill(8) },
  { type: "attest", challenge: new Uint8Array(32).fill(7), evidence: bytes("evidence") },
  { type: "govern", message: bytes("signed"), chain: [bytes("leaf"), bytes("ca")] },
  {
    type: "governRefused",
    key: "ab".repeat(32),
    error: new CocoError("ProposalInvalid", "no", { reason: "Malformed", action: 2, more: true }),
  },
];

describe("a frame", () => {
  for (const frame of FRAMES) {
    test(`of type ${frame.type} comes back as it was sent`, () => {
      assert.deepEqual(decodeFrame(encodeFrame(frame)), frame);
    });

    test(`of type ${frame.type} is refused when it is cut short or goes on`, () => {
      const encoded = encodeFrame(frame);
      for (let length = 0; length < encoded.length; length++) {
        assert.throws(() => decodeFrame(encoded.subarray(0, length)), CocoError, `cut to ${length} bytes`);
      }
      assert.throws(() => decodeFrame(new Uint8Array([...encoded, 0])), CocoError);
    });
  }

  test("holds a bounded part of what is to be told", () => {
    const outcomeOf = (resultBytes: number) => ({
      ...{ id: bytes("a"), index: 1 },
      outcome: { type: "included", result: new Uint8Array(resultBytes), position: 0 } as const,
    });
    const sizes = (frames: Iterable<Frame>) =>
      [...frames].map((frame) => (frame.type === "outcomes" ? frame.outcomes.length : -1));
    const large = [outcomeOf(FORWARD_FRAME_BYTES), outcomeOf(1), outcomeOf(FORWARD_FRAME_BYTES - 1), outcomeOf(1)];
    assert.deepEqual(sizes(outcomeFrames(1, large)), [1, 2, 1]);
    const many = Array.from({ length: MAX_FRAME_ITEMS + 1 }, () => outcomeOf(0));
    assert.deepEqual(sizes(outcomeFrames(1, many)), [MAX_FRAME_ITEMS, 1]);
    assert.deepEqual(sizes(outcomeFrames(1, [])), []);
  });

  test("of unknown kind or with too many items is refused", () => {
    assert.throws(() => decodeFrame(Uint8Array.of(99)), { code: "MalformedInput" });
    const tooMany = new ByteWriter()
      .u8(2)
      .u16(1)
      .u16(0)
      .u32(MAX_FRAME_ITEMS + 1)
      .finish();
    assert.throws(() => decodeFrame(tooMany), { code: "LimitExceeded" });
    const evidence = new Uint8Array(MAX_ATTESTED_EVIDENCE_BYTES + 1);
    const tooLarge = encodeFrame({ type: "attest", challenge: new Uint8Array(32), evidence });
    assert.throws(() => decodeFrame(tooLarge), { code: "LimitExceeded" });
  });

  test("with a member's request is bounded, and a refusal is one of the table", () => {
    const chain = Array.from({ length: MAX_REQUEST_CHAIN + 1 }, () => bytes("c"));
    assert.throws(() => decodeFrame(encodeFrame({ type: "govern", message: bytes("m"), chain })), {
      code: "LimitExceeded",
    });
    const message = new Uint8Array(MAX_REQUEST_BYTES + 1);
    assert.throws(() => decodeFrame(encodeFrame({ type: "govern", message, chain: [] })), { code: "LimitExceeded" });
    const certificate = new Uint8Array(MAX_CERTIFICATE_BYTES + 1);
    const large = encodeFrame({ type: "govern", message: bytes("m"), chain: [certificate] });
    assert.throws(() => decodeFrame(large), { code: "LimitExceeded" });
    const unknown = new ByteWriter()
      .u8(9)
      .bytes(new Uint8Array(32))
      .bytes16(bytes("toString"))
      .bytes16(bytes("m"))
      .u8(0);
    assert.throws(() => decodeFrame(unknown.finish()), { code: "MalformedInput" });
  });

  test("tells a refusal with a long text cut short", () => {
    const error = new CocoError("ProposalInvalid", "é".repeat(20_000), { reason: "ScriptFailed" });
    const decoded = decodeFrame(encodeFrame({ type: "governRefused", key: "00".repeat(32), error }));
    assert.ok(decoded.type === "governRefused");
    assert.ok(decoded.error.message.length > 1_000 && error.message.startsWith(decoded.error.message));
    assert.deepEqual(decoded.error.data, error.data);
  });

  test("of a member's request or its refusal, changed anywhere, decodes or is refused with a code", () => {
    const encoded = FRAMES.filter(({ type }) => type.startsWith("govern")).map(encodeFrame);
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...encoded), edits, (original, changes) => {
        const changed = Uint8Array.from(original);
        for (const [at, value] of changes) changed[at % changed.length] = value;
        try {
          decodeFrame(changed);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code !== "Internal");
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("that forwards transactions names each sender once, and none that is not there or too long", () => {
    const one = (items: readonly ReturnType<typeof sent>[]) => encodeFrame({ type: "forward", adapter: 1, items });
    const [first] = [sent("a", "acme")];
    const same = [first, { ...sent("b", ""), sender: first.sender }];
    assert.equal(one(same).length - one([first]).length, 2 + 2 + 1 + 4 + 4);
    const stranger = new ByteWriter().u8(2).u16(1).u16(0).u32(1).u16(0).bytes16(bytes("a")).bytes32(bytes("")).finish();
    assert.throws(() => decodeFrame(stranger), { code: "MalformedInput" });
    assert.throws(() => decodeFrame(one([sent("a", "a".repeat(65))])), { code: "LimitExceeded" });
  });

  test("of any bytes decodes or is refused with a code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (input) => {
        try {
          decodeFrame(input);
        } catch (error) {
          assert.ok(error instanceof CocoError && error.code !== "Internal");
        }
      }),
    );
  });
});
