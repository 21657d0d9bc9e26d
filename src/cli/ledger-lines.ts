/** How batches and transactions of a ledger look as lines, for people and as JSON. */
import { type Bytes, toHex } from "../core/codec/bytes.ts";
import { type AdministrativeTransaction, decodeAdministrative } from "../core/governance/administrative-codec.ts";
import { parseSignedRequest } from "../core/governance/signed-request.ts";
import type { ParsedBatch } from "../core/ledger/batch-format.ts";
import { signatureLeaf, transactionLeaf, writeSetDigestOf } from "../core/ledger/leaf.ts";
import type { LedgerTail } from "../core/ledger/tail.ts";
import { sha256 } from "../enclave/manager/node-crypto.ts";
import {
  attestationJson,
  attestationWords,
  type AttestationJson,
  type ToldAttestation,
} from "./ledger-attestations.ts";

/** Sequence numbers, both ends included. */
export interface SeqnoRange {
  readonly from: number;
  readonly to: number;
}

/** Public bytes shown per transaction for people. */
const SHOWN_BYTES = 24;

function isWithin(seqno: number, range: SeqnoRange | undefined): boolean {
  return range === undefined || (seqno >= range.from && seqno <= range.to);
}

function overlaps({ header }: ParsedBatch, range: SeqnoRange | undefined): boolean {
  return range === undefined || (header.firstSeqno <= range.to && header.firstSeqno + header.count >= range.from);
}

/** JSON of a decoded administrative transaction: bytes are hex. */
function administrativeJson(transaction: AdministrativeTransaction): unknown {
  return JSON.parse(
    JSON.stringify(transaction, (_name, value: unknown) => (value instanceof Uint8Array ? toHex(value) : value)),
  );
}

const SHORT = 16;
const shortIds = (ids: readonly string[]): string => ids.map((id) => `${id.slice(0, SHORT)}…`).join(", ");

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

/** What an administrative transaction is about, beside its kind. */
function administrativeWords(transaction: AdministrativeTransaction): string {
  switch (transaction.type) {
    case "epoch": {
      const identity = transaction.endorsement ? ", with a new service identity" : "";
      return `${transaction.epoch}, for ${counted(transaction.wraps.length, "node")}${identity}`;
    }
    case "resolve":
      return `proposal ${transaction.proposalId}`;
    case "configure": {
      const { current, previous, learners } = transaction;
      const kind = previous === undefined ? "simple" : "joint";
      const learning = learners.length === 0 ? "" : `; learners ${shortIds(learners)}`;
      return `${kind}: voters ${shortIds(current.voters)}${learning}`;
    }
    case "snapshot":
      return `of batch ${transaction.index}, ${transaction.bytes} bytes`;
    case "grant":
      return `keys of ${counted(transaction.keys.length, "earlier epoch")} to node ${shortIds([transaction.nodeId])}`;
    case "expel":
    case "quarantine":
      return shortIds(transaction.nodeIds);
    case "request": {
      const { type, proposalId, signedBytes } = parseSignedRequest(transaction.message);
      return proposalId === undefined ? `${type} ${toHex(sha256(signedBytes))}` : `${type} on proposal ${proposalId}`;
    }
    default:
      return "";
  }
}

function describePublic(batch: ParsedBatch, publicPart: Bytes): string {
  if (batch.header.kind === "administrative") {
    const transaction = decodeAdministrative(publicPart);
    return `${transaction.type}  ${administrativeWords(transaction)}`.trimEnd();
  }
  if (publicPart.length === 0) return "nothing public";
  const shown = toHex(publicPart.subarray(0, SHOWN_BYTES));
  return `${publicPart.length} public bytes ${shown}${publicPart.length > SHOWN_BYTES ? "…" : ""}`;
}

/** The lines of a batch and its transactions within a range; `attestations` are what its `attest` transactions record. */
export function showBatch(
  batch: ParsedBatch,
  range: SeqnoRange | undefined,
  asJson: boolean,
  attestations: readonly ToldAttestation[] = [],
): readonly string[] {
  if (!overlaps(batch, range)) return [];
  const { header, transactions } = batch;
  const { index, view, firstSeqno, count, kind, adapterId, epoch } = header;
  const bytes = header.publicLength + header.sealedLength;
  const time = new Date(header.timeMs).toISOString();
  const within = transactions.flatMap((transaction, position) =>
    isWithin(firstSeqno + position, range) ? [{ transaction, id: `${view}.${firstSeqno + position}` }] : [],
  );
  const recorded = (id: string) => attestations.find(({ transactionId }) => transactionId === id);
  if (asJson) {
    const shown = within.map(({ transaction: { publicPart, claimsDigest }, id }) => ({
      transactionId: id,
      publicBytes: publicPart.length,
      ...(kind === "administrative" ? { administrative: administrativeJson(decodeAdministrative(publicPart)) } : {}),
      ...jsonOfRecord(recorded(id)),
      ...(kind === "application" ? { public: toHex(publicPart) } : {}),
      ...(claimsDigest === undefined ? {} : { claimsDigest: toHex(claimsDigest) }),
    }));
    const signer = toHex(header.signer);
    const batchFields = { index, view, firstSeqno, count, kind, adapterId, epoch, time, bytes, signer };
    return [JSON.stringify({ ...batchFields, root: toHex(batch.root), transactions: shown })];
  }
  const adapter = adapterId === 0 ? "" : ` adapter ${adapterId}`;
  const title = `batch ${index}  ${view}.${firstSeqno}-${firstSeqno + count}  ${kind}${adapter}  ${time}  ${bytes} bytes  epoch ${epoch}`;
  return [
    `${title}  signer ${toHex(header.signer).slice(0, 12)}`,
    ...within.map(({ transaction, id }) => {
      const record = recorded(id);
      const more = record === undefined ? "" : `  ${attestationWords(record)}`;
      return `  ${id}  ${describePublic(batch, transaction.publicPart)}${more}`;
    }),
  ];
}

function jsonOfRecord(record: ToldAttestation | undefined): { readonly attestation?: AttestationJson } {
  return record === undefined ? {} : { attestation: attestationJson(record) };
}

/** One JSON line per transaction of a batch within a range, its signature transaction included; `tail` ends with the batch. */
export function exportBatch(batch: ParsedBatch, tail: LedgerTail, range: SeqnoRange): readonly string[] {
  if (!overlaps(batch, range)) return [];
  const { header, transactions } = batch;
  const signatureSeqno = header.firstSeqno + header.count;
  const signed = {
    root: toHex(batch.root),
    signature: toHex(batch.signature),
    nodeId: toHex(header.signer),
  };
  const common = {
    index: header.index,
    kind: header.kind,
    adapterId: header.adapterId,
    epoch: header.epoch,
    timeMs: header.timeMs,
  };
  const proofOf = (seqno: number): unknown =>
    tail
      .path(seqno, signatureSeqno)
      .map((step) => ("left" in step ? { left: toHex(step.left) } : { right: toHex(step.right) }));
  const lines = transactions.flatMap((transaction, position) => {
    const seqno = header.firstSeqno + position;
    if (!isWithin(seqno, range)) return [];
    const { publicPart, privateCommitment, commitEvidenceDigest, claimsDigest } = transaction;
    return JSON.stringify({
      transactionId: `${header.view}.${seqno}`,
      seqno,
      ...common,
      public: toHex(publicPart),
      privateCommitment: privateCommitment === undefined ? null : toHex(privateCommitment),
      writeSetDigest: toHex(writeSetDigestOf(publicPart, privateCommitment, sha256)),
      commitEvidenceDigest: toHex(commitEvidenceDigest),
      claimsDigest: claimsDigest === undefined ? null : toHex(claimsDigest),
      leaf: toHex(transactionLeaf(transaction, sha256)),
      proof: proofOf(seqno),
      ...signed,
    });
  });
  if (!isWithin(signatureSeqno, range)) return lines;
  const leaf = toHex(signatureLeaf(batch.headerBytes, batch.publicSection, batch.sealedSection, sha256));
  const transactionId = `${header.view}.${signatureSeqno}`;
  const fields = { transactionId, seqno: signatureSeqno, ...common, kind: "signature" };
  return [...lines, JSON.stringify({ ...fields, leaf, proof: proofOf(signatureSeqno), ...signed })];
}
