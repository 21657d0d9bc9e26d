/** The identity of this installation's own code, as a code manifest lists it. */
import { toHex } from "../core/codec/bytes.ts";
import type { CodeEntry } from "../core/governance/manifest-entries.ts";
import { measureCode, PACKAGE_FOLDER, packageIdentity } from "../host/measure-code.ts";

/** Measurement, name and version of the running package. */
export async function ownCode(): Promise<CodeEntry> {
  return { measurement: toHex(await measureCode(PACKAGE_FOLDER)), ...(await packageIdentity(PACKAGE_FOLDER)) };
}
