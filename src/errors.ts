/**
 * The one table of error codes. Every error this project throws or answers with is named here, with the HTTP status
 * a client sees and a sentence that says what to do. The wire shape is `{"error":{"code","message","remedy"}}`.
 */

interface ErrorDefinition {
  /** HTTP status a client sees when the error leaves a validating node. */
  readonly status: number;
  /** What the reader can do about it; shown by the command line and in the generated reference. */
  readonly remedy: string;
}

const define = <T extends Record<string, ErrorDefinition>>(table: T): Readonly<T> => table;

/** Every error code, grouped by the part that raises it. Codes are never reused for another meaning. */
export const ERRORS = define({
  // codec
  MalformedInput: { status: 400, remedy: "Send input in the documented format." },
  LimitExceeded: { status: 413, remedy: "Send less, or raise the limit (docs/reference/limits.md)." },
  // requests
  NotFound: { status: 404, remedy: "Check the path; `GET /node/api` lists what this node serves." },
  MethodNotAllowed: { status: 405, remedy: "Use the HTTP method the endpoint documents." },
  AuthenticationRequired: { status: 401, remedy: "Present a client certificate of a listed member or participant." },
  CertificateUnknown: {
    status: 401,
    remedy: "Present a certificate the constitution lists, or one its CA issued, with the certificates between them.",
  },
  CertificateExpired: {
    status: 401,
    remedy: "Issue a new certificate under the organisation's CA, or propose a new one for the constitution.",
  },
  CertificateRevoked: { status: 401, remedy: "Use another certificate; the organisation has revoked this one." },
  CertificateInvalid: {
    status: 401,
    remedy: "Issue a certificate that may be used for this (docs/members/README.md#identity), or renew what is named.",
  },
  TooManyRequests: { status: 503, remedy: "Retry after a short wait; the queue of the node is full." },
  NetworkNotOpen: {
    status: 503,
    remedy: "Wait until the members have opened the network (docs/members/README.md#rights-of-actors).",
  },
  ActorNotAllowed: {
    status: 403,
    remedy:
      "The transaction was not executed: the members took the sender's right to transact away before it was ordered.",
  },
  ParticipantBanned: {
    status: 403,
    remedy: "Ask the members to lift the ban; GET /gov and /node can still be read.",
  },
  RequestLimitExceeded: {
    status: 429,
    remedy: "Retry after the time that the header retry-after names; the members limit this participant's requests.",
  },
  AdapterUnavailable: {
    status: 503,
    remedy: "Ask another node: the code of this one cannot run the adapter. Its operator finds the reason in its log.",
  },
  WorkerLost: {
    status: 503,
    remedy:
      "Retry after a short wait, or ask another node. What was sent may be committed, and is never executed twice.",
  },
  WorkerBreach: {
    status: 500,
    remedy: "Nothing to do: the worker that broke a rule was ended and begun again. Report what the log says.",
  },
  NoLeader: { status: 503, remedy: "Retry; the network is electing a leader or has lost its quorum." },
  RequestTimeout: { status: 504, remedy: "Ask for the outcome by transaction id or hash before sending again." },
  MissingApiVersionParameter: {
    status: 400,
    remedy: "Add the query parameter api-version to the path (docs/reference/governance-api.md#versions).",
  },
  UnsupportedApiVersionValue: {
    status: 400,
    remedy: "Use an api-version that is supported (docs/reference/governance-api.md#versions).",
  },
  NotAuthorized: { status: 403, remedy: "Let a member ask; the constitution says who is one." },
  ProposalNotFound: {
    status: 404,
    remedy: "Check the proposal's id; proposals decided long ago are in the ledger only.",
  },
  VoteNotFound: { status: 404, remedy: "Check the member's id; it may not have cast a ballot on this proposal." },
  TransactionNotCommitted: { status: 404, remedy: "Retry once the transaction is committed." },
  // node life cycle
  NotReady: { status: 503, remedy: "Retry; the node is starting or catching up." },
  ConfigurationInvalid: { status: 500, remedy: "Correct the named file or field." },
  FolderOfAnotherNetwork: { status: 500, remedy: "Start the node with the folder that belongs to this network." },
  FolderInUse: { status: 500, remedy: "Stop the process that uses the folder, or name another one." },
  PortTaken: { status: 500, remedy: "Stop the process that holds the port, or choose another with --port." },
  NodeRemoved: {
    status: 410,
    remedy: "Ask the members why. To come back, the node is voted in again and then runs `coco node join`.",
  },
  NodeQuarantined: {
    status: 503,
    remedy: "Ask another node; this one comes back by itself when evidence of what it runs is recorded again.",
  },
  NodeProcessFailed: { status: 500, remedy: "Read the log of the node that is named; its last lines are shown." },
  // ledger
  LedgerIncomplete: {
    status: 500,
    remedy:
      "A node: put back what was in its own folder, never another node's; where others joined its network, run `coco node join`. " +
      "An auditor: take the folder of a node that has it; check the transaction id and the network, if you named one.",
  },
  LedgerUnfinished: {
    status: 500,
    remedy:
      "After a crash: start the node. An auditor: copy the folder again while the node is stopped, " +
      "or take that of another node.",
  },
  LedgerOfAnotherService: {
    status: 500,
    remedy: "Name the certificate of this network's service, newest or older; or the folder of a node of that network.",
  },
  LedgerCorrupt: {
    status: 500,
    remedy:
      "Keep the folder. What is missing: put it back. Else a node of several: move the ledger away and start it while " +
      "all others are up. A node alone, or an auditor: take a copy.",
  },
  LedgerTooNew: {
    status: 500,
    remedy: "Start the node with the version of the program that wrote the ledger, or a newer one.",
  },
  LedgerForked: {
    status: 500,
    remedy:
      "Keep the folder and find the peer that sent the other history; it proves nothing before its signature is verified.",
  },
  StateDiverged: {
    status: 500,
    remedy: "Keep the folder as evidence; move the ledger away and start the node again while all other nodes are up.",
  },
  DiskFailed: { status: 500, remedy: "Check the disk, then start the node again." },
  // attestation and channels
  EvidenceRejected: { status: 403, remedy: "Compare the evidence with the code and TEE manifests." },
  AttestationFailed: { status: 500, remedy: "Check that the node's TEE is there and gives evidence." },
  CodeNotApproved: { status: 403, remedy: "Propose the measurement for the code manifest and let members vote." },
  TeeUnavailable: {
    status: 500,
    remedy: "Check that the machine is a confidential one and that the node may use what makes its evidence.",
  },
  SealedElsewhere: {
    status: 500,
    remedy:
      "Start the node on the machine, with the code and the --seal-to that its keys were made with, or put an unchanged copy of " +
      "sealed.keys back. Keys that are lost do not come back: make a new node and let it join (docs/operators/tees.md#sealing).",
  },
  CollateralUnavailable: {
    status: 500,
    remedy: "Check that the node reaches the service for collateral that it is configured with, or that one's cache.",
  },
  PeerNotListed: { status: 403, remedy: "Propose the validating node for the VN list." },
  ChannelFailed: { status: 502, remedy: "Check that the peer runs and that its advertised address is reachable." },
  // joining
  JoinChallengeUnknown: { status: 403, remedy: "Ask for a new challenge: each is good for one request." },
  JoinChallengeExpired: { status: 403, remedy: "Ask for a new challenge, and use it at once." },
  JoinOtherNetwork: { status: 403, remedy: "Name a node of the network this node is to join." },
  JoinKeyMismatch: { status: 403, remedy: "Send the node id that is the SHA-256 of the node's public key." },
  JoinEvidenceMalformed: { status: 403, remedy: "Send evidence as this version of the program makes it." },
  JoinTeeUnknown: { status: 403, remedy: "Run the node on a TEE that this version of the network knows." },
  JoinSignatureInvalid: { status: 403, remedy: "Let the TEE of the node's own machine sign the evidence." },
  JoinCodeMismatch: { status: 403, remedy: "Send evidence of the code that the request names." },
  JoinBindingMismatch: {
    status: 403,
    remedy: "Make the evidence for this network, the node's own keys and the challenge it was given.",
  },
  JoinConfigurationMismatch: {
    status: 403,
    remedy:
      "Make the evidence for the node's code and addresses, and for the constitution that came with the challenge.",
  },
  JoinConstitutionDiffers: {
    status: 403,
    remedy: "Ask for a new challenge: it comes with the constitution now in force. `coco node join` does so by itself.",
  },
  JoinCodeNotApproved: {
    status: 403,
    remedy: "Run approved code, or propose the measurement for the code manifest and let members vote.",
  },
  JoinTeeNotApproved: { status: 403, remedy: "Propose the machine for the TEE manifest and let members vote." },
  JoinMachineInUse: {
    status: 403,
    remedy: "Run the node on a machine that no other node is recorded on, or let members allow shared machines.",
  },
  JoinNotListed: {
    status: 403,
    remedy: "Wait for the members' vote on the node, then join; `coco node join` waits by itself.",
  },
  JoinEntryDiffers: {
    status: 403,
    remedy: "Have members vote on the node's present entry (replace_node), or use the folder the entry was made in.",
  },
  JoinAnswerUntrusted: {
    status: 502,
    remedy:
      "Trust nothing of this answer: ask another node, and compare network id and service certificate with a member.",
  },
  JoinNotApproved: {
    status: 403,
    remedy: "Compare the digest with a member, then run the command again with --approve DIGEST.",
  },
  // governance
  ConstitutionInvalid: { status: 400, remedy: "Correct the named field of the constitution." },
  ProposalInvalid: { status: 400, remedy: "Sign the proposal again for the constitution now in force." },
  // clients
  WrongUsage: { status: 400, remedy: "See the command's --help." },
  CannotConnect: { status: 502, remedy: "Check the address, and that the node runs and can be reached from here." },
  ServiceNotTrusted: {
    status: 502,
    remedy: "Name this network's service certificate, and an address that the node's own certificate lists.",
  },
  AnswerInvalid: {
    status: 502,
    remedy: "Check that the address is of a validating node, of a version that fits this one.",
  },
  ConstitutionDiffers: {
    status: 409,
    remedy: "Compare with another owner's node; do not trust this one until you know which constitution is in force.",
  },
  EffectNotVerified: { status: 409, remedy: "Do not vote; ask another node what the proposal does, and compare." },
  SignerFailed: { status: 500, remedy: "Check what holds the key, and that key and certificate belong together." },
  // receipts
  ReceiptInvalid: {
    status: 400,
    remedy:
      "If the service has changed its identity since, give its endorsements (--endorsements); else ask another node for the receipt.",
  },
  // broken invariant: a fault in this program
  Internal: { status: 500, remedy: "Report it with the log around it; the node keeps its ledger safe." },
});

/** A code of the table {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code and typed data; the only class this project throws. */
export class CocoError extends Error {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, string | number | boolean>>;

  constructor(
    code: ErrorCode,
    message: string,
    data: Readonly<Record<string, string | number | boolean>> = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = "CocoError";
    this.code = code;
    this.data = data;
  }

  /** HTTP status of this error. */
  get status(): number {
    return ERRORS[this.code].status;
  }

  /** What the reader can do about it. */
  get remedy(): string {
    return ERRORS[this.code].remedy;
  }
}

/** Throws an `Internal` error unless the invariant holds; kept on in production. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CocoError("Internal", message);
}
