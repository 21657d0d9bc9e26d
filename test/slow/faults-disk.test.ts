/**
 * Fault tests with real processes, second part: disks that lose, damage or refuse data.
 */
import { after, before, describe, test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { mkdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Hex } from "viem";
import { chunkFiles, flipBit, tearTail } from "../e2e/lib/ledger-damage.ts";
import { requireSameLedgers, requireValidLedger } from "../e2e/lib/ledgers.ts";
import { compareNodes, Load, SINK } from "../e2e/lib/load.ts";
import { Network } from "../e2e/lib/network.ts";
import { present, runProcess, until } from "../e2e/lib/processes.ts";

/** Receipts that must be seen between faults. */
const SOME = 200;
/** Bytes taken off a ledger: within the last record's data, its header, and beyond it. */
const TEARS = [1, 37, 400, 5000];
/** Room for one node's ledger, and how much of it is left when it is filled. */
const DISK = "64m";
const LEFT_BYTES = 200_000;
const BALLAST = "ballast";

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

  test("damage within a ledger is set aside and mended from the peers", async (context) => {
    await withLoad(context, async (network, load) => {
      const victim = present((await network.leader()).followers[0]);
      for (const [at, place] of [0.1, 0.5, 0.8].entries()) {
        await victim.end();
        await flipBit(victim.dir, place);
        const chunk = present((await chunkFiles(victim.dir))[0]);
        const damaged = await readFile(chunk);
        await load.progress(20);
        victim.start();
        await victim.ready();
        const [repair] = victim.events("ledger_repaired");
        assert.equal(repair?.["action"], "set aside");
        assert.equal(repair["file"], chunk);
        assert.equal(victim.events("recovering").length, 1, "it does not vote before it has caught up");
        assert.deepEqual(await readFile(join(victim.ledger, `damaged-${at + 1}`, basename(chunk))), damaged);
        await load.progress(20);
      }
      await load.stop();
      await requireSameLedgers(network.nodes);
      await requireValidLedger(victim);
    });
  });
});

/** Mounts a file system of limited size at a folder; says why not where that is not permitted. */
async function mountDisk(folder: string): Promise<string | undefined> {
  await mkdir(folder, { recursive: true });
  const options = ["-t", "tmpfs", "-o", `size=${DISK}`, "tmpfs", folder];
  const { code, stderr } = await runProcess("mount", options).catch(() => ({
    ...{ code: 1, stderr: "there is no mount command" },
  }));
  return code === 0 ? undefined : stderr.trim();
}

/** Fills the disk of a folder until little is left. */
async function fill(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  // The node writes as well, and may be the first to find it full.
  await writeFile(join(folder, BALLAST), Buffer.alloc(bavail * bsize - LEFT_BYTES)).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  });
}

describe("a full disk", () => {
  let network: Network;
  let refusal: string | undefined;

  before(async () => {
    network = await Network.found();
    for (const node of network.nodes) refusal ??= await mountDisk(node.ledger);
  });
  after(async () => {
    await Promise.all(network.nodes.map((node) => node.end()));
    for (const node of network.nodes) await runProcess("umount", [node.ledger]);
    await network.stop();
  });

  test("lets a leader step down and serve reads, and with room again it follows without a restart", async (context) => {
    if (refusal !== undefined) return context.skip(`a small disk cannot be mounted here: ${refusal}`);
    for (const node of network.nodes) node.start();
    await network.ready();
    const load = new Load(network);
    try {
      await load.progress(20);
      const { leader: victim, followers } = await network.leader();
      load.probeThrough(present(followers[0]));
      await load.progress(20);
      await fill(victim.ledger);
      const fromMs = performance.now();
      await until("the disk is full", () => victim.events("disk_full")[0], { timeoutMs: 60_000 });
      const next = await until("another leads", async () => {
        const states = await Promise.all(followers.map((node) => node.read<{ role: string }>("/node/state")));
        return states.find(({ role }) => role === "leader");
      });
      assert.equal(next.role, "leader");
      await load.progress(SOME);
      const lastedMs = load.longestInterruption(fromMs);
      // It lives, follows no further than its disk, and answers what it knows.
      const stuck = await victim.read<{ role: string; commit_index: number }>("/node/state");
      assert.equal(stuck.role, "follower");
      assert.ok(BigInt(await victim.rpc.call<Hex>("eth_getBalance", SINK, "latest")) > 0n);
      assert.doesNotMatch(victim.log, /DiskFailed/);
      await rm(join(victim.ledger, BALLAST));
      await until("there is room", () => victim.events("disk_has_room")[0]);
      await load.progress(SOME);
      await settle(context, network, load);
      context.diagnostic(`measured: longest interruption ${lastedMs.toFixed(0)} ms`);
      await requireSameLedgers(network.nodes);
      for (const node of network.nodes) await requireValidLedger(node);
    } finally {
      await load.stop().catch(() => {});
    }
  });
});
