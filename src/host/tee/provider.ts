/** The attester's side (RFC 9334): what a machine offers that makes evidence. The host is untrusted; evidence is what counts. */
import type { HardwareEvidence } from "../../attestation/hardware-evidence.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import type { TeeName } from "../../core/governance/manifest-entries.ts";

/** A TEE of this machine. */
export interface TeeProvider {
  readonly tee: TeeName;
  /** Evidence that binds exactly these 64 bytes; throws `TeeUnavailable`. */
  attest(reportData: Bytes): Promise<HardwareEvidence>;
}
