/**
 * What Azure puts beside a confidential container (C-ACI): three files of base64 in a folder that an environment variable
 * names. They are endorsements and the container policy; the report itself comes from the guest's own firmware.
 */
import { join } from "node:path";
import type { Endorsement, EndorsementKind } from "../../attestation/hardware-evidence.ts";
import { fromBase64 } from "../../core/codec/base64.ts";
import { type Bytes, utf8Decode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { hasErrorCode, readConfigurationFile } from "../files.ts";

/** The environment variable that names the folder. */
export const SECURITY_CONTEXT_VARIABLE = "UVM_SECURITY_CONTEXT_DIR";
/** Largest of the files in bytes; larger ones are `ConfigurationInvalid`. */
export const MAX_SECURITY_CONTEXT_FILE_BYTES = 512 * 1024;
/** Largest container policy that travels with evidence, in bytes; of a larger one only the digest in the report is told. */
export const MAX_HOST_POLICY_BYTES = 24 * 1024;

const FILES: readonly (readonly [name: string, kind: EndorsementKind])[] = [
  ["host-amd-cert-base64", "certificates"],
  ["reference-info-base64", "uvm-endorsements"],
  ["security-policy-base64", "host-policy"],
];

/** The endorsements in a folder; a file that is not there gives none. Throws `ConfigurationInvalid`. */
export async function readSecurityContext(folder: string): Promise<readonly Endorsement[]> {
  const read = FILES.map(async ([name, kind]): Promise<Endorsement | undefined> => {
    const content = await decodedFile(join(folder, name));
    const isLeftOut = content === undefined || (kind === "host-policy" && content.length > MAX_HOST_POLICY_BYTES);
    return isLeftOut ? undefined : { kind, content };
  });
  return (await Promise.all(read)).filter((endorsement) => endorsement !== undefined);
}

async function decodedFile(file: string): Promise<Bytes | undefined> {
  try {
    return fromBase64(utf8Decode(await readConfigurationFile(file, MAX_SECURITY_CONTEXT_FILE_BYTES)).trim());
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    if (hasErrorCode(error.cause, "ENOENT")) return undefined;
    if (error.code === "ConfigurationInvalid") throw error;
    throw new CocoError("ConfigurationInvalid", `${file}: expected base64`, { file }, { cause: error });
  }
}
