import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { after, describe, test } from "node:test";
import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  createServiceCertificate,
  endorseNodeCertificate,
  generateKeyPairPem,
} from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { type Gateway, MAX_GATEWAY_BODY_BYTES, startGateway } from "./gateway.ts";
import { Upstream, type UpstreamNode } from "./gateway-upstream.ts";
import { createOrganisation, createStaff } from "./organisation.ts";

const issuance = { notBeforeMs: Date.now() - 60_000, days: 1, entropy: nodeEntropy };
const serviceKey = generateKeyPairPem();
const service = {
  privateKey: serviceKey.privateKey,
  certificate: createServiceCertificate(serviceKey.privateKey, issuance),
};
const client = createStaff("test gateway", createOrganisation("member0", "Member 0", 1), 1);

/** What a fake node does with a request: an answer, or undefined to break off without one. */
type Behaviour = (body: string) => { status?: number; text: string } | undefined;

const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
});

/** A node that speaks TLS with an endorsed certificate. */
async function startNode(
  name: string,
  behaviour: Behaviour,
  endorser = service,
): Promise<UpstreamNode & { server: Server }> {
  const { privateKey, publicKey } = generateKeyPairPem();
  const cert = endorseNodeCertificate({ nodeId: name, publicKey, hosts: ["127.0.0.1"] }, endorser, issuance);
  const options = {
    key: privateKey,
    cert,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  } as const;
  const server = createServer(options, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const answer = behaviour(Buffer.concat(chunks).toString());
      if (answer === undefined) request.socket.destroy();
      else response.writeHead(answer.status ?? 200, { "content-type": "application/json" }).end(answer.text);
    });
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { name, host: "127.0.0.1", port: (server.address() as AddressInfo).port, server };
}

async function start(...nodes: readonly UpstreamNode[]): Promise<Gateway> {
  const upstream = new Upstream({ ca: service.certificate, cert: client.certificate, key: client.privateKey });
  const gateway = await startGateway({ port: 0, mount: "/eth", upstream, nodes });
  closers.push(() => {
    gateway.close();
    upstream.close();
  });
  return gateway;
}

interface Call {
  readonly body?: string | Buffer;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function call(gateway: Gateway, { body, method = "POST", path = "/", headers = {} }: Call) {
  return new Promise<{ status: number; text: string; headers: NodeJS.Dict<string | string[]> }>((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: gateway.port, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          headers: response.headers,
        });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

const echo: Behaviour = (body) => ({ text: `{"seen":${JSON.stringify(body)}}` });
const rpc = (id: number, method: string, ...params: readonly unknown[]) => ({ jsonrpc: "2.0", id, method, params });
const resultOf = (id: number, result: unknown) => ({ jsonrpc: "2.0", id, result });
const errorOf = (id: number, message: string) => ({ jsonrpc: "2.0", id, error: { code: -32000, message } });

const RAW = "0x02f8";
const RAW_HASH = `0x${Buffer.from(keccak_256(Uint8Array.of(0x02, 0xf8))).toString("hex")}`;

describe("gateway", () => {
  test("passes the bytes of a request on and gives status and body of the answer back", async () => {
    const gateway = await start(
      await startNode("node0", (body) => ({ status: 503, text: `{"seen":${JSON.stringify(body)}}` })),
    );
    const body = '{ "id": 1.0, "method":"eth_chainId" }';
    for (const path of ["/", "/eth", "/?x=1"]) {
      const { status, text } = await call(gateway, { body, path });
      assert.equal(status, 503);
      assert.deepEqual(JSON.parse(text), { seen: body });
    }
    assert.deepEqual(JSON.parse((await call(gateway, { body: "no JSON" })).text), { seen: "no JSON" });
  });

  test("refuses other hosts, origins, paths, methods and bodies above the limit before any node sees them", async () => {
    let seen = 0;
    const gateway = await start(
      await startNode("node0", () => {
        seen++;
        return { text: "{}" };
      }),
    );
    const body = JSON.stringify(rpc(1, "eth_chainId"));
    assert.equal((await call(gateway, { body, headers: { host: "evil.example" } })).status, 403);
    assert.equal((await call(gateway, { body, headers: { host: `evil.example:${gateway.port}` } })).status, 403);
    assert.equal((await call(gateway, { body, headers: { origin: "https://evil.example" } })).status, 403);
    assert.equal((await call(gateway, { body, headers: { origin: "null" } })).status, 403);
    assert.equal((await call(gateway, { body, path: "/node/state" })).status, 404);
    assert.equal((await call(gateway, { body, method: "PUT" })).status, 405);
    const large = await call(gateway, { body: Buffer.alloc(MAX_GATEWAY_BODY_BYTES + 1, 0x20) });
    assert.equal(large.status, 413);
    assert.equal(JSON.parse(large.text).error.code, -32600);
    assert.equal((await call(gateway, { body: JSON.stringify(rpc(1, "debug_traceCall")) })).status, 200);
    assert.equal(seen, 0);
  });

  test("pages of this machine get CORS headers, and GET / says what this is", async () => {
    const gateway = await start(await startNode("node0", echo));
    const origin = "http://localhost:3000";
    const preflight = await call(gateway, { method: "OPTIONS", headers: { origin } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers["access-control-allow-origin"], origin);
    assert.match(String(preflight.headers["access-control-allow-headers"]), /content-type/);
    assert.equal(
      (await call(gateway, { body: "{}", headers: { origin } })).headers["access-control-allow-origin"],
      origin,
    );
    assert.equal((await call(gateway, { body: "{}" })).headers["access-control-allow-origin"], undefined);
    assert.match((await call(gateway, { method: "GET" })).text, /Ethereum JSON-RPC/);
  });

  test("foreign methods in a batch are answered here while the others reach the node", async () => {
    const behaviour: Behaviour = (body) => {
      const requests: { id: number; method: string }[] = JSON.parse(body);
      return { text: JSON.stringify(requests.map(({ id, method }) => resultOf(id, method))) };
    };
    const gateway = await start(await startNode("node0", behaviour));
    const mixed = JSON.stringify([rpc(1, "eth_chainId"), rpc(2, "evm_mine"), rpc(3, "net_version")]);
    const answers: { id: number; result?: string; error?: { code: number } }[] = JSON.parse(
      (await call(gateway, { body: mixed })).text,
    );
    assert.deepEqual(
      answers.map(({ id, result, error }) => [id, result ?? error?.code]),
      [
        [1, "eth_chainId"],
        [3, "net_version"],
        [2, -32601],
      ],
    );
    const foreign = JSON.parse((await call(gateway, { body: JSON.stringify([rpc(2, "evm_mine")]) })).text);
    assert.deepEqual(
      foreign.map(({ id }: { id: number }) => id),
      [2],
    );
  });

  test("another node answers while the gateway's own is away, and its own again later", async () => {
    const own = await startNode("node0", () => ({ text: '"own"' }));
    const gateway = await start(own, await startNode("node1", () => ({ text: '"other"' })));
    const body = JSON.stringify(rpc(1, "eth_chainId"));
    assert.equal((await call(gateway, { body })).text, '"own"');
    own.server.close();
    own.server.closeAllConnections();
    for (let count = 0; count < 3; count++) assert.equal((await call(gateway, { body })).text, '"other"');
    await new Promise<void>((resolve) => own.server.listen(own.port, "127.0.0.1", resolve));
    let text = "";
    for (let count = 0; count < 100 && text !== '"own"'; count++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      ({ text } = await call(gateway, { body }));
    }
    assert.equal(text, '"own"');
  });

  test("no node, or none that the service endorses: 503 with a JSON-RPC error", async () => {
    const strangerKey = generateKeyPairPem().privateKey;
    const stranger = { privateKey: strangerKey, certificate: createServiceCertificate(strangerKey, issuance) };
    const impostor = await startNode("impostor", echo, stranger);
    const gateway = await start({ name: "gone", host: "127.0.0.1", port: 1 }, impostor);
    const { status, text } = await call(gateway, { body: JSON.stringify(rpc(9, "eth_chainId")) });
    assert.equal(status, 503);
    assert.equal(JSON.parse(text).error.code, -32603);
  });

  test("a transaction whose first answer was lost is answered with its hash, alone and in a batch", async () => {
    const behaviour: Behaviour = (body) => {
      const parsed: ReturnType<typeof rpc> | ReturnType<typeof rpc>[] = JSON.parse(body);
      if (!Array.isArray(parsed)) {
        if (parsed.method === "eth_getTransactionByHash") {
          return { text: JSON.stringify(resultOf(parsed.id, parsed.params[0] === RAW_HASH ? {} : null)) };
        }
        return { text: JSON.stringify(errorOf(parsed.id, "already known")) };
      }
      const answers = [
        errorOf(1, "already known"),
        errorOf(2, "nonce too low: next nonce 5, tx nonce 4"),
        errorOf(3, "nonce too low: next nonce 5, tx nonce 4"),
        errorOf(4, "already known"),
      ];
      return { text: JSON.stringify(answers) };
    };
    const dying = await startNode("node0", () => undefined);
    const gateway = await start(dying, await startNode("node1", behaviour));
    const single = await call(gateway, { body: JSON.stringify(rpc(5, "eth_sendRawTransaction", RAW)) });
    assert.deepEqual(JSON.parse(single.text), resultOf(5, RAW_HASH));
    await new Promise((resolve) => setTimeout(resolve, 600));
    const batch = [
      rpc(1, "eth_sendRawTransaction", RAW),
      rpc(2, "eth_sendRawTransaction", RAW),
      rpc(3, "eth_sendRawTransaction", "0x01"),
      rpc(4, "eth_call"),
    ];
    assert.deepEqual(JSON.parse((await call(gateway, { body: JSON.stringify(batch) })).text), [
      resultOf(1, RAW_HASH),
      resultOf(2, RAW_HASH),
      errorOf(3, "nonce too low: next nonce 5, tx nonce 4"),
      errorOf(4, "already known"),
    ]);
  });

  test("a transaction that was sent once keeps its error", async () => {
    const gateway = await start(
      { name: "gone", host: "127.0.0.1", port: 1 },
      await startNode("node1", () => ({ text: JSON.stringify(errorOf(1, "already known")) })),
    );
    const { text } = await call(gateway, { body: JSON.stringify(rpc(1, "eth_sendRawTransaction", RAW)) });
    assert.deepEqual(JSON.parse(text), errorOf(1, "already known"));
  });

  test("a taken port is named with the process that holds it", async () => {
    const gateway = await start(await startNode("node0", echo));
    const upstream = new Upstream({ ca: service.certificate, cert: client.certificate, key: client.privateKey });
    await assert.rejects(startGateway({ port: gateway.port, mount: "/eth", upstream, nodes: [] }), (error: unknown) => {
      assert.ok(error instanceof Error && error.message.includes(String(gateway.port)), String(error));
      return true;
    });
    upstream.close();
  });
});
