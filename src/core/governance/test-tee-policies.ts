/** Policies of TEEs that tests change in what they are about. */
import type { MaaJwtPolicy } from "./policy-vsm.ts";

/** A policy for tokens of Azure Attestation that names no key, so it accepts none. */
export const TOKEN_POLICY: MaaJwtPolicy = {
  format: "maa-jwt",
  issuer: "https://test.weu.attest.azure.net",
  keys: [],
  policyHash: "ab".repeat(32),
  hostData: [],
  attestationTypes: ["vbs"],
  minimumKeyBits: 3072,
  authorIds: [],
  familyIds: [],
  imageIds: [],
  minimumEnclaveSvn: 0,
  minimumPlatformSvn: 0,
  allowDebug: false,
};
