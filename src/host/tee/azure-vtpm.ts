/**
 * The provider `snp` inside a confidential virtual machine of Azure, which has no device of its own for SNP reports: the
 * machine's report lies in its virtual TPM, and a fresh quote of that TPM binds the data.
 */
import { REPORT_DATA_BYTES } from "../../attestation/evidence.ts";
import type { Endorsement, HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import { vtpmNonce } from "../../attestation/tpm/azure-vtpm.ts";
import { encodeTpmQuote } from "../../attestation/tpm/azure-vtpm-codec.ts";
import { MAX_HCL_REPORT_BYTES, parseHclReport } from "../../attestation/tpm/hcl-report.ts";
import { MAX_PCRS, parseTpmQuote, quotedPcrs } from "../../attestation/tpm/quote.ts";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { createAttestationCrypto } from "../../enclave/manager/attestation-crypto.ts";
import type { TeeProvider } from "./provider.ts";
import {
  indexPartOf,
  indexSizeOf,
  MAX_TPM_READ_BYTES,
  MAX_TPM_REGISTERS_AT_ONCE,
  quoteCommand,
  quoteOf,
  readIndexCommand,
  readPublicCommand,
  readRegistersCommand,
  registersOf,
  tpmUnavailable,
} from "./tpm-commands.ts";
import { type TpmOptions, type TransactTpm, withTpm } from "./tpm-device.ts";

/** Index of the TPM that holds the report. */
export const HCL_REPORT_INDEX = 0x0140_0001;
/** Handle of the key with which the TPM attests; its public part stands in the report. */
export const AZURE_ATTESTATION_KEY = 0x8100_0003;
/** How often registers that change between reading and quoting are read again before `TeeUnavailable`. */
export const MAX_QUOTE_ATTEMPTS = 3;

/** What the provider needs besides the TPM. */
export interface AzureVtpmOptions extends TpmOptions {
  /** Gets the certificates of the machine's chip for its report: from Azure's service, AMD's, a cache or a file. */
  readonly certificates: (report: Bytes) => Promise<readonly Endorsement[]>;
}

/** The provider of the machine it runs on. */
export function createAzureVtpmProvider(options: AzureVtpmOptions): TeeProvider {
  return {
    tee: "snp",
    attest: async (reportData) => {
      if (reportData.length !== REPORT_DATA_BYTES)
        throw tpmUnavailable(`report data of ${reportData.length} bytes, ${REPORT_DATA_BYTES} expected`);
      const { evidence, quote } = await withTpm(options, async (transact) => ({
        evidence: await readIndex(transact, HCL_REPORT_INDEX),
        quote: await makeQuote(transact, reportData),
      }));
      const certificates = await options.certificates(snpReportOf(evidence));
      const endorsements: Endorsement[] = [
        { kind: "tpm-quote", content: quote },
        { kind: "report-data", content: reportData },
        ...certificates,
      ];
      return { tee: "snp", evidence, endorsements } satisfies HardwareEvidence;
    },
  };
}

function snpReportOf(content: Bytes): Bytes {
  try {
    return parseHclReport(content).snpReport;
  } catch (error) {
    throw tpmUnavailable("its index holds no report of SNP", error);
  }
}

async function readIndex(transact: TransactTpm, index: number): Promise<Bytes> {
  const size = indexSizeOf(await transact(readPublicCommand(index)), index);
  if (size > MAX_HCL_REPORT_BYTES) throw tpmUnavailable(`an index of ${size} bytes, ${MAX_HCL_REPORT_BYTES} allowed`);
  const parts: Bytes[] = [];
  for (let offset = 0; offset < size; offset += MAX_TPM_READ_BYTES) {
    const length = Math.min(MAX_TPM_READ_BYTES, size - offset);
    parts.push(indexPartOf(await transact(readIndexCommand(index, offset, length)), length));
  }
  return concatBytes(...parts);
}

/** The registers stand beside the quote, so they must be the ones it covers. */
async function makeQuote(transact: TransactTpm, reportData: Bytes): Promise<Bytes> {
  const crypto = createAttestationCrypto();
  const nonce = vtpmNonce(reportData, crypto);
  const all = Array.from({ length: MAX_PCRS }, (_, register) => register);
  for (let attempt = 0; attempt < MAX_QUOTE_ATTEMPTS; attempt++) {
    const pcrs = await readRegisters(transact, all);
    const quote = quoteOf(await transact(quoteCommand(AZURE_ATTESTATION_KEY, nonce, all)));
    if (quotedPcrs(parsed(quote.message), pcrs, (data) => crypto.digest("sha256", data)) !== undefined)
      return encodeTpmQuote({ ...quote, pcrs });
  }
  throw tpmUnavailable("its registers do not stand still");
}

function parsed(message: Bytes) {
  try {
    return parseTpmQuote(message);
  } catch (error) {
    throw tpmUnavailable("its quote cannot be read", error);
  }
}

async function readRegisters(transact: TransactTpm, registers: readonly number[]): Promise<readonly Bytes[]> {
  const values: Bytes[] = [];
  for (let at = 0; at < registers.length; at += MAX_TPM_REGISTERS_AT_ONCE) {
    const some = registers.slice(at, at + MAX_TPM_REGISTERS_AT_ONCE);
    values.push(...registersOf(await transact(readRegistersCommand(some)), some));
  }
  return values;
}
