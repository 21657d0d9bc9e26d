import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { certificatesPem, DAY_MS, issue, USAGE } from "../../test/support/issue-certificates.ts";
import type { Ask } from "./output.ts";
import { run } from "./program.ts";

const root = await mkdtemp(join(tmpdir(), "coco-constitution-"));
after(() => rm(root, { recursive: true, force: true }));
const at = (name: string) => join(root, name);

async function cocoAsked(ask: Ask | undefined, ...args: readonly string[]) {
  let [data, talk] = ["", ""];
  const output = {
    data: (text: string) => {
      data += text;
    },
    talk: (text: string) => {
      talk += text;
    },
  };
  const code = await run(args, output, ask);
  return { code, data, talk };
}
const coco = (...args: readonly string[]) => cocoAsked(undefined, ...args);

before(async () => {
  for (const id of ["acme", "globex"]) await coco("member", "keygen", "--id", id, "--dir", root);
  const addresses = ["--listen", "--advertise", "--client-listen", "--client-advertise"].flatMap((name, port) => [
    name,
    `127.0.0.1:${7000 + port}`,
  ]);
  const machine = ["--machine-key", at("machine.key")];
  await coco("node", "init", "--dir", at("node"), "--name", "node0", ...addresses, ...machine);
  const owner = ["--member", "acme", "--key", at("acme_privk.pem"), "--network", "trade"];
  const signed = await coco(
    "node",
    "sign",
    "--entry",
    at("node/vn-entry.json"),
    ...owner,
    "--out",
    at("n.json"),
    "--json",
  );
  assert.deepEqual([signed.code, JSON.parse(signed.data).owner], [0, "acme"], signed.talk);
});

const REGISTER = "4b".repeat(32);
const MEMBERS = ["--member", `acme=${at("acme_cert.pem")}`, "--member", `globex=${at("globex_cert.pem")}`];
const init = (out: string, ...more: readonly string[]) =>
  coco("constitution", "init", "--name", "trade", ...MEMBERS, "--node", at("n.json"), ...more, "--out", at(out));

describe("coco constitution", () => {
  test("what was told becomes the constitution, and check explains it", async () => {
    const policy = ["--policy", "add_member=unanimous", "--policy", "default=veto:acme,majority/delay=1h"];
    const made = await init("genesis.json", ...policy, "--nodes-per-actor", "3", "--closed");
    assert.equal(made.code, 0, made.talk);
    const { network, policies, settings } = JSON.parse(await readFile(at("genesis.json"), "utf8"));
    assert.equal(network.open, false);
    assert.equal(settings.nodesPerActor, 3);
    assert.deepEqual(policies.actions.add_member.rule, { type: "unanimous" });
    assert.equal(policies.default.delayMs, 3_600_000);
    const checked = await coco("constitution", "check", at("genesis.json"));
    assert.equal(checked.code, 0);
    assert.match(checked.data, /adding a member needs all 2 members/);
    assert.match(checked.data, /the network takes governance only, until members open it/);
    const asJson = JSON.parse((await coco("constitution", "check", at("genesis.json"), "--json")).data);
    assert.deepEqual(Object.keys(asJson), ["valid", "notes", "version", "digest", "explanation", "constitution"]);
    assert.match(made.data, new RegExp(asJson.digest));
  });

  test("under which nothing could pass is refused with field and what to do, made or read", async () => {
    const refused = await init("bad.json", "--policy", "add_member=count:3");
    assert.equal(refused.code, 1);
    assert.match(refused.talk, /policies\.actions\.add_member\.rule\.yes: is 3, and only 2 can vote.*: name 1 to 2/);
    const genesis = JSON.parse(await readFile(at("genesis.json"), "utf8"));
    genesis.policies.default.rule = { type: "script" };
    await writeFile(at("bad.json"), JSON.stringify(genesis));
    const read = await coco("constitution", "check", at("bad.json"), "--json");
    assert.equal(read.code, 1);
    const { valid, error } = JSON.parse(read.data);
    assert.deepEqual([valid, error.code, error.field], [false, "ConstitutionInvalid", "policies.default.rule"]);
    assert.match((await coco("constitution", "check", at("bad.json"))).talk, /add a script, or choose another rule/);
  });

  test("with a founder's certificate that speaks for nobody is not made, and check takes note of one", async () => {
    const around = { fromMs: Date.now() - 2 * DAY_MS, untilMs: Date.now() + DAY_MS };
    const late = issue({ ...around, untilMs: Date.now() - DAY_MS, subject: "O=Late, CN=late" });
    const mute = issue({ ...around, ca: true, usage: USAGE.digitalSignature, subject: "O=Mute, CN=mute" });
    for (const [{ der }, says] of [
      [late, /third, certificates\[0\]: .* expired at/],
      [mute, /third, certificates\[0\]: .* its key may not sign certificates/],
    ] as const) {
      await writeFile(at("third.pem"), certificatesPem([der]));
      const refused = await init("third.json", "--member", `third=${at("third.pem")}`);
      assert.equal(refused.code, 1);
      assert.match(refused.talk, says);
      await assert.rejects(readFile(at("third.json")), { code: "ENOENT" });
    }
    // As time makes it: it was good when the network was founded.
    assert.equal((await init("aged.json")).code, 0);
    const aged = JSON.parse(await readFile(at("aged.json"), "utf8"));
    aged.actors[1].certificates = [certificatesPem([late.der])];
    await writeFile(at("aged.json"), JSON.stringify(aged));
    const checked = await coco("constitution", "check", at("aged.json"));
    assert.equal(checked.code, 0, checked.talk);
    assert.match(checked.talk, /^note: globex, certificates\[0\]: .* expired at/m);
  });

  test("hardware counts by its policy, and what no node can meet is told", async () => {
    await writeFile(at("milan.json"), JSON.stringify({ products: ["Milan"], allow: ["vlek"], pcrs: { 4: REGISTER } }));
    const measurement = "5a".repeat(48);
    const tees = ["--tee", `snp=${at("milan.json")}`, "--tee", "snp", "--tee", "tdx"];
    const made = await init("hardware.json", ...tees, "--measured", `snp=${measurement}`);
    assert.equal(made.code, 0, made.talk);
    assert.match(
      made.talk,
      /^note: the entry tdx of Intel TDX can be met by no node: no code has reference values of tdx/m,
    );
    const { teeManifest, codeManifest } = JSON.parse(await readFile(at("hardware.json"), "utf8"));
    assert.deepEqual(
      teeManifest.map(({ tee, id }: { tee: string; id?: string }) => [tee, id]),
      [
        ["virtual", undefined],
        ["snp", "snp"],
        ["snp", "snp-2"],
        ["tdx", "tdx"],
      ],
    );
    assert.deepEqual(teeManifest[1].policy.products, ["Milan"]);
    assert.deepEqual([teeManifest[1].policy.pcrs, teeManifest[2].policy.pcrs], [{ 4: REGISTER }, undefined]);
    assert.deepEqual([codeManifest.length, codeManifest[1].reference], [2, { tee: "snp" }]);
    assert.deepEqual([codeManifest[1].measurement, codeManifest[1].version], [measurement, codeManifest[0].version]);
    const checked = await coco("constitution", "check", at("hardware.json"));
    assert.match(
      checked.data,
      /AMD SEV-SNP by the entry snp \(policy of milan\.json\): chips of Milan only; .*\(VLEK\)/,
    );
    assert.match(checked.data, /only by a quote of the machine's virtual TPM, whose register 4 holds (?:4b){32}/);
    assert.match(checked.data, /measurement (?:5a){48} on AMD SEV-SNP, with any host data/);
    assert.match(checked.talk, /^note: the entry tdx .*\n$/);
    const asJson = JSON.parse((await coco("constitution", "check", at("hardware.json"), "--json")).data);
    assert.equal(asJson.notes.length, 1);
  });

  test("hardware that does not exist, or not in such a form, is refused with what is expected", async () => {
    await writeFile(at("typo.json"), JSON.stringify({ product: ["Milan"] }));
    await writeFile(at("reset.json"), JSON.stringify({ pcrs: { 16: REGISTER } }));
    for (const [args, code, says] of [
      [["--tee", "sev"], 2, /sev is no TEE of hardware; there are vsm, sgx, tdx, snp/],
      [["--tee", "vsm"], 2, /must say whom it trusts; expected vsm=FILE/],
      [["--tee", `snp=${at("typo.json")}`], 1, /policy\.product/],
      [["--tee", `snp=${at("reset.json")}`], 1, /policy\.pcrs\.16: expected the number of a register, 0 to 15/],
      [["--measured", "snp=00"], 2, /TEE=MEASUREMENT, in 64 or 96 hex digits/],
      [["--measured", `snp=${"00".repeat(32)}`], 1, /measurement: expected 48 bytes/],
    ] as const) {
      const refused = await init("none.json", ...args);
      assert.equal(refused.code, code, refused.talk);
      assert.match(refused.talk, says);
    }
  });

  test("at a terminal it asks for what is missing", async () => {
    const asked: string[] = [];
    const replies = ["trade", `acme=${at("acme_cert.pem")}`, "", at("n.json"), "", "count:1", at("asked.json")];
    const ask: Ask = async (question, standard) => {
      asked.push(question);
      const reply = replies[asked.length - 1] ?? "";
      return reply === "" ? (standard ?? "") : reply;
    };
    const made = await cocoAsked(ask, "constitution", "init", "--json");
    assert.equal(made.code, 0, made.talk);
    assert.equal(asked.length, replies.length);
    const { policies, actors } = JSON.parse(await readFile(at("asked.json"), "utf8"));
    assert.deepEqual([policies.default.rule, actors.length], [{ type: "count", yes: 1 }, 1]);
    const silent = await coco("constitution", "init", "--name", "trade");
    assert.equal(silent.code, 2);
    assert.match(silent.talk, /WrongUsage: missing: --member, --node, --out/);
  });
});
