import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { actionsTree, MAX_ACTIONS, readActions } from "./action-codec.ts";
import { ACTION_NAMES } from "./action-names.ts";
import { treeToJson } from "./fields.ts";
import type { JsonValue } from "./json-value.ts";
import {
  assertRefused,
  DAY_MS,
  fingerprintOf,
  GENESIS_CODE,
  machineJson,
  NEW_CODE,
  nodeJson,
  NOW_MS,
  payloadOf,
  pemOf,
  revocationsOf,
  type ActionJson,
} from "../../../test/support/governed-actions.ts";

const policy = { rule: { type: "count", yes: 2 }, expiresAfterMs: DAY_MS, deliberationMs: 0, delayMs: 5 };
const initech = { id: "hooli", name: "Hooli", certificates: [pemOf("hooli")], revocations: [revocationsOf("hooli")] };
const nodeId = "ab".repeat(32);

/** Every action with all its fields, as it is written. */
const COMPLETE: readonly ActionJson[] = [
  ["add_member", initech],
  ["add_participant", initech],
  ["remove_member", { actor: "acme" }],
  ["remove_participant", { actor: "umbrella" }],
  ["replace_member", { actor: "acme", ...initech }],
  ["replace_participant", { actor: "umbrella", ...initech }],
  ["add_certificate", { actor: "acme", certificate: pemOf("acme 2") }],
  ["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }],
  ["set_revocations", { actor: "acme", revocations: [revocationsOf("acme")] }],
  ["restrict_participant", { actor: "umbrella", restriction: { type: "limited", requestsPerMinute: 5 } }],
  ["add_node", { entry: nodeJson(4, "acme"), tee: machineJson("other"), measurement: GENESIS_CODE }],
  ["remove_node", { nodeId }],
  ["replace_node", { nodeId, entry: nodeJson(4, "acme"), tee: machineJson("other") }],
  ["approve_code", { measurement: NEW_CODE, name: "n", version: "1", inForceFrom: 1, inForceUntil: NOW_MS + DAY_MS }],
  ["retire_code", { measurement: GENESIS_CODE, at: NOW_MS + DAY_MS }],
  ["approve_tee", { ...(machineJson("other") as object), inForceFrom: 1, inForceUntil: 2 }],
  ["retire_tee", { machineKey: "30ff", at: NOW_MS + DAY_MS }],
  ["set_policy", { action: "add_node", policy }],
  ["remove_policy", { action: "add_node" }],
  ["set_script", { source: "export const x = 1;\n" }],
  [
    "set_settings",
    {
      quorum: { type: "perActor" },
      trustDisk: false,
      epoch: { lengthMs: 5 },
      snapshot: { everyTransactions: 7 },
      maxBatch: { transactions: 3 },
      maxDelayMs: 1,
      answerAfter: "execution",
      nodesPerActor: 2,
    },
  ],
  ["open_network", {}],
  ["rotate_service_identity", {}],
  ["open_epoch", {}],
  ["mount_adapter", { name: "app", version: "1", mount: "/app", options: { a: [true] } }],
  ["configure_adapter", { name: "app", options: null }],
  ["remove_adapter", { name: "app" }],
];

function argsOf([, args]: ActionJson): Record<string, JsonValue> {
  assert.ok(typeof args === "object" && args !== null && !Array.isArray(args));
  return { ...args } as Record<string, JsonValue>;
}

/** Reads an action that stands in second place. */
function read(name: string, args: JsonValue): unknown {
  return readActions(payloadOf(["open_epoch", {}], [name, args]));
}

describe("the actions of a proposal", () => {
  test("all have a case here", () => {
    assert.deepEqual(COMPLETE.map(([name]) => name).sort(), [...ACTION_NAMES].sort());
  });

  for (const action of COMPLETE) {
    const [name, args] = action;
    test(`${name} is written as it was read`, () => {
      const payload = payloadOf(action);
      assert.deepEqual({ actions: treeToJson(actionsTree(readActions(payload))) }, payload);
    });

    test(`${name} with an unknown field is refused by its path`, () => {
      const error = assertRefused(() => read(name, { ...argsOf(action), extra: 1 }), "UnknownField", 1);
      assert.equal(error.data["field"], "actions[1].args.extra");
      assert.equal(error.data["name"], name);
    });

    for (const field of Object.keys(args as object)) {
      test(`${name} with a ${field} of the wrong type is refused by its path`, () => {
        // A function has no form in JSON: what is read must not depend on how it was parsed.
        const wrong = field === "options" ? (0.5 as JsonValue) : ((() => undefined) as unknown as JsonValue);
        assert.throws(
          () => read(name, { ...argsOf(action), [field]: wrong }),
          (error: unknown) => {
            const run = () => {
              throw error;
            };
            const reason = String((error as { data?: { reason?: string } }).data?.reason);
            assert.ok(["WrongType", "ValueInvalid"].includes(reason), reason);
            const path = String(assertRefused(run, reason, 1).data["field"]);
            assert.ok(path.startsWith(`actions[1].args.${field}`), path);
            return true;
          },
        );
      });
    }
  }

  test("a field that is missing is refused as such", () => {
    const error = assertRefused(() => read("remove_member", {}), "MissingField", 1);
    assert.equal(error.data["field"], "actions[1].args.actor");
    assertRefused(() => readActions({ actions: [{ name: "open_epoch" }] }), "MissingField");
  });

  test("texts where numbers, lists and records are due are of the wrong type", () => {
    const [, code] = COMPLETE.find(([name]) => name === "approve_code") ?? ["", {}];
    const cases: readonly ActionJson[] = [
      ["approve_code", { ...(code as object), inForceFrom: "soon" }],
      ["add_member", { ...initech, certificates: "pem" }],
      ["add_node", { entry: "node" }],
      ["set_settings", { trustDisk: "yes" }],
      ["set_settings", { epoch: { lengthMs: "day" } }],
      ["remove_member", { actor: 5 }],
      ["remove_node", { nodeId: 5 }],
      ["open_epoch", []],
    ];
    for (const [name, args] of cases) assertRefused(() => read(name, args), "WrongType", 1);
  });

  test("values out of bounds are refused", () => {
    const cases: readonly ActionJson[] = [
      ["remove_member", { actor: "UPPER" }],
      ["remove_node", { nodeId: "ab" }],
      ["add_member", { ...initech, certificates: [] }],
      ["add_member", { ...initech, certificates: Array.from({ length: 9 }, (_, at) => pemOf(`key ${at}`)) }],
      ["add_member", { ...initech, certificates: [revocationsOf("hooli")] }],
      ["set_revocations", { actor: "acme", revocations: [pemOf("acme")] }],
      ["set_policy", { action: "fly", policy }],
      ["set_policy", { action: "add_node", policy: { ...policy, rule: { type: "lottery" } } }],
      ["set_script", { source: "" }],
      ["set_settings", { maxBatch: { transactions: 0 } }],
      ["mount_adapter", { name: "app", version: "1", mount: "app", options: {} }],
    ];
    for (const [name, args] of cases) assertRefused(() => read(name, args), "ValueInvalid", 1);
  });

  test("a name that is no action is refused, and what there is is named", () => {
    for (const name of ["fly", "constructor", "__proto__", "toString"]) {
      const error = assertRefused(() => read(name, {}), "UnknownAction", 1);
      assert.match(error.message, /add_member/);
    }
    assertRefused(() => readActions({ actions: [{ name: 5, args: {} }] }), "UnknownAction");
  });

  test("no actions, too many, and what is not a proposal are refused", () => {
    const none = { code: "ProposalInvalid", data: { reason: "NoActions" } };
    assert.throws(() => readActions({ actions: [] }), none);
    const many = Array.from({ length: MAX_ACTIONS + 1 }, (): ActionJson => ["open_epoch", {}]);
    assert.throws(() => readActions(payloadOf(...many)), { code: "ProposalInvalid" });
    assert.equal(readActions(payloadOf(...many.slice(1))).length, MAX_ACTIONS);
    for (const value of [null, [], 5, "actions", { action: [] }, { actions: {} }, { actions: [], more: 1 }])
      assert.throws(() => readActions(value), { code: "ProposalInvalid" });
    assert.throws(() => readActions({ actions: ["open_epoch"] }), { code: "ProposalInvalid" });
    assert.throws(() => readActions({ actions: [{ name: "open_epoch", args: {}, note: "" }] }), {
      data: { reason: "UnknownField", action: 0, name: "open_epoch", field: "actions[0].note" },
    });
  });
});
