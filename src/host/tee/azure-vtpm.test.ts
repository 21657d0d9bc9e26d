import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { makeKey } from "../../../test/support/issue-certificates.ts";
import { type PlayedAnswer, type PlayedTpm, playTpm, response } from "../../../test/support/played-tpm.ts";
import { reasonsOf } from "../../attestation/checks.ts";
import { isAzureVtpmEvidence, verifyTpmPart } from "../../attestation/tpm/evidence.ts";
import { makeHclReport } from "../../attestation/tpm/test-azure-vtpm.ts";
import { mutate, seededChoices } from "../../attestation/vsm/test-vsm-evidence.ts";
import { concatBytes, toHex, type Bytes } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import { CocoError } from "../../errors.ts";
import { createAzureVtpmProvider, HCL_REPORT_INDEX, MAX_QUOTE_ATTEMPTS } from "./azure-vtpm.ts";
import { indexPartOf, indexSizeOf, quoteOf, registersOf } from "./tpm-commands.ts";
import { type TpmFile, withTpm } from "./tpm-device.ts";

const crypto = createAttestationCrypto();
const key = makeKey("rsa");
const reportData = Uint8Array.from({ length: 64 }, (_, at) => at);
const hclReport = makeHclReport(key, { padding: new Uint8Array(300) });
const isUnavailable = { code: "TeeUnavailable" };

const u16 = (value: number): Bytes => Uint8Array.of(value >> 8, value);
const u32 = (value: number): Bytes => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

const certificates = async () => [{ kind: "certificates" as const, content: Uint8Array.of(0x30, 0) }];
const fakeTpm = (change?: PlayedAnswer): PlayedTpm => playTpm({ hclReport, key }, change);
const attest = (tpm: PlayedTpm) => createAzureVtpmProvider({ open: tpm.open, certificates }).attest(reportData);

describe("evidence of a confidential Azure machine from its virtual TPM", () => {
  test("is what the verifier accepts for the data", async () => {
    const tpm = fakeTpm();
    const evidence = await attest(tpm);
    assert.ok(isAzureVtpmEvidence(evidence));
    assert.deepEqual(evidence.evidence, hclReport);
    assert.deepEqual(
      evidence.endorsements.map(({ kind }) => kind),
      ["tpm-quote", "report-data", "certificates"],
    );
    const part = verifyTpmPart(evidence, undefined, crypto) ?? assert.fail("no part of a TPM");
    assert.deepEqual(reasonsOf(part.checks), []);
    assert.deepEqual(part.reportData, reportData);
    const parts = Math.ceil(hclReport.length / 1024);
    assert.deepEqual(tpm.commands, [0x169, ...Array.from({ length: parts }, () => 0x14e), 0x17e, 0x17e, 0x17e, 0x158]);
    assert.deepEqual(tpm.closed, [true]);
  });

  test("reads registers again that changed in between, and not for ever", async () => {
    const changing = (times: number) =>
      fakeTpm((answer, code) => {
        if (code !== 0x17e || times-- <= 0) return answer;
        const changed = Uint8Array.from(answer);
        changed[changed.length - 1] = 0xee;
        return changed;
      });
    const once = changing(1);
    await attest(once);
    assert.equal(once.commands.filter((code) => code === 0x158).length, 2);
    const always = changing(99);
    await assert.rejects(attest(always), isUnavailable);
    assert.equal(always.commands.filter((code) => code === 0x158).length, MAX_QUOTE_ATTEMPTS);
  });

  test("is refused when the TPM refuses, or answers anything else", async () => {
    const changes: readonly ((answer: Bytes) => Bytes)[] = [
      () => response(0x8001, new Uint8Array(0), 0x18b),
      () => new Uint8Array(0),
      () => new Uint8Array(4096),
      (answer) => answer.subarray(0, answer.length - 1),
      (answer) => concatBytes(answer, Uint8Array.of(0)),
      (answer) => concatBytes(u16(answer[1] === 1 ? 0x8002 : 0x8001), answer.subarray(2)),
    ];
    for (const code of [0x169, 0x14e, 0x17e, 0x158])
      for (const [at, change] of changes.entries()) {
        const tpm = fakeTpm((answer, sent) => (sent === code ? change(answer) : answer));
        await assert.rejects(attest(tpm), isUnavailable, `command 0x${code.toString(16)}, change ${at}`);
        assert.deepEqual(tpm.closed, [true]);
      }
  });

  test("is refused for data of another length, and where there is no TPM", async () => {
    const provider = createAzureVtpmProvider({ path: "/nowhere/tpm", certificates });
    await assert.rejects(provider.attest(reportData.subarray(1)), isUnavailable);
    await assert.rejects(provider.attest(reportData), isUnavailable);
  });
});

describe("a TPM behind a device file", () => {
  const folder = mkdtempSync(join(tmpdir(), "coco-tpm-"));
  after(() => rmSync(folder, { recursive: true }));

  test("is written to and read from at a path", async () => {
    const path = join(folder, "tpm");
    writeFileSync(path, "command!response");
    const given = await withTpm({ path }, (transact) => transact(new Uint8Array(8).fill(0x41)));
    assert.equal(toHex(given), toHex(new Uint8Array(Buffer.from("response"))));
  });

  test("that does not answer, or fails, is not waited for", async () => {
    const file = await fakeTpm().open();
    const silent = async (): Promise<TpmFile> => ({
      ...file,
      write: async (command) => ({ bytesWritten: command.length }),
      read: () => new Promise(() => undefined),
    });
    await assert.rejects(
      withTpm({ open: silent, timeoutMs: 20 }, (transact) => transact(u32(0))),
      isUnavailable,
    );
    const failing = async (): Promise<TpmFile> => ({ ...file, write: () => Promise.reject(new Error("EIO")) });
    await assert.rejects(
      withTpm({ open: failing }, (transact) => transact(u32(0))),
      isUnavailable,
    );
    const partial = async (): Promise<TpmFile> => ({ ...file, write: async () => ({ bytesWritten: 1 }) });
    await assert.rejects(
      withTpm({ open: partial }, (transact) => transact(u32(0))),
      isUnavailable,
    );
  });

  test("cannot make its reader fail in another way", () => {
    const seed = 2680;
    const next = seededChoices(seed);
    const samples: Bytes[] = [];
    const tpm = fakeTpm((answer) => {
      samples.push(answer);
      return answer;
    });
    return attest(tpm).then(() => {
      for (let round = 0; round < 3000; round++)
        for (const sample of [samples[0], samples[1], samples.at(-2), samples.at(-1)] as readonly Bytes[]) {
          const changed = mutate(sample, next);
          for (const read of [
            () => indexSizeOf(changed, HCL_REPORT_INDEX),
            () => indexPartOf(changed, 1024),
            () => registersOf(changed, [16, 17, 18, 19, 20, 21, 22, 23]),
            () => quoteOf(changed),
          ]) {
            try {
              read();
            } catch (error) {
              const isNamed = error instanceof CocoError && error.code === "TeeUnavailable";
              assert.ok(isNamed, `seed ${seed}, round ${round}: ${String(error)}`);
            }
          }
        }
    });
  });
});
