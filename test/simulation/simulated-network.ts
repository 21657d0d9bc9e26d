/**
 * The simulated network between nodes. A channel comes up by a handshake, ends at different times for its two ends, and
 * is dialled again. What happens to frames inside it depends on the network's kind:
 *
 * `stream`: ordered and reliable, as TLS over TCP is. Loss is the delay of a retransmission; what reaches a cut is held and
 * arrives late, or the channel breaks after a silence. This is what real nodes have.
 * `datagram`: each frame by itself; it may be lost, doubled and overtaken by others. Nodes must bear that too, only slower.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { CHANNEL_SILENCE_MS } from "../../src/enclave/manager/channel.ts";
import type { PeerTransport } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { FaultCounts } from "./fault-counts.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

const LATENCY_MIN_MS = 0.1;
const HANDSHAKE_MIN_MS = 3;
const HANDSHAKE_SPREAD_MS = 10;
const REDIAL_MIN_MS = 20;
const REDIAL_SPREAD_MS = 400;
const NOTICE_SPREAD_MS = 30;
/** A lost frame of a stream comes this much later. */
const RETRANSMISSION_MS = 200;
/** How much later than others a frame comes that lets them overtake it. */
const OVERTAKEN_SPREAD_MS = 400;
/** Frames that wait in one direction of a channel; more are lost. */
const QUEUE_MAX = 2_000;

/** What a node's process offers to the network. */
export interface Endpoint {
  channelUp(peer: NodeId): void;
  channelDown(peer: NodeId): void;
  /** `refused` is called when the frame is not taken: the channel ends. */
  frame(peer: NodeId, frame: Bytes, refused: (error: unknown) => void): void;
}

/** How frames fare; each value may be changed at any time. */
export interface Conditions {
  /** Longest time a frame travels. */
  latencyMaxMs: number;
  /** Probabilities per frame. */
  loss: number;
  duplication: number;
  reordering: number;
}

/** A frame that passes somebody who sends frames of his own. */
export interface PassingFrame {
  /** The direction of the channel it belongs to; another one after the channel broke. */
  readonly session: object;
  readonly frame: Bytes;
}

/** Somebody on a link who sends frames of his own: given one that passes, those he puts before it. */
export type Intruder = (passing: PassingFrame) => readonly HostileFrame[];

/** A frame no honest node sent. */
export interface HostileFrame {
  readonly kind: string;
  readonly frame: Bytes;
}

/** One direction of a channel; places are positions in the list of nodes. */
interface Direction {
  readonly from: number;
  readonly to: number;
  readonly slot: number;
  /** Arrivals keep the order of sending. */
  lastArrival: number;
  /** Frames that reached a cut. */
  held: Bytes[];
  queued: number;
}

interface Channel {
  closed: boolean;
  /** From the lower place to the higher, and back. */
  readonly directions: readonly [Direction, Direction];
}

/** What a network is made of. */
export interface NetworkParts {
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly faults: FaultCounts;
  /** Every node there will ever be, with the name it has in the trace. */
  readonly nodes: readonly { readonly id: NodeId; readonly name: string }[];
  readonly kind: "stream" | "datagram";
  readonly intruder: Intruder | undefined;
  /** A node refused a frame of another honest node. */
  readonly onRefused: (from: string, to: string, error: unknown) => void;
}

/** All channels between the nodes; see the module's header. */
export class SimulatedNetwork {
  readonly conditions: Conditions = { latencyMaxMs: 1.5, loss: 0, duplication: 0, reordering: 0 };
  readonly #parts: NetworkParts;
  readonly #size: number;
  readonly #places = new Map<NodeId, number>();
  readonly #endpoints: (Endpoint | undefined)[] = [];
  /** The newest channel of each pair, by lower place * size + higher place. */
  readonly #channels: (Channel | undefined)[] = [];
  /** What each end takes for its channel, by end * size + peer. */
  readonly #ends: (Channel | undefined)[] = [];
  /** 1 for each pair that is being dialled, by lower place * size + higher place. */
  readonly #dialling: Uint8Array;
  /** How many cuts lie on each direction, and until when it is clogged, by from * size + to. */
  readonly #cuts: Int32Array;
  readonly #clogs: Float64Array;

  constructor(parts: NetworkParts) {
    this.#parts = parts;
    this.#size = parts.nodes.length;
    parts.nodes.forEach(({ id }, place) => this.#places.set(id, place));
    this.#dialling = new Uint8Array(this.#size ** 2);
    this.#cuts = new Int32Array(this.#size ** 2);
    this.#clogs = new Float64Array(this.#size ** 2);
  }

  #place(id: NodeId): number {
    const place = this.#places.get(id);
    invariant(place !== undefined, `node ${id} is on the network`);
    return place;
  }

  #name(place: number): string {
    return this.#parts.nodes[place]?.name ?? "";
  }

  /** A node starts to listen. */
  attach(id: NodeId, endpoint: Endpoint): PeerTransport {
    const from = this.#place(id);
    this.#endpoints[from] = endpoint;
    for (let peer = 0; peer < this.#size; peer++)
      if (this.#endpoints[peer] !== undefined && peer !== from)
        this.#dialLater(Math.min(from, peer), Math.max(from, peer));
    return {
      send: (peer, frame) => {
        const to = this.#places.get(peer);
        return to !== undefined && this.#endpoints[from] === endpoint && this.#send(from, to, frame);
      },
    };
  }

  /** A node is gone; its peers notice it now or, when the whole machine vanished, by the silence. */
  detach(id: NodeId, silent: boolean): void {
    const place = this.#place(id);
    this.#endpoints[place] = undefined;
    for (let peer = 0; peer < this.#size; peer++) {
      this.#ends[place * this.#size + peer] = undefined;
      if (peer !== place) this.#close(place, peer, silent ? CHANNEL_SILENCE_MS : NOTICE_SPREAD_MS);
    }
  }

  /** Breaks the channel of a pair. */
  break(left: NodeId, right: NodeId): void {
    this.#close(this.#place(left), this.#place(right), NOTICE_SPREAD_MS);
  }

  /** A direction holds everything back for a while. */
  clog(from: NodeId, to: NodeId, durationMs: number): void {
    const slot = this.#place(from) * this.#size + this.#place(to);
    this.#clogs[slot] = Math.max(this.#clogs[slot] as number, this.#parts.scheduler.now + durationMs);
  }

  /** Cuts directions; the result mends them again. Cuts of several may lie on one direction. */
  cut(directions: readonly (readonly [from: NodeId, to: NodeId])[]): () => void {
    const slots = directions.map(([from, to]) => this.#place(from) * this.#size + this.#place(to));
    for (const slot of slots) this.#cutSlot(slot);
    let mended = false;
    return () => {
      if (mended) return;
      mended = true;
      for (const slot of slots) this.#mendSlot(slot);
    };
  }

  #cutSlot(slot: number): void {
    this.#cuts[slot] = (this.#cuts[slot] as number) + 1;
    if (this.#cuts[slot] !== 1) return;
    const [from, to] = [Math.floor(slot / this.#size), slot % this.#size];
    const pair = this.#pair(from, to);
    const channel = this.#channels[pair];
    this.#parts.scheduler.after(CHANNEL_SILENCE_MS, () => {
      if (this.#channels[pair] === channel && (this.#cuts[slot] as number) > 0) this.#close(from, to, NOTICE_SPREAD_MS);
    });
  }

  #mendSlot(slot: number): void {
    this.#cuts[slot] = (this.#cuts[slot] as number) - 1;
    if (this.#cuts[slot] !== 0) return;
    const channel = this.#channels[this.#pair(Math.floor(slot / this.#size), slot % this.#size)];
    const direction = channel?.directions.find((one) => one.slot === slot);
    if (channel === undefined || direction === undefined) return;
    const { held } = direction;
    direction.held = [];
    for (const frame of held) this.#arrive(channel, direction, frame);
  }

  #pair(left: number, right: number): number {
    return left < right ? left * this.#size + right : right * this.#size + left;
  }

  #isCut(left: number, right: number): boolean {
    return (this.#cuts[left * this.#size + right] as number) + (this.#cuts[right * this.#size + left] as number) > 0;
  }

  /** Dials a pair after a while, and again until it has a channel; once a pair is being dialled, nothing more is begun. */
  #dialLater(low: number, high: number): void {
    const pair = low * this.#size + high;
    if (this.#dialling[pair] === 1) return;
    this.#dialling[pair] = 1;
    const { scheduler } = this.#parts;
    scheduler.after(REDIAL_MIN_MS + scheduler.random.next() * REDIAL_SPREAD_MS, () => this.#dial(low, high));
  }

  #dial(low: number, high: number): void {
    const { scheduler } = this.#parts;
    const pair = low * this.#size + high;
    const [left, right] = [this.#endpoints[low], this.#endpoints[high]];
    this.#dialling[pair] = 0;
    // A channel that breaks and a node that starts begin anew.
    if (this.#channels[pair]?.closed === false || left === undefined || right === undefined) return;
    if (this.#isCut(low, high)) {
      this.#dialLater(low, high);
      return;
    }
    this.#dialling[pair] = 1;
    scheduler.after(HANDSHAKE_MIN_MS + scheduler.random.next() * HANDSHAKE_SPREAD_MS, () => {
      this.#dialling[pair] = 0;
      const same = this.#endpoints[low] === left && this.#endpoints[high] === right;
      if (same && !this.#isCut(low, high)) this.#establish(low, high);
      else this.#dialLater(low, high);
    });
  }

  #establish(low: number, high: number): void {
    const { scheduler, trace } = this.#parts;
    const upAfter = [low, high].map(() => LATENCY_MIN_MS + scheduler.random.next() * this.conditions.latencyMaxMs);
    const direction = (from: number, to: number, upAfterMs: number): Direction => ({
      from,
      to,
      slot: from * this.#size + to,
      lastArrival: scheduler.now + upAfterMs,
      held: [],
      queued: 0,
    });
    const [lowUp = 0, highUp = 0] = upAfter;
    const channel: Channel = { closed: false, directions: [direction(low, high, highUp), direction(high, low, lowUp)] };
    this.#channels[low * this.#size + high] = channel;
    for (const { from: peer, to: end, lastArrival } of channel.directions) {
      const endpoint = this.#endpoints[end];
      scheduler.after(lastArrival - scheduler.now, () => {
        if (channel.closed || endpoint === undefined || this.#endpoints[end] !== endpoint) return;
        this.#ends[end * this.#size + peer] = channel;
        trace.event("channel up", this.#name(end), peer);
        endpoint.channelUp(this.#id(peer));
      });
    }
  }

  #id(place: number): NodeId {
    return this.#parts.nodes[place]?.id ?? "";
  }

  /** Ends the channel of a pair; each end notices within `noticeMs`, or when a new channel replaces it. */
  #close(left: number, right: number, noticeMs: number): void {
    const { scheduler, trace } = this.#parts;
    const channel = this.#channels[this.#pair(left, right)];
    if (channel === undefined || channel.closed) return;
    channel.closed = true;
    this.#dialLater(Math.min(left, right), Math.max(left, right));
    for (const { from: end, to: peer } of channel.directions) {
      scheduler.after(scheduler.random.next() * noticeMs, () => {
        if (this.#ends[end * this.#size + peer] !== channel) return;
        this.#ends[end * this.#size + peer] = undefined;
        trace.event("channel down", this.#name(end), peer);
        this.#endpoints[end]?.channelDown(this.#id(peer));
      });
    }
  }

  #send(from: number, to: number, frame: Bytes): boolean {
    const channel = this.#ends[from * this.#size + to];
    const direction = channel?.directions[from < to ? 0 : 1];
    if (channel === undefined || direction === undefined || direction.queued >= QUEUE_MAX) return false;
    if (this.#parts.kind === "stream") this.#sendInOrder(channel, direction, frame);
    else this.#sendAlone(channel, direction, frame);
    return true;
  }

  /** When a frame would arrive that nothing befalls. */
  #arrival(direction: Direction): number {
    const { random, now } = this.#parts.scheduler;
    const clogged = this.#clogs[direction.slot] as number;
    return Math.max(clogged, now) + LATENCY_MIN_MS + random.next() * this.conditions.latencyMaxMs;
  }

  #schedule(channel: Channel, direction: Direction, frame: Bytes, arrival: number): void {
    const { scheduler } = this.#parts;
    direction.queued++;
    scheduler.after(arrival - scheduler.now, () => {
      direction.queued--;
      this.#arrive(channel, direction, frame);
    });
  }

  #sendInOrder(channel: Channel, direction: Direction, frame: Bytes): void {
    const { scheduler, faults } = this.#parts;
    let arrival = this.#arrival(direction);
    if (this.conditions.loss > 0 && scheduler.random.chance(this.conditions.loss)) {
      faults.add("network.retransmission");
      arrival += RETRANSMISSION_MS;
    }
    direction.lastArrival = Math.max(direction.lastArrival, arrival);
    this.#schedule(channel, direction, frame, direction.lastArrival);
  }

  #sendAlone(channel: Channel, direction: Direction, frame: Bytes): void {
    const { scheduler, faults } = this.#parts;
    const { loss, duplication, reordering } = this.conditions;
    const { random } = scheduler;
    if (loss > 0 && random.chance(loss)) {
      faults.add("network.loss");
      return;
    }
    let copies = 1;
    if (duplication > 0 && random.chance(duplication)) {
      faults.add("network.duplication");
      copies++;
    }
    for (; copies > 0; copies--) {
      let arrival = this.#arrival(direction);
      if (reordering > 0 && random.chance(reordering)) {
        faults.add("network.reordering");
        arrival += random.next() * OVERTAKEN_SPREAD_MS;
      }
      this.#schedule(channel, direction, frame, arrival);
    }
  }

  #arrive(channel: Channel, direction: Direction, frame: Bytes): void {
    const { from, to, slot } = direction;
    if (channel.closed) return;
    if ((this.#cuts[slot] as number) > 0) {
      if (this.#parts.kind === "stream") direction.held.push(frame);
      return;
    }
    // The other end has this channel, since its side of the handshake comes before the first frame; unless it broke.
    if (this.#ends[to * this.#size + from] !== channel) return;
    const endpoint = this.#endpoints[to];
    if (endpoint === undefined) return;
    const { intruder, onRefused } = this.#parts;
    if (intruder !== undefined) this.#intrude(channel, direction, endpoint, intruder({ session: direction, frame }));
    endpoint.frame(this.#id(from), frame, (error) => {
      onRefused(this.#name(from), this.#name(to), error);
      if (!channel.closed) this.#close(from, to, NOTICE_SPREAD_MS);
    });
  }

  /** Hostile frames arrive; the first that is refused ends the channel, as it does in enclave/manager/channels.ts. */
  #intrude(channel: Channel, { from, to }: Direction, endpoint: Endpoint, hostile: readonly HostileFrame[]): void {
    const { faults } = this.#parts;
    for (const { kind, frame } of hostile) {
      faults.add(`hostile.${kind}`);
      endpoint.frame(this.#id(from), frame, () => {
        faults.add("hostile.refused");
        if (!channel.closed) this.#close(from, to, NOTICE_SPREAD_MS);
      });
    }
  }
}
