import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Constitution } from "../../core/governance/constitution.ts";
import { CocoError } from "../../errors.ts";
import { type Asker, Endpoints, json } from "./endpoints.ts";
import type { FrontendRequest, FrontendResponse } from "./frontend.ts";

const constitution = {
  actors: [
    { id: "acme", role: "member" },
    { id: "umbrella", role: "participant" },
  ],
} as unknown as Constitution;

const endpoint = (method: "GET" | "POST", path: string, who: Asker) => ({
  ...{ method, path, who },
  handle: (_parts: undefined, { parameters }: { parameters: unknown }, respond: (answer: FrontendResponse) => void) =>
    respond(json({ path, parameters })),
});

const endpoints = new Endpoints<undefined>([
  endpoint("POST", "/gov/things:create", "signed"),
  endpoint("GET", "/gov/things", "actor"),
  endpoint("GET", "/gov/things/commit", "actor"),
  endpoint("GET", "/gov/things/{thingId}", "actor"),
  endpoint("POST", "/gov/things/{thingId}/votes/{memberId}:submit", "member"),
  { method: "GET", path: "/gov/broken", who: "actor", handle: () => Promise.reject(new Error("no")) },
]);

async function ask(method: string, path: string, actor?: string) {
  const request: FrontendRequest = {
    ...{ method, path, query: new URLSearchParams(), headers: {}, body: new Uint8Array(0), chain: [] },
    caller: actor === undefined ? undefined : { actor, certificate: "00" },
  };
  const { status, body, headers } = await new Promise<FrontendResponse>((resolve) =>
    endpoints.answer(undefined, request, () => constitution, resolve),
  );
  const answer = JSON.parse(Buffer.from(body).toString());
  return { status, headers, ...answer };
}

describe("endpoints", () => {
  test("are found by method and path, with what the braces stand for", async () => {
    assert.deepEqual((await ask("GET", "/gov/things/1.2", "acme")).parameters, { thingId: "1.2" });
    assert.equal((await ask("GET", "/gov/things/commit", "acme")).path, "/gov/things/commit");
    const vote = await ask("POST", "/gov/things/ab/votes/acme:submit", "acme");
    assert.deepEqual(vote.parameters, { thingId: "ab", memberId: "acme" });
    for (const path of [
      "/gov/things/",
      "/gov/things/a/b",
      "/gov/things/a:b",
      "/gov/thingsx",
      "/gov/things/a/votes/:submit",
    ])
      assert.equal((await ask("GET", path, "acme")).status, 404, path);
  });

  test("say which methods there are", async () => {
    const { status, headers, error } = await ask("DELETE", "/gov/things", "acme");
    assert.deepEqual([status, headers, error.code], [405, { allow: "GET" }, "MethodNotAllowed"]);
  });

  test("are for whom the table says", async () => {
    const vote = "/gov/things/ab/votes/acme:submit";
    const statuses = async (method: string, path: string) => [
      (await ask(method, path)).status,
      (await ask(method, path, "acme")).status,
      (await ask(method, path, "umbrella")).status,
      (await ask(method, path, "removed")).status,
    ];
    assert.deepEqual(await statuses("POST", "/gov/things:create"), [200, 200, 200, 200]);
    assert.deepEqual(await statuses("GET", "/gov/things"), [401, 200, 200, 200]);
    assert.deepEqual(await statuses("POST", vote), [401, 200, 403, 403]);
    assert.equal(endpoints.isSigned("POST", "/gov/things:create"), true);
    assert.equal(endpoints.isSigned("GET", "/gov/things:create"), false);
    assert.equal(endpoints.isSigned("POST", vote), false);
  });

  test("answer a failure that nobody expected without a word of it", async () => {
    const { status, error } = await ask("GET", "/gov/broken", "acme");
    assert.deepEqual([status, error.code, error.message], [500, "Internal", "the request failed"]);
    assert.ok(!(error instanceof CocoError));
  });
});
