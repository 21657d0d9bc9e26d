/**
 * JSON values inside the constitution (options of adapters): no fractions, bounded depth and size, so that they have one
 * deterministic CBOR encoding and mean the same on every validating node.
 */

/** Deepest nesting of a {@link JsonValue}; leaves room for the constitution around it within the depth CBOR allows. */
export const MAX_JSON_DEPTH = 10;
/** Most values (members and items counted) inside one {@link JsonValue}. */
export const MAX_JSON_VALUES = 10_000;

/** A JSON value; numbers are safe integers. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** Whether a text has no lone surrogate: only then it has a UTF-8 encoding. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

interface Budget {
  left: number;
}

/** The value if it is JSON within the bounds, read from JSON (objects) or decoded CBOR (maps); undefined otherwise. */
export function readJsonValue(value: unknown, maxValues: number = MAX_JSON_VALUES): JsonValue | undefined {
  return convert(value, MAX_JSON_DEPTH, { left: maxValues });
}

function convert(value: unknown, depth: number, budget: Budget): JsonValue | undefined {
  if (depth === 0 || --budget.left < 0) return undefined;
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return isWellFormed(value) ? value : undefined;
  if (typeof value === "number") return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : undefined;
  if (typeof value !== "object" || value instanceof Uint8Array) return undefined;
  if (Array.isArray(value)) {
    const items: JsonValue[] = [];
    for (const item of value) {
      const converted = convert(item, depth - 1, budget);
      if (converted === undefined) return undefined;
      items.push(converted);
    }
    return items;
  }
  return convertRecord(value instanceof Map ? [...value] : Object.entries(value), depth, budget);
}

function convertRecord(
  fields: readonly (readonly [unknown, unknown])[],
  depth: number,
  budget: Budget,
): JsonValue | undefined {
  const converted: [string, JsonValue][] = [];
  for (const [name, field] of fields) {
    const result = convert(field, depth - 1, budget);
    if (typeof name !== "string" || !isWellFormed(name) || result === undefined) return undefined;
    converted.push([name, result]);
  }
  // fromEntries defines own properties, so that a field named __proto__ stays a field.
  return Object.fromEntries(converted.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)));
}
