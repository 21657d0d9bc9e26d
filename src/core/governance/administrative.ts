/**
 * Administrative transactions (R10, R16): signed or derived changes of the network itself, in the one order of the ledger.
 *
 * Every validating node decodes and executes them itself before it acknowledges them; execution is pure, so all come to
 * the same state or all refuse.
 */
import { EMPTY, toHex, type Bytes } from "../codec/bytes.ts";
import type { Configuration } from "../consensus/types.ts";
import type { AdministrativeTransaction, EpochTransaction, SnapshotTransaction } from "./administrative-codec.ts";
import { attestedOf, executeAttest, type AttestationState } from "./attest.ts";
import { requireDueChallenge, withChallenge } from "./challenges.ts";
import { checkNextConfiguration, genesisConfiguration } from "./configuration.ts";
import { constitutionDigest } from "./constitution-codec.ts";
import type { Constitution } from "./constitution.ts";
import { verifyConstitution } from "./constitution-verify.ts";
import { departingNodes } from "./departing-nodes.ts";
import {
  checkEpoch,
  grantKeys,
  withoutStrangers,
  type BatchPlace,
  type EpochRecord,
  type EpochsState,
} from "./epochs.ts";
import { expulsionEffect } from "./expulsion.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { executeQuarantine, leasesAfter, type LeasesState, type QuarantineTransaction } from "./leases.ts";
import type { SignedMessage } from "./proposal.ts";
import { executeRequest, type ProposalsState } from "./proposal-requests.ts";
import { refused } from "./refusal.ts";
import { removalProposal, withdrawSettledRemovals } from "./removal-proposals.ts";
import { settleProposal, withProposal, type SettledState } from "./settle.ts";
import { nextServices, type ServiceState } from "./service-chain.ts";
import { CocoError } from "../../errors.ts";

/** The constitution in force. */
export interface StandingConstitution {
  /** Lower-case hex SHA-256 of the genesis constitution. */
  readonly networkId: string;
  readonly constitution: Constitution;
  readonly constitutionDigest: Bytes;
}

/** What administrative transactions have made of the network. */
export interface GovernanceState
  extends StandingConstitution,
    EpochsState,
    ServiceState,
    AttestationState,
    LeasesState,
    Omit<ProposalsState, "attested"> {
  /** Epochs so far; the last one is in force. */
  readonly epochs: readonly EpochRecord[];
  /** Who takes part in consensus. */
  readonly configuration: Configuration;
  /** An epoch is to be opened, because members voted for it or somebody lost access. */
  readonly epochDue: boolean;
  /** Newest evidence of a snapshot. */
  readonly snapshot: Pick<SnapshotTransaction, "index" | "seqno" | "digest"> | undefined;
}

/**
 * Executes a transaction on the state before it (undefined before genesis) and returns the state after it; `place` is its
 * batch's. Throws `ConstitutionInvalid` or `ProposalInvalid` and changes nothing when it does not hold.
 */
export function executeAdministrative(
  state: GovernanceState | undefined,
  transaction: AdministrativeTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  return withChallenge(executed(state, transaction, place, crypto), place, crypto.sha256);
}

function executed(
  state: GovernanceState | undefined,
  transaction: AdministrativeTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (transaction.type === "genesis") return executeGenesis(state, transaction.constitution, place, crypto);
  if (state === undefined) throw refused("BeforeGenesis", "the first transaction of a network is its genesis");
  switch (transaction.type) {
    case "epoch":
      return executeEpoch(state, transaction, place, crypto);
    case "request": {
      const { message, chain } = transaction;
      return enacted(executeRequest(state, { message, chain }, place, crypto), place, crypto);
    }
    case "resolve":
      return enacted(executeResolve(state, transaction.proposalId, place, crypto), place, crypto);
    case "configure":
      return executeConfigure(state, transaction);
    case "snapshot":
      return executeSnapshot(state, transaction, place);
    case "grant":
      return { ...state, epochs: grantKeys(state, transaction.nodeId, transaction.keys) };
    case "attest":
      return withdrawSettledRemovals(
        { ...state, ...executeAttest(state, transaction, place.timeMs, crypto) },
        place.timeMs,
      );
    case "expel":
      return enacted({ state, effect: expulsionEffect(state, transaction, place.timeMs, crypto) }, place, crypto);
    case "quarantine":
      return quarantined(state, transaction, place, crypto);
    case "challenge":
      requireDueChallenge(state, place.timeMs);
      return state;
  }
}

function executeGenesis(
  state: GovernanceState | undefined,
  constitution: Constitution,
  { timeMs }: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (state !== undefined) throw refused("SecondGenesis", "the network has its genesis already");
  if (constitution.version !== 1)
    throw new CocoError("ConstitutionInvalid", "version: a genesis constitution has version 1", { field: "version" });
  verifyConstitution(constitution, crypto);
  const digest = constitutionDigest(constitution, crypto.sha256);
  return {
    networkId: toHex(digest),
    constitution,
    constitutionDigest: digest,
    epochs: [],
    services: [],
    serviceRotationDue: false,
    configuration: genesisConfiguration(constitution),
    epochDue: false,
    snapshot: undefined,
    departing: [],
    proposals: [],
    recentRequests: [],
    automaticVotes: [],
    attested: new Map(),
    challenges: [],
    leases: leasesAfter({ constitution, leases: new Map() }, constitution, timeMs),
  };
}

function executeEpoch(
  state: GovernanceState,
  transaction: EpochTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  checkEpoch(state, transaction, place);
  const { epoch, wraps, sealedServiceKey } = transaction;
  const services = nextServices(state, transaction, place.firstSeqno, crypto);
  const opened = { openedAtMs: place.timeMs, openedAtSeqno: place.firstSeqno };
  const epochs = [...withoutStrangers(state), { epoch, wraps, sealedServiceKey, ...opened }];
  return { ...state, epochs, services, serviceRotationDue: false, epochDue: false, departing: [] };
}

function executeResolve(
  state: GovernanceState,
  proposalId: string,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): SettledState<GovernanceState> {
  const settled = settleProposal(state, proposalId, place.timeMs, crypto);
  if (settled.state === state) throw refused("NothingToResolve", `proposal ${proposalId} stands as it stood`);
  return settled;
}

/** Nodes whose lease has ended, and a proposal to remove each, which members' automatic votes may decide at once. */
function quarantined(
  state: GovernanceState,
  { nodeIds }: QuarantineTransaction,
  place: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  let after: GovernanceState = { ...state, leases: executeQuarantine(state, { nodeIds }, place.timeMs) };
  for (const nodeId of nodeIds) {
    const proposal = removalProposal(nodeId, place, after.constitution.policies, crypto.sha256);
    const settled = settleProposal(withProposal(after, proposal), proposal.id, place.timeMs, crypto);
    after = enacted(settled, place, crypto);
  }
  return after;
}

/** The state with what a proposal has brought about, if it took effect. */
function enacted(
  { state, effect }: SettledState<GovernanceState>,
  { timeMs }: BatchPlace,
  crypto: GovernanceCrypto,
): GovernanceState {
  if (effect === undefined) return state;
  const { constitution, opensEpoch, rotatesService } = effect;
  const after = {
    ...state,
    constitution,
    constitutionDigest: constitutionDigest(constitution, crypto.sha256),
    epochDue: state.epochDue || opensEpoch || rotatesService,
    serviceRotationDue: state.serviceRotationDue || rotatesService,
    departing: departingNodes(state, constitution),
    attested: attestedOf(state.attested, constitution),
    leases: leasesAfter(state, constitution, timeMs),
  };
  return withdrawSettledRemovals(after, timeMs);
}

function executeConfigure(state: GovernanceState, { current, previous, learners }: Configuration): GovernanceState {
  const configuration = { current, previous, learners };
  checkNextConfiguration(state.configuration, configuration, state.constitution);
  return { ...state, configuration };
}

function executeSnapshot(
  state: GovernanceState,
  { index, seqno, digest }: SnapshotTransaction,
  place: BatchPlace,
): GovernanceState {
  const { snapshot } = state;
  if (snapshot !== undefined && (index <= snapshot.index || seqno <= snapshot.seqno))
    throw refused("SnapshotNotNewer", "there is evidence of a newer snapshot");
  // Every batch has a signature transaction of its own, so that sequence numbers are never behind indexes.
  if (index >= place.index || seqno >= place.firstSeqno || seqno < index)
    throw refused("SnapshotOfTheFuture", "evidence is of a snapshot before the batch that holds it");
  return { ...state, snapshot: { index, seqno, digest } };
}

/** The place of a transaction that is only tried out: its time counts. */
export function placeAt(timeMs: number): BatchPlace {
  return { index: 1, firstSeqno: 1, timeMs, previousDigest: EMPTY };
}

/** The state with these requests executed in order; those that do not hold change nothing. */
export function withRequests(
  state: GovernanceState,
  messages: readonly SignedMessage[],
  nowMs: number,
  crypto: GovernanceCrypto,
): GovernanceState {
  let after = state;
  for (const message of messages) {
    try {
      after = executeAdministrative(after, { type: "request", ...message }, placeAt(nowMs), crypto);
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
    }
  }
  return after;
}
