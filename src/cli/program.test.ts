import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readConstitutionFile } from "../host/genesis.ts";
import { coco } from "../../test/support/coco-here.ts";
import { RECEIPT, SERVICE_CERTIFICATE } from "./test-receipt-sample.ts";

const root = await mkdtemp(join(tmpdir(), "coco-cli-"));
after(() => rm(root, { recursive: true, force: true }));
const inRoot = (...names: readonly string[]) => join(root, ...names);

/** Every command that does something, as the help of those above it lists them. */
async function allCommands(above: readonly string[] = []): Promise<readonly string[]> {
  const listed = /^Commands:\n((?: +.*\n)+)/m.exec((await coco(...above, "--help")).data)?.[1];
  if (listed === undefined) return [above.join(" ")];
  const names = [...listed.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name = ""]) => name).filter((name) => name !== "help");
  return (await Promise.all(names.map((name) => allCommands([...above, name])))).flat();
}

describe("the command", () => {
  test("can be run as a file, as `npx coco` does", { skip: process.platform === "win32" }, async () => {
    const { mode } = await stat(fileURLToPath(new URL("./main.js", import.meta.url)));
    assert.equal(mode & 0o111, 0o111);
  });
});

describe("coco, wrong usage", () => {
  test("without a command it shows help of at most 25 lines and ends with 0", async () => {
    const { code, data } = await coco();
    assert.equal(code, 0);
    assert.match(data, /sandbox start/);
    assert.ok(data.trimEnd().split("\n").length <= 25, data);
    assert.equal((await coco("--help")).data, data);
  });

  test("every command there is has help with an example, and takes --json", async () => {
    const commands = await allCommands();
    assert.ok(commands.length > 25 && commands.includes("node join"), commands.join(", "));
    for (const command of commands) {
      const { code, data } = await coco(...command.split(" "), "--help");
      assert.equal(code, 0);
      assert.match(data, new RegExp(`Examples?:[^]*coco ${command}`), command);
      assert.match(data, /^ {2}--json /m, command);
    }
  });

  test("an unknown command, a missing option and a value out of range end with 2 and say what to do", async () => {
    const unknown = await coco("sandbox", "strat");
    assert.equal(unknown.code, 2);
    assert.match(unknown.talk, /Did you mean start/);
    assert.equal(unknown.data, "");
    const wrong = [
      ["node", "start"],
      ["sandbox", "start", "--nodes", "8"],
      ["sandbox", "start", "--nodes", "0"],
      ["sandbox", "--nodes", "8"],
      ["--debug", "sandbox", "--port", "66000"],
      ["sandbox", "start", "--port", "66000"],
      ["sandbox", "start", "--port", "-1"],
      ["sandbox", "start", "--log-level", "loud"],
      ["constitution", "init", "--member", "acme"],
      ["constitution", "init", "--name", "trade"],
      ["constitution", "init", "--policy", "add_nobody=majority"],
      ["constitution", "init", "--policy", "default=most"],
      ["constitution", "init", "--policy", "default=count:many"],
      ["constitution", "init", "--policy", "default=majority/expires=soon"],
      ["receipt", "verify"],
      ["--unknown"],
    ];
    for (const args of wrong) assert.equal((await coco(...args)).code, 2, args.join(" "));
  });

  test("a sandbox is started with and without the word for it", async () => {
    const refusalOf = async (...args: readonly string[]) => (await coco(...args)).talk;
    const named = await refusalOf("sandbox", "start", "--nodes", "8");
    assert.match(named, /--nodes/);
    assert.equal(await refusalOf("sandbox", "--nodes", "8"), named);
    assert.match((await coco("sandbox", "--help")).data, /start \[options\]/);
  });

  test("help is a command, as is the version, and both end with 0", async () => {
    const root = (await coco("--help")).data;
    assert.deepEqual(await coco("help"), { code: 0, data: root, talk: "" });
    assert.match((await coco("help", "code")).data, /measure/);
    const version = await coco("version");
    assert.match(version.data, /^coco-framework \d/);
    for (const flag of ["--version", "-V"]) assert.deepEqual(await coco(flag), version);
    assert.match(JSON.parse((await coco("--version", "--json")).data).measurement, /^[0-9a-f]{64}$/);
  });

  test("a command that does not exist is named, with or without --help, and ends with 2", async () => {
    const unknown: readonly (readonly [string, string])[] = [
      ["bogus", "bogus"],
      ["bogus --help", "bogus"],
      ["help bogus", "bogus"],
      ["code approve", "approve"],
      ["code approve --help", "approve"],
      ["--debug code approve -h", "approve"],
    ];
    for (const [args, name] of unknown) {
      const { code, data, talk } = await coco(...args.split(" "));
      assert.deepEqual([code, data], [2, ""], args);
      assert.match(talk, new RegExp(`unknown command '${name}'`), args);
    }
    for (const args of [["recept"], ["recept", "--help"]])
      assert.match((await coco(...args)).talk, /Did you mean receipt/);
  });

  test("an error is told as code, message and remedy, with the stack only for --debug", async () => {
    const args = ["node", "start", "--dir", inRoot("nowhere")];
    const { code, talk, data } = await coco(...args);
    assert.equal(code, 1);
    assert.equal(data, "");
    assert.match(talk, /^COCO ConfigurationInvalid: .*node\.json: does not exist\n {2}\S.*\n$/);
    assert.match(talk, /or make one: coco node init/);
    assert.match((await coco(...args, "--debug")).talk, /\n\s+at /);
    assert.deepEqual(await readdir(root), []);
  });
});

describe("coco receipt verify", () => {
  const receiptFile = inRoot("receipt.json");
  const certificateFile = inRoot("service.pem");

  test("a valid receipt ends with 0 and tells transaction, node and claims", async () => {
    await writeFile(receiptFile, JSON.stringify(RECEIPT));
    await writeFile(certificateFile, SERVICE_CERTIFICATE);
    const text = await coco("receipt", "verify", receiptFile, "--service-cert", certificateFile);
    assert.equal(text.code, 0, text.talk);
    for (const part of ["2.6", RECEIPT.node_id, RECEIPT.leaf_components.claims_digest])
      assert.ok(text.data.includes(part));
    const asJson = await coco("receipt", "verify", receiptFile, "--service-cert", certificateFile, "--json");
    const { valid, transaction_id: id, node_id: node } = JSON.parse(asJson.data);
    assert.deepEqual([valid, id, node], [true, "2.6", RECEIPT.node_id]);
  });

  test("a changed receipt, another service and no JSON end with 4 and say why", async () => {
    const components = { ...RECEIPT.leaf_components, claims_digest: "00".repeat(32) };
    const { cert: _, ...withoutCertificate } = RECEIPT;
    const bad = [
      { ...RECEIPT, leaf_components: components },
      { ...RECEIPT, transaction_id: "2.7" },
      withoutCertificate,
      7,
    ];
    for (const receipt of bad) {
      await writeFile(receiptFile, JSON.stringify(receipt));
      const { code, data, talk } = await coco(
        "receipt",
        "verify",
        receiptFile,
        "--service-cert",
        certificateFile,
        "--json",
      );
      assert.equal(code, 1);
      assert.equal(JSON.parse(data).valid, false);
      assert.match(talk, /^COCO ReceiptInvalid: /);
    }
    await writeFile(receiptFile, "no JSON");
    assert.equal((await coco("receipt", "verify", receiptFile, "--service-cert", certificateFile)).code, 1);
    await writeFile(receiptFile, JSON.stringify(RECEIPT));
    const kind = ["--ca", "--curve", "p256"];
    await coco("member", "keygen", "--id", "other", "--name", "Other", "--dir", inRoot("other"), ...kind);
    const other = await coco("receipt", "verify", receiptFile, "--service-cert", inRoot("other", "other_cert.pem"));
    assert.equal(other.code, 1);
    assert.match(other.talk, /does not endorse/);
  });

  test("a service certificate that is none, and a missing file, end with 1", async () => {
    await writeFile(inRoot("bad.pem"), "no certificate");
    assert.equal((await coco("receipt", "verify", receiptFile, "--service-cert", inRoot("bad.pem"))).code, 1);
    assert.equal((await coco("receipt", "verify", inRoot("none.json"), "--service-cert", certificateFile)).code, 1);
  });
});

/** Founds a network of two members with a node each; returns the arguments of `coco constitution init` without `--out`. */
async function found(folder: string, adapterOptions: unknown): Promise<readonly string[]> {
  await writeFile(inRoot(folder, "ethereum.json"), JSON.stringify(adapterOptions));
  await writeFile(
    inRoot(folder, "code.json"),
    JSON.stringify({ measurement: "ab".repeat(32), name: "code", version: "1" }),
  );
  const parts: string[] = [];
  for (const [at, id] of ["acme", "globex"].entries()) {
    assert.equal(
      (await coco("member", "keygen", "--id", id, "--name", `${id} Ltd`, "--dir", inRoot(folder, "keys"))).code,
      0,
    );
    const dir = inRoot(folder, `node${at}`);
    const addresses = ["--listen", "--advertise", "--client-listen", "--client-advertise"].flatMap((name, port) => [
      name,
      `127.0.0.1:${7000 + at * 10 + port}`,
    ]);
    const machine = ["--machine-key", inRoot(folder, "machine.key")];
    assert.equal((await coco("node", "init", "--dir", dir, "--name", `node${at}`, ...addresses, ...machine)).code, 0);
    const signed = inRoot(folder, `signed${at}.json`);
    const owner = ["--member", id, "--key", inRoot(folder, "keys", `${id}_privk.pem`), "--network", "trade"];
    assert.equal(
      (await coco("node", "sign", "--entry", join(dir, "vn-entry.json"), ...owner, "--out", signed)).code,
      0,
    );
    parts.push("--member", `${id}=${inRoot(folder, "keys", `${id}_cert.pem`)}`, "--node", signed);
  }
  const files = ["--adapter", `ethereum=${inRoot(folder, "ethereum.json")}`, "--code", inRoot(folder, "code.json")];
  return ["constitution", "init", "--name", "trade", ...parts, ...files];
}

describe("coco, founding a network", () => {
  test("settings come from a file, and options on the command line go before it", async () => {
    const folder = await mkdtemp(inRoot("settings-"));
    const args = await found(folder.slice(root.length + 1), { chainId: 1337 });
    const settings = join(folder, "settings.json");
    await writeFile(settings, JSON.stringify({ epoch: { lengthMs: 5, transactions: 7 }, answerAfter: "execution" }));
    const options = ["--settings", settings, "--epoch-length", "60000", "--quorum", "2/1", "--no-trust-disk"];
    const out = join(folder, "genesis.json");
    assert.equal((await coco(...args, ...options, "--snapshot-every", "0", "--out", out)).code, 0);
    const written = (await readConstitutionFile(out)).settings;
    assert.deepEqual(written.epoch, { lengthMs: 60_000, transactions: 7, keyCacheMs: 60_000 });
    assert.deepEqual(written.quorum, { type: "flexible", election: 2, replication: 1 });
    assert.deepEqual(written.snapshot, { everyTransactions: 0 });
    assert.deepEqual([written.trustDisk, written.answerAfter, written.consensus], [false, "execution", "raft"]);
    const other = join(folder, "other.json");
    const owners = join(folder, "per-actor.json");
    assert.equal((await coco(...args, "--quorum", "per-actor", "--out", owners)).code, 0);
    const perActor = (await readConstitutionFile(owners)).settings.quorum;
    assert.deepEqual(perActor, { type: "perActor" });
    const refused = await coco(...args, "--quorum", "1/2", "--out", other);
    assert.equal(refused.code, 1);
    assert.match(refused.talk, /settings\.quorum\.election: expected a majority of the 2 nodes at least/);
    assert.equal((await coco(...args, "--quorum", "2-1", "--out", other)).code, 2);
    await writeFile(settings, JSON.stringify({ consensus: "solo" }));
    const solo = await coco(...args, "--settings", settings, "--out", other);
    assert.match(solo.talk, /settings\.consensus: solo runs on one node, and the VN list has 2/);
  });

  test("keys, entries, signatures and options become a genesis constitution with everything in it", async () => {
    const folder = await mkdtemp(inRoot("found-"));
    const name = folder.slice(root.length + 1);
    const args = await found(name, { chainId: 1337 });
    assert.equal((await stat(join(folder, "keys", "acme_privk.pem"))).mode & 0o777, 0o600);
    const out = join(folder, "genesis.json");
    const { code, data } = await coco(...args, "--out", out, "--json");
    assert.equal(code, 0);
    assert.match(JSON.parse(data).network_id, /^[0-9a-f]{64}$/);
    const genesis = await readConstitutionFile(out);
    assert.deepEqual(
      genesis.actors.map((actor) => [actor.id, actor.name]),
      [
        ["acme", "acme Ltd"],
        ["globex", "globex Ltd"],
      ],
    );
    assert.deepEqual(
      genesis.nodes.map(({ owner }) => owner),
      ["acme", "globex"],
    );
    assert.deepEqual(
      genesis.adapters.map(({ id, mount, options }) => [id, mount, options]),
      [[1, "/eth", { chainId: 1337 }]],
    );
    const again = await coco(...args, "--out", out);
    assert.equal(again.code, 1);
    assert.match(again.talk, /not overwritten/);
  });

  test("bad adapter options and keys that exist are refused, and nothing is written", async () => {
    const folder = await mkdtemp(inRoot("found-"));
    const name = folder.slice(root.length + 1);
    const args = await found(name, { chainId: 1337, alloch: {} });
    const { code, talk } = await coco(...args, "--out", join(folder, "genesis.json"));
    assert.equal(code, 1);
    assert.match(talk, /alloch/);
    assert.ok(!(await readdir(folder)).includes("genesis.json"));
    const key = await readFile(join(folder, "keys", "acme_privk.pem"), "utf8");
    assert.equal(
      (await coco("member", "keygen", "--id", "acme", "--name", "A", "--dir", join(folder, "keys"))).code,
      1,
    );
    assert.equal(await readFile(join(folder, "keys", "acme_privk.pem"), "utf8"), key);
  });
});
