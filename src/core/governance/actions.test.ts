import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ActionContext } from "./action-kind.ts";
import { judgedActions, type ActionEffect } from "./actions.ts";
import { readActions } from "./action-codec.ts";
import { decodeConstitution, encodeConstitution } from "./constitution-codec.ts";
import type { Constitution } from "./constitution.ts";
import { tupleOf } from "../../../test/support/governed-network.ts";
import {
  applyJson,
  consortium,
  DAY_MS,
  derOf,
  fingerprintOf,
  GENESIS_CODE,
  machineJson,
  machineOf,
  NEW_CODE,
  nodeJson,
  NOW_MS,
  payloadOf,
  pemOf,
  revocationsOf,
  running,
  type ActionJson,
} from "../../../test/support/governed-actions.ts";

const before = consortium();
const hooli = { id: "hooli", name: "Hooli", certificates: [pemOf("hooli")] };
const count = (yes: number) => ({ rule: { type: "count", yes }, expiresAfterMs: DAY_MS });
const idOf = (at: number): string => tupleOf(at).nodeId;

/** Applies actions; what comes out must be a constitution that everybody reads, one version on. */
function apply(actions: readonly ActionJson[], context?: ActionContext, on: Constitution = before): ActionEffect {
  const snapshot = encodeConstitution(on);
  const effect = applyJson(on, actions, context);
  assert.deepEqual(encodeConstitution(on), snapshot, "actions change nothing in place");
  assert.deepEqual(decodeConstitution(encodeConstitution(effect.constitution)), effect.constitution);
  assert.equal(effect.constitution.version, on.version + 1);
  return effect;
}

const ids = ({ constitution }: ActionEffect): readonly string[] => constitution.actors.map(({ id }) => id);
const nodes = ({ constitution }: ActionEffect): readonly string[] => constitution.nodes.map(({ nodeId }) => nodeId);
const changesNoAccess = { opensEpoch: false, rotatesService: false };

function flags({ opensEpoch, rotatesService }: ActionEffect): object {
  return { opensEpoch, rotatesService };
}

describe("actions on actors", () => {
  test("a member and a participant are added with their role", () => {
    const effect = apply([
      ["add_member", { ...hooli, revocations: [revocationsOf("hooli")] }],
      ["add_participant", { id: "piper", name: "Piper", certificates: [pemOf("piper"), pemOf("piper 2")] }],
    ]);
    const [added, second] = effect.constitution.actors.slice(-2);
    assert.deepEqual([added?.id, added?.role, added?.revocations.length], ["hooli", "member", 1]);
    assert.deepEqual([second?.id, second?.role, second?.certificates.length], ["piper", "participant", 2]);
    assert.deepEqual(flags(effect), changesNoAccess);
  });

  test("an actor is removed with its nodes, and the service identity is rotated with a new epoch", () => {
    const effect = apply([
      ["remove_member", { actor: "globex" }],
      ["remove_node", { nodeId: idOf(1) }],
    ]);
    assert.deepEqual(ids(effect), ["acme", "initech", "umbrella"]);
    assert.deepEqual(flags(effect), { opensEpoch: true, rotatesService: true });
    const other = apply([
      ["remove_node", { nodeId: idOf(3) }],
      ["remove_participant", { actor: "umbrella" }],
    ]);
    assert.deepEqual(ids(other), ["acme", "globex", "initech"]);
  });

  test("an actor is replaced in its place, with its nodes signed by the new owner", () => {
    const effect = apply([
      ["replace_member", { actor: "globex", ...hooli }],
      ["replace_node", { nodeId: idOf(1), entry: nodeJson(1, "hooli") }],
    ]);
    assert.deepEqual(ids(effect), ["acme", "hooli", "initech", "umbrella"]);
    assert.equal(effect.constitution.nodes[1]?.owner, "hooli");
    assert.deepEqual(flags(effect), { opensEpoch: true, rotatesService: true });
    const participant = apply([["replace_participant", { actor: "umbrella", ...hooli, id: "umbrella" }]]);
    assert.deepEqual(participant.constitution.actors[3]?.certificates, [derOf("hooli")]);
    assert.equal(participant.rotatesService, true, "nothing is left that the actor was listed with");
  });

  test("keys roll over while the actor and its access stay", () => {
    const effect = apply([
      ["add_certificate", { actor: "acme", certificate: pemOf("acme 2") }],
      ["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }],
    ]);
    assert.deepEqual(effect.constitution.actors[0]?.certificates, [derOf("acme 2")]);
    const added = apply([["add_certificate", { actor: "acme", certificate: pemOf("acme 2") }]]);
    assert.deepEqual(added.constitution.actors[0]?.certificates, [derOf("acme"), derOf("acme 2")]);
    assert.deepEqual(flags(added), changesNoAccess);
    const removed = apply(
      [["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }]],
      undefined,
      added.constitution,
    );
    assert.deepEqual(flags(removed), changesNoAccess);
  });

  test("what an actor has revoked is replaced as a whole", () => {
    const { constitution } = apply([
      ["set_revocations", { actor: "umbrella", revocations: [revocationsOf("umbrella")] }],
    ]);
    assert.equal(constitution.actors[3]?.revocations.length, 1);
    const cleared = apply([["set_revocations", { actor: "umbrella", revocations: [] }]], undefined, constitution);
    assert.deepEqual(cleared.constitution.actors, before.actors);
  });

  test("a participant is banned, limited and freed", () => {
    const { constitution: banned } = apply([
      ["restrict_participant", { actor: "umbrella", restriction: { type: "banned" } }],
    ]);
    assert.deepEqual(banned.actors[3]?.restriction, { type: "banned" });
    const limit = { type: "limited", requestsPerMinute: 60 };
    const { constitution: limited } = apply(
      [["restrict_participant", { actor: "umbrella", restriction: limit }]],
      undefined,
      banned,
    );
    assert.deepEqual(limited.actors[3]?.restriction, limit);
    const freed = apply([["restrict_participant", { actor: "umbrella", restriction: null }]], undefined, limited);
    assert.deepEqual(freed.constitution.actors, before.actors);
  });
});

describe("actions on nodes", () => {
  test("a node is added with its machine, once for all nodes of the machine", () => {
    const first = apply([
      ["add_node", { entry: nodeJson(4, "acme"), tee: machineJson("other"), measurement: GENESIS_CODE }],
    ]);
    assert.equal(first.constitution.nodes.at(-1)?.nodeId, idOf(4));
    assert.deepEqual(first.constitution.teeManifest.at(-1), machineOf("other"));
    const entry = { entry: nodeJson(5, "acme"), tee: machineJson("other") };
    const second = apply([["add_node", entry]], undefined, first.constitution);
    assert.deepEqual(second.constitution.teeManifest, first.constitution.teeManifest);
    assert.deepEqual(flags(second), changesNoAccess);
  });

  test("a node of an actor that the same proposal adds is signed by that actor", () => {
    const effect = apply([
      ["add_participant", hooli],
      ["add_node", { entry: nodeJson(4, "hooli") }],
    ]);
    assert.equal(effect.constitution.nodes.at(-1)?.owner, "hooli");
  });

  test("a node is removed and replaced in its place", () => {
    const removed = apply([["remove_node", { nodeId: idOf(3) }]]);
    assert.deepEqual(nodes(removed), [idOf(0), idOf(1), idOf(2)]);
    assert.deepEqual(flags(removed), { opensEpoch: true, rotatesService: true });
    const replaced = apply([["replace_node", { nodeId: idOf(1), entry: nodeJson(7, "globex") }]]);
    assert.deepEqual(nodes(replaced), [idOf(0), idOf(7), idOf(2), idOf(3)]);
    const moved = nodeJson(1, "globex", { address: "elsewhere.test:1" });
    const same = apply([["replace_node", { nodeId: idOf(1), entry: moved }]]);
    assert.equal(same.constitution.nodes[1]?.address, "elsewhere.test:1");
    assert.deepEqual(flags(same), changesNoAccess);
  });

  test("two nodes may change addresses, and quotas are judged on what comes out", () => {
    const [left, right] = [tupleOf(0), tupleOf(1)];
    const swapped = apply([
      ["replace_node", { nodeId: idOf(0), entry: nodeJson(0, "acme", { address: right.address }) }],
      ["replace_node", { nodeId: idOf(1), entry: nodeJson(1, "globex", { address: left.address }) }],
    ]);
    assert.equal(swapped.constitution.nodes[0]?.address, right.address);
    const bounded = consortium({ nodesPerActor: 1 });
    const effect = apply(
      [
        ["add_node", { entry: nodeJson(4, "acme") }],
        ["remove_node", { nodeId: idOf(0) }],
      ],
      undefined,
      bounded,
    );
    assert.deepEqual(nodes(effect), [idOf(1), idOf(2), idOf(3), idOf(4)]);
  });
});

describe("actions on code and machines", () => {
  test("code is approved with its dates, the version that lists it and how the vote went", () => {
    const dates = { inForceFrom: NOW_MS + DAY_MS, inForceUntil: NOW_MS + 2 * DAY_MS };
    const args = { measurement: NEW_CODE, name: "coco-framework", version: "2", ...dates };
    const approval = { yes: 2, members: 3 };
    const effect = apply([["approve_code", args]], { ...running([], GENESIS_CODE), approval });
    assert.deepEqual(effect.constitution.codeManifest.at(-1), { ...args, approvedAt: 2, approval });
  });

  test("code is retired at once, and the nodes that run it are expelled; others are not", () => {
    const approve: ActionJson = ["approve_code", { measurement: NEW_CODE, name: "n", version: "2" }];
    const { constitution } = apply([approve]);
    const context = running([3], GENESIS_CODE);
    const effect = apply([["retire_code", { measurement: GENESIS_CODE }]], context, constitution);
    assert.deepEqual(effect.expels, [idOf(3)]);
    assert.deepEqual(nodes(effect), [idOf(0), idOf(1), idOf(2)]);
    assert.deepEqual(flags(effect), { opensEpoch: true, rotatesService: true });
    const harmless = apply([["retire_code", { measurement: GENESIS_CODE }]], running([3], NEW_CODE), constitution);
    assert.deepEqual(harmless.expels, []);
    const anew = apply(
      [
        ["retire_code", { measurement: GENESIS_CODE }],
        ["approve_code", { measurement: GENESIS_CODE, name: "n", version: "3" }],
      ],
      context,
      constitution,
    );
    assert.deepEqual(anew.expels, []);
  });

  test("code is retired at a date, which expels nobody before", () => {
    const { constitution } = apply([["approve_code", { measurement: NEW_CODE, name: "n", version: "2" }]]);
    const at = NOW_MS + DAY_MS;
    const effect = apply(
      [["retire_code", { measurement: GENESIS_CODE, at }]],
      running([0, 1, 2, 3], GENESIS_CODE),
      constitution,
    );
    assert.equal(effect.constitution.codeManifest[0]?.inForceUntil, at);
    assert.deepEqual(effect.expels, []);
  });

  test("a machine is approved and retired, and its nodes are expelled", () => {
    const { constitution } = apply([["approve_tee", machineJson("other")]]);
    assert.deepEqual(constitution.teeManifest.at(-1), machineOf("other"));
    const machineKey = Buffer.from(machineOf("other").machineKey).toString("hex");
    const context = running([0], GENESIS_CODE, "other");
    const effect = apply([["retire_tee", { machineKey }]], context, constitution);
    assert.deepEqual(effect.expels, [idOf(0)]);
    assert.deepEqual(effect.constitution.teeManifest, before.teeManifest);
    const later = apply([["retire_tee", { machineKey, at: NOW_MS + 1 }]], context, constitution);
    assert.equal(later.constitution.teeManifest.at(-1)?.inForceUntil, NOW_MS + 1);
  });

  test("a successor that begins when its predecessor ends leaves no gap", () => {
    const at = NOW_MS + DAY_MS;
    const effect = apply([
      ["retire_code", { measurement: GENESIS_CODE, at }],
      ["approve_code", { measurement: NEW_CODE, name: "n", version: "2", inForceFrom: at }],
    ]);
    assert.equal(effect.constitution.codeManifest.length, 2);
  });
});

describe("actions on policies, settings and adapters", () => {
  test("policies are set, changed and removed; the default takes their place", () => {
    const { constitution } = apply([
      ["set_policy", { action: "add_node", policy: count(2) }],
      ["set_policy", { action: "default", policy: count(3) }],
    ]);
    assert.deepEqual(constitution.policies.actions.add_node?.rule, { type: "count", yes: 2 });
    assert.deepEqual(constitution.policies.default.rule, { type: "count", yes: 3 });
    const removed = apply([["remove_policy", { action: "add_node" }]], undefined, constitution);
    assert.deepEqual(removed.constitution.policies.actions, {});
  });

  test("a script comes and goes with the policy that asks for it", () => {
    const scripted = { rule: { type: "script" } };
    const { constitution } = apply([
      ["set_policy", { action: "open_epoch", policy: scripted }],
      ["set_script", { source: "export function resolve() { return 'Accepted'; }\n" }],
    ]);
    assert.match(constitution.script ?? "", /resolve/);
    const removed = apply(
      [
        ["set_script", { source: null }],
        ["remove_policy", { action: "open_epoch" }],
      ],
      undefined,
      constitution,
    );
    assert.ok(!("script" in removed.constitution));
  });

  test("settings change one by one, also inside their records", () => {
    const args = { epoch: { lengthMs: 5 }, maxDelayMs: 7, quorum: { type: "flexible", election: 3, replication: 2 } };
    const { constitution } = apply([["set_settings", args]]);
    const { settings } = before;
    const expected = { ...settings, ...args, epoch: { ...settings.epoch, lengthMs: 5 } };
    assert.deepEqual(constitution.settings, expected);
  });

  test("the network is opened once; epochs and identities are asked for without any change", () => {
    assert.equal(apply([["open_network", {}]]).constitution.network.open, true);
    const epoch = apply([["open_epoch", {}]]);
    assert.deepEqual(flags(epoch), { opensEpoch: true, rotatesService: false });
    assert.deepEqual({ ...epoch.constitution, version: 1 }, before);
    assert.deepEqual(flags(apply([["rotate_service_identity", {}]])), { opensEpoch: true, rotatesService: true });
  });

  test("adapters are mounted, configured and removed, and an id is never given again", () => {
    const app: ActionJson = ["mount_adapter", { name: "app", version: "1", mount: "/app", options: { a: 1 } }];
    const { constitution: mounted } = apply([app]);
    assert.deepEqual(
      mounted.adapters.map(({ id }) => id),
      [1, 2],
    );
    const { constitution: configured } = apply(
      [["configure_adapter", { name: "app", options: { a: 2 } }]],
      undefined,
      mounted,
    );
    assert.deepEqual(configured.adapters[1]?.options, { a: 2 });
    const { constitution: removed } = apply([["remove_adapter", { name: "app" }]], undefined, configured);
    assert.deepEqual(
      removed.adapters.map(({ id }) => id),
      [1],
    );
    const { constitution: again } = apply([app], undefined, removed);
    assert.deepEqual(
      again.adapters.map(({ id }) => id),
      [1, 3],
    );
    const anew = apply([["remove_adapter", { name: "app" }], app], undefined, again);
    assert.deepEqual(
      anew.constitution.adapters.map(({ id }) => id),
      [1, 4],
    );
  });

  test("who brings a machine along is judged by the policy for machines, too", () => {
    const withTee = readActions(payloadOf(["add_node", { entry: nodeJson(4, "acme"), tee: machineJson("other") }]));
    assert.deepEqual(judgedActions(withTee), ["add_node", "approve_tee"]);
    const without = readActions(payloadOf(["add_node", { entry: nodeJson(4, "acme") }], ["open_epoch", {}]));
    assert.deepEqual(judgedActions(without), ["add_node", "open_epoch"]);
  });
});
