/**
 * Fault tests with real processes, second part: disks that lose, damage or refuse data.
 */
import { after, before, describe, test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { flipBit, folderHashes, tearTail } from "../e2e/lib/ledger-damage.ts";
import { compareNodes, Load } from "../e2e/lib/load.ts";
import { Network, type NetworkNode } from "../e2e/lib/network.ts";
import { present, runProcess } from "../e2e/lib/processes.ts";

/** Receipts that must be seen between faults. */
const SOME = 200;
/** Bytes taken off a ledger: within the last record's data, its header, and beyond it. */
const TEARS = [1, 37, 400, 5000];
/** Room for one node's ledger on the full disk. */
const SMALL_DISK = "2m";

/** Ends the load and compares all nodes. */
async function settle(context: TestContext, network: Network, load: Load): Promise<void> {
  await load.stop();
  const blocks = await compareNodes(network.nodes, load.receipts);
  context.diagnostic(`measured: ${load.receipts.size} receipts in ${blocks} blocks`);
}

async function withLoad(context: TestContext, harm: (network: Network, load: Load) => Promise<void>): Promise<void> {
  const network = await Network.start();
  const load = new Load(network);
  try {
    await load.progress(SOME);
    await harm(network, load);
    await settle(context, network, load);
  } finally {
    await load.stop().catch(() => {});
    await network.stop();
  }
}

describe("ledgers that lose or change data", () => {
  test("a ledger torn at its end is mended and catches up", async (context) => {
    await withLoad(context, async (network, load) => {
      const victim = present((await network.leader()).followers[0]);
      for (const bytes of TEARS) {
        await victim.end();
        await tearTail(victim.dir, bytes);
        await load.progress(20);
        victim.start();
        await victim.ready();
      }
      await load.progress(SOME);
    });
  });

  test("a bit flipped within a ledger is refused with a clear message, and the folder is left alone", async (context) => {
    await withLoad(context, async (network, load) => {
      const victim = present((await network.leader()).followers[0]);
      await victim.end();

      for (const place of [0.1, 0.5, 0.8]) {
        await flipBit(victim.dir, place);
        const found = await folderHashes(victim.dir);
        victim.start();
        assert.deepEqual(await victim.ended(), { code: 1, signal: null });
        assert.match(victim.log, /LedgerCorrupt: .*(?:batch|ledger_|entry)/);
        assert.doesNotMatch(victim.log, /\n +at /);
        assert.deepEqual(await folderHashes(victim.dir), found);
        await flipBit(victim.dir, place);
      }
      // Whole again, the node goes on.
      victim.start();
      await victim.ready();
      await load.progress(20);
    });
  });
});

/** Waits for a condition, at most two minutes. */
async function waitUntil(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 1200, "it did not happen within two minutes");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Mounts a small file system at a folder; says why not where that is not permitted. */
async function mountSmallDisk(folder: string): Promise<string | undefined> {
  await mkdir(folder, { recursive: true });
  const { code, stderr } = await runProcess("mount", [
    "-t",
    "tmpfs",
    "-o",
    `size=${SMALL_DISK}`,
    "tmpfs",
    folder,
  ]).catch(() => ({ code: 1, stderr: "there is no mount command" }));
  return code === 0 ? undefined : stderr.trim();
}

describe("a full disk", () => {
  let network: Network;
  let victim: NetworkNode;
  let ledger: string;
  let refusal: string | undefined;

  before(async () => {
    network = await Network.found();
    victim = present(network.nodes[2]);
    ledger = join(victim.dir, "ledger");
    refusal = await mountSmallDisk(ledger);
  });
  after(async () => {
    await Promise.all(network.nodes.map((node) => node.end()));
    if (refusal === undefined) await runProcess("umount", [ledger]);
    await network.stop();
  });

  test("lets its node wait and serve reads, the others go on, and with room again it catches up without a restart", async (context) => {
    if (refusal !== undefined) return context.skip(`a small disk cannot be mounted here: ${refusal}`);
    for (const node of network.nodes) node.start();
    await network.ready();
    const load = new Load(network);
    try {
      await load.progress(20);
      await writeFile(join(ledger, "ballast"), Buffer.alloc(1_500_000));
      await waitUntil(() => /"disk_full".*"full":true/.test(victim.log));
      await load.progress(SOME);
      // It lives, follows no further than its disk, and answers.
      await victim.ready();
      assert.doesNotMatch(victim.log, /DiskFailed/);
      await rm(join(ledger, "ballast"));
      await runProcess("mount", ["-o", "remount,size=256m", ledger]);
      await waitUntil(() => /"disk_full".*"full":false/.test(victim.log));
      await load.progress(SOME);
      await settle(context, network, load);
    } finally {
      await load.stop().catch(() => {});
    }
  });
});
