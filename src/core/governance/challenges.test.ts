import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GOVERNANCE_CRYPTO, GovernedNetwork, refusal } from "../../../test/support/governed-network.ts";
import { sha256 } from "../../enclave/manager/node-crypto.ts";
import { toHex } from "../codec/bytes.ts";
import { executeAdministrative, placeAt } from "./administrative.ts";
import {
  CHALLENGE_AGE_MAX_MS,
  challengeAgeMaxMs,
  CHALLENGES_MAX,
  youngChallenges,
  type ChallengeRecord,
} from "./challenges.ts";
import { decodeGovernanceState, encodeGovernanceState } from "./state-codec.ts";

const CHALLENGE = { type: "challenge" } as const;

function pass(network: GovernedNetwork, ms: number): void {
  network.place = { ...network.place, timeMs: network.place.timeMs + ms };
}

const digestsOf = (challenges: readonly ChallengeRecord[]) => challenges.map(({ digest }) => toHex(digest));

describe("a challenge of the ledger", () => {
  test("begins with the first epoch, and then with any administrative batch once the newest one is half as old as it may be", () => {
    const network = new GovernedNetwork([0]);
    const [first = assert.fail()] = network.state.challenges;
    assert.equal(network.state.challenges.length, 1);
    pass(network, CHALLENGE_AGE_MAX_MS / 2 - 1_001);
    const before = network.decide({ name: "open_epoch", args: {} });
    assert.deepEqual(before.challenges, [first], "a batch of something else, a millisecond too early");
    pass(network, 1);
    const { challenges } = network.execute(network.epoch());
    assert.deepEqual(digestsOf(challenges.slice(0, 1)), digestsOf([first]));
    assert.equal(challenges.length, CHALLENGES_MAX);
  });

  test("is begun by a transaction of its own only when it is due", () => {
    const network = new GovernedNetwork([0]);
    pass(network, CHALLENGE_AGE_MAX_MS / 2 - 1);
    assert.throws(() => network.execute(CHALLENGE), refusal("ChallengeNotDue"));
    pass(network, 1);
    assert.equal(network.execute(CHALLENGE).challenges.length, 2);
    assert.throws(() => network.execute(CHALLENGE), refusal("ChallengeNotDue"));
  });

  test("follows from the batch before and the newest epoch: another ledger has another", () => {
    const digests = new Set<string>();
    for (const previousDigest of [1, 2].map((fill) => new Uint8Array(32).fill(fill)))
      for (const sealedServiceKey of [3, 4].map((fill) => new Uint8Array(48).fill(fill))) {
        const network = new GovernedNetwork([0]);
        const [epoch = assert.fail()] = network.state.epochs;
        const state = { ...network.state, challenges: [], epochs: [{ ...epoch, sealedServiceKey }] };
        const place = { ...network.place, previousDigest };
        const after = executeAdministrative(state, CHALLENGE, place, GOVERNANCE_CRYPTO);
        digests.add(digestsOf(after.challenges).join());
      }
    assert.equal(digests.size, 4);
  });

  test("is good for five minutes at most, and for half a lease; evidence may be for the newest two", () => {
    const network = new GovernedNetwork([0], { leaseMs: 60_000 });
    assert.equal(challengeAgeMaxMs(network.state.constitution), 30_000);
    assert.equal(challengeAgeMaxMs(new GovernedNetwork([0]).state.constitution), CHALLENGE_AGE_MAX_MS);
    for (let count = 0; count < 5; count++) {
      pass(network, 15_000);
      network.execute(CHALLENGE);
    }
    const { state, place } = network;
    const [older = assert.fail(), newest = assert.fail()] = state.challenges;
    assert.deepEqual(youngChallenges(state, place.timeMs), [newest, older]);
    assert.deepEqual(youngChallenges(state, place.timeMs + 15_000), [newest, older]);
    assert.deepEqual(youngChallenges(state, place.timeMs + 15_001), [newest]);
    assert.deepEqual(youngChallenges(state, place.timeMs + 30_001), []);
  });

  test("comes back from the state's bytes, and there is none before the first epoch", () => {
    const { state } = new GovernedNetwork([0]);
    assert.deepEqual(decodeGovernanceState(encodeGovernanceState(state), sha256).challenges, state.challenges);
    const genesis = { type: "genesis", constitution: state.constitution } as const;
    assert.deepEqual(executeAdministrative(undefined, genesis, placeAt(0), GOVERNANCE_CRYPTO).challenges, []);
  });
});
