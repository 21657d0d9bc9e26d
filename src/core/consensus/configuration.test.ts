import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteReader, ByteWriter } from "../codec/bytes.ts";
import {
  isSuccessor,
  isValidConfiguration,
  readConfiguration,
  sameConfiguration,
  sameVoterSet,
  writeConfiguration,
} from "./configuration.ts";
import { JointQuorum, MAJORITY } from "./quorum.ts";
import { votersOf } from "./testing/scriptedNode.ts";
import type { Configuration, VoterSet } from "./types.ts";

const ids = ["a", "b", "c", "d", "e", "f"];
/** Voters dealt to up to three groups, or to none. */
const sets = fc
  .tuple(fc.subarray(ids, { minLength: 1 }), fc.array(fc.nat(2), { minLength: 6, maxLength: 6 }), fc.boolean())
  .map(([voters, dealt, grouped]): VoterSet => {
    if (!grouped) return { voters, quorum: MAJORITY };
    const groups = [0, 1, 2].map((group) => voters.filter((_, at) => dealt[at] === group));
    return { voters, quorum: { type: "grouped", groups: groups.filter(({ length }) => length > 0) } };
  });
const configurations = fc
  .record({ current: sets, previous: fc.option(sets, { nil: undefined }), learners: fc.subarray(["x", "y"]) })
  .map((configuration): Configuration => ({ ...configuration }));

describe("configurations", () => {
  test("come back as they were written, and mean the same in any order", () => {
    fc.assert(
      fc.property(configurations, (configuration) => {
        const writer = new ByteWriter();
        writeConfiguration(writer, configuration);
        const reader = new ByteReader(writer.finish());
        assert.deepEqual(readConfiguration(reader), configuration);
        reader.end();
        const turned = { ...configuration, learners: [...configuration.learners].reverse() };
        assert.ok(sameConfiguration(configuration, turned));
      }),
    );
  });

  test("bytes that are none are refused, never taken for one", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          assert.ok(isValidConfiguration(readConfiguration(new ByteReader(Uint8Array.from(bytes)))));
        } catch (error) {
          assert.match(String((error as { code?: string }).code), /^(?:MalformedInput|ConfigurationInvalid)$/);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("whatever step is legal, every quorum before it meets every quorum after it", () => {
    const subsets = Array.from(
      { length: 2 ** ids.length },
      (_, bits) => (id: string) => (bits >> ids.indexOf(id)) % 2 === 1,
    );
    let legal = 0;
    fc.assert(
      fc.property(configurations, configurations, fc.nat(3), (now, drawn, shape) => {
        // Most drawn pairs are illegal: three of four are bent into a step.
        let next = drawn;
        if (shape === 1 && now.previous === undefined) next = { ...drawn, previous: now.current };
        if (shape === 2) next = { current: now.current, previous: undefined, learners: drawn.learners };
        if (!isSuccessor(now, next)) return;
        legal++;
        const [before, after] = [new JointQuorum(now), new JointQuorum(next)];
        for (const members of subsets) {
          if (!before.elects(members)) continue;
          assert.equal(
            after.elects((id) => !members(id)),
            false,
            "two disjoint quorums",
          );
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(legal > 50);
  });

  test("the same voters in other groups are another set, in another order the same one", () => {
    const grouped = (...groups: readonly (readonly string[])[]): VoterSet => ({
      voters: ["a", "b", "c"],
      quorum: { type: "grouped", groups },
    });
    assert.ok(sameVoterSet(grouped(["a", "b"], ["c"]), grouped(["c"], ["b", "a"])));
    for (const other of [grouped(["a"], ["b", "c"]), grouped(["a", "b", "c"]), votersOf("a", "b", "c").current])
      assert.equal(sameVoterSet(grouped(["a", "b"], ["c"]), other), false);
  });

  test("a set may not be replaced in one step, nor a joint one by another", () => {
    const now = votersOf("a", "b", "c");
    assert.equal(isSuccessor(now, votersOf("a", "b")), false);
    assert.equal(isSuccessor(now, { ...now, learners: ["d"] }), true);
    const joint = { current: votersOf("d").current, previous: now.current, learners: [] };
    assert.equal(isSuccessor(now, joint), true);
    assert.equal(isSuccessor(joint, joint), false);
    assert.equal(isSuccessor(joint, votersOf("d")), true);
    assert.equal(isSuccessor(joint, now), false);
  });
});
