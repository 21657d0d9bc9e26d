import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { foundNetwork } from "../../test/support/founders.ts";
import { toHex } from "../core/codec/bytes.ts";
import { constitutionDigest, constitutionToJson } from "../core/governance/constitution-codec.ts";
import { createGovernanceCrypto, sha256 } from "../enclave/manager/node-crypto.ts";
import { type GovernanceClient, readStanding } from "./governance-reader.ts";

const { constitution, networkId } = foundNetwork(1, 1);
const NEXT = { ...constitution, version: constitution.version + 1 };

/** A node whose constitution is replaced by the next one between the first two answers, or never fits its digest. */
function nodeInChange(settles: boolean): GovernanceClient & { readonly reads: () => number } {
  let reads = 0;
  return {
    url: "https://node",
    reads: () => reads,
    text: () => {
      reads++;
      return Promise.resolve(constitutionToJson(settles && reads > 1 ? NEXT : constitution));
    },
    json: (path) => Promise.resolve(answerOf(path)),
  };
}

function answerOf(path: string): unknown {
  if (path === "/node/evidence") return { ledger_time_ms: 1, lease_ms: 0, quotes: [] };
  if (!path.startsWith("/gov/service/info")) return { value: [] };
  return { networkId, constitutionDigest: toHex(constitutionDigest(NEXT, sha256)) };
}

describe("the standing of a network", () => {
  test("is read again when a vote changes the constitution between two answers", async () => {
    const node = nodeInChange(true);
    const { state } = await readStanding(node, createGovernanceCrypto());
    assert.equal(state.constitution.version, NEXT.version);
    assert.equal(node.reads(), 2);
  });

  test("is not taken from a node whose digest never fits", async () => {
    const node = nodeInChange(false);
    await assert.rejects(readStanding(node, createGovernanceCrypto()), { code: "AnswerInvalid" });
    assert.equal(node.reads(), 4);
  });
});
