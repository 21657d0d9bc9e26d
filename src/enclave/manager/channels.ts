/**
 * Channels between validating nodes: TLS 1.3 with both sides' node keys, then mutual attestation bound to that very TLS
 * session, then frames. A peer that is not in the VN list, or whose evidence does not appraise, never gets past the
 * handshake (R13). Of each pair the node with the smaller id dials, so that a pair has one channel.
 *
 * Handshake, each message as a frame (u32 length, payload): `hello` = version u8 ‖ network id 32 B ‖ challenge 32 B;
 * `evidence` = evidence whose report data binds network, sender's node id, the receiver's challenge, and the TLS exporter
 * value (RFC 8446, 7.5), so that evidence of another session or for another challenge is worthless.
 */
import { connect as tlsConnect, createServer, type Server, type TLSSocket } from "node:tls";
import type { Claims } from "../../attestation/evidence.ts";
import { CHANNEL_EXPORTER_LABEL } from "../../attestation/report-data.ts";
import type { Bytes } from "../../core/codec/bytes.ts";
import { bytesEqual, ByteReader, concatBytes, toHex } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import { CocoError } from "../../errors.ts";
import { type AttestedSocket, Channel } from "./channel.ts";
import type { Clock, Entropy, PeerEvents, PeerTransport, Sockets, Tracer } from "../ports.ts";
import { EvidenceExchange } from "./evidence-exchange.ts";
import type { TakeEvidence } from "./evidence-maker.ts";
import { FrameReader, writeFrame } from "./frame-stream.ts";
import { MAX_FRAME_BYTES } from "./frames.ts";
import { NewestConnections } from "./newest-connections.ts";

/** A TLS handshake between validating nodes that takes longer is broken off, with the connecting before it. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;
/** Time after the TLS handshake in which both sides must have shown evidence: hardware may take seconds to make it. */
export const EVIDENCE_EXCHANGE_TIMEOUT_MS = 15_000;
/** Largest message of the handshake. */
export const HANDSHAKE_FRAME_BYTES_MAX = 64 * 1024;
/** Waiting times between attempts to connect, in milliseconds: the last one repeats. */
export const REDIAL_MS = [20, 50, 100, 200, 400] as const;
/** Most refused channels in the log per {@link REFUSALS_LOGGED_PERIOD_MS}. */
export const REFUSALS_LOGGED_MAX = 10;
/** See {@link REFUSALS_LOGGED_MAX}. */
export const REFUSALS_LOGGED_PERIOD_MS = 60_000;
/** Most inbound connections in their handshake. */
export const INBOUND_HANDSHAKES_MAX = 64;

const PROTOCOL_VERSION = 1;

/** Who may be on the other side, and what this side shows. */
export interface ChannelIdentity {
  readonly nodeId: NodeId;
  /** 32 bytes. */
  readonly networkId: Bytes;
  /** Self-signed certificate of the node key (PEM) and the key (PEM). */
  readonly certificate: string;
  readonly privateKey: string;
  /** Node id of a TLS peer's public key (SubjectPublicKeyInfo, DER). */
  nodeIdOf(publicKey: Bytes): NodeId;
  /** Where a listed node is reached; undefined when it is not in the VN list. */
  addressOf(peer: NodeId): string | undefined;
  /** Has this node's evidence for a session made; the result cancels. */
  attest(challenge: Bytes, exporter: Bytes, take: TakeEvidence): () => void;
  /** What the peer's evidence claims; throws when it does not hold for the session or does not appraise. */
  appraise(peer: NodeId, evidence: Bytes, challenge: Bytes, exporter: Bytes): Claims;
  /** Whether code and machine of a peer are still listed, and the machine is still its own. */
  stillAppraises(peer: NodeId, claims: Claims): boolean;
}

/** What channels are made of. */
export interface ChannelsParts {
  readonly identity: ChannelIdentity;
  readonly sockets: Sockets;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly tracer: Tracer;
  readonly events: PeerEvents;
}

/** All channels of one node; see the module's header. */
export class Channels implements PeerTransport {
  readonly #parts: ChannelsParts;
  readonly #channels = new Map<NodeId, Channel>();
  readonly #server: Server;
  #listener: { close(): void } | undefined;
  /** Inbound connections, from their first byte on, and how many of them are channels. */
  #inbound = 0;
  #inboundChannels = 0;
  readonly #exchanging = new NewestConnections();
  /** Peers this node dials, again and again until they leave the network. */
  readonly #dialled = new Set<NodeId>();
  #refusals = 0;
  #refusalsSince = 0;
  #closed = false;
  /** Frames of peers that were too long, malformed or held what does not verify; each ended its channel. */
  refusedFrames = 0;
  /** Connections that did not become channels because of what the other side sent or was, or since there were too many. */
  refusedHandshakes = 0;

  constructor(parts: ChannelsParts) {
    this.#parts = parts;
    this.#server = createServer({ ...this.#tlsOptions(), handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, (socket) =>
      this.#accepted(socket),
    );
    // Node leaves a connection open whose TLS handshake took too long.
    this.#server.on("tlsClientError", (_error, socket) => {
      this.refusedHandshakes++;
      socket.destroy();
    });
  }

  get #handshakes(): number {
    return this.#inbound - this.#inboundChannels;
  }

  #tlsOptions() {
    const { certificate, privateKey } = this.#parts.identity;
    // The peer's certificate is self-signed: what counts is its key, checked against the VN list after the handshake.
    return {
      cert: certificate,
      key: privateKey,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
    } as const;
  }

  /** Listens, and starts to connect to every given node that this one dials. */
  async start(listenAddress: string, peers: readonly NodeId[]): Promise<void> {
    this.#listener = await this.#parts.sockets.listen(listenAddress, (socket) => {
      if (this.#handshakes >= INBOUND_HANDSHAKES_MAX) {
        this.refusedHandshakes++;
        socket.destroy();
        return;
      }
      this.#inbound++;
      socket.once("close", () => {
        this.#inbound--;
      });
      this.#server.emit("connection", socket);
    });
    this.follow(peers);
  }

  /**
   * Connects to the nodes of the network as it is now, and ends the channels to those that left it, or whose code or machine
   * was retired.
   */
  follow(peers: readonly NodeId[]): void {
    if (this.#listener === undefined || this.#closed) return;
    const { identity } = this.#parts;
    for (const [peer, channel] of this.#channels)
      if (identity.addressOf(peer) === undefined || !identity.stillAppraises(peer, channel.claims)) channel.end();
    for (const peer of peers) {
      if (!(identity.nodeId < peer) || this.#dialled.has(peer)) continue;
      this.#dialled.add(peer);
      this.#dial(peer, 0);
    }
  }

  /** Ends every channel and listens no more. */
  close(): void {
    this.#closed = true;
    this.#listener?.close();
    for (const channel of this.#channels.values()) channel.destroy();
  }

  send(peer: NodeId, frame: Bytes): boolean {
    return this.#channels.get(peer)?.send(frame) ?? false;
  }

  #dial(peer: NodeId, attempt: number): void {
    if (this.#closed || this.#channels.has(peer)) return;
    const { identity, sockets, clock } = this.#parts;
    const address = identity.addressOf(peer);
    if (address === undefined) {
      this.#dialled.delete(peer);
      return;
    }
    const raw = sockets.connect(address);
    const again = () => {
      if (this.#channels.has(peer)) return;
      const delay = REDIAL_MS[Math.min(attempt, REDIAL_MS.length - 1)] as number;
      clock.after(delay, () => this.#dial(peer, attempt + 1));
    };
    const socket = tlsConnect({ ...this.#tlsOptions(), socket: raw, ALPNProtocols: ["coco"] });
    raw.once("error", () => socket.destroy());
    socket.once("close", again);
    socket.on("error", () => socket.destroy());
    const connecting = this.#limit(socket, HANDSHAKE_TIMEOUT_MS);
    socket.once("secureConnect", () => {
      connecting();
      this.#handshake(socket, peer, () => socket.off("close", again));
    });
  }

  #accepted(socket: TLSSocket): void {
    socket.on("error", () => socket.destroy());
    this.#handshake(socket, undefined, () => {
      this.#inboundChannels++;
      socket.once("close", () => {
        this.#inboundChannels--;
      });
    });
  }

  /** Breaks a connection off after a time, unless it is cancelled. */
  #limit(socket: TLSSocket, timeoutMs: number): () => void {
    const cancel = this.#parts.clock.after(timeoutMs, () => socket.destroy());
    socket.once("close", cancel);
    return () => {
      socket.off("close", cancel);
      cancel();
    };
  }

  /** Runs the handshake of the module's header on a TLS connection. */
  #handshake(socket: TLSSocket, expected: NodeId | undefined, established: () => void): void {
    const { identity, entropy } = this.#parts;
    const guarded = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        this.#refuse(socket, expected, error);
      }
    };
    const exchanging = this.#limit(socket, EVIDENCE_EXCHANGE_TIMEOUT_MS);
    guarded(() => {
      const peer = this.#peerOf(socket, expected);
      if (expected === undefined) this.#exchanging.take(peer, socket);
      const exporter = socket.exportKeyingMaterial(32, CHANNEL_EXPORTER_LABEL, Buffer.alloc(0));
      const challenge = entropy.bytes(32);
      const finish = (evidence: Bytes): void => {
        if (socket.destroyed) return;
        // Only now: what was in force when the evidence came may be gone since.
        const claims = identity.appraise(peer, evidence, challenge, exporter);
        exchanging();
        established();
        this.#exchanging.release(peer, socket);
        this.#establish(peer, { socket, claims }, frames);
      };
      const exchange = new EvidenceExchange(socket, finish, guarded);
      const frames = new FrameReader(socket, {
        limit: HANDSHAKE_FRAME_BYTES_MAX,
        take: (frame) =>
          guarded(() => exchange.take(frame, (take) => identity.attest(this.#checkHello(frame), exporter, take))),
        tooLong: (length) => this.#refuse(socket, expected, tooLong(length)),
      });
      writeFrame(socket, concatBytes(Uint8Array.of(PROTOCOL_VERSION), identity.networkId, challenge));
    });
  }

  #refuse(socket: TLSSocket, expected: NodeId | undefined, error: unknown): void {
    const code = error instanceof CocoError ? error.code : "ChannelFailed";
    const message = error instanceof Error ? error.message : "unknown";
    this.refusedHandshakes++;
    if (this.#mayLogRefusal())
      this.#parts.tracer.event("warn", "channel_refused", { peer: expected ?? "unknown", code, message });
    socket.destroy();
  }

  /** Whoever reaches the port can cause refusals: the log takes a few per period, not each. */
  #mayLogRefusal(): boolean {
    const now = this.#parts.clock.now();
    if (now - this.#refusalsSince > REFUSALS_LOGGED_PERIOD_MS) {
      this.#refusalsSince = now;
      this.#refusals = 0;
    }
    return ++this.#refusals <= REFUSALS_LOGGED_MAX;
  }

  #peerOf(socket: TLSSocket, expected: NodeId | undefined): NodeId {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) throw new CocoError("PeerNotListed", "the peer shows no certificate");
    const peer = this.#parts.identity.nodeIdOf(certificate.publicKey.export({ type: "spki", format: "der" }));
    if (expected !== undefined && peer !== expected)
      throw new CocoError("PeerNotListed", `expected node ${expected}, found ${peer}`);
    if (this.#parts.identity.addressOf(peer) === undefined)
      throw new CocoError("PeerNotListed", `node ${peer} is not in the VN list`);
    return peer;
  }

  /** The peer's challenge. */
  #checkHello(frame: Bytes): Bytes {
    const reader = new ByteReader(frame);
    const version = reader.u8();
    if (version !== PROTOCOL_VERSION)
      throw new CocoError("ChannelFailed", `peer speaks version ${version} of the channel protocol`);
    const network = reader.bytes(32);
    if (!bytesEqual(network, this.#parts.identity.networkId)) {
      throw new CocoError("ChannelFailed", `peer belongs to network ${toHex(network)}`);
    }
    const challenge = reader.bytes(32);
    reader.end();
    return challenge;
  }

  #establish(peer: NodeId, attested: AttestedSocket, frames: FrameReader): void {
    const { events, clock, tracer } = this.#parts;
    const { socket } = attested;
    this.#channels.get(peer)?.destroy();
    const channel = new Channel(attested, clock, () => {
      if (this.#channels.get(peer) !== channel) return;
      this.#channels.delete(peer);
      tracer.event("info", "channel_down", { peer });
      events.channelDown(peer);
      if (this.#parts.identity.nodeId < peer) this.#dial(peer, 0);
    });
    this.#channels.set(peer, channel);
    tracer.event("info", "channel_up", { peer });
    events.channelUp(peer);
    // A listed and attested node sent something that does not hold: it changed nothing, and this channel ends.
    const refuse = (error: unknown): void => {
      const fault =
        error instanceof CocoError
          ? error
          : new CocoError("Internal", "a frame could not be handled", {}, { cause: error });
      this.refusedFrames++;
      tracer.event("warn", "frame_refused", { peer, code: fault.code, message: fault.message });
      socket.destroy();
    };
    frames.switchTo({
      limit: MAX_FRAME_BYTES,
      take: (frame) => {
        channel.heard();
        if (frame.length === 0 || channel.hasEnded) return;
        try {
          events.frame(peer, frame);
        } catch (error) {
          refuse(error);
        }
      },
      tooLong: (length) => refuse(tooLong(length)),
    });
  }
}

function tooLong(length: number): CocoError {
  return new CocoError("LimitExceeded", `a frame of ${length} bytes`);
}
