import assert from "node:assert/strict";
import { createServer, type Server } from "node:https";
import { after, describe, test } from "node:test";
import { encodeVirtualEvidence } from "../../attestation/virtual.ts";
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import { constitutionDigest } from "../../core/governance/constitution-codec.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { CocoError } from "../../errors.ts";
import { requestJoin } from "../../host/join.ts";
import { TEST_CODE } from "../../../test/support/founders.ts";
import { createNodeCertificate } from "./certificates.ts";
import { errorResponse, type FrontendResponse } from "./frontend.ts";
import { JOIN_ENDPOINTS } from "./join-api.ts";
import { JoinDesk } from "./join-desk.ts";
import { nodeEntropy, sha256 } from "./node-crypto.ts";
import { network, ports, started } from "./test-service-network.ts";

const { constitution, networkId, machine } = network;
const [server, listed] = network.nodes;
if (server === undefined || listed === undefined) throw assert.fail("a network has nodes");

const attest = (reportData: Bytes): Bytes =>
  encodeVirtualEvidence(
    { measurement: TEST_CODE.measurement, reportData, machineKey: machine.machineKey },
    machine.sign,
  );

const { tee: _tee, ...node } = listed.request;
const newcomer = {
  node,
  tee: { code: TEST_CODE, attest: (reportData: Bytes) => Promise.resolve(attest(reportData)) },
};

const servers: Server[] = [];
after(() => servers.forEach((one) => one.close()));

/** Serves a desk as a node does, with the state it has at each of its answers; the address. */
async function serve(states: { challenge: GovernanceState; answer: GovernanceState }): Promise<string> {
  let state = states.challenge;
  const desk = new JoinDesk({
    ...{ networkId, genesis: constitution, node: server?.request ?? assert.fail(), committed: () => state },
    evidence: {
      make: (reportData, take) => {
        take(attest(reportData));
        return () => undefined;
      },
    },
    ...{ crypto: ports.crypto, entropy: nodeEntropy, tracer: { event: () => undefined }, ledgerTime: () => 0 },
    clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
  });
  const key = server?.privateKey.export({ type: "pkcs8", format: "pem" }).toString() ?? assert.fail();
  const issuance = { notBeforeMs: Date.now() - 1_000, days: 1, entropy: nodeEntropy };
  const cert = createNodeCertificate(server?.request.nodeId ?? "", key, issuance);
  const https = createServer({ key, cert, minVersion: "TLSv1.3" }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const respond = ({ status, body }: FrontendResponse): void => {
        response.writeHead(status).end(body);
        state = states.answer;
      };
      const { method = "", url: path = "" } = request;
      const body = new Uint8Array(Buffer.concat(chunks));
      const rest = { query: new URLSearchParams(), headers: {}, caller: undefined, chain: [] };
      try {
        JOIN_ENDPOINTS.answer(desk, { method, path, body, ...rest }, () => constitution, respond);
      } catch (error) {
        if (error instanceof CocoError) respond(errorResponse(error));
      }
    });
  });
  servers.push(https);
  await new Promise<void>((done) => https.listen(0, "127.0.0.1", done));
  const address = https.address();
  return `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

/** The network after its members approved more code. */
const changed = {
  ...constitution,
  codeManifest: [...constitution.codeManifest, { ...TEST_CODE, measurement: "22".repeat(32) }],
};
const later: GovernanceState = {
  ...started,
  constitution: changed,
  constitutionDigest: constitutionDigest(changed, sha256),
};

describe("a newcomer and the node it asks", () => {
  test("come to an offer where both know the same constitution", async () => {
    const url = await serve({ challenge: started, answer: started });
    const offer = await requestJoin(newcomer, url, { networkId });
    assert.equal(offer.digest, toHex(started.constitutionDigest));
  });

  test("do not where another one is in force since the challenge", async () => {
    const url = await serve({ challenge: started, answer: later });
    await assert.rejects(requestJoin(newcomer, url, { networkId }), { code: "JoinConstitutionDiffers" });
  });

  test("do not where the answer brings another one than the challenge named", async () => {
    // A node that tells the digest of one constitution, and takes it for that of another.
    const two = { ...started, constitution: changed };
    const url = await serve({ challenge: two, answer: two });
    const refusal = { code: "JoinAnswerUntrusted", message: /not the one that came with the challenge/ };
    await assert.rejects(requestJoin(newcomer, url, { networkId }), refusal);
  });
});
