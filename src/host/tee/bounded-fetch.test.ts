import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, test } from "node:test";
import {
  ENDORSEMENT_REFETCH_MS,
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
