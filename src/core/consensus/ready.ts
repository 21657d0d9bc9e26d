/** Collects what one step asks of the driver. */
import { invariant } from "../../errors.ts";
import type { LogEntry, Outgoing, PersistRequest, Ready } from "./types.ts";

type Mutable<Shape> = { -readonly [Key in keyof Shape]: Shape[Key] };

const NONE: readonly never[] = [];

const NOTHING: Ready = {
  persist: undefined,
  send: NONE,
  committed: NONE,
  load: NONE,
  loadSnapshot: NONE,
  snapshotParts: NONE,
  installed: undefined,
  reads: NONE,
  dropped: NONE,
  roleChanged: false,
};

/** The outcome of a step while it is being made; lists are made only when something is put into them. */
export class ReadyBuilder {
  #next: Mutable<Ready> | undefined;
  #send: Outgoing[] = [];

  /** Adds a message. */
  send(outgoing: Outgoing): void {
    this.#send.push(outgoing);
  }

  /** Adds messages. */
  sendAll(outgoing: readonly Outgoing[]): void {
    for (const each of outgoing) this.#send.push(each);
  }

  /** Adds committed entries that follow those added before. */
  commit(entries: readonly LogEntry[]): void {
    const draft = this.#draft();
    draft.committed = draft.committed.length === 0 ? entries : [...draft.committed, ...entries];
  }

  /** Asks for entries. */
  load(load: Ready["load"][number]): void {
    const draft = this.#draft();
    draft.load = [...draft.load, load];
  }

  /** Asks for a part of a snapshot. */
  loadSnapshot(load: Ready["loadSnapshot"][number]): void {
    const draft = this.#draft();
    draft.loadSnapshot = [...draft.loadSnapshot, load];
  }

  /** Hands over a part of the leader's snapshot. */
  stage(part: Ready["snapshotParts"][number]): void {
    const draft = this.#draft();
    draft.snapshotParts = [...draft.snapshotParts, part];
  }

  /** Tells that a snapshot took the place of the log. */
  install(installed: NonNullable<Ready["installed"]>): void {
    invariant(
      this.#next?.committed === undefined || this.#next.committed.length === 0,
      "nothing is handed out before a snapshot",
    );
    this.#draft().installed = installed;
  }

  /** Answers a read. */
  read(answer: Ready["reads"][number]): void {
    const draft = this.#draft();
    draft.reads = [...draft.reads, answer];
  }

  /** Gives proposed entries back. */
  drop(entries: readonly LogEntry[]): void {
    if (entries.length > 0) this.#draft().dropped = entries;
  }

  /** Closes the step. */
  finish(persist: PersistRequest | undefined, roleChanged: boolean): Ready {
    if (this.#next === undefined && this.#send.length === 0 && persist === undefined && !roleChanged) return NOTHING;
    const ready = this.#draft();
    ready.persist = persist;
    ready.roleChanged = roleChanged;
    ready.send = this.#send;
    this.#next = undefined;
    this.#send = [];
    return ready;
  }

  #draft(): Mutable<Ready> {
    this.#next ??= { ...NOTHING };
    return this.#next;
  }
}
