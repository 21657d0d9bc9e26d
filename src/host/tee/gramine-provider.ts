/**
 * Intel SGX on this machine, where Node runs inside an enclave of Gramine: quotes and sealing keys through the files that Gramine
 * puts under /dev/attestation (Gramine documentation, "Attestation and Secret Provisioning"). They belong to the process: what
 * is written into one is what the next reading of another is made of.
 */
import { join } from "node:path";
import { type Bytes, utf8Decode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { sealWith, unsealWith } from "../sealed-secret.ts";
import { evidenceOfQuote, type QuoteOptions, requireOwnQuote } from "./own-quote.ts";
import type { SealingProvider } from "./provider.ts";
import { TSM_FILES, type TsmFiles } from "./tsm-files.ts";

/** Where Gramine has its files. */
export const GRAMINE_FOLDER = "/dev/attestation";
/** Largest quote that is read, in bytes; larger ones are `TeeUnavailable`. */
export const MAX_GRAMINE_QUOTE_BYTES = 32 * 1024;

/**
 * Gramine's files with keys that the processor derives from measurement or signer of the enclave. Into both go the security versions of
 * processor and enclave as they are: they are other keys after an update of the microcode or a raised version (Gramine, sgx_get_seal_key).
 */
const SEALING_KEYS = { enclave: "_sgx_mrenclave", signer: "_sgx_mrsigner" } as const;
const SEALING_KEY_BYTES = 16;
const SEALING_NEEDS =
  "Gramine gives sealing keys inside an SGX enclave only; without one, --seal-to machine keeps the node's keys in a file";
const REPORT_DATA_BYTES = 64;
const MAX_TEXT_BYTES = 64;

/** Where this machine has what the provider reads. */
export interface GramineOptions extends QuoteOptions {
  /** {@link GRAMINE_FOLDER} unless given. */
  readonly folder?: string;
  readonly files?: Pick<TsmFiles, "read" | "writeOnce">;
  /** To whom secrets are sealed: to exactly this code, unless given, or to all code of its signer. */
  readonly sealTo?: keyof typeof SEALING_KEYS;
}

function unavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("TeeUnavailable", message, {}, { cause });
}

/** Makes the provider; nothing is read before it attests. */
export function createGramineProvider(options: GramineOptions): SealingProvider {
  // One request at a time: the files are the process's, and two requests would take each other's quotes.
  let last: Promise<unknown> = Promise.resolve();
  return {
    tee: "sgx",
    async attest(reportData) {
      const quoting = last.then(() => readQuote(reportData, options));
      last = quoting.catch(() => undefined);
      return evidenceOfQuote("sgx", await quoting, reportData, options);
    },
    seal: async (secret) => sealWith(await readSealingKey(options), secret, options.sealTo ?? "enclave"),
    unseal: async (sealed) => unsealWith(await readSealingKey(options), sealed, options.sealTo ?? "enclave"),
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

/** The processor derives the key for this enclave on this machine; none of it is ever written anywhere. */
async function readSealingKey({ folder = GRAMINE_FOLDER, files = TSM_FILES, sealTo = "enclave" }: GramineOptions) {
  const file = join(folder, "keys", SEALING_KEYS[sealTo]);
  let key: Bytes;
  try {
    key = await files.read(file, SEALING_KEY_BYTES);
  } catch (error) {
    throw unavailable(`${file}: no sealing key can be read. ${SEALING_NEEDS}`, error);
  }
  const isKey = key.length === SEALING_KEY_BYTES && key.some((byte) => byte !== 0);
  if (!isKey) throw unavailable(`${file}: expected ${SEALING_KEY_BYTES} bytes of a key. ${SEALING_NEEDS}`);
  return key;
}
