/**
 * Asking services for endorsements: bounded in size, time and attempts, and kept in files, so that a machine that was online
 * once attests offline for days. Whatever comes is as good as what is signed in it: it travels with evidence, and verifiers judge it.
 * What it says of its own validity is not verified here: nothing is kept for longer than it may age, and whoever finds that evidence
 * made with it does not verify forgets that part of it, which is then not asked for again for a while: a service that lies costs what it
 * lied about, and no flood of requests.
 */
import { mkdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pauseFor } from "node:timers/promises";
import { concatBytes, type Bytes } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { PUBLIC_FILE_MODE, writeFileAtomic } from "../files.ts";

/** How long one answer of a service of endorsements may take; then the attempt has failed. */
export const ENDORSEMENT_REQUEST_TIMEOUT_MS = 5_000;
/** How long all requests for one machine's evidence may take together: those who wait for evidence wait for 15 seconds. */
export const ENDORSEMENT_DEADLINE_MS = 10_000;
/** Largest answer of a service of endorsements in bytes; larger ones are `CollateralUnavailable`. */
export const MAX_ENDORSEMENT_ANSWER_BYTES = 256 * 1024;
/** How often a service is asked that gives no answer, or is busy, before `CollateralUnavailable`; pauses double. */
export const ENDORSEMENT_REQUEST_ATTEMPTS = 3;
/** The first pause between two attempts. */
export const ENDORSEMENT_RETRY_MS = 500;
/** What is kept and ends earlier than this is asked for anew, while it serves. */
export const ENDORSEMENT_REFRESH_MS = 24 * 60 * 60 * 1000;
/** How long collateral and lists of revoked certificates are kept at most, whatever they say. */
export const KEPT_COLLATERAL_MS = 7 * 24 * 60 * 60 * 1000;
/** How long certificates of a chip are kept at most, whatever they say. */
export const KEPT_CERTIFICATES_MS = 30 * 24 * 60 * 60 * 1000;

/** How long what failed is not asked for again. */
export const ENDORSEMENT_REST_MS = 60_000;

/**
 * How long a part that evidence did not verify with is not asked for again, counted from when it was asked for; nor is one that
 * is kept and ends soon. Until then evidence goes without it where it can, or there is `CollateralUnavailable`.
 */
export const ENDORSEMENT_REFETCH_MS = 10 * 60_000;
/** Of how many parts it is remembered when they were asked for and failed; the oldest are forgotten, a machine has few to ask for. */
export const MAX_ENDORSEMENTS_REMEMBERED = 16;

const FOUND = 200;
const BUSY = 429;
const FIRST_SERVER_ERROR = 500;

/** The part of `fetch` that is used. */
export type EndorsementFetch = (
  url: string,
  options: {
    readonly signal: AbortSignal;
    readonly redirect: "error";
    readonly headers?: Readonly<Record<string, string>>;
  },
) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Bytes> | null;
}>;

/** How services are asked, and where what they said is kept. */
export interface FetchOptions {
  readonly fetch: EndorsementFetch;
  readonly nowMs: () => number;
  /** Where what was fetched is kept; nowhere unless given. */
  readonly cacheFolder?: string;
  readonly requestTimeoutMs?: number;
  /** {@link ENDORSEMENT_DEADLINE_MS} unless given. */
  readonly deadlineMs?: number;
  /** Ends all requests that are made with these options; see {@link withDeadline}. */
  readonly deadline?: AbortSignal;
  /** Waits between attempts. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** The same options, for what is asked from now until the deadline. */
export function withDeadline<T extends FetchOptions>(options: T): T & { readonly deadline: AbortSignal } {
  return { ...options, deadline: AbortSignal.timeout(options.deadlineMs ?? ENDORSEMENT_DEADLINE_MS) };
}

/** An answer of a service. */
export interface Answer {
  readonly url: string;
  readonly body: Bytes;
  readonly header: (name: string) => string | null;
}

/** The error of a service that is of no use. */
export function collateralUnavailable(message: string, cause?: unknown): CocoError {
  return new CocoError("CollateralUnavailable", message, {}, { cause });
}

/** Asks a service; throws `CollateralUnavailable`. */
export async function request(
  url: string,
  options: FetchOptions,
  headers?: Readonly<Record<string, string>>,
): Promise<Answer> {
  const { pause = async (ms: number) => void (await pauseFor(ms)) } = options;
  for (let attempt = 1; ; attempt++) {
    const answer = await attempted(url, options, headers);
    if (!(answer instanceof CocoError)) return answer;
    if (attempt === ENDORSEMENT_REQUEST_ATTEMPTS || options.deadline?.aborted === true) throw answer;
    await pause(ENDORSEMENT_RETRY_MS * 2 ** (attempt - 1));
  }
}

/** An answer, or why there is none that may come by asking again; throws when there will be none. */
async function attempted(
  url: string,
  options: FetchOptions,
  headers: Readonly<Record<string, string>> | undefined,
): Promise<Answer | CocoError> {
  const { deadline, requestTimeoutMs = ENDORSEMENT_REQUEST_TIMEOUT_MS } = options;
  const signal = AbortSignal.any([AbortSignal.timeout(requestTimeoutMs), ...(deadline ? [deadline] : [])]);
  try {
    const found = await options.fetch(url, { signal, redirect: "error", ...(headers && { headers }) });
    const { status, body } = found;
    if (status === FOUND && body !== null)
      return { url, body: await boundedBody(url, body), header: (name) => found.headers.get(name) };
    const refusal = collateralUnavailable(`${url}: status ${status}`);
    if (status === BUSY || status >= FIRST_SERVER_ERROR) return refusal;
    throw refusal;
  } catch (error) {
    if (error instanceof CocoError) throw error;
    return collateralUnavailable(`${url}: no answer`, error);
  }
}

async function boundedBody(url: string, body: AsyncIterable<Bytes>): Promise<Bytes> {
  const pieces: Bytes[] = [];
  let total = 0;
  for await (const piece of body) {
    total += piece.length;
    if (total > MAX_ENDORSEMENT_ANSWER_BYTES)
      throw collateralUnavailable(`${url}: more than ${MAX_ENDORSEMENT_ANSWER_BYTES} bytes`);
    pieces.push(piece);
  }
  return concatBytes(...pieces);
}

/** What is wanted of a service, and kept. */
export interface Wanted {
  /** Name of its file in the cache. */
  readonly name: string;
  readonly maxBytes: number;
  /** Until when bytes are of use, in milliseconds since 1970; undefined: they are of none. */
  readonly usableUntilMs: (bytes: Bytes) => number | undefined;
  /** How long it is kept at most, whatever it says. */
  readonly maxAgeMs: number;
  /** Asks for it; throws `CollateralUnavailable`. */
  readonly ask: () => Promise<Bytes>;
}

/**
 * What services said, as long as it is good; a day before it ends they are asked anew, while it serves. The same thing is asked for
 * once at a time, and not again for a while after it failed, or was forgotten: evidence must not wait for a service each time. What is
 * remembered of that is lost with the process.
 */
export class KeptAnswers {
  readonly #options: FetchOptions;
  readonly #underWay = new Map<string, Promise<Bytes>>();
  readonly #failed = new Map<string, { readonly error: unknown; readonly untilMs: number }>();
  readonly #askedAtMs = new Map<string, number>();
  /** What was replaced while it was good, by something that nobody has verified. */
  readonly #replaced = new Map<string, Kept>();

  constructor(options: FetchOptions) {
    this.#options = options;
  }

  /** Throws `CollateralUnavailable`. */
  async get(wanted: Wanted): Promise<Bytes> {
    const nowMs = this.#options.nowMs();
    const file = this.#fileOf(wanted.name);
    const kept = file === undefined ? undefined : await readKept(file, wanted, nowMs);
    if (kept === undefined || kept.untilMs <= nowMs) return this.#askOnce(wanted);
    // Why it failed is remembered where it is asked; what is kept serves until it ends.
    const isDue = kept.untilMs - ENDORSEMENT_REFRESH_MS <= nowMs && this.#askableAtMs(wanted.name) <= nowMs;
    if (isDue) void this.#askOnce(wanted, kept).catch(() => undefined);
    return kept.bytes;
  }

  /**
   * Forgets what is kept under a name: evidence that was made with it does not verify. What it replaced is back then, as long as that
   * is good; without it, who wants it asks again, after a rest.
   */
  async forget(name: string): Promise<void> {
    const untilMs = this.#askableAtMs(name);
    if (untilMs > this.#options.nowMs()) {
      const again = new Date(untilMs).toISOString();
      const error = collateralUnavailable(
        `${name}: what the service gave does not verify; it is asked again at ${again}`,
      );
      remember(this.#failed, name, { error, untilMs });
    }
    const { cacheFolder } = this.#options;
    if (cacheFolder === undefined) return;
    const before = this.#replaced.get(name);
    this.#replaced.delete(name);
    if (before !== undefined) return keep(cacheFolder, name, before.bytes, before.keptAtMs);
    try {
      await rm(join(cacheFolder, name), { force: true });
    } catch {
      // What can't be removed ends with its age.
    }
  }

  /** When a part that was asked for may be asked for anew, though nothing failed. */
  #askableAtMs(name: string): number {
    const askedAtMs = this.#askedAtMs.get(name);
    return askedAtMs === undefined ? Number.NEGATIVE_INFINITY : askedAtMs + ENDORSEMENT_REFETCH_MS;
  }

  #fileOf(name: string): string | undefined {
    const { cacheFolder } = this.#options;
    return cacheFolder === undefined ? undefined : join(cacheFolder, name);
  }

  /** @param replaced what is kept, and good */
  #askOnce(wanted: Wanted, replaced?: Kept): Promise<Bytes> {
    const { name } = wanted;
    const underWay =
      this.#underWay.get(name) ?? this.#askAndKeep(wanted, replaced).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, underWay);
    return underWay;
  }

  async #askAndKeep(wanted: Wanted, replaced: Kept | undefined): Promise<Bytes> {
    const { cacheFolder, nowMs } = this.#options;
    const bytes = await this.#ask(wanted);
    if (replaced !== undefined) remember(this.#replaced, wanted.name, replaced);
    if (cacheFolder !== undefined) await keep(cacheFolder, wanted.name, bytes, nowMs());
    return bytes;
  }

  async #ask({ name, ask }: Wanted): Promise<Bytes> {
    const { nowMs } = this.#options;
    const failed = this.#failed.get(name);
    if (failed !== undefined && nowMs() < failed.untilMs) throw failed.error;
    this.#failed.delete(name);
    remember(this.#askedAtMs, name, nowMs());
    try {
      return await ask();
    } catch (error) {
      remember(this.#failed, name, { error, untilMs: nowMs() + ENDORSEMENT_REST_MS });
      throw error;
    }
  }
}

/** Bytes that are kept, since when, and until when they are of use. */
interface Kept {
  readonly bytes: Bytes;
  readonly keptAtMs: number;
  readonly untilMs: number;
}

function remember<T>(known: Map<string, T>, name: string, value: T): void {
  known.delete(name);
  const [oldest] = known.size >= MAX_ENDORSEMENTS_REMEMBERED ? known.keys() : [];
  if (oldest !== undefined) known.delete(oldest);
  known.set(name, value);
}

/** What is kept, and until when it is of use by what it says and by its age; a file that is from tomorrow has no age. */
async function readKept(
  file: string,
  { maxBytes, usableUntilMs, maxAgeMs }: Wanted,
  nowMs: number,
): Promise<Kept | undefined> {
  let bytes: Bytes;
  let keptAtMs: number;
  try {
    bytes = new Uint8Array(await readFile(file));
    keptAtMs = (await stat(file)).mtimeMs;
  } catch {
    return undefined;
  }
  if (bytes.length > maxBytes || keptAtMs > nowMs + ENDORSEMENT_REFRESH_MS) return undefined;
  const untilMs = usableUntilMs(bytes);
  return untilMs === undefined ? undefined : { bytes, keptAtMs, untilMs: Math.min(untilMs, keptAtMs + maxAgeMs) };
}

/** A cache that can't be written costs a request next time. */
async function keep(folder: string, name: string, bytes: Bytes, nowMs: number): Promise<void> {
  try {
    // It may be the first thing in a new node's folder, which is for the node alone.
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = join(folder, name);
    await writeFileAtomic(file, bytes, PUBLIC_FILE_MODE);
    await utimes(file, nowMs / 1000, nowMs / 1000);
  } catch {
    // What is at hand is good without it.
  }
}
