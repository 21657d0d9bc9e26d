/**
 * Forms of a confidential Azure machine's evidence: a TPM quote as an endorsement (CBOR), and the two JSON documents that
 * public tools write, which differ in how they write bytes (lists of numbers; hex and base64). Either may be wrapped in a record
 * that names the platform.
 */
import { fromAnyBase64 } from "../../core/codec/base64.ts";
import { fromHex, type Bytes } from "../../core/codec/bytes.ts";
import { decodeCbor, encodeCbor } from "../../core/codec/cbor.ts";
import type { StrictJson } from "../../core/codec/json.ts";
import { type FieldReader, readDocument, treeToCbor } from "../../core/governance/fields.ts";
import { derOfPem, pemBlocks } from "../../core/governance/pem.ts";
import { CocoError } from "../../errors.ts";
import { asFields, asHex, asText, type JsonFields, parseJsonFields } from "../maa/token.ts";
import type { AzureVtpmEvidence, TpmQuoteEvidence } from "./azure-vtpm.ts";
import { MAX_HCL_REPORT_BYTES } from "./hcl-report.ts";
import { MAX_PCRS } from "./quote.ts";

/** Largest message or signature of a TPM quote, in bytes. */
export const MAX_TPM_QUOTE_PART_BYTES = 1024;
/** Most certificates beside a TPM quote. */
export const MAX_VTPM_CERTIFICATES = 8;

const PCR_BYTES = 32;

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `evidence of an Azure machine: ${problem}`);
}

/** A quote in CBOR. */
export function encodeTpmQuote({ message, signature, pcrs }: TpmQuoteEvidence): Bytes {
  return encodeCbor(treeToCbor({ message, signature, pcrs }));
}

/** Reads {@link encodeTpmQuote}; throws `MalformedInput`. */
export function decodeTpmQuote(bytes: Bytes): TpmQuoteEvidence {
  return readDocument(decodeCbor(bytes), { form: "cbor", code: "MalformedInput" }, readQuote);
}

function readQuote(fields: FieldReader): TpmQuoteEvidence {
  const part = { max: MAX_TPM_QUOTE_PART_BYTES };
  return {
    message: fields.bytes("message", part),
    signature: fields.bytes("signature", part),
    pcrs: fields.hexes("pcrs", { length: PCR_BYTES, count: MAX_PCRS }).map(fromHex),
  };
}

/** Reads either JSON document; throws `MalformedInput`. */
export function parseAzureVtpmJson(json: Bytes): AzureVtpmEvidence {
  const fields = unwrapped(parseJsonFields(json, "evidence of an Azure machine"));
  return fields.has("version") ? readVersioned(fields) : readUnversioned(fields);
}

/** What is in `{platform, evidence}`, where it is wrapped so. */
function unwrapped(fields: JsonFields): JsonFields {
  if (!fields.has("platform")) return fields;
  exactFields(fields, ["platform", "evidence"]);
  const evidence = asFields(fields.get("evidence"));
  if (evidence === undefined || !/snp/i.test(asText(fields.get("platform")) ?? ""))
    throw malformed("expected evidence of a platform with SNP");
  return evidence;
}

/** `{version, tpm_quote: {message, signature, pcrs}, hcl_report, vcek}`, of hex and base64. */
function readVersioned(fields: JsonFields): AzureVtpmEvidence {
  const version = fields.get("version");
  if (version !== 1 && version !== 2) throw malformed("an unknown version");
  const quote = exactFields(fields.get("tpm_quote"), ["message", "signature", "pcrs"]);
  exactFields(fields, ["version", "tpm_quote", "hcl_report", "vcek"]);
  return {
    hclReport: fromAnyBase64(asText(fields.get("hcl_report")) ?? ""),
    quote: {
      message: hex(quote.get("message")),
      signature: hex(quote.get("signature")),
      pcrs: pcrList(quote.get("pcrs"), (value) => fromHex(asHex(value, PCR_BYTES) ?? "")),
    },
    certificates: [fromAnyBase64(asText(fields.get("vcek")) ?? "")],
  };
}

/** `{quote: {message, signature, pcrs}, report, vcek}`, of lists of numbers and PEM. */
function readUnversioned(fields: JsonFields): AzureVtpmEvidence {
  exactFields(fields, ["quote", "report", "vcek"]);
  const quote = exactFields(fields.get("quote"), ["message", "signature", "pcrs"]);
  const blocks = pemBlocks(asText(fields.get("vcek")) ?? "", "CERTIFICATE");
  if (blocks.length === 0 || blocks.length > MAX_VTPM_CERTIFICATES) throw malformed("expected few certificates in PEM");
  return {
    hclReport: numbers(fields.get("report"), MAX_HCL_REPORT_BYTES),
    quote: {
      message: numbers(quote.get("message"), MAX_TPM_QUOTE_PART_BYTES),
      signature: numbers(quote.get("signature"), MAX_TPM_QUOTE_PART_BYTES),
      pcrs: pcrList(quote.get("pcrs"), (value) => numbers(value, PCR_BYTES)),
    },
    certificates: blocks.map((block) => {
      const der = derOfPem(block, "CERTIFICATE");
      if (der === undefined) throw malformed("expected certificates in PEM");
      return der;
    }),
  };
}

function exactFields(value: StrictJson | undefined, names: readonly string[]): JsonFields {
  const fields = asFields(value);
  if (fields === undefined || fields.size !== names.length || !names.every((name) => fields.has(name)))
    throw malformed(`expected an object of ${names.join(", ")}`);
  return fields;
}

function hex(value: StrictJson | undefined): Bytes {
  const text = asText(value) ?? "";
  if (text.length === 0 || text.length > 2 * MAX_TPM_QUOTE_PART_BYTES) throw malformed("expected hex of few bytes");
  return fromHex(text);
}

function numbers(value: StrictJson | undefined, max: number): Bytes {
  const isByte = (item: StrictJson): item is number =>
    typeof item === "number" && Number.isInteger(item) && item >= 0 && item <= 255;
  if (!Array.isArray(value) || value.length > max || !value.every(isByte)) throw malformed("expected a list of bytes");
  return Uint8Array.from(value);
}

function pcrList(value: StrictJson | undefined, read: (value: StrictJson) => Bytes): readonly Bytes[] {
  if (!Array.isArray(value) || value.length > MAX_PCRS)
    throw malformed(`expected a list of at most ${MAX_PCRS} registers`);
  const pcrs = value.map(read);
  if (pcrs.some(({ length }) => length !== PCR_BYTES)) throw malformed(`expected registers of ${PCR_BYTES} bytes`);
  return pcrs;
}
