/** What clients, known or not, can do to a node's client port with few means. */
import assert from "node:assert/strict";
import { request as httpsRequest, Agent } from "node:https";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { toHex } from "../../src/core/codec/bytes.ts";
import { MAX_REQUEST_BYTES } from "../../src/core/governance/signed-request.ts";
import {
  type FrontendResponse,
  SMALL_ANSWER_BYTES_MAX,
  type FrontendRequest,
  HEADERS_TIMEOUT_MS,
  UNAUTHENTICATED_REQUESTS_MAX,
} from "../../src/enclave/manager/frontend.ts";
import { CocoError } from "../../src/errors.ts";
import { certificatesPem, issue } from "../support/issue-certificates.ts";
import { closeFrontends, frontend, raw, stranger } from "../support/test-frontend.ts";

/** Time after a limit in which the connection must be gone. */
const GRACE_MS = 8_000;

after(closeFrontends);

const caller = { actor: "member1", certificate: "00" };

// They wait for the same limit: together.
describe("the client port, of slow clients,", { concurrency: true }, () => {
  for (const [name, withCertificate, text] of [
    ["sends its headers byte by byte", true, "POST /eth HTTP/1.1\r\nhost: a\r\n"],
    ["says nothing at all", true, ""],
    ["has no certificate and sends its headers byte by byte", false, "POST /eth HTTP/1.1\r\nhost: a\r\n"],
  ] as const) {
    test(`closes the connection of a client that ${name}`, async () => {
      const { port, certificate, privateKey } = await frontend(() => caller);
      const keys = withCertificate ? { cert: certificate, key: privateKey } : {};
      const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...keys });
      const closed = new Promise<boolean>((resolve) => socket.on("close", () => resolve(true)));
      socket.on("error", () => {});
      socket.resume();
      socket.on("secureConnect", () => socket.write(text));
      const drip = setInterval(() => text !== "" && !socket.destroyed && socket.write("x: y\r\n"), 500);
      const gone = await Promise.race([closed, delay(HEADERS_TIMEOUT_MS + GRACE_MS, false, { ref: false })]);
      clearInterval(drip);
      socket.destroy();
      assert.equal(gone, true, `still open ${GRACE_MS} ms after the limit for headers`);
    });
  }
});

describe("the client port", () => {
  test("does not serve an actor any more whose certificate expired while it was connected", async () => {
    let valid = true;
    const { port, certificate, privateKey } = await frontend(() =>
      valid ? caller : new CocoError("CertificateExpired", "expired"),
    );
    const agent = new Agent({
      keepAlive: true,
      maxSockets: 1,
      rejectUnauthorized: false,
      cert: certificate,
      key: privateKey,
    });
    after(() => agent.destroy());
    const status = (): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const request = httpsRequest({ host: "127.0.0.1", port, path: "/", agent }, (response) => {
          response.resume();
          response.on("end", () => resolve(response.statusCode));
        });
        request.on("error", reject);
        request.end();
      });
    assert.equal(await status(), 200);
    valid = false;
    await delay(50);
    assert.equal(await status(), 401);
  });

  test("hands over every certificate a client presents, on each of its connections", async () => {
    const chains: (readonly Uint8Array[])[] = [];
    const { port } = await frontend((chain) => {
      chains.push(chain);
      return caller;
    });
    const root = issue({ ca: true });
    const middle = issue({ ca: true, issuer: root });
    const leaf = issue({ issuer: middle });
    const cert = certificatesPem([leaf.der, middle.der, root.der]);
    const key = leaf.key.privateKey.export({ type: "pkcs8", format: "pem" });
    let session: Buffer | undefined;
    for (let connection = 0; connection < 2; connection++) {
      const options = { host: "127.0.0.1", port, rejectUnauthorized: false, cert, key, ...(session && { session }) };
      const socket = connect(options, () => socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2)));
      socket.on("session", (made) => {
        session = made;
      });
      let answer = "";
      for await (const data of socket) {
        answer += String(data);
        if (answer.split("200 OK").length === 3) break;
      }
    }
    assert.equal(chains.length, 4);
    for (const chain of chains)
      assert.deepEqual(
        chain.map(toHex),
        [leaf, middle, root].map(({ der }) => toHex(der)),
      );
    assert.equal(chains[0], chains[1], "the same array for each request of a connection");
  });

  test("tells a client without a certificate from one nobody knows", async () => {
    const unknown = new CocoError("CertificateUnknown", "nobody");
    const { port } = await frontend(() => unknown);
    const stranger = issue();
    const keys = {
      cert: certificatesPem([stranger.der]),
      key: stranger.key.privateKey.export({ type: "pkcs8", format: "pem" }),
    };
    const codeOf = (options: object): Promise<string> =>
      new Promise((resolve, reject) => {
        const request = httpsRequest(
          { host: "127.0.0.1", port, agent: false, rejectUnauthorized: false, ...options },
          (response) => {
            assert.equal(response.statusCode, 401);
            let body = "";
            response.on("data", (data) => {
              body += String(data);
            });
            response.on("end", () => resolve(JSON.parse(body).error.code));
          },
        );
        request.on("error", reject);
        request.end();
      });
    assert.equal(await codeOf({}), "AuthenticationRequired");
    assert.equal(await codeOf(keys), "CertificateUnknown");
  });

  test("keeps no further large answer of an adapter, to whatever requests it has, when there are too many", async () => {
    const large = new Uint8Array(SMALL_ANSWER_BYTES_MAX + 1);
    const open: ((answer: FrontendResponse) => void)[] = [];
    const { port, certificate, privateKey, front } = await frontend(() => caller, {
      bytesUnderWayMax: large.length,
      handle: (_request, respond) => open.push(respond),
    });
    const keys = { host: "127.0.0.1", port, rejectUnauthorized: false, cert: certificate, key: privateKey };
    const statuses: Promise<number | undefined>[] = [];
    for (let count = 0; count < 4; count++)
      statuses.push(
        new Promise((resolve, reject) => {
          const request = httpsRequest({ ...keys, agent: false, path: "/" }, (response) => {
            response.resume();
            resolve(response.statusCode);
          });
          request.on("error", reject);
          request.end();
        }),
      );
    while (open.length < 4) await delay(20);
    // All within one turn: nothing is sent meanwhile.
    for (const [at, respond] of open.entries())
      respond({ status: 200, contentType: "text/plain", body: at === 3 ? large.subarray(1) : large });
    assert.ok(front.bytesUnderWay < 3 * large.length + 1_000);
    assert.deepEqual((await Promise.all(statuses)).sort(), [200, 200, 200, 503]);
  });

  test("keeps a bounded number of bytes for clients that do not take their answers, and lets go of them", async () => {
    const answer = new Uint8Array(32 * 1024 * 1024);
    const { port, certificate, privateKey, front } = await frontend(() => caller, {
      bytesUnderWayMax: answer.length - 1,
      handle: (_request, respond) => respond({ status: 200, contentType: "text/plain", body: answer }),
    });
    const keys = { host: "127.0.0.1", port, rejectUnauthorized: false, cert: certificate, key: privateKey };
    const deaf = connect(keys, () => deaf.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"));
    deaf.on("error", () => {});
    deaf.pause();
    while (front.bytesUnderWay < answer.length) await delay(20);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpsRequest({ ...keys, path: "/", method: "POST" }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on("error", reject);
      request.end("hi");
    });
    assert.equal(status, 503);
    deaf.destroy();
    for (let round = 0; round < 200 && front.bytesUnderWay > 0; round++) await delay(20);
    assert.equal(front.bytesUnderWay, 0);
  });

  test("counts a body while it arrives and lets go of it when its client leaves", async () => {
    const { port, certificate, privateKey, front } = await frontend(() => caller);
    const keys = { host: "127.0.0.1", port, rejectUnauthorized: false, cert: certificate, key: privateKey };
    const body = `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n${"x".repeat(50_000)}`;
    const leaving = connect(keys, () => leaving.write(body));
    leaving.on("error", () => {});
    for (let round = 0; round < 200 && front.bytesUnderWay < 50_000; round++) await delay(20);
    assert.equal(front.bytesUnderWay, 50_000);
    leaving.destroy();
    for (let round = 0; round < 200 && front.bytesUnderWay > 0; round++) await delay(20);
    assert.equal(front.bytesUnderWay, 0);
  });
});

describe("a client without a certificate", () => {
  const nobody = () => new CocoError("CertificateUnknown", "nobody");
  const isSigned = (method: string, path: string) => method === "POST" && path === "/signed";

  test("reaches what a signature is judged at, as nobody, and nothing else", async () => {
    const seen: FrontendRequest[] = [];
    const { port } = await frontend(nobody, {
      isSigned,
      handle: (request, respond) => {
        seen.push(request);
        respond({ status: 200, contentType: "text/plain", body: new Uint8Array(1) });
      },
    });
    assert.equal((await stranger(port, "/signed", Buffer.from("x"))).status, 200);
    assert.equal((await stranger(port, "/other", Buffer.from("x"))).status, 401);
    assert.deepEqual(
      seen.map(({ path, caller, chain }) => ({ path, caller, chain })),
      [{ path: "/signed", caller: undefined, chain: [] }],
    );
  });

  test("sends little at a time", async () => {
    const { port } = await frontend(nobody, { isSigned });
    assert.equal((await stranger(port, "/signed", Buffer.alloc(MAX_REQUEST_BYTES))).status, 200);
    assert.equal((await stranger(port, "/signed", Buffer.alloc(MAX_REQUEST_BYTES + 1))).status, 413);
    await assert.rejects(stranger(port, "/signed", Buffer.alloc(16 * MAX_REQUEST_BYTES)));
  });

  test("has few requests under way, and those are free again when they are answered", async () => {
    const held: (() => void)[] = [];
    const { port } = await frontend(nobody, {
      isSigned,
      handle: (_request, respond) =>
        held.push(() => respond({ status: 200, contentType: "text/plain", body: new Uint8Array(1) })),
    });
    const waiting = Array.from({ length: UNAUTHENTICATED_REQUESTS_MAX }, () =>
      stranger(port, "/signed", Buffer.from("x")),
    );
    while (held.length < UNAUTHENTICATED_REQUESTS_MAX) await delay(5);
    const refused = await stranger(port, "/signed", Buffer.from("x"));
    assert.deepEqual([refused.status, JSON.parse(refused.text).error.code], [503, "TooManyRequests"]);
    for (const answer of held.splice(0)) answer();
    for (const { status } of await Promise.all(waiting)) assert.equal(status, 200);
    const again = stranger(port, "/signed", Buffer.from("x"));
    while (held.length === 0) await delay(5);
    held[0]?.();
    assert.equal((await again).status, 200);
  });
});

describe("requests sent without waiting for their answers", () => {
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;
  const post = "POST /signed HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";

  test("hold nothing any more when the connection of a stranger is gone", async () => {
    const { port, front } = await frontend(() => new CocoError("CertificateUnknown", "nobody"), {
      isSigned: (method, path) => method === "POST" && path === "/signed",
    });
    for (let round = 0; round <= UNAUTHENTICATED_REQUESTS_MAX; round++) await raw(port, {}, get("/").repeat(20) + post);
    for (let round = 0; round < 200 && front.bytesUnderWay > 0; round++) await delay(20);
    assert.equal(front.bytesUnderWay, 0);
    assert.equal((await stranger(port, "/signed", Buffer.from("x"))).status, 200);
  });

  test("begin no answer in parts that outlives the connection", async () => {
    let open = 0;
    const { port, certificate, privateKey } = await frontend(() => ({ actor: "member1", certificate: "00" }), {
      handle: (_request, respond) =>
        respond({
          ...{ status: 200, contentType: "text/event-stream", body: Buffer.from("begin\n") },
          stream: (stream) => {
            open++;
            stream.onClose(() => open--);
          },
        }),
    });
    await raw(port, { cert: certificate, key: privateKey }, get("/feed").repeat(8), 1);
    for (let round = 0; round < 200 && open > 0; round++) await delay(20);
    assert.equal(open, 0);
  });
});

describe("an answer in parts", () => {
  test("reaches its client as it comes, and is cut when the client does not take it", async () => {
    const closed: string[] = [];
    const { port, certificate, privateKey } = await frontend(() => ({ actor: "member1", certificate: "00" }), {
      handle: ({ path }, respond) =>
        respond({
          ...{ status: 200, contentType: "text/event-stream", body: Buffer.from("begin\n") },
          stream: (stream) => {
            assert.ok(!(stream.caller() instanceof CocoError));
            stream.onClose(() => closed.push(path));
            if (path === "/short") {
              stream.write("end\n");
              stream.end();
              return;
            }
            const flood = () => {
              if (closed.includes(path)) return;
              stream.write("x".repeat(16 * 1024));
              setImmediate(flood);
            };
            flood();
          },
        }),
    });
    const options = { host: "127.0.0.1", port, rejectUnauthorized: false, cert: certificate, key: privateKey };
    const text = await new Promise<string>((resolve) => {
      httpsRequest({ ...options, path: "/short", agent: false }, (response) => {
        let read = "";
        response.on("data", (part: Buffer) => {
          read += part.toString();
        });
        response.on("end", () => resolve(read));
      }).end();
    });
    assert.equal(text, "begin\nend\n");
    const socket = connect(options);
    socket.on("error", () => {});
    socket.on("secureConnect", () => {
      socket.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
      socket.pause();
    });
    while (!closed.includes("/slow")) await delay(10);
    socket.destroy();
    assert.deepEqual(closed, ["/short", "/slow"]);
  });
});
