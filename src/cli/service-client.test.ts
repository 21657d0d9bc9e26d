import assert from "node:assert/strict";
import { createServer as createPlainServer } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import {
  createServiceCertificate,
  endorseNodeCertificate,
  endorseServiceCertificate,
  generateKeyPairPem,
} from "../enclave/manager/certificates.ts";
import { nodeEntropy } from "../enclave/manager/node-crypto.ts";
import { ServiceClient } from "./service-client.ts";

const issuance = { notBeforeMs: Date.now() - 60_000, days: 1, entropy: nodeEntropy };
function service() {
  const { privateKey } = generateKeyPairPem();
  return { privateKey, certificate: createServiceCertificate(privateKey, issuance) };
}
const [older, newer] = [service(), service()];
const nodeKey = generateKeyPairPem();
const node = { nodeId: "ab".repeat(32), publicKey: nodeKey.publicKey, hosts: ["127.0.0.1"] };

let server: Server;
let url: string;
/** Answers in their order, then the last one again. */
let answers: readonly (readonly [status: number, body: string])[] = [];
let asked = 0;

before(async () => {
  const cert = endorseNodeCertificate(node, newer, issuance);
  const endorsement = endorseServiceCertificate(newer.certificate, older, issuance, "service");
  server = createServer({ key: nodeKey.privateKey, cert: cert + endorsement }, (request, response) => {
    request.resume();
    const [status, body] = answers[Math.min(asked++, answers.length - 1)] ?? [200, "{}"];
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

async function ask(
  reply: readonly (readonly [number, string])[],
  serviceCertificate = newer.certificate,
  patienceMs?: number,
): Promise<unknown> {
  answers = reply;
  asked = 0;
  const client = new ServiceClient({ url, serviceCertificate, ...(patienceMs !== undefined && { patienceMs }) });
  try {
    return await client.json("/x");
  } finally {
    client.close();
  }
}

test("a connection that is used again is still the node's", async () => {
  answers = [[200, "{}"]];
  const client = new ServiceClient({ url, serviceCertificate: newer.certificate });
  try {
    assert.equal(client.peerCertificate, undefined);
    for (let at = 0; at < 3; at++) {
      await client.json("/x");
      assert.ok(client.peerCertificate && client.peerKey, `answer ${at}`);
    }
  } finally {
    client.close();
  }
});

const failure = (code: string, more = {}) =>
  JSON.stringify({ error: { code, message: "no\u001b[31m", remedy: "-", ...more } });

describe("the client of a service", () => {
  test("trusts the named identity and those it endorsed, and no other", async () => {
    assert.deepEqual(await ask([[200, '{"a":1}']]), { a: 1 });
    assert.deepEqual(await ask([[200, '{"a":2}']], older.certificate), { a: 2 });
    await assert.rejects(ask([[200, "{}"]], service().certificate), { code: "ServiceNotTrusted" });
  });

  test("a node's error keeps its code and data, without what a terminal would act on", async () => {
    const body = failure("ProposalInvalid", { reason: "ActorUnknown", action: 1, more: { no: 1 } });
    const expected = { code: "ProposalInvalid", message: "no [31m", data: { reason: "ActorUnknown", action: 1 } };
    await assert.rejects(ask([[400, body]]), expected);
  });

  test("asks again while there is no leader, within its patience", async () => {
    assert.deepEqual(
      await ask([
        [503, failure("NoLeader")],
        [200, "[]"],
      ]),
      [],
    );
    assert.equal(asked, 2);
    await assert.rejects(ask([[503, failure("NoLeader")]], newer.certificate, 0), { code: "NoLeader" });
    assert.equal(asked, 1);
    await assert.rejects(ask([[503, failure("NotReady")]]), { code: "NotReady" });
    assert.equal(asked, 1);
  });

  test("what is no answer of a node is said to be none", async () => {
    for (const reply of [
      [200, "<html>"],
      [502, "bad gateway"],
      [500, failure("NoSuchCode")],
      [404, "null"],
    ] as const)
      await assert.rejects(ask([reply]), { code: "AnswerInvalid" }, reply[1]);
  });

  test("addresses that are none, or where nobody is, are told apart", async () => {
    for (const bad of ["127.0.0.1:1", "http://127.0.0.1:1", "https://h/path", "https://user@h"])
      assert.throws(() => new ServiceClient({ url: bad, serviceCertificate: undefined }), { code: "WrongUsage" }, bad);
    const client = new ServiceClient({ url: "https://127.0.0.1:9", serviceCertificate: newer.certificate });
    await assert.rejects(client.json("/x"), { code: "CannotConnect" });
  });

  test("a port for other nodes, and one for wallets, are told as what they may be", async () => {
    const lone = generateKeyPairPem();
    const cert = createServiceCertificate(lone.privateKey, issuance);
    const peers = createServer({ key: lone.privateKey, cert }, (_request, response) => response.end("{}"));
    const wallets = createPlainServer((_request, response) => response.end("{}"));
    for (const [other, code, says] of [
      [peers, "ServiceNotTrusted", /self-signed certificate: this may be the port for other nodes/],
      [wallets, "CannotConnect", /a sandbox's port for wallets takes plain HTTP/],
    ] as const) {
      await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
      const address = `https://127.0.0.1:${(other.address() as AddressInfo).port}`;
      const client = new ServiceClient({ url: address, serviceCertificate: newer.certificate });
      await assert.rejects(client.json("/x"), { code, message: says });
      client.close();
      other.closeAllConnections();
      other.close();
    }
  });
});
