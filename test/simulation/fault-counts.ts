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

/** Counts of what followed from faults and is none itself. */
const OUTCOMES: readonly string[] = ["hostile.refused", "liveness.noSoundQuorum"];

/** Faults, and what followed from them, apart. */
export function splitCounts(counts: FaultCounts): Record<"faults" | "outcomes", Record<string, number>> {
  const [faults, outcomes] = [new FaultCounts(), new FaultCounts()];
  for (const [kind, count] of Object.entries(counts.toJson()))
    (OUTCOMES.includes(kind) ? outcomes : faults).add(kind, count);
  return { faults: faults.toJson(), outcomes: outcomes.toJson() };
}
