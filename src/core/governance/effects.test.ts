import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CocoError } from "../../errors.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { GOVERNANCE_CRYPTO, tupleOf } from "../../../test/support/governed-network.ts";
import { bytesEqual, toHex } from "../codec/bytes.ts";
import type { ActionContext } from "./action-kind.ts";
import { checkReferences } from "./constitution-check.ts";
import {
  constitutionFromJson,
  constitutionToJson,
  decodeConstitution,
  encodeConstitution,
} from "./constitution-codec.ts";
import { constitutionChanges } from "./constitution-diff.ts";
import type { Constitution } from "./constitution.ts";
import { describeEffect, effectDigest, type DescribedChange } from "./effects.ts";
import { isRefusal } from "./refusal.ts";
import {
  applyJson,
  attestedNode,
  consortium,
  contextOf,
  DAY_MS,
  fingerprintOf,
  GENESIS_CODE,
  machineJson,
  machineOf,
  NEW_CODE,
  nodeJson,
  NOW_MS,
  pemOf,
  running,
  type ActionJson,
} from "../../../test/support/governed-actions.ts";

const before = consortium();
const idOf = (at: number): string => tupleOf(at).nodeId;
const hooli = { id: "hooli", name: "Hooli", certificates: [pemOf("hooli")] };

function digestOf(
  constitution: Constitution,
  actions: readonly ActionJson[],
  context?: ActionContext,
  networkId = "ab".repeat(32),
): string {
  return toHex(effectDigest({ networkId, constitution }, applyJson(constitution, actions, context), sha256));
}

function describeActions(
  actions: readonly ActionJson[],
  context?: ActionContext,
  on = before,
): readonly DescribedChange[] {
  return describeEffect(on, applyJson(on, actions, context), GOVERNANCE_CRYPTO);
}

const approve: ActionJson = ["approve_code", { measurement: NEW_CODE, name: "coco-framework", version: "2" }];
const limit = (requestsPerMinute: number): ActionJson => [
  "restrict_participant",
  { actor: "umbrella", restriction: { type: "limited", requestsPerMinute } },
];
const setPolicy = (action: string, yes: number): ActionJson => [
  "set_policy",
  { action, policy: { rule: { type: "count", yes }, expiresAfterMs: DAY_MS } },
];

/** Changes that have nothing to do with each other. */
const INDEPENDENT: readonly (readonly ActionJson[])[] = [
  [["add_member", hooli]],
  [limit(60)],
  [["add_certificate", { actor: "acme", certificate: pemOf("acme 2") }]],
  [["add_certificate", { actor: "acme", certificate: pemOf("acme 3") }]],
  [["add_node", { entry: nodeJson(4, "acme"), tee: machineJson("other") }]],
  [["remove_node", { nodeId: idOf(3) }]],
  [approve],
  [["approve_code", { measurement: "33".repeat(32), name: "n", version: "3" }]],
  [["approve_tee", machineJson("third")]],
  [setPolicy("add_node", 2)],
  [["set_script", { source: "export const vote = 1;" }]],
  [["set_settings", { epoch: { lengthMs: 5 } }]],
  [["set_settings", { epoch: { transactions: 7 } }]],
  [["open_network", {}]],
  [["open_epoch", {}]],
  [["mount_adapter", { name: "app", version: "1", mount: "/app", options: {} }]],
  [["mount_adapter", { name: "other", version: "1", mount: "/other", options: {} }]],
  [["configure_adapter", { name: "kv", options: {} }]],
];

describe("the digest of an effect", () => {
  test("stays when something else changes, and differs between changes", () => {
    const digests = INDEPENDENT.map((actions) => digestOf(before, actions));
    assert.equal(new Set(digests).size, INDEPENDENT.length);
    for (const [at, actions] of INDEPENDENT.entries()) {
      for (const [other, unrelated] of INDEPENDENT.entries()) {
        if (other === at) continue;
        const { constitution } = applyJson(before, unrelated);
        assert.equal(digestOf(constitution, actions), digests[at], `${actions[0]?.[0]} after ${unrelated[0]?.[0]}`);
      }
    }
  });

  test("differs when what is changed was changed meanwhile", () => {
    const cases: readonly (readonly [ActionJson, ActionJson])[] = [
      [limit(60), limit(61)],
      [setPolicy("add_node", 2), setPolicy("add_node", 3)],
      [
        ["set_settings", { maxDelayMs: 5 }],
        ["set_settings", { maxDelayMs: 6 }],
      ],
      [
        ["configure_adapter", { name: "kv", options: 1 }],
        ["configure_adapter", { name: "kv", options: 2 }],
      ],
      [
        ["replace_node", { nodeId: idOf(0), entry: nodeJson(0, "acme", { address: "a.test:1" }) }],
        ["replace_node", { nodeId: idOf(0), entry: nodeJson(0, "acme", { address: "b.test:1" }) }],
      ],
      [
        ["remove_node", { nodeId: idOf(0) }],
        ["replace_node", { nodeId: idOf(0), entry: nodeJson(0, "globex") }],
      ],
    ];
    for (const [action, meanwhile] of cases) {
      const { constitution } = applyJson(before, [meanwhile]);
      assert.notEqual(digestOf(constitution, [action]), digestOf(before, [action]), action[0]);
    }
  });

  test("differs when the same actions would expel other nodes by now", () => {
    const actions: readonly ActionJson[] = [approve, ["retire_code", { measurement: GENESIS_CODE }]];
    const none = digestOf(before, actions);
    assert.notEqual(digestOf(before, actions, running([3], GENESIS_CODE)), none);
    assert.equal(digestOf(before, actions, running([3], NEW_CODE)), none);
  });

  test("does not depend on how the vote went, nor on the order of independent actions", () => {
    const voted = { ...contextOf(), approval: { yes: 3, members: 3 } };
    assert.equal(digestOf(before, [approve], voted), digestOf(before, [approve]));
    assert.equal(digestOf(before, [approve, limit(5)]), digestOf(before, [limit(5), approve]));
    assert.notEqual(digestOf(before, [approve], undefined, "cd".repeat(32)), digestOf(before, [approve]));
  });
});

describe("a dry run", () => {
  test("names certificates, code and nodes", () => {
    const lines = describeActions([
      ["add_participant", hooli],
      ["add_node", { entry: nodeJson(4, "hooli"), tee: machineJson("other") }],
      approve,
      setPolicy("add_node", 3),
      ["set_settings", { epoch: { lengthMs: 5 } }],
    ]);
    const wordsAt = new Map(lines.map(({ path, words }) => [path, words]));
    assert.deepEqual(
      [...wordsAt.keys()],
      [
        "actors.hooli",
        `actors.hooli.certificates.${fingerprintOf("hooli")}`,
        `codeManifest.${NEW_CODE}`,
        `nodes.${idOf(4)}`,
        "policies.actions.add_node",
        "settings.epoch.lengthMs",
        `teeManifest.${toHex(machineOf("other").machineKey)}`,
      ],
    );
    assert.equal(wordsAt.get("actors.hooli"), "adds the participant Hooli (hooli)");
    const certificate = wordsAt.get(`actors.hooli.certificates.${fingerprintOf("hooli")}`) ?? "";
    assert.match(certificate, /lists for hooli the CA certificate of CN=simulated, without end, SHA-256 [0-9a-f]{64}/);
    assert.match(wordsAt.get(`codeManifest.${NEW_CODE}`) ?? "", /approves code coco-framework 2, measurement 2222/);
    assert.match(wordsAt.get(`nodes.${idOf(4)}`) ?? "", /adds node [0-9a-f]{16}… of hooli at node4\.test:1/);
    assert.match(wordsAt.get("policies.actions.add_node") ?? "", /needs all 3 members/);
    assert.equal(
      wordsAt.get("settings.epoch.lengthMs"),
      "sets epoch.lengthMs to 5 (5 milliseconds), so far 86400000 (1 day)",
    );
    const lengthMs = lines.find(({ path }) => path === "settings.epoch.lengthMs");
    assert.deepEqual([lengthMs?.before, lengthMs?.after], [86_400_000, 5]);
    const added = lines.find(({ path }) => path === "actors.hooli");
    assert.deepEqual([added?.before, added?.after], [null, { name: "Hooli", role: "participant" }]);
  });

  test("names whom it expels, and that epoch and identity change", () => {
    const actions: readonly ActionJson[] = [approve, ["retire_code", { measurement: GENESIS_CODE }]];
    const lines = describeActions(actions, running([3], GENESIS_CODE));
    const words = lines.map((line) => line.words).join("\n");
    assert.match(words, /retires code coco-framework 0, measurement/);
    assert.match(words, /expels node [0-9a-f]{16}… of umbrella: what it runs is retired/);
    assert.deepEqual(
      lines.slice(-3).map(({ path }) => path),
      [`expelled.${idOf(3)}`, "epoch", "serviceIdentity"],
    );
  });

  test("has words of its own for every kind of change", () => {
    const cases: readonly (readonly [readonly ActionJson[], RegExp])[] = [
      [[limit(60)], /^Umbrella \(umbrella\): from now on limited to 60 requests per minute, so far unrestricted$/],
      [[["remove_node", { nodeId: idOf(3) }]], /^removes node .* of umbrella at node3\.test:1/],
      [
        [["replace_node", { nodeId: idOf(0), entry: nodeJson(0, "acme", { address: "new.test:1" }) }]],
        /^moves node .* from acme at node0\.test:1 .* to acme at new\.test:1/,
      ],
      [[["set_script", { source: "12345" }]], /^sets the script of the constitution: 5 characters$/],
      [[["open_network", {}]], /^opens the network$/],
      [[["configure_adapter", { name: "kv", options: 1 }]], /^configures adapter kv 0 at \/kv$/],
      [
        [["mount_adapter", { name: "app", version: "1", mount: "/app", options: {} }]],
        /^mounts adapter app 1 at \/app$/,
      ],
      [
        [["approve_tee", { ...(machineJson("x") as object), inForceUntil: NOW_MS + DAY_MS }]],
        /^approves virtual TEE, machine x \(key with SHA-256 .*\) until 2030-01-16 00:00:00 UTC$/,
      ],
    ];
    for (const [actions, expected] of cases) assert.match(describeActions(actions)[0]?.words ?? "", expected);
    const hardware = (policy: Readonly<Record<string, string[]>>): ActionJson => [
      "approve_tee",
      { tee: "snp", id: "cloud", note: "a cloud", policy },
    ];
    const strict =
      /^approves AMD SEV-SNP by the entry cloud \(a cloud\): chips of Milan only; of any TCB; .*; any host data/;
    assert.match(describeActions([hardware({ products: ["Milan"] })])[0]?.words ?? "", strict);
    const listed = applyJson(before, [hardware({})], contextOf()).constitution;
    const change: readonly ActionJson[] = [["retire_tee", { tee: "snp", id: "cloud" }], hardware({ allow: ["vlek"] })];
    const changed = describeEffect(listed, applyJson(listed, change, contextOf()), GOVERNANCE_CRYPTO);
    assert.match(
      changed[0]?.words ?? "",
      /^changes AMD SEV-SNP .*by the chip's own key.*; from now on: .*also allowed: keys that/,
    );
    const lines = describeActions([
      ["remove_certificate", { actor: "acme", fingerprint: fingerprintOf("acme") }],
      ["add_certificate", { actor: "acme", certificate: pemOf("acme 2") }],
    ]);
    assert.deepEqual(
      lines
        .map(({ words }) => words.split(" ").slice(0, 3).join(" "))
        .slice(0, 2)
        .sort(),
      ["lists for acme", "takes from acme"],
    );
    assert.ok(!lines.some(({ path }) => path === "actors.acme"));
  });
});

/** Actions on a small world, so that they meet; most sequences of them break some rule. */
function anyAction(): fc.Arbitrary<ActionJson> {
  const actor = fc.constantFrom("acme", "globex", "initech", "umbrella", "hooli");
  const at = fc.integer({ min: 0, max: 5 });
  const named = fc.constantFrom("acme", "globex", "umbrella", "hooli", "acme 2", "hooli 2");
  const measurement = fc.constantFrom(GENESIS_CODE, NEW_CODE);
  const date = fc.constantFrom(NOW_MS - 1, NOW_MS + 1, NOW_MS + DAY_MS);
  const newActor = fc.record({ id: actor, name: fc.constant("x"), certificates: named.map((name) => [pemOf(name)]) });
  const of = <T>(name: string, args: fc.Arbitrary<T>) => args.map((value): ActionJson => [name, value as never]);
  return fc.oneof(
    of("add_member", newActor),
    of("add_participant", newActor),
    of("remove_member", fc.record({ actor })),
    of("remove_participant", fc.record({ actor })),
    of(
      "replace_member",
      fc.tuple(actor, newActor).map(([replaced, args]) => ({ actor: replaced, ...args })),
    ),
    of("add_certificate", fc.record({ actor, certificate: named.map(pemOf) })),
    of("remove_certificate", fc.record({ actor, fingerprint: named.map(fingerprintOf) })),
    of("restrict_participant", fc.record({ actor, restriction: fc.constantFrom(null, { type: "banned" }) })),
    of(
      "add_node",
      fc.tuple(at, actor).map(([number, owner]) => ({ entry: nodeJson(number, owner) })),
    ),
    of(
      "remove_node",
      at.map((number) => ({ nodeId: idOf(number) })),
    ),
    of(
      "replace_node",
      fc.tuple(at, at, actor).map(([old, number, owner]) => ({ nodeId: idOf(old), entry: nodeJson(number, owner) })),
    ),
    of(
      "approve_code",
      fc.record(
        { measurement, name: fc.constant("n"), version: fc.constant("1"), inForceUntil: date },
        { requiredKeys: ["measurement", "name", "version"] },
      ),
    ),
    of("retire_code", fc.record({ measurement, at: date }, { requiredKeys: ["measurement"] })),
    of(
      "set_policy",
      fc
        .tuple(fc.constantFrom("default", "add_node"), fc.integer({ min: 1, max: 4 }))
        .map(([action, yes]) => ({ action, policy: { rule: { type: "count", yes } } })),
    ),
    of("set_settings", fc.record({ nodesPerActor: fc.integer({ min: 0, max: 2 }), maxDelayMs: at })),
    of(
      "mount_adapter",
      fc.record({
        name: fc.constantFrom("kv", "app"),
        version: fc.constant("1"),
        mount: fc.constantFrom("/kv", "/app"),
        options: fc.constant({}),
      }),
    ),
    of("remove_adapter", fc.record({ name: fc.constantFrom("kv", "app") })),
  );
}

describe("whatever is proposed", () => {
  const attested = new Map([3, 4].map((at) => [idOf(at), attestedNode(GENESIS_CODE, machineOf("machine").machineKey)]));
  const context = contextOf({ attested });

  test("it is carried out as a whole and leads to a constitution everybody can read, or is refused and changes nothing", () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.array(fc.array(anyAction(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 }),
        (proposals) => {
          let constitution = before;
          for (const actions of proposals) {
            const snapshot = encodeConstitution(constitution);
            try {
              const effect = applyJson(constitution, actions, context);
              assert.ok(bytesEqual(encodeConstitution(constitution), snapshot));
              const bytes = encodeConstitution(effect.constitution);
              assert.deepEqual(decodeConstitution(bytes), effect.constitution);
              assert.deepEqual(constitutionFromJson(constitutionToJson(effect.constitution)), effect.constitution);
              checkReferences(effect.constitution, { form: "cbor", code: "ConstitutionInvalid" });
              assert.ok(effect.constitution.actors.some(({ role }) => role === "member"));
              assert.ok(effect.opensEpoch || constitutionChanges(constitution, effect.constitution, sha256).length > 0);
              assert.equal(
                describeEffect(constitution, effect, GOVERNANCE_CRYPTO).some(({ words }) => /undefined/.test(words)),
                false,
              );
              constitution = effect.constitution;
              accepted++;
            } catch (error) {
              assert.ok(error instanceof CocoError && isRefusal(error), String(error));
              assert.notEqual(
                error.data["reason"],
                "ConstitutionInvalid",
                `a rule without a reason of its own: ${error.message}`,
              );
              assert.ok(bytesEqual(encodeConstitution(constitution), snapshot));
            }
          }
        },
      ),
      { numRuns: 500 },
    );
    assert.ok(accepted > 100, `only ${accepted} proposals were accepted`);
  });

  test("actions that succeed one by one succeed together, and mean the same", () => {
    let compared = 0;
    fc.assert(
      fc.property(anyAction(), anyAction(), (first, second) => {
        let stepwise: Constitution;
        try {
          const one = applyJson(before, [first], context);
          const two = applyJson(one.constitution, [second], context);
          if (one.expels.length + two.expels.length > 0) return;
          stepwise = two.constitution;
        } catch (error) {
          assert.ok(error instanceof CocoError && isRefusal(error));
          return;
        }
        if (constitutionChanges(before, stepwise, sha256).length === 0) return;
        const together = applyJson(before, [first, second], context);
        assert.deepEqual(constitutionChanges(stepwise, together.constitution, sha256), []);
        compared++;
      }),
      { numRuns: 500 },
    );
    assert.ok(compared > 10, `only ${compared} pairs were compared`);
  });
});
