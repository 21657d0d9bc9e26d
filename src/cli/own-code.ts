/** The identity of this installation's own code, as a code manifest lists it. */
import { toHex } from "../core/codec/bytes.ts";
import type { CodeEntry, HardwareTee, TeeEntry } from "../core/governance/manifest-entries.ts";
import type { TeeSettings } from "../host/tee/tee-settings.ts";
import { measuredFlags } from "../host/node-flags.ts";
import { measureCode, PACKAGE_FOLDER, packageIdentity } from "../host/measure-code.ts";

/**
 * Measurement, name and version of the running package, as a node that is started with these flags of Node.js has them. Those of
 * this process count for nothing: it is no node.
 */
export async function ownCode(nodeFlags = ""): Promise<CodeEntry> {
  const measurement = await measureCode(PACKAGE_FOLDER, { flags: measuredFlags([], nodeFlags) });
  return { measurement: toHex(measurement), ...(await packageIdentity(PACKAGE_FOLDER)) };
}

/** What the TEE of this machine measured, with name and version of the running package, and the entry that accepts it. */
export interface CodeOnTee {
  readonly code: CodeEntry;
  readonly entry: TeeEntry;
}

/** Measures code on the TEE of this machine. Throws `TeeUnavailable`. */
export async function codeOnTee(name: HardwareTee, settings: TeeSettings): Promise<CodeOnTee> {
  const { measuredByTee } = await import("../host/tee/node-tee.ts");
  const { code, entry } = await measuredByTee(name, settings);
  return { code: { ...code, ...(await packageIdentity(PACKAGE_FOLDER)) }, entry: entry("this machine") };
}
