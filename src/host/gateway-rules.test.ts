import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { appendToBatch, foreignMethod, isAllowedOrigin, isForeign, isOwnHost, requestsOf } from "./gateway-rules.ts";

describe("gateway rules", () => {
  test("only names of this machine with the gateway's own port are its host", () => {
    for (const host of ["127.0.0.1:8545", "localhost:8545", "[::1]:8545"]) assert.ok(isOwnHost(host, 8545), host);
    const others = [
      undefined,
      "",
      "localhost",
      "127.0.0.1",
      "127.0.0.1:8546",
      "evil.example:8545",
      "127.0.0.1:8545.evil.example",
    ];
    for (const host of others) assert.ok(!isOwnHost(host, 8545), String(host));
  });

  test("programs, pages of this machine and wallet extensions may call; other origins may not", () => {
    const allowed = [
      undefined,
      "http://localhost:3000",
      "https://localhost",
      "http://127.0.0.1:5173",
      "http://[::1]:80",
      "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn",
      "moz-extension://5f5c9b1e-0000-4000-8000-000000000000",
    ];
    for (const origin of allowed) assert.ok(isAllowedOrigin(origin), String(origin));
    const refused = [
      "",
      "null",
      "file://",
      "https://evil.example",
      "http://localhost.evil.example",
      "http://127.0.0.1.evil.example",
      "http://evil.example?http://localhost",
      "http://localhost:3000/",
      "http://user@localhost:3000",
    ];
    for (const origin of refused) assert.ok(!isAllowedOrigin(origin), origin);
  });

  test("methods of Ethereum pass, every other name is foreign, and what is no name is left to the node", () => {
    for (const method of ["eth_call", "net_version", "web3_sha3", "coco_replaySetState", "rpc_modules"]) {
      assert.ok(!isForeign({ method }), method);
    }
    for (const method of ["debug_traceCall", "admin_peers", "eth_", "ETH_call", "eth_call\n", "", "rpc_modules2"]) {
      assert.ok(isForeign({ method }), method);
    }
    for (const request of [undefined, null, 7, [], {}, { method: 7 }]) assert.ok(!isForeign(request));
  });

  test("a foreign method is answered in JSON-RPC's words with the caller's id", () => {
    const answer: unknown = JSON.parse(foreignMethod({ id: "x", method: "evm_mine" }));
    const error = { code: -32601, message: "the method evm_mine does not exist/is not available" };
    assert.deepEqual(answer, { jsonrpc: "2.0", id: "x", error });
    assert.equal(JSON.parse(foreignMethod({ id: { a: 1 }, method: "evm_mine" })).id, null);
  });

  test("errors are appended to the answer of a batch, and to nothing else", () => {
    assert.equal(appendToBatch('[{"id":1}]\n', ['{"id":2}']), '[{"id":1},{"id":2}]');
    assert.equal(appendToBatch("[]", ['{"id":2}']), '[{"id":2}]');
    assert.equal(appendToBatch('{"id":1}', ['{"id":2}']), undefined);
  });

  test("requests of a body are its objects", () => {
    assert.deepEqual(requestsOf([{ id: 1 }, 7, null, [{}]]), [{ id: 1 }]);
    assert.deepEqual(requestsOf({ id: 1 }), [{ id: 1 }]);
    assert.deepEqual(requestsOf("x"), []);
  });
});
