/**
 * Receipts: from a transaction's hash to a proof that anyone checks offline, with the command line and, independently,
 * with openssl alone.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import type { Receipt } from "../../src/core/ledger/receipt.ts";
import type { RpcClient } from "./lib/json-rpc.ts";
import { present, runCoco, runProcess, until } from "./lib/processes.ts";
import { type Sandbox, startSandbox } from "./lib/sandbox.ts";

let sandbox: Sandbox;
let node: RpcClient;
let receipt: Receipt;
let transactionId: string;

before(async () => {
  sandbox = await startSandbox();
  node = await sandbox.member(1);
  const account = privateKeyToAccount(present(sandbox.endpoints.accounts[0]).privateKey);
  // Several transactions, so that the tree has more than one level.
  const hashes: Hex[] = [];
  for (let nonce = 0; nonce < 8; nonce++) {
    const raw = await account.signTransaction({
      ...{ to: account.address, nonce, gas: 21_000n, chainId: 31337, type: "eip1559" },
      ...{ maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n },
    });
    hashes.push(await node.call<Hex>("eth_sendRawTransaction", raw));
  }
  transactionId = await until(
    "the transaction is committed",
    async () => (await node.call<string | null>("coco_getTransactionId", hashes[5])) ?? undefined,
  );
  const answer = await node.http({ method: "GET", path: `/node/receipt?transaction_id=${transactionId}` });
  assert.equal(answer.status, 200, answer.body);
  receipt = JSON.parse(answer.body) as Receipt;
});
after(() => sandbox?.stop());

/** Verifies a receipt with the command line. */
async function verify(value: unknown, serviceCertificate = sandbox.endpoints.ca) {
  const file = join(sandbox.dir, "receipt.json");
  await writeFile(file, typeof value === "string" ? value : JSON.stringify(value));
  return runCoco("receipt", "verify", file, "--service-cert", serviceCertificate);
}

const flipped = (hex: string): string => `${hex.startsWith("0") ? "1" : "0"}${hex.slice(1)}`;

describe("a receipt", () => {
  test("is verified offline, and names its transaction", async () => {
    const { code, stdout, stderr } = await verify(receipt);
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`\\b${transactionId.replace(".", "\\.")}\\b`));
  });

  test("of every node is valid", async () => {
    for (const at of [0, 2]) {
      const client = await sandbox.member(at);
      const other = await until("the node has committed it", async () => {
        const { status, body } = await client.http({
          ...{ method: "GET", path: `/node/receipt?transaction_id=${transactionId}` },
        });
        return status === 200 ? body : undefined;
      });
      assert.equal((await verify(other)).code, 0);
    }
  });

  test("with any changed field proves nothing", async () => {
    const components = present(receipt.leaf_components);
    const [step, ...steps] = receipt.proof;
    const changed: readonly (readonly [string, unknown])[] = [
      ["signature", { ...receipt, signature: `${receipt.signature.slice(0, 20)}AAAA${receipt.signature.slice(24)}` }],
      ["node_id", { ...receipt, node_id: flipped(receipt.node_id) }],
      ["transaction_id", { ...receipt, transaction_id: "2.1" }],
      ["proof order", { ...receipt, proof: [...receipt.proof].reverse() }],
      ["proof shorter", { ...receipt, proof: steps }],
      [
        "proof side",
        {
          ...receipt,
          proof: [step !== undefined && "left" in step ? { right: step.left } : { left: step?.right }, ...steps],
        },
      ],
      ["field nobody knows", { ...receipt, extra: 1 }],
      ["no JSON", "{"],
      ...(["write_set_digest", "claims_digest"] as const).map(
        (name) =>
          [name, { ...receipt, leaf_components: { ...components, [name]: flipped(components[name]) } }] as const,
      ),
      [
        "commit_evidence",
        {
          ...receipt,
          leaf_components: {
            ...components,
            commit_evidence: components.commit_evidence.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
          },
        },
      ],
      ["cert", { ...receipt, cert: receipt.cert.replace(/[A-Z]/g, (letter) => (letter === "B" ? "C" : letter)) }],
    ];
    const results = await Promise.all(
      changed.map(async ([name, value], at) => {
        const file = join(sandbox.dir, `changed${at}.json`);
        await writeFile(file, typeof value === "string" ? value : JSON.stringify(value));
        const { code, stderr } = await runCoco("receipt", "verify", file, "--service-cert", sandbox.endpoints.ca);
        assert.match(stderr, /ReceiptInvalid/, name);
        return [name, code];
      }),
    );
    assert.deepEqual(
      results,
      changed.map(([name]) => [name, 1]),
    );
  });

  test("proves nothing to who trusts another service", async () => {
    assert.equal((await verify(receipt, present(sandbox.endpoints.members[0]).cert)).code, 1);
  });

  test("is verified by openssl alone", async () => {
    const file = (name: string): string => join(sandbox.dir, name);
    const sha256 = (...parts: readonly Uint8Array[]): Buffer =>
      parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
    const { write_set_digest, commit_evidence, claims_digest } = present(receipt.leaf_components);
    let hash: Buffer = sha256(
      Buffer.from(write_set_digest, "hex"),
      sha256(Buffer.from(commit_evidence)),
      Buffer.from(claims_digest, "hex"),
    );
    let preimage: Buffer = Buffer.alloc(0);
    for (const step of receipt.proof) {
      preimage = Buffer.concat(
        "left" in step ? [Buffer.from(step.left, "hex"), hash] : [hash, Buffer.from(step.right, "hex")],
      );
      hash = sha256(preimage);
    }
    await writeFile(file("preimage"), preimage);
    await writeFile(file("signature"), Buffer.from(receipt.signature, "base64"));
    await writeFile(file("node.pem"), receipt.cert);
    const key = await runProcess("openssl", ["x509", "-in", file("node.pem"), "-pubkey", "-noout"]);
    await writeFile(file("node.pub"), key.stdout);
    const signature = await runProcess("openssl", [
      ...["dgst", "-sha256", "-verify", file("node.pub"), "-signature", file("signature"), file("preimage")],
    ]);
    assert.equal(signature.stdout.trim(), "Verified OK", signature.stderr);
    const chain = await runProcess("openssl", ["verify", "-CAfile", sandbox.endpoints.ca, file("node.pem")]);
    assert.equal(chain.code, 0, chain.stderr);
  });

  test("in COSE is verified by the service certificate alone, and with any bit changed proves nothing", async () => {
    const file = join(sandbox.dir, "receipt.cose");
    const member = present(sandbox.endpoints.members[1]);
    const path = `/node/receipt?transaction_id=${transactionId}&format=cose`;
    const url = new URL(path, present(sandbox.endpoints.nodes[1]).rpc).href;
    const curl = ["--silent", "--fail", "--cacert", sandbox.endpoints.ca, "--cert", member.cert, "--key", member.key];
    const fetched = await runProcess("curl", [...curl, "--output", file, url]);
    assert.equal(fetched.code, 0, fetched.stderr);
    const check = () => runCoco("receipt", "verify", file, "--service-cert", sandbox.endpoints.ca, "--json");
    const { code, stdout, stderr } = await check();
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).transaction_id, transactionId);
    assert.equal(JSON.parse(stdout).claims_digest, present(receipt.leaf_components).claims_digest);
    const bytes = await readFile(file);
    for (const at of [0, 5, Math.floor(bytes.length / 2), bytes.length - 1]) {
      await writeFile(file, bytes.with(at, present(bytes[at]) ^ 1));
      const changed = await check();
      assert.equal(changed.code, 1);
      assert.match(changed.stderr, /ReceiptInvalid: receipt: /);
    }
  });

  test("is not given for what is not committed, and for no transaction id", async () => {
    const ask = async (id: string): Promise<readonly [number, string]> => {
      const { status, body } = await node.http({ method: "GET", path: `/node/receipt?transaction_id=${id}` });
      return [status, JSON.parse(body).error.code];
    };
    assert.deepEqual(await ask("2.999999"), [404, "TransactionNotCommitted"]);
    assert.deepEqual(await ask("latest"), [400, "MalformedInput"]);
    assert.equal(await node.call("coco_getTransactionId", `0x${"11".repeat(32)}`), null);
  });
});
