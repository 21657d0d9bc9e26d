import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { coco } from "../../test/support/coco-here.ts";
import { TEE_NAMES } from "../core/governance/manifest-entries.ts";
import { teeSettings } from "./tee-options.ts";

const root = await mkdtemp(join(tmpdir(), "coco-tee-options-"));
after(() => rm(root, { recursive: true, force: true }));

const nowhere = join(root, "nowhere");
const init = (dir: string, ...more: readonly string[]) =>
  coco(
    ...["node", "init", "--dir", join(root, dir), "--name", "node", "--listen", "127.0.0.1:1"],
    ...["--advertise", "127.0.0.1:1", "--client-listen", "127.0.0.1:2", "--client-advertise", "127.0.0.1:2", ...more],
  );
const key = ["--machine-key", join(root, "machine.key")] as const;
const sealsAlone = (tee: string) => tee === "sgx" || tee === "vsm";

describe("the options of a node's TEE", () => {
  test("make its settings, and none when none are given", () => {
    assert.equal(teeSettings({}), undefined);
    assert.deepEqual(teeSettings({ tee: "snp", vtpm: "/dev/tpmrm0", chipCertificates: "vcek.pem" }), {
      name: "snp",
      chipCertificates: "vcek.pem",
      vtpm: "/dev/tpmrm0",
    });
  });

  test("are refused where the TEE does not take them, or without one, with what they are for", () => {
    for (const [options, message] of [
      [{ vtpm: "/dev/tpmrm0" }, /--vtpm <device> is for --tee snp/],
      [{ tee: "snp", collateralUrl: "https://pccs.test" }, /--collateral-url <url> is for --tee sgx or --tee tdx/],
      [{ tee: "virtual", reportFolder: "x" }, /--report-folder/],
      [{ tee: "vsm" }, /expected --pipe/],
      [{ tee: "vsm", pipe: "x", answerFile: "y" }, /expected --pipe, .* or --answer-file/],
      [{ sealTo: "machine" }, /--seal-to <target> is for --tee sgx/],
      ...TEE_NAMES.filter((tee) => tee !== "sgx").map(
        (tee) => [{ tee, sealTo: "enclave" }, /--seal-to <target> is for --tee sgx/] as const,
      ),
    ] as const)
      assert.throws(() => teeSettings(options), { code: "WrongUsage", message });
  });
});

describe("coco node init", () => {
  test("takes a machine key exactly where that seals the node's keys", async () => {
    const sgx = ["--tee", "sgx", "--report-folder", nowhere];
    for (const [options, code, message] of [
      [sgx, 1, /TeeUnavailable.*nowhere/],
      [[...sgx, "--seal-to", "enclave"], 1, /TeeUnavailable.*nowhere/],
      [[...sgx, "--seal-to", "signer"], 1, /TeeUnavailable.*nowhere/],
      [[...sgx, "--seal-to", "machine"], 2, /expected --machine-key/],
      [[...sgx, "--seal-to", "machine", ...key], 1, /TeeUnavailable.*nowhere/],
      [[...sgx, ...key], 2, /the enclave seals this node's keys; leave it out, or give --seal-to machine/],
      [[...sgx, "--seal-to", "signer", ...key], 2, /the enclave seals/],
      [["--tee", "vsm", "--pipe", nowhere, ...key], 2, /the enclave seals this node's keys; leave it out/],
      [[...sgx, "--seal-to", "nobody"], 2, /Allowed choices are enclave, signer, machine/],
      [["--tee", "snp", "--chip-service", "foo", ...key], 2, /Allowed choices are amd, azure-cache, azure-host, none/],
      [["--tee", "snp", "--report-folder", nowhere, "--seal-to", "enclave", ...key], 2, /is for --tee sgx/],
      [["--tee", "snp", "--report-folder", nowhere], 2, /expected --machine-key/],
    ] as const) {
      const made = await init("matrix", ...options);
      assert.match(made.talk.replaceAll("\n", " "), message, options.join(" "));
      assert.equal(made.code, code, options.join(" "));
      assert.ok(!existsSync(join(root, "matrix")), options.join(" "));
    }
  });

  test("ends with what is missing where the TEE is not there, and makes no keys", async () => {
    for (const [tee, option, what] of [
      ["snp", "--report-folder", /TeeUnavailable.*nowhere.*configfs/],
      ["tdx", "--report-folder", /TeeUnavailable.*nowhere.*quote generation service/],
      ["sgx", "--report-folder", /TeeUnavailable.*nowhere.*Gramine/],
      ["snp", "--vtpm", /TeeUnavailable.*nowhere(?!.*(configfs|\/dev\/tpmrm0)).*virtual TPM.*leave out --vtpm/],
      ["vsm", "--pipe", /TeeUnavailable.*--pipe/],
    ] as const) {
      const { code, talk } = await init(
        `${tee}${option}`,
        "--tee",
        tee,
        option,
        nowhere,
        ...(sealsAlone(tee) ? [] : key),
      );
      assert.notEqual(code, 0);
      assert.match(talk.replaceAll("\n", " "), what, tee);
      assert.ok(!existsSync(join(root, `${tee}${option}`)), "nothing is left behind");
    }
    const file = join(nowhere, "answer.json");
    const asking = await init("answer", "--tee", "vsm", "--answer-file", file, ...key);
    assert.match(asking.talk, /^asking the enclave host in .*answer\.json\.request …\nCOCO TeeUnavailable/);
    assert.ok(!existsSync(join(root, "answer")));
    const { talk } = await coco("code", "measure", "--tee", "snp", "--report-folder", nowhere);
    assert.match(talk, /TeeUnavailable/);
  });

  test("takes the virtual TEE unless it is told otherwise, and wants its machine key", async () => {
    assert.equal((await init("none")).code, 2);
    assert.equal((await init("other", "--tee", "sev", ...key)).code, 2);
    assert.equal((await init("virtual", "--tee", "virtual", ...key)).code, 0);
    const configuration = JSON.parse(await readFile(join(root, "virtual", "node.json"), "utf8")) as object;
    assert.equal("tee" in configuration, false);
  });
});

describe("coco code measure", () => {
  const measured = async (...flags: readonly string[]) => (await coco("code", "measure", ...flags)).data;

  test("measures for nodes without flags, whatever its own are, or with those that are given", async () => {
    const before = process.env["NODE_OPTIONS"];
    process.env["NODE_OPTIONS"] = "--enable-source-maps";
    const plain = await coco("code", "measure");
    process.env["NODE_OPTIONS"] = "--inspect";
    const { data, talk } = await coco("code", "measure");
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
    assert.match(plain.data, /^[0-9a-f]{64}\n$/);
    assert.equal(plain.talk, "");
    assert.equal(data, plain.data);
    assert.match(talk, /without the flags of this command \(--inspect\)/);
    assert.equal(await measured("--node-flags", "--no-warnings"), data);
    assert.notEqual(await measured("--node-flags", "--inspect"), data);
    assert.equal((await coco("code", "measure", "--tee", "snp", "--node-flags", "--inspect")).code, 2);
  });
});
