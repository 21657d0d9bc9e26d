/**
 * Why evidence is not accepted: one table for all TEEs, so that a reason has one name wherever it turns up, with what it means and
 * what can be done about it. The command line shows both; docs/reference/errors.md is generated from it.
 * The numbers of the classes they refuse stand in docs/reference/attestation.md.
 */

interface ReasonDefinition {
  /** In words for people. */
  readonly meaning: string;
  /** What the operator of the machine, or whoever judges it, can do. */
  readonly remedy: string;
}

const define = <T extends Record<string, ReasonDefinition>>(table: T): Readonly<T> => table;

/** Every reason, grouped by what is at fault. */
export const REASONS = define({
  // form
  Malformed: {
    meaning: "the evidence, or something that goes with it, can't be read",
    remedy: "Compare the files with what the platform writes; a part that was cut off or written anew is no evidence.",
  },
  UnknownTee: {
    meaning: "the evidence is of a TEE that this version does not know",
    remedy: "Verify it with a version of the program that knows the TEE.",
  },
  // signatures and chains
  SignatureInvalid: {
    meaning: "the evidence is not signed by the key its endorsements name",
    remedy:
      "Take the certificates or collateral of the very machine that made the evidence; if they are, trust nothing of it.",
  },
  ChainInvalid: {
    meaning: "a certificate is not signed by its issuer, or is not what its place in the chain asks for",
    remedy:
      "Fetch the chain again from the maker of the processor, or from the platform, and leave no certificate out.",
  },
  RootNotTrusted: {
    meaning: "the chain does not end in a pinned root",
    remedy:
      "Take the chain of the maker; for VSM compare the root with whoever runs the guardian service, and name it in the policy.",
  },
  CertificateMissing: {
    meaning: "a certificate that the evidence needs is not there",
    remedy: "Add it: for SNP the chip's VCEK or VLEK (`--certs`), for SGX and TDX the certification data of the quote.",
  },
  CertificateExpired: {
    meaning: "a certificate is not valid at the time of verification",
    remedy: "Fetch a new certificate; to judge what was made earlier, verify at that time (`--at`).",
  },
  CertificateRevoked: {
    meaning: "a certificate is on a revocation list",
    remedy: "Do not trust the machine; its maker took its key back. Move the node to another one.",
  },
  RevocationMissing: {
    meaning: "there is no current, signed revocation list of an issuer",
    remedy:
      "Fetch collateral again, or send the maker's current list along; a policy for SNP may do without it (`revocation-list`).",
  },
  AlgorithmNotAllowed: {
    meaning: "a signature or key of an algorithm that does not count",
    remedy:
      "Have the evidence made with an algorithm of docs/reference/attestation.md, and keys as long as the policy asks.",
  },
  // endorsements and collateral
  EndorsementMismatch: {
    meaning: "the endorsements are of another chip, product or platform",
    remedy: "Fetch the endorsements of the machine that made the evidence, for the TCB it reports.",
  },
  CollateralExpired: {
    meaning: "collateral is not valid at the time of verification",
    remedy:
      "Fetch collateral again (it is good for about 30 days); to judge old evidence, verify at its time (`--at`).",
  },
  CollateralInvalid: {
    meaning: "collateral is not signed, not well-formed, or of another kind",
    remedy: "Fetch it again and keep its documents byte for byte: what is written anew is signed no more.",
  },
  TcbMismatch: {
    meaning: "the evidence names another TCB than its certificate",
    remedy: "Fetch the certificate for the TCB that the report names; after an update of firmware it is another one.",
  },
  TcbTooOld: {
    meaning: "the TCB is lower than the policy's minimum",
    remedy: "Update firmware and microcode of the machine; or let members vote on a lower minimum, and say why.",
  },
  TcbStatusNotAllowed: {
    meaning: "the policy does not allow the status of the TCB",
    remedy:
      "Do what Intel's advisories for that status ask; or allow the status by name in the policy (`statuses`, `--allow`).",
  },
  AdvisoryNotAllowed: {
    meaning: "the policy does not tolerate a security advisory that applies",
    remedy: "Update the platform as the advisory says; or name it in the policy's `advisories`.",
  },
  QuotingEnclaveInvalid: {
    meaning: "the quoting enclave is not the one its identity describes",
    remedy: "Update Intel's quoting enclave on the host, and fetch collateral again.",
  },
  ModuleInvalid: {
    meaning: "the TDX module is not the one its identity describes",
    remedy: "Have the host run a TDX module that Intel's collateral knows, and fetch collateral again.",
  },
  KeyNotBound: {
    meaning: "the key that signed is not bound to the endorsed one",
    remedy: "Make report, quote and key on one machine, and take them together; if they were, trust nothing of it.",
  },
  // what the policy says
  DebugEnabled: {
    meaning: "whoever runs it may look inside",
    remedy: "Start guest or enclave without debugging. Only tests should allow it (`debug`).",
  },
  MigrationEnabled: {
    meaning: "the guest may be moved to another machine",
    remedy: "Start the guest without a migration agent; or allow it by name in the policy.",
  },
  PrivilegeLevel: {
    meaning: "the evidence was made at a privilege level that is not allowed",
    remedy:
      "Ask for the report at level 0 of the guest; or allow the level, when what runs at level 0 is trusted (`vmpl1`).",
  },
  VersionNotAllowed: {
    meaning: "the policy does not allow this version of the evidence",
    remedy:
      "Update the machine's firmware: reports of version 2 come from one with known faults; or allow them (`v2`).",
  },
  KeyKindNotAllowed: {
    meaning: "the policy does not allow this kind of signing key",
    remedy: "Have the chip's own key sign (VCEK); or allow keys that a provider loaded, when it is trusted (`vlek`).",
  },
  ProductNotAllowed: {
    meaning: "the policy does not allow this product",
    remedy: "Run the node on a product that the policy names; or let members vote on the policy.",
  },
  FeatureRequired: {
    meaning: "a feature that the policy requires is off",
    remedy:
      "Turn the feature on that the check names, in firmware or in the guest's configuration; or require it no more.",
  },
  FeatureNotAllowed: {
    meaning: "a feature that the policy does not allow is on",
    remedy: "Turn the feature off that the check names; or allow its bits in the policy.",
  },
  ChipHidden: {
    meaning: "the evidence does not name its chip",
    remedy: "Have the host show the chip's id (MASK_CHIP_ID and MASK_CHIP_KEY off).",
  },
  IdentityMismatch: {
    meaning: "signer, product or family are not those that the policy names",
    remedy: "Run what the policy names, or add its signer, product, family or image to the policy.",
  },
  RegistersMissing: {
    meaning: "the policy names registers of a TPM and the evidence has none, or the other way round",
    remedy:
      "List an Azure machine (`--vtpm`) by an entry that names what its TPM's registers hold (`pcrs`), any other by one without them.",
  },
  // code, machine and binding
  TeeNotListed: {
    meaning: "the TEE manifest does not list the machine, or nothing of such hardware",
    remedy: "Let a member propose `approve_tee`, and members vote.",
  },
  TeeNotInForce: {
    meaning: "the TEE manifest lists the machine, but not for this time",
    remedy: "Wait for the entry's first date; or let members vote on a new entry where the old one has ended.",
  },
  MachineInUse: {
    meaning: "another listed node is recorded on the machine, and no entry lets this one be there too",
    remedy: "Run the node on another machine, remove the other node first, or let members allow shared machines.",
  },
  MeasurementNotListed: {
    meaning: "the code manifest does not list the measurement",
    remedy: "Run approved code; or let a member propose `approve_code` with this measurement, and members vote.",
  },
  MeasurementNotInForce: {
    meaning: "the code manifest lists the measurement, but not for this time",
    remedy: "Run code that is in force; or wait for the entry's first date.",
  },
  MeasurementMismatch: {
    meaning: "the measurement is not one that is approved",
    remedy: "Measure the code anew and compare; where its reference values differ, approve those that were measured.",
  },
  HostDataMismatch: {
    meaning: "the host data are not those that are approved",
    remedy: "Start the containers with the approved policy; or approve the digest of the policy they run with.",
  },
  ReportDataMismatch: {
    meaning: "the evidence was made for other data",
    remedy: "Make evidence anew for this network, node and challenge; evidence of another occasion never counts.",
  },
  UvmEndorsementInvalid: {
    meaning: "the endorsement of the utility VM does not hold",
    remedy: "Take the endorsement that came with the container group (`reference-info-base64`), byte for byte.",
  },
  UvmEndorsementNotAllowed: {
    meaning: "issuer, feed or version of the utility VM's endorsement are not approved",
    remedy:
      "Start the containers anew on a newer utility VM; or name its issuer, feed and version in the policy (`uvm`).",
  },
  NonceMismatch: {
    meaning: "the quote of the TPM answers another challenge",
    remedy: "Ask the machine for a new quote over this challenge.",
  },
  // tokens
  TokenInvalid: {
    meaning: "the token is not signed as its issuer signs",
    remedy: "Fetch the issuer's present keys, and a new token.",
  },
  TokenExpired: {
    meaning: "the token is not valid at the time of verification",
    remedy: "Fetch a new token; to judge an old one, verify at its time (`--at`).",
  },
  IssuerNotTrusted: {
    meaning: "the policy does not name the issuer",
    remedy: "Use the instance of Azure Attestation that the policy names; or name issuer and keys in the policy.",
  },
  TokenPolicyMismatch: {
    meaning: "the token was made under another policy, or for another kind of TEE",
    remedy: "Compare the policy of the issuing instance with the pinned hash; a change of it needs the members' vote.",
  },
});

/** A reason's name. */
export type ReasonCode = keyof typeof REASONS;

/** Whether a text is the name of a reason. */
export function isReasonCode(text: unknown): text is ReasonCode {
  return typeof text === "string" && Object.hasOwn(REASONS, text);
}
