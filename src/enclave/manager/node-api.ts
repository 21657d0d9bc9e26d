/**
 * The framework's own endpoints under `/node`, in CCF's shapes where CCF has the concept: state, network, commit, status
 * and receipt of a transaction. Read-only; open to every authenticated caller.
 */
import { utf8Encode } from "../../core/codec/bytes.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { constitutionToJson } from "../../core/governance/constitution-codec.ts";
import { parseBatch } from "../../core/ledger/batch-format.ts";
import type { LedgerCrypto } from "../../core/ledger/keys.ts";
import { makeCoseReceipt } from "../../core/ledger/cose-receipt.ts";
import { makeReceipt, type Receipt, type ReceiptInput } from "../../core/ledger/receipt.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Disk } from "../ports.ts";
import type { Administration } from "./administration.ts";
import { errorResponse, type FrontendRequest, type FrontendResponse } from "./frontend.ts";
import type { Manager } from "./manager.ts";
import type { Sealing } from "./sealing.ts";
import { type ServiceIdentity, signerId } from "./service-keys.ts";

/** What the endpoints read. */
export interface NodeApiParts {
  readonly manager: Manager;
  readonly administration: Administration;
  readonly tail: LedgerTail;
  readonly sealing: Sealing;
  readonly crypto: LedgerCrypto;
  readonly disk: Disk;
  readonly service: () => ServiceIdentity | undefined;
}

type Respond = (response: FrontendResponse) => void;
type Endpoint = (parts: NodeApiParts, request: FrontendRequest, respond: Respond) => void;

const TRANSACTION_ID = /^([1-9]\d{0,15})\.([1-9]\d{0,15})$/;

const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  "/node/api": (_parts, _request, respond) =>
    respond(json({ endpoints: Object.keys(ENDPOINTS).map((path) => ({ method: "GET", path })) })),
  "/node/state": nodeState,
  "/node/network": network,
  "/node/constitution": constitution,
  "/node/ready": ready,
  "/node/commit": commit,
  "/node/tx": transactionStatus,
  "/node/receipt": receipt,
};

/** Whether a path belongs to these endpoints. */
export function isNodePath(path: string): boolean {
  return path === "/node" || path.startsWith("/node/");
}

/** Answers a request under `/node`. */
export function handleNodeRequest(parts: NodeApiParts, request: FrontendRequest, respond: Respond): void {
  try {
    const endpoint = Object.hasOwn(ENDPOINTS, request.path) ? ENDPOINTS[request.path] : undefined;
    if (endpoint === undefined) throw new CocoError("NotFound", `nothing is served at ${request.path}`);
    if (request.method !== "GET") throw new CocoError("MethodNotAllowed", `${request.path} is read with GET`);
    endpoint(parts, request, respond);
  } catch (error) {
    respond(errorResponse(error instanceof CocoError ? error : new CocoError("Internal", "the request failed")));
  }
}

function json(value: unknown, status = 200): FrontendResponse {
  return { status, contentType: "application/json", body: utf8Encode(JSON.stringify(value)) };
}

function nodeState({ manager, tail }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
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
      refused_frames: manager.refusedFrames,
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

function constitution({ administration }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  const state = administration.committed;
  if (state === undefined) throw new CocoError("NotReady", "the genesis of the network is not committed yet");
  respond({ status: 200, contentType: "application/json", body: utf8Encode(constitutionToJson(state.constitution)) });
}

function ready({ manager }: NodeApiParts, _request: FrontendRequest, respond: Respond): void {
  if (manager.status.leader === undefined) throw new CocoError("NotReady", "no leader is known");
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

function receipt(parts: NodeApiParts, request: FrontendRequest, respond: Respond): void {
  const { manager, tail, disk } = parts;
  const { view, seqno, id } = transactionId(request);
  const status = tail.status(view, seqno, manager.committedSeqno);
  const record = tail.batchOfSeqno(seqno);
  if (status !== "Committed" || record === undefined)
    throw new CocoError("TransactionNotCommitted", `transaction ${id} is ${status}`);
  const service = parts.service();
  if (service === undefined) throw new CocoError("NotReady", "the service identity is not known yet");
  const format = request.query.get("format") ?? "json";
  if (format !== "json" && format !== "cose") throw new CocoError("MalformedInput", "expected format json or cose");
  disk.read(record.index, 1, (entries) => {
    try {
      respond(receiptOf(entries, seqno, service));
    } catch (error) {
      respond(
        errorResponse(error instanceof CocoError ? error : new CocoError("Internal", "the receipt could not be made")),
      );
    }
  });

  function receiptOf(entries: readonly LogEntry[], wanted: number, identity: ServiceIdentity): FrontendResponse {
    const entry = entries[0];
    if (entry === undefined) throw new CocoError("LedgerCorrupt", `batch of transaction ${id} cannot be read`);
    const batch = parseBatch(entry.data);
    const { sealing, crypto } = parts;
    const input = { batch, position: wanted - batch.header.firstSeqno, tail, keys: sealing.keys, crypto };
    return format === "cose" ? coseReceiptOf(parts, input, identity) : json(jsonReceiptOf(parts, input, identity));
  }
}

type BatchPosition = Omit<ReceiptInput, "certificate">;

function jsonReceiptOf({ administration }: NodeApiParts, input: BatchPosition, identity: ServiceIdentity): Receipt {
  const signer = signerId(input.batch.header.signer);
  const publicKey = administration.publicKeyOf(signer);
  if (publicKey === undefined) throw new CocoError("Internal", `signer ${signer} is not listed`);
  return makeReceipt({ ...input, certificate: identity.receiptCertificate(signer, publicKey) });
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
