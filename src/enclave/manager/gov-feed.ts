/**
 * What happens in governance, told to members and participants as it is committed here (server-sent events). Events have
 * the same ids on every node, so that whoever reconnects goes on where it was, also elsewhere. The newest are kept; who
 * missed more is told so and reads the state instead.
 */
import { utf8Encode } from "../../core/codec/bytes.ts";
import type { FeedEvent } from "../../core/governance/feed-events.ts";
import { CocoError } from "../../errors.ts";
import type { Clock } from "../ports.ts";
import type { FrontendResponse, ResponseStream } from "./frontend.ts";

/** Most clients that follow one node's feed. */
export const MAX_FEEDS = 256;
/** Most of them of one actor. */
export const MAX_FEEDS_PER_ACTOR = 16;
/** Most characters of recent events that are kept for those who come back; they fit what may wait for a client. */
export const MAX_FEED_HISTORY_LENGTH = 128 * 1024;
/** Time between two comments that keep a connection open. */
export const FEED_KEEP_ALIVE_MS = 15_000;

const EVENT_ID = /^(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,5})$/;
const BEGINNING: Place = { seqno: 0, number: 0 };
const OPENING = "retry: 2000\n\n";

/** Where an event is: the batch and its number in it. */
interface Place {
  readonly seqno: number;
  readonly number: number;
}

interface KeptEvent {
  readonly place: Place;
  readonly text: string;
}

interface Subscriber {
  readonly actor: string;
  readonly stream: ResponseStream;
  readonly after: Place;
}

/** See the module's header. */
export class GovernanceFeed {
  readonly #clock: Pick<Clock, "after">;
  readonly #subscribers = new Set<Subscriber>();
  #recent: KeptEvent[] = [];
  #length = 0;
  /** Everything behind this place is kept. */
  #since: Place;
  #closed = false;
  #beats = false;

  /** @param sinceSeqno what lies up to here this node has not seen happen: it began from a snapshot */
  constructor(clock: Pick<Clock, "after">, sinceSeqno: number) {
    this.#clock = clock;
    this.#since = { seqno: sinceSeqno, number: 0 };
  }

  /** Clients that follow. */
  get size(): number {
    return this.#subscribers.size;
  }

  /** Tells events of a committed batch. */
  tell(events: readonly FeedEvent[]): void {
    for (const event of events) {
      const kept = { place: placeOf(event.id) ?? BEGINNING, text: eventText(event.type, event.data, event.id) };
      this.#keep(kept);
      for (const subscriber of this.#subscribers) this.#send(subscriber, kept);
    }
  }

  /** A snapshot took the place of batches up to here: nobody knows here what happened in them. */
  missed(seqno: number): void {
    this.#recent = [];
    this.#length = 0;
    this.#since = { seqno, number: 0 };
    for (const { stream } of this.#subscribers) stream.write(resetText());
  }

  #keep(event: KeptEvent): void {
    this.#recent.push(event);
    this.#length += event.text.length;
    while (this.#length > MAX_FEED_HISTORY_LENGTH) {
      const oldest = this.#recent.shift();
      if (oldest === undefined) break;
      this.#length -= oldest.text.length;
      this.#since = oldest.place;
    }
  }

  #send({ actor, stream, after }: Subscriber, { place, text }: KeptEvent): void {
    if (!isAfter(place, after)) return;
    const caller = stream.caller();
    // Whoever is no actor any more, or another one, hears no more.
    if (caller instanceof CocoError || caller.actor !== actor) stream.end();
    else stream.write(text);
  }

  /**
   * The answer to a client that follows from now on, or from behind the event it saw last. Throws `MalformedInput` or
   * `TooManyRequests`.
   */
  follow(actor: string, lastEventId: string | undefined): FrontendResponse {
    const after = lastEventId === undefined ? undefined : placeOf(lastEventId);
    if (lastEventId !== undefined && after === undefined)
      throw new CocoError("MalformedInput", "Last-Event-ID: expected the id of an event of this feed");
    this.#requireRoom(actor);
    return {
      status: 200,
      contentType: "text/event-stream",
      headers: { "cache-control": "no-store" },
      body: utf8Encode(OPENING),
      stream: (stream) => this.#begin({ actor, stream, after: after ?? BEGINNING }, after !== undefined),
    };
  }

  #requireRoom(actor: string): void {
    const own = [...this.#subscribers].filter((subscriber) => subscriber.actor === actor).length;
    if (this.#closed || this.#subscribers.size >= MAX_FEEDS || own >= MAX_FEEDS_PER_ACTOR)
      throw new CocoError("TooManyRequests", "too many clients follow the feed of this node");
  }

  #begin(subscriber: Subscriber, resumes: boolean): void {
    const { stream, after } = subscriber;
    if (resumes && isAfter(this.#since, after)) stream.write(resetText());
    if (resumes) for (const event of this.#recent) this.#send(subscriber, event);
    this.#subscribers.add(subscriber);
    stream.onClose(() => void this.#subscribers.delete(subscriber));
    this.#beat();
  }

  /** Keeps connections open, and ends those of callers that are not known any more. */
  #beat(): void {
    if (this.#beats) return;
    this.#beats = true;
    this.#clock.after(FEED_KEEP_ALIVE_MS, () => {
      this.#beats = false;
      const beat = { place: { seqno: Number.MAX_SAFE_INTEGER, number: 0 }, text: ": still here\n\n" };
      for (const subscriber of this.#subscribers) this.#send(subscriber, beat);
      if (!this.#closed && this.#subscribers.size > 0) this.#beat();
    });
  }

  /** Ends every client's feed. */
  close(): void {
    this.#closed = true;
    for (const { stream } of this.#subscribers) stream.end();
  }
}

function placeOf(id: string): Place | undefined {
  const match = EVENT_ID.exec(id);
  return match === null ? undefined : { seqno: Number(match[1]), number: Number(match[2]) };
}

function isAfter(left: Place, right: Place): boolean {
  return left.seqno > right.seqno || (left.seqno === right.seqno && left.number > right.number);
}

function eventText(type: string, data: unknown, id?: string): string {
  const named = id === undefined ? "" : `id: ${id}\n`;
  return `${named}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Events are missing before what comes: the state is to be read anew. */
function resetText(): string {
  return eventText("reset", { read: "/gov/members/proposals" });
}
