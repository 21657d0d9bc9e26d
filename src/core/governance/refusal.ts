/** Why an administrative transaction was refused: one list of machine-readable reasons, in the data of `ProposalInvalid`. */
import { CocoError } from "../../errors.ts";

/** Why an administrative transaction was refused. */
export type Refusal =
  // order
  | "BeforeGenesis"
  | "SecondGenesis"
  // proposals and votes
  | "Malformed"
  | "OtherNetwork"
  | "OtherConstitution"
  | "NotAMember"
  | "SignatureInvalid"
  | "OtherProposal"
  | "DuplicateBallot"
  | "NotEnoughVotes"
  // what was voted on
  | "AlreadyApproved"
  | "ManifestFull"
  | "NodesInvalid"
  | "NodesUnchanged"
  | "NodeKeysChanged"
  | "ChangeInProgress"
  | "ConstitutionTooLarge"
  | "OtherBoot"
  // membership
  | "NotTheNextConfiguration"
  | "TwoConfigurations"
  | "QuorumDoesNotFit"
  // epochs
  | "EpochNumber"
  | "EpochNotDue"
  | "EpochWraps"
  | "EpochsFull"
  | "EpochByRemovedNode"
  | "VotersNotListed"
  | "ServiceCertificate"
  | "GrantNotNeeded"
  | "NodeNotListed"
  // snapshots
  | "SnapshotNotNewer"
  | "SnapshotOfTheFuture";

/** The error of a refused administrative transaction. */
export function refused(reason: Refusal, message: string): CocoError {
  return new CocoError("ProposalInvalid", message, { reason });
}
