/**
 * Administrative transactions on this node: each is executed when its batch enters the log, before it is acknowledged,
 * and takes effect when the batch is committed. A truncated log takes the states of its batches with it.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import {
  executeAdministrative,
  type GovernanceState,
  placeAt,
  withRequests,
} from "../../core/governance/administrative.ts";
import type { AdministrativeTransaction } from "../../core/governance/administrative-codec.ts";
import { signingKeys } from "../../core/governance/departing-nodes.ts";
import { executeAdministrativeBatch } from "../../core/governance/administrative-batch.ts";
import { votersOf } from "../../core/governance/configuration.ts";
import type { Constitution, NodeEntry } from "../../core/governance/constitution.ts";
import { attestChallenge } from "../../core/governance/attest.ts";
import { dueExpulsion, type DueExpulsion } from "../../core/governance/expulsion.ts";
import { type GovernanceStep, type LeaderView, nextStep } from "../../core/governance/next-step.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { dueProposal } from "../../core/governance/settle.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { Configuration, NodeId } from "../../core/consensus/types.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { LogGovernance } from "./verified-log.ts";

interface StateAt {
  readonly index: number;
  readonly state: GovernanceState;
  /** Index of the batch that brought the configuration; 0 for that of genesis. */
  readonly configurationIndex: number;
}

/** Governance as this node's log tells it; see the module's header. */
export class Administration implements LogGovernance {
  readonly #genesis: Constitution;
  readonly #networkId: string;
  readonly #crypto: GovernanceCrypto;
  readonly #joined: Constitution | undefined;
  /** States in the order of their batches: the first is the committed one once there is one. */
  #states: StateAt[] = [];
  #committedIndex = 0;
  #keys = new Map<NodeId, Bytes>();

  /**
   * @param genesis the constitution this node was started with; the ledger must begin with it
   * @param joined the one its owner approved when it joined: counts until the log has come as far
   */
  constructor(genesis: Constitution, networkId: string, crypto: GovernanceCrypto, joined?: Constitution) {
    this.#joined = joined;
    this.#genesis = genesis;
    this.#networkId = networkId;
    this.#crypto = crypto;
    this.#listKeys();
  }

  /** State after the newest administrative batch of the log; undefined before genesis. */
  get appended(): GovernanceState | undefined {
    return this.#states.at(-1)?.state;
  }

  /** State in effect; undefined before genesis is committed. */
  get committed(): GovernanceState | undefined {
    return this.#states.findLast(({ index }) => index <= this.#committedIndex)?.state;
  }

  /** The committed configuration of consensus, and the index of the batch that brought it (0: genesis). */
  get committedConfiguration(): { readonly configuration: Configuration; readonly configurationIndex: number } {
    const at = this.#states.findLast(({ index }) => index <= this.#committedIndex);
    invariant(at !== undefined, "genesis is committed");
    return { configuration: at.state.configuration, configurationIndex: at.configurationIndex };
  }

  /** The newest constitution this node knows: the one to authenticate nodes by. */
  get constitution(): Constitution {
    const told = this.appended?.constitution ?? this.#genesis;
    return this.#joined !== undefined && this.#joined.version > told.version ? this.#joined : told;
  }

  /** Public key (SubjectPublicKeyInfo, DER) of a node whose signature counts: a listed one, or one that is leaving. */
  publicKeyOf(nodeId: NodeId): Bytes | undefined {
    return this.#keys.get(nodeId);
  }

  /** The entry of a node that may have a channel to this one: a listed one, or one that was voted out and still votes. */
  nodeOf(nodeId: NodeId): NodeEntry | undefined {
    const listed = this.constitution.nodes.find((node) => node.nodeId === nodeId);
    if (listed !== undefined || this.appended === undefined) return listed;
    const { configuration, departing } = this.appended;
    return votersOf(configuration).includes(nodeId) ? departing.find((node) => node.nodeId === nodeId) : undefined;
  }

  /** Executes the transactions of a batch that enters the log; throws, with nothing changed, when one does not hold. */
  append(batch: ParsedBatch): void {
    const { kind, epoch, index } = batch.header;
    const epochs = this.appended?.epochs.length ?? 0;
    if (epoch > epochs)
      throw new CocoError("LedgerCorrupt", `batch ${index} is sealed under epoch ${epoch} of ${epochs}`, { index });
    this.#requirePlace(batch);
    if (kind !== "administrative") return;
    const state = executeAdministrativeBatch(this.appended, batch, this.#crypto);
    this.#requireNetwork(state);
    const before = this.#states.at(-1);
    const reconfigured = before !== undefined && before.state.configuration !== state.configuration;
    this.#states.push({ index, state, configurationIndex: reconfigured ? index : (before?.configurationIndex ?? 0) });
    this.#listKeys();
  }

  /**
   * A batch was made under the constitution in force at its place: what was judged by an older one, or is of an adapter that
   * is not mounted there, has no place behind the change.
   */
  #requirePlace({ header: { index, kind, adapterId, governanceVersion } }: ParsedBatch): void {
    const constitution = this.appended?.constitution;
    const refuse = (what: string) => new CocoError("LedgerCorrupt", `batch ${index} ${what}`, { index });
    const version = constitution?.version ?? 0;
    if (governanceVersion !== version)
      throw refuse(`was made under governance version ${governanceVersion}, not ${version}`);
    if (kind === "application" && constitution?.adapters.every(({ id }) => id !== adapterId) !== false)
      throw refuse(`is of adapter ${adapterId}, which is not mounted`);
  }

  /** Drops the states of batches from this index on. */
  truncate(fromIndex: number): void {
    this.#states = this.#states.filter(({ index }) => index < fromIndex);
    this.#listKeys();
  }

  /** A copy without the states of batches from this index on, which must not be committed. */
  before(index: number): Administration {
    const copy = new Administration(this.#genesis, this.#networkId, this.#crypto);
    copy.#committedIndex = this.#committedIndex;
    copy.#states = this.#states;
    copy.truncate(index);
    return copy;
  }

  /** Starts from a verified snapshot instead of the log: the state after the batch of this index, which is committed. */
  restore(state: GovernanceState, index: number, configurationIndex: number): void {
    invariant(index >= this.#committedIndex, "a snapshot takes nothing committed back");
    this.#requireNetwork(state);
    this.#states = [{ index, state, configurationIndex }];
    this.#committedIndex = index;
    this.#listKeys();
  }

  #requireNetwork({ networkId }: GovernanceState): void {
    if (networkId === this.#networkId) return;
    const message = `the ledger belongs to network ${networkId}, not ${this.#networkId}`;
    throw new CocoError("FolderOfAnotherNetwork", message);
  }

  /** Throws `NotReady` before genesis, or `ProposalInvalid` saying why a request does not hold for the newest state of the log. */
  check(message: SignedMessage, nowMs: number): void {
    this.tryOut({ type: "request", ...message }, nowMs);
  }

  /** As {@link Administration.check}, for any transaction. */
  tryOut(transaction: AdministrativeTransaction, nowMs: number): void {
    if (this.appended === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
    executeAdministrative(this.appended, transaction, placeAt(nowMs), this.#crypto);
  }

  /** What governance in effect wants done next; undefined before genesis is committed. */
  nextStep(view: LeaderView): GovernanceStep | undefined {
    const state = this.committed;
    return state && nextStep(state, view, this.#crypto);
  }

  /** What the evidence of a node is to be for, by the newest state of the log. */
  attestChallenge(nodeId: NodeId): Bytes | undefined {
    return this.appended && attestChallenge(this.appended, nodeId, this.#crypto.sha256);
  }

  /** Who is to be expelled by governance in effect, at this time. */
  dueExpulsion(nowMs: number): DueExpulsion | undefined {
    const state = this.committed;
    return state && dueExpulsion(state, nowMs, this.#crypto);
  }

  /** A proposal that stands otherwise at this time than the newest state of the log says. */
  dueProposal(nowMs: number): string | undefined {
    return this.appended && dueProposal(this.appended, nowMs, this.#crypto);
  }

  /** What is recorded of the nodes by governance in effect. */
  get attested(): GovernanceState["attested"] {
    return this.committed?.attested ?? new Map();
  }

  /** The constitution as it would be with these requests; those that do not hold change nothing. */
  constitutionWith(messages: readonly SignedMessage[], nowMs: number): Constitution {
    if (this.constitution === this.#joined) return this.#joined;
    const state =
      this.appended ??
      executeAdministrative(undefined, { type: "genesis", constitution: this.#genesis }, placeAt(nowMs), this.#crypto);
    return withRequests(state, messages, nowMs, this.#crypto).constitution;
  }

  /** The batch at this index is committed; its state, if it is administrative, is in effect. */
  commit(index: number): GovernanceState | undefined {
    this.#committedIndex = index;
    const state = this.committed;
    this.#states = this.#states.filter((entry) => entry.index > index || entry.state === state);
    return state;
  }

  #listKeys(): void {
    this.#keys = signingKeys(this.appended ?? { constitution: this.#genesis, departing: [] });
  }
}
