import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { refused } from "../../core/governance/refusal.ts";
import { CocoError } from "../../errors.ts";
import { REFUSED_REQUESTS_LOGGED_MAX, REFUSED_REQUESTS_PERIOD_MS, RefusedRequests } from "./refused-requests.ts";

const REQUEST = { type: "proposal", actor: "acme", request: "ab".repeat(32) } as const;

function logOf() {
  const lines: unknown[] = [];
  const time = { ms: 5 };
  const tracer = {
    event: (level: string, event: string, fields?: object) => void lines.push({ level, event, ...fields }),
  };
  return { lines, time, log: new RefusedRequests({ now: () => time.ms }, tracer) };
}

describe("a request that was refused", () => {
  test("is a line with who, what and why, and nothing of what it says", () => {
    const { lines, log } = logOf();
    log.note(REQUEST, refused("LastMember", "secret words", { action: 1, name: "remove_member", field: "words" }));
    log.note(REQUEST, new CocoError("TooManyRequests", "secret words"));
    const line = { level: "warn", event: "request_refused", ...REQUEST };
    assert.deepEqual(lines, [
      { ...line, code: "ProposalInvalid", reason: "LastMember", action: "remove_member" },
      { ...line, code: "TooManyRequests" },
    ]);
  });

  test("is one of so many lines in a period", () => {
    const { lines, time, log } = logOf();
    for (let times = 0; times < 3 * REFUSED_REQUESTS_LOGGED_MAX; times++) log.note(REQUEST, refused("Malformed", ""));
    assert.equal(lines.length, REFUSED_REQUESTS_LOGGED_MAX);
    time.ms += REFUSED_REQUESTS_PERIOD_MS;
    log.note(REQUEST, refused("Malformed", ""));
    assert.equal(lines.length, REFUSED_REQUESTS_LOGGED_MAX + 1);
  });
});
