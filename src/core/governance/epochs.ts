/**
 * Epochs (R26): spans of the ledger sealed under one key. The key of an epoch stands in the transaction that opens it,
 * wrapped to each listed validating node that is not quarantined; who joins later, or renews its lease, is granted the keys
 * before. The rules here need no key.
 */
import type { Bytes } from "../codec/bytes.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import { allVotersListed, listedNodes, votersOf } from "./configuration.ts";
import type { Constitution } from "./constitution.ts";
import { isQuarantined, nodesInGoodStanding, type Leases } from "./leases.ts";
import { refused } from "./refusal.ts";

/** Largest wrapped epoch key in bytes. */
export const MAX_WRAPPED_KEY_BYTES = 128;
/** Largest sealed service key in bytes. */
export const MAX_SEALED_SERVICE_KEY_BYTES = 1024;
/** Most bytes all epochs take in the governance state; no epoch opens beyond: 9,000 epochs of 5 nodes, 1,000 of 64. */
export const MAX_EPOCHS_BYTES = 8 * 1024 * 1024;
/**
 * Most bytes epochs may take for another to be due by time or by the number of transactions,
 * three quarters of all room: whoever drives a leader's clock or
 * its load must not take the room of epochs due by a vote or a removal, nor that of grants.
 */
export const MAX_SCHEDULED_EPOCHS_BYTES = 6 * 1024 * 1024;
/** Most keys one grant hands over; a node that lacks more gets several grants. */
export const MAX_GRANT_KEYS = 1000;

const NODE_ID_BYTES = 32;
/** What the encoding adds to each wrap, and to each epoch, at most. */
const WRAP_OVERHEAD = 8;
const EPOCH_OVERHEAD = 128;

/** The epoch key, encrypted to one validating node. */
export interface WrappedKey {
  readonly nodeId: NodeId;
  readonly wrapped: Bytes;
}

/** An epoch as the ledger knows it. */
export interface EpochRecord {
  /** 1 for the first epoch, one more with each. */
  readonly epoch: number;
  /**
   * One per validating node that was listed and not quarantined when the epoch opened, in the order of the VN list; then those
   * granted since.
   */
  readonly wraps: readonly WrappedKey[];
  /** The service's private key, sealed under the epoch key. */
  readonly sealedServiceKey: Bytes;
  /** Wall clock of the batch that opened the epoch, milliseconds since 1970. */
  readonly openedAtMs: number;
  /** First sequence number of the batch that opened the epoch. */
  readonly openedAtSeqno: number;
}

/** The key of an earlier epoch for a node that joined after it. */
export interface GrantedKey {
  readonly epoch: number;
  readonly wrapped: Bytes;
}

/** Where a batch stands in the ledger: the part of its header that rules look at. */
export interface BatchPlace {
  readonly index: number;
  readonly firstSeqno: number;
  /** Wall clock of the leader that made it, milliseconds since 1970. */
  readonly timeMs: number;
  /** Digest of the batch before. */
  readonly previousDigest: Bytes;
}

/** The part of the governance state that epochs depend on. */
export interface EpochsState {
  readonly constitution: Constitution;
  readonly configuration: Configuration;
  readonly epochs: readonly EpochRecord[];
  readonly epochDue: boolean;
  readonly leases: Leases;
}

/** How far the epoch in force has come. */
export interface EpochProgress {
  /** Wall clock now, in milliseconds since 1970: the time a batch made now would have. */
  readonly now: number;
  /** When the epoch in force was opened. */
  readonly epochOpenedAtMs: number;
  /** Transactions since. */
  readonly transactionsInEpoch: number;
}

/** The progress of the epoch in force, from its record. */
export function epochProgress(state: Pick<EpochsState, "epochs">, now: number, nextSeqno: number): EpochProgress {
  const newest = state.epochs.at(-1);
  return {
    now,
    epochOpenedAtMs: newest?.openedAtMs ?? now,
    transactionsInEpoch: nextSeqno - (newest?.openedAtSeqno ?? nextSeqno),
  };
}

/**
 * Whether the next epoch should be opened: because there is none, because of a vote or a removal, by time or by the number
 * of transactions. Never while it may not be: see {@link mayOpenEpoch}.
 */
export function epochIsDue(state: EpochsState, progress: EpochProgress): boolean {
  return mayOpenEpoch(state) && isDue(state, progress);
}

function isDue(state: EpochsState, progress: EpochProgress): boolean {
  if (isDueByGovernance(state)) return true;
  return (isDueByQuarantine(state) || isDueBySchedule(state, progress)) && hasRoomForScheduled(state);
}

function isDueByGovernance({ epochs, epochDue }: EpochsState): boolean {
  return epochs.length === 0 || epochDue;
}

/** A quarantined node has the key in force. Such epochs have the room of scheduled ones: a node's host can bring them about. */
function isDueByQuarantine({ epochs, leases }: EpochsState): boolean {
  return epochs.at(-1)?.wraps.some(({ nodeId }) => isQuarantined({ leases }, nodeId)) === true;
}

function isDueBySchedule({ constitution }: EpochsState, progress: EpochProgress): boolean {
  const { lengthMs, transactions } = constitution.settings.epoch;
  if (lengthMs > 0 && progress.now - progress.epochOpenedAtMs >= lengthMs) return true;
  return transactions > 0 && progress.transactionsInEpoch >= transactions;
}

function hasRoomForScheduled(state: EpochsState): boolean {
  return hasRoomFor(state, state.constitution.nodes.length, MAX_SCHEDULED_EPOCHS_BYTES);
}

/**
 * Whether an epoch may be opened now. Not while a node that was voted out still has a vote: it could lead, and so would make
 * the very key that is to be kept from it. Not when the governance state has no room for another one.
 */
export function mayOpenEpoch(state: EpochsState): boolean {
  return allVotersListed(state.configuration, state.constitution) && hasRoomFor(state, state.constitution.nodes.length);
}

function wrapBytes(wraps: readonly { readonly wrapped: Bytes }[]): number {
  return wraps.reduce((total, { wrapped }) => total + wrapped.length + NODE_ID_BYTES + WRAP_OVERHEAD, 0);
}

/** Bytes that epochs take in the encoded governance state, at most. */
export function epochsBytes(epochs: readonly EpochRecord[]): number {
  return epochs.reduce(
    (total, { wraps, sealedServiceKey }) => total + EPOCH_OVERHEAD + sealedServiceKey.length + wrapBytes(wraps),
    0,
  );
}

/** Whether another epoch with this many wraps fits, or so many granted keys; judged by their largest sizes. */
function hasRoomFor({ epochs }: Pick<EpochsState, "epochs">, wraps: number, limit = MAX_EPOCHS_BYTES): boolean {
  const largest = wraps * (NODE_ID_BYTES + WRAP_OVERHEAD + MAX_WRAPPED_KEY_BYTES);
  return epochsBytes(epochs) + EPOCH_OVERHEAD + MAX_SEALED_SERVICE_KEY_BYTES + largest <= limit;
}

/** Throws `ProposalInvalid` unless the next epoch is due and its key is wrapped to exactly the nodes that are to have it. */
export function checkEpoch(
  state: EpochsState,
  { epoch, wraps }: Pick<EpochRecord, "epoch" | "wraps">,
  place: BatchPlace,
): void {
  const { epochs, constitution, configuration } = state;
  if (epoch !== epochs.length + 1)
    throw refused("EpochNumber", `epoch ${epoch} does not follow epoch ${epochs.length}`);
  if (!allVotersListed(configuration, constitution))
    throw refused("VotersNotListed", "no epoch opens before every node that was voted out has lost its vote");
  const byGovernance = isDueByGovernance(state);
  const progress = epochProgress(state, place.timeMs, place.firstSeqno);
  if (!byGovernance && !isDueByQuarantine(state) && !isDueBySchedule(state, progress))
    throw refused("EpochNotDue", `epoch ${epochs.length} has not ended`);
  const limit = byGovernance ? MAX_EPOCHS_BYTES : MAX_SCHEDULED_EPOCHS_BYTES;
  if (!hasRoomFor(state, constitution.nodes.length, limit))
    throw refused("EpochsFull", `such epochs take at most ${limit} bytes of the governance state`);
  const nodes = nodesInGoodStanding(state);
  const complete = wraps.length === nodes.length && nodes.every((node, at) => wraps[at]?.nodeId === node.nodeId);
  if (!complete)
    throw refused(
      "EpochWraps",
      "an epoch key is wrapped to each validating node that is not quarantined, in the order of the VN list",
    );
}

/** Epochs whose key a node is to be granted, oldest first, at most as many as one grant hands over and there is room for. */
export function missingEpochs(state: Pick<EpochsState, "epochs" | "leases">, nodeId: NodeId): readonly number[] {
  if (isQuarantined(state, nodeId)) return [];
  const missing = state.epochs
    .filter(({ wraps }) => !wraps.some((wrap) => wrap.nodeId === nodeId))
    .map(({ epoch }) => epoch)
    .slice(0, MAX_GRANT_KEYS);
  return hasRoomFor(state, missing.length) ? missing : [];
}

/** Throws `ProposalInvalid` unless the node is listed and lacks every key that is granted; returns the epochs after it. */
export function grantKeys(state: EpochsState, nodeId: NodeId, keys: readonly GrantedKey[]): readonly EpochRecord[] {
  if (!listedNodes(state.constitution).includes(nodeId))
    throw refused("NodeNotListed", "keys are granted to listed validating nodes only");
  if (isQuarantined(state, nodeId)) throw refused("NodeInQuarantine", `node ${nodeId} is quarantined`);
  const granted = new Map(keys.map(({ epoch, wrapped }) => [epoch, wrapped]));
  const needed = new Set(
    state.epochs.filter(({ wraps }) => !wraps.some((wrap) => wrap.nodeId === nodeId)).map(({ epoch }) => epoch),
  );
  const fits = keys.length > 0 && granted.size === keys.length && keys.every(({ epoch }) => needed.has(epoch));
  if (!fits) throw refused("GrantNotNeeded", "a grant names each epoch once, and only such as the node has no key of");
  if (!hasRoomFor(state, keys.length))
    throw refused("EpochsFull", `epochs take at most ${MAX_EPOCHS_BYTES} bytes of the governance state`);
  return state.epochs.map((record) => {
    const wrapped = granted.get(record.epoch);
    return wrapped === undefined ? record : { ...record, wraps: [...record.wraps, { nodeId, wrapped }] };
  });
}

/** The epochs without the wraps of nodes that are neither listed nor voters. */
export function withoutStrangers({ epochs, constitution, configuration }: EpochsState): readonly EpochRecord[] {
  const known = new Set([...listedNodes(constitution), ...votersOf(configuration)]);
  return epochs.map((record) =>
    record.wraps.every(({ nodeId }) => known.has(nodeId))
      ? record
      : { ...record, wraps: record.wraps.filter(({ nodeId }) => known.has(nodeId)) },
  );
}
