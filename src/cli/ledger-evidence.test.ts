import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { coco } from "../../test/support/coco-here.ts";
import { foundNetwork, TEST_CODE } from "../../test/support/founders.ts";
import { FirstBatch } from "../../test/support/written-ledger.ts";
import { encodeVirtualEvidence } from "../attestation/virtual.ts";
import { toHex } from "../core/codec/bytes.ts";
import { encodeAdministrative } from "../core/governance/administrative-codec.ts";
import { attestChallenge, attestReportData } from "../core/governance/attest.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";

const root = await mkdtemp(join(tmpdir(), "coco-evidence-"));
after(() => rm(root, { recursive: true, force: true }));
const folder = join(root, "ledger");
const network = foundNetwork(1, 1);
const [node] = network.nodes;
assert.ok(node);
const { nodeId } = node.request;
const { measurement } = TEST_CODE;
const machine = toHex(network.machine.machineKey);

before(async () => {
  const first = new FirstBatch(network);
  const challenge = attestChallenge(first.state(), nodeId, sha256);
  assert.ok(challenge);
  const reportData = attestReportData(network.networkId, node.request, challenge, sha256);
  const { machineKey, sign } = network.machine;
  const evidence = encodeVirtualEvidence({ measurement, reportData, machineKey }, sign);
  await first.write(folder, 3, [[encodeAdministrative({ type: "attest", nodeId, challenge, evidence })]]);
});

describe("evidence in a ledger", () => {
  test("show tells whose it is, what runs there, and who accepted it", async () => {
    const { code, data, talk } = await coco("ledger", "show", folder);
    assert.equal(code, 0, talk);
    const short = nodeId.slice(0, 16);
    const runs = `coco-framework 0.1.0, measurement ${measurement}, on virtual`;
    const words = `node ${short}… of member1: ${runs}; accepted by constitution version 1`;
    assert.match(data, new RegExp(`^  2\\.\\d+  attest  ${words}$`, "m"));
    assert.match(data, / {2}epoch {2}1, for 1 nodes\n/);
    const lines = (await coco("ledger", "show", folder, "--json")).data.trimEnd().split("\n");
    const { attestation, administrative } = JSON.parse(lines[1] ?? "").transactions[0];
    assert.deepEqual([administrative.type, attestation.tee, attestation.platform], ["attest", "virtual", machine]);
    assert.equal(attestation.acceptedByConstitutionVersion, 1);
    const result = { status: "affirming", verifiedAt: attestation.time, policyDigest: toHex(network.digest) };
    assert.deepEqual(attestation.result, result);
  });

  test("evidence lists the records with what the end of the ledger makes of them", async () => {
    const { code, data, talk } = await coco("ledger", "evidence", folder);
    assert.equal(code, 0, talk);
    assert.match(data, new RegExp(`^transaction 2\\.\\d+, .* UTC: node ${nodeId} of member1\n`));
    assert.match(
      data,
      /\n {2}verdict {3}accepted by constitution version 1; .*\n {2}policy {4}[0-9a-f]{64} .*\n {2}at the end of the ledger {2}allowed\n$/,
    );
    const { evidence } = JSON.parse((await coco("ledger", "evidence", folder, "--newest", "--json")).data);
    assert.deepEqual([evidence.length, evidence[0].againstAtEnd, evidence[0].file], [1, [], null]);
    const none = await coco("ledger", "evidence", folder, "--node", nodeId.startsWith("0") ? "1" : "0");
    assert.deepEqual([none.code, none.data], [0, ""]);
    assert.match(none.talk, /no such record/);
    assert.equal((await coco("ledger", "evidence", folder, "--node", "xyz")).code, 2);
  });

  test("a file of it verifies without the ledger, at the time of its record, and not when it was changed", async () => {
    const out = join(root, "files");
    assert.equal((await coco("ledger", "evidence", folder, "--out", out)).code, 0);
    const [name = ""] = await readdir(out);
    assert.match(name, new RegExp(`^2\\.\\d+-${nodeId.slice(0, 16)}\\.json$`));
    const file = join(out, name);
    const verified = await coco("attest", "verify", "--recorded", file, "--machine-key", machine);
    assert.equal(verified.code, 0, verified.talk);
    assert.match(
      verified.data,
      /^ok {4}signature of the machine\nok {4}machine key\n- {5}isolation: .*\nok {4}node id\nok {4}bound to the node's keys\n/,
    );
    const recorded = JSON.parse(await readFile(file, "utf8"));
    const trusting = ["attest", "verify", "--recorded", file, "--machine-key", `0x${machine.toUpperCase()}`];
    const asJson = JSON.parse((await coco(...trusting, "--json")).data);
    assert.deepEqual([asJson.verdict, asJson.tee, asJson.claims.recorded.node], ["accept", "virtual", nodeId]);
    assert.equal(Date.parse(asJson.verifiedAt), recorded.timeMs);
    assert.equal((await coco(...trusting, "--measurement", "00")).code, 1);

    const changed = join(root, "changed.json");
    const judge = async (change: object) => {
      await writeFile(changed, JSON.stringify({ ...recorded, ...change }));
      const { code, data } = await coco("attest", "verify", "--recorded", changed, "--machine-key", machine, "--json");
      return [code, ...JSON.parse(data).reasons];
    };
    const flipped = `${recorded.evidence.slice(0, -1)}${recorded.evidence.endsWith("0") ? "1" : "0"}`;
    assert.deepEqual(await judge({ evidence: flipped }), [1, "SignatureInvalid", "ReportDataMismatch"]);
    for (const change of [{ challenge: "00".repeat(32) }, { networkId: "00".repeat(32) }, { nodeId: "00".repeat(32) }])
      assert.deepEqual(await judge(change), [1, "ReportDataMismatch"]);
    assert.deepEqual(await judge({ format: "another" }), [2, "ConfigurationInvalid"]);
  });

  test("a machine of the virtual TEE counts for nothing unless its key is named", async () => {
    const [name = ""] = await readdir(join(root, "files"));
    const file = join(root, "files", name);
    for (const keys of [[], ["--machine-key", machine.replace(/..$/, "00")]]) {
      const { code, data } = await coco("attest", "verify", "--recorded", file, ...keys, "--json");
      assert.deepEqual([code, ...JSON.parse(data).reasons], [1, "TeeNotListed"]);
    }
    const { data } = await coco("attest", "verify", "--recorded", file);
    assert.ok(data.includes(`nobody vouches for it: --machine-key ${machine} would`), data);
    const two = ["--machine-key", "00", machine];
    assert.equal((await coco("attest", "verify", "--recorded", file, ...two)).code, 0);
  });

  test("recorded evidence takes neither other files nor, of the virtual TEE, a policy", async () => {
    const [name = ""] = await readdir(join(root, "files"));
    const file = join(root, "files", name);
    for (const [args, says] of [
      [["--report", file], /has all of the evidence; name no other/],
      [["--policy", file], /nothing that a policy judges/],
      [["--nonce", "00"], /--nonce goes with --vtpm/],
    ] as const) {
      const { code, talk } = await coco("attest", "verify", "--recorded", file, ...args);
      assert.equal(code, 2);
      assert.match(talk, says);
    }
  });
});
