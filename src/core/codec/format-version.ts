/**
 * Versions of what stands in a ledger. One that is newer than this program is no damage: nothing may be set aside or repaired
 * for it, so it has an error of its own, which everybody passes on.
 */
import { CocoError } from "../../errors.ts";

/** Throws `LedgerTooNew` for a version after the one that is known, `MalformedInput` for another one. */
export function checkFormatVersion(what: string, version: number, known: number): void {
  if (version > known)
    throw new CocoError("LedgerTooNew", `${what}: format version ${version} is newer than this program`, { version });
  if (version < known) throw new CocoError("MalformedInput", `${what}: format version ${version} is not known`);
}

/** Whether an error says that something is of a newer format than this program. */
export function isTooNew(error: unknown): boolean {
  return error instanceof CocoError && error.code === "LedgerTooNew";
}
