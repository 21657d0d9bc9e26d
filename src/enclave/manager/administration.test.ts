import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SIMULATED_GOVERNANCE_CRYPTO } from "../../../test/simulation/simulated-crypto.ts";
import { foundNetwork } from "../../../test/simulation/founding.ts";
import {
  GOVERNANCE_CRYPTO,
  constitutionOf,
  entryOf,
  GovernedNetwork,
  idOf,
  votersOf,
} from "../../../test/support/governed-network.ts";
import { nodeListActions } from "../../../test/support/node-list-actions.ts";
import { type Bytes, EMPTY, fromHex } from "../../core/codec/bytes.ts";
import { type AdministrativeTransaction, encodeAdministrative } from "../../core/governance/administrative-codec.ts";
import type { BatchKind, ParsedBatch } from "../../core/ledger/batch-format.ts";
import { Administration } from "./administration.ts";

const founded = foundNetwork({ nodeCount: 3, settings: {} });
const FIRST = founded.firstTransactions((length) => new Uint8Array(length).fill(7));

/** What of a batch administration looks at. */
function batch(
  index: number,
  transactions: readonly Bytes[],
  kind: BatchKind = "administrative",
  version = 1,
): ParsedBatch {
  const header = {
    kind,
    view: 2,
    index,
    firstSeqno: index,
    count: transactions.length,
    adapterId: 0,
    governanceVersion: index === 1 ? 0 : version,
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

/** An administration of the small network of `support`, fed with batches of one transaction. */
class Bench {
  readonly network = new GovernedNetwork([0, 1, 2]);
  readonly administration = new Administration(
    constitutionOf([0, 1, 2]),
    this.network.state.networkId,
    GOVERNANCE_CRYPTO,
  );
  index = 1;

  constructor() {
    const { constitution } = this.network.state;
    const adapters = [{ id: 1, name: "kv", version: "0", mount: "/kv", options: {} }];
    this.network.state = { ...this.network.state, constitution: { ...constitution, adapters } };
    this.administration.restore(this.network.state, this.index, 0);
  }

  /** Appends a batch of these transactions, signed by the node of this number. */
  append(transactions: readonly AdministrativeTransaction[], signer = 0): void {
    const version = this.administration.constitution.version;
    const encoded = transactions.map(encodeAdministrative);
    const { header, ...sections } = batch(this.index + 1, encoded, "administrative", version);
    const place = { firstSeqno: 10 * this.index, timeMs: 1_000, signer: fromHex(idOf(signer)) };
    this.administration.append({ header: { ...header, ...place }, ...sections });
    this.index++;
  }

  changeNodes(nodes: readonly number[]): void {
    const { appended } = this.administration;
    assert.ok(appended);
    this.network.state = appended;
    const entries = nodes.map((at) => entryOf(at));
    const requests = this.network.requests(...nodeListActions(appended.constitution, entries));
    this.append(requests.map((message) => ({ type: "request", ...message })));
  }

  epoch(): AdministrativeTransaction {
    assert.ok(this.administration.appended);
    this.network.state = this.administration.appended;
    return this.network.epoch();
  }
}

const ids = (nodes: readonly number[]) => nodes.map(idOf);

describe("administration of a changing network", () => {
  const joint = {
    type: "configure",
    current: votersOf(ids([1, 2])),
    previous: votersOf(ids([0, 1, 2])),
    learners: [],
  } as const;
  const left = { type: "configure", current: votersOf(ids([1, 2])), previous: undefined, learners: [] } as const;

  test("starts again from a snapshot, of this network only", () => {
    const bench = new Bench();
    assert.deepEqual(bench.administration.committed, bench.network.state);
    bench.changeNodes([0, 1, 2, 3]);
    bench.administration.truncate(bench.index);
    assert.deepEqual(bench.administration.appended, bench.network.state);
    assert.throws(() => bench.administration.restore(bench.network.state, 0, 0), { code: "Internal" });
    assert.throws(() => bench.administration.restore({ ...bench.network.state, networkId: "00" }, 9, 0), {
      code: "FolderOfAnotherNetwork",
    });
    bench.administration.restore(bench.network.state, 9, 0);
    assert.equal(bench.administration.commit(9), bench.network.state);
  });

  test("knows a removed node's key until the next epoch, and its address while it votes", () => {
    const changing = new Bench();
    changing.changeNodes([1, 2]);
    assert.ok(changing.administration.publicKeyOf(idOf(0)));
    assert.equal(changing.administration.nodeOf(idOf(0))?.address, "node0.test:1");
    changing.append([joint]);
    assert.ok(changing.administration.nodeOf(idOf(0)));
    changing.append([left]);
    assert.equal(changing.administration.nodeOf(idOf(0)), undefined);
    assert.ok(changing.administration.publicKeyOf(idOf(0)));
    changing.append([changing.epoch()], 1);
    assert.equal(changing.administration.publicKeyOf(idOf(0)), undefined);
    assert.ok(changing.administration.nodeOf(idOf(1)));
  });

  test("takes one step of membership in a batch, and no epoch of a removed node", () => {
    const bench = new Bench();
    bench.changeNodes([1, 2]);
    const twice = { code: "ProposalInvalid", data: { reason: "TwoConfigurations" } };
    assert.throws(() => bench.append([joint, left]), twice);
    bench.append([joint]);
    bench.append([left]);
    const removed = { code: "ProposalInvalid", data: { reason: "EpochByRemovedNode" } };
    assert.throws(() => bench.append([bench.epoch()], 0), removed);
    assert.throws(() => bench.append([bench.epoch()], 9), removed);
    bench.append([bench.epoch()], 2);
    assert.equal(bench.administration.appended?.epochs.length, 2);
  });

  test("refuses a batch made under another constitution than the one at its place, or of an adapter that is not mounted", () => {
    const bench = new Bench();
    const of = (kind: BatchKind, version: number, adapterId: number) => () => {
      const { header, ...sections } = batch(bench.index + 1, [], kind, version);
      bench.administration.append({ header: { ...header, adapterId }, ...sections });
    };
    const corrupt = { code: "LedgerCorrupt" };
    assert.doesNotThrow(of("application", 1, 1));
    for (const version of [0, 2]) assert.throws(of("application", version, 1), corrupt);
    for (const adapterId of [0, 2]) assert.throws(of("application", 1, adapterId), corrupt);
    bench.changeNodes([0, 1, 2, 3]);
    assert.throws(of("application", 1, 1), corrupt, "it was executed before the change, and stands behind it");
    assert.throws(of("empty", 1, 0), corrupt);
    assert.doesNotThrow(of("application", 2, 1));
    assert.doesNotThrow(of("empty", 2, 0));
  });

  test("refuses a batch sealed under an epoch that is not in the log", () => {
    const bench = new Bench();
    const { header: plain, ...sections } = batch(2, [], "application");
    const header = { ...plain, adapterId: 1 };
    const sealed = (epoch: number) => () => bench.administration.append({ header: { ...header, epoch }, ...sections });
    assert.doesNotThrow(sealed(1));
    for (const epoch of [2, Number.MAX_SAFE_INTEGER]) assert.throws(sealed(epoch), { code: "LedgerCorrupt" });
  });
});

function utf8(text: string): Bytes {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
