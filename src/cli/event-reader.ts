/** Reading server-sent events as their text comes in. */
import { CocoError } from "../errors.ts";

/** Longest event in characters. */
export const MAX_EVENT_LENGTH = 1024 * 1024;

/** One event of a feed. */
export interface FeedLine {
  readonly id: string | undefined;
  readonly type: string;
  /** JSON. */
  readonly data: unknown;
}

/** Puts events together from parts of their text. */
export class EventReader {
  #text = "";

  /** The events that are complete with this part. Throws `AnswerInvalid` for what is none. */
  read(part: string): readonly FeedLine[] {
    this.#text += part;
    if (this.#text.length > MAX_EVENT_LENGTH) throw new CocoError("AnswerInvalid", "an event of the feed is too long");
    const blocks = this.#text.split("\n\n");
    this.#text = blocks.pop() ?? "";
    return blocks.flatMap((block) => eventOf(block) ?? []);
  }
}

function eventOf(block: string): FeedLine | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const mark = line.indexOf(": ");
    // Lines that begin with a colon are comments, by which the node keeps the connection open.
    if (mark > 0) fields.set(line.slice(0, mark), line.slice(mark + 2));
  }
  const data = fields.get("data");
  if (data === undefined) return undefined;
  try {
    return { id: fields.get("id"), type: printable(fields.get("event") ?? "message"), data: JSON.parse(data) };
  } catch (error) {
    throw new CocoError("AnswerInvalid", "an event of the feed is not JSON", {}, { cause: error });
  }
}

function printable(type: string): string {
  return type.replaceAll(/[^a-z_]/g, "");
}
