/**
 * A validating node put together inside the enclave: keys, governance, consensus, channels and the client frontend around
 * one manager. The host gives ports and files; what it carries is ciphertext.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { toHex } from "../../core/codec/bytes.ts";
import { parseAddress } from "../../core/governance/address.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import type { RunScript } from "../../core/governance/script.ts";
import { feedEvents } from "../../core/governance/feed-events.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { constitutionDigest } from "../../core/governance/constitution-codec.ts";
import { CocoError, invariant } from "../../errors.ts";
import type { EvidenceCrypto, HardwareRoots } from "../../attestation/evidence.ts";
import type {
  AskTee,
  Clock,
  Crypto,
  Disk,
  DiskContent,
  Entropy,
  Sockets,
  StartExecutor,
  Tracer,
  WorkerIsolation,
} from "../ports.ts";
import type { AdapterProblem } from "./adapter-proposals.ts";
import { Callers } from "./callers.ts";
import { createNodeCertificate } from "./certificates.ts";
import { createChannelIdentity } from "./channel-identity.ts";
import { Channels, type ChannelIdentity } from "./channels.ts";
import { createClientApi } from "./client-api.ts";
import { Departure } from "./departure.ts";
import { ClientFrontend } from "./frontend.ts";
import { GovernanceFeed } from "./gov-feed.ts";
import { RefusedRequests } from "./refused-requests.ts";
import { handOver } from "./hand-over.ts";
import { History } from "./history.ts";
import { JoinDesk } from "./join-desk.ts";
import type { EpochMaker } from "./leader-duties.ts";
import type { GovernanceChange } from "./manager-parts.ts";
import { createEvidenceCrypto, createGovernanceCrypto, createNodeCrypto } from "./node-crypto.ts";
import { NodeCore } from "./node-core.ts";
import { type NodeKeys, signingKeyPem } from "./node-keys.ts";
import {
  carriesServiceKey,
  createEpoch,
  createGrant,
  firstTransactions,
  openEpochKey,
  ServiceIdentity,
} from "./service-keys.ts";

/** Validity of the self-signed certificate a node shows its peers; made anew at each start. */
export const CHANNEL_CERTIFICATE_DAYS = 365;

const DAY_MS = 86_400_000;

/** What a validating node is made of. */
export interface ValidatingNodeParts {
  readonly keys: NodeKeys;
  readonly genesis: Constitution;
  /** The constitution the owner approved when the node joined; for a node that genesis does not list. */
  readonly joined?: Constitution | undefined;
  /** Approval of this node's code that is not in the ledger yet. */
  readonly approval: readonly SignedMessage[] | undefined;
  /** See {@link AskTee}. */
  readonly askTee: AskTee;
  /** Roots that hardware is trusted by, instead of those pinned in this program; nothing but a test gives others. */
  readonly hardwareRoots?: HardwareRoots | undefined;
  /** `host:port` to listen at for peers and for clients. */
  readonly listen: string;
  readonly clientListen: string;
  /** Runs scripts of governance. */
  readonly runScript: RunScript;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly disk: Disk;
  readonly content: DiskContent;
  /** Whether this node served its network before: then a missing ledger is a loss, not a beginning. */
  readonly tookPart: boolean;
  readonly sockets: Sockets;
  readonly tracer: Tracer;
  readonly startExecutor: StartExecutor;
  readonly workers: WorkerIsolation;
  readonly adapterProblem: AdapterProblem;
  /** Clients are served under this service certificate (PEM); called again for each new one. */
  readonly onServing: (serviceCertificate: string) => void;
  readonly onFatal: (error: CocoError) => void;
}

/** See the module's header. */
export class ValidatingNode {
  readonly #parts: ValidatingNodeParts;
  readonly #crypto: Crypto;
  readonly #evidenceCrypto: EvidenceCrypto;
  readonly #core: NodeCore;
  readonly #channels: Channels;
  readonly #networkId: string;
  #service: ServiceIdentity | undefined;
  /** Evidence that the certificate for clients names. */
  #shownEvidence: Bytes | undefined;
  #frontend: ClientFrontend | undefined;
  /** The frontend listens. */
  #listens = false;
  readonly #callers: Callers;
  readonly #departure: Departure;
  readonly #governanceCrypto: GovernanceCrypto;
  readonly #feed: GovernanceFeed;

  /** Reads and verifies the node's whole ledger; throws when it does not hold or belongs to another network. */
  constructor(parts: ValidatingNodeParts) {
    this.#parts = parts;
    const { keys, genesis, entropy, clock } = parts;
    this.#crypto = createNodeCrypto(keys.signingKey);
    this.#evidenceCrypto = createEvidenceCrypto(parts.hardwareRoots);
    this.#governanceCrypto = createGovernanceCrypto(parts.runScript, parts.hardwareRoots);
    this.#networkId = toHex(constitutionDigest(genesis, this.#crypto.sha256));
    this.#callers = new Callers(genesis);
    let peers: Channels | undefined;
    this.#core = new NodeCore({
      nodeId: keys.nodeId,
      publicKey: keys.publicKey,
      genesis,
      joined: parts.joined,
      networkId: this.#networkId,
      crypto: this.#crypto,
      governanceCrypto: this.#governanceCrypto,
      clock,
      randomBytes: (length) => entropy.bytes(length),
      disk: parts.disk,
      content: parts.content,
      tookPart: parts.tookPart,
      peers: { send: (peer, frame) => peers?.send(peer, frame) ?? false },
      tracer: parts.tracer,
      startExecutor: parts.startExecutor,
      adapterProblem: parts.adapterProblem,
      firstTransactions: () => firstTransactions(genesis, this.#networkId, { crypto: this.#crypto, entropy, clock }),
      approval: parts.approval,
      epochMaker: this.#epochMaker(),
      askTee: parts.askTee,
      openEpoch: (record) => openEpochKey(record, this.#networkId, keys),
      carriesService: (epoch, key) => carriesServiceKey(epoch, this.#networkId, key, this.#crypto),
      onGovernance: (change) => this.#onGovernance(change),
      onFatal: parts.onFatal,
    });
    this.#feed = new GovernanceFeed(clock, this.#core.manager.committedSeqno);
    this.#channels = new Channels({
      identity: this.#channelIdentity(),
      sockets: parts.sockets,
      clock,
      entropy,
      tracer: parts.tracer,
      events: this.#core.manager,
    });
    peers = this.#channels;
    this.#departure = new Departure({
      ...{ nodeId: keys.nodeId, clock, tracer: parts.tracer, onFatal: parts.onFatal },
      knownVersion: parts.joined?.version ?? genesis.version,
      hearsLeader: () => this.#core.manager.status.leader !== undefined,
      stopServing: () => this.#frontend?.close(),
    });
  }

  #epochMaker(): EpochMaker {
    const { entropy, clock } = this.#parts;
    const ports = { crypto: this.#crypto, entropy, clock };
    return {
      epoch: (state) => (this.#service?.isOf(state) ? createEpoch(state, this.#service, ports) : undefined),
      grant: (state, nodeId, keyOf) => createGrant(state, nodeId, keyOf, ports),
    };
  }

  #channelIdentity(): ChannelIdentity {
    const { keys } = this.#parts;
    return createChannelIdentity({
      ...{ keys, networkId: this.#networkId, crypto: this.#crypto, evidenceCrypto: this.#evidenceCrypto },
      evidence: this.#core.evidence,
      certificate: this.#ownCertificate(),
      administration: this.#core.administration,
      constitution: () => this.#appraisalConstitution(),
      now: () => this.#core.sealing.batchTime(),
    });
  }

  /** The constitution of the log, with the approval of code that this node carries as far as it holds. */
  #appraisalConstitution(): Constitution {
    const { approval, clock } = this.#parts;
    const { administration } = this.#core;
    return approval === undefined
      ? administration.constitution
      : administration.constitutionWith(approval, clock.wallTime());
  }

  /**
   * Starts consensus, listens for peers and connects to them. A node that may have forgotten what it promised listens for the
   * members at once, under its own certificate: it may have to wait for them before it knows its service's.
   */
  async start(): Promise<void> {
    await new Promise<void>((started) => this.#core.manager.start(started));
    if (this.#core.manager.status.recovering && this.#frontend === undefined) {
      this.#callers.follow(this.#core.administration.constitution);
      await this.#listen(this.#ownCertificate());
    }
    await this.#channels.start(this.#parts.listen, this.#peers());
  }

  /** Tells consensus that the disk has no room, or has it again. */
  diskFull(full: boolean): void {
    this.#core.manager.diskFull(full);
  }

  /** Nodes this one keeps channels to: the listed ones, and those that were voted out and still vote. */
  #peers(): NodeId[] {
    const { administration } = this.#core;
    const { nodes } = administration.constitution;
    const departing = administration.appended?.departing ?? [];
    return [...nodes, ...departing].map((node) => node.nodeId).filter((nodeId) => nodeId !== this.#parts.keys.nodeId);
  }

  /** Hands the lead over if this node has it, so that its end interrupts nobody for an election timeout; then it can be closed. */
  async handOver(): Promise<void> {
    await handOver(this.#core.manager, this.#parts.clock);
  }

  /** Stops taking part; what is durable stays. */
  close(): void {
    this.#core.manager.stop();
    this.#departure.close();
    this.#feed.close();
    this.#frontend?.close();
    this.#channels.close();
    this.#core.close();
  }

  #onGovernance(change: GovernanceChange | undefined): void {
    const state = this.#core.administration.committed;
    if (state === undefined) return;
    this.#callers.follow(state.constitution);
    this.#channels.follow(this.#peers());
    if (change === undefined) this.#feed.missed(this.#core.manager.committedSeqno);
    else this.#feed.tell(feedEvents(change.before, state, change.header, this.#governanceCrypto));
    const isNewService = this.#followService(state);
    if (isNewService || this.#service?.isOf(state) === true) this.#showService(state, isNewService);
    this.#departure.follow(state);
  }

  /** Takes the service identity in force from the newest epoch; false when it is held already, or cannot be opened yet. */
  #followService(state: GovernanceState): boolean {
    const { clock, entropy, tracer } = this.#parts;
    const { epochKeys } = this.#core;
    if (this.#service?.isOf(state) || epochKeys.keyOf(epochKeys.newest) === undefined) return false;
    const ports = { crypto: this.#crypto, entropy, clock };
    try {
      this.#service = new ServiceIdentity(state, (epoch) => epochKeys.keyOf(epoch), ports);
    } catch (error) {
      if (this.#service === undefined) throw error;
      // The others hold it: this node goes on with the one before, which the new one vouches for, and opens no epoch.
      tracer.event("warn", "service_key", { message: "the new service identity does not open on this node" });
      return false;
    }
    return true;
  }

  /**
   * Serves clients under the identity this node holds, with a certificate that names the evidence recorded of it: from now on, or
   * new connections instead of the one before.
   */
  #showService(state: GovernanceState, isNewService: boolean): void {
    const { onFatal, onServing, keys } = this.#parts;
    const service = this.#service;
    invariant(service, "the service identity is held");
    const evidence = state.attested.get(keys.nodeId)?.evidence;
    if (!isNewService && evidence === this.#shownEvidence) return;
    this.#shownEvidence = evidence;
    const evidenceDigest = evidence && this.#crypto.sha256(evidence);
    const hosts = this.#clientHosts();
    const chain = service.clientChain({ nodeId: keys.nodeId, publicKey: keys.publicKey, hosts, evidenceDigest });
    if (this.#frontend !== undefined) {
      this.#frontend.showCertificate(chain);
      // A frontend that does not listen yet tells its certificate when it does.
      if (this.#listens && isNewService) onServing(service.certificate);
      return;
    }
    this.#listen(chain).catch((error: unknown) => {
      onFatal(
        error instanceof CocoError
          ? error
          : new CocoError("Internal", "the client frontend failed", {}, { cause: error }),
      );
    });
  }

  async #listen(certificate: string): Promise<void> {
    const { keys, clientListen, clock, sockets, onServing } = this.#parts;
    this.#frontend = new ClientFrontend({
      certificate,
      privateKey: signingKeyPem(keys),
      authenticate: (chain) => this.#callers.identify(chain, clock.wallTime()),
      ...this.#clientApi(),
    });
    await this.#frontend.start(clientListen, sockets);
    this.#listens = true;
    if (this.#service !== undefined) onServing(this.#service.certificate);
  }

  #joinDesk(): JoinDesk {
    const { keys, genesis, clock, entropy, tracer } = this.#parts;
    const { administration, sealing } = this.#core;
    return new JoinDesk({
      ...{
        networkId: this.#networkId,
        genesis,
        node: keys,
        evidence: this.#core.evidence,
        clock,
        entropy,
        tracer,
        crypto: this.#evidenceCrypto,
      },
      committed: () => administration.committed,
      ledgerTime: () => sealing.batchTime(),
    });
  }

  #clientApi(): ReturnType<typeof createClientApi> {
    const { manager, administration, tail, sealing, recovery } = this.#core;
    const service = () => this.#service;
    const { workers } = this.#parts;
    const history = new History({ tail, disk: this.#parts.disk, sha256: this.#crypto.sha256 });
    return createClientApi({
      manager,
      serves: () => this.#service !== undefined,
      join: this.#joinDesk(),
      node: {
        ...{ manager, administration, tail, sealing, recovery, history, service, workers },
        channels: this.#channels,
        crypto: this.#crypto,
        appraiser: this.#governanceCrypto,
      },
      gov: {
        ...{ manager, administration, tail, service },
        crypto: this.#governanceCrypto,
        feed: this.#feed,
        refused: new RefusedRequests(this.#parts.clock, this.#parts.tracer),
        now: () => sealing.batchTime(),
      },
    });
  }

  /** This node's certificate of itself: who knows its id can tell that it is this node. */
  #ownCertificate(): string {
    const { keys, clock, entropy } = this.#parts;
    const issuance = { notBeforeMs: clock.wallTime() - DAY_MS, days: CHANNEL_CERTIFICATE_DAYS, entropy };
    return createNodeCertificate(keys.nodeId, signingKeyPem(keys), issuance);
  }

  /** Names under which clients may reach this node: those it listens at and advertises, and loopback when it listens there. */
  #clientHosts(): string[] {
    const { keys, clientListen } = this.#parts;
    const advertised = this.#core.administration.constitution.nodes.find(
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
