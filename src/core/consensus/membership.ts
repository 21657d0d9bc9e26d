/**
 * The configurations of the log: the newest is the active one, from the moment its entry is appended (Raft thesis, 4.1).
 *
 * A configuration is proposed only when the one before it is committed, so a truncation can take away the newest alone.
 * The records before it are kept for that, and because a node outside the newest configuration may still be needed until
 * that one is committed (4.2.2).
 */
import { CocoError, invariant } from "../../errors.ts";
import { sameConfiguration } from "./configuration.ts";
import { JointQuorum } from "./quorum.ts";
import type { Configuration, NodeId } from "./types.ts";

/** Configurations remembered: the active one and those that a truncation could bring back. */
export const CONFIGURATIONS_KEPT_MAX = 3;

/** A configuration and where it came from. */
export interface ConfigurationRecord {
  readonly configuration: Configuration;
  /** Index of its entry; 0 for the first one. */
  readonly index: number;
  readonly quorum: JointQuorum;
}

/** Tracks which configuration is active on one node. */
export class Membership {
  readonly #id: NodeId;
  #records: ConfigurationRecord[];
  #active: ConfigurationRecord;
  #peers: readonly NodeId[] = [];

  /** Throws `ConfigurationInvalid` when the first configuration has no proper quorums. */
  constructor(id: NodeId, configuration: Configuration, index: number) {
    this.#id = id;
    this.#active = { configuration, index, quorum: new JointQuorum(configuration) };
    this.#records = [this.#active];
    this.#activate(this.#active);
  }

  /** The active configuration. */
  get configuration(): Configuration {
    return this.#active.configuration;
  }

  /** Index of the entry that brought the active configuration. */
  get index(): number {
    return this.#active.index;
  }

  /** The quorums that count now. */
  get quorum(): JointQuorum {
    return this.#active.quorum;
  }

  /** Every other node that the log is replicated to: voters of all sets and learners. */
  get peers(): readonly NodeId[] {
    return this.#peers;
  }

  /** Whether this node is a voter of the active configuration, or was one of those before it while that one is not known committed. */
  mayCampaign(commitIndex: number): boolean {
    if (this.quorum.includes(this.#id)) return true;
    if (this.index <= commitIndex) return false;
    return this.#records.at(-2)?.quorum.includes(this.#id) ?? false;
  }

  /** Takes the configuration of a new entry; throws `LedgerCorrupt` when nothing could ever be decided in it. */
  append(index: number, configuration: Configuration): void {
    if (sameConfiguration(configuration, this.configuration)) return;
    let quorum: JointQuorum;
    try {
      quorum = new JointQuorum(configuration);
    } catch (error) {
      throw new CocoError(
        "LedgerCorrupt",
        `entry ${index} brings an impossible configuration`,
        { index },
        { cause: error },
      );
    }
    this.#records.push({ configuration, index, quorum });
    if (this.#records.length > CONFIGURATIONS_KEPT_MAX) this.#records.shift();
    this.#activate(this.#records.at(-1) as ConfigurationRecord);
  }

  /** Whether the configuration before an index is known, so that the log may lose every entry from there on. */
  mayTruncate(fromIndex: number): boolean {
    return this.#records.some(({ index }) => index < fromIndex);
  }

  /** The log lost every entry from `fromIndex` on. */
  truncate(fromIndex: number): void {
    if (fromIndex > this.index) return;
    this.#records = this.#records.filter((record) => record.index < fromIndex);
    const last = this.#records.at(-1);
    invariant(last !== undefined, "a truncation leaves a configuration");
    this.#activate(last);
  }

  /** The log begins anew after a snapshot with this configuration. */
  reset(configuration: Configuration, index: number): void {
    this.#records = [{ configuration, index, quorum: new JointQuorum(configuration) }];
    this.#activate(this.#records[0] as ConfigurationRecord);
  }

  #activate(record: ConfigurationRecord): void {
    this.#active = record;
    const members = new Set([...record.quorum.voters, ...record.configuration.learners]);
    members.delete(this.#id);
    this.#peers = [...members];
  }
}
