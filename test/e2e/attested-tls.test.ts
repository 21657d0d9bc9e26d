/**
 * Attested TLS: a client sees by the certificate of its connection that it ends where the recorded evidence was made, and verifies
 * that evidence itself.
 */
import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { present, runCoco, runProcess, until } from "./lib/processes.ts";
import { type Sandbox, startSandbox } from "./lib/sandbox.ts";

let sandbox: Sandbox;

before(async () => {
  sandbox = await startSandbox();
});
after(() => sandbox?.stop());

interface Trust {
  readonly connectedTo: string | null;
  readonly weakestRunning: string;
  readonly nodes: readonly { readonly nodeId: string; readonly isTrusted: boolean; readonly tee: string }[];
}

async function trustOf(rpc: string) {
  const { ca, members } = sandbox.endpoints;
  const { cert, key } = present(members[0]);
  const { code, stdout } = await runCoco(
    ...["attest", "network", rpc, "--service-cert", ca, "--cert", cert, "--key", key, "--json"],
  );
  return { code, trust: JSON.parse(stdout) as Trust };
}

describe("coco attest network", () => {
  test("trusts every node, and knows which of them each connection ends at", async () => {
    const ends = await Promise.all(
      sandbox.endpoints.nodes.map(({ rpc }) =>
        until("the node's evidence is recorded, and named by its certificate", async () => {
          const { code, trust } = await trustOf(rpc);
          if (trust.connectedTo === null || code !== 0) return undefined;
          assert.equal(trust.weakestRunning, "virtual");
          assert.ok(trust.nodes.every(({ isTrusted, tee }) => isTrusted && tee === "virtual"));
          return trust.connectedTo;
        }),
      ),
    );
    assert.equal(new Set(ends).size, 3);
  });

  test("openssl sees the digest of the recorded evidence in the certificate", async () => {
    const { rpc } = present(sandbox.endpoints.nodes[1]);
    const shown = await runProcess("openssl", ["s_client", "-connect", new URL(rpc).host, "-showcerts"]);
    const pem = present(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(shown.stdout)?.[0]);
    const { raw, subject } = new X509Certificate(pem);
    const member = await sandbox.member(1);
    const { body } = await member.http({ method: "GET", path: "/node/evidence" });
    const quotes = JSON.parse(body).quotes as readonly { readonly node_id: string; readonly raw: string }[];
    const quote = present(quotes.find(({ node_id }) => subject.includes(node_id)));
    const digest = createHash("sha256").update(Buffer.from(quote.raw, "base64")).digest();
    assert.ok(raw.includes(digest), "the certificate holds the digest");
    const text = await runProcess("openssl", ["x509", "-noout", "-text"], { input: pem });
    assert.match(text.stdout, /1\.3\.6\.1\.5\.5\.7\.1\.35/);
  });
});
