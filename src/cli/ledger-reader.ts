/**
 * Reads a ledger folder for an auditor: read-only, without the lock, so that the folder may be that of a running node. No key is
 * needed for what is checked here.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../core/codec/bytes.ts";
import { isTooNew } from "../core/codec/format-version.ts";
import type { GovernanceState } from "../core/governance/administrative.ts";
import { signingKeys } from "../core/governance/departing-nodes.ts";
import { executeAdministrativeBatch } from "../core/governance/administrative-batch.ts";
import type { ServiceRecord } from "../core/governance/service-chain.ts";
import { derOfPem } from "../core/governance/pem.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import { LedgerTail } from "../core/ledger/tail.ts";
import {
  type BadEntry,
  type LedgerGovernance,
  type LedgerVerification,
  verifyLedger,
} from "../core/ledger/verify-ledger.ts";
import { readCertificate } from "../enclave/manager/certificate-reader.ts";
import { loadGovernanceCrypto } from "../host/script-engine-file.ts";
import { createGovernanceCrypto, createVerifier, sha256 } from "../enclave/manager/node-crypto.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import { FILE_SYSTEM } from "../host/file-operations.ts";
import { folderHolder } from "../host/folder-lock.ts";
import { entriesOf } from "../host/ledger-chunks.ts";
import { type ReadLedger, readLedger } from "../host/ledger-files.ts";
import { readSnapshotForm } from "../host/snapshot-head.ts";
import { SnapshotStart, type StartReport } from "./ledger-start.ts";

/** The first entry of a ledger folder that does not hold. */
export interface BadPlace {
  readonly file: string;
  readonly offset: number;
  readonly index: number;
  readonly seqno: number;
  readonly reason: string;
  /** What is said against it: an entry of a later version of the format, and one that was never finished, may be in order. */
  readonly code: "LedgerCorrupt" | "LedgerTooNew" | "LedgerUnfinished";
}

/** A snapshot in the folder: its open part, or why it is none. */
export interface SnapshotReport {
  readonly index: number;
  readonly bytes: number;
  readonly seqno: number | undefined;
  readonly problem: string | undefined;
}

/** An identity of the service, as the ledger shows it. */
export interface ServiceReport {
  /** Hex SHA-256 of its public key: the key id of COSE receipts. */
  readonly keyId: string;
  readonly fromSeqno: number;
}

/** What is known of a ledger folder after its verification. */
export interface LedgerReport {
  readonly bad: BadPlace | undefined;
  /** What verification began with instead of the genesis, which is not in the folder; undefined when it began with the genesis. */
  readonly start: StartReport | undefined;
  readonly networkId: string | undefined;
  readonly lastIndex: number;
  readonly lastSeqno: number;
  /** `view.seqno` of the last transaction that holds; undefined when not even the first entry does. */
  readonly lastTransactionId: string | undefined;
  readonly transactions: number;
  readonly bytes: number;
  readonly views: readonly number[];
  /** Node ids. */
  readonly signers: readonly string[];
  /** Hex; undefined when not even the first entry holds. */
  readonly lastRoot: string | undefined;
  readonly lastTimeMs: number | undefined;
  readonly epochs: number;
  /** The service identities, oldest first. */
  readonly services: readonly ServiceReport[];
  /** Bytes at the end that a crash, or a node that is writing, left unfinished. */
  readonly unfinishedBytes: number;
  readonly snapshots: readonly SnapshotReport[];
}

/** A verified folder: the report, and governance after the last batch that holds. */
export interface VerifiedFolder {
  readonly report: LedgerReport;
  readonly state: GovernanceState | undefined;
  /** The view of a sequence number that was verified, or of the snapshot that verification began with. */
  readonly viewOfSeqno: (seqno: number) => number | undefined;
}

/** Called for each batch that holds, in order, with the ledger up to it and governance before and after it. */
export type BatchVisitor = (
  batch: ParsedBatch,
  tail: LedgerTail,
  before: GovernanceState | undefined,
  after: GovernanceState,
) => void;

/** Governance as a verifier of a ledger executes it. */
export async function loadLedgerGovernance(): Promise<LedgerGovernance<GovernanceState>> {
  const crypto = await loadGovernanceCrypto();
  return {
    execute: (state, batch) => executeAdministrativeBatch(state, batch, crypto),
    publicKeyOf: (state, nodeId) => signingKeys(state).get(nodeId),
    versionOf: (state) => state?.constitution.version ?? 0,
    epochsOf: (state) => state?.epochs.length ?? 0,
    hasAdapter: (state, adapterId) => state?.constitution.adapters.some(({ id }) => id === adapterId) === true,
  };
}

/** A ledger folder as it was read. */
export interface LedgerFolder extends ReadLedger {
  /** Whether a node has it open, which may just be writing. */
  readonly isOpen: boolean;
}

/** The ledger of a node's folder, or the folder itself. Throws `ConfigurationInvalid` when it holds no ledger. */
export async function openLedgerFolder(dir: string): Promise<LedgerFolder> {
  const folder = existsSync(join(dir, "node.json")) ? join(dir, "ledger") : dir;
  const unfit = (what: string, cause?: unknown): CocoError =>
    new CocoError("ConfigurationInvalid", `${folder}: ${what}`, { file: folder }, { cause });
  if (!existsSync(folder)) throw unfit("does not exist");
  if (!statSync(folder).isDirectory()) throw unfit("is not a folder");
  try {
    const isOpen = folderHolder(folder) !== undefined;
    const ledger = await readLedger(folder);
    const { chunks, damage, torn, gap } = ledger.scan;
    const isEmpty = chunks.length === 0 && (damage ?? torn ?? gap) === undefined;
    if (isEmpty && ledger.layout.firstIndex === 1) throw unfit("there is no ledger");
    return { ...ledger, isOpen };
  } catch (error) {
    if (error instanceof CocoError || !(error instanceof Error) || !("syscall" in error)) throw error;
    throw unfit(`cannot be read: ${error.message}`, error);
  }
}

/** Verifies a ledger from its genesis, or from the snapshot it begins after, up to the first entry that does not hold. */
export function verifyFolder(
  ledger: LedgerFolder,
  governance: LedgerGovernance<GovernanceState>,
  visit: BatchVisitor = () => undefined,
): VerifiedFolder {
  const { scan, layout } = ledger;
  const found = startOf(ledger);
  const { start } = found;
  const from = start?.from ?? { tail: new LedgerTail(sha256), state: undefined };
  const signers = new Set<string>();
  const views = new Set<number>();
  const services: ServiceReport[] = (from.state?.services ?? []).map(serviceReport);
  let last: ParsedBatch | undefined;
  let before = from.state;
  const { tail } = from;
  // A folder whose start does not fit together has no entry that could be verified.
  const fromIndex = found.problem === undefined ? Math.max(layout.firstIndex, tail.lastIndex + 1) : scan.nextIndex;
  const result = verifyLedger(entriesOf(scan.chunks, fromIndex, FILE_SYSTEM), {
    crypto: { sha256, verify: createVerifier() },
    governance,
    start: from,
    onBatch: (batch, _record, state) => {
      last = batch;
      start?.see(batch);
      const service = state.services.at(-1);
      if (service !== undefined && service.fromSeqno !== services.at(-1)?.fromSeqno)
        services.push(serviceReport(service));
      signers.add(toHex(batch.header.signer));
      views.add(batch.header.view);
      visit(batch, tail, before, state);
      before = state;
    },
  });
  const { state } = result;
  const report: LedgerReport = {
    ...judged(ledger, found, result),
    networkId: state?.networkId,
    lastIndex: tail.lastIndex,
    lastSeqno: tail.lastSeqno,
    lastTransactionId: tail.lastSeqno === 0 ? undefined : `${tail.lastView}.${tail.lastSeqno}`,
    transactions: result.transactions,
    bytes: result.bytes,
    views: [...views],
    signers: [...signers],
    lastRoot: last && toHex(last.root),
    lastTimeMs: last?.header.timeMs,
    epochs: state?.epochs.length ?? 0,
    services,
    unfinishedBytes: scan.torn?.removedBytes ?? 0,
    snapshots: ledger.snapshots.map((snapshot) => snapshotReport(snapshot, state?.networkId)),
  };
  return { report, state, viewOfSeqno: (seqno) => tail.viewOfSeqno(seqno) };
}

/** The snapshot that a ledger begins after, or why there is none that it could begin after. */
interface FoundStart {
  readonly start?: SnapshotStart;
  readonly problem?: string;
}

function startOf(ledger: ReadLedger): FoundStart {
  if (ledger.layout.firstIndex === 1) return {};
  try {
    return { start: new SnapshotStart(ledger) };
  } catch (error) {
    if (!(error instanceof CocoError) || isTooNew(error)) throw error;
    return { problem: error.message };
  }
}

/** What does not hold of a folder, and what its start rests on. */
function judged(
  ledger: LedgerFolder,
  { start, problem }: FoundStart,
  { bad, tail, state }: LedgerVerification<GovernanceState>,
): Pick<LedgerReport, "bad" | "start"> {
  const { scan, layout } = ledger;
  const atStart = (reason: string): BadPlace => {
    const file = scan.chunks[0]?.file ?? scan.damage?.file ?? "the folder";
    const seqno = tail.lastSeqno + 1;
    return { file, offset: 0, index: layout.firstIndex, seqno, reason, code: "LedgerCorrupt" };
  };
  if (problem !== undefined) return { bad: atStart(problem), start: undefined };
  const place = badPlace(ledger, bad, tail);
  try {
    return { bad: place, start: start?.report(state) };
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    return { bad: place ?? atStart(error.message), start: undefined };
  }
}

function serviceReport({ certificate, fromSeqno }: ServiceRecord): ServiceReport {
  const key = createGovernanceCrypto().certificateKey(certificate);
  invariant(key, "a verified service certificate has a key");
  return { keyId: toHex(sha256(key)), fromSeqno };
}

/** The bad entry and where it stands: one that does not verify, else the place where the files are damaged or end. */
function badPlace({ scan, isOpen }: LedgerFolder, bad: BadEntry | undefined, tail: LedgerTail): BadPlace | undefined {
  const { chunks, damage, gap, torn } = scan;
  const chunk = chunks.findLast(({ firstIndex }) => firstIndex <= (bad?.index ?? 0));
  if (bad !== undefined && chunk !== undefined && bad.index < scan.nextIndex)
    return {
      ...{ file: chunk.file, offset: chunk.offsetOf(bad.index) },
      ...{ index: bad.index, seqno: bad.seqno, reason: bad.reason },
      code: bad.code === "LedgerTooNew" ? bad.code : "LedgerCorrupt",
    };
  const broken = damage ?? gap;
  const seqno = tail.lastSeqno + 1;
  if (broken !== undefined) {
    const { file, offset, index, reason } = broken;
    return { file, offset, index, seqno, reason, code: "LedgerCorrupt" };
  }
  // A node that has the folder open may just be writing it.
  if (torn === undefined || isOpen) return undefined;
  const { file, offset, removedBytes } = torn;
  const what = "an end that was cut off, or what a crash left of a last write, which the node cuts off when it starts";
  const reason = `${torn.reason}; ${removedBytes} bytes of it are there: ${what}`;
  return { file, offset, index: scan.nextIndex, seqno, reason, code: "LedgerUnfinished" };
}

/** What can be said of a snapshot without keys: its form, and that it is of this network. */
function snapshotReport(snapshot: StoredSnapshot, networkId: string | undefined): SnapshotReport {
  const { index, bytes } = snapshot;
  try {
    const manifest = readSnapshotForm(snapshot);
    const { last } = manifest.tail;
    if (manifest.networkId !== networkId) throw new CocoError("MalformedInput", "it belongs to another network");
    if (last.index !== index) throw new CocoError("MalformedInput", `it is of index ${last.index}`);
    return { index, bytes, seqno: last.signatureSeqno, problem: undefined };
  } catch (error) {
    if (!(error instanceof CocoError) || isTooNew(error)) throw error;
    return { index, bytes, seqno: undefined, problem: error.message };
  }
}

/**
 * Whether a ledger is of the service with this certificate (PEM): the certificate's key is one of the identities of the
 * ledger, each of which the ledger proves to follow from the one before. Throws `ConfigurationInvalid` when it is no certificate.
 */
export function isServiceOf({ services }: Pick<LedgerReport, "services">, certificatePem: string): boolean {
  const der = derOfPem(certificatePem, "CERTIFICATE");
  const certificate = der && readCertificate(der);
  if (certificate === undefined)
    throw new CocoError("ConfigurationInvalid", "the service certificate is not one certificate in PEM");
  const keyId = toHex(sha256(certificate.publicKey.export({ type: "spki", format: "der" })));
  return services.some((service) => service.keyId === keyId);
}
