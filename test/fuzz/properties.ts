/** What targets of the fuzzer share. */
import type { StrictJson } from "../../src/core/codec/json.ts";

/** Throws what is wrong with a decoder, unless it holds. */
export function expectThat(holds: boolean, fault: string): void {
  if (!holds) throw new Error(fault);
}

/** A value as `JSON.parse` gives it. */
export function plain(value: StrictJson): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, field]: [string, StrictJson]) => [name, plain(field)]));
  return Array.isArray(value) ? value.map(plain) : value;
}
