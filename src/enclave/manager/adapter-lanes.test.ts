import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rightsOf } from "../../../test/support/rights-of.ts";
import { EMPTY, utf8Encode } from "../../core/codec/bytes.ts";
import type { ToWorker } from "../worker/protocol.ts";
import { AdapterLanes } from "./adapter-lanes.ts";

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
