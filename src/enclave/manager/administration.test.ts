import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SIMULATED_GOVERNANCE_CRYPTO } from "../../../test/simulation/simulated-crypto.ts";
import { foundNetwork } from "../../../test/simulation/founding.ts";
import { type Bytes, EMPTY, fromHex } from "../../core/codec/bytes.ts";
import type { BatchKind, ParsedBatch } from "../../core/ledger/batch-format.ts";
import { Administration } from "./administration.ts";

const founded = foundNetwork({ nodeCount: 3, settings: {} });
const FIRST = founded.firstTransactions((length) => new Uint8Array(length).fill(7));

/** What of a batch administration looks at. */
function batch(index: number, transactions: readonly Bytes[], kind: BatchKind = "administrative"): ParsedBatch {
  const header = {
    kind,
    view: 2,
    index,
    firstSeqno: index,
    count: transactions.length,
    adapterId: 0,
    governanceVersion: 0,
    timeMs: 0,
    epoch: 0,
    salt: EMPTY,
    nonceCounter: 1,
    previousDigest: EMPTY,
    signer: fromHex(founded.constitution.nodes[0]?.nodeId ?? ""),
    publicLength: 0,
    sealedLength: 0,
  };
  const made = transactions.map((publicPart) => ({
    publicPart,
    privateCommitment: undefined,
    commitEvidenceDigest: EMPTY,
    claimsDigest: undefined,
  }));
  const sections = { headerBytes: EMPTY, publicSection: EMPTY, sealedSection: EMPTY, root: EMPTY, signature: EMPTY };
  return { header, transactions: made, ...sections };
}

const started = () => new Administration(founded.constitution, founded.networkId, SIMULATED_GOVERNANCE_CRYPTO);

describe("administration", () => {
  test("knows the listed nodes before the ledger begins", () => {
    const administration = started();
    const [node] = founded.constitution.nodes;
    assert.ok(node);
    assert.deepEqual(administration.publicKeyOf(node.nodeId), node.publicKey);
    assert.equal(administration.publicKeyOf("00"), undefined);
    assert.equal(administration.appended, undefined);
  });

  test("executes a batch when it enters the log and puts it into effect when it is committed", () => {
    const administration = started();
    administration.append(batch(1, FIRST));
    assert.equal(administration.appended?.epochs.length, 1);
    assert.equal(administration.committed, undefined);
    administration.append(batch(2, [], "empty"));
    assert.equal(administration.commit(1)?.networkId, founded.networkId);
    assert.equal(administration.commit(2), administration.appended);
  });

  test("takes back what a truncated log held, but nothing committed", () => {
    const administration = started();
    administration.append(batch(1, FIRST));
    administration.truncate(1);
    assert.equal(administration.appended, undefined);
    administration.append(batch(1, FIRST));
    administration.commit(1);
    administration.truncate(2);
    assert.equal(administration.committed?.epochs.length, 1);
  });

  test("refuses a batch as a whole when one transaction does not hold", () => {
    const administration = started();
    const [genesis = EMPTY, epoch = EMPTY] = FIRST;
    assert.throws(() => administration.append(batch(1, [epoch])), { code: "ProposalInvalid" });
    assert.throws(() => administration.append(batch(1, [genesis, epoch, epoch])), { code: "ProposalInvalid" });
    assert.throws(() => administration.append(batch(1, [utf8("junk")])), { code: "MalformedInput" });
    assert.equal(administration.appended, undefined);
  });

  test("refuses the ledger of another network", () => {
    const other = foundNetwork({ nodeCount: 5, settings: {} });
    const transactions = other.firstTransactions((length) => new Uint8Array(length));
    assert.throws(() => started().append(batch(1, transactions)), { code: "FolderOfAnotherNetwork" });
  });
});

function utf8(text: string): Bytes {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
