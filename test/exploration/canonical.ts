/**
 * The state of a core as text, such that two cores with the same text behave the same from now on.
 *
 * The whole object graph is walked, so that a field added to the core is compared too, without a line changed here. What
 * does not matter is made equal: times count only relative to now and up to a timeout, numbers of persist requests only
 * relative to the newest, and maps and sets are sorted. Needs the core loaded under expose-privates.ts.
 */
import type { LogEntry } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { ELECTION_MS, showEntry } from "./core-options.ts";
import type { Machine } from "./machine.ts";

/** Fields that never change, are derived from others, or are scratch space. */
const IGNORED = new Set([
  "options",
  "nowMs",
  "id",
  "private_indexes",
  "private_before",
  "private_bytes",
  "private_windowBytes",
  "private_limits",
  // How closely a learner follows is told to the driver and decides nothing here.
  "caughtUp",
  "private_goalIndex",
  "private_goalAtMs",
  // Whom a channel is up to only shortens timers.
  "channelsUp",
]);

const entryTexts = new WeakMap<LogEntry, string>();

function entryText(entry: LogEntry): string {
  const known = entryTexts.get(entry);
  if (known !== undefined) return known;
  const text = `${entry.index}.${showEntry(entry)}`;
  entryTexts.set(entry, text);
  return text;
}

/** Entries as text. */
export function entriesText(entries: readonly LogEntry[]): string {
  let text = "";
  for (const entry of entries) text += `${entryText(entry)};`;
  return text;
}

interface Reference {
  readonly nowMs: number;
  /** Number of the newest persist request; undefined outside of what counts them. */
  readonly lastId: number | undefined;
  readonly durableId: number;
}

function numberText(name: string, value: number, reference: Reference): string {
  if (name.endsWith("Ms")) return String(Math.max(-ELECTION_MS, Math.min(ELECTION_MS, value - reference.nowMs)));
  if (reference.lastId !== undefined && (name === "id" || name.endsWith("Id"))) {
    return value <= reference.durableId ? "-" : String(reference.lastId - value);
  }
  return String(value);
}

function collectionText(value: ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>, reference: Reference): string {
  const items: string[] = [];
  if (value instanceof Map) {
    for (const [key, item] of value) items.push(`${String(key)}=${valueText(String(key), item, reference)}`);
  } else {
    for (const item of value.keys()) items.push(valueText("", item, reference));
  }
  return `{${items.sort().join(",")}}`;
}

function objectText(value: object, reference: Reference): string {
  const fields = value as Record<string, unknown>;
  if (fields["data"] instanceof Uint8Array && "index" in fields && "term" in fields)
    return entryText(value as LogEntry);
  let inner = reference;
  if (typeof fields["private_lastId"] === "number") {
    inner = { ...reference, lastId: fields["private_lastId"], durableId: fields["private_durableId"] as number };
  }
  let text = "(";
  for (const name in fields) {
    const field = fields[name];
    const ignored = name === "id" ? inner.lastId === undefined : IGNORED.has(name);
    if (ignored || field === undefined || typeof field === "function") continue;
    text += `${name}:${valueText(name, field, inner)},`;
  }
  return `${text})`;
}

function valueText(name: string, value: unknown, reference: Reference): string {
  switch (typeof value) {
    case "number":
      return numberText(name, value, reference);
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) {
        let text = "[";
        for (const item of value) text += `${valueText("", item, reference)},`;
        return `${text}]`;
      }
      if (value instanceof Map || value instanceof Set) return collectionText(value, reference);
      return objectText(value, reference);
    default:
      return String(value);
  }
}

const OUTSIDE: Reference = { nowMs: 0, lastId: undefined, durableId: 0 };

/** A message, or another plain value of the core, as text. */
export function plainText(value: object): string {
  return valueText("", value, OUTSIDE);
}

/** A machine as text: the core, its disk and what is on the way there. */
export function machineText(machine: Machine): string {
  const state = (machine.core as unknown as Record<string, unknown>)["private_state"];
  invariant(typeof state === "object" && state !== null, "the core's fields are open (see expose-privates.ts)");
  const core = valueText("", state, { ...OUTSIDE, nowMs: machine.nowMs });
  const writes = machine.writes.map(({ id: _, ...request }) => valueText("", request, OUTSIDE)).join("|");
  const { hardState } = machine;
  return `${machine.id}${core}D${entriesText(machine.disk)}H${hardState?.term}${hardState?.votedFor}W${writes}`;
}
