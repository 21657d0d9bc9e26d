/** Where the keys of a node in an SGX enclave are: the real node folder over a tree like Gramine's. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { playedSgx, type PlayedEnclave } from "../../../test/support/played-gramine.ts";
import { PLAYED_ROOTS } from "../../../test/support/played-hardware.ts";
import { createNodeKeys, openNodeKeys } from "../../enclave/manager/node-keys.ts";
import { nodeEntropy } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { initNode, loadNode, teeOf } from "../node-folder.ts";
import { tellTee } from "./ask-tee.ts";
import type { NodeTee } from "./node-tee.ts";
import { createTdxProvider } from "./tdx-provider.ts";
import { SEAL_TARGETS, type SealTarget, type TeeSettings } from "./tee-settings.ts";

const root = await mkdtemp(join(tmpdir(), "coco-sealing-"));
after(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const fresh = () => join(root, String(folders++));

const addresses = {
  ...{ name: "node", listen: "127.0.0.1:1", advertise: "127.0.0.1:1" },
  ...{ clientListen: "127.0.0.1:2", clientAdvertise: "127.0.0.1:2" },
};

const played = (enclave: PlayedEnclave) => ({ roots: PLAYED_ROOTS, provider: playedSgx(enclave) });

/** A node that was made in an enclave. */
async function made(sealTo: "enclave" | "signer" | undefined, enclave: PlayedEnclave = { folder: fresh() }) {
  const dir = fresh();
  const tee: TeeSettings = { name: "sgx", ...(sealTo && { sealTo }) };
  const { nodeId } = await initNode({ ...addresses, dir, tee }, played({ ...enclave, ...(sealTo && { sealTo }) }));
  return { dir, nodeId, enclave: { ...enclave, ...(sealTo && { sealTo }) } };
}

/** What a start does first: opens the TEE, and the keys with it. */
async function started(dir: string, enclave: PlayedEnclave, instead?: TeeSettings) {
  const node = await loadNode(dir);
  const tee = await teeOf(node, instead, played(enclave));
  return { tee, keys: await openNodeKeys(node.sealedKeys, tee.sealer) };
}

async function refused(run: Promise<unknown>): Promise<CocoError> {
  try {
    await run;
  } catch (error) {
    if (error instanceof CocoError) return error;
    throw error;
  }
  return assert.fail("it was not refused");
}

describe("the keys of a node in an SGX enclave", () => {
  test("are sealed to its code unless it is told otherwise, without any machine key, and open after each restart", async () => {
    const { dir, nodeId, enclave } = await made(undefined);
    const configuration = JSON.parse(readFileSync(join(dir, "node.json"), "utf8")) as { readonly tee: TeeSettings };
    assert.deepEqual(configuration.tee, { name: "sgx", sealTo: "enclave" });
    assert.equal("machineKeyFile" in configuration, false);
    for (let restart = 0; restart < 2; restart++) {
      const { tee, keys } = await started(dir, enclave);
      assert.deepEqual([tee.sealedBy, keys.nodeId], ["enclave", nodeId]);
    }
  });

  test("sealed to its code do not open for other code, on another machine, or after new microcode", async () => {
    const { dir, enclave } = await made("enclave");
    for (const other of [{ code: 0xe2 }, { folder: fresh() }, { microcode: 2 }]) {
      const error = await refused(started(dir, { ...enclave, ...other }));
      assert.equal(error.code, "SealedElsewhere", JSON.stringify(other));
      assert.match(error.message, /other code, another machine, or a processor whose microcode changed/);
    }
    await started(dir, enclave);
  });

  test("sealed to its signer open for newer code of that one, and for no other signer or machine", async () => {
    const { dir, nodeId, enclave } = await made("signer");
    const { tee, keys } = await started(dir, { ...enclave, code: 0xe2 });
    assert.deepEqual([tee.sealedBy, keys.nodeId], ["signer", nodeId]);
    for (const other of [{ signer: "somebody" }, { folder: fresh() }, { microcode: 2 }])
      assert.equal((await refused(started(dir, { ...enclave, ...other }))).code, "SealedElsewhere");
  });

  test("do not open when they are asked for by another setting, which is said", async () => {
    const { dir, enclave } = await made("signer");
    const asEnclave = started(dir, { ...enclave, sealTo: "enclave" }, { name: "sgx", sealTo: "enclave" });
    assert.match((await refused(asEnclave)).message, /sealed to the signer of an enclave, not to the code/);
  });

  test("are not used when a byte of the file was changed, or the file was cut off", async () => {
    const { dir, enclave } = await made("enclave");
    const file = join(dir, "sealed.keys");
    const sealed = readFileSync(file);
    for (const at of [0, 1, 2, 34, 46, sealed.length - 1]) {
      writeFileSync(
        file,
        sealed.map((byte, index) => (index === at ? byte ^ 1 : byte)),
      );
      assert.equal((await refused(started(dir, enclave))).code, "SealedElsewhere", `byte ${at}`);
    }
    for (const length of [0, 1, 45, 46, sealed.length - 1]) {
      writeFileSync(file, sealed.subarray(0, length));
      assert.equal((await refused(started(dir, enclave))).code, "SealedElsewhere", `${length} bytes`);
    }
    writeFileSync(file, sealed);
    await started(dir, enclave);
  });

  test("are not made where Gramine gives no sealing key, also when a machine key file is named: nothing stands in for it", async () => {
    const machineKeyFile = join(root, "unused.key");
    for (const sealTo of ["enclave", "signer"] as const) {
      const dir = fresh();
      const enclave = { folder: fresh(), sealTo, withoutKeys: true };
      const tee = { name: "sgx", sealTo } as const;
      const error = await refused(initNode({ ...addresses, dir, machineKeyFile, tee }, played(enclave)));
      assert.equal(error.code, "TeeUnavailable");
      assert.match(error.message, /no sealing key can be read.*--seal-to machine/);
      assert.deepEqual([existsSync(join(dir, "sealed.keys")), existsSync(machineKeyFile)], [false, false]);
    }
  });

  test("do not open where Gramine gives no sealing key any more", async () => {
    const { dir, enclave } = await made("enclave");
    assert.equal((await refused(started(dir, { ...enclave, withoutKeys: true }))).code, "TeeUnavailable");
  });

  test("are not sealed by what does not seal", async () => {
    const provider = { ...createTdxProvider({ collateral: () => assert.fail() }), tee: "sgx" as const };
    const attest = playedSgx({ folder: fresh() }).attest;
    const options = { ...addresses, dir: fresh(), tee: { name: "sgx" } } as const;
    const error = await refused(initNode(options, { roots: PLAYED_ROOTS, provider: { ...provider, attest } }));
    assert.deepEqual([error.code, error.message], ["TeeUnavailable", "sgx gives no sealing here"]);
  });

  test("are under the machine key where that is wanted, and only there", async () => {
    const machineKeyFile = join(root, "machine.key");
    const enclave = { folder: fresh() };
    const dir = fresh();
    const options = { ...addresses, dir, machineKeyFile, tee: { name: "sgx", sealTo: "machine" } } as const;
    const { nodeId } = await initNode(options, played(enclave));
    const { tee, keys } = await started(dir, { ...enclave, code: 0xe2 });
    assert.deepEqual([tee.sealedBy, keys.nodeId], ["machine key file", nodeId]);
    const error = await refused(started(dir, enclave, { name: "sgx", sealTo: "enclave" }));
    assert.match(error.message, /sealed to a machine key file, not to the code of an enclave/);
    assert.equal(
      (await refused(initNode({ ...options, dir: fresh(), machineKeyFile: undefined }))).code,
      "TeeUnavailable",
    );
    const without = initNode({ ...options, dir: fresh(), machineKeyFile: undefined }, played(enclave));
    assert.equal((await refused(without)).code, "ConfigurationInvalid");
  });

  test("are said to be where they are, once, and nothing of them is", async () => {
    const said = (tee: NodeTee) => {
      const lines: string[] = [];
      tellTee(tee, { event: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`) });
      return lines.filter((line) => line.includes("node_keys"));
    };
    const words: Readonly<Record<SealTarget, RegExp>> = {
      enclave: /^info .*no other code and no other machine opens them/,
      signer: /^warn .*whatever code that one signs opens them/,
      machine: /^warn .*keys are in a file that this machine's operator can read/,
    };
    for (const sealTo of SEAL_TARGETS) {
      const dir = fresh();
      const machineKeyFile = sealTo === "machine" ? join(root, "machine.key") : undefined;
      const enclave = { folder: fresh(), ...(sealTo !== "machine" && { sealTo }) };
      await initNode({ ...addresses, dir, machineKeyFile, tee: { name: "sgx", sealTo } }, played(enclave));
      const { tee } = await started(dir, enclave);
      const lines = said(tee);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", words[sealTo]);
      const key = readFileSync(join(enclave.folder, "keys", "_sgx_mrenclave"));
      const files = ["node.json", "vn-entry.json", "sealed.keys"].map((name) => readFileSync(join(dir, name)));
      for (const form of ["hex", "base64"] as const) assert.ok(!lines.join().includes(key.toString(form)));
      assert.ok(files.every((file) => !file.includes(key)));
    }
  });

  test("differ each time they are sealed", async () => {
    const provider = playedSgx({ folder: fresh() });
    const [one, two] = [await createNodeKeys(provider, nodeEntropy), await createNodeKeys(provider, nodeEntropy)];
    assert.notDeepEqual(one.sealed.subarray(2, 46), two.sealed.subarray(2, 46));
    assert.equal((await openNodeKeys(one.sealed, provider)).nodeId, one.keys.nodeId);
  });
});
