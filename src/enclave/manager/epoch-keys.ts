/**
 * The epoch keys this node holds in memory (R26). Only epochs of the committed governance state are ever asked for a key,
 * so that none is used before the transaction that opens it is committed. The newest key is always there; the key of an
 * epoch that has ended is overwritten when its time is over, and opened again from the ledger's own wraps when an old
 * batch has to be read.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { EpochRecord } from "../../core/governance/epochs.ts";
import type { Clock } from "../ports.ts";

/** Most keys of ended epochs held at once; the one opened first makes room. */
export const ENDED_EPOCH_KEYS_MAX = 16;

/** Longest delay of one timer: longer ones overflow the runtime's 32 bits and would fire at once. */
const TIMER_MAX_MS = 0x7fffffff;

/** What sealing needs of epoch keys. */
export interface EpochKeySource {
  /** The epoch in force; 0 before the first is committed. */
  readonly newest: number;
  /** The key of a committed epoch; undefined when this node has none. Not to be kept: it is overwritten later. */
  keyOf(epoch: number): Bytes | undefined;
  /** Tells when the key of an epoch was overwritten, so that what was derived from it goes as well. */
  onWiped(listener: (epoch: number) => void): void;
}

/** What epoch keys are made of. */
export interface EpochKeysParts {
  readonly clock: Pick<Clock, "now" | "after">;
  /** The governance state in effect. */
  readonly committed: () => GovernanceState | undefined;
  /** Opens what is wrapped to this node, into bytes of its own; undefined when nothing is. */
  readonly open: (record: EpochRecord) => Bytes | undefined;
}

interface HeldKey {
  readonly key: Bytes;
  /** Monotonic time at which it is wiped; undefined while its epoch is in force. */
  until: number | undefined;
}

/** See the module's header. */
export class EpochKeys implements EpochKeySource {
  readonly #parts: EpochKeysParts;
  /** In the order in which they were opened. */
  readonly #held = new Map<number, HeldKey>();
  readonly #listeners: ((epoch: number) => void)[] = [];
  #newest = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(parts: EpochKeysParts) {
    this.#parts = parts;
  }

  get newest(): number {
    this.refresh();
    return this.#newest;
  }

  onWiped(listener: (epoch: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Governance was committed: opens the key of a new epoch and counts the time of the one before. */
  refresh(): void {
    const newest = this.#parts.committed()?.epochs.length ?? 0;
    if (newest === this.#newest) return;
    const ended = this.#held.get(this.#newest);
    this.#newest = newest;
    if (ended !== undefined) ended.until = this.#parts.clock.now() + this.#cacheMs();
    this.#open(newest);
    this.#wipeExpired();
  }

  keyOf(epoch: number): Bytes | undefined {
    this.refresh();
    return (this.#held.get(epoch) ?? this.#open(epoch))?.key;
  }

  /** Overwrites every key: the node stops. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const epoch of [...this.#held.keys()]) this.#wipe(epoch);
  }

  #cacheMs(): number {
    return this.#parts.committed()?.constitution.settings.epoch.keyCacheMs ?? 0;
  }

  #open(epoch: number): HeldKey | undefined {
    const record = this.#parts.committed()?.epochs[epoch - 1];
    const key = record && this.#parts.open(record);
    if (key === undefined) return undefined;
    const until = epoch === this.#newest ? undefined : this.#parts.clock.now() + this.#cacheMs();
    const held: HeldKey = { key, until };
    this.#held.set(epoch, held);
    this.#makeRoom(epoch);
    this.#schedule();
    return held;
  }

  #makeRoom(opened: number): void {
    const ended = [...this.#held.keys()].filter((epoch) => epoch !== this.#newest && epoch !== opened);
    for (const epoch of ended.slice(0, Math.max(0, ended.length - ENDED_EPOCH_KEYS_MAX + 1))) this.#wipe(epoch);
  }

  #wipeExpired(): void {
    const now = this.#parts.clock.now();
    for (const [epoch, { until }] of [...this.#held]) if (until !== undefined && until <= now) this.#wipe(epoch);
    this.#schedule();
  }

  #wipe(epoch: number): void {
    this.#held.get(epoch)?.key.fill(0);
    this.#held.delete(epoch);
    for (const listener of this.#listeners) listener(epoch);
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of this.#held.values()) next = Math.min(next, until ?? next);
    if (next === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.min(Math.max(0, next - this.#parts.clock.now()), TIMER_MAX_MS);
    this.#cancelTimer = this.#parts.clock.after(delayMs, () => this.#wipeExpired());
  }
}
