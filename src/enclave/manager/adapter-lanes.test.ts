import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rightsOf } from "../../../test/support/rights-of.ts";
import { EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import type { AdapterEntry } from "../../core/governance/constitution.ts";
import type { FromWorker, ToWorker } from "../worker/protocol.ts";
import { AdapterLanes, type AdapterLanesParts } from "./adapter-lanes.ts";

/** Of lanes whose workers are never lost. */
const NEVER_LOST: Pick<AdapterLanesParts, "onLost" | "onRestored" | "mayRestore" | "recovery"> = {
  onLost: () => assert.fail("a worker was lost"),
  onRestored: () => assert.fail("a worker was restored"),
  mayRestore: () => false,
  recovery: {
    clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
    disk: { read: () => assert.fail("read"), readSnapshot: () => assert.fail("read") },
    get opening(): never {
      return assert.fail("opened");
    },
    snapshot: () => undefined,
    check: () => assert.fail("checked"),
    open: () => assert.fail("opened"),
    onFatal: (error) => assert.fail(error),
  },
};

describe("the lanes of a node", () => {
  test("follow the settings in force: a vote on the size of a batch counts for the next one", () => {
    const sent: ToWorker[] = [];
    let transactions = 2;
    let index = 10;
    const rights = rightsOf({ alice: undefined });
    const sender = { actor: "alice", certificate: "00" };
    const lanes = new AdapterLanes({
      tracer: { event: () => undefined },
      startExecutor: () => ({ send: (message) => sent.push(message), close: () => undefined }),
      onMessage: () => undefined,
      ...NEVER_LOST,
      onEnded: () => undefined,
      clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
      randomBytes: (length) => new Uint8Array(length),
      settings: () => ({ maxBatch: { transactions, bytes: 1000 }, maxDelayMs: 0, answerAfter: "commit" }),
      rights: () => rights,
      batchTime: () => 1,
      view: () => ({ leads: true, serving: true, leader: "me" }),
      mayExecute: () => true,
      propose: () => index++,
      send: () => true,
    });
    lanes.follow([{ id: 1, name: "test", version: "0", mount: "/test", options: {} }]);
    const lane = lanes.byId.get(1)?.lane;
    assert.ok(lane);
    const newest = () => sent.findLast((message) => message.type === "execute" || message.type === "genesis");
    const finish = () => {
      const last = newest();
      assert.ok(last);
      const items = last.type === "execute" ? last.items : [{ id: EMPTY }];
      const made = items.map(({ id }) => ({ id, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined }));
      const outcomes =
        last.type === "execute"
          ? made.map((_, position) => ({ type: "included", result: EMPTY, position }) as const)
          : [];
      const { generation } = last;
      lane.executed({ type: "executed", generation, outcomes, transactions: made, dropped: [], more: false });
    };
    lane.executeGenesis();
    finish();
    lane.durable(10);
    lane.committed({ index: 10, view: 2, firstSeqno: 10, count: 1 }, () => [EMPTY]);
    lane.enqueue(
      Array.from({ length: 9 }, (_, at) => ({ sender, item: { id: utf8Encode(`${at}`), body: EMPTY } })),
      "peer",
    );
    const size = () => {
      const last = newest();
      return last?.type === "execute" ? last.items.length : 0;
    };
    assert.equal(size(), 2);
    transactions = 5;
    finish();
    assert.equal(size(), 5);
  });
});

describe("the adapters of a node", () => {
  const ENTRY: AdapterEntry = { id: 1, name: "one", version: "0", mount: "/one", options: { a: 1 } };
  const OTHER: AdapterEntry = { id: 2, name: "two", version: "0", mount: "/two", options: {} };

  /** Lanes whose workers say what a test lets them say. */
  function fixture() {
    const log: string[] = [];
    const workers: ((message: FromWorker) => void)[] = [];
    const lanes = new AdapterLanes({
      tracer: { event: (level, event) => void (level === "error" && log.push(event)) },
      startExecutor: ({ id }, onMessage) => {
        log.push(`start ${id}`);
        workers.push(onMessage);
        return { send: ({ type }) => log.push(`${type} ${id}`), close: () => log.push(`close ${id}`) };
      },
      onMessage: (adapterId, { type }) => log.push(`${type} of ${adapterId}`),
      ...NEVER_LOST,
      onEnded: (adapterId, why) => log.push(`${why} ${adapterId}`),
      clock: { now: () => 0, wallTime: () => 0, after: () => () => undefined },
      randomBytes: (length) => new Uint8Array(length),
      settings: () => ({ maxBatch: { transactions: 9, bytes: 1000 }, maxDelayMs: 0, answerAfter: "commit" }),
      rights: () => RIGHTS,
      batchTime: () => 1,
      view: () => ({ leads: true, serving: true, leader: "me" }),
      mayExecute: () => true,
      propose: () => 1,
      send: (peer, frame) => {
        if (frame.type === "outcomes")
          log.push(
            ...frame.outcomes.map(({ outcome }) => `${peer} ${"code" in outcome ? outcome.code : outcome.type}`),
          );
        return true;
      },
    });
    const taken = () => log.splice(0);
    return { lanes, workers, taken };
  }
  const RIGHTS = rightsOf({ alice: undefined });
  const sent = { sender: { actor: "alice", certificate: "00" }, item: { id: utf8Encode("t"), body: EMPTY } };

  test("keep clients away until each has its state and its worker, apart from those that cannot run or come later", () => {
    const { lanes } = fixture();
    const LATER: AdapterEntry = { id: 3, name: "three", version: "0", mount: "/three", options: {} };
    const take = (adapterId: number) =>
      lanes.byId.get(adapterId)?.lane.committed({ index: adapterId, view: 2, firstSeqno: 1, count: 1 }, () => [EMPTY]);
    lanes.follow([ENTRY, OTHER]);
    assert.match(lanes.hindrance ?? "", /one has no state/);
    take(1);
    assert.match(lanes.hindrance ?? "", /two has no state/);
    lanes.unable(2, "not in this code");
    assert.equal(lanes.hindrance, undefined, "waiting would not help");
    lanes.follow([ENTRY, OTHER, LATER]);
    assert.equal(lanes.hindrance, undefined, "the clients of the others are still served");
    const lane = lanes.byId.get(1) ?? assert.fail("it is mounted");
    lane.isRestoring = true;
    assert.match(lanes.hindrance ?? "", /worker of adapter one/);
  });

  test("are those of the constitution: started, configured and ended where it changes, and only there", () => {
    const { lanes, workers, taken } = fixture();
    lanes.follow([ENTRY]);
    assert.deepEqual(taken(), ["start 1"]);
    lanes.follow([{ ...ENTRY, options: { a: 1 } }, OTHER]);
    assert.deepEqual(taken(), ["start 2"]);
    lanes.follow([{ ...ENTRY, options: { a: 2 } }, OTHER]);
    assert.deepEqual(taken(), ["rollback 1", "configure 1"]);
    lanes.follow([OTHER]);
    assert.deepEqual(taken(), ["close 1", "removed 1"]);
    assert.deepEqual([...lanes.byId.keys()], [2]);
    workers[0]?.({ type: "failed", message: "it was ended" });
    workers[1]?.({ type: "ready", tables: [] });
    assert.deepEqual(taken(), ["ready of 2"]);
  });

  test("that this node's code cannot run are given up, loudly: transactions are told so, batches still counted", () => {
    const { lanes, taken } = fixture();
    lanes.follow([ENTRY, OTHER]);
    lanes.ready(1);
    taken();
    const lane = lanes.byId.get(1);
    lanes.unable(1, "no such adapter");
    lanes.unable(1, "no such adapter");
    assert.deepEqual(taken(), ["adapter_unavailable", "rollback 1", "unable 1"]);
    lane?.lane.enqueue([sent], "peer");
    lanes.pump(true);
    lane?.lane.committed({ index: 3, view: 2, firstSeqno: 3, count: 1 }, () => []);
    assert.deepEqual(taken(), ["peer AdapterUnavailable", "genesis 2", "apply 1", "commit 1"]);
    assert.deepEqual([lane?.isUnable, lane?.committedVersion(), lanes.byId.get(2)?.isUnable], [true, 1, false]);
    lanes.follow([{ ...ENTRY, options: { a: 2 } }, OTHER]);
    assert.equal(lane?.keepsState, true);
    lanes.ready(1);
    assert.deepEqual([lane?.isUnable, taken()], [false, ["rollback 1", "configure 1"]]);
    lane?.lane.enqueue([sent], "peer");
    assert.deepEqual(taken(), ["execute 1"]);
  });

  test("that never ran here begin anew under other options", () => {
    const { lanes, taken } = fixture();
    lanes.follow([ENTRY]);
    lanes.unable(1, "a is too small");
    taken();
    lanes.follow([{ ...ENTRY, options: { a: 2 } }]);
    assert.deepEqual(taken(), ["close 1", "start 1"]);
    lanes.pump(true);
    assert.deepEqual(taken(), ["genesis 1"]);
  });

  test("of a snapshot on its way have workers that are not served, until it is installed or another takes its place", () => {
    const { lanes, taken } = fixture();
    lanes.follow([ENTRY]);
    lanes.prepare([ENTRY, OTHER]);
    assert.deepEqual(taken(), ["start 1", "start 2"]);
    assert.deepEqual([...lanes.byId.keys()], [1]);
    const prepared = lanes.importable(2);
    prepared?.restore(7, 70);
    lanes.follow([ENTRY, OTHER]);
    assert.equal(lanes.byId.get(2), prepared);
    assert.deepEqual(taken(), []);
    lanes.prepare([ENTRY, { ...OTHER, id: 3 }]);
    lanes.follow([ENTRY, { ...OTHER, id: 3, mount: "/three" }]);
    assert.deepEqual(taken(), ["start 3", "close 2", "removed 2", "start 3", "close 3"]);
  });
});
