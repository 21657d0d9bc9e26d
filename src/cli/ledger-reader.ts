/**
 * Reads a ledger folder for an auditor: read-only, without the lock, so that the folder may be that of a running node. No key is
 * needed for what is checked here.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../core/codec/bytes.ts";
import { type GovernanceState, signingKeys } from "../core/governance/administrative.ts";
import { executeAdministrativeBatch } from "../core/governance/administrative-batch.ts";
import type { ServiceRecord } from "../core/governance/service-chain.ts";
import { derOfPem } from "../core/governance/pem.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import { LedgerTail } from "../core/ledger/tail.ts";
import { type LedgerGovernance, verifyLedger } from "../core/ledger/verify-ledger.ts";
import { readCertificate } from "../enclave/manager/certificate-reader.ts";
import { createGovernanceCrypto, createVerifier, sha256 } from "../enclave/manager/node-crypto.ts";
import type { StoredSnapshot } from "../enclave/ports.ts";
import { CocoError, invariant } from "../errors.ts";
import { FILE_SYSTEM } from "../host/file-operations.ts";
import { entriesOf } from "../host/ledger-chunks.ts";
import { type ReadLedger, readLedger } from "../host/ledger-files.ts";
import { readSnapshotManifest } from "../host/snapshot-head.ts";

/** The first entry of a ledger folder that does not hold. */
export interface BadPlace {
  readonly file: string;
  readonly offset: number;
  readonly index: number;
  readonly seqno: number;
  readonly reason: string;
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
  readonly networkId: string | undefined;
  readonly lastIndex: number;
  readonly lastSeqno: number;
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

/** Called for each batch that holds, in order, with the ledger up to it. */
export type BatchVisitor = (batch: ParsedBatch, tail: LedgerTail) => void;

const GOVERNANCE: LedgerGovernance<GovernanceState> = {
  execute: (state, batch) => executeAdministrativeBatch(state, batch, createGovernanceCrypto()),
  publicKeyOf: (state, nodeId) => signingKeys(state).get(nodeId),
  versionOf: (state) => state?.constitution.version ?? 0,
  epochsOf: (state) => state?.epochs.length ?? 0,
};

/** The ledger of a node's folder, or the folder itself. Throws `ConfigurationInvalid` when it holds no ledger. */
export async function openLedgerFolder(dir: string): Promise<ReadLedger> {
  const folder = existsSync(join(dir, "node.json")) ? join(dir, "ledger") : dir;
  if (!existsSync(folder)) throw new CocoError("ConfigurationInvalid", `${folder}: does not exist`, { file: folder });
  const ledger = await readLedger(folder);
  const { chunks, damage } = ledger.scan;
  if (chunks.length === 0 && damage === undefined)
    throw new CocoError("ConfigurationInvalid", `${folder}: there is no ledger`, { file: folder });
  return ledger;
}

/** Verifies a ledger from its genesis on, up to the first entry that does not hold. */
export function verifyFolder(ledger: ReadLedger, visit: BatchVisitor = () => undefined): LedgerReport {
  const { scan, layout } = ledger;
  const signers = new Set<string>();
  const views = new Set<number>();
  const services: ServiceReport[] = [];
  let last: ParsedBatch | undefined;
  const tail = new LedgerTail(sha256);
  const result = verifyLedger(entriesOf(scan.chunks, layout.firstIndex, FILE_SYSTEM), {
    crypto: { sha256, verify: createVerifier() },
    governance: GOVERNANCE,
    start: { tail, state: undefined },
    onBatch: (batch, _record, state) => {
      last = batch;
      const service = state.services.at(-1);
      if (service !== undefined && service.fromSeqno !== services.at(-1)?.fromSeqno)
        services.push(serviceReport(service));
      signers.add(toHex(batch.header.signer));
      views.add(batch.header.view);
      visit(batch, tail);
    },
  });
  return {
    bad: badPlace(ledger, result.bad, tail),
    networkId: result.state?.networkId,
    lastIndex: tail.lastIndex,
    lastSeqno: tail.lastSeqno,
    transactions: result.transactions,
    bytes: result.bytes,
    views: [...views],
    signers: [...signers],
    lastRoot: last && toHex(last.root),
    lastTimeMs: last?.header.timeMs,
    epochs: result.state?.epochs.length ?? 0,
    services,
    unfinishedBytes: scan.torn?.removedBytes ?? 0,
    snapshots: ledger.snapshots.map((snapshot) => snapshotReport(snapshot, result.state?.networkId)),
  };
}

function serviceReport({ certificate, fromSeqno }: ServiceRecord): ServiceReport {
  const key = createGovernanceCrypto().certificateKey(certificate);
  invariant(key, "a verified service certificate has a key");
  return { keyId: toHex(sha256(key)), fromSeqno };
}

/** The bad entry and where it stands: one that does not verify, else the place where the files are damaged. */
function badPlace(
  { scan, layout }: ReadLedger,
  bad: { readonly index: number; readonly seqno: number; readonly reason: string } | undefined,
  tail: LedgerTail,
): BadPlace | undefined {
  const { chunks, damage } = scan;
  if (layout.firstIndex > 1) {
    const snapshot = `the ledger begins after the snapshot of index ${layout.firstIndex - 1}`;
    const reason = `${snapshot}; verify the folder of a node that has it from its genesis`;
    return { file: chunks[0]?.file ?? "", offset: 0, index: 1, seqno: 1, reason };
  }
  const chunk = chunks.findLast(({ firstIndex }) => firstIndex <= (bad?.index ?? 0));
  if (bad !== undefined && chunk !== undefined && bad.index < scan.nextIndex)
    return { file: chunk.file, offset: chunk.offsetOf(bad.index), ...pick(bad) };
  if (damage === undefined) return undefined;
  const { file, offset, index, reason } = damage;
  return { file, offset, index, seqno: tail.lastSeqno + 1, reason };
}

function pick({ index, seqno, reason }: { readonly index: number; readonly seqno: number; readonly reason: string }) {
  return { index, seqno, reason };
}

/** What can be said of a snapshot without keys: its form, and that it is of this network. */
function snapshotReport(snapshot: StoredSnapshot, networkId: string | undefined): SnapshotReport {
  const { index, bytes } = snapshot;
  try {
    const manifest = readSnapshotManifest(snapshot);
    const { last } = manifest.tail;
    if (manifest.networkId !== networkId) throw new CocoError("MalformedInput", "it belongs to another network");
    if (last.index !== index) throw new CocoError("MalformedInput", `it is of index ${last.index}`);
    return { index, bytes, seqno: last.signatureSeqno, problem: undefined };
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
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
