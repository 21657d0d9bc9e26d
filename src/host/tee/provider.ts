/** The attester's side (RFC 9334): what a machine offers that makes evidence. The host is untrusted; evidence is what counts. */
import type { HardwareEvidence, Tee } from "../../attestation/hardware-evidence.ts";
import type { Bytes } from "../../core/codec/bytes.ts";

/** A TEE of this machine. */
export interface TeeProvider {
  readonly tee: Tee;
  /** Evidence that binds exactly these 64 bytes; throws `TeeUnavailable`. */
  attest(reportData: Bytes): Promise<HardwareEvidence>;
}
