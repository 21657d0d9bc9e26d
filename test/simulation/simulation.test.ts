/**
 * Whole networks under a few seeds of each kind: everything the checker holds, replay, and what a full stop must not lose.
 * Many seeds, which draw among the same kinds: `npm run sim`.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { utf8Decode } from "../../src/core/codec/bytes.ts";
import { encodeAccount } from "../../src/adapters/ethereum/records.ts";
import { TABLES } from "../../src/adapters/ethereum/types.ts";
import { loadEthereumProtocol } from "./ethereum-protocol.ts";
import type { SimulationOptions } from "./plan.ts";
import { Simulation, simulate } from "./simulation.ts";

const MAIN = fileURLToPath(new URL("./main.js", import.meta.url));

async function simulateSeeds(from: number, count: number, options: Omit<SimulationOptions, "seed">): Promise<number> {
  let transactions = 0;
  for (let seed = from; seed < from + count; seed++)
    transactions += (await simulate({ seed, ...options })).transactions;
  return transactions;
}

/** Calm work of all clients for a while. */
async function workedNetwork(seed: number): Promise<Simulation> {
  const simulation = new Simulation({
    seed,
    nodeCount: 3,
    clientCount: 4,
    thinkMs: 300,
    faults: false,
    answerAfter: "commit",
    trustDisk: true,
  });
  simulation.start();
  await simulation.scheduler.runUntil(5_000);
  assert.ok(simulation.checker.includedCount > 20, "clients had their transactions included");
  return simulation;
}

describe("a simulated network", () => {
  test("of three nodes keeps every promise under faults, answering after commit", async () => {
    assert.ok((await simulateSeeds(1, 4, { nodeCount: 3, answerAfter: "commit" })) > 60);
  });

  test("of three nodes keeps every promise under faults, answering after execution", async () => {
    assert.ok((await simulateSeeds(101, 2, { nodeCount: 3, answerAfter: "execution" })) > 20);
  });

  test("of five and seven nodes keeps every promise under faults", async () => {
    assert.ok((await simulateSeeds(201, 1, { nodeCount: 5 })) > 10);
    assert.ok((await simulateSeeds(301, 1, { nodeCount: 7 })) > 5);
  });

  test("keeps every promise when disks that are not trusted are put back to what they were, one at a time", async () => {
    let older = 0;
    for (let seed = 3; seed < 5 || (older === 0 && seed < 15); seed++)
      older += (await simulate({ seed, nodeCount: 3, trustDisk: false })).faults["disk.olderImage"] ?? 0;
    assert.ok(older > 0, "older images were put back");
  });

  test("loses what was committed when a trusted disk is put back, and the checker says so", async () => {
    const simulation = await workedNetwork(14);
    const { members } = simulation;
    const images = members.map(({ disk }) => disk.image());
    await simulation.scheduler.runUntil(simulation.scheduler.now + 3_000);
    for (const [at, node] of members.entries()) {
      node.end({ silent: false, byItself: false });
      const image = images[at];
      assert.ok(image !== undefined && node.disk.putBack(image));
      node.start();
    }
    await assert.rejects(simulation.settle(), { code: "Internal" });
  });

  test("keeps every promise with quorums of other sizes", async () => {
    assert.ok((await simulateSeeds(1, 1, { nodeCount: 5, flexible: true })) > 5);
    assert.ok((await simulateSeeds(401, 1, { nodeCount: 4, flexible: true })) > 3);
  });

  test("bears frames that are lost, doubled and overtaken", async () => {
    const counts = { "network.loss": 0, "network.duplication": 0, "network.reordering": 0 };
    const isDone = () => Object.values(counts).every((count) => count > 0);
    for (let seed = 8; seed < 11 || (!isDone() && seed < 30); seed++) {
      const { faults } = await simulate({ seed, network: "datagram", nodeCount: 3 });
      for (const kind of Object.keys(counts) as (keyof typeof counts)[]) counts[kind] += faults[kind] ?? 0;
    }
    for (const [kind, count] of Object.entries(counts)) assert.ok(count > 0, `${kind} happened`);
  });

  test("is not changed by hostile frames", async () => {
    let refused = 0;
    for (let seed = 1; seed <= 2; seed++)
      refused += (await simulate({ seed, hostile: true })).faults["hostile.refused"] ?? 0;
    assert.ok(refused > 0, "malformed frames were refused");
  });

  test("works with the enclave's own cryptography, and does the same twice", async () => {
    const options = { seed: 5, realCryptography: true, nodeCount: 3 };
    assert.equal((await simulate(options)).traceHash, (await simulate(options)).traceHash);
  });

  test("runs the Ethereum adapter, and does the same twice", async () => {
    const options = { seed: 5, protocol: "ethereum", nodeCount: 3, durationMs: 20_000, thinkMs: 1_500 } as const;
    const first = await simulate(options);
    assert.ok(first.transactions > 10, `${first.transactions} transactions are in blocks`);
    assert.deepEqual(await simulate(options), first);
  });

  test("runs the Ethereum adapter with the enclave's own cryptography", async () => {
    const options = {
      protocol: "ethereum",
      nodeCount: 3,
      realCryptography: true,
      durationMs: 20_000,
      thinkMs: 2_000,
    } as const;
    assert.ok((await simulateSeeds(25, 2, options)) > 10);
  });

  test("is caught by the checker when a block does not follow from the state it is written with", async () => {
    const honest = await loadEthereumProtocol();
    const createAdapter: typeof honest.createAdapter = (components) => {
      const adapter = honest.createAdapter(components);
      return {
        ...adapter,
        endBatch(state) {
          const end = adapter.endBatch(state);
          state.put(TABLES.accounts, new Uint8Array(20), encodeAccount({ nonce: 0, balance: 1n, codeHash: undefined }));
          return end;
        },
      };
    };
    const options = { seed: 3, protocol: "ethereum", nodeCount: 3, faults: false, thinkMs: 500 } as const;
    await assert.rejects(new Simulation(options, { ...honest, createAdapter }).run(), /state root/);
  });

  test("does the same for the same seed, twice in one process and in another one", async () => {
    const seed = 7;
    const first = await simulate({ seed });
    const second = await simulate({ seed });
    assert.deepEqual(second, first);
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, "--seed", String(seed)]);
    assert.ok(stdout.includes(`trace ${first.traceHash}`), `the other process printed ${stdout}`);
    assert.notEqual((await simulate({ seed: seed + 1 })).traceHash, first.traceHash);
  });

  test("loses nothing that was committed when all nodes stop at once", async () => {
    const simulation = await workedNetwork(11);
    const { committedIndex, includedCount } = simulation.checker;
    for (const node of simulation.nodes) node.end({ silent: false, byItself: false });
    await simulation.scheduler.runUntil(simulation.scheduler.now + 1_000);
    for (const node of simulation.nodes) node.start();
    await simulation.settle();
    assert.ok(simulation.checker.committedIndex > committedIndex && simulation.checker.includedCount >= includedCount);
    for (const node of simulation.nodes) assert.equal(node.status?.commitIndex, simulation.checker.committedIndex);
  });

  test("answers what is in the ledger already, also on a node that started from a snapshot and took nothing since", async () => {
    const fixed = { network: "stream", snapshotTransactions: 6, epochMs: 0, epochTransactions: 0 } as const;
    const simulation = new Simulation({ seed: 3, nodeCount: 3, clientCount: 0, faults: false, trustDisk: true, fixed });
    const { scheduler } = simulation;
    const run = (ms: number) => scheduler.runUntil(scheduler.now + ms);
    simulation.start();
    await run(5_000);
    for (let count = 1; count <= 8; count++) {
      const body = `t-${count}|key=${count}`;
      const follower = simulation.members.find(({ status }) => status?.role === "follower");
      assert.ok(follower);
      const answers: string[] = [];
      const ask = () =>
        follower.request({ body, actor: "owner" }, (response) =>
          answers.push(response ? utf8Decode(response.body) : "no answer"),
        );
      ask();
      await run(2_000);
      follower.end({ silent: false, byItself: false });
      follower.start();
      await run(2_000);
      ask();
      await run(2_000);
      assert.deepEqual(answers, ["included visible", "duplicate visible"], `transaction ${count}`);
    }
  });

  test("goes on with one of three nodes gone for good", async () => {
    const simulation = await workedNetwork(12);
    const { includedCount } = simulation.checker;
    simulation.nodes.find((node) => node.status?.role === "leader")?.end({ silent: false, byItself: false });
    await simulation.scheduler.runUntil(simulation.scheduler.now + 5_000);
    assert.ok(simulation.checker.includedCount > includedCount + 10, "the other two elected a leader and served");
  });

  test("is caught by the checker when disks forget what they called durable", async () => {
    const simulation = await workedNetwork(13);
    for (const node of simulation.nodes) {
      node.end({ silent: false, byItself: false });
      node.disk.forget(5);
      node.start();
    }
    await assert.rejects(simulation.settle(), { code: "Internal" });
  });
});
