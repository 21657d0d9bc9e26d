/** How often each kind of fault happened. Kinds are words joined by dots, from the general to the particular. */

/** Counts by kind; see the module's header. */
export class FaultCounts {
  readonly #counts = new Map<string, number>();

  /** One more fault of a kind, or several. */
  add(kind: string, count = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + count);
  }

  /** Adds what another run counted. */
  addAll(counts: Readonly<Record<string, number>>): void {
    for (const [kind, count] of Object.entries(counts)) this.add(kind, count);
  }

  /** All counts, sorted by kind. */
  toJson(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([left], [right]) => (left < right ? -1 : 1)));
  }
}
