import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { EXPORT_SPARE_BYTES_MAX, EXPORT_WAIT_MS } from "./export-guard.ts";
import {
  WORKER_LOG_FLOOD_LINES,
  WORKER_LOG_LINES_MAX,
  WORKER_PING_INTERVAL_MS,
  WORKER_RESTART_MAX_MS,
  WORKER_RESTART_MIN_MS,
  WORKER_SILENCE_MAX_MS,
  WORKER_SOUND_AFTER_MS,
  WorkerSupervisor,
} from "./worker-supervisor.ts";

const STEP_MS = 250;
const ENTRY = { id: 1, name: "one", version: "0", mount: "/one", options: {} };

/** A supervisor whose workers, clock and recovery a test moves by hand. */
function fixture() {
  let now = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  const log: string[] = [];
  const workers: { readonly say: (message: FromWorker) => void; readonly sent: ToWorker[] }[] = [];
  const recoveries: { send(message: ToWorker): void; done(): void; readonly taken: FromWorker[] }[] = [];
  const supervisor = new WorkerSupervisor({
    clock: {
      now: () => now,
      wallTime: () => now,
      after: (delayMs, run) => {
        timers.push({ at: now + delayMs, run });
        return () => undefined;
      },
    },
    tracer: { event: (_level, event) => log.push(event) },
    startExecutor: (_entry, say) => {
      const sent: ToWorker[] = [];
      workers.push({ say, sent });
      return { send: (message) => sent.push(message), close: () => log.push("closed") };
    },
    entry: () => ENTRY,
    onMessage: ({ type }) => log.push(`said ${type}`),
    onLost: () => log.push("lost"),
    onRestored: () => log.push("restored"),
    mayRestore: () => true,
    recover: (send, done) => {
      const taken: FromWorker[] = [];
      recoveries.push({ send, done, taken });
      return { taken: (message) => taken.push(message), cancel: () => log.push("cancelled") };
    },
  });
  supervisor.start();
  const pass = (ms: number): void => {
    for (const end = now + ms; now < end; ) {
      now = Math.min(end, now + STEP_MS);
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { run } of due) run();
      supervisor.tick();
    }
  };
  const jump = (ms: number): void => {
    now += ms;
    supervisor.tick();
  };
  return { supervisor, workers, recoveries, pass, jump, taken: () => log.splice(0) };
}
const ready: FromWorker = { type: "ready", tables: [] };
const execute: ToWorker = { type: "execute", generation: 0, timeMs: 0, randomness: new Uint8Array(32), items: [] };

describe("the supervision of a worker", () => {
  test("ends one that breaks a rule, begins another from what is committed, and sends nothing meanwhile", () => {
    const { supervisor, workers, recoveries, pass, taken } = fixture();
    workers[0]?.say(ready);
    workers[0]?.say({ type: "pong", id: 1 });
    workers[0]?.say(ready);
    assert.deepEqual(taken(), ["said ready", "closed", "worker_lost", "lost"]);
    supervisor.send(execute);
    pass(WORKER_RESTART_MIN_MS + STEP_MS);
    supervisor.send(execute);
    assert.deepEqual([workers.length, workers[0]?.sent, workers[1]?.sent], [2, [], []]);
    recoveries[0]?.send({ type: "ping", id: 0 });
    workers[1]?.say(ready);
    workers[1]?.say({ type: "pong", id: 0 });
    assert.equal(recoveries[0]?.taken.length, 1);
    recoveries[0]?.done();
    supervisor.send(execute);
    assert.deepEqual(workers[1]?.sent.at(-1), execute);
    assert.deepEqual(taken(), ["said ready", "worker_restored", "restored"]);
    assert.equal(supervisor.losses, 1);
  });

  test("takes a loss while another begins like any other, and holds the tables of the first against the next", () => {
    const { workers, recoveries, pass, taken } = fixture();
    workers[0]?.say({ type: "ready", tables: [{ id: 1, name: "one" }] });
    workers[0]?.say({ type: "failed", message: "it broke" });
    pass(WORKER_RESTART_MIN_MS + STEP_MS);
    taken();
    workers[1]?.say({ type: "ready", tables: [{ id: 1, name: "public:one" }] });
    assert.deepEqual(taken(), ["cancelled", "closed", "worker_lost", "lost"]);
    pass(2 * WORKER_RESTART_MIN_MS + STEP_MS);
    assert.equal(recoveries.length, 2);
  });

  test("ends one that does not answer what it was sent, whatever else it says", () => {
    const { supervisor, workers, pass, taken } = fixture();
    workers[0]?.say(ready);
    supervisor.send(execute);
    taken();
    for (let passed = 0; passed <= WORKER_SILENCE_MAX_MS + 4 * STEP_MS; passed += STEP_MS) {
      workers[0]?.say({ type: "log", message: "busy" });
      pass(STEP_MS);
    }
    assert.equal(taken().filter((event) => event !== "adapter")[0], "closed");
  });

  test("asks one that has nothing to do, and does not count time in which nobody could have looked", () => {
    const { workers, pass, jump, taken } = fixture();
    workers[0]?.say(ready);
    pass(WORKER_PING_INTERVAL_MS + STEP_MS);
    assert.equal(workers[0]?.sent.at(-1)?.type, "ping");
    taken();
    jump(10 * WORKER_SILENCE_MAX_MS);
    assert.deepEqual(taken(), []);
  });

  test("drops lines beyond a number, and ends one that floods", () => {
    const { workers, pass, taken } = fixture();
    workers[0]?.say(ready);
    taken();
    const say = (lines: number) => {
      for (let at = 0; at < lines; at++) workers[0]?.say({ type: "log", message: "" });
    };
    say(WORKER_LOG_FLOOD_LINES);
    assert.deepEqual(
      taken(),
      Array.from({ length: WORKER_LOG_LINES_MAX }, () => "adapter"),
    );
    say(1);
    assert.ok(taken().includes("lost"));
    pass(WORKER_RESTART_MIN_MS + STEP_MS);
    assert.equal(workers.length, 2);
  });

  test("ends one whose snapshot is larger than what was written or imported, whichever worker had it", () => {
    const part = (bytes: number): FromWorker => ({
      ...{ type: "snapshotPart", version: 1, part: new Uint8Array(bytes), last: false },
    });
    const imported = (bytes: number, first: boolean): ToWorker => ({
      ...{ type: "importSnapshot", version: 1, part: new Uint8Array(bytes), first, last: false },
    });
    const { supervisor, workers, recoveries, pass, taken } = fixture();
    workers[0]?.say(ready);
    supervisor.wrote(5_000_000);
    // Takes the place of what was there.
    supervisor.send(imported(300_000, true));
    supervisor.send(imported(100_000, false));
    supervisor.wrote(100_000);
    workers[0]?.say({ type: "failed", message: "" });
    pass(WORKER_RESTART_MIN_MS + STEP_MS);
    workers[1]?.say(ready);
    recoveries[0]?.done();
    supervisor.send({ type: "exportSnapshot", version: 1, maxBytes: 1_000_000 });
    const next = (bytes: number) => {
      supervisor.send({ type: "nextPart", version: 1 });
      workers[1]?.say(part(bytes));
    };
    taken();
    next(1_000_000);
    next(EXPORT_SPARE_BYTES_MAX);
    assert.deepEqual(taken(), ["said snapshotPart", "said snapshotPart"]);
    next(1);
    assert.deepEqual(taken(), ["closed", "worker_lost", "lost"]);
  });

  test("ends one that lets it wait for each part of a snapshot, and at once when it is told to", () => {
    const { supervisor, workers, pass, taken, recoveries } = fixture();
    workers[0]?.say(ready);
    supervisor.wrote(1_000_000);
    supervisor.send({ type: "exportSnapshot", version: 1, maxBytes: 1_000 });
    taken();
    let waitedMs = 0;
    while (workers.length === 1 && waitedMs < 2 * EXPORT_WAIT_MS) {
      supervisor.send({ type: "nextPart", version: 1 });
      pass(WORKER_SILENCE_MAX_MS / 2);
      waitedMs += WORKER_SILENCE_MAX_MS / 2;
      workers[0]?.say({ type: "snapshotPart", version: 1, part: new Uint8Array(1), last: false });
    }
    assert.ok(waitedMs > EXPORT_WAIT_MS && waitedMs < 2 * EXPORT_WAIT_MS);
    recoveries[0]?.done();
    taken();
    supervisor.end("it is of no use");
    supervisor.end("it is of no use");
    assert.deepEqual(taken(), ["closed", "worker_lost", "lost"]);
  });

  test("lets those that break at once come ever later, up to a bound, and one that was sound come soon again", () => {
    const { workers, recoveries, pass, supervisor } = fixture();
    const restartedWithin = (ms: number): boolean => {
      const before = workers.length;
      workers.at(-1)?.say({ type: "failed", message: "" });
      pass(ms);
      return workers.length > before;
    };
    for (let at = 0; at < 10; at++) {
      const expectedMs = Math.min(WORKER_RESTART_MAX_MS, WORKER_RESTART_MIN_MS * 2 ** at);
      if (expectedMs > 2 * STEP_MS) assert.equal(restartedWithin(expectedMs - 2 * STEP_MS), false);
      else workers.at(-1)?.say({ type: "failed", message: "" });
      pass(3 * STEP_MS);
      assert.equal(workers.length, at + 2);
    }
    recoveries.at(-1)?.done();
    workers.at(-1)?.say(ready);
    for (let passed = 0; passed < WORKER_SOUND_AFTER_MS; passed += STEP_MS) {
      pass(STEP_MS);
      const last = workers.at(-1)?.sent.at(-1);
      if (last?.type === "ping") workers.at(-1)?.say({ type: "pong", id: last.id });
      workers.at(-1)?.sent.splice(0);
    }
    assert.equal(restartedWithin(WORKER_RESTART_MIN_MS + STEP_MS), true);
    supervisor.close();
  });
});
