import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { withRequests } from "../../core/governance/administrative.ts";
import { decodeMessages } from "../../core/governance/proposal-codec.ts";
import { createGovernanceCrypto } from "../../enclave/manager/node-crypto.ts";
import { CocoError, type ErrorCode } from "../../errors.ts";
import { readConstitutionFile } from "../genesis.ts";
import { readLedgerGovernance } from "../ledger-governance.ts";
import { approveNewCode, genesisState } from "./approve.ts";
import { SandboxLayout } from "./layout.ts";
import { choosePorts, portsFrom, requireFree } from "./ports.ts";
import { openSandboxFolder } from "./sandbox-folder.ts";

const root = await mkdtemp(join(tmpdir(), "coco-sandbox-"));
after(() => rm(root, { recursive: true, force: true }));

const rejectsWith = (code: ErrorCode, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof CocoError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, text);
  return true;
};

const asked = (dir: string) => ({ dir, nodes: undefined, port: 0, fresh: false });

describe("sandbox folder", () => {
  test("a new network is made by the steps of a real foundation and resumed as it is", async () => {
    const dir = join(root, "network");
    const created = await openSandboxFolder({ ...asked(dir), nodes: 4 });
    assert.equal(created.resumed, false);
    const { genesis, ports, layout } = created;
    assert.deepEqual(
      genesis.actors.map(({ id }) => id),
      ["member0", "member1", "member2"],
    );
    assert.deepEqual(
      genesis.nodes.map(({ owner }) => owner),
      ["member0", "member1", "member2", "member0"],
    );
    assert.deepEqual(ports, portsFrom(ports[0]?.ethRpc ?? 0, 4));
    assert.equal(genesis.teeManifest.length, 1);
    for (let at = 0; at < 4; at++) {
      assert.deepEqual(await readConstitutionFile(join(layout.node(at), "genesis.json")), genesis);
    }
    for (const file of [layout.gatewayKey, layout.member(0).key, layout.machineKey]) {
      assert.equal((await stat(file)).mode & 0o777, 0o600, file);
    }
    await assert.rejects(openSandboxFolder(asked(dir)), rejectsWith("FolderInUse", /process/));
    created.lock.release();
    await writeFile(layout.endpoints, "left behind by a killed launcher");
    const resumed = await openSandboxFolder(asked(dir));
    resumed.lock.release();
    assert.equal(resumed.resumed, true);
    assert.deepEqual(resumed.ports, ports);
    assert.deepEqual(resumed.genesis, genesis);
    assert.ok(!existsSync(layout.endpoints));
  });

  test("another number of nodes or another port needs a fresh network, which forgets the old one", async () => {
    const dir = join(root, "network");
    await assert.rejects(
      openSandboxFolder({ ...asked(dir), nodes: 3 }),
      rejectsWith("ConfigurationInvalid", /--fresh/),
    );
    await assert.rejects(openSandboxFolder({ ...asked(dir), port: 1 }), rejectsWith("ConfigurationInvalid", /--fresh/));
    const before = await readFile(join(dir, "node0", "genesis.json"), "utf8");
    const fresh = await openSandboxFolder({ ...asked(dir), nodes: 1, fresh: true });
    fresh.lock.release();
    assert.equal(fresh.resumed, false);
    assert.notEqual(await readFile(join(dir, "node0", "genesis.json"), "utf8"), before);
    assert.ok(!(await readdir(dir)).includes("node3"));
  });

  test("a folder with other things in it is left alone, even with --fresh", async () => {
    const dir = await mkdtemp(join(root, "other-"));
    await writeFile(join(dir, "thesis.txt"), "three years of work");
    await assert.rejects(
      openSandboxFolder({ ...asked(dir), fresh: true }),
      rejectsWith("ConfigurationInvalid", /nothing/),
    );
    assert.deepEqual(await readdir(dir), ["thesis.txt"]);
  });

  test("a taken port is named, and the network stays as it is", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const ports = [{ ethRpc: port, client: port, peer: port }];
    await assert.rejects(requireFree(ports), rejectsWith("PortTaken", new RegExp(`${port} is used by`)));
    const dir = join(root, "network");
    const before = await readFile(join(dir, "node0", "genesis.json"), "utf8");
    await assert.rejects(
      openSandboxFolder({ ...asked(dir), port, fresh: true }),
      rejectsWith("PortTaken", /is used by/),
    );
    assert.equal(await readFile(join(dir, "node0", "genesis.json"), "utf8"), before);
    server.close();
    assert.equal((await choosePorts(0, 2)).length, 2);
  });

  test("new code is voted in by the members for the constitution a node has; known code needs no vote", async () => {
    const dir = join(root, "vote");
    const { genesis, lock } = await openSandboxFolder({ ...asked(dir), nodes: 1 });
    lock.release();
    const layout = new SandboxLayout(dir);
    const known = genesis.codeManifest[0];
    assert.ok(known !== undefined);
    assert.equal(await approveNewCode(layout, 1, genesis, known), undefined);
    assert.ok(!existsSync(join(layout.node(0), "approval.cbor")));
    const code = { ...known, measurement: "ab".repeat(32) };
    const change = await approveNewCode(layout, 1, genesis, code);
    assert.deepEqual(change, { measurement: code.measurement, constitutionVersion: 2 });
    const approval = decodeMessages(new Uint8Array(await readFile(join(layout.node(0), "approval.cbor"))));
    assert.equal(approval.length, 4, "a proposal and the ballots of all three members");
    const crypto = createGovernanceCrypto();
    const { constitution: next } = withRequests(genesisState(genesis, crypto), approval, Date.now(), crypto);
    assert.deepEqual(
      next.codeManifest.map(({ measurement }) => measurement),
      [known.measurement, code.measurement],
    );
  });

  test("a damaged ledger is passed over as long as another node's can be read", async () => {
    const dir = join(root, "damaged");
    const { genesis, lock } = await openSandboxFolder({ ...asked(dir), nodes: 3 });
    lock.release();
    const layout = new SandboxLayout(dir);
    const [known] = genesis.codeManifest;
    assert.ok(known !== undefined);
    const damage = async (at: number) => {
      await mkdir(layout.ledger(at), { recursive: true });
      await writeFile(join(layout.ledger(at), "ledger_0000000001"), "no chunk of a ledger begins like this, by far");
    };
    await damage(1);
    await assert.rejects(readLedgerGovernance(layout.ledger(1)), rejectsWith("LedgerCorrupt", /ledger_0000000001/));
    assert.equal(await approveNewCode(layout, 3, genesis, known), undefined);
    const code = { ...known, measurement: "ab".repeat(32) };
    assert.equal((await approveNewCode(layout, 3, genesis, code))?.constitutionVersion, 2);
    for (let at = 0; at < 3; at++) assert.ok(existsSync(join(layout.node(at), "approval.cbor")), `node${at}`);
    await damage(0);
    await damage(2);
    await assert.rejects(approveNewCode(layout, 3, genesis, known), rejectsWith("LedgerCorrupt", /node0/));
  });
});
