/** The content of evidence files, in the forms in which platforms and tools write them. */
import type { Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { readBytes } from "../arguments.ts";
import { bytesOrBase64, bytesOrText, isJsonObject, revocationListBytes, teeOfQuote } from "./forms.ts";
import { type EvidenceFiles, requireOnePiece, type TeeName, TEE_NAMES } from "./inputs.ts";

/** Largest file of evidence, in bytes. */
export const MAX_EVIDENCE_FILE_BYTES = 1024 * 1024;

/** Evidence that was read from files; nothing of it is checked. */
export interface EvidenceContent {
  readonly tee: TeeName;
  readonly report?: Bytes;
  readonly certs: readonly Bytes[];
  readonly crl: readonly Bytes[];
  readonly quote?: Bytes;
  readonly collateral?: Bytes;
  readonly uvm?: Bytes;
  readonly token?: Bytes;
  readonly jwks?: Bytes;
  readonly vtpm?: Bytes;
  readonly securityPolicy?: Bytes;
  readonly runtimeData?: Bytes;
}

/** Reads the files. Throws `ConfigurationInvalid` for one that cannot be read, `WrongUsage` when it is unclear what they are. */
export async function readEvidence(files: EvidenceFiles): Promise<EvidenceContent> {
  const read = async (
    name: Exclude<keyof EvidenceFiles, "tee" | "certs" | "crl">,
    form: (bytes: Bytes) => Bytes = asItIs,
  ) => {
    const file = files[name];
    return file === undefined ? {} : { [name]: form(await readBytes(file, MAX_EVIDENCE_FILE_BYTES)) };
  };
  const readAll = (names: readonly string[] = []) =>
    Promise.all(names.map((file) => readBytes(file, MAX_EVIDENCE_FILE_BYTES)));
  const certs = await readAll(files.certs);
  const crl = (await readAll(files.crl)).map(revocationListBytes);
  const parts: Omit<EvidenceContent, "tee" | "certs" | "crl"> = {
    ...reportOrVtpm(await read("report", bytesOrText), files.tee),
    ...(await read("quote", bytesOrText)),
    ...(await read("collateral")),
    ...(await read("uvm", bytesOrText)),
    ...(await read("token")),
    ...(await read("jwks")),
    ...(await read("vtpm")),
    // A container's policy is text in a language of its own: in a file it stands as base64.
    ...(await read("securityPolicy", (bytes) => bytesOrBase64(bytes, (content) => content.includes(0x20)))),
    ...(await read("runtimeData")),
  };
  if (files.tee === undefined && certs.length > 0 && parts.report === undefined && parts.quote === undefined)
    throw new CocoError("WrongUsage", "there are certificates, and no report they go with; name it by --report");
  const tee = files.tee ?? guessTee(parts);
  requireOnePiece(tee, files);
  return { ...parts, certs, crl, tee };
}

/** A report of SNP that is JSON is evidence of a machine's virtual TPM, in which the report is. */
function reportOrVtpm(
  read: { readonly report?: Bytes },
  tee: TeeName | undefined,
): Pick<EvidenceContent, "report" | "vtpm"> {
  const { report } = read;
  const isVtpm = report !== undefined && (tee ?? "snp") === "snp" && isJsonObject(report);
  return isVtpm ? { vtpm: report } : read;
}

const asItIs = (bytes: Bytes): Bytes => bytes;

function guessTee(parts: Omit<EvidenceContent, "tee" | "certs" | "crl">): TeeName {
  if (parts.quote !== undefined) return teeOfQuote(parts.quote);
  if (parts.token !== undefined) return "maa";
  if (parts.vtpm !== undefined) return "snp";
  if (parts.report !== undefined) return parts.report.length === SNP_REPORT_BYTES ? "snp" : "vsm";
  if (parts.uvm !== undefined) return "uvm";
  throw new CocoError("WrongUsage", `nothing to verify; say what by --tee ${TEE_NAMES.join("|")} and its files`);
}

const SNP_REPORT_BYTES = 1184;
