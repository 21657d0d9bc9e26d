/**
 * Reading and writing the settings of a network, one part of its constitution; and completing what a founder left out.
 */
import {
  DEFAULT_SETTINGS,
  MAX_NODES,
  type EpochSettings,
  type NetworkSettings,
  type QuorumSetting,
} from "./constitution.ts";
import {
  fieldInvalid,
  FieldReader,
  readDocument,
  type FieldContext,
  type FieldRecord,
  type FieldTree,
} from "./fields.ts";

/** Longest duration a setting may name, in milliseconds: ten years. */
export const MAX_SETTING_DURATION_MS = 10 * 365 * 24 * 3600 * 1000;
/** Most transactions a setting may name. */
export const MAX_SETTING_TRANSACTIONS = 1_000_000_000_000;
/** Shortest lease a setting may name, in milliseconds: below it renewals would be most of what the ledger holds. */
export const MIN_LEASE_MS = 1_000;

const DURATION_BOUNDS = { min: 0, max: MAX_SETTING_DURATION_MS };
const TRANSACTIONS_BOUNDS = { min: 0, max: MAX_SETTING_TRANSACTIONS };
const QUORUM_BOUNDS = { min: 1, max: 64 };

/** Settings that differ from the defaults, also inside their records. */
export type SettingsChange = {
  readonly [Name in keyof NetworkSettings]?: NetworkSettings[Name] extends QuorumSetting | string | number | boolean
    ? NetworkSettings[Name]
    : Partial<NetworkSettings[Name]>;
};

/** Settings with a change, by default of those in {@link DEFAULT_SETTINGS}; what the change does not name stays. */
export function settingsWith(change: SettingsChange, base: NetworkSettings = DEFAULT_SETTINGS): NetworkSettings {
  return {
    ...base,
    ...change,
    epoch: { ...base.epoch, ...change.epoch },
    snapshot: { ...base.snapshot, ...change.snapshot },
    maxBatch: { ...base.maxBatch, ...change.maxBatch },
  };
}

function readQuorum(fields: FieldReader): QuorumSetting {
  const type = fields.choice("type", ["majority", "flexible", "perActor"]);
  if (type !== "flexible") return { type };
  return {
    type,
    election: fields.integer("election", QUORUM_BOUNDS),
    replication: fields.integer("replication", QUORUM_BOUNDS),
  };
}

function readEpochSettings(fields: FieldReader): EpochSettings {
  return {
    lengthMs: fields.integer("lengthMs", DURATION_BOUNDS),
    transactions: fields.integer("transactions", TRANSACTIONS_BOUNDS),
    keyCacheMs: fields.integer("keyCacheMs", DURATION_BOUNDS),
  };
}

/** Reads the settings of a network. Whether they fit its nodes is checked with the whole constitution. */
export function readSettings(fields: FieldReader): NetworkSettings {
  return {
    consensus: fields.choice("consensus", ["raft", "solo"]),
    quorum: fields.record("quorum", readQuorum),
    trustDisk: fields.flag("trustDisk"),
    epoch: fields.record("epoch", readEpochSettings),
    snapshot: fields.record("snapshot", (snapshot) => ({
      everyTransactions: snapshot.integer("everyTransactions", TRANSACTIONS_BOUNDS),
    })),
    maxBatch: fields.record("maxBatch", (batch) => ({
      transactions: batch.integer("transactions", { min: 1, max: 5_000 }),
      bytes: batch.integer("bytes", { min: 1024, max: 16 * 1024 * 1024 }),
    })),
    maxDelayMs: fields.integer("maxDelayMs", { min: 0, max: 10_000 }),
    answerAfter: fields.choice("answerAfter", ["commit", "execution"]),
    nodesPerActor: fields.integer("nodesPerActor", { min: 0, max: MAX_NODES }),
    ...(fields.has("leaseMs") && { leaseMs: readLease(fields) }),
  };
}

function readLease(fields: FieldReader): number {
  const leaseMs = fields.integer("leaseMs", DURATION_BOUNDS);
  if (leaseMs > 0 && leaseMs < MIN_LEASE_MS)
    throw fields.invalid("leaseMs", `expected 0 (no leases) or at least ${MIN_LEASE_MS}`);
  return leaseMs;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function completed(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const complete: Record<string, unknown> = { ...DEFAULT_SETTINGS, ...given };
  for (const name of ["epoch", "snapshot", "maxBatch"] as const) {
    const part = given[name];
    if (isRecord(part)) complete[name] = { ...DEFAULT_SETTINGS[name], ...part };
  }
  return complete;
}

/**
 * Reads settings from JSON that names some of them only; everything else is as in {@link DEFAULT_SETTINGS}. Throws the
 * error of the context, with the field.
 */
export function readPartialSettings(given: unknown, context: FieldContext): NetworkSettings {
  if (!isRecord(given)) throw fieldInvalid(context, "", "expected a record of named fields");
  return readDocument(completed(given), context, readSettings);
}

/** The fields of a record that are also in what was given. */
function named<Whole extends object>(whole: Whole, given: unknown): Partial<Whole> {
  const names = isRecord(given) ? Object.keys(given) : [];
  const fields = Object.entries(whole).filter(([name]) => names.includes(name));
  return Object.fromEntries(fields) as Partial<Whole>;
}

/** Reads a change of settings from the JSON form: those it names, also inside their records. */
export function readSettingsChange(fields: FieldReader): SettingsChange {
  const given = Object.fromEntries(fields.names().map((name) => [name, fields.value(name)]));
  const reader = new FieldReader(completed(given), fields.path, fields.context);
  const { epoch, snapshot, maxBatch, ...rest } = readSettings(reader);
  reader.end();
  return {
    ...named(rest, given),
    ...(given["epoch"] !== undefined && { epoch: named(epoch, given["epoch"]) }),
    ...(given["snapshot"] !== undefined && { snapshot: named(snapshot, given["snapshot"]) }),
    ...(given["maxBatch"] !== undefined && { maxBatch: named(maxBatch, given["maxBatch"]) }),
  };
}

function quorumTree(quorum: QuorumSetting): FieldTree {
  if (quorum.type !== "flexible") return { type: quorum.type };
  return { type: quorum.type, election: quorum.election, replication: quorum.replication };
}

/** The tree form of settings, or of a change of them. */
export function settingsTree(settings: SettingsChange): FieldRecord {
  const { consensus, quorum, trustDisk, epoch, snapshot, maxBatch, maxDelayMs, answerAfter, nodesPerActor, leaseMs } =
    settings;
  return {
    consensus,
    quorum: quorum && quorumTree(quorum),
    trustDisk,
    epoch: epoch && { lengthMs: epoch.lengthMs, transactions: epoch.transactions, keyCacheMs: epoch.keyCacheMs },
    snapshot: snapshot && { everyTransactions: snapshot.everyTransactions },
    maxBatch: maxBatch && { transactions: maxBatch.transactions, bytes: maxBatch.bytes },
    maxDelayMs,
    answerAfter,
    nodesPerActor,
    leaseMs,
  };
}
