/**
 * Counts every call through the ports of a simulated node, in both directions, and ends the node before or after a chosen
 * one: whatever a node does is between two calls, so every state it can die in is reached this way.
 */
import type { AskTee, Clock, Disk, PeerTransport, SnapshotFile } from "../../src/enclave/ports.ts";

/**
 * Kinds of calls through ports, and of clients' requests. What is missing leaves nothing behind that a crash could part: `clock.now`
 * and `clock.wallTime` read, a timer that is cancelled dies with the process, cryptography computes, log lines are for people.
 */
export const PORT_CALLS = [
  "disk.persist",
  "disk.persisted",
  "disk.read",
  "disk.loaded",
  "disk.createSnapshot",
  "disk.appendSnapshot",
  "disk.snapshotAppended",
  "disk.finishSnapshot",
  "disk.snapshotFinished",
  "disk.abandonSnapshot",
  "disk.readSnapshot",
  "disk.snapshotRead",
  "disk.removeSnapshot",
  "disk.diskFull",
  "transport.send",
  "transport.frame",
  "transport.channelUp",
  "transport.channelDown",
  "executor.start",
  "executor.send",
  "executor.message",
  "executor.close",
  "clock.after",
  "clock.timer",
  "entropy.bytes",
  "tee.ask",
  "tee.answer",
  "client.request",
  "client.answer",
] as const;
/** See {@link PORT_CALLS}. */
export type PortCall = (typeof PORT_CALLS)[number];

/** Where a node is to end. */
export interface CrashPoint {
  /** The kind of call; undefined: any. */
  readonly call?: PortCall;
  /** How many calls of that kind come first. */
  readonly after: number;
  readonly phase: "before" | "after";
}

/** Where a node ended. */
export interface CrashedAt {
  readonly call: PortCall;
  readonly phase: CrashPoint["phase"];
}

/** Thrown through a node that just ended; what it does from here on reaches nobody. */
export const NODE_ENDED: Error = new Error("the simulated node ended");

/** See the module's header. */
export class PortWatch {
  readonly #end: (place: CrashedAt) => void;
  #point: CrashPoint | undefined;
  #left = 0;
  #ended = false;
  /** Calls so far. */
  calls = 0;
  /** Kinds of calls so far. */
  readonly kinds = new Set<PortCall>();

  /** @param end ends the node at once */
  constructor(end: (place: CrashedAt) => void) {
    this.#end = end;
  }

  /** Chooses where the node ends. */
  arm(point: CrashPoint): void {
    this.#point = point;
    this.#left = point.after;
  }

  /** Forgets the chosen call. */
  disarm(): void {
    this.#point = undefined;
  }

  /** The node ended: nothing passes its ports any more. */
  close(): void {
    this.#ended = true;
  }

  /** Makes a call through a port. */
  pass<T>(call: PortCall, make: () => T): T {
    if (this.#ended) throw NODE_ENDED;
    this.calls++;
    this.kinds.add(call);
    const point = this.#point;
    if (point === undefined || (point.call ?? call) !== call || this.#left-- > 0) return make();
    this.#point = undefined;
    if (point.phase === "before") this.#crash({ call, phase: "before" });
    const result = make();
    // The call itself may have ended the node.
    if (!this.#ended) this.#crash({ call, phase: "after" });
    return result;
  }

  #crash(place: CrashedAt): never {
    this.#end(place);
    throw NODE_ENDED;
  }

  /** The clock, watched. */
  clock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      wallTime: () => clock.wallTime(),
      after: (delayMs, callback) =>
        this.pass("clock.after", () => clock.after(delayMs, () => this.pass("clock.timer", callback))),
    };
  }

  /** The disk, watched; its answers enter the process through `enter`. */
  disk(disk: Disk, enter: (input: () => void) => void): Disk {
    return {
      persist: (request, done) =>
        this.pass("disk.persist", () => disk.persist(request, () => enter(() => this.pass("disk.persisted", done)))),
      read: (fromIndex, maxBytes, done) =>
        this.pass("disk.read", () =>
          disk.read(fromIndex, maxBytes, (entries) => enter(() => this.pass("disk.loaded", () => done(entries)))),
        ),
      createSnapshot: (index) =>
        this.#snapshotFile(
          this.pass("disk.createSnapshot", () => disk.createSnapshot(index)),
          enter,
        ),
      readSnapshot: (index, offset, maxBytes, done) =>
        this.pass("disk.readSnapshot", () =>
          disk.readSnapshot(index, offset, maxBytes, (data, last) =>
            enter(() => this.pass("disk.snapshotRead", () => done(data, last))),
          ),
        ),
      removeSnapshot: (index) => this.pass("disk.removeSnapshot", () => disk.removeSnapshot(index)),
    };
  }

  #snapshotFile(file: SnapshotFile, enter: (input: () => void) => void): SnapshotFile {
    const later = (call: PortCall, done: () => void) => () => enter(() => this.pass(call, done));
    return {
      append: (data, done) =>
        this.pass("disk.appendSnapshot", () => file.append(data, later("disk.snapshotAppended", done))),
      finish: (done) => this.pass("disk.finishSnapshot", () => file.finish(later("disk.snapshotFinished", done))),
      abandon: () => this.pass("disk.abandonSnapshot", () => file.abandon()),
    };
  }

  /** The TEE, watched; its answers enter the process through `enter`. */
  tee(askTee: AskTee, enter: (input: () => void) => void): AskTee {
    return (reportData, done) =>
      this.pass("tee.ask", () =>
        askTee(reportData, (outcome) => enter(() => this.pass("tee.answer", () => done(outcome)))),
      );
  }

  /** The transport, watched. */
  transport(transport: PeerTransport): PeerTransport {
    return { send: (peer, frame) => this.pass("transport.send", () => transport.send(peer, frame)) };
  }
}
