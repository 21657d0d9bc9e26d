import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { PLAYED_ROOTS, measuredOf, playedSnp, playedTdx, playedVtpm } from "../../../test/support/played-hardware.ts";
import { reasonsOf } from "../../attestation/checks.ts";
import { PCRS } from "../../attestation/tpm/test-azure-vtpm.ts";
import { verifyEvidence } from "../../attestation/verify-evidence.ts";
import { toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { readDocument } from "../../core/governance/fields.ts";
import { TEE_NAMES } from "../../core/governance/manifest-entries.ts";
import { createEvidenceCrypto } from "../../enclave/manager/node-crypto.ts";
import { openNodeKeys } from "../../enclave/manager/node-keys.ts";
import { CocoError } from "../../errors.ts";
import { initNode, loadNode, NODE_CONFIGURATION_FILE, teeOf } from "../node-folder.ts";
import { askTeeOf, tellTee } from "./ask-tee.ts";
import { measuredByTee, openNodeTee } from "./node-tee.ts";
import { createVsmProvider } from "./vsm.ts";
import {
  readTeeSettings,
  SEAL_TARGETS,
  sealsByMachineKey,
  SETTINGS_OF_TEE,
  type TeeSettings,
  teeSettingsTree,
} from "./tee-settings.ts";

const dir = await mkdtemp(join(tmpdir(), "coco-tee-"));
after(() => rm(dir, { recursive: true, force: true }));
const machineKeyFile = join(dir, "machine.key");
const crypto = createEvidenceCrypto(PLAYED_ROOTS);
const REPORT_DATA = new Uint8Array(64).fill(9);

const read = (value: unknown): TeeSettings =>
  readDocument(value, { form: "json", code: "ConfigurationInvalid" }, (fields) => readTeeSettings(fields, "/node"));

const addresses = {
  ...{ name: "node", listen: "127.0.0.1:1", advertise: "127.0.0.1:1" },
  ...{ clientListen: "127.0.0.1:2", clientAdvertise: "127.0.0.1:2" },
};

describe("the settings of a node's TEE", () => {
  test("name the one service that is asked for the chip's certificates, or none", () => {
    for (const chipService of ["amd", "azure-cache", "azure-host", "none"]) {
      const snp = read({ name: "snp", chipService, collateralCache: "kept" });
      assert.deepEqual(snp, { name: "snp", chipService, collateralCache: "/node/kept" });
    }
    for (const chipService of ["", "intel", "AMD", "https://kdsintf.amd.com"])
      assert.throws(() => read({ name: "snp", chipService }), {
        code: "ConfigurationInvalid",
        data: { field: "chipService" },
      });
  });

  test("are of one TEE each, come back as they were, and have absolute paths", () => {
    const tdx: TeeSettings = { name: "tdx", collateralUrl: "https://pccs.test:8081", collateralCache: "/node/kept" };
    assert.deepEqual(read({ name: "tdx", collateralUrl: "https://pccs.test:8081", collateralCache: "kept" }), tdx);
    assert.deepEqual(read(teeSettingsTree(tdx)), tdx);
    assert.deepEqual(read({ name: "virtual" }), { name: "virtual" });
    assert.deepEqual(read({ name: "sgx" }), { name: "sgx", sealTo: "enclave" });
    for (const sealTo of SEAL_TARGETS) assert.deepEqual(read({ name: "sgx", sealTo }), { name: "sgx", sealTo });
    assert.deepEqual(read({ name: "vsm", pipe: "\\\\.\\pipe\\coco" }), { name: "vsm", pipe: "\\\\.\\pipe\\coco" });
    assert.deepEqual(read({ name: "vsm", answerFile: "answer.json" }), {
      name: "vsm",
      answerFile: "/node/answer.json",
    });
    assert.deepEqual(
      [{ pipe: "x" }, { answerFile: "x" }].map((host) => sealsByMachineKey({ name: "vsm", ...host })),
      [false, true],
    );
    const thim = { name: "snp", chipService: "azure-host", chipServiceUrl: "http://10.0.0.4:2377" } as const;
    assert.deepEqual(read(thim), thim);
    for (const wrong of [
      { name: "sev" },
      { name: "vsm" },
      { name: "vsm", pipe: "x", answerFile: "y" },
      { name: "snp", chipServiceUrl: "10.0.0.4:2377" },
      { name: "virtual", reportFolder: "/x" },
      { name: "snp", collateralUrl: "https://pccs.test" },
      { name: "tdx", collateralUrl: "ftp://pccs.test" },
      { name: "snp", vtpm: "" },
      { name: "sgx", sealTo: "code" },
      { name: "snp", sealTo: "enclave" },
    ])
      assert.throws(() => read(wrong), { code: "ConfigurationInvalid" }, JSON.stringify(wrong));
  });

  test("name no roots of hardware, in no form", () => {
    const names = Object.values(SETTINGS_OF_TEE).flat();
    assert.ok(names.every((name) => !/^root(?!ListUrl)|trust|anchor|pin/i.test(name)));
    for (const tee of TEE_NAMES)
      for (const field of ["roots", "root", "trustedRoots", "hardwareRoots", "pins"])
        assert.throws(() => read({ name: tee, pipe: "x", [field]: ["00"] }), { code: "ConfigurationInvalid" });
  });
});

describe("the TEE of a node", () => {
  test("makes evidence that others verify, and says which code that names and what the manifest must list", async () => {
    for (const [provider, code] of [
      [playedSnp(), 0x90],
      [playedTdx(), 0xd1],
    ] as const) {
      const tee = await openNodeTee(
        { name: provider.tee },
        { dir, machineKeyFile, create: true, played: { roots: PLAYED_ROOTS, provider } },
      );
      const claims = verifyEvidence(await tee.attest(REPORT_DATA), REPORT_DATA, crypto, Date.now());
      assert.deepEqual([claims.tee, claims.measurement], [provider.tee, tee.code.measurement]);
      assert.equal(tee.code.measurement, measuredOf(code));
      assert.equal(tee.code.reference?.tee, provider.tee);
      assert.equal(tee.sealedBy, "machine key file");
      const entry = tee.entry("here");
      assert.deepEqual([entry.tee, entry.note], [provider.tee, "here"]);
    }
  });

  test("of an Azure machine names what was booted, so that its entry accepts nothing else", async () => {
    const open = (provider = playedVtpm()) =>
      openNodeTee({ name: "snp" }, { dir, machineKeyFile, create: true, played: { roots: PLAYED_ROOTS, provider } });
    const tee = await open();
    assert.deepEqual(tee.code, { measurement: measuredOf(0x91), reference: { tee: "snp", hostData: "c0".repeat(32) } });
    const entry = tee.entry("here");
    if (entry.tee !== "snp") throw assert.fail("of SNP");
    const value = (at: number) => toHex(PCRS[at] ?? assert.fail("no register"));
    assert.equal(entry.id, "strict-vtpm");
    assert.deepEqual(
      entry.policy.pcrs,
      Object.fromEntries([4, 7, 8, 9, 11, 12].map((register) => [register, value(register)])),
    );
    const judged = async (made: typeof tee, by = entry) => {
      const claims = verifyEvidence(await made.attest(REPORT_DATA), REPORT_DATA, crypto, Date.now());
      return claims.tee === "virtual" ? assert.fail("of hardware") : reasonsOf(claims.judge(by));
    };
    assert.deepEqual(await judged(tee), []);
    assert.deepEqual(await judged(await open(playedVtpm({ booted: 0x66 }))), ["MeasurementMismatch"]);
    assert.deepEqual(await judged(await open(playedSnp())), ["RegistersMissing"]);
    const plain = (await open(playedSnp())).entry("here");
    assert.deepEqual(await judged(tee, plain.tee === "snp" ? plain : assert.fail("of SNP")), ["RegistersMissing"]);
    const measured = await measuredByTee("snp", { name: "snp" }, { roots: PLAYED_ROOTS, provider: playedVtpm() });
    assert.deepEqual([measured.code, measured.entry("here")], [tee.code, entry]);
  });

  test("is refused at once where its evidence would be, and where it is not there", async () => {
    const open = (settings: TeeSettings, played = {}) =>
      openNodeTee(settings, { dir, machineKeyFile, create: true, played });
    await assert.rejects(open({ name: "snp" }, { provider: playedSnp() }), {
      code: "TeeUnavailable",
      message: /others refuse what snp makes here/,
    });
    await assert.rejects(open({ name: "tdx" }, { provider: playedSnp(), roots: PLAYED_ROOTS }), {
      code: "TeeUnavailable",
    });
    const nowhere = join(dir, "nowhere");
    for (const [settings, what] of [
      [{ name: "snp", reportFolder: nowhere }, /nowhere.*configfs.*root.*--vtpm.*--chip-certificates/],
      [{ name: "snp", vtpm: nowhere }, /nowhere.*--vtpm/],
      [{ name: "tdx", reportFolder: nowhere }, /nowhere.*quote generation service/],
      [{ name: "sgx", reportFolder: nowhere }, /nowhere.*Gramine/],
      [{ name: "vsm", pipe: nowhere }, /cannot be reached.*--pipe/],
    ] as const)
      await assert.rejects(open(settings), { code: "TeeUnavailable", message: what }, settings.name);
  });

  test("is kept in the node's folder, seals its keys by the machine key, and can be another one", async () => {
    const folder = join(dir, "snp");
    const played = { roots: PLAYED_ROOTS, provider: playedSnp() };
    const request = await initNode({ ...addresses, dir: folder, machineKeyFile, tee: { name: "snp" } }, played);
    assert.deepEqual([request.tee.tee, "policy" in request.tee], ["snp", true]);
    const node = await loadNode(folder);
    assert.deepEqual(node.tee, { name: "snp" });
    const tee = await teeOf(node, undefined, played);
    assert.equal((await openNodeKeys(node.sealedKeys, tee.sealer)).nodeId, request.nodeId);
    const virtual = await teeOf(node, { name: "virtual" });
    assert.equal(virtual.tee, "virtual");
    const file = join(folder, NODE_CONFIGURATION_FILE);
    const configuration = JSON.parse(await readFile(file, "utf8")) as object;
    await writeFile(file, JSON.stringify({ ...configuration, hardwareRoots: { intel: ["00"] } }));
    await assert.rejects(loadNode(folder), { code: "ConfigurationInvalid" });
  });

  test("needs a machine key file unless its enclave seals", async () => {
    const played = { roots: PLAYED_ROOTS, provider: playedSnp() };
    await assert.rejects(openNodeTee({ name: "snp" }, { dir, machineKeyFile: undefined, played }), {
      code: "ConfigurationInvalid",
    });
    await assert.rejects(initNode({ ...addresses, dir: join(dir, "x") }), { code: "ConfigurationInvalid" });
  });

  test("of an enclave seals by it", async () => {
    const pipe = process.platform === "win32" ? `\\\\.\\pipe\\coco-test-${process.pid}` : join(dir, "host.sock");
    const server = createServer((socket) =>
      socket.on("data", (line) => {
        const { data64 } = JSON.parse(line.toString()) as { data64: string };
        const turned = Buffer.from(data64, "base64").map((byte) => byte ^ 0xff);
        socket.end(`${JSON.stringify({ data64: Buffer.from(turned).toString("base64") })}\n`);
      }),
    );
    await new Promise<void>((resolve) => server.listen(pipe, resolve));
    const vsm = createVsmProvider(pipe);
    const secret = utf8Encode("a secret of the node");
    const sealed = await vsm.seal(secret);
    assert.notDeepEqual(sealed, secret);
    assert.deepEqual(await vsm.unseal(sealed), secret);
    server.close();
  });

  test("is asked through a port that says why there is no evidence, and told of in the log", async () => {
    const failing = askTeeOf({
      attest: () => Promise.reject(new CocoError("CollateralUnavailable", "the service is down")),
    });
    const outcome = await new Promise((resolve) => failing(REPORT_DATA, resolve));
    assert.ok(outcome instanceof CocoError && outcome.code === "AttestationFailed");
    assert.match(outcome.message, /the service is down/);
    const played = { roots: PLAYED_ROOTS, provider: playedSnp() };
    const tee = await openNodeTee({ name: "snp" }, { dir, machineKeyFile, create: true, played });
    const evidence = await new Promise<unknown>((resolve) => askTeeOf(tee)(REPORT_DATA, resolve));
    assert.ok(evidence instanceof Uint8Array);
    const lines: string[] = [];
    tellTee(tee, { event: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`) });
    assert.match(lines[0] ?? "", new RegExp(`info tee .*snp.*${measuredOf(0x90)}.*machine key file`));
    assert.match(lines[1] ?? "", /warn node_keys .*keys are in a file that this machine's operator can read/);
    assert.equal(
      lines.some((line) => line.includes(toHex(REPORT_DATA))),
      false,
    );
  });

  test("virtual measures with the flags of the process, and says so, and that it is no isolation", async () => {
    const before = process.env["NODE_OPTIONS"];
    const opened = async (flags: string) => {
      process.env["NODE_OPTIONS"] = flags;
      return openNodeTee({ name: "virtual" }, { dir, machineKeyFile, create: true });
    };
    const [plain, flagged] = [await opened("--enable-source-maps"), await opened("--inspect --no-warnings")];
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
    assert.notEqual(plain.code.measurement, flagged.code.measurement);
    const lines: string[] = [];
    tellTee(plain, { event: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`) });
    assert.equal(lines.length, 3);
    assert.match(lines[1] ?? "", /warn virtual_tee .*identity, not isolation/);
    tellTee(flagged, { event: (level, event, fields) => lines.push(`${level} ${event} ${JSON.stringify(fields)}`) });
    assert.match(lines[5] ?? "", /warn flags_measured .*"flags":"--inspect"/);
  });
});
