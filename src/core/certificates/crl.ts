/**
 * Certificate revocation lists (RFC 5280, chapter 5), versions 1 and 2: complete lists by the CA that issued what they list.
 *
 * Lists of another kind (delta lists, indirect lists, lists for a part of the certificates only) and lists without a next
 * update are refused: each of them would let a revoked certificate through that a reader of the plain kind does not see.
 */
import type { Bytes } from "../codec/bytes.ts";
import { contextTag, DER, type DerReader } from "../codec/der.ts";
import { CocoError } from "../../errors.ts";
import {
  type Extension,
  parseSigned,
  readAlgorithm,
  readExtensions,
  readSerial,
  type Signed,
  type SignedBody,
} from "./certificate.ts";
import { readName } from "./name.ts";

/** Largest revocation list of an actor, DER, in bytes. */
export const MAX_REVOCATION_LIST_BYTES = 64 * 1024;
/** Most certificates one list revokes. */
export const MAX_REVOKED_CERTIFICATES = 4096;

/** A revocation list that was read; nothing of it is trusted. */
export interface RevocationList extends Signed {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Serial numbers in lower-case hex, as certificates have them. */
  readonly revoked: ReadonlySet<string>;
}

const VERSION_2 = 1;
const DELTA_INDICATOR = "2.5.29.27";
const DISTRIBUTION_POINT = "2.5.29.28";
const ENTRY_ISSUER = "2.5.29.29";
const OTHER_KINDS: readonly string[] = [DELTA_INDICATOR, DISTRIBUTION_POINT, ENTRY_ISSUER];

function malformed(problem: string): CocoError {
  return new CocoError("MalformedInput", `revocation list: ${problem}`);
}

/** Reads a revocation list in DER; throws `MalformedInput`, also for the kinds that are not supported. */
export function parseRevocationList(der: Bytes): RevocationList {
  return parseSigned(der, { readBody, malformed, maxBytes: MAX_REVOCATION_LIST_BYTES });
}

function readBody(reader: DerReader): SignedBody<RevocationList> {
  const isVersion2 = reader.nextIs(DER.integer);
  if (isVersion2 && reader.smallInteger(VERSION_2) !== VERSION_2) throw malformed("expected version 1 or 2");
  const { encoding: algorithmBytes } = readAlgorithm(reader);
  const issuer = readName(reader);
  const thisUpdateMs = reader.time();
  if (!reader.nextIs(DER.utcTime) && !reader.nextIs(DER.generalizedTime)) throw malformed("without a next update");
  const nextUpdateMs = reader.time();
  const entries = reader.optional(DER.sequence, (list) =>
    list.list(MAX_REVOKED_CERTIFICATES, (entry) => readEntry(entry, isVersion2)),
  );
  const extensions = isVersion2 ? (reader.optional(contextTag(0, "constructed"), readExtensions) ?? []) : [];
  refuseOtherKinds(extensions);
  return { algorithmBytes, issuer, thisUpdateMs, nextUpdateMs, revoked: new Set(entries) };
}

function readEntry(reader: DerReader, mayExtend: boolean): string {
  return reader.sequence((inner) => {
    const serial = readSerial(inner);
    inner.time();
    if (mayExtend && !inner.atEnd) refuseOtherKinds(readExtensions(inner));
    return serial;
  });
}

/** The extensions that make a list of another kind are refused even when their issuer did not mark them critical. */
function refuseOtherKinds(extensions: readonly Extension[]): void {
  for (const { critical, identifier } of extensions)
    if (critical || OTHER_KINDS.includes(identifier)) throw malformed(`extension ${identifier} is not supported`);
}
