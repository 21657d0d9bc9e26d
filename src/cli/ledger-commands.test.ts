import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { foundNetwork } from "../../test/support/founders.ts";
import { FirstBatch, writeEntries } from "../../test/support/written-ledger.ts";
import { fromHex, toHex } from "../core/codec/bytes.ts";
import { pemOfDer } from "../core/governance/pem.ts";
import { serviceCertificateOf } from "../core/governance/service-chain.ts";
import { coco } from "../../test/support/coco-here.ts";
import { SERVICE_CERTIFICATE } from "./test-receipt-sample.ts";

const root = await mkdtemp(join(tmpdir(), "coco-ledger-cli-"));
after(() => rm(root, { recursive: true, force: true }));
const network = foundNetwork(1, 1);

const first = new FirstBatch(network);
const { crypto, transactions: FIRST } = first;
/** A chunk for each entry. */
const SMALL_CHUNKS = { chunkBytes: 100 };
/** A ledger of a genesis batch and four empty ones. */
const writeLedger = (folder: string) => first.write(folder, 5);

function servicePem(): string {
  const certificate = serviceCertificateOf(first.state());
  assert.ok(certificate);
  return pemOfDer(certificate, "CERTIFICATE");
}

describe("coco ledger", async () => {
  const folder = join(root, "whole");
  const entries = await writeLedger(folder);
  const signer = network.nodes[0]?.request.nodeId;

  test("verify tells what a whole ledger holds, and changes nothing", async () => {
    const before = await readdir(folder);
    const certificate = join(root, "service.pem");
    await writeFile(certificate, servicePem());
    const { code, data, talk } = await coco("ledger", "verify", folder, "--service-cert", certificate, "--json");
    assert.equal(code, 0, talk);
    const report = JSON.parse(data);
    assert.deepEqual(
      [report.valid, report.service, report.lastIndex, report.networkId, report.signers, report.views],
      [true, true, 5, network.networkId, [signer], [2]],
    );
    assert.match((await coco("ledger", "verify", folder)).data, /ledger +valid\n/);
    assert.equal((await coco("ledger", "verify", folder, "--network-id", network.networkId)).code, 0);
    // Anybody can found a network and put a copy of the certificate into its ledger.
    const foreign = await coco(
      ...["ledger", "verify", folder, "--service-cert", certificate, "--network-id", "ab".repeat(32)],
    );
    assert.equal(foreign.code, 1);
    assert.match(foreign.talk, /LedgerOfAnotherService: the ledger is of network [0-9a-f]{64}, not of the one given/);
    assert.match(foreign.data, /ledger +of another network\n/);
    assert.equal((await coco("ledger", "verify", folder, "--network-id", "ab")).code, 2);
    assert.deepEqual(await readdir(folder), before);
    await writeFile(certificate, SERVICE_CERTIFICATE);
    const other = await coco("ledger", "verify", folder, "--service-cert", certificate);
    assert.equal(other.code, 1);
    assert.match(other.talk, /LedgerOfAnotherService: .*another certificate/);
    assert.match(other.data, /ledger +of another service\n/);
  });

  test("show prints a line per batch and transaction, export a line per sequence number with its path to the root", async () => {
    const shown = await coco("ledger", "show", folder);
    assert.equal(shown.code, 0, shown.talk);
    assert.equal(shown.data.trimEnd().split("\n").length, 5 + FIRST.length);
    assert.match(shown.data, / {2}2\.1 {2}genesis\n/);
    for (const command of ["show", "export"]) {
      const { code, talk } = await coco("ledger", command, folder, "--range", "3-1000");
      assert.equal(code, 0);
      assert.match(talk, /note: the ledger ends with 2\.[0-9]+\n/);
    }
    const asJson = (await coco("ledger", "show", folder, "--administrative", "--json")).data.trimEnd().split("\n");
    assert.equal(asJson.length, 1);
    assert.equal(JSON.parse(asJson[0] ?? "").transactions[0].administrative.type, "genesis");
    const out = join(root, "export.jsonl");
    const exported = await coco("ledger", "export", folder, "--range", "1-3", "--out", out, "--json");
    assert.equal(exported.code, 0, exported.talk);
    assert.deepEqual(JSON.parse(exported.data), { file: out, transactions: 3 });
    const lines = (await readFile(out, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ seqno, transactionId }) => [seqno, transactionId]),
      [1, 2, 3].map((seqno) => [seqno, `2.${seqno}`]),
    );
    for (const { leaf, proof, root: signedRoot } of lines) {
      const folded = (proof as readonly { left?: string; right?: string }[]).reduce(
        (digest, { left, right }) =>
          crypto.sha256(fromHex(left === undefined ? toHex(digest) + right : left + toHex(digest))),
        fromHex(leaf),
      );
      assert.equal(toHex(folded), signedRoot);
    }
  });

  test("names the first entry that is damaged or does not verify, and ends with 1", async () => {
    const [damaged, forged] = [join(root, "damaged"), join(root, "forged")];
    await writeLedger(damaged);
    const file = join(damaged, "ledger_0000000001");
    const bytes = await readFile(file);
    const third = 24 + entries.slice(0, 2).reduce((sum, { data }) => sum + 32 + data.length, 0);
    bytes[third + 40] = (bytes[third + 40] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const result = await coco("ledger", "verify", damaged, "--json");
    assert.equal(result.code, 1);
    const { bad } = JSON.parse(result.data);
    assert.deepEqual([bad.file, bad.offset, bad.index, bad.seqno], [file, third, 3, FIRST.length + 3]);
    assert.match(result.talk, /^COCO LedgerCorrupt: entry 3, from sequence number/);

    const changed = entries.map((entry) => (entry.index === 4 ? { ...entry, data: entry.data.with(40, 7) } : entry));
    await writeEntries(forged, changed);
    const told = await coco("ledger", "show", forged);
    assert.equal(told.code, 1);
    assert.match(told.talk, /entry 4, /);
    assert.equal(told.data.match(/^batch /gm)?.length, 3);
  });

  test("verify refuses a ledger whose only chunk was taken away", async () => {
    const taken = join(root, "taken");
    await writeLedger(taken);
    await rm(join(taken, "ledger_0000000001"));
    const { code, talk } = await coco("ledger", "verify", taken);
    assert.equal(code, 1);
    assert.match(talk, /LedgerCorrupt: .*ledger_0000000001 .*the newest chunk is missing/);
  });

  test("verify demands the transaction that --expect names, and names the first missing place without it", async () => {
    const last = FIRST.length + 5;
    for (const seqno of [1, 3, last])
      assert.equal((await coco("ledger", "verify", folder, "--expect", `2.${seqno}`)).code, 0, `2.${seqno}`);
    const later = await coco("ledger", "verify", folder, "--expect", `2.${last + 4}`, "--json");
    assert.equal(later.code, 1);
    assert.match(later.talk, new RegExp(`LedgerIncomplete: .*ends with 2\\.${last}, .*sequence number ${last + 1}`));
    const { valid, verdict, missing } = JSON.parse(later.data);
    assert.deepEqual([valid, verdict], [false, `valid to 2.${last}; what was expected is missing`]);
    assert.match(missing, /is not in the ledger/);
    const other = await coco("ledger", "verify", folder, "--expect", "3.3");
    assert.deepEqual([other.code, /sequence number 3 is of view 2, not of 3/.test(other.talk)], [1, true]);
    for (const wrong of ["3", "0.1", "2.x", "2.1.1"])
      assert.equal((await coco("ledger", "verify", folder, "--expect", wrong)).code, 2);
  });

  test("verify names the last entry of a file that was cut within it; of a running node it tells unfinished bytes", async () => {
    const cut = join(root, "cut");
    await writeLedger(cut);
    const file = join(cut, "ledger_0000000001");
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 40));
    const rest = bytes.length - 40 - 24 - entries.slice(0, 4).reduce((sum, { data }) => sum + 32 + data.length, 0);
    const reached = `2.${FIRST.length + 4}`;
    const refused = await coco("ledger", "verify", cut, "--json");
    const { valid, verdict, bad, unfinishedBytes } = JSON.parse(refused.data);
    assert.deepEqual([refused.code, valid, verdict], [1, false, `valid only to ${reached}`]);
    assert.deepEqual([bad.file, bad.index, bad.seqno, bad.code], [file, 5, FIRST.length + 5, "LedgerUnfinished"]);
    assert.ok(unfinishedBytes > 0);
    assert.match(refused.talk, /^COCO LedgerUnfinished: entry 5, .*an end that was cut off.*\n {2}.*start the node/);
    await writeFile(join(cut, "node.lock"), `${process.ppid}\n`);
    const told = await coco("ledger", "verify", cut);
    assert.equal(told.code, 0);
    assert.match(told.data, new RegExp(`ledger +valid to ${reached}; then [0-9]+ unfinished bytes\n`));
    const json = JSON.parse((await coco("ledger", "verify", cut, "--json")).data);
    assert.equal(json.verdict, `valid to ${reached}; then ${json.unfinishedBytes} unfinished bytes`);
    assert.ok(Math.abs(json.unfinishedBytes - rest) <= 44 && json.unfinishedBytes > 0);
    const expected = await coco("ledger", "verify", cut, "--expect", `2.${FIRST.length + 5}`);
    assert.deepEqual([expected.code, /LedgerIncomplete/.test(expected.talk)], [1, true]);
  });

  test("a first chunk that was cut short and a last one that was emptied are bad entries", async () => {
    const first = join(root, "first-cut");
    await writeLedger(first);
    await truncate(join(first, "ledger_0000000001"), 100);
    const { code, data } = await coco("ledger", "verify", first, "--json");
    assert.deepEqual([code, JSON.parse(data).bad.index], [1, 1]);
    const emptied = join(root, "emptied");
    await writeEntries(emptied, entries, SMALL_CHUNKS);
    await truncate(join(emptied, "ledger_0000000005"), 0);
    const told = await coco("ledger", "verify", emptied, "--json");
    assert.deepEqual([told.code, JSON.parse(told.data).bad.index], [1, 5]);
  });

  test("of a missing chunk the first entry is named, after what holds before it; a bad entry before it comes first", async () => {
    const gap = join(root, "gap");
    await writeEntries(gap, entries, SMALL_CHUNKS);
    await rm(join(gap, "ledger_0000000003"));
    const { code, data, talk } = await coco("ledger", "verify", gap, "--json");
    const { valid, bad, lastIndex } = JSON.parse(data);
    assert.deepEqual([code, valid, bad.index, bad.seqno, lastIndex], [1, false, 3, FIRST.length + 3, 2]);
    assert.match(talk, /LedgerCorrupt: entry 3, .*ledger_0000000004 .*the chunk before it is missing/);
    assert.equal((await coco("ledger", "show", gap)).data.match(/^batch /gm)?.length, 2);
    const file = join(gap, "ledger_0000000002");
    const bytes = await readFile(file);
    await writeFile(file, bytes.with(100, (bytes[100] ?? 0) ^ 1));
    assert.match((await coco("ledger", "verify", gap)).talk, /LedgerCorrupt: entry 2, /);
    const certificate = join(root, "of-the-gap.pem");
    await writeFile(certificate, SERVICE_CERTIFICATE);
    await rm(join(gap, "ledger_0000000001"));
    const unknown = await coco("ledger", "verify", gap, "--service-cert", certificate);
    assert.deepEqual([unknown.code, /ledger +valid only to nothing\n/.test(unknown.data)], [1, true], unknown.data);
  });

  test("what is no regular file is refused by name, and nobody waits for a pipe", async () => {
    const odd = join(root, "odd");
    for (const name of ["ledger_0000000002", "layout", "consensus", "node.lock"])
      for (const make of [mkdir, (path: string) => promisify(execFile)("mkfifo", [path])]) {
        await writeEntries(odd, entries, SMALL_CHUNKS);
        await rm(join(odd, name), { force: true });
        await make(join(odd, name));
        const { code, talk } = await coco("ledger", "verify", odd);
        assert.deepEqual([code, talk.includes(`LedgerCorrupt: ${join(odd, name)}`)], [1, true], talk);
        await rm(odd, { recursive: true });
      }
    const { code, talk } = await coco("ledger", "verify", join(folder, "ledger_0000000001"));
    assert.deepEqual([code, /ConfigurationInvalid: .*is not a folder/.test(talk)], [1, true]);
  });

  test("a batch of a later version is told from damage", async () => {
    const later = join(root, "later");
    const changed = entries.map((entry) => (entry.index === 4 ? { ...entry, data: entry.data.with(0, 2) } : entry));
    await writeEntries(later, changed);
    for (const command of ["verify", "show", "governance"]) {
      const { code, talk } = await coco("ledger", command, later);
      assert.deepEqual([code, /LedgerTooNew: entry 4, .*format version 2/.test(talk)], [1, true], talk);
    }
  });

  test("governance tells that nothing was proposed, and refuses the ledger of another service", async () => {
    const { code, data } = await coco("ledger", "governance", folder, "--json");
    assert.equal(code, 0);
    const { valid, proposals } = JSON.parse(data) as { valid: boolean; proposals: unknown[] };
    assert.deepEqual({ valid, proposals }, { valid: true, proposals: [] });
    const certificate = join(root, "another-service.pem");
    await writeFile(certificate, SERVICE_CERTIFICATE);
    const other = await coco("ledger", "governance", folder, "--service-cert", certificate);
    assert.equal(other.code, 1);
    assert.match(other.talk, /another certificate/);
  });

  test("wrong usage ends with 2, a folder without a ledger with 1", async () => {
    for (const args of [
      ["verify"],
      ["show", folder, "--range", "5-2"],
      ["export", folder],
      ["export", folder, "--range", "x"],
    ])
      assert.equal((await coco("ledger", ...args)).code, 2, args.join(" "));
    const { code, talk } = await coco("ledger", "verify", join(root, "nowhere"));
    assert.deepEqual([code, /does not exist/.test(talk)], [1, true]);
  });
});
