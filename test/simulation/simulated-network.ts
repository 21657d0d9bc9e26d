/**
 * The simulated network between nodes. A channel is an ordered, reliable stream while it is up, as TLS over TCP is; what
 * goes wrong is delay, a broken channel (what was under way is lost, the ends notice at different times, a new one is
 * dialled) and cut directions (frames are held and arrive late, or the channel breaks after a silence).
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { CHANNEL_SILENCE_MS } from "../../src/enclave/manager/channels.ts";
import type { PeerEvents, PeerTransport } from "../../src/enclave/ports.ts";
import { invariant } from "../../src/errors.ts";
import type { Scheduler } from "./scheduler.ts";

const LATENCY_MIN_MS = 0.1;
const HANDSHAKE_MIN_MS = 3;
const HANDSHAKE_SPREAD_MS = 10;
const REDIAL_MIN_MS = 20;
const REDIAL_SPREAD_MS = 400;
const NOTICE_SPREAD_MS = 30;
/** Frames that wait in one direction of a channel; more are lost. */
const QUEUE_MAX = 2_000;

/** One direction of a channel. */
interface Direction {
  readonly from: NodeId;
  readonly to: NodeId;
  /** Arrivals keep the order of sending. */
  lastArrival: number;
  /** Frames that reached a cut. */
  held: Bytes[];
  queued: number;
}

interface Channel {
  closed: boolean;
  /** By sender. */
  readonly directions: ReadonlyMap<NodeId, Direction>;
}

/** What the network tells about its work. */
export interface NetworkObserver {
  event(text: string): void;
  /** A node refused a frame of another honest node. */
  refused(from: NodeId, to: NodeId, error: unknown): void;
}

function pairName(left: NodeId, right: NodeId): string {
  return left < right ? `${left}|${right}` : `${right}|${left}`;
}

/** All channels between the nodes; see the module's header. */
export class SimulatedNetwork {
  readonly #scheduler: Scheduler;
  readonly #observer: NetworkObserver;
  readonly #ids: readonly NodeId[];
  readonly #events = new Map<NodeId, PeerEvents>();
  /** The newest channel of each pair. */
  readonly #channels = new Map<string, Channel>();
  /** What each end takes for its channel: `end>peer`. */
  readonly #ends = new Map<string, Channel>();
  readonly #cuts = new Set<string>();
  /** Longest time a frame travels. */
  latencyMaxMs = 1.5;

  constructor(scheduler: Scheduler, ids: readonly NodeId[], observer: NetworkObserver) {
    this.#scheduler = scheduler;
    this.#ids = ids;
    this.#observer = observer;
    for (const [left, right] of this.pairs()) this.#dial(left, right);
  }

  /** All pairs of nodes. */
  pairs(): [NodeId, NodeId][] {
    return this.#ids.flatMap((left, at) => this.#ids.slice(at + 1).map((right): [NodeId, NodeId] => [left, right]));
  }

  /** A node starts to listen. */
  attach(id: NodeId, events: PeerEvents): PeerTransport {
    this.#events.set(id, events);
    return {
      send: (peer, frame) => this.#events.get(id) === events && this.#send(id, peer, frame),
    };
  }

  /** A node is gone; its peers notice it now or, when the whole machine vanished, by the silence. */
  detach(id: NodeId, silent: boolean): void {
    this.#events.delete(id);
    for (const peer of this.#ids) {
      this.#ends.delete(`${id}>${peer}`);
      if (peer !== id) this.#close(id, peer, silent ? CHANNEL_SILENCE_MS : NOTICE_SPREAD_MS);
    }
  }

  /** Breaks the channel of a pair. */
  break(left: NodeId, right: NodeId): void {
    this.#close(left, right, NOTICE_SPREAD_MS);
  }

  /** Cuts one direction. */
  cut(from: NodeId, to: NodeId): void {
    const name = `${from}>${to}`;
    if (this.#cuts.has(name)) return;
    this.#cuts.add(name);
    const channel = this.#channels.get(pairName(from, to));
    this.#scheduler.after(CHANNEL_SILENCE_MS, () => {
      if (this.#channels.get(pairName(from, to)) === channel && this.#cuts.has(name)) this.break(from, to);
    });
  }

  /** Mends every cut; held frames arrive in order. */
  heal(): void {
    const names = [...this.#cuts];
    this.#cuts.clear();
    for (const name of names) {
      const [from = "", to = ""] = name.split(">");
      const channel = this.#channels.get(pairName(from, to));
      const direction = channel?.directions.get(from);
      if (channel === undefined || direction === undefined) continue;
      const { held } = direction;
      direction.held = [];
      for (const frame of held) this.#arrive(channel, direction, frame);
    }
  }

  #dial(left: NodeId, right: NodeId): void {
    const { random } = this.#scheduler;
    const again = () => {
      this.#scheduler.after(REDIAL_MIN_MS + random.next() * REDIAL_SPREAD_MS, () => this.#dial(left, right));
    };
    const connected = this.#channels.get(pairName(left, right))?.closed === false;
    const ends = [this.#events.get(left), this.#events.get(right)];
    if (connected || ends.includes(undefined) || this.#isCut(left, right)) {
      again();
      return;
    }
    this.#scheduler.after(HANDSHAKE_MIN_MS + random.next() * HANDSHAKE_SPREAD_MS, () => {
      const same = this.#events.get(left) === ends[0] && this.#events.get(right) === ends[1];
      if (same && !this.#isCut(left, right)) this.#establish(left, right);
      again();
    });
  }

  #isCut(left: NodeId, right: NodeId): boolean {
    return this.#cuts.has(`${left}>${right}`) || this.#cuts.has(`${right}>${left}`);
  }

  #establish(left: NodeId, right: NodeId): void {
    const { random, now } = this.#scheduler;
    const directions = new Map<NodeId, Direction>();
    const channel: Channel = { closed: false, directions };
    this.#channels.set(pairName(left, right), channel);
    for (const [end, peer] of [
      [left, right],
      [right, left],
    ] as const) {
      const upAfterMs = LATENCY_MIN_MS + random.next() * this.latencyMaxMs;
      directions.set(peer, { from: peer, to: end, lastArrival: now + upAfterMs, held: [], queued: 0 });
      const events = this.#events.get(end);
      this.#scheduler.after(upAfterMs, () => {
        if (channel.closed || events === undefined || this.#events.get(end) !== events) return;
        this.#ends.set(`${end}>${peer}`, channel);
        this.#observer.event(`channel of ${end} to ${peer} is up`);
        events.channelUp(peer);
      });
    }
  }

  /** Ends the channel of a pair; each end notices within `noticeMs`, or when a new channel replaces it. */
  #close(left: NodeId, right: NodeId, noticeMs: number): void {
    const channel = this.#channels.get(pairName(left, right));
    if (channel === undefined || channel.closed) return;
    channel.closed = true;
    for (const [end, peer] of [
      [left, right],
      [right, left],
    ] as const) {
      this.#scheduler.after(this.#scheduler.random.next() * noticeMs, () => {
        if (this.#ends.get(`${end}>${peer}`) !== channel) return;
        this.#ends.delete(`${end}>${peer}`);
        this.#observer.event(`channel of ${end} to ${peer} is down`);
        this.#events.get(end)?.channelDown(peer);
      });
    }
  }

  #send(from: NodeId, to: NodeId, frame: Bytes): boolean {
    const channel = this.#ends.get(`${from}>${to}`);
    const direction = channel?.directions.get(from);
    if (channel === undefined || direction === undefined || direction.queued >= QUEUE_MAX) return false;
    const { random, now } = this.#scheduler;
    const arrival = Math.max(direction.lastArrival, now + LATENCY_MIN_MS + random.next() * this.latencyMaxMs);
    direction.lastArrival = arrival;
    direction.queued++;
    this.#scheduler.after(arrival - now, () => this.#arrive(channel, direction, frame));
    return true;
  }

  #arrive(channel: Channel, direction: Direction, frame: Bytes): void {
    const { from, to } = direction;
    if (channel.closed) return;
    if (this.#cuts.has(`${from}>${to}`)) {
      direction.held.push(frame);
      return;
    }
    invariant(direction.held.length === 0, "frames keep their order");
    direction.queued--;
    // The other end has this channel, since its side of the handshake comes before the first frame; unless it broke.
    if (this.#ends.get(`${to}>${from}`) !== channel) return;
    try {
      this.#events.get(to)?.frame(from, frame);
    } catch (error) {
      this.#observer.refused(from, to, error);
      this.break(from, to);
    }
  }
}
