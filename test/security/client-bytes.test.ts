/** Bytes at the client port that can be read in two ways, or that do not come. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { UNAUTHENTICATED_REQUESTS_MAX } from "../../src/enclave/manager/frontend.ts";
import { CocoError } from "../../src/errors.ts";
import { closeFrontends, frontend, raw, stranger } from "../support/test-frontend.ts";

after(closeFrontends);

describe("bytes that can be read in two ways", () => {
  const GET = "GET /second HTTP/1.1\r\nhost: a\r\n\r\n";
  const BOTH: Readonly<Record<string, string>> = {
    "a length and chunks": `POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${GET}`,
    "two lengths": `POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: ${GET.length}\r\n\r\n${GET}`,
    "a length with a sign": `POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nabcd${GET}`,
    "another encoding": `POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n${GET}`,
    "a space before a colon": `POST /a HTTP/1.1\r\nhost: a\r\ncontent-length : 4\r\n\r\nabcd${GET}`,
    "a space in the path": `GET /a b HTTP/1.1\r\nhost: a\r\n\r\n${GET}`,
    "half an end of line": `GET /a HTTP/1.1\nhost: a\n\n${GET}`,
    "a tunnel": `CONNECT /a HTTP/1.1\r\nhost: a\r\n\r\n${GET}`,
  };

  for (const [name, bytes] of Object.entries(BOTH))
    test(`${name}: at most the first request is seen, and no second one`, async () => {
      const seen: string[] = [];
      const { port, certificate, privateKey } = await frontend(() => ({ actor: "member1", certificate: "00" }), {
        handle: ({ path }, respond) => {
          seen.push(path);
          respond({ status: 200, contentType: "text/plain", body: new Uint8Array(1) });
        },
      });
      const text = await raw(port, { cert: certificate, key: privateKey }, bytes);
      assert.ok(!seen.includes("/second"), `${seen.join()}: ${text}`);
      assert.equal(text.split("HTTP/1.1 200").length <= 1, true, text);
    });
});

describe("a body that does not come", () => {
  test("holds one of the few places of strangers, and lets go of it with its connection", async () => {
    const { port, certificate, privateKey } = await frontend(
      (chain) =>
        chain.length > 0 ? { actor: "member1", certificate: "00" } : new CocoError("CertificateUnknown", "nobody"),
      { isSigned: () => true },
    );
    const head = "POST /signed HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx";
    const slow = Array.from({ length: UNAUTHENTICATED_REQUESTS_MAX }, () => {
      const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => socket.write(head));
      return socket.on("error", () => {});
    });
    while ((await stranger(port, "/signed", Buffer.from("x"))).status !== 503) await delay(5);
    const whole = "POST /signed HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
    const known = await raw(port, { cert: certificate, key: privateKey }, whole, 1);
    assert.match(known, /^HTTP\/1.1 200/, "whoever has a certificate is not kept waiting by them");
    for (const socket of slow) socket.destroy();
    while ((await stranger(port, "/signed", Buffer.from("x"))).status !== 200) await delay(5);
  });
});
