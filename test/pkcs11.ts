/**
 * `npm run test:pkcs11`: governance requests signed through PKCS#11, with SoftHSM as the module. Needs what the other tests
 * do without: SoftHSM (Debian: apt-get install softhsm2) and the package pkcs11js (npm install --no-save --save-prod --ignore-scripts=false pkcs11js), which is
 * compiled. It installs nothing itself and ends with 2 when one of them is missing.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readNoArguments } from "../tools/arguments.ts";
import { coco } from "./support/coco-here.ts";
import { verifySignedFile } from "./support/signed-file.ts";

const MODULES = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];
const PIN = "4711";
const NETWORK_ID = "ab".repeat(32);

const say = (line: string): void => void process.stdout.write(`${line}\n`);

readNoArguments("run test:pkcs11");

/** What is missing, in words. */
async function missing(): Promise<string | undefined> {
  if (!MODULES.some((file) => existsSync(file))) return "SoftHSM is missing: apt-get install softhsm2";
  const name: string = "pkcs11js";
  try {
    await import(name);
    return undefined;
  } catch {
    return "pkcs11js is missing: npm install --no-save --save-prod --ignore-scripts=false pkcs11js";
  }
}

function softhsm(...args: readonly string[]): void {
  execFileSync("softhsm2-util", args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** A request signed by the module, as a file; the certificate's key made its signature. */
async function signs(dir: string, module: string, curve: string): Promise<void> {
  const id = `acme-${curve}`;
  assert.equal((await coco("member", "keygen", "--id", id, "--dir", dir, "--curve", curve)).code, 0);
  const [certificate, key] = [join(dir, `${id}_cert.pem`), join(dir, `${id}_privk.pem`)];
  softhsm("--import", key, "--token", "coco", "--label", id, "--id", curve === "p256" ? "01" : "02", "--pin", PIN);
  rmSync(key);
  const identity = ["--cert", certificate, "--network-id", NETWORK_ID];
  const out = join(dir, `${id}.cose`);
  const token = ["--pkcs11-module", module, "--pkcs11-key", id, "--pkcs11-pin-env", "TEST_PIN"];
  const signed = await coco("member", "propose", "--action", "open_epoch", ...identity, ...token, "--out", out);
  assert.equal(signed.code, 0, signed.talk);
  assert.equal(verifySignedFile(readFileSync(out), readFileSync(certificate, "utf8")), "proposal");
  const other = [...token.slice(0, 3), "nobody", ...token.slice(4)];
  const refused = await coco("member", "propose", "--action", "open_epoch", ...identity, ...other, "--out", `${out}2`);
  assert.equal(refused.code, 1);
  assert.match(refused.talk, /no private key with the label nobody/);
  say(`ok   a proposal signed by a ${curve} key that SoftHSM holds`);
}

async function refusesWrongPin(dir: string, module: string): Promise<void> {
  process.env["TEST_PIN"] = "0000";
  const token = ["--pkcs11-module", module, "--pkcs11-key", "acme-p256", "--pkcs11-pin-env", "TEST_PIN"];
  const identity = ["--cert", join(dir, "acme-p256_cert.pem"), "--network-id", NETWORK_ID];
  const out = ["--out", join(dir, "wrong.cose")];
  const { code, talk } = await coco("member", "propose", "--action", "open_epoch", ...identity, ...token, ...out);
  assert.equal(code, 1);
  assert.match(talk, /does not take the PIN \(CKR_PIN_INCORRECT\)/);
  assert.ok(!talk.includes("0000"), "the PIN is not repeated");
  say("ok   a wrong PIN is refused, and not repeated");
}

async function main(): Promise<number> {
  const problem = await missing();
  if (problem !== undefined) {
    say(problem);
    return 2;
  }
  const module = MODULES.find((file) => existsSync(file)) ?? "";
  const dir = mkdtempSync(join(tmpdir(), "coco-pkcs11-"));
  try {
    mkdirSync(join(dir, "tokens"));
    writeFileSync(join(dir, "softhsm2.conf"), `directories.tokendir = ${join(dir, "tokens")}\n`);
    process.env["SOFTHSM2_CONF"] = join(dir, "softhsm2.conf");
    process.env["TEST_PIN"] = PIN;
    softhsm("--init-token", "--free", "--label", "coco", "--pin", PIN, "--so-pin", "471100");
    await signs(dir, module, "p256");
    await signs(dir, module, "p384");
    await refusesWrongPin(dir, module);
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

process.exitCode = await main();
