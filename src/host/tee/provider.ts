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

/** A TEE that also keeps secrets for its own code on this machine, on a disk that nobody trusts. */
export interface SealingProvider extends TeeProvider {
  /** Encrypts for this TEE; throws `TeeUnavailable`. */
  seal(secret: Bytes): Promise<Bytes>;
  /**
   * Opens {@link SealingProvider.seal}; throws `TeeUnavailable` when the TEE cannot, `SealedElsewhere` when the bytes were changed
   * or sealed elsewhere, as far as the TEE tells these apart.
   */
  unseal(sealed: Bytes): Promise<Bytes>;
}

/** Whether a TEE seals by itself. */
export function sealsItself(provider: TeeProvider): provider is SealingProvider {
  return "seal" in provider && "unseal" in provider;
}
