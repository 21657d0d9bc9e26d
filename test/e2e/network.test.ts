/**
 * A founded network through its own endpoints: the ledger by sequence numbers, requests of members, and the `coco ledger`
 * commands on folders of nodes that run, and on folders that do not hold.
 */
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { appendFile, cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { FILE_SYSTEM } from "../../src/host/file-operations.ts";
import { entriesOf } from "../../src/host/ledger-chunks.ts";
import { LEDGER_FORMAT_VERSION } from "../../src/host/ledger-record.ts";
import { openLedgerFiles, readLedger } from "../../src/host/ledger-files.ts";
import { coco } from "../support/coco-here.ts";
import { agree, type NetworkView, postBallot, postProposal } from "./lib/governance.ts";
import { chunkFiles, flipBit, folderHashes } from "./lib/ledger-damage.ts";
import { administrativeOf, requireSameLedgers, requireValidLedger } from "./lib/ledgers.ts";
import { Load, sendTransfers } from "./lib/load.ts";
import { CHAIN_ID, Network, type NetworkNode } from "./lib/network.ts";
import { present, runCoco, until } from "./lib/processes.ts";
import { requireReceipts, transactionIdOf } from "./lib/receipts.ts";

let network: Network;
let leader: NetworkNode;
let follower: NetworkNode;

before(async () => {
  network = await Network.start();
  const found = await network.leader();
  leader = found.leader;
  follower = present(found.followers[0]);
});
after(() => network?.stop());

interface Page {
  readonly transactions: readonly { readonly seqno: number; readonly transaction_id: string; readonly kind: string }[];
  readonly next_seqno: number | null;
}

const page = (node: NetworkNode, from: number | string, to: number | string): Promise<Page> =>
  node.read<Page>(`/node/transactions?from_seqno=${from}&to_seqno=${to}`);

const committedOf = async (node: NetworkNode): Promise<number> =>
  (await node.read<{ committed_seqno: number }>("/node/state")).committed_seqno;

describe("the ledger by sequence numbers", () => {
  test("is answered whole, in pages, and the same by every node", async () => {
    const load = new Load(network);
    await load.progress(150);
    await load.stop();
    const last = Math.min(...(await Promise.all(network.nodes.map(committedOf))));
    const seen: string[][] = [];
    for (const node of network.nodes) {
      const ids: string[] = [];
      for (let next: number | null = 1; next !== null; ) {
        const { transactions, next_seqno }: Page = await page(node, next, last);
        assert.deepEqual(
          transactions.map(({ seqno }) => seqno),
          transactions.map((_, at) => (next ?? 0) + at),
        );
        ids.push(...transactions.map(({ transaction_id }) => transaction_id));
        assert.ok(next_seqno === null || next_seqno === ids.length + 1);
        next = next_seqno;
      }
      assert.equal(ids.length, last);
      seen.push(ids);
    }
    for (const ids of seen) assert.deepEqual(ids, seen[0]);
    const { transactions } = await page(leader, 1, 2);
    assert.deepEqual(
      transactions.map(({ kind }) => kind),
      ["administrative", "administrative"],
    );
  });

  test("has bounds", async () => {
    const last = await committedOf(leader);
    const [one] = (await page(leader, 3, 3)).transactions;
    assert.equal(one?.seqno, 3);
    assert.deepEqual(await page(leader, last + 1, last + 5), { transactions: [], next_seqno: null });
    assert.deepEqual(await page(leader, 5, 4), { transactions: [], next_seqno: null });
    const { transactions, next_seqno } = await page(leader, Math.max(1, last - 1), Number.MAX_SAFE_INTEGER);
    assert.ok(transactions.length >= 2 && next_seqno === null);
    for (const query of ["", "from_seqno=1", "from_seqno=0&to_seqno=1", "from_seqno=-1&to_seqno=1"].concat(
      ["1.5", "x", "9007199254740992", "18446744073709551615"].map((from) => `from_seqno=${from}&to_seqno=1`),
    )) {
      const { status, body } = await leader.rpc.http({ method: "GET", path: `/node/transactions?${query}` });
      assert.deepEqual([status, JSON.parse(body).error.code], [400, "MalformedInput"], query);
    }
  });
});

describe("a request of members", () => {
  const epochsOf = async (): Promise<number> =>
    (await administrativeOf(leader.dir)).filter(({ type }) => type === "epoch").length;

  async function refusal(node: NetworkNode, proposal: Buffer) {
    const { status, body } = await postProposal(node, proposal);
    const { code } = JSON.parse(body).error;
    return { status, code };
  }

  test("opens an epoch, counts once, and reaches the leader by any node", async () => {
    const before = await epochsOf();
    const [hash] = await sendTransfers(leader, { account: 5, from: 0, count: 1 });
    const id = await transactionIdOf(leader, present(hash));
    const agreed = await agree(network, leader, { name: "open_epoch", args: {} });

    const { status, body } = await postProposal(follower, agreed.proposal);
    assert.equal(status, 200, body);
    const voted = await postBallot(leader, network, agreed);
    assert.equal(voted.status, 200, voted.body);
    await until("the epoch is open", async () => ((await epochsOf()) === before + 1 ? true : undefined));
    assert.equal((await leader.read<NetworkView>("/node/network")).constitution_version, 2);

    const again = await refusal(leader, agreed.proposal);
    assert.deepEqual([again.status, again.code], [400, "ProposalInvalid"]);
    assert.equal(await epochsOf(), before + 1);
    await sendTransfers(follower, { account: 5, from: 1, count: 1 });
    for (const node of network.nodes) {
      await transactionIdOf(node, present(hash));
      await requireReceipts(node, id, leader.serviceCertificate);
    }
  });

  test("that is none changes nothing", async () => {
    const before = await epochsOf();
    const { proposal: good } = await agree(network, leader, { name: "open_epoch", args: {} });
    const forged = Buffer.from(good);
    forged.writeUInt8(forged.readUInt8(forged.length - 3) ^ 1, forged.length - 3);
    for (const junk of [Buffer.alloc(0), Buffer.from("{}"), Buffer.alloc(1000, 0xff), good.subarray(0, -1), forged]) {
      const { status, code } = await refusal(leader, junk);
      assert.deepEqual([status, code], [400, "ProposalInvalid"]);
    }
    assert.equal(await epochsOf(), before);
  });
});

describe("coco ledger on a node's folder", () => {
  test("verifies, shows and exports while the node writes", async () => {
    const load = new Load(network, 1);
    try {
      await load.progress(20);
      for (const { name, dir: folder, serviceCertificate } of network.nodes) {
        const verified = await runCoco("ledger", "verify", folder, "--service-cert", serviceCertificate);
        assert.equal(verified.code, 0, `${name}: ${verified.stderr}`);
      }
      const shown = await runCoco("ledger", "show", leader.dir, "--range", "1-20", "--json");
      assert.equal(shown.code, 0, shown.stderr);
      assert.equal(JSON.parse(present(shown.stdout.split("\n")[0])).firstSeqno, 1);
      const exported = await runCoco("ledger", "export", leader.dir, "--range", "4-30");
      assert.equal(exported.code, 0, exported.stderr);
      const lines = exported.stdout.trim().split("\n");
      assert.deepEqual(
        lines.map((line) => JSON.parse(line).seqno),
        Array.from({ length: 27 }, (_, at) => at + 4),
      );
    } finally {
      await load.stop();
    }
    await requireSameLedgers(network.nodes);
  });

  test("names the place of damage, with exit code 1", async () => {
    const copy = join(network.dir, "copy");
    await cp(leader.dir, copy, { recursive: true });
    await flipBit(copy, 0.5);
    for (const [command, ...more] of [["verify"], ["show"], ["export", "--range", "1-100000"]]) {
      const { code, talk } = await coco("ledger", present(command), copy, ...more);
      assert.equal(code, 1, command);
      assert.match(talk, /LedgerCorrupt: entry \d+, from sequence number \d+, in \S+ledger_\d+ at byte \d+: \S/);
      assert.doesNotMatch(talk, /\n +at /);
    }
    await rm(copy, { recursive: true });
  });
});

describe("a folder that does not hold", () => {
  let dir: string;
  let whole: string;

  /** A stopped node's folder with its ledger in many chunks. */
  before(async () => {
    await follower.end("SIGTERM");
    dir = follower.dir;
    whole = join(network.dir, "whole");
    const { hardState, scan } = await readLedger(follower.ledger);
    const entries = [...entriesOf(scan.chunks, 1, FILE_SYSTEM)];
    const options = {
      repair: "refuse",
      onRepair: () => assert.fail(),
      onFatal: assert.fail,
      chunkBytes: 4096,
    } as const;
    const ledger = await openLedgerFiles(whole, options);
    for (const [id, entry] of entries.entries()) {
      const request = { id, entries: [entry], ...(hardState !== undefined && { hardState }) };
      await new Promise<void>((resolve) => ledger.disk.persist(request, resolve));
    }
    await ledger.close();
    assert.ok((await readdir(whole)).length > 5);
  });

  async function startRefused(problem: RegExp): Promise<void> {
    const found = await folderHashes(dir);
    const { code, talk } = await coco("node", "start", "--dir", dir);
    assert.equal(code, 1);
    assert.match(talk, problem);
    assert.doesNotMatch(talk, /\n +at /);
    assert.deepEqual(await folderHashes(dir), found, "nothing was changed");
  }

  async function putLedger(change: (folder: string) => Promise<void>): Promise<void> {
    await rm(follower.ledger, { recursive: true, force: true });
    await cp(whole, follower.ledger, { recursive: true });
    await change(follower.ledger);
  }

  test("for a chunk is missing is refused and left alone", async () => {
    for (const at of [0, 2]) {
      await putLedger(async () => rm(present((await chunkFiles(dir))[at])));
      await startRefused(/LedgerCorrupt: .*ledger_\d+.*the chunk before it is missing/);
      const { code, talk } = await coco("ledger", "verify", dir);
      assert.equal(code, 1);
      assert.match(talk, /the chunk before it is missing/);
    }
  });

  test("for it is of a newer format is refused and left alone", async () => {
    await putLedger(async () => {
      const file = present((await chunkFiles(dir)).at(-1));
      const bytes = await readFile(file);
      bytes.writeUInt8(LEDGER_FORMAT_VERSION + 1, 11);
      bytes.writeUInt32BE(crc32(bytes.subarray(0, 20)), 20);
      await writeFile(file, bytes);
      await appendFile(file, "and a torn end");
    });
    await startRefused(/LedgerTooNew/);
    assert.equal((await coco("ledger", "verify", dir)).code, 1);
  });

  test("for its last batch or a snapshot is of a newer format is refused and left alone", async () => {
    const version = 7;
    await putLedger(async (ledger) => {
      const chunk = present((await readLedger(ledger)).scan.chunks.at(-1));
      const bytes = await readFile(chunk.file);
      const at = chunk.offsetOf(chunk.nextIndex - 1);
      bytes.writeUInt8(version, at + 32);
      bytes.writeUInt32BE(crc32(bytes.subarray(at + 32, at + 32 + bytes.readUInt32BE(at))), at + 24);
      bytes.writeUInt32BE(crc32(bytes.subarray(at, at + 28)), at + 28);
      await writeFile(chunk.file, bytes);
      await appendFile(chunk.file, "and a torn end");
    });
    await startRefused(/LedgerTooNew: batch: format version 7/);
    const { code, talk } = await coco("ledger", "verify", dir);
    assert.deepEqual([code, /LedgerTooNew/.test(talk)], [1, true], talk);
    const head = [Buffer.from("cocosnp"), Buffer.from([version, 0, 0, 0, 3, 0xa1, 1, version]), Buffer.alloc(56)];
    await putLedger((ledger) => writeFile(join(ledger, "snapshot_0000000003"), Buffer.concat(head)));
    await startRefused(/LedgerTooNew: snapshot: format version 7/);
    const verified = await coco("ledger", "verify", dir);
    assert.deepEqual([verified.code, /LedgerTooNew/.test(verified.talk)], [1, true], verified.talk);
  });

  test("for it is of another network is refused and left alone", async () => {
    await putLedger(async () => {});
    const genesis = join(dir, "genesis.json");
    const own = await readFile(genesis, "utf8");
    const other = own.replace(`"chainId": ${CHAIN_ID}`, '"chainId": 4711');
    assert.notEqual(other, own);
    await writeFile(genesis, other);
    await startRefused(/FolderOfAnotherNetwork: the ledger belongs to network [0-9a-f]{64}, not [0-9a-f]{64}/);
    await writeFile(genesis, own);
  });

  test("goes on when it is whole again", async () => {
    await putLedger(async () => {});
    follower.start();
    await follower.ready();
    await sendTransfers(follower, { account: 6, from: 0, count: 2 });
    await requireSameLedgers(network.nodes);
    await requireValidLedger(follower);
  });
});
