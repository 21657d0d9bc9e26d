import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JsonValue } from "./json-value.ts";
import {
  MAX_SCRIPT_ACTIONS,
  MAX_SCRIPT_MESSAGE_LENGTH,
  SCRIPT_RETURNS,
  readAddedActions,
  readScriptResolution,
  readScriptValidation,
  readScriptVote,
} from "./script.ts";

describe("what scripts return", () => {
  test("a ballot: CCF's true and false, or the words of a plain ballot, and nothing that is merely truthy", () => {
    assert.deepEqual([true, "yes", false, "no", "abstain"].map(readScriptVote), ["yes", "yes", "no", "no", "abstain"]);
    for (const other of [null, 1, 0, "", "Yes", [], {}, [true]] satisfies JsonValue[])
      assert.equal(readScriptVote(other), undefined, JSON.stringify(other));
  });

  test("a validation has its two fields and a bounded description", () => {
    assert.deepEqual(readScriptValidation({ valid: true, description: "" }), { valid: true, description: "" });
    const long = readScriptValidation({ valid: false, description: "x".repeat(10_000) });
    assert.equal(long?.description.length, MAX_SCRIPT_MESSAGE_LENGTH);
    const others: JsonValue[] = [
      true,
      null,
      {},
      { valid: true },
      { valid: 1, description: "" },
      { valid: true, description: 1 },
    ];
    for (const other of [...others, { valid: true, description: "", more: 1 }, [true, ""]])
      assert.equal(readScriptValidation(other), undefined, JSON.stringify(other));
  });

  test("what is expected names each word that is read", () => {
    for (const word of ["true", "false", "yes", "no", "abstain"]) assert.ok(SCRIPT_RETURNS.vote.includes(word));
    for (const word of ["Open", "Accepted", "Rejected"]) assert.ok(SCRIPT_RETURNS.resolve.includes(word));
  });

  test("a resolution is one of CCF's three words", () => {
    assert.deepEqual(["Open", "Accepted", "Rejected"].map(readScriptResolution), ["open", "accepted", "rejected"]);
    for (const other of ["open", "Withdrawn", null, true, ["Open"]] satisfies JsonValue[])
      assert.equal(readScriptResolution(other), undefined);
  });

  test("added actions exist, have name and args only, and are bounded", () => {
    const action = { name: "open_epoch", args: {} };
    assert.deepEqual(readAddedActions(null), []);
    assert.deepEqual(readAddedActions({ actions: [action] }), [action]);
    assert.deepEqual(readAddedActions({ actions: [] }), []);
    const others: JsonValue[] = [1, [], {}, [action], { actions: action }, { actions: [action], more: 1 }];
    for (const bad of [
      { name: "abolish", args: {} },
      { name: "open_epoch" },
      { ...action, more: 1 },
      { name: 1, args: {} },
      7,
      null,
    ])
      others.push({ actions: [action, bad] });
    others.push({ actions: Array(MAX_SCRIPT_ACTIONS + 1).fill(action) });
    for (const other of others) assert.equal(readAddedActions(other), undefined, JSON.stringify(other).slice(0, 80));
  });
});
