import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Solo } from "./solo.ts";
import type { RaftOptions } from "./state.ts";
import {
  append,
  configurationEntry,
  configurationIn,
  entryAt,
  logOf,
  type ScriptedEvent,
  votersOf,
} from "./testing/scriptedNode.ts";
import type { LogEntry, Ready } from "./types.ts";

/** A solo core driven by hand. */
class ScriptedSolo {
  readonly solo: Solo;
  #now = 1000;
  #lastId = 0;

  constructor(options: Partial<RaftOptions> = {}) {
    this.solo = new Solo({
      id: "a",
      initial: votersOf("a"),
      configurationOf: configurationIn,
      random: () => 0,
      electionTimeoutMinMs: 100,
      electionTimeoutMaxMs: 200,
      heartbeatIntervalMs: 20,
      maxAppendBytes: 1000,
      maxInflightAppends: 3,
      maxInflightBytes: 1000,
      windowBytes: 1000,
      hardState: undefined,
      trustDisk: () => true,
      tookPart: false,
      restored: { entries: [] },
      now: this.#now,
      ...options,
    });
  }

  step(event: ScriptedEvent): Ready {
    const ready = this.solo.step({ ...event, now: this.#now++ });
    if (ready.persist !== undefined) this.#lastId = ready.persist.id;
    return ready;
  }

  sync(): Ready {
    return this.step({ type: "persisted", id: this.#lastId });
  }

  propose(...entries: readonly LogEntry[]): Ready {
    return this.step({ type: "propose", entries });
  }

  lead(): this {
    this.step({ type: "tick" });
    this.sync();
    assert.equal(this.solo.status().role, "leader");
    return this;
  }
}

describe("consensus of one", () => {
  test("leads in a new term once that is durable, and commits what is durable", () => {
    const node = new ScriptedSolo();
    assert.deepEqual(node.step({ type: "tick" }).persist?.hardState, { term: 2, votedFor: "a" });
    assert.equal(node.solo.status().role, "candidate");
    assert.equal(node.sync().roleChanged, true);
    assert.deepEqual(node.propose(entryAt(1, 2)).committed, []);
    assert.deepEqual(node.sync().committed, [entryAt(1, 2)]);
  });

  test("goes on after a restart in a later term, and commits older entries along with one of it", () => {
    const node = new ScriptedSolo({ restored: { entries: logOf(2, 2) }, hardState: { term: 4, votedFor: "a" } }).lead();
    assert.deepEqual([node.solo.status().term, node.solo.status().commitIndex], [5, 0]);
    node.propose(entryAt(3, 5));
    assert.deepEqual(node.sync().committed, [...logOf(2, 2), entryAt(3, 5)]);
  });

  test("gives back what does not fit, and every change of membership", () => {
    const node = new ScriptedSolo();
    assert.equal(node.propose(entryAt(1, 2)).dropped.length, 1, "it does not lead yet");
    node.lead();
    const change = configurationEntry(2, 2, votersOf("a", "b"));
    assert.deepEqual(node.propose(entryAt(1, 2), change).dropped, [change]);
    assert.equal(node.propose(entryAt(2, 1)).dropped.length, 1);
    assert.equal(node.propose(configurationEntry(2, 2, votersOf("a"))).dropped.length, 0);
  });

  test("answers reads once an entry of its term is committed", () => {
    const node = new ScriptedSolo();
    assert.deepEqual(node.step({ type: "read", id: 1 }).reads, [{ id: 1, index: undefined }]);
    node.lead();
    assert.deepEqual(node.step({ type: "read", id: 2 }).reads, []);
    node.propose(entryAt(1, 2));
    assert.deepEqual(node.sync().reads, [{ id: 2, index: 1 }]);
    assert.deepEqual(node.step({ type: "read", id: 3 }).reads, [{ id: 3, index: 1 }]);
  });

  test("stops leading while the disk is full", () => {
    const node = new ScriptedSolo().lead();
    node.step({ type: "diskFull", full: true });
    assert.equal(node.propose(entryAt(1, 2)).dropped.length, 1);
    assert.equal(node.step({ type: "tick" }).persist, undefined);
    node.step({ type: "diskFull", full: false });
    node.lead();
    assert.equal(node.solo.status().term, 3);
  });

  test("compacts, and starts again from the snapshot", () => {
    const node = new ScriptedSolo().lead();
    node.propose(entryAt(1, 2), entryAt(2, 2));
    node.sync();
    const snapshot = { index: 1, term: 2, configuration: votersOf("a"), configurationIndex: 0 };
    node.step({ type: "compact", snapshot });
    assert.equal(node.solo.status().firstIndex, 2);
    const again = new ScriptedSolo({ restored: { snapshot, entries: [entryAt(2, 2)] } }).lead();
    again.propose(entryAt(3, 3));
    assert.deepEqual(again.sync().committed, [entryAt(2, 2), entryAt(3, 3)]);
  });

  test("listens to nobody", () => {
    const node = new ScriptedSolo().lead();
    const ready = node.step({ type: "message", from: "b", message: append(9, [0, 0], [entryAt(1, 9)], 1) });
    assert.deepEqual([ready.send.length, node.solo.status().term, node.solo.status().lastIndex], [0, 2, 0]);
  });

  test("waits for the members when its log is gone, and is refused where there are others", () => {
    const wiped = new ScriptedSolo({ tookPart: true });
    wiped.step({ type: "tick" });
    assert.deepEqual([wiped.solo.status().role, wiped.solo.status().recovering], ["follower", true]);
    wiped.step({ type: "resume" });
    wiped.lead();
    assert.throws(() => new ScriptedSolo({ initial: votersOf("a", "b") }), { code: "ConfigurationInvalid" });
  });
});
