/**
 * Why evidence is not accepted: one table for all TEEs, so that a reason has one name wherever it turns up.
 * The numbers of the classes they refuse stand in docs/reference/attestation.md.
 */

/** Every reason of a verifier with what it means and what whoever runs the node does about it, in words for people. */
export const REASONS = {
  // Signatures and chains
  SignatureInvalid: {
    meaning: "the evidence is not signed by the key its endorsements name",
    remedy:
      "Make the evidence anew, with endorsements of that very machine; if it stays so, move the node: the host alters it.",
  },
  ChainInvalid: {
    meaning: "a certificate is not signed by its issuer, or is not what its place in the chain asks for",
    remedy: "Send the certificates as the vendor gives them, complete and unchanged.",
  },
  RootNotTrusted: {
    meaning: "the chain does not end in a pinned root",
    remedy: "Use genuine hardware; for VSM let members pin the root of your guardian service, after they compared it.",
  },
  CertificateMissing: {
    meaning: "a certificate that the evidence needs is not there",
    remedy:
      "Send the certificate of the signing key: let the host hand it in, name its file, or let the node fetch it.",
  },
  CertificateExpired: {
    meaning: "a certificate is not valid at the time of verification",
    remedy: "Fetch certificates anew, and check the clocks of node and ledger.",
  },
  CertificateRevoked: {
    meaning: "a certificate is on a revocation list",
    remedy: "Stop using the machine: ask its provider for another, or for firmware with a new certificate.",
  },
  RevocationMissing: {
    meaning: "there is no current, signed revocation list of an issuer",
    remedy: "Send a current list of revoked certificates: let the node reach the service, or fetch the list anew.",
  },
  AlgorithmNotAllowed: {
    meaning: "a signature or key of an algorithm that does not count",
    remedy: "Use keys and algorithms that count; evidence of genuine machines does.",
  },
  // Endorsements and collateral
  EndorsementMismatch: {
    meaning: "the endorsements are of another chip, product or platform",
    remedy:
      "Send endorsements of the machine the node runs on now: it may have been moved, and files or caches be of another.",
  },
  CollateralExpired: {
    meaning: "collateral is not valid at the time of verification",
    remedy: "Fetch collateral anew: let the node reach the service, or empty its cache; check the clocks.",
  },
  CollateralInvalid: {
    meaning: "collateral is not signed, not well-formed, or of another kind",
    remedy: "Fetch collateral anew from Intel's service, unchanged; look at the cache between.",
  },
  TcbMismatch: {
    meaning: "the evidence names another TCB than its certificate",
    remedy: "Fetch the certificate for the TCB that the firmware reports now: it was updated since.",
  },
  TcbTooOld: {
    meaning: "the TCB is lower than the policy's minimum",
    remedy: "Have firmware and microcode of the machine updated, or move the node; members may lower the minimum.",
  },
  TcbStatusNotAllowed: {
    meaning: "the policy does not allow the status of the TCB",
    remedy: "Have firmware, microcode and settings of the machine updated; members may allow the status by name.",
  },
  AdvisoryNotAllowed: {
    meaning: "the policy does not tolerate a security advisory that applies",
    remedy: "Have the machine updated against the advisory; members may tolerate it by name.",
  },
  QuotingEnclaveInvalid: {
    meaning: "the quoting enclave is not the one its identity describes",
    remedy: "Have the quoting enclave and the packages of DCAP on the host updated.",
  },
  ModuleInvalid: {
    meaning: "the TDX module is not the one its identity describes",
    remedy: "Have the TDX module of the host updated to one that Intel's collateral knows.",
  },
  KeyNotBound: {
    meaning: "the key that signed is not bound to the endorsed one",
    remedy:
      "Make the evidence anew; if it stays so, move the node: something before the hardware puts in keys of its own.",
  },
  // What the policy says
  DebugEnabled: {
    meaning: "whoever runs it may look inside",
    remedy: "Start the guest or the enclave without debugging.",
  },
  MigrationEnabled: {
    meaning: "the guest may be moved to another machine",
    remedy: "Start the guest so that it cannot be moved, without migration agent or service guest.",
  },
  PrivilegeLevel: {
    meaning: "the evidence was made at a privilege level that is not allowed",
    remedy: "Ask for reports at privilege level 0, or let members allow the level the node runs at.",
  },
  VersionNotAllowed: {
    meaning: "the policy does not allow this version of the evidence",
    remedy: "Have the firmware updated: it makes reports of a version with known faults.",
  },
  KeyKindNotAllowed: {
    meaning: "the policy does not allow this kind of signing key",
    remedy: "Have the host sign with the chip's own key, or let members allow the provider's.",
  },
  ProductNotAllowed: {
    meaning: "the policy does not allow this product",
    remedy: "Move the node to a generation of chips that the policy names.",
  },
  FeatureRequired: {
    meaning: "a feature that the policy requires is off",
    remedy: "Switch the feature on where the guest is started, or ask the provider for hosts that have it.",
  },
  FeatureNotAllowed: {
    meaning: "a feature that the policy does not allow is on",
    remedy: "Switch the feature off where the guest is started, or ask the provider for hosts without it.",
  },
  ChipHidden: {
    meaning: "the evidence does not name its chip",
    remedy: "Ask the provider for a host that does not hide its chip's id and key.",
  },
  IdentityMismatch: {
    meaning: "signer, product or family are not those that the policy names",
    remedy: "Run the code of the signer that the policy names, or let members name this one.",
  },
  // Code and binding
  MeasurementMismatch: {
    meaning: "the measurement is not one that is approved",
    remedy: "Run approved code with the approved settings, or let members approve what was measured.",
  },
  HostDataMismatch: {
    meaning: "the host data are not those that are approved",
    remedy: "Deploy the containers with the approved policy, or let members approve this one's digest.",
  },
  ReportDataMismatch: {
    meaning: "the evidence was made for other data",
    remedy: "Let the node make its evidence anew, for its own keys and the present challenge.",
  },
  UvmEndorsementInvalid: {
    meaning: "the endorsement of the utility VM does not hold",
    remedy: "Send the endorsement that came with the utility VM, unchanged.",
  },
  UvmEndorsementNotAllowed: {
    meaning: "issuer, feed or version of the utility VM's endorsement are not approved",
    remedy: "Move to a utility VM of an approved feed and version, or let members approve this one.",
  },
  NonceMismatch: {
    meaning: "the quote of the TPM answers another challenge",
    remedy: "Let the TPM quote the present challenge.",
  },
  // Tokens
  TokenInvalid: {
    meaning: "the token is not signed as its issuer signs",
    remedy: "Ask the service for a token anew; if its keys have changed, let members pin the new ones.",
  },
  TokenExpired: {
    meaning: "the token is not valid at the time of verification",
    remedy: "Ask the service for a token anew, and check the clocks.",
  },
  IssuerNotTrusted: {
    meaning: "the policy does not name the issuer",
    remedy: "Use the instance that the policy names, or let members pin this one with its keys.",
  },
  TokenPolicyMismatch: {
    meaning: "the token was made under another policy, or for another kind of TEE",
    remedy: "Set the approved policy at the service, or let members pin the new one's digest.",
  },
} as const;

/** A reason's name. */
export type ReasonCode = keyof typeof REASONS;

/** Reasons that are found where evidence is admitted, whatever its TEE. */
export const ADMISSION_REASONS = {
  Malformed: {
    meaning: "the evidence, or a part of it, cannot be read",
    remedy:
      "Send evidence as this version makes it, with every part once; look at what lies between node and hardware.",
  },
  UnknownTee: {
    meaning: "the evidence is of a TEE that this version does not know",
    remedy: "Run the node on a TEE that the network's version knows, or update the network.",
  },
  TeeNotListed: {
    meaning: "the TEE manifest lists nothing for it",
    remedy: "Propose the machine, or a policy for its TEE (approve_tee).",
  },
  TeeNotInForce: {
    meaning: "the TEE manifest lists it, but not for this time",
    remedy: "Wait until the entry is in force, or propose it anew.",
  },
  MachineInUse: {
    meaning: "another listed node is recorded on the machine, and no entry lets this one be there too",
    remedy: "Run the node on another machine, remove the other node first, or let members allow shared machines.",
  },
  MeasurementNotListed: {
    meaning: "the code manifest does not list the measurement",
    remedy: "Run approved code, or propose this one (approve_code).",
  },
  MeasurementNotInForce: {
    meaning: "the code manifest lists the measurement, but not for this time",
    remedy: "Wait until the code is in force, or propose it anew.",
  },
} as const;

/** The name of such a reason. */
export type AdmissionReason = keyof typeof ADMISSION_REASONS;
