import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  GOVERNANCE_CRYPTO as CRYPTO,
  GovernedNetwork,
  requestSignerOf,
} from "../../../test/support/governed-network.ts";
import { CocoError } from "../../errors.ts";
import type { Action } from "./actions.ts";
import { dryRun } from "./dry-run.ts";
import { criteriaPayload, signRequest } from "./request-signing.ts";

const LATENCY: Action = { name: "set_settings", args: { maxDelayMs: 5 } };

describe("a dry run", () => {
  test("says what ballots would name, what is needed and who is asked, and changes nothing", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    const { state } = network;
    const result = dryRun(state, [LATENCY], network.place.timeMs, CRYPTO);
    assert.deepEqual(
      result.changes.map(({ path, after }) => [path, after]),
      [["settings.maxDelayMs", 5]],
    );
    assert.match(result.policies[0]?.words ?? "", /^changing settings needs 2 of 3 members/);
    assert.deepEqual([result.verdict, result.missing], ["open", ["acme", "globex", "initech"]]);
    network.execute({ type: "request", ...network.requests(LATENCY)[0] });
    const [proposal] = network.state.proposals;
    assert.equal(proposal?.expiresAtMs, network.place.timeMs + result.times.expiresAfterMs);
    network.decide({ name: "open_epoch", args: {} });
    const { changes, digest } = dryRun(network.state, [LATENCY], network.place.timeMs, CRYPTO);
    assert.deepEqual([changes, digest], [result.changes, result.digest]);
  });

  test("counts members that vote by their criteria", () => {
    const network = new GovernedNetwork([0, 1, 2]);
    const criteria = {
      actions: ["set_settings"],
      existingActor: false,
      nodesPerActor: 0,
      codeApprovedByMajority: false,
    };
    for (const [member, verdict] of [
      ["acme", "open"],
      ["globex", "accepted"],
    ] as const) {
      const origin = { networkId: network.state.networkId, createdAt: 1, sha256: CRYPTO.sha256 };
      const signer = requestSignerOf(member);
      const votes = signRequest("automatic_vote", criteriaPayload([criteria]), { ...origin, signer });
      network.execute({ type: "request", ...votes });
      assert.equal(dryRun(network.state, [LATENCY], network.place.timeMs, CRYPTO).verdict, verdict);
    }
  });

  test("refuses what a proposal would be refused for", () => {
    const { state, place } = new GovernedNetwork([0, 1, 2]);
    const nothing: Action = { name: "set_settings", args: { maxDelayMs: state.constitution.settings.maxDelayMs } };
    const isRefused = (error: unknown) => error instanceof CocoError && error.data["reason"] === "NothingChanged";
    assert.throws(() => dryRun(state, [nothing], place.timeMs, CRYPTO), isRefused);
  });
});
