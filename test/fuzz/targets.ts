/** What is fuzzed: decoders of evidence, of the ledger, and of messages of nodes and workers, with inputs to begin with. */
import { parseCertificate } from "../../src/core/certificates/certificate.ts";
import { parseRevocationList } from "../../src/core/certificates/crl.ts";
import { bytesEqual, concatBytes, fromHex, type Bytes, utf8Decode, utf8Encode } from "../../src/core/codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../../src/core/codec/cbor.ts";
import { parseStrictJson } from "../../src/core/codec/json.ts";
import type { AttestationCrypto } from "../../src/attestation/checks.ts";
import { parseCollateral } from "../../src/attestation/dcap/collateral.ts";
import { parseQuote } from "../../src/attestation/dcap/quote.ts";
import { parseQuotingIdentity, parseTcbInfo } from "../../src/attestation/dcap/tcb-info.ts";
import { readKeySet } from "../../src/attestation/maa/keys.ts";
import { parseToken } from "../../src/attestation/maa/token.ts";
import { readCertificates, readCertificateTable } from "../../src/attestation/snp/certificates.ts";
import { parseSnpReport } from "../../src/attestation/snp/report.ts";
import { readVek } from "../../src/attestation/snp/vek.ts";
import { parseAzureVtpmJson } from "../../src/attestation/tpm/azure-vtpm-codec.ts";
import { parseHclReport } from "../../src/attestation/tpm/hcl-report.ts";
import { parseTpmQuote } from "../../src/attestation/tpm/quote.ts";
import { verifyUvm } from "../../src/attestation/uvm/verify.ts";
import { parseVbsReport } from "../../src/attestation/vsm/report.ts";
import { WorkerGuard } from "../../src/enclave/manager/worker-guard.ts";
import type { FromWorker } from "../../src/enclave/worker/protocol.ts";
import { decodeFromWorker, encodeFromWorker } from "../../src/enclave/worker/wire-from-worker.ts";
import { platformOf } from "../../src/attestation/dcap/pck.ts";
import { breakOnMagic } from "./canary.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { ledgerTargets } from "./ledger-targets.ts";
import { expectThat, plain } from "./properties.ts";
import type { FuzzSeeds } from "./seeds.ts";

const CODEC = "/dist/src/core/codec/";
const CERTIFICATES = "/dist/src/core/certificates/";
const scripts = (...folders: readonly string[]) => new RegExp(folders.join("|"));
const inAttestation = (folder: string) => scripts(`/dist/src/attestation/${folder}/`, CODEC);

/** Signatures are not what a decoder is about: all are bad, and cost nothing. */
const NO_CRYPTO: AttestationCrypto = { digest: () => new Uint8Array(48), verify: () => false };

const texts = (...tokens: readonly string[]): readonly Bytes[] => tokens.map(utf8Encode);
const DER_TOKENS = ["3000", "3080", "0500", "0101ff", "020100", "0603550403", "a003020102", "30820100", "04820400"].map(
  fromHex,
);
const CBOR_TOKENS = ["d284", "f6", "f97e00", "1bffffffffffffffff", "5f", "9f", "bf", "a1", "3903e7", "c2"].map(fromHex);
const JSON_TOKENS = texts(
  '"',
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "null",
  "1e400",
  "\\u0000",
  "\\ud800",
  "-0",
  '"id":',
  "__proto__",
);

function decodeJson(input: Bytes): void {
  const text = utf8Decode(input);
  const ours = JSON.stringify(plain(parseStrictJson(text)));
  expectThat(ours === JSON.stringify(JSON.parse(text)), "another value than JSON.parse reads");
}

function decodeCertificate(input: Bytes): void {
  const certificate = parseCertificate(input);
  expectThat(bytesEqual(certificate.der, input), "a certificate of other bytes");
  readVek(certificate);
  platformOf(certificate);
}

const WORKER_MESSAGES: readonly Bytes[] = (
  [
    { type: "ready", tables: [{ id: 1, name: "public:one" }] },
    {
      type: "responses",
      responses: [{ id: 1, response: { status: 200, contentType: "text/plain", body: fromHex("01") } }],
    },
    { type: "leader", ids: [1] },
    { type: "submit", submissions: [{ id: 1, items: [{ id: fromHex("01"), body: fromHex("02") }] }] },
    {
      ...{ type: "executed", generation: 1, more: true, dropped: [{ id: fromHex("01"), error: fromHex("02") }] },
      outcomes: [
        { type: "included", position: 0, result: fromHex("03") },
        { type: "unavailable", code: "Internal" },
      ],
      transactions: [
        { id: fromHex("01"), publicPart: fromHex(""), privatePart: fromHex("02"), claimsDigest: new Uint8Array(32) },
      ],
    },
    { type: "snapshotPart", version: 1, last: false, part: fromHex("01") },
    { type: "imported", version: 1 },
    { type: "log", message: "line" },
  ] satisfies readonly FromWorker[]
).map(encodeFromWorker);

/** One message has one encoding; and a guard that expects nothing ends the worker in its own words. */
function decodeWorkerMessage(input: Bytes): void {
  const message = decodeFromWorker(input);
  expectThat(bytesEqual(encodeFromWorker(message), input), "two encodings of one message");
  new WorkerGuard({ writtenBytes: () => 0 }).take(message);
}

/** The targets, by name; `canary` is not among them. */
export function fuzzTargets(seeds: FuzzSeeds): readonly FuzzTarget[] {
  return [
    {
      ...{ name: "cbor", seeds: seeds.cbor, tokens: CBOR_TOKENS, scripts: scripts(CODEC) },
      run: (input) => expectThat(bytesEqual(encodeCbor(decodeCbor(input)), input), "two encodings of one value"),
    },
    {
      ...{ name: "worker-message", seeds: WORKER_MESSAGES, scripts: scripts("/dist/src/enclave/worker/", CODEC) },
      run: decodeWorkerMessage,
    },
    { name: "json", seeds: seeds.json, tokens: JSON_TOKENS, scripts: scripts(CODEC), run: decodeJson },
    {
      ...{ name: "certificate", seeds: seeds.certificate, tokens: DER_TOKENS, run: decodeCertificate },
      scripts: scripts(CODEC, CERTIFICATES, "/dist/src/attestation/"),
    },
    {
      ...{ name: "crl", seeds: seeds.crl, tokens: DER_TOKENS, scripts: scripts(CODEC, CERTIFICATES) },
      run: parseRevocationList,
    },
    { name: "snp-report", seeds: seeds.snpReport, scripts: inAttestation("snp"), run: parseSnpReport },
    {
      ...{ name: "snp-certificates", seeds: seeds.snpCertificates, tokens: [...DER_TOKENS, ...JSON_TOKENS] },
      ...{ scripts: inAttestation("snp"), run: readCertificates },
    },
    {
      ...{ name: "snp-table", seeds: seeds.snpTable, tokens: DER_TOKENS, scripts: inAttestation("snp") },
      run: readCertificateTable,
    },
    {
      ...{ name: "uvm", seeds: seeds.uvm, tokens: [...CBOR_TOKENS, ...texts("did:x509:0:sha256:", "::eku:", "%zz")] },
      scripts: scripts("/dist/src/attestation/uvm/", CODEC, CERTIFICATES),
      run: (input) => void verifyUvm(input, NO_CRYPTO),
    },
    {
      ...{ name: "dcap-quote", seeds: seeds.quote, tokens: texts("-----BEGIN CERTIFICATE-----") },
      ...{ scripts: inAttestation("dcap"), run: parseQuote },
    },
    {
      ...{ name: "dcap-collateral", seeds: seeds.collateral, tokens: JSON_TOKENS, scripts: inAttestation("dcap") },
      run: parseCollateral,
    },
    {
      ...{ name: "dcap-tcb-info", seeds: seeds.tcbInfo, tokens: JSON_TOKENS, scripts: inAttestation("dcap") },
      run: (input) => void parseTcbInfo(utf8Decode(input)),
    },
    {
      ...{ name: "dcap-identity", seeds: seeds.identity, tokens: JSON_TOKENS, scripts: inAttestation("dcap") },
      run: (input) => void parseQuotingIdentity(utf8Decode(input)),
    },
    { name: "vbs-report", seeds: seeds.vbsReport, scripts: inAttestation("vsm"), run: parseVbsReport },
    {
      ...{ name: "maa-token", seeds: seeds.token, tokens: texts(".", "e30", "eyJ"), scripts: inAttestation("maa") },
      run: (input) => void parseToken(utf8Decode(input)),
    },
    {
      ...{ name: "maa-keys", seeds: seeds.keySet, tokens: JSON_TOKENS, scripts: inAttestation("maa") },
      run: readKeySet,
    },
    { name: "tpm-quote", seeds: seeds.tpmQuote, scripts: inAttestation("tpm"), run: parseTpmQuote },
    {
      ...{ name: "hcl-report", seeds: seeds.hclReport, tokens: JSON_TOKENS, scripts: inAttestation("tpm") },
      run: parseHclReport,
    },
    {
      ...{ name: "azure-vtpm", seeds: seeds.azureVtpm, tokens: JSON_TOKENS, scripts: inAttestation("tpm") },
      run: parseAzureVtpmJson,
    },
    ...ledgerTargets(),
  ];
}

/** Must be found broken. */
export const CANARY: FuzzTarget = {
  name: "canary",
  seeds: [concatBytes(new Uint8Array(8))],
  scripts: /\/fuzz\/canary\./,
  run: breakOnMagic,
};
