/**
 * Evidence of hardware as it travels: what the hardware signed, with the endorsements a verifier needs to judge it without
 * asking anybody. Nothing of it is trusted; each TEE's verifier reads its own kinds.
 */
import type { Bytes } from "../core/codec/bytes.ts";
import type { TeeName } from "../core/governance/manifest-entries.ts";
import { evidenceRejected } from "./evidence.ts";

/** What an endorsement is; the forms its content may have are the reader's to tell apart. */
export const ENDORSEMENT_KINDS = [
  /** Certificates in any container that snp/certificates.ts reads. */
  "certificates",
  /** A list of revoked certificates (CRL), DER. */
  "revocations",
  /** COSE Sign1 that endorses the measurement of a utility VM. */
  "uvm-endorsements",
  /** The policy document whose SHA-256 is in the evidence's host data. */
  "host-policy",
  /** Collateral of a DCAP quote, JSON. */
  "collateral",
  /** Runtime data whose digest is in the report data, JSON. */
  "runtime-data",
  /** A quote of a TPM, with what it covers. */
  "tpm-quote",
  /** The 64 bytes whose SHA-256 such a quote binds. */
  "report-data",
  /** A health certificate of a host guardian service, DER. */
  "health-certificate",
] as const;
/** The kind of an endorsement. */
export type EndorsementKind = (typeof ENDORSEMENT_KINDS)[number];

/** One thing that vouches for evidence. */
export interface Endorsement {
  readonly kind: EndorsementKind;
  readonly content: Bytes;
}

/** Evidence with what travels with it. */
export interface HardwareEvidence {
  readonly tee: TeeName;
  /** What the hardware signed: a report, a quote, a package or a token. */
  readonly evidence: Bytes;
  readonly endorsements: readonly Endorsement[];
}

/** The content of all endorsements of a kind. */
export function endorsementsOf({ endorsements }: HardwareEvidence, kind: EndorsementKind): readonly Bytes[] {
  return endorsements.filter((endorsement) => endorsement.kind === kind).map(({ content }) => content);
}

/** The content of the one endorsement of a kind, if there is any. Throws `EvidenceRejected` with `Malformed` for several. */
export function endorsementOf(evidence: HardwareEvidence, kind: EndorsementKind): Bytes | undefined {
  const [first, ...more] = endorsementsOf(evidence, kind);
  if (more.length > 0)
    throw evidenceRejected("Malformed", `${evidence.tee} evidence: several endorsements of kind ${kind}`);
  return first;
}
