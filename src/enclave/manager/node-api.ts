/**
 * The framework's own endpoints under `/node`, in CCF's shapes where CCF has the concept: state, network, commit, status
 * and receipt of a transaction, and the ledger by sequence numbers. Open to every authenticated caller: what they show is
 * public in the ledger.
 */
import { toHex, utf8Encode } from "../../core/codec/bytes.ts";
import { constitutionToJson } from "../../core/governance/constitution-codec.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import type { LedgerCrypto } from "../../core/ledger/keys.ts";
import { makeCoseReceipt } from "../../core/ledger/cose-receipt.ts";
import { makeReceipt, type Receipt, type ReceiptInput } from "../../core/ledger/receipt.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { WorkerIsolation } from "../ports.ts";
import { type Endpoint, type EndpointRule, Endpoints, json, type Respond } from "./endpoints.ts";
import { evidenceView } from "./evidence-view.ts";
import type { FrontendRequest, FrontendResponse } from "./frontend.ts";
import type { History } from "./history.ts";
import type { Manager } from "./manager.ts";
import { hindranceOf } from "./readiness.ts";
import type { RecoveryDesk } from "./recovery-desk.ts";
import type { Sealing } from "./sealing.ts";
import type { Channels } from "./channels.ts";
import { backEndorsementsOf, endorsementsOf, type ServiceIdentity, signerId } from "./service-keys.ts";

/** What the endpoints read. */
export interface NodeApiParts {
  readonly manager: Manager;
  readonly administration: Administration;
  readonly tail: LedgerTail;
  readonly sealing: Sealing;
  readonly crypto: LedgerCrypto;
  readonly appraiser: Pick<GovernanceCrypto, "appraise">;
  readonly history: History;
  readonly recovery: RecoveryDesk;
  readonly workers: WorkerIsolation;
  readonly channels: Pick<Channels, "refusedFrames" | "refusedHandshakes">;
  /** What `GET /node/api` answers. */
  readonly endpoints: readonly EndpointRule[];
  readonly service: () => ServiceIdentity | undefined;
}

/** Most transactions of one answer of `/node/transactions`. */
export const TRANSACTIONS_ANSWERED_MAX = 1_000;

const TRANSACTION_ID = /^([1-9]\d{0,15})\.([1-9]\d{0,15})$/;

const get = (path: string, handle: Endpoint<NodeApiParts>["handle"]): Endpoint<NodeApiParts> => ({
  ...{ method: "GET", path, who: "actor", handle },
});

/** The endpoints under `/node`. */
export const NODE_ENDPOINTS: Endpoints<NodeApiParts> = new Endpoints([
  get("/node/api", ({ endpoints }, _request, respond) => respond(json({ endpoints }))),
  get("/node/state", nodeState),
  get("/node/network", network),
  get("/node/constitution", constitution),
  get("/node/ready", ready),
  get("/node/commit", commit),
  get("/node/tx", transactionStatus),
  get("/node/receipt", receipt),
  get("/node/service_endorsements", serviceEndorsements),
  get("/node/transactions", transactions),
  get("/node/evidence", evidence),
  get("/node/recovery", recovery),
  { method: "POST", path: "/node/resume", who: "actor", handle: resume },
]);

/** Whether a path belongs to these endpoints. */
export function isNodePath(path: string): boolean {
  return path === "/node" || path.startsWith("/node/");
}

function nodeState(
  { manager, tail, workers, channels }: NodeApiParts,
  _request: FrontendRequest,
  respond: Respond,
): void {
  const { id, role, term, leader, commitIndex, lastIndex } = manager.status;
  respond(
    json({
      node_id: id,
      state: manager.committedSeqno > 0 ? "PartOfNetwork" : "Initialized",
      role,
      view: term,
      primary_id: leader ?? null,
      commit_index: commitIndex,
      last_index: lastIndex,
      last_seqno: tail.lastSeqno,
      committed_seqno: manager.committedSeqno,
      refused_frames: channels.refusedFrames,
      refused_handshakes: channels.refusedHandshakes,
      refused_quarantines: manager.leases.refusedQuarantines,
      lease: manager.leases.own,
      workers: { ...workers, lost: manager.adapters.workersLost },
    }),
  );
}

function network(
  { manager, administration, service }: NodeApiParts,
  _request: FrontendRequest,
  respond: Respond,
): void {
  const state = administration.committed;
  if (state === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  respond(
    json({
      network_id: state.networkId,
      name: state.constitution.network.name,
      constitution_version: state.constitution.version,
      primary_id: manager.status.leader ?? null,
      current_view: manager.status.term,
      service_certificate: service()?.certificate ?? null,
      service_from_seqno: state.services.at(-1)?.fromSeqno ?? null,
      nodes: state.constitution.nodes.map(({ nodeId, owner, address, clientAddress }) => ({
        node_id: nodeId,
        owner,
        node_address: address,
        client_address: clientAddress,
        primary: nodeId === manager.status.leader,
      })),
    }),
  );
}

/** The cross certificates of the service identities: first those that lead back in time, newest first, then those forward. */
function serviceEndorsements({ administration }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  const services = administration.committed?.services ?? [];
  const certificates = [...endorsementsOf(services), ...backEndorsementsOf(services)];
  respond({ status: 200, contentType: "application/x-pem-file", body: utf8Encode(certificates.join("")) });
}

function constitution({ administration }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  const state = administration.committed;
  if (state === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  respond({ status: 200, contentType: "application/json", body: utf8Encode(constitutionToJson(state.constitution)) });
}

/** What each node was found to run, with the evidence of it. */
function evidence(
  { administration, sealing, appraiser }: NodeApiParts,
  _request: FrontendRequest,
  respond: Respond,
): void {
  const state = administration.committed;
  if (state === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  respond(json(evidenceView(state, sealing.batchTime(), appraiser)));
}

/** Who is told 200 here is served: by adapters that have their state, as far as this node reads the ledger. */
function ready({ manager, service }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  if (service() === undefined) throw new CocoError("NotReady", "the service identity is not known yet");
  const hindrance = hindranceOf(manager);
  if (hindrance !== undefined) throw new CocoError("NotReady", hindrance);
  respond(json({ ready: true }));
}

function commit({ manager, tail }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  const view = tail.viewOfSeqno(manager.committedSeqno);
  if (view === undefined) throw new CocoError("NotReady", "nothing is committed yet");
  respond(
    json({
      transaction_id: `${view}.${manager.committedSeqno}`,
      view_history: tail.viewHistory(manager.committedSeqno),
    }),
  );
}

function transactionId(request: FrontendRequest): { view: number; seqno: number; id: string } {
  const id = request.query.get("transaction_id") ?? "";
  const match = TRANSACTION_ID.exec(id);
  const view = Number(match?.[1]);
  const seqno = Number(match?.[2]);
  if (!Number.isSafeInteger(view) || !Number.isSafeInteger(seqno)) {
    throw new CocoError("MalformedInput", "expected the query parameter transaction_id of the form view.seqno");
  }
  return { view, seqno, id };
}

function transactionStatus({ manager, tail }: NodeApiParts, request: FrontendRequest, respond: Respond): void {
  const { view, seqno, id } = transactionId(request);
  respond(json({ transaction_id: id, status: tail.status(view, seqno, manager.committedSeqno) }));
}

async function receipt(parts: NodeApiParts, request: FrontendRequest, respond: Respond): Promise<void> {
  const { manager, tail, history, sealing, crypto } = parts;
  const { view, seqno, id } = transactionId(request);
  const status = tail.status(view, seqno, manager.committedSeqno);
  if (status !== "Committed") throw new CocoError("TransactionNotCommitted", `transaction ${id} is ${status}`);
  const service = parts.service();
  if (service === undefined) throw new CocoError("NotReady", "the service identity is not known yet");
  const format = request.query.get("format") ?? "json";
  if (format !== "json" && format !== "cose") throw new CocoError("MalformedInput", "expected format json or cose");
  const input = await history.query(async (past) => {
    const batch = await past.batchOf(seqno);
    const { firstSeqno, count } = batch.header;
    const leavesOf = await past.leavesFor(seqno, firstSeqno + count);
    const place = { batch, position: seqno - firstSeqno, tail, keys: sealing.keys, crypto };
    return leavesOf === undefined ? place : { ...place, leavesOf };
  });
  respond(format === "cose" ? coseReceiptOf(parts, input, service) : json(jsonReceiptOf(parts, input, service)));
}

function sequenceNumber(request: FrontendRequest, name: string): number {
  const value = Number(request.query.get(name));
  if (!Number.isSafeInteger(value) || value < 1)
    throw new CocoError("MalformedInput", `expected the query parameter ${name}: a sequence number from 1 on`);
  return value;
}

/** The public part of the ledger between two sequence numbers; what did not fit the answer begins at `next_seqno`. */
async function transactions(parts: NodeApiParts, request: FrontendRequest, respond: Respond): Promise<void> {
  const { manager, history } = parts;
  const from = sequenceNumber(request, "from_seqno");
  const to = Math.min(sequenceNumber(request, "to_seqno"), manager.committedSeqno);
  const answeredTo = Math.min(to, from + TRANSACTIONS_ANSWERED_MAX - 1);
  const batches = from > to ? [] : await history.query((past) => past.range(from, answeredTo));
  const answered = batches.flatMap(transactionsOf).filter(({ seqno }) => seqno >= from && seqno <= answeredTo);
  const last = answered.at(-1)?.seqno ?? to;
  respond(json({ transactions: answered, next_seqno: last < to ? last + 1 : null }));
}

function transactionsOf({ header, transactions: parts }: ParsedBatch) {
  const common = { kind: header.kind, adapter: header.adapterId, epoch: header.epoch, time_ms: header.timeMs };
  const hexOf = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : toHex(bytes));
  const own = parts.map((transaction, at) => ({
    transaction_id: `${header.view}.${header.firstSeqno + at}`,
    seqno: header.firstSeqno + at,
    ...common,
    public_part: toHex(transaction.publicPart),
    private_commitment: hexOf(transaction.privateCommitment),
    claims_digest: hexOf(transaction.claimsDigest),
  }));
  const seqno = header.firstSeqno + header.count;
  const nothing = { public_part: "", private_commitment: null, claims_digest: null };
  return [...own, { transaction_id: `${header.view}.${seqno}`, seqno, ...common, kind: "signature", ...nothing }];
}

/** What members sign to let this node take part again; null when it does not wait for that. */
function recovery(parts: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  const { networkId, waiting } = parts.recovery.view;
  respond(
    json({
      network_id: networkId,
      recovering: waiting !== undefined,
      node_id: waiting?.nodeId ?? null,
      nonce: waiting === undefined ? null : toHex(waiting.nonce),
      last_transaction_id: waiting === undefined ? null : `${waiting.view}.${waiting.seqno}`,
    }),
  );
}

/** The members' signed statements: judged and in force at once. */
function resume(parts: NodeApiParts, request: FrontendRequest, respond: Respond): void {
  parts.recovery.take(request.body);
  respond(json({ resumed: true }));
}

type BatchPosition = Omit<ReceiptInput, "certificate">;

function jsonReceiptOf({ administration }: NodeApiParts, input: BatchPosition, identity: ServiceIdentity): Receipt {
  const signer = signerId(input.batch.header.signer);
  const publicKey = administration.publicKeyOf(signer);
  if (publicKey === undefined)
    throw new CocoError("NotFound", `node ${signer}, which signed it, has left the network: ask with format=cose`);
  const { endorsements } = identity;
  return makeReceipt({
    ...input,
    certificate: identity.receiptCertificate(signer, publicKey),
    ...(endorsements.length > 0 && { serviceEndorsements: endorsements }),
  });
}

function coseReceiptOf(parts: NodeApiParts, input: BatchPosition, identity: ServiceIdentity): FrontendResponse {
  const issuer = parts.administration.committed?.networkId;
  if (issuer === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  const body = makeCoseReceipt({
    ...input,
    serviceKey: identity.publicKey,
    issuer,
    signAsService: (data) => identity.sign(data),
  });
  return { status: 200, contentType: "application/cose", body };
}
