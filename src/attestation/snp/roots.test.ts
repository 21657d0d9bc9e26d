import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { commonNameOf } from "../../core/certificates/name.ts";
import { namesIssuer, signatureProblem } from "../../core/certificates/path.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { AMD_ROOT_PINS, createAmdRoots } from "./roots.ts";

const crypto = createAttestationCrypto();

test("the roots of production are AMD's three", () => {
  const { pins } = createAmdRoots();
  assert.deepEqual(pins, AMD_ROOT_PINS);
  assert.deepEqual(Object.keys(pins), ["Milan", "Genoa", "Turin"]);
});

test("[R23] what verifies evidence takes roots and time as arguments: it reads no environment, file or clock", () => {
  const folder = fileURLToPath(new URL("../", import.meta.url));
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (name) => /\.[jt]s$/.test(name) && !/\.test\.|(?:^|[/\\])test-|\.d\.ts$/.test(name),
  );
  const sources = names.map((name) => readFileSync(join(folder, name), "utf8"));
  assert.ok(["snp", "uvm", "dcap", "vsm", "maa", "tpm"].every((each) => names.some((name) => name.startsWith(each))));
  for (const source of sources) assert.doesNotMatch(source, /\bprocess\.|["']node:|Date\.now|new Date\(\)|globalThis/);
});

test("every certificate that comes with them is a pinned root, or signed by one", () => {
  const { pins, certificates } = createAmdRoots();
  for (const [product, pin] of Object.entries(pins)) {
    const root = certificates.find(({ subject }) => commonNameOf(subject) === `ARK-${product}`);
    assert.ok(root);
    assert.equal(toHex(crypto.digest("sha256", root.publicKey)), pin);
    const issued = certificates.filter((certificate) => namesIssuer(certificate, root));
    assert.deepEqual(issued.map(({ subject }) => commonNameOf(subject)).sort(), [
      `ARK-${product}`,
      `SEV-${product}`,
      `SEV-VLEK-${product}`,
    ]);
    for (const certificate of issued) assert.equal(signatureProblem(certificate, root, crypto.verify), undefined);
  }
  assert.equal(certificates.length, 9);
});
