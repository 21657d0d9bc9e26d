/**
 * Why an administrative transaction was refused: one table of machine-readable reasons with what to do about each. The
 * reason is in the data of `ProposalInvalid`; docs/reference/errors.md is generated from the table.
 */
import { CocoError } from "../../errors.ts";

const define = <Reason extends string>(table: Record<Reason, string>): Readonly<Record<Reason, string>> => table;

/** What to do, by the reason of a refusal. Reasons are never reused for another meaning. */
export const REFUSALS = define({
  // order
  BeforeGenesis: "Begin the ledger with the genesis transaction.",
  SecondGenesis: "Found another network: this one has its genesis.",
  // proposals and votes
  Malformed: "Send the request in the documented format.",
  OtherNetwork: "Sign the request for this network's id.",
  OtherConstitution: "Sign the proposal again for the constitution now in force.",
  NotAMember: "Let a member of this network sign.",
  SignatureInvalid: "Sign with the key of one of the actor's certificates.",
  OtherProposal: "Sign the ballot for the proposal it goes with.",
  OtherPath: "Send the request to the path for its type, its proposal and the member that signed it.",
  DuplicateBallot: "Send one ballot per member.",
  NotEnoughVotes: "Collect more votes.",
  NothingToResolve: "Wait until the proposal's time has come.",
  InvalidCreatedAt: "Check the clock of whoever signs, and sign again.",
  ProposalReplay: "Leave it: the proposal is known. Sign a new one to propose the same again.",
  ProposalCreatedTooLongAgo:
    "Sign the proposal again, with the present time; if it was that, with one some minutes ahead, as others did.",
  ProposalNotFound: "Check the proposal's id; proposals decided long ago are in the ledger only.",
  ProposalNotOpen: "Look at what became of the proposal; make a new one if you want something else.",
  NotTheProposer: "Vote no, or let the member that made the proposal withdraw it.",
  TooManyProposals: "Wait until open proposals are decided, or withdraw one.",
  TooManyBallots: "Withdraw the proposal and make it again.",
  TooManyCriteria: "Register fewer or shorter criteria.",
  BallotNotNewer: "Sign the ballot again, with the present time, to change the vote.",
  RequestNotNewer: "Sign the request again, with the present time.",
  EffectChanged: "Look at the proposal again: it would change something else than when the ballot was signed.",
  CertificateNotValid: "Sign with a valid certificate of the member, and send those between it and the listed one.",
  ScriptFailed: "Have members replace or remove the constitution's script (set_script).",
  NotValidByScript: "Change the proposal so that the constitution's script takes it.",
  // reading actions
  NoActions: "Put at least one action into the proposal.",
  UnknownAction: "Use a name of an action that this version knows (docs/reference/actions.md).",
  UnknownField: "Remove the field, or correct its name.",
  MissingField: "Add the field that is named.",
  WrongType: "Give the field a value of the type that is named.",
  ValueInvalid: "Give the field a value that is allowed.",
  // what actions change
  NothingChanged: "Leave out what is so already.",
  NoSettings: "Name at least one setting with its new value, such as maxDelayMs, or lengthMs inside epoch.",
  ConstitutionInvalid: "Change what is named in the same proposal, or leave out the action.",
  ConstitutionTooLarge: "Remove entries that are not needed any more, in the same proposal or before it.",
  // actors
  ActorUnknown: "Name an actor of the constitution by its id.",
  ActorExists: "Choose another id, or replace the actor that has it.",
  ActorOwnsNodes: "Remove its nodes in the same proposal, or replace them by entries of another owner.",
  ActorsFull: "Remove an actor that is not needed any more.",
  LastMember: "Add another member in the same proposal.",
  WrongRole: "Use the action for the role the actor has.",
  // certificates
  CertificateMalformed: "Send an X.509 certificate.",
  CertificateExpired: "Send a certificate that is valid now.",
  CertificateKeyType: "Send a certificate with a P-256 or P-384 key.",
  CertificateUsage: "Send a CA certificate with keyCertSign, or another one with digitalSignature.",
  CertificateInUse: "Send a certificate that nobody is listed with; every actor has its own.",
  CertificateUnknown: "Name one of the actor's certificates by its SHA-256.",
  CertificatesFull: "Remove a certificate of the actor in the same proposal.",
  LastCertificate: "Add another certificate in the same proposal, or remove the actor.",
  RevocationsNotSigned:
    "Send lists that one of the actor's CA certificates has signed; replace those of a certificate that goes.",
  RevocationsNotCurrent:
    "Let the CA issue a list that is current, with a next update still to come, and send that one; or leave out its lists.",
  // nodes
  NodeUnknown: "Name a node of the VN list by its id.",
  NodeExists: "Use replace_node for a node that is listed.",
  NodeKeyInUse: "Make new keys for the node.",
  NodeKeysChanged: "Keep the keys of the node, or let it come back as another node.",
  NodeAddressInUse: "Choose an address that no other node has.",
  NodeSignatureInvalid: "Let the owner sign the entry for this network with one of its listed certificates.",
  NodeQuota: "Remove a node of this owner in the same proposal, or raise nodesPerActor.",
  NodesFull: "Remove a node in the same proposal.",
  NoNodeLeft: "Add a node in the same proposal.",
  OwnerUnknown: "Add the owner as an actor first, in the same proposal or before it.",
  SoloHasOneNode: "Found a network with raft for several nodes; solo has nobody to hand the ledger over to.",
  QuorumLost:
    "Let nodes move to other code and machines first, or remove them by remove_node in proposals before this one.",
  // code and machines
  AlreadyApproved: "Retire the entry in the same proposal if it is to be approved anew.",
  ManifestFull: "Retire an entry that is not needed any more.",
  CodeUnknown: "Name code of the code manifest by its measurement and, of hardware, its reference values.",
  CodeAmbiguous: "Name the reference values of the entry as well.",
  CodeNotInForce: "Approve the code first, or wait until it is in force.",
  TeeUnknown: "Name a machine of the TEE manifest by its key, or an entry for hardware by TEE and id.",
  TeeNotInForce: "Wait until the machine is in force, or approve it anew.",
  DateInPast: "Name a date after the present time of the ledger.",
  DatesContradict: "Name a date of end after the one of begin, and not after the one already set.",
  NoCodeInForce: "Approve other code in the same proposal that is in force whenever this is not.",
  NoTeeInForce: "Approve another machine in the same proposal that is in force whenever this is not.",
  // attestation
  EvidenceInvalid: "Let the node make its evidence anew, for the network, its own keys and the present challenge.",
  MachineInUse:
    "Run the node on a machine of its own, remove the other node first, or approve a TEE entry that allows shared machines.",
  ChallengeStale:
    "Let the node make its evidence anew, for the newest challenge: it was made too long ago, or recorded before.",
  RecordedLately: "Let the node make its evidence anew in some seconds: it was recorded a moment ago.",
  ChallengeNotDue: "Begin a challenge only when the newest one is not young any more.",
  ExpulsionNotDue: "Expel exactly the nodes whose code or machine is not in force, as far as the others can go on.",
  QuarantineNotDue: "Quarantine only nodes whose lease has ended, as far as the others can go on.",
  // policies and settings
  PolicyInvalid: "Correct the policy, so that the members there are can accept a proposal under it.",
  PolicyNeedsChange: "Change the policy that is named in the same proposal.",
  PolicyUnknown: "Name an action that has a policy of its own.",
  ConsensusFixed: "Leave out consensus: it is fixed with the genesis.",
  QuorumNotPossible: "Change the quorum or the nodes in the same proposal, so that they fit.",
  AlreadyOpen: "Leave out open_network: the network is open.",
  // adapters
  AdapterUnknown: "Name an adapter of the constitution.",
  AdapterExists: "Use configure_adapter for an adapter that is mounted.",
  MountInUse: "Choose a path that no other adapter is mounted at.",
  AdapterNotRunnable: "Correct what is named, or let members approve code that has the adapter and run it first.",
  AdaptersFull: "Remove an adapter that is not needed any more.",
  // decisions on the VN list
  NodesInvalid: "Correct the VN list.",
  NodesUnchanged: "Propose a VN list that differs from the one in force.",
  OtherBoot: "Look at the node again (GET /node/recovery), and sign for what it shows now.",
  ChangeInProgress: "Wait until the change under way has ended.",
  // membership
  NotTheNextConfiguration: "Take the next step towards the VN list.",
  TwoConfigurations: "Put one step of a change of membership into a batch.",
  QuorumDoesNotFit: "Wait until the voters fit the quorum of the settings.",
  // epochs
  EpochNumber: "Open the epoch that follows the newest one.",
  EpochNotDue: "Wait until the epoch in force has ended.",
  EpochWraps: "Wrap the epoch key to each listed node that is not quarantined.",
  EpochsFull: "Found a successor network: the room of epochs is used up.",
  EpochByRemovedNode: "Let a listed node open the epoch.",
  EpochByQuarantinedNode: "Let a node whose lease has not ended open the epoch.",
  VotersNotListed: "Wait until nodes that were voted out have lost their votes.",
  ServiceCertificate: "Send the certificate of the service that is in force.",
  ServiceEndorsement: "Send certificates by which the old and the new service identity certify each other.",
  GrantNotNeeded: "Grant keys that the node lacks.",
  NodeNotListed: "Have members vote on the node first.",
  NodeInQuarantine: "Let the node renew its lease first.",
  // snapshots
  SnapshotNotNewer: "Leave it: there is evidence of a newer snapshot.",
  SnapshotOfTheFuture: "Send evidence of a snapshot before its batch.",
});

/** Why an administrative transaction was refused. */
export type Refusal = keyof typeof REFUSALS;

/** More that is said about a refusal, for programs. */
export type RefusalData = Readonly<Record<string, string | number>>;

/** The error of a refused administrative transaction. */
export function refused(reason: Refusal, message: string, data: RefusalData = {}): CocoError {
  return new CocoError("ProposalInvalid", message, { ...data, reason });
}

function reasonOf(error: CocoError): Refusal | undefined {
  const { reason } = error.data;
  return error.code === "ProposalInvalid" && typeof reason === "string" && Object.hasOwn(REFUSALS, reason)
    ? (reason as Refusal)
    : undefined;
}

/** Whether an error refuses an administrative transaction for a reason of the table. */
export function isRefusal(error: CocoError): boolean {
  return reasonOf(error) !== undefined;
}

/** What to do about an error, by its reason if it is a refusal. */
export function remedyOf(error: CocoError): string {
  const reason = reasonOf(error);
  return reason === undefined ? error.remedy : REFUSALS[reason];
}
