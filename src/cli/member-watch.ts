/** `coco member watch`: follows what happens in governance, also when connections are lost. */
import { CocoError } from "../errors.ts";
import { connect } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { EventReader, type FeedLine } from "./event-reader.ts";
import { govPath, optionalText, readerOf, textsOf } from "./governance-reader.ts";
import type { CommandContext, Output } from "./output.ts";
import type { ServiceClient } from "./service-client.ts";
import { stopRequested } from "./stop-signals.ts";

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 10_000;

/** Options of `coco member watch`. */
export interface WatchOptions extends ConnectionOptions {
  readonly count?: number;
  readonly json?: boolean;
}

/** Runs `coco member watch`. */
export async function watch({ output }: CommandContext, options: WatchOptions): Promise<void> {
  const client = await connect(options);
  const stop = new AbortController();
  void stopRequested().then(() => stop.abort());
  const follower = new Follower(client, output, options, stop);
  try {
    await follower.run();
  } finally {
    client.close();
  }
}

class Follower {
  readonly #client: ServiceClient;
  readonly #output: Output;
  readonly #options: WatchOptions;
  readonly #stop: AbortController;
  #lastId: string | undefined;
  #seen = 0;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(client: ServiceClient, output: Output, options: WatchOptions, stop: AbortController) {
    this.#client = client;
    this.#output = output;
    this.#options = options;
    this.#stop = stop;
  }

  async run(): Promise<void> {
    const { signal } = this.#stop;
    let connectedOnce = false;
    while (!signal.aborted) {
      try {
        await this.#follow(() => {
          if (!connectedOnce) this.#output.talk(`following ${this.#client.url}\n`);
          connectedOnce = true;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (!connectedOnce || !mayPass(error)) throw error;
        this.#output.talk(`${error instanceof Error ? error.message : String(error)}; trying again\n`);
      }
      if (!signal.aborted) await this.#pause();
    }
  }

  async #follow(onOpen: () => void): Promise<void> {
    const reader = new EventReader();
    const from: Record<string, string> = this.#lastId === undefined ? {} : { "last-event-id": this.#lastId };
    for await (const text of this.#client.follow(govPath("/feed"), from, this.#stop.signal)) {
      onOpen();
      this.#pauseMs = FIRST_PAUSE_MS;
      for (const event of reader.read(text)) if (!this.#tell(event)) return;
    }
  }

  /** False when it was the last one to tell. */
  #tell(event: FeedLine): boolean {
    this.#lastId = event.id ?? this.#lastId;
    if (this.#options.json === true)
      this.#output.data(`${JSON.stringify({ id: event.id ?? null, type: event.type, data: event.data })}\n`);
    else this.#output.data(`${wordsOf(event)}\n`);
    this.#seen += 1;
    if (this.#seen !== this.#options.count) return true;
    this.#stop.abort();
    return false;
  }

  #pause(): Promise<void> {
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, pauseMs);
      this.#stop.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function mayPass(error: unknown): boolean {
  return error instanceof CocoError && ["CannotConnect", "NotReady", "TooManyRequests"].includes(error.code);
}

function wordsOf({ type, data }: FeedLine): string {
  if (type === "reset") return "events were missed: look at coco member status";
  const fields = readerOf(data, type);
  const [proposal, member, vote, reason] = ["proposalId", "memberId", "vote", "reason"].map((name) =>
    fields.nullable(name, () => optionalText(fields, name)),
  );
  const actions = textsOf(fields, "actions").join(", ");
  const parts = [
    ...[proposal?.slice(0, 12), type.replaceAll("_", " "), actions],
    member && `${member}: ${vote ?? "by a script"}`,
    reason,
  ];
  if (type === "constitution_changed") parts.push(`version ${String(fields.value("version"))}`);
  return parts.filter((part) => part !== undefined && part !== null && part !== "").join("  ");
}
