import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { GOVERNANCE_CRYPTO, entryOf, GovernedNetwork, idOf } from "../../../test/support/governed-network.ts";
import { EXTREME_NUMBERS, withNumber } from "../../../test/support/extreme-numbers.ts";
import { nodeListActions } from "../../../test/support/node-list-actions.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { CocoError } from "../../errors.ts";
import { decodeCbor, encodeCbor, type CborKey, type CborValue } from "../codec/cbor.ts";
import { bytesEqual, type Bytes } from "../codec/bytes.ts";
import { executeAdministrative, type GovernanceState } from "./administrative.ts";
import { decodeAdministrative, encodeAdministrative, type AdministrativeTransaction } from "./administrative-codec.ts";
import type { Action } from "./actions.ts";
import { decodeConstitution, encodeConstitution } from "./constitution-codec.ts";
import { nextStep } from "./next-step.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";

/** What may happen to a network; whatever does not hold is refused and leaves the state. */
type Move =
  | { readonly type: "nodes"; readonly nodes: readonly number[] }
  | { readonly type: "vote" }
  | { readonly type: "snapshot"; readonly index: number }
  | { readonly type: "step"; readonly learnersCaughtUp: boolean };

const move: fc.Arbitrary<Move> = fc.oneof(
  fc.record({
    type: fc.constant("nodes" as const),
    nodes: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ type: fc.constant("vote" as const) }),
  fc.record({ type: fc.constant("snapshot" as const), index: fc.nat(20) }),
  fc.record({ type: fc.constant("step" as const), learnersCaughtUp: fc.boolean() }),
);

function transactionsOf(network: GovernedNetwork, wanted: Move): readonly AdministrativeTransaction[] {
  switch (wanted.type) {
    case "nodes": {
      const nodes = wanted.nodes.map((at) => entryOf(at));
      return requestsOf(network, nodeListActions(network.state.constitution, nodes));
    }
    case "vote":
      return requestsOf(network, [{ name: "open_epoch", args: {} }]);
    case "snapshot": {
      const { index } = wanted;
      const digest = sha256(Uint8Array.of(index));
      return [{ type: "snapshot", index: index + 1, seqno: 2 * index + 1, digest, bytes: 9 }];
    }
    case "step":
      return stepOf(network, wanted.learnersCaughtUp);
  }
}

function requestsOf(network: GovernedNetwork, actions: readonly Action[]): readonly AdministrativeTransaction[] {
  return network.requests(...actions).map((message) => ({ type: "request", ...message }));
}

function stepOf(network: GovernedNetwork, learnersCaughtUp: boolean): readonly AdministrativeTransaction[] {
  const { timeMs, firstSeqno } = network.place;
  const step = nextStep(network.state, { now: timeMs, nextSeqno: firstSeqno, learnersCaughtUp }, GOVERNANCE_CRYPTO);
  if (step?.type === "configure") return [{ type: "configure", ...step.configuration }];
  if (step?.type === "epoch") return [network.epoch()];
  if (step?.type === "expel") return [step];
  const keys = step?.epochs.map((epoch) => ({ epoch, wrapped: Uint8Array.of(epoch) }));
  return step && keys ? [{ type: "grant", nodeId: step.nodeId, keys }] : [];
}

function tryMove(network: GovernedNetwork, wanted: Move): void {
  let { state } = network;
  try {
    for (const transaction of transactionsOf(network, wanted)) {
      ({ state } = network);
      network.execute(transaction);
    }
  } catch (error) {
    assert.ok(error instanceof CocoError && error.code === "ProposalInvalid", String(error));
    assert.equal(network.state, state);
    assert.notEqual(wanted.type, "step", `a step that governance wants itself is refused: ${error.message}`);
  }
}

function networkAfter(moves: readonly Move[]): GovernedNetwork {
  const network = new GovernedNetwork([0, 1, 2]);
  for (const wanted of moves) tryMove(network, wanted);
  return network;
}

const decode = (bytes: Bytes): GovernanceState => decodeGovernanceState(bytes, sha256);

describe("the governance state as bytes", () => {
  test("comes back as it was, in one encoding, whatever happened to the network", () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 12 }), (moves) => {
        const { state } = networkAfter(moves);
        const bytes = encodeGovernanceState(state);
        assert.deepEqual(decode(bytes), state);
        assert.ok(bytesEqual(encodeGovernanceState(decode(bytes)), bytes));
      }),
      { numRuns: 100 },
    );
  });

  test("goes on exactly as the state it was made of", () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 6 }), fc.array(move, { maxLength: 6 }), (before, after) => {
        const network = networkAfter(before);
        const copy = new GovernedNetwork([0, 1, 2]);
        copy.state = decode(encodeGovernanceState(network.state));
        copy.place = network.place;
        for (const wanted of after) for (const each of [network, copy]) tryMove(each, wanted);
        assert.deepEqual(copy.state, network.state);
      }),
      { numRuns: 50 },
    );
  });

  const full = networkAfter([
    { type: "vote" },
    { type: "step", learnersCaughtUp: true },
    { type: "snapshot", index: 1 },
    { type: "nodes", nodes: [0, 1, 3] },
    { type: "step", learnersCaughtUp: true },
    { type: "step", learnersCaughtUp: true },
  ]);

  test("is refused when cut, and means another state when it is taken after a change", () => {
    const bytes = encodeGovernanceState(full.state);
    for (let length = 0; length < bytes.length; length += 13)
      assert.throws(() => decode(bytes.subarray(0, length)), CocoError);
    for (let at = 0; at < bytes.length; at += 3) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      try {
        assert.ok(bytesEqual(encodeGovernanceState(decode(changed)), changed));
      } catch (error) {
        assert.ok(error instanceof CocoError && error.code !== "Internal", String(error));
      }
    }
  });

  test("is refused when it names an unknown version or a node twice in one epoch", () => {
    const document = decodeCbor(encodeGovernanceState(full.state));
    assert.ok(document instanceof Map);
    const changed = new Map<CborKey, CborValue>(document).set("version", 1);
    assert.throws(() => decode(encodeCbor(changed)), { code: "MalformedInput", data: { field: "version" } });
    const [epoch] = full.state.epochs;
    const [wrap] = epoch?.wraps ?? [];
    assert.ok(epoch && wrap);
    const epochs = [{ ...epoch, wraps: [wrap, wrap] }];
    assert.throws(() => decode(encodeGovernanceState({ ...full.state, epochs })), {
      data: { field: "epochs[0].wraps" },
    });
  });
});

describe("numbers at the ends of their range", () => {
  test("change nothing in any numeric field of any transaction: it is refused, or the state stays readable", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    network.decide({ name: "open_epoch", args: {} });
    network.changeNodes([0, 1, 2, 3]);
    const transactions: readonly AdministrativeTransaction[] = [
      network.epoch(),
      { type: "snapshot", index: 1, seqno: 2, digest: new Uint8Array(32), bytes: 5 },
      { type: "grant", nodeId: idOf(3), keys: [{ epoch: 1, wrapped: Uint8Array.of(1) }] },
    ];
    let tried = 0;
    for (const transaction of transactions) {
      for (const number of EXTREME_NUMBERS) {
        for (const document of withNumber(decodeCbor(encodeAdministrative(transaction)), number)) {
          tried++;
          try {
            const decoded = decodeAdministrative(encodeCbor(document));
            const state = executeAdministrative(network.state, decoded, network.place, GOVERNANCE_CRYPTO);
            assert.deepEqual(decode(encodeGovernanceState(state)), state);
          } catch (error) {
            assert.ok(error instanceof CocoError && error.code !== "Internal", String(error));
          }
        }
      }
    }
    assert.equal(tried, 5 * EXTREME_NUMBERS.length);
  });

  test("are refused in a constitution and in a governance state, or come back as they were", () => {
    const { state } = new GovernedNetwork([0]);
    const forms: readonly (readonly [Bytes, (bytes: Bytes) => Bytes])[] = [
      [encodeGovernanceState(state), (bytes) => encodeGovernanceState(decode(bytes))],
      [encodeConstitution(state.constitution), (bytes) => encodeConstitution(decodeConstitution(bytes))],
    ];
    let tried = 0;
    for (const [original, again] of forms) {
      for (const number of EXTREME_NUMBERS) {
        for (const document of withNumber(decodeCbor(original), number)) {
          tried++;
          const bytes = encodeCbor(document);
          try {
            assert.ok(bytesEqual(again(bytes), bytes));
          } catch (error) {
            assert.ok(error instanceof CocoError && error.code !== "Internal", String(error));
          }
        }
      }
    }
    assert.ok(tried >= 10 * EXTREME_NUMBERS.length, String(tried));
  });
});
