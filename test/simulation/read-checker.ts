/**
 * Reads against the one order the ledger gives. A value of a key is explained by the versions in which the key had it.
 *
 * `local` reads may be old, but each node goes forward only: there must be a row of versions, never going back in one life
 * of one node, that explains every answer. `linearizable` reads must be explained by a version between the newest that
 * anybody knew to be committed when the read began and the newest that was committed when it ended.
 */
import { invariant } from "../../src/errors.ts";

interface Change {
  readonly version: number;
  readonly value: string;
}

/** Where a read happened. */
export interface ReadPlace {
  readonly node: string;
  /** Starts of the node until then. */
  readonly boots: number;
}

/** See the module's header. */
export class ReadChecker {
  readonly #changes = new Map<string, Change[]>();
  /** Lowest version that explains everything a life of a node answered. */
  readonly #floors = new Map<string, number>();
  #newest = 0;
  /** Newest version that somebody was told of. */
  #acknowledged = 0;
  /** Answers checked so far. */
  localCount = 0;
  linearizableCount = 0;

  /** A key has a value from this version on. */
  changed(version: number, key: string, value: string): void {
    const changes = this.#changes.get(key);
    if (changes === undefined) this.#changes.set(key, [{ version, value }]);
    else changes.push({ version, value });
  }

  /** A version is committed. */
  committed(version: number): void {
    this.#newest = version;
  }

  /** Versions that an operation which begins now must see. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** A client was told of something that is in this version. */
  acknowledge(version: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, version);
  }

  /** The first version from `from` to `to` in which the key has the value; undefined when there is none. */
  #explain(key: string, value: string, from: number, to: number): number | undefined {
    const changes = this.#changes.get(key) ?? [];
    const at = changes.findLastIndex((change) => change.version <= from);
    if ((changes[at]?.value ?? "") === value) return from;
    return changes.find((change, position) => position > at && change.version <= to && change.value === value)?.version;
  }

  /** Checks an answer labelled local. Answers of one life of a node must be given in the order they were made. */
  local({ node, boots }: ReadPlace, key: string, value: string): void {
    const life = `${node} ${boots}`;
    const floor = this.#floors.get(life) ?? 0;
    const version = this.#explain(key, value, floor, this.#newest);
    invariant(version !== undefined, `${node} answered "${value}" for ${key}, which no version from ${floor} on says`);
    this.#floors.set(life, version);
    this.localCount++;
  }

  /** Checks an answer labelled linearizable. `began`: {@link ReadChecker.acknowledged} when the read began. */
  linearizable(node: string, began: number, key: string, value: string): void {
    const version = this.#explain(key, value, began, this.#newest);
    invariant(
      version !== undefined,
      `${node} answered "${value}" for ${key} as linearizable: versions ${began} to ${this.#newest} do not say so`,
    );
    this.acknowledge(version);
    this.linearizableCount++;
  }
}
