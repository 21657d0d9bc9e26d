/** Numbers at the ends of their range in the place of every number of a document. */
import type { CborKey, CborValue } from "../../src/core/codec/cbor.ts";

/** What no length, time, index or count should be able to be. */
export const EXTREME_NUMBERS = [2n ** 53n, 2n ** 64n - 1n, -(2n ** 63n), -1, 0, Number.MAX_SAFE_INTEGER];

/** Every document that differs from this one in one number, which is `number` instead. */
export function* withNumber(value: CborValue, number: number | bigint): Generator<CborValue> {
  if (typeof value === "number") yield number;
  else if (value instanceof Map) {
    for (const [name, field] of value)
      for (const changed of withNumber(field, number)) yield new Map<CborKey, CborValue>(value).set(name, changed);
  } else if (Array.isArray(value)) {
    for (const [at, item] of value.entries())
      for (const changed of withNumber(item, number)) yield value.with(at, changed);
  }
}
