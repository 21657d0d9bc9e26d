import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { utf8Decode, utf8Encode } from "../../../core/codec/bytes.ts";
import { RpcError } from "./fault.ts";
import { MAX_BATCH_ITEMS, MAX_JSON_DEPTH, type Message, parsePayload, renderPayload } from "./json-rpc.ts";

const parse = (text: string) => parsePayload(utf8Encode(text));
const messageOf = (text: string): Message => parse(text).messages[0] as Message;

function faultOf(text: string | Uint8Array): { code: number; message: string } {
  try {
    parsePayload(typeof text === "string" ? utf8Encode(text) : text);
  } catch (error) {
    assert.ok(error instanceof RpcError);
    return { code: error.code, message: error.message };
  }
  return assert.fail("the payload was accepted");
}

describe("JSON-RPC payloads", () => {
  test("a call keeps method, parameters and the exact text of its id", () => {
    assert.deepEqual(messageOf('{"jsonrpc":"2.0","id":7,"method":"m","params":[1]}'), {
      type: "call",
      id: "7",
      method: "m",
      parameters: [1],
    });
    for (const [source, echoed] of [
      ["1.0", "1.0"],
      ["12345678901234567890123", "12345678901234567890123"],
      ["-0", "-0"],
      ["1e2", "1e2"],
      ["null", "null"],
      ['"a\\u0062"', '"ab"'],
      ['"\\""', '"\\""'],
    ]) {
      assert.equal(messageOf(`{"id" : ${source} ,"jsonrpc":"2.0","method":"m"}`).id, echoed);
    }
  });

  test("the last of two ids counts, and an id inside the parameters does not", () => {
    assert.equal(messageOf('{"jsonrpc":"2.0","method":"m","params":{"id":5},"id":1,"id":2.0}').id, "2.0");
    assert.equal(messageOf('{"jsonrpc":"2.0","method":"m","id":1,"\\u0069d":2}').id, "2");
    assert.equal(messageOf('{"jsonrpc":"2.0","method":"m","params":[{"id":5}]}').id, undefined);
  });

  test("ids of a batch stay with their calls", () => {
    const batch = parse(
      '[1,{"jsonrpc":"2.0","id":2.50,"method":"a"},[{"id":9}],{"jsonrpc":"2.0","id":3.50,"method":"b"}]',
    );
    assert.deepEqual(
      batch.messages.map((message) => [message.type, message.id]),
      [
        ["invalid", "null"],
        ["call", "2.50"],
        ["invalid", "null"],
        ["call", "3.50"],
      ],
    );
  });

  test("what is no request is an invalid request under the id it has", () => {
    for (const [text, id] of [
      ["1", "null"],
      ['"text"', "null"],
      ["null", "null"],
      ["{}", "null"],
      ['{"id":4}', "4"],
      ['{"jsonrpc":"1.0","id":4,"method":"m"}', "4"],
      ['{"jsonrpc":"2.0","id":4,"method":""}', "4"],
      ['{"jsonrpc":"2.0","id":4,"method":5}', "4"],
      ['{"jsonrpc":"2.0","id":{},"method":"m"}', "null"],
      ['{"jsonrpc":"2.0","id":[1],"method":"m"}', "null"],
      ['{"jsonrpc":"2.0","id":true,"method":"m"}', "null"],
      ['{"__proto__":{"jsonrpc":"2.0","id":4,"method":"m"}}', "null"],
      [`{"jsonrpc":"2.0","id":4,"method":"${"m".repeat(2049)}"}`, "4"],
    ] as const) {
      assert.deepEqual(
        messageOf(text),
        { type: "invalid", id, fault: { code: -32600, message: "invalid request" } },
        text.slice(0, 80),
      );
    }
  });

  test("malformed JSON, malformed UTF-8 and anything behind the payload are parse errors", () => {
    for (const text of [
      "",
      " ",
      "{",
      "[",
      "nul",
      "{'a':1}",
      '{"a":1,}',
      '{"a":1} x',
      "{} {}",
      '"\u0000"',
      "\ufeff{}",
    ]) {
      assert.deepEqual(faultOf(text), { code: -32700, message: "parse error" }, JSON.stringify(text));
    }
    assert.equal(faultOf(Uint8Array.of(0x22, 0xff, 0x22)).code, -32700);
    assert.equal(faultOf(Uint8Array.of(0x22, 0xc0, 0x80, 0x22)).code, -32700);
  });

  test("nesting up to the limit is read, one level more is refused, however deep", () => {
    const nested = (levels: number): string => `${"[".repeat(levels)}1${"]".repeat(levels)}`;
    const call = (levels: number): string => `{"jsonrpc":"2.0","id":1,"method":"m","params":${nested(levels)}}`;
    assert.equal(messageOf(call(MAX_JSON_DEPTH - 1)).type, "call");
    assert.match(faultOf(call(MAX_JSON_DEPTH)).message, /nesting deeper than 64/);
    for (const bomb of ["[".repeat(2_000_000), '{"a":'.repeat(400_000), "[{".repeat(500_000)])
      assert.equal(faultOf(bomb).code, -32700);
    assert.equal(
      messageOf(`{"jsonrpc":"2.0","id":1,"method":"m","params":[${JSON.stringify("[".repeat(1000))}]}`).type,
      "call",
    );
  });

  test("an empty batch and one of too many calls are invalid requests", () => {
    assert.deepEqual(faultOf("[]"), { code: -32600, message: "empty batch" });
    const call = (id: number): string => `{"jsonrpc":"2.0","id":${id},"method":"m"}`;
    const calls = (count: number): string =>
      `[1,${Array.from({ length: count - 1 }, (_, index) => call(index + 5)).join(",")}]`;
    assert.equal(parse(calls(MAX_BATCH_ITEMS)).messages.length, MAX_BATCH_ITEMS);
    const fault = { code: -32600, message: "batch too large" };
    assert.deepEqual(parse(calls(MAX_BATCH_ITEMS + 1)), {
      batch: true,
      messages: [{ type: "invalid", id: "5", fault }],
    });
  });

  test("notifications get no answer, and a payload of nothing else an empty body", () => {
    const text = (payload: string): string => {
      const parsed = parse(payload);
      return utf8Decode(
        renderPayload(
          parsed,
          parsed.messages.map(() => ({ result: "true" })),
        ).body,
      );
    };
    assert.equal(text('{"jsonrpc":"2.0","method":"m"}'), "");
    assert.equal(text('[{"jsonrpc":"2.0","method":"m"}]'), "");
    const answer = '[{"jsonrpc":"2.0","id":1,"result":true}]';
    assert.equal(text('[{"jsonrpc":"2.0","method":"m"},{"jsonrpc":"2.0","id":1,"method":"m"}]'), answer);
  });

  test("any bytes are either parsed or refused with a JSON-RPC error", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map(utf8Encode),
          fc.string().map((text) => new TextEncoder().encode(text)),
        ),
        (bytes) => {
          try {
            for (const message of parsePayload(bytes).messages) if (message.id !== undefined) JSON.parse(message.id);
          } catch (error) {
            assert.ok(error instanceof RpcError);
          }
        },
      ),
    );
  });

  test("the id of any call is echoed without a change of value", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(null)),
        fc.json(),
        (id, params) => {
          const message = messageOf(`{"jsonrpc":"2.0","params":[${params}],"id":${JSON.stringify(id)},"method":"m"}`);
          assert.deepEqual(JSON.parse(message.id as string), JSON.parse(JSON.stringify(id)));
        },
      ),
    );
  });
});
