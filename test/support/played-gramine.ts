/**
 * Plays machines of SGX with Gramine for whole nodes: a tree of files like Gramine's in a folder of the test, under the real provider.
 * Its keys are made of machine, enclave and security version as the processor makes them; its evidence is by roots of our own.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { EMPTY, type Bytes } from "../../src/core/codec/bytes.ts";
import { createGramineProvider } from "../../src/host/tee/gramine-provider.ts";
import type { SealingProvider } from "../../src/host/tee/provider.ts";
import { TSM_FILES } from "../../src/host/tee/tsm-files.ts";
import { PLAYED_ROOTS, playedQuote } from "./played-hardware.ts";

/** An enclave on a machine. */
export interface PlayedEnclave {
  /** Where the tree stands; other machines have other folders. */
  readonly folder: string;
  /** Each byte of what is measured of its code. */
  readonly code?: number;
  /** Who signed its code. */
  readonly signer?: string;
  /** Security version of the processor. */
  readonly microcode?: number;
  readonly sealTo?: "enclave" | "signer";
  /** Gramine gives no sealing keys, as outside of an enclave. */
  readonly withoutKeys?: boolean;
}

const MEASUREMENT_AT = 64;
const REPORT_DATA_AT = 320;

function quoteFor(reportData: Bytes, code: number) {
  return playedQuote("sgx-3", (body) => {
    body.set(reportData, REPORT_DATA_AT);
    body.fill(code, MEASUREMENT_AT, MEASUREMENT_AT + 32);
  });
}

function keyOf(...parts: readonly (string | number)[]): Bytes {
  return new Uint8Array(createHash("sha256").update(parts.join("/")).digest().subarray(0, 16));
}

/** Makes the tree anew, and the provider over it. */
export function playedSgx(enclave: PlayedEnclave): SealingProvider {
  const { folder, code = 0xe1, signer = "operator", microcode = 1, sealTo, withoutKeys = false } = enclave;
  const keys = join(folder, "keys");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(keys, { recursive: true });
  writeFileSync(join(folder, "attestation_type"), "dcap");
  writeFileSync(join(folder, "user_report_data"), EMPTY);
  if (!withoutKeys) {
    writeFileSync(join(keys, "_sgx_mrenclave"), keyOf(folder, microcode, "enclave", code));
    writeFileSync(join(keys, "_sgx_mrsigner"), keyOf(folder, microcode, "signer", signer));
  }
  return createGramineProvider({
    ...{ folder, roots: PLAYED_ROOTS.intel, ...(sealTo !== undefined && { sealTo }) },
    collateral: async () => quoteFor(new Uint8Array(64), code).collateral,
    files: {
      writeOnce: TSM_FILES.writeOnce,
      async read(file, maxBytes) {
        if (basename(file) === "quote")
          writeFileSync(file, quoteFor(readFileSync(join(folder, "user_report_data")), code).quote);
        return TSM_FILES.read(file, maxBytes);
      },
    },
  });
}
