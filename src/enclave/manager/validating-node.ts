/**
 * A validating node put together inside the enclave: keys, governance, consensus, channels and the client frontend around
 * one manager. The host gives ports and files; what it carries is ciphertext.
 */
import { appraise, requireAccepted } from "../../attestation/appraise.ts";
import { channelReportData } from "../../attestation/report-data.ts";
import { verifyEvidence } from "../../attestation/verify-evidence.ts";
import type { Caller } from "../../adapters/adapter.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { fromHex, toHex } from "../../core/codec/bytes.ts";
import { MAJORITY } from "../../core/consensus/quorum.ts";
import { Raft } from "../../core/consensus/raft.ts";
import type { LogEntry } from "../../core/consensus/types.ts";
import { decodeAdministrative, executeAdministrative } from "../../core/governance/administrative.ts";
import { parseAddress } from "../../core/governance/address.ts";
import type { CodeApproval } from "../../core/governance/code-approval.ts";
import type { AdapterEntry, Constitution } from "../../core/governance/constitution.ts";
import { constitutionDigest } from "../../core/governance/constitution-codec.ts";
import { judgeCodeApproval } from "../../core/governance/code-approval.ts";
import { verifyBatch } from "../../core/ledger/batch.ts";
import { type ParsedBatch, parseBatch } from "../../core/ledger/batch-format.ts";
import { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Crypto, Disk, DiskContent, Entropy, Executor, ExecutorEvents, Sockets, Tracer } from "../ports.ts";
import { Administration } from "./administration.ts";
import { type ActorLookup, createActorLookup } from "./certificate-reader.ts";
import { createNodeCertificate } from "./certificates.ts";
import { Channels, type ChannelIdentity } from "./channels.ts";
import { ClientFrontend, errorResponse, type FrontendRequest, type FrontendResponse } from "./frontend.ts";
import { Manager } from "./manager.ts";
import type { AdapterPart } from "./manager-parts.ts";
import { handleNodeRequest, isNodePath, type NodeApiParts } from "./node-api.ts";
import { createGovernanceCrypto, createNodeCrypto } from "./node-crypto.ts";
import { type NodeKeys, signingKeyPem } from "./node-keys.ts";
import { Replicator } from "./replicator.ts";
import { Sealing } from "./sealing.ts";
import { firstTransactions, openEpochKey, ServiceIdentity } from "./service-keys.ts";

/** Shortest and longest time without a leader before an election, in milliseconds. */
export const ELECTION_TIMEOUT_MIN_MS = 600;
/** See {@link ELECTION_TIMEOUT_MIN_MS}. */
export const ELECTION_TIMEOUT_MAX_MS = 1_200;
/** Time between a leader's heartbeats. */
export const HEARTBEAT_INTERVAL_MS = 100;
/** Size of one replicated message. */
export const APPEND_BYTES_MAX = 2 * 1024 * 1024;
/** Replicated messages a follower may be behind with its acknowledgements. */
export const APPENDS_IN_FLIGHT_MAX = 8;
/** Committed log kept in memory for followers that are a little behind. */
export const LOG_WINDOW_BYTES = 64 * 1024 * 1024;
/** How long a verdict on a client's certificate is kept. */
export const CALLER_CACHE_MS = 1_000;
/** Validity of the self-signed certificate a node shows its peers; made anew at each start. */
export const CHANNEL_CERTIFICATE_DAYS = 365;

const DAY_MS = 86_400_000;

/** What a validating node is made of. */
export interface ValidatingNodeParts {
  readonly keys: NodeKeys;
  readonly genesis: Constitution;
  /** Approval of this node's code that is not in the ledger yet. */
  readonly approval: CodeApproval | undefined;
  /** Evidence of this node's code for 64 bytes of report data. */
  readonly attest: (reportData: Bytes) => Bytes;
  /** `host:port` to listen at for peers and for clients. */
  readonly listen: string;
  readonly clientListen: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly disk: Disk;
  readonly content: DiskContent;
  /** Whether this node served its network before: then a missing ledger is a loss, not a beginning. */
  readonly tookPart: boolean;
  readonly sockets: Sockets;
  readonly tracer: Tracer;
  readonly startExecutor: (adapter: AdapterEntry, onMessage: ExecutorEvents) => Executor;
  /** The service certificate (PEM) is known and clients are served. */
  readonly onServing: (serviceCertificate: string) => void;
  readonly onFatal: (error: CocoError) => void;
}

/** See the module's header. */
export class ValidatingNode {
  readonly #parts: ValidatingNodeParts;
  readonly #crypto: Crypto;
  readonly #administration: Administration;
  readonly #tail: LedgerTail;
  readonly #sealing: Sealing;
  readonly #manager: Manager;
  readonly #channels: Channels;
  readonly #networkId: string;
  #service: ServiceIdentity | undefined;
  #actors: ActorLookup;
  #frontend: ClientFrontend | undefined;
  readonly #callers = new WeakMap<Bytes, { actors: ActorLookup; at: number; caller: Caller | undefined }>();
  #installedEpoch = 0;

  /** Reads and verifies the node's whole ledger; throws when it does not hold or belongs to another network. */
  constructor(parts: ValidatingNodeParts) {
    this.#parts = parts;
    const { keys, genesis, entropy, clock } = parts;
    this.#crypto = createNodeCrypto(keys.signingKey);
    this.#networkId = toHex(constitutionDigest(genesis, this.#crypto.sha256));
    this.#administration = new Administration(genesis, this.#networkId, createGovernanceCrypto());
    this.#tail = new LedgerTail(this.#crypto.sha256);
    this.#sealing = new Sealing(this.#tail, this.#crypto, clock, {
      signer: fromHex(keys.nodeId),
      salt: entropy.bytes(16),
    });
    this.#actors = createActorLookup(genesis);
    const raft = this.#createRaft();
    if (parts.tookPart && (parts.content.hardState === undefined || this.#tail.lastIndex === 0)) {
      parts.tracer.event("warn", "ledger_lost", {
        message: "no vote before this node has caught up with a live leader",
      });
    }
    let peers: Channels | undefined;
    this.#manager = new Manager({
      nodeId: keys.nodeId,
      clock,
      randomBytes: (length) => entropy.bytes(length),
      tail: this.#tail,
      sealing: this.#sealing,
      administration: this.#administration,
      peers: { send: (peer, frame) => peers?.send(peer, frame) ?? false },
      adapters: genesis.adapters.map((adapter) => this.#startAdapter(adapter)),
      tracer: parts.tracer,
      createReplicator: (callbacks) =>
        new Replicator({
          ...callbacks,
          consensus: raft,
          tail: this.#tail,
          disk: parts.disk,
          clock,
          crypto: this.#crypto,
          publicKeyOf: (nodeId) => this.#administration.publicKeyOf(nodeId),
        }),
      firstTransactions: () => firstTransactions(genesis, this.#networkId, { crypto: this.#crypto, entropy, clock }),
      approval: parts.approval,
      onGovernance: () => this.#onGovernance(),
      onFatal: parts.onFatal,
    });
    this.#channels = new Channels({
      identity: this.#channelIdentity(),
      sockets: parts.sockets,
      clock,
      entropy,
      tracer: parts.tracer,
      events: this.#manager,
    });
    peers = this.#channels;
  }

  #startAdapter(adapter: AdapterEntry): AdapterPart {
    const executor = this.#parts.startExecutor(adapter, (message) => this.#manager.fromWorker(adapter.id, message));
    return { id: adapter.id, name: adapter.name, mount: adapter.mount, executor };
  }

  #createRaft(): Raft {
    const { keys, genesis, content, entropy, clock } = this.#parts;
    return new Raft({
      id: keys.nodeId,
      initial: {
        current: { voters: genesis.nodes.map((node) => node.nodeId), quorum: MAJORITY },
        previous: undefined,
        learners: [],
      },
      configurationOf: () => undefined,
      random: () => new DataView(entropy.bytes(4).buffer).getUint32(0) / 0x100000000,
      electionTimeoutMinMs: ELECTION_TIMEOUT_MIN_MS,
      electionTimeoutMaxMs: ELECTION_TIMEOUT_MAX_MS,
      heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
      maxAppendBytes: APPEND_BYTES_MAX,
      maxInflightAppends: APPENDS_IN_FLIGHT_MAX,
      maxInflightBytes: APPENDS_IN_FLIGHT_MAX * APPEND_BYTES_MAX,
      windowBytes: LOG_WINDOW_BYTES,
      hardState: content.hardState,
      trustDisk: true,
      tookPart: this.#parts.tookPart,
      restored: { entries: this.#verified(content.entries) },
      now: clock.now(),
    });
  }

  /** The disk is not trusted: every batch is verified as if it came from a peer, while consensus reads the log. */
  *#verified(entries: Iterable<LogEntry>): Generator<LogEntry> {
    for (const entry of entries) {
      try {
        this.#verifyStored(entry);
      } catch (error) {
        if (error instanceof CocoError && error.code !== "ConstitutionInvalid" && error.code !== "MalformedInput")
          throw error;
        const { index } = entry;
        throw new CocoError("LedgerCorrupt", `batch ${index} of the ledger does not hold`, { index }, { cause: error });
      }
      yield entry;
    }
  }

  #verifyStored(entry: LogEntry): void {
    const batch = parseBatch(entry.data);
    if (entry.index === 1) this.#checkNetwork(batch);
    verifyBatch(batch, this.#tail, (nodeId) => this.#administration.publicKeyOf(nodeId), this.#crypto);
    this.#administration.append(batch);
  }

  /** Whether a ledger begins with the genesis of another network, and really does: signed by a node that genesis lists. */
  #checkNetwork(batch: ParsedBatch): void {
    const [first] = batch.transactions;
    const state =
      first && executeAdministrative(undefined, decodeAdministrative(first.publicPart), createGovernanceCrypto());
    if (state === undefined || state.networkId === this.#networkId) return;
    const nodes = new Map(state.constitution.nodes.map((node) => [node.nodeId, node.publicKey]));
    verifyBatch(batch, new LedgerTail(this.#crypto.sha256), (nodeId) => nodes.get(nodeId), this.#crypto);
    const message = `the ledger belongs to network ${state.networkId}, not ${this.#networkId}`;
    throw new CocoError("FolderOfAnotherNetwork", message);
  }

  #channelIdentity(): ChannelIdentity {
    const { keys, attest, clock, entropy } = this.#parts;
    const privateKey = signingKeyPem(keys);
    const issuance = { notBeforeMs: clock.wallTime() - DAY_MS, days: CHANNEL_CERTIFICATE_DAYS, entropy };
    const digest = fromHex(this.#networkId);
    const { sha256 } = this.#crypto;
    const nodeOf = (nodeId: string) => this.#administration.constitution.nodes.find((node) => node.nodeId === nodeId);
    const binding = { networkId: this.#networkId, constitutionDigest: digest };
    return {
      nodeId: keys.nodeId,
      networkId: digest,
      certificate: createNodeCertificate(keys.nodeId, privateKey, issuance),
      privateKey,
      nodeIdOf: (publicKey) => toHex(sha256(publicKey)),
      addressOf: (peer) => nodeOf(peer)?.address,
      attest: (challenge, exporter) =>
        attest(
          channelReportData(
            { ...binding, sender: keys.nodeId, senderEncryptionKey: keys.encryptionKey, challenge, exporter },
            sha256,
          ),
        ),
      appraise: (peer, evidence, challenge, exporter) => {
        const node = nodeOf(peer);
        if (node === undefined) throw new CocoError("PeerNotListed", `node ${peer} is not in the VN list`);
        const expected = channelReportData(
          { ...binding, sender: peer, senderEncryptionKey: node.encryptionKey, challenge, exporter },
          sha256,
        );
        requireAccepted(appraise(verifyEvidence(evidence, expected, this.#crypto), this.#appraisalConstitution()));
      },
    };
  }

  /** The constitution of the log, with the approval this node carries when members have voted it for exactly that one. */
  #appraisalConstitution(): Constitution {
    const { approval, genesis } = this.#parts;
    const state = this.#administration.appended;
    const standing = state ?? {
      networkId: this.#networkId,
      constitution: genesis,
      constitutionDigest: fromHex(this.#networkId),
    };
    if (approval === undefined) return standing.constitution;
    try {
      return judgeCodeApproval(standing, approval, createGovernanceCrypto());
    } catch {
      return standing.constitution;
    }
  }

  /** Listens for peers, connects to them and starts consensus. */
  async start(): Promise<void> {
    const { keys, listen } = this.#parts;
    const peers = this.#administration.constitution.nodes
      .map((node) => node.nodeId)
      .filter((nodeId) => nodeId !== keys.nodeId);
    await this.#channels.start(listen, peers);
    this.#manager.start();
  }

  /** Stops taking part; what is durable stays. */
  close(): void {
    this.#manager.stop();
    this.#frontend?.close();
    this.#channels.close();
  }

  #onGovernance(): void {
    const { keys, clock, entropy, onFatal } = this.#parts;
    const state = this.#administration.committed;
    if (state === undefined) return;
    this.#actors = createActorLookup(state.constitution);
    for (const record of state.epochs) {
      if (record.epoch <= this.#installedEpoch) continue;
      const epochKey = openEpochKey(record, this.#networkId, keys);
      this.#sealing.addEpoch(record.epoch, epochKey);
      this.#installedEpoch = record.epoch;
      this.#service ??= new ServiceIdentity(state, epochKey, { crypto: this.#crypto, entropy, clock });
    }
    if (this.#service !== undefined && this.#frontend === undefined) {
      this.#serve(this.#service).catch((error: unknown) => {
        onFatal(
          error instanceof CocoError
            ? error
            : new CocoError("Internal", "the client frontend failed", {}, { cause: error }),
        );
      });
    }
  }

  async #serve(service: ServiceIdentity): Promise<void> {
    const { keys, clientListen, sockets, onServing } = this.#parts;
    const hosts = this.#clientHosts();
    const api: NodeApiParts = {
      manager: this.#manager,
      administration: this.#administration,
      tail: this.#tail,
      sealing: this.#sealing,
      crypto: this.#crypto,
      disk: this.#parts.disk,
      service: () => this.#service,
    };
    const frontend = new ClientFrontend({
      certificate: service.endorse(keys.nodeId, keys.publicKey, hosts) + service.certificate,
      privateKey: signingKeyPem(keys),
      authenticate: (certificate) => this.#callerOf(certificate),
      handle: (request, respond) =>
        isNodePath(request.path) ? handleNodeRequest(api, request, respond) : this.#handle(request, respond),
    });
    this.#frontend = frontend;
    await frontend.start(clientListen, sockets);
    onServing(service.certificate);
  }

  /** Judged anew when the constitution changed or a second passed; a certificate may expire while its connection lives. */
  #callerOf(certificate: Bytes): Caller | undefined {
    const now = this.#parts.clock.wallTime();
    const known = this.#callers.get(certificate);
    if (known !== undefined && known.actors === this.#actors && now - known.at < CALLER_CACHE_MS) return known.caller;
    const caller = this.#actors(certificate, now);
    this.#callers.set(certificate, { actors: this.#actors, at: now, caller });
    return caller;
  }

  #handle(request: FrontendRequest, respond: (response: FrontendResponse) => void): void {
    if (request.method !== "POST" && this.#manager.serves(request.path))
      respond(errorResponse(new CocoError("MethodNotAllowed", "adapters are reached with POST")));
    else this.#manager.request(request, respond);
  }

  /** Names under which clients may reach this node: those it listens at and advertises, and loopback when it listens there. */
  #clientHosts(): string[] {
    const { keys, clientListen } = this.#parts;
    const advertised = this.#administration.constitution.nodes.find(
      (node) => node.nodeId === keys.nodeId,
    )?.clientAddress;
    const hosts = new Set(
      [clientListen, advertised].flatMap((address) => (address && parseAddress(address, true)?.host) || []),
    );
    if (hosts.has("127.0.0.1") || hosts.has("0.0.0.0") || hosts.has("::1"))
      for (const local of ["localhost", "127.0.0.1", "::1"]) hosts.add(local);
    return [...hosts];
  }
}
