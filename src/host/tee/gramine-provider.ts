/**
 * Intel SGX on this machine, where Node runs inside an enclave of Gramine: quotes through the files that Gramine puts under
 * /dev/attestation (Gramine documentation, "Attestation and Secret Provisioning"). They belong to the process: what is
 * written into one is what the next reading of another is made of.
 */
import { join } from "node:path";
import { type Bytes, utf8Decode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import type { CollateralSource } from "./intel-collateral.ts";
import { requireOwnQuote } from "./own-quote.ts";
import type { TeeProvider } from "./provider.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

/** Where Gramine has its files. */
export const GRAMINE_FOLDER = "/dev/attestation";
/** Largest quote that is read, in bytes; larger ones are `TeeUnavailable`. */
export const MAX_GRAMINE_QUOTE_BYTES = 32 * 1024;

const REPORT_DATA_BYTES = 64;
const MAX_TEXT_BYTES = 64;

/** Where this machine has what the provider reads. */
export interface GramineOptions {
  /** {@link GRAMINE_FOLDER} unless given. */
  readonly folder?: string;
  readonly files?: Pick<TsmFiles, "read" | "writeOnce">;
  readonly collateral: CollateralSource;
}

function unavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", message, {}, { cause });
}

/** Makes the provider; nothing is read before it attests. */
export function createGramineProvider(options: GramineOptions): TeeProvider {
  // One request at a time: the files are the process's, and two requests would take each other's quotes.
  let last: Promise<unknown> = Promise.resolve();
  return {
    tee: "sgx",
    async attest(reportData) {
      const quoting = last.then(() => readQuote(reportData, options));
      last = quoting.catch(() => undefined);
      const quote = await quoting;
      const content = await options.collateral(quote);
      return { tee: "sgx", evidence: quote, endorsements: [{ kind: "collateral", content }] };
    },
  };
}

async function readQuote(
  reportData: Bytes,
  { folder = GRAMINE_FOLDER, files = TSM_FILES }: GramineOptions,
): Promise<Bytes> {
  if (reportData.length !== REPORT_DATA_BYTES) throw unavailable(`report data have ${REPORT_DATA_BYTES} bytes`);
  try {
    const type = utf8Decode(await files.read(join(folder, "attestation_type"), MAX_TEXT_BYTES)).trim();
    if (type !== "dcap") throw unavailable(`Gramine's attestation type is ${JSON.stringify(type)}, not "dcap"`);
    await files.writeOnce(join(folder, "user_report_data"), reportData);
    const quote = await files.read(join(folder, "quote"), MAX_GRAMINE_QUOTE_BYTES);
    requireOwnQuote(quote, reportData, "enclave");
    return quote;
  } catch (error) {
    if (error instanceof CocoError && error.code === "TeeUnavailable") throw error;
    throw unavailable(`${folder}: no quote can be read`, error);
  }
}
