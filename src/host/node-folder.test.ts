import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { makeFounder, TEST_CODE, type TestFounder } from "../../test/support/founders.ts";
import { verifyEvidence } from "../attestation/verify-evidence.ts";
import { constitutionToJson } from "../core/governance/constitution-codec.ts";
import { fromHex, toHex, utf8Encode } from "../core/codec/bytes.ts";
import { platformOf } from "../attestation/evidence.ts";
import { createEvidenceCrypto } from "../enclave/manager/node-crypto.ts";
import { openNodeKeys } from "../enclave/manager/node-keys.ts";
import type { TeeEntry } from "../core/governance/manifest-entries.ts";
import { STRICT_SNP_POLICY } from "../core/governance/policy-snp.ts";
import { CocoError } from "../errors.ts";
import { createFileAtomic, writeFileAtomic } from "./files.ts";
import {
  assembleGenesis,
  readConstitutionFile,
  readSignedNode,
  signedNodeToJson,
  signNodeEntry,
  type SignedNode,
} from "./genesis.ts";
import { initNode, loadNode, readNodeRequest } from "./node-folder.ts";
import { createVirtualTee, openVirtualTee } from "./virtual-tee.ts";

const root = await mkdtemp(join(tmpdir(), "coco-node-folder-"));
after(() => rm(root, { recursive: true, force: true }));
let folders = 0;

async function newFolder(): Promise<string> {
  const dir = join(root, String(folders++));
  await mkdir(dir);
  return dir;
}

function options(dir: string, at = 0) {
  return {
    dir,
    name: `vn${at}`,
    listen: "0.0.0.0:0",
    advertise: `vn${at}.example.org:7000`,
    clientListen: "127.0.0.1:0",
    clientAdvertise: `vn${at}.example.org:8000`,
    machineKeyFile: join(dir, "..", "machine.key"),
  };
}

function configurationInvalid(field?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof CocoError, String(error));
    assert.equal(error.code, "ConfigurationInvalid", error.message);
    if (field !== undefined) {
      assert.equal(error.data["field"], field);
      assert.ok(error.message.includes(field) && error.message.includes(String(error.data["file"])), error.message);
    }
    return true;
  };
}

async function mode(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

const onPosix = process.platform !== "win32";

describe("a node's folder", () => {
  test("is made once and read back, with the keys its entry names", async () => {
    const dir = await newFolder();
    const request = await initNode(options(join(dir, "node")));
    const node = await loadNode(join(dir, "node"));
    const keys = await openNodeKeys(node.sealedKeys, await openVirtualTee(node.paths.machineKeyFile ?? assert.fail()));
    assert.equal(keys.nodeId, request.nodeId);
    assert.deepEqual(keys.publicKey, request.publicKey);
    assert.deepEqual(keys.encryptionKey, request.encryptionKey);
    assert.deepEqual(await readNodeRequest(node.paths.nodeEntry), request);
    assert.equal(node.advertise, "vn0.example.org:7000");
    assert.equal(node.paths.machineKeyFile, join(dir, "machine.key"));
    const configuration = JSON.parse(await readFile(join(dir, "node", "node.json"), "utf8"));
    assert.equal(configuration.machineKeyFile, "../machine.key");
  });

  test("keeps secrets to its owner and leaves no temporary files", { skip: !onPosix }, async () => {
    const dir = await newFolder();
    await initNode(options(join(dir, "node")));
    assert.equal(await mode(join(dir, "machine.key")), 0o600);
    assert.equal(await mode(join(dir, "node", "sealed.keys")), 0o600);
    assert.deepEqual((await readdir(join(dir, "node"))).sort(), ["node.json", "sealed.keys", "vn-entry.json"]);
    assert.deepEqual((await readdir(dir)).sort(), ["machine.key", "node"]);
  });

  test("is never made twice: keys and configuration stay", async () => {
    const dir = join(await newFolder(), "node");
    await initNode(options(dir));
    const before = await readFile(join(dir, "sealed.keys"));
    await assert.rejects(initNode(options(dir)), configurationInvalid());
    const otherMachine = join(dir, "other.key");
    await assert.rejects(initNode({ ...options(dir), machineKeyFile: otherMachine }), configurationInvalid());
    assert.deepEqual(await readFile(join(dir, "sealed.keys")), before);
    await assert.rejects(stat(otherMachine), { code: "ENOENT" });
  });

  test("of two initialisations at once one succeeds", async () => {
    const dir = join(await newFolder(), "node");
    const results = await Promise.allSettled([initNode(options(dir)), initNode(options(dir))]);
    assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const won = results.find((result) => result.status === "fulfilled");
    const node = await loadNode(dir);
    const { nodeId } = await openNodeKeys(
      node.sealedKeys,
      await openVirtualTee(node.paths.machineKeyFile ?? assert.fail()),
    );
    assert.equal(won?.value.nodeId, nodeId);
  });

  test("is not made with bad addresses, and nothing is left behind", async () => {
    const dir = join(await newFolder(), "node");
    for (const [name, value] of [
      ["advertise", "vn:0"],
      ["listen", "nowhere"],
      ["clientAdvertise", ""],
      ["name", "Has Space"],
    ] as const) {
      await assert.rejects(initNode({ ...options(dir), [name]: value }), (error) => {
        assert.ok(error instanceof CocoError);
        assert.deepEqual([error.code, error.data["field"]], ["ConfigurationInvalid", name]);
        return true;
      });
    }
    await assert.rejects(stat(dir), { code: "ENOENT" });
  });

  test("with a wrong configuration is refused by file and field", async () => {
    const dir = join(await newFolder(), "node");
    await initNode(options(dir));
    const file = join(dir, "node.json");
    const good = JSON.parse(await readFile(file, "utf8"));
    const cases: readonly (readonly [string, unknown])[] = [
      ["listen", { ...good, listen: 5 }],
      ["unknown", { ...good, unknown: 1 }],
      ["version", { ...good, version: 2 }],
      ["files.ledger", { ...good, files: { ...good.files, ledger: undefined } }],
      ["machineKeyFile", { ...good, machineKeyFile: "" }],
    ];
    for (const [field, content] of cases) {
      await writeFile(file, JSON.stringify(content));
      await assert.rejects(loadNode(dir), configurationInvalid(field));
    }
    await writeFile(file, "{");
    await assert.rejects(loadNode(dir), configurationInvalid());
    await assert.rejects(loadNode(join(dir, "nowhere")), configurationInvalid());
    await writeFile(file, JSON.stringify(good));
    await rm(join(dir, "sealed.keys"));
    await assert.rejects(loadNode(dir), configurationInvalid());
  });
});

describe("the virtual TEE", () => {
  test("gives evidence of its machine that verifies", async () => {
    const tee = await createVirtualTee(join(await newFolder(), "machine.key"));
    const reportData = new Uint8Array(64).fill(7);
    const claims = verifyEvidence(
      tee.attest(fromHex(TEST_CODE.measurement), reportData),
      reportData,
      createEvidenceCrypto(),
      0,
    );
    assert.equal(claims.measurement, TEST_CODE.measurement);
    assert.equal(platformOf(claims), toHex(tee.machineKey));
  });

  test("opens what it sealed, after a restart too, and what no other machine sealed", async () => {
    const file = join(await newFolder(), "machine.key");
    const secret = utf8Encode("secret");
    const sealed = (await createVirtualTee(file)).seal(secret);
    const tee = await openVirtualTee(file);
    assert.deepEqual(tee.unseal(sealed), secret);
    assert.notDeepEqual(tee.seal(secret), sealed);
    const other = await createVirtualTee(join(await newFolder(), "machine.key"));
    assert.throws(() => other.unseal(sealed), { code: "SealedElsewhere" });
    for (let at = 0; at < sealed.length; at++) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] as number) ^ 1;
      assert.throws(() => tee.unseal(changed), { code: "SealedElsewhere" }, `byte ${at}`);
      assert.throws(() => tee.unseal(sealed.subarray(0, at)), { code: "SealedElsewhere" });
    }
  });

  test("sealed node keys do not open on another machine", async () => {
    const dir = join(await newFolder(), "node");
    await initNode(options(dir));
    const other = await createVirtualTee(join(await newFolder(), "machine.key"));
    const { sealedKeys } = await loadNode(dir);
    await assert.rejects(openNodeKeys(sealedKeys, other), { code: "SealedElsewhere" });
    await assert.rejects(openNodeKeys(other.seal(utf8Encode("x")), other), configurationInvalid());
  });

  test("made by two processes at once has one key", async () => {
    const file = join(await newFolder(), "machine.key");
    const tees = await Promise.all([createVirtualTee(file), createVirtualTee(file), createVirtualTee(file)]);
    const final = await openVirtualTee(file);
    for (const tee of tees) assert.deepEqual(tee.machineKey, final.machineKey);
  });

  test("refuses a key file that is missing, no key, or open to others", async () => {
    const file = join(await newFolder(), "machine.key");
    await assert.rejects(openVirtualTee(file), configurationInvalid());
    await writeFile(file, "no key", { mode: 0o600 });
    await assert.rejects(createVirtualTee(file), configurationInvalid());
    assert.equal(await readFile(file, "utf8"), "no key");
    if (!onPosix) return;
    await writeFileAtomic(file, "no key", 0o644);
    await assert.rejects(createVirtualTee(file), /0600/);
  });
});

describe("founding a network", () => {
  async function signedNodes(founder: TestFounder, network = "test"): Promise<SignedNode[]> {
    const dir = await newFolder();
    const nodes: SignedNode[] = [];
    for (let at = 0; at < 2; at++) {
      const request = await initNode(options(join(dir, `node${at}`), at));
      nodes.push(signNodeEntry(request, founder.issuer.privateKey, founder.founder.id, network));
    }
    return nodes;
  }

  test("owners sign, anyone assembles, and every founder reads the same constitution", async () => {
    const founder = makeFounder("member1");
    const nodes = await signedNodes(founder);
    const dir = await newFolder();
    const [node] = nodes;
    assert.ok(node);
    await writeFileAtomic(join(dir, "signed.json"), signedNodeToJson(node), 0o644);
    assert.deepEqual(await readSignedNode(join(dir, "signed.json")), node);
    const constitution = assembleGenesis({
      networkName: "test",
      actors: [founder.founder],
      nodes,
      codeManifest: [TEST_CODE],
      adapters: [],
    });
    assert.equal(constitution.teeManifest.length, 1);
    await writeFileAtomic(join(dir, "genesis.json"), constitutionToJson(constitution), 0o644);
    assert.deepEqual(await readConstitutionFile(join(dir, "genesis.json")), constitution);
  });

  test("nodes on hardware share what is accepted of it, and different policies under one name are refused", async () => {
    const founder = makeFounder("member1");
    const nodes = await signedNodes(founder);
    const tee = { tee: "snp", id: "strict", note: "here", policy: STRICT_SNP_POLICY } as const;
    const parts = { networkName: "test", actors: [founder.founder], codeManifest: [TEST_CODE], adapters: [] };
    const on = (...tees: readonly TeeEntry[]) =>
      assembleGenesis({ ...parts, nodes: nodes.map((node, at) => ({ ...node, tee: tees[at] ?? node.tee })) });
    assert.deepEqual(on(tee, { ...tee, note: "there" }).teeManifest, [tee]);
    const lax = { ...tee, policy: { ...STRICT_SNP_POLICY, allow: ["debug"] } } as const;
    assert.throws(() => on(tee, lax), { code: "ConstitutionInvalid" });
    assert.equal(on(tee, { ...lax, id: "lax" }).teeManifest.length, 2);
  });

  test("entries signed for another network or listed twice are refused", async () => {
    const founder = makeFounder("member1");
    const nodes = await signedNodes(founder, "other");
    const parts = { networkName: "test", actors: [founder.founder], nodes, codeManifest: [TEST_CODE], adapters: [] };
    assert.throws(() => assembleGenesis(parts), { code: "ConstitutionInvalid" });
    const [node] = nodes;
    assert.ok(node);
    assert.throws(() => assembleGenesis({ ...parts, networkName: "other", nodes: [node, node] }), {
      code: "ConstitutionInvalid",
    });
    assert.throws(
      () => signNodeEntry({ ...node.entry, tee: node.tee }, "no key", "member1", "test"),
      configurationInvalid(),
    );
  });
});

describe("files", () => {
  test("are replaced whole, made once, and keep their mode", async () => {
    const file = join(await newFolder(), "file");
    assert.equal(await createFileAtomic(file, "one", 0o600), true);
    assert.equal(await createFileAtomic(file, "two", 0o600), false);
    assert.equal(await readFile(file, "utf8"), "one");
    await writeFileAtomic(file, utf8Encode("three"), 0o640);
    assert.equal(await readFile(file, "utf8"), "three");
    if (onPosix) assert.equal(await mode(file), 0o640);
    assert.deepEqual(await readdir(join(file, "..")), ["file"]);
    await assert.rejects(writeFileAtomic(join(file, "below"), "x", 0o600));
  });
});
