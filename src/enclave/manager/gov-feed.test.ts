import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Caller } from "../../adapters/adapter.ts";
import type { FeedEvent } from "../../core/governance/feed-events.ts";
import { CocoError } from "../../errors.ts";
import {
  FEED_KEEP_ALIVE_MS,
  GovernanceFeed,
  MAX_FEED_HISTORY_LENGTH,
  MAX_FEEDS,
  MAX_FEEDS_PER_ACTOR,
} from "./gov-feed.ts";

const event = (seqno: number, number: number, data: FeedEvent["data"] = {}): FeedEvent => ({
  ...{ id: `${seqno}.${number}`, seqno, type: "ballot_cast", data },
});

function fixture(sinceSeqno = 0) {
  const timers: (() => void)[] = [];
  const feed = new GovernanceFeed(
    {
      after: (delay, run) => {
        assert.equal(delay, FEED_KEEP_ALIVE_MS);
        timers.push(run);
        return () => undefined;
      },
    },
    sinceSeqno,
  );
  const client = (actor: string, lastEventId?: string) => {
    const state = { text: "", ended: false, caller: { actor, certificate: "00" } as Caller | CocoError };
    const closed: (() => void)[] = [];
    const { stream } = feed.follow(actor, lastEventId);
    const end = () => {
      state.ended = true;
      for (const callback of closed.splice(0)) callback();
    };
    stream?.({
      caller: () => state.caller,
      write: (text) => {
        state.text += text;
      },
      end,
      onClose: (callback) => closed.push(callback),
    });
    return { state, end, ids: () => [...state.text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id) };
  };
  return { feed, client, beat: () => timers.shift()?.() };
}

describe("the feed", () => {
  test("tells whoever follows what happens from then on, and who comes back what was missed", () => {
    const { feed, client } = fixture();
    feed.tell([event(5, 1), event(5, 2)]);
    const now = client("acme");
    const back = client("acme", "5.1");
    feed.tell([event(9, 1)]);
    assert.deepEqual([now.ids(), back.ids()], [["9.1"], ["5.2", "9.1"]]);
    assert.ok(!back.state.text.includes("reset"));
    assert.match(now.state.text, /^id: 9\.1\nevent: ballot_cast\ndata: \{\}\n\n$/);
  });

  test("does not tell again what a client had from another node that was ahead", () => {
    const { feed, client } = fixture();
    const ahead = client("acme", "9.1");
    feed.tell([event(5, 1), event(9, 1), event(9, 2)]);
    assert.deepEqual(ahead.ids(), ["9.2"]);
  });

  test("says so when events are missing", () => {
    const { feed, client } = fixture(7);
    assert.match(client("acme", "6.1").state.text, /^event: reset/);
    assert.equal(client("acme", "7.1").state.text, "");
    const follows = client("acme");
    feed.missed(20);
    assert.match(follows.state.text, /^event: reset/);
    assert.match(client("acme", "7.1").state.text, /^event: reset/);
  });

  test("keeps a bounded length of events, the newest", () => {
    const { feed, client } = fixture();
    const long = "x".repeat(1_000);
    const count = Math.ceil(MAX_FEED_HISTORY_LENGTH / 1_000) + 10;
    for (let seqno = 1; seqno <= count; seqno++) feed.tell([event(seqno, 1, long)]);
    const { state, ids } = client("acme", "0.0");
    assert.match(state.text, /^event: reset/);
    assert.ok(state.text.length <= MAX_FEED_HISTORY_LENGTH + 200);
    assert.equal(ids().at(-1), `${count}.1`);
    assert.ok(!client("acme", ids()[0]).state.text.includes("reset"));
  });

  test("ends for whoever is no actor any more, at an event and at the next comment", () => {
    const { feed, client, beat } = fixture();
    const [gone, quiet, stays] = [client("acme"), client("globex"), client("initech")];
    gone.state.caller = new CocoError("CertificateUnknown", "removed");
    feed.tell([event(5, 1)]);
    assert.deepEqual([gone.state.ended, gone.ids(), stays.ids()], [true, [], ["5.1"]]);
    quiet.state.caller = { actor: "another", certificate: "00" };
    beat();
    assert.deepEqual([quiet.state.ended, stays.state.ended, feed.size], [true, false, 1]);
    assert.ok(stays.state.text.endsWith(": still here\n\n"));
    stays.end();
    beat();
    assert.equal(feed.size, 0);
  });

  test("has bounds, and refuses what is no id of an event", () => {
    const { feed, client } = fixture();
    for (const id of ["", "x", "1", "1.", "1.2.3", "-1.1", "01.1", "1.0x1"])
      assert.throws(() => feed.follow("acme", id), { code: "MalformedInput" }, id);
    const own = Array.from({ length: MAX_FEEDS_PER_ACTOR }, () => client("acme"));
    assert.throws(() => feed.follow("acme", undefined), { code: "TooManyRequests" });
    own[0]?.end();
    client("acme");
    while (feed.size < MAX_FEEDS) client(`actor${Math.floor(feed.size / MAX_FEEDS_PER_ACTOR)}`);
    assert.throws(() => feed.follow("late", undefined), { code: "TooManyRequests" });
    feed.close();
    assert.deepEqual([feed.size, own[1]?.state.ended], [0, true]);
  });
});
