import assert from "node:assert/strict";
import { teeKey } from "./manifest-entries.ts";
import { describe, test } from "node:test";
import { tupleOf } from "../../../test/support/governed-network.ts";
import type { ActionContext } from "./action-kind.ts";
import { encodeConstitution } from "./constitution-codec.ts";
import { MAX_ACTORS, MAX_MANIFEST_ENTRIES, MAX_NODES, type Constitution } from "./constitution.ts";
import {
  applyJson,
  assertRefused,
  certifiedAs,
  consortium,
  DAY_MS,
  derOf,
  fingerprintOf,
  GENESIS_CODE,
  machineJson,
  machineOf,
  NEW_CODE,
  nodeJson,
  nodeOf,
  NOW_MS,
  pemOf,
  revocationsOf,
  running,
  type ActionJson,
} from "../../../test/support/governed-actions.ts";

const idOf = (at: number): string => tupleOf(at).nodeId;
const hooli = { id: "hooli", name: "Hooli", certificates: [pemOf("hooli")] };
const addHooli: ActionJson = ["add_member", hooli];
const before = consortium();
const approve = (change: object): ActionJson => [
  "approve_code",
  { measurement: NEW_CODE, name: "n", version: "2", ...change },
];
const mount = (change: object): ActionJson => [
  "mount_adapter",
  { name: "app", version: "1", mount: "/app", options: {}, ...change },
];
const policy = (action: string, rule: object, change: object = {}): ActionJson => [
  "set_policy",
  { action, policy: { rule, ...change } } as never,
];
const removeMember = (actor: string, ...nodes: readonly number[]): readonly ActionJson[] => [
  ["remove_member", { actor }],
  ...nodes.map((at): ActionJson => ["remove_node", { nodeId: idOf(at) }]),
];

interface Case {
  readonly actions: readonly ActionJson[];
  readonly reason: string;
  /** Number of the action that is blamed; 0 unless given. */
  readonly by?: number;
  readonly on?: Constitution;
  readonly context?: ActionContext;
  readonly says?: RegExp;
}

/** Asserts every refusal, and that none leaves anything behind. */
function refuses(title: string, cases: readonly Case[]): void {
  for (const { actions, reason, by = 0, on = before, context, says } of cases) {
    test(`${title}: ${reason} by ${actions.map(([name]) => name).join(", ")}`, () => {
      const snapshot = encodeConstitution(on);
      const error = assertRefused(() => applyJson(on, actions, context), reason, by);
      assert.deepEqual(encodeConstitution(on), snapshot);
      assert.ok(error.message.startsWith(`actions[${by}] ${actions[by]?.[0]}: `), error.message);
      assert.equal(error.data["name"], actions[by]?.[0]);
      if (says !== undefined) assert.match(error.message, says);
    });
  }
}

/** The constitution with something in it that a test needs. */
function with_(change: Partial<Constitution>): Constitution {
  return { ...before, ...change };
}

function manyActors(count: number): Constitution {
  const actors = Array.from({ length: count }, (_, at) => ({
    id: `extra${at}`,
    name: "Extra",
    role: "participant" as const,
    certificates: [derOf(`extra${at}`)],
    revocations: [],
  }));
  return with_({ actors: [...before.actors, ...actors] });
}

describe("refused actions", () => {
  refuses("actors", [
    { actions: [["remove_member", { actor: "nobody" }]], reason: "ActorUnknown" },
    { actions: [["remove_member", { actor: "umbrella" }]], reason: "WrongRole", says: /participant, not a member/ },
    { actions: [["remove_participant", { actor: "acme" }]], reason: "WrongRole" },
    { actions: [["restrict_participant", { actor: "acme", restriction: { type: "banned" } }]], reason: "WrongRole" },
    { actions: [["restrict_participant", { actor: "umbrella", restriction: null }]], reason: "NothingChanged" },
    { actions: [["add_participant", { ...hooli, id: "acme" }]], reason: "ActorExists" },
    { actions: [addHooli, ["replace_member", { actor: "acme", ...hooli }]], reason: "ActorExists", by: 1 },
    {
      actions: [["replace_member", { actor: "acme", id: "acme", name: "acme", certificates: [pemOf("acme")] }]],
      reason: "NothingChanged",
    },
    { actions: [addHooli], on: manyActors(MAX_ACTORS - before.actors.length), reason: "ActorsFull" },
    { actions: removeMember("globex"), reason: "ActorOwnsNodes", says: /owns node/ },
    { actions: [["replace_member", { actor: "acme", ...hooli }]], reason: "ActorOwnsNodes" },
    {
      actions: [...removeMember("acme", 0), ...removeMember("globex", 1), ...removeMember("initech", 2)],
      reason: "LastMember",
      by: 4,
    },
  ]);

  test("the last member may go once another has come in the same proposal", () => {
    const actions = [...removeMember("acme", 0), ...removeMember("globex", 1), ...removeMember("initech", 2), addHooli];
    assert.equal(applyJson(before, actions).constitution.actors.filter(({ role }) => role === "member").length, 1);
  });

  const expired = certifiedAs({ notAfterMs: NOW_MS - 1 });
  const addCertificate = (actor: string, name: string): ActionJson => [
    "add_certificate",
    { actor, certificate: pemOf(name) },
  ];
  refuses("certificates", [
    { actions: [addHooli], context: certifiedAs(undefined), reason: "CertificateMalformed" },
    { actions: [addHooli], context: expired, reason: "CertificateExpired", says: /2030-01-14T23:59:59.999Z/ },
    { actions: [addCertificate("acme", "acme 2")], context: expired, reason: "CertificateExpired" },
    { actions: [addHooli], context: certifiedAs({ keyType: "other" }), reason: "CertificateKeyType" },
    {
      actions: [addHooli],
      context: certifiedAs({ canSign: false }),
      reason: "CertificateUsage",
      says: /sign certificates/,
    },
    { actions: [addHooli], context: certifiedAs({ canSign: false, isCa: false }), reason: "CertificateUsage" },
    {
      actions: [["add_member", { ...hooli, certificates: [pemOf("acme")] }]],
      reason: "CertificateInUse",
      says: /acme/,
    },
    { actions: [["add_member", { ...hooli, certificates: [pemOf("x"), pemOf("x")] }]], reason: "CertificateInUse" },
    { actions: [addCertificate("acme", "umbrella")], reason: "CertificateInUse" },
    { actions: [addCertificate("acme", "acme")], reason: "CertificateInUse" },
    {
      actions: Array.from({ length: 8 }, (_, at) => addCertificate("acme", `acme ${at}`)),
      reason: "CertificatesFull",
      by: 7,
    },
    {
      actions: [["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("globex") }]],
      reason: "CertificateUnknown",
    },
    {
      actions: [["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }]],
      reason: "LastCertificate",
    },
    { actions: [["set_revocations", { actor: "acme", revocations: [] }]], reason: "NothingChanged" },
    {
      actions: [["set_revocations", { actor: "acme", revocations: [revocationsOf("globex")] }]],
      reason: "RevocationsNotSigned",
    },
    { actions: [["add_member", { ...hooli, revocations: [revocationsOf("acme")] }]], reason: "RevocationsNotSigned" },
    {
      actions: [["set_revocations", { actor: "acme", revocations: [revocationsOf("acme")] }]],
      context: certifiedAs({ isCa: false }),
      reason: "RevocationsNotSigned",
    },
    {
      actions: [
        ["set_revocations", { actor: "acme", revocations: [revocationsOf("acme")] }],
        addCertificate("acme", "acme 2"),
        ["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }],
      ],
      reason: "RevocationsNotSigned",
      by: 2,
    },
  ]);

  const addNode = (at: number, owner: string, change: object = {}): ActionJson => [
    "add_node",
    { entry: nodeJson(at, owner), ...change },
  ];
  const replaceNode = (at: number, entry: unknown): ActionJson => [
    "replace_node",
    { nodeId: idOf(at), entry: entry as never },
  ];
  const solo = { ...consortium({ consensus: "solo" }), nodes: before.nodes.slice(0, 1) };
  const full = with_({ nodes: Array.from({ length: MAX_NODES }, (_, at) => nodeOf(at, "acme")) });
  const forged = { ...(nodeJson(4, "acme") as object), owner: "globex" };
  const past = with_({ teeManifest: [...before.teeManifest, { ...machineOf("other"), inForceUntil: NOW_MS }] });
  refuses("nodes", [
    { actions: [["remove_node", { nodeId: idOf(9) }]], reason: "NodeUnknown" },
    { actions: [replaceNode(9, nodeJson(9, "acme"))], reason: "NodeUnknown" },
    { actions: [addNode(0, "acme")], reason: "NodeExists" },
    { actions: [replaceNode(0, nodeJson(1, "acme"))], reason: "NodeExists" },
    { actions: [replaceNode(0, nodeJson(0, "acme"))], reason: "NothingChanged" },
    { actions: [addNode(4, "stranger")], reason: "OwnerUnknown" },
    { actions: [["add_node", { entry: forged }]], reason: "NodeSignatureInvalid", says: /another actor/ },
    {
      actions: [["add_node", { entry: { ...(nodeJson(4, "acme") as object), address: "elsewhere.test:1" } }]],
      reason: "NodeSignatureInvalid",
    },
    { actions: [addNode(4, "acme", { measurement: NEW_CODE })], reason: "CodeNotInForce" },
    { actions: [addNode(4, "acme", { tee: machineJson("other") })], on: past, reason: "TeeNotInForce" },
    {
      actions: [replaceNode(0, nodeJson(0, "acme", { encryptionKey: tupleOf(9).encryptionKey }))],
      reason: "NodeKeysChanged",
    },
    {
      actions: [["add_node", { entry: nodeJson(4, "acme", { encryptionKey: tupleOf(0).encryptionKey }) }]],
      reason: "NodeKeyInUse",
    },
    {
      actions: [["add_node", { entry: nodeJson(4, "acme", { address: tupleOf(0).clientAddress.toUpperCase() }) }]],
      reason: "NodeAddressInUse",
    },
    { actions: [addNode(99, "acme")], on: full, reason: "NodesFull" },
    {
      actions: [0, 1, 2, 3].map((at): ActionJson => ["remove_node", { nodeId: idOf(at) }]),
      reason: "NoNodeLeft",
      by: 3,
    },
    { actions: [addNode(4, "acme")], on: consortium({ nodesPerActor: 1 }), reason: "NodeQuota", says: /more than 1/ },
    { actions: [addNode(4, "acme"), ["set_settings", { nodesPerActor: 1 }]], reason: "NodeQuota", by: 1 },
    { actions: [addNode(4, "acme")], on: solo, reason: "SoloHasOneNode" },
    { actions: [replaceNode(0, nodeJson(4, "acme"))], on: solo, reason: "SoloHasOneNode" },
  ]);

  const retire = (at?: number): ActionJson => [
    "retire_code",
    { measurement: GENESIS_CODE, ...(at !== undefined && { at }) },
  ];
  const machineKey = teeKey(before.teeManifest[0] ?? assert.fail("no machine"));
  const twoCodes = applyJson(before, [approve({})]).constitution;
  const ending = applyJson(before, [approve({}), retire(NOW_MS + DAY_MS)]).constitution;
  const manifestFull = with_({
    codeManifest: Array.from({ length: MAX_MANIFEST_ENTRIES }, (_, at) => ({
      measurement: at.toString(16).padStart(64, "0"),
      name: "n",
      version: "1",
    })),
  });
  refuses("code and machines", [
    { actions: [approve({ measurement: GENESIS_CODE })], reason: "AlreadyApproved" },
    { actions: [approve({}), approve({})], reason: "AlreadyApproved", by: 1 },
    { actions: [approve({})], on: manifestFull, reason: "ManifestFull" },
    { actions: [approve({ inForceFrom: NOW_MS + 2, inForceUntil: NOW_MS + 2 })], reason: "DatesContradict" },
    { actions: [approve({ inForceUntil: NOW_MS })], reason: "DateInPast", says: /ledger's clock/ },
    { actions: [["retire_code", { measurement: NEW_CODE }]], reason: "CodeUnknown" },
    { actions: [retire(NOW_MS)], on: twoCodes, reason: "DateInPast" },
    { actions: [retire(NOW_MS + DAY_MS)], on: ending, reason: "NothingChanged" },
    { actions: [retire(NOW_MS + 2 * DAY_MS)], on: ending, reason: "DatesContradict", says: /before/ },
    {
      actions: [approve({ inForceFrom: NOW_MS + 9 }), ["retire_code", { measurement: NEW_CODE, at: NOW_MS + 8 }]],
      reason: "DatesContradict",
      by: 1,
    },
    { actions: [retire()], reason: "NoCodeInForce" },
    { actions: [retire(NOW_MS + DAY_MS)], reason: "NoCodeInForce", says: /2030-01-16/ },
    { actions: [retire(NOW_MS + 1), approve({ inForceFrom: NOW_MS + 2 })], reason: "NoCodeInForce", by: 1 },
    { actions: [approve({ inForceUntil: NOW_MS + 5 }), retire()], reason: "NoCodeInForce", by: 1 },
    { actions: [["approve_tee", { ...(machineJson("x") as object), inForceUntil: 1 }]], reason: "DateInPast" },
    {
      actions: [
        ["approve_tee", machineJson("x")],
        ["approve_tee", machineJson("x")],
      ],
      reason: "AlreadyApproved",
      by: 1,
    },
    { actions: [["retire_tee", { machineKey: "3000" }]], reason: "TeeUnknown" },
    { actions: [["retire_tee", { machineKey }]], reason: "NoTeeInForce" },
    { actions: [approve({}), retire()], context: running([0, 1], GENESIS_CODE), reason: "QuorumLost", by: 1 },
    {
      actions: [retire(), approve({})],
      on: { ...solo, nodes: [nodeOf(0, "acme")] },
      context: running([0], GENESIS_CODE),
      reason: "QuorumLost",
    },
  ]);

  const byGlobex = with_({
    policies: {
      ...before.policies,
      actions: {
        add_node: { ...before.policies.default, rule: { type: "veto", by: ["globex"], rule: { type: "majority" } } },
      },
    },
  });
  const unanimous = with_({
    policies: { ...before.policies, default: { ...before.policies.default, rule: { type: "count", yes: 3 } } },
  });
  refuses("policies and settings", [
    {
      actions: [policy("default", { type: "count", yes: 4 })],
      reason: "PolicyInvalid",
      says: /policies\.default\.rule\.yes/,
    },
    { actions: [policy("add_node", { type: "count", yes: 0 })], reason: "PolicyInvalid" },
    {
      actions: [policy("add_node", { type: "weighted", weights: { acme: 2 }, threshold: 3 })],
      reason: "PolicyInvalid",
    },
    {
      actions: [policy("add_node", { type: "stages", stages: [{ group: ["umbrella"], yes: 1 }] })],
      reason: "PolicyInvalid",
    },
    { actions: [policy("add_node", { type: "script" })], reason: "PolicyInvalid" },
    {
      actions: [policy("add_node", { type: "majority" }, { expiresAfterMs: 5, deliberationMs: 5 })],
      reason: "PolicyInvalid",
    },
    {
      actions: removeMember("globex", 1),
      on: byGlobex,
      reason: "PolicyNeedsChange",
      says: /policies\.actions\.add_node/,
    },
    { actions: removeMember("globex", 1), on: unanimous, reason: "PolicyNeedsChange", says: /only 2 can vote/ },
    { actions: [policy("default", { type: "majority" })], reason: "NothingChanged" },
    { actions: [["remove_policy", { action: "add_node" }]], reason: "PolicyUnknown" },
    { actions: [["set_script", { source: null }]], reason: "NothingChanged" },
    { actions: [["set_settings", {}]], reason: "NoSettings" },
    { actions: [["set_settings", { epoch: {}, snapshot: {} }]], reason: "NoSettings" },
    { actions: [["set_settings", { trustDisk: true, epoch: {} }]], reason: "NothingChanged" },
    { actions: [["set_settings", { consensus: "raft" }]], reason: "ConsensusFixed" },
    {
      actions: [["set_settings", { quorum: { type: "flexible", election: 2, replication: 3 } }]],
      reason: "QuorumNotPossible",
    },
    {
      actions: [["remove_node", { nodeId: idOf(3) }]],
      on: consortium({ quorum: { type: "flexible", election: 3, replication: 4 } }),
      reason: "QuorumNotPossible",
      says: /do not fit 3 nodes/,
    },
    {
      actions: [
        ["open_network", {}],
        ["open_network", {}],
      ],
      reason: "AlreadyOpen",
      by: 1,
    },
  ]);

  test("a policy that names a member goes together with it", () => {
    const effect = applyJson(byGlobex, [...removeMember("globex", 1), ["remove_policy", { action: "add_node" }]]);
    assert.deepEqual(effect.constitution.policies.actions, {});
  });

  refuses("adapters", [
    { actions: [mount({ name: "kv" })], reason: "AdapterExists" },
    { actions: [mount({ mount: "/kv" })], reason: "MountInUse" },
    { actions: [["configure_adapter", { name: "app", options: {} }]], reason: "AdapterUnknown" },
    { actions: [["remove_adapter", { name: "app" }]], reason: "AdapterUnknown" },
    {
      actions: [["configure_adapter", { name: "kv", options: { deep: [1, { a: null }] } }]],
      reason: "NothingChanged",
    },
    {
      actions: Array.from({ length: 16 }, (_, at) => mount({ name: `app${at}`, mount: `/app${at}` })),
      reason: "AdaptersFull",
      by: 15,
    },
    { actions: [mount({})], on: with_({ lastAdapterId: 65_535 }), reason: "AdaptersFull" },
  ]);

  test("actions that undo each other change nothing together", () => {
    const actions: readonly ActionJson[] = [
      ["add_node", { entry: nodeJson(4, "acme") }],
      ["remove_node", { nodeId: idOf(4) }],
    ];
    assert.throws(() => applyJson(before, actions), { code: "ProposalInvalid", data: { reason: "NothingChanged" } });
  });

  test("a constitution does not outgrow its limit", () => {
    const actors = manyActors(900).actors.map((actor) => ({
      ...actor,
      // Certificates of the size of a large one: nobody looks into those that are listed already.
      revocations: [new Uint8Array(5000)],
    }));
    const on = with_({ actors });
    const script: ActionJson = ["set_script", { source: "x".repeat(200_000) }];
    assertRefused(() => applyJson(on, [script]), "ConstitutionTooLarge");
  });
});
