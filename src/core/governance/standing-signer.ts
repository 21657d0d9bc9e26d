/**
 * Whether something a member signed earlier still speaks for it: its certificates lead to the same member of the constitution
 * in force, at the time it was signed for. So a vote ends with the certificate it was signed with (taken from the member,
 * revoked), and nobody who comes under the id of a former member inherits its votes. A certificate that merely expires
 * afterwards ends none.
 */
import type { Bytes } from "../codec/bytes.ts";
import type { Actor } from "./constitution.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";

/** A ballot or automatic votes, as the state keeps them. */
export interface StandingRecord {
  readonly member: string;
  readonly chain: readonly Bytes[];
  readonly atMs: number;
}

/** Verifying a path is work, and a record is counted many times under the same actors. */
const verdicts = new WeakMap<readonly Actor[], WeakMap<StandingRecord, boolean>>();

/** See the module's header. */
export function stillSpeaks(actors: readonly Actor[], record: StandingRecord, crypto: GovernanceCrypto): boolean {
  let known = verdicts.get(actors);
  if (known === undefined) {
    known = new WeakMap();
    verdicts.set(actors, known);
  }
  const before = known.get(record);
  if (before !== undefined) return before;
  const identity = crypto.identify(actors, record.chain, record.atMs);
  const speaks = "actor" in identity && identity.actor === record.member && identity.role === "member";
  known.set(record, speaks);
  return speaks;
}
