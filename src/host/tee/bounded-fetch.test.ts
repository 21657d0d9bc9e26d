import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as pauseFor } from "node:timers/promises";
import { utf8Decode, utf8Encode } from "../../core/codec/bytes.ts";
import {
  ENDORSEMENT_REFETCH_MS,
  ENDORSEMENT_REFRESH_MS,
  type FetchOptions,
  KeptAnswers,
  MAX_ENDORSEMENTS_REMEMBERED,
  request,
  withDeadline,
} from "./bounded-fetch.ts";

/** Longer than any test waits: what ends a request is never its own bound. */
const FOREVER_MS = 0x7fffffff;

let server: Server;
let url = "";

beforeEach(async () => {
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** Without the deadline they would hang, and the test with them. */
const ENDS = { timeout: 10_000 };

const patient: FetchOptions = {
  fetch,
  nowMs: () => 0,
  requestTimeoutMs: FOREVER_MS,
  pause: () => Promise.reject(new Error("nothing is asked again once the deadline has ended")),
};

/** The next request that the server gets. */
async function arrived(): Promise<[IncomingMessage, ServerResponse]> {
  return (await once(server, "request")) as [IncomingMessage, ServerResponse];
}

describe("a deadline", () => {
  test("ends a request that nobody answers: the service sees the connection end", ENDS, async () => {
    const deadline = new AbortController();
    const asking = request(url, { ...patient, deadline: deadline.signal });
    const refused = assert.rejects(asking, { code: "CollateralUnavailable" });
    const [, response] = await arrived();
    const closed = once(response, "close");
    deadline.abort();
    await Promise.all([refused, closed]);
    assert.equal(response.writableFinished, false);
  });

  test("ends an answer that does not end", ENDS, async () => {
    const deadline = new AbortController();
    const asking = request(url, { ...patient, deadline: deadline.signal });
    const refused = assert.rejects(asking, { code: "CollateralUnavailable" });
    const [, response] = await arrived();
    response.writeHead(200);
    response.write("the first piece");
    const closed = once(response, "close");
    deadline.abort();
    await Promise.all([refused, closed]);
  });

  test("that has ended lets nothing be asked", ENDS, async () => {
    let count = 0;
    server.on("request", () => count++);
    await assert.rejects(request(url, { ...patient, deadline: AbortSignal.abort() }), {
      code: "CollateralUnavailable",
    });
    assert.equal(count, 0);
  });

  test("begins when it is asked for, for all requests together", ENDS, async () => {
    const bounded = withDeadline({ ...patient, deadlineMs: 20 });
    const all = [0, 1, 2].map(() => assert.rejects(request(url, bounded), { code: "CollateralUnavailable" }));
    await Promise.all(all);
    assert.ok(bounded.deadline.aborted);
    assert.ok(!withDeadline(patient).deadline.aborted);
  });

  test("does not bind a request that has a bound of its own, which ends it as well", async () => {
    const { pause: _, ...options } = patient;
    let pauses = 0;
    const pause = async (): Promise<void> => void pauses++;
    await assert.rejects(request(url, { ...options, requestTimeoutMs: 20, pause }), { code: "CollateralUnavailable" });
    assert.equal(pauses, 2, "it is asked three times");
  });
});

describe("what is remembered of answers", () => {
  test("is what they replaced while that was good: it is back when the newer one does not verify, until it ends", async () => {
    const folder = mkdtempSync(join(tmpdir(), "coco-answers-"));
    after(() => rmSync(folder, { recursive: true }));
    const startMs = 40 * ENDORSEMENT_REFRESH_MS;
    const endMs = startMs + ENDORSEMENT_REFRESH_MS;
    let now = startMs;
    let [asked, given] = [0, "good"];
    const answers = new KeptAnswers({ ...patient, cacheFolder: folder, nowMs: () => now });
    const get = async () =>
      utf8Decode(
        await answers.get({
          ...{ name: "part", maxBytes: 10, maxAgeMs: 2 * ENDORSEMENT_REFRESH_MS, usableUntilMs: () => endMs },
          ask: async () => {
            asked++;
            return utf8Encode(given);
          },
        }),
      );
    const file = join(folder, "part");
    const isReplaced = () => readFileSync(file, "utf8") === "bad" && statSync(file).mtimeMs === now;
    assert.equal(await get(), "good");
    given = "bad";
    for (let time = 1; time <= 3; time++) {
      now += ENDORSEMENT_REFETCH_MS;
      assert.equal(await get(), "good", "it serves while it is asked for anew");
      while (!isReplaced()) await pauseFor(5);
      assert.equal(await get(), "bad");
      await answers.forget("part");
      for (let often = 0; often < 3; often++) assert.equal(await get(), "good");
      assert.equal(asked, 1 + time, "and nobody is asked before the rest is over");
    }
    // What is back may be bad as well: then nothing is left of it.
    await answers.forget("part");
    await assert.rejects(get(), { code: "CollateralUnavailable", message: /does not verify/ });
    now += ENDORSEMENT_REFETCH_MS;
    given = "good";
    assert.equal(await get(), "good");
    now = endMs;
    given = "newer";
    assert.equal(await get(), "newer", "what has ended is not served");
  });

  test("is of few things, and the newest", async () => {
    let asked: string[] = [];
    const answers = new KeptAnswers({ ...patient, nowMs: () => ENDORSEMENT_REFETCH_MS });
    const get = (name: string) =>
      answers.get({
        ...{ name, maxBytes: 10, maxAgeMs: 1, usableUntilMs: () => undefined },
        ask: async () => {
          asked.push(name);
          return Uint8Array.of(1);
        },
      });
    const names = Array.from({ length: MAX_ENDORSEMENTS_REMEMBERED + 1 }, (_, at) => `part ${at}`);
    for (const name of names) await get(name);
    for (const name of names) await answers.forget(name);
    asked = [];
    for (const name of names.slice(1)) await assert.rejects(get(name), { code: "CollateralUnavailable" });
    assert.deepEqual(asked, []);
    await get(names[0] ?? assert.fail());
    assert.deepEqual(asked, ["part 0"]);
  });
});
