/**
 * Why evidence is not accepted: one table for all TEEs, so that a reason has one name wherever it turns up.
 * The numbers of the classes they refuse stand in docs/reference/attestation.md.
 */

/** Every reason with what it means, in words for people. */
export const REASONS = {
  // Signatures and chains
  SignatureInvalid: "the evidence is not signed by the key its endorsements name",
  ChainInvalid: "a certificate is not signed by its issuer, or is not what its place in the chain asks for",
  RootNotTrusted: "the chain does not end in a pinned root",
  CertificateMissing: "a certificate that the evidence needs is not there",
  CertificateExpired: "a certificate is not valid at the time of verification",
  CertificateRevoked: "a certificate is on a revocation list",
  RevocationMissing: "there is no current, signed revocation list of an issuer",
  AlgorithmNotAllowed: "a signature or key of an algorithm that does not count",
  // Endorsements and collateral
  EndorsementMismatch: "the endorsements are of another chip, product or platform",
  CollateralExpired: "collateral is not valid at the time of verification",
  CollateralInvalid: "collateral is not signed, not well-formed, or of another kind",
  TcbMismatch: "the evidence names another TCB than its certificate",
  TcbTooOld: "the TCB is lower than the policy's minimum",
  TcbStatusNotAllowed: "the policy does not allow the status of the TCB",
  AdvisoryNotAllowed: "the policy does not tolerate a security advisory that applies",
  QuotingEnclaveInvalid: "the quoting enclave is not the one its identity describes",
  ModuleInvalid: "the TDX module is not the one its identity describes",
  KeyNotBound: "the key that signed is not bound to the endorsed one",
  // What the policy says
  DebugEnabled: "whoever runs it may look inside",
  MigrationEnabled: "the guest may be moved to another machine",
  PrivilegeLevel: "the evidence was made at a privilege level that is not allowed",
  VersionNotAllowed: "the policy does not allow this version of the evidence",
  KeyKindNotAllowed: "the policy does not allow this kind of signing key",
  ProductNotAllowed: "the policy does not allow this product",
  FeatureRequired: "a feature that the policy requires is off",
  FeatureNotAllowed: "a feature that the policy does not allow is on",
  ChipHidden: "the evidence does not name its chip",
  IdentityMismatch: "signer, product or family are not those that the policy names",
  // Code and binding
  MeasurementMismatch: "the measurement is not one that is approved",
  HostDataMismatch: "the host data are not those that are approved",
  ReportDataMismatch: "the evidence was made for other data",
  UvmEndorsementInvalid: "the endorsement of the utility VM does not hold",
  UvmEndorsementNotAllowed: "issuer, feed or version of the utility VM's endorsement are not approved",
  NonceMismatch: "the quote of the TPM answers another challenge",
  // Tokens
  TokenInvalid: "the token is not signed as its issuer signs",
  TokenExpired: "the token is not valid at the time of verification",
  IssuerNotTrusted: "the policy does not name the issuer",
  TokenPolicyMismatch: "the token was made under another policy, or for another kind of TEE",
} as const;

/** A reason's name. */
export type ReasonCode = keyof typeof REASONS;
