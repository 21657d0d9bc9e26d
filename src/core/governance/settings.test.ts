import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constitutionOf } from "../../../test/support/governed-network.ts";
import type { QuorumPolicy } from "../consensus/types.ts";
import { Quorum } from "../consensus/quorum.ts";
import {
  constitutionFromJson,
  constitutionToJson,
  decodeConstitution,
  encodeConstitution,
} from "./constitution-codec.ts";
import { DEFAULT_SETTINGS, type NetworkSettings } from "./constitution.ts";
import type { FieldContext } from "./fields.ts";
import { MAX_SETTING_DURATION_MS, MAX_SETTING_TRANSACTIONS, readPartialSettings, settingsWith } from "./settings.ts";

const CONTEXT: FieldContext = { form: "json", code: "ConfigurationInvalid", data: { file: "settings.json" } };
const read = (given: unknown): NetworkSettings => readPartialSettings(given, CONTEXT);

describe("settings", () => {
  test("that are not named are as documented", () => {
    assert.deepEqual(read({}), DEFAULT_SETTINGS);
    assert.deepEqual(settingsWith({}), DEFAULT_SETTINGS);
    const { epoch, snapshot, consensus, quorum, trustDisk } = DEFAULT_SETTINGS;
    assert.deepEqual(epoch, { lengthMs: 86_400_000, transactions: 0, keyCacheMs: 60_000 });
    assert.deepEqual(snapshot, { everyTransactions: 100_000 });
    assert.deepEqual([consensus, quorum, trustDisk], ["raft", { type: "majority" }, true]);
  });

  test("may be named one by one, also inside their records", () => {
    const change = { epoch: { transactions: 7 }, maxBatch: { transactions: 3 }, trustDisk: false } as const;
    const expected = {
      ...DEFAULT_SETTINGS,
      epoch: { ...DEFAULT_SETTINGS.epoch, transactions: 7 },
      maxBatch: { ...DEFAULT_SETTINGS.maxBatch, transactions: 3 },
      trustDisk: false,
    };
    assert.deepEqual(read(change), expected);
    assert.deepEqual(settingsWith(change), expected);
  });

  test("are refused by the name of the field", () => {
    const cases: readonly (readonly [unknown, string])[] = [
      [[], ""],
      [{ other: 1 }, "other"],
      [{ consensus: "paxos" }, "consensus"],
      [{ quorum: "majority" }, "quorum"],
      [{ quorum: { type: "majority", election: 2 } }, "quorum.election"],
      [{ quorum: { type: "flexible", election: 2 } }, "quorum.replication"],
      [{ quorum: { type: "flexible", election: 2, replication: 65 } }, "quorum.replication"],
      [{ trustDisk: "yes" }, "trustDisk"],
      [{ epoch: { lengthMs: -1 } }, "epoch.lengthMs"],
      [{ epoch: { lengthMs: MAX_SETTING_DURATION_MS + 1 } }, "epoch.lengthMs"],
      [{ epoch: { transactions: 0.5 } }, "epoch.transactions"],
      [{ epoch: { transactions: MAX_SETTING_TRANSACTIONS + 1 } }, "epoch.transactions"],
      [{ epoch: { keyCacheMs: 2 ** 53 } }, "epoch.keyCacheMs"],
      [{ epoch: { every: 1 } }, "epoch.every"],
      [{ epoch: 5 }, "epoch"],
      [{ snapshot: { everyTransactions: "all" } }, "snapshot.everyTransactions"],
    ];
    for (const [given, field] of cases)
      assert.throws(() => read(given), { code: "ConfigurationInvalid", data: { file: "settings.json", field } });
  });

  test("come back in both forms of the constitution", () => {
    const quorum: QuorumPolicy = { type: "flexible", election: 3, replication: 1 };
    const constitution = constitutionOf([0, 1, 2], { quorum, trustDisk: false, snapshot: { everyTransactions: 0 } });
    assert.deepEqual(decodeConstitution(encodeConstitution(constitution)), constitution);
    assert.deepEqual(constitutionFromJson(constitutionToJson(constitution)), constitution);
  });
});

describe("settings that do not fit the nodes", () => {
  const decoded = (nodes: number, change: Parameters<typeof settingsWith>[0]) => () =>
    decodeConstitution(
      encodeConstitution(
        constitutionOf(
          Array.from({ length: nodes }, (_, at) => at),
          change,
        ),
      ),
    );

  test("are refused for solo with more than one", () => {
    const field = "settings.consensus";
    assert.throws(decoded(2, { consensus: "solo" }), { code: "ConstitutionInvalid", data: { field } });
    assert.doesNotThrow(decoded(1, { consensus: "solo" }));
  });

  test("are refused for exactly those quorums that consensus refuses", () => {
    for (let nodes = 1; nodes <= 5; nodes++) {
      const voters = Array.from({ length: nodes }, (_, at) => String(at));
      for (let election = 1; election <= 6; election++) {
        for (let replication = 1; replication <= 6; replication++) {
          const quorum: QuorumPolicy = { type: "flexible", election, replication };
          let fits = true;
          try {
            new Quorum(voters, quorum);
          } catch {
            fits = false;
          }
          const attempt = decoded(nodes, { quorum });
          if (fits) assert.doesNotThrow(attempt, JSON.stringify({ nodes, quorum }));
          else assert.throws(attempt, /settings\.quorum\.(election|replication)/, JSON.stringify({ nodes, quorum }));
        }
      }
    }
  });
});
