/**
 * A small ledger with everything in it, made with the node's real cryptography and real governance: genesis and first
 * epoch, application batches of two nodes with private, public and claimed transactions, a later view, an empty batch, a
 * second epoch. And what verifies it, as an auditor without keys does.
 */
import { randomBytes } from "node:crypto";
import { type Bytes, ByteWriter, EMPTY, fromHex } from "../../src/core/codec/bytes.ts";
import type { GovernanceState } from "../../src/core/governance/administrative.ts";
import { encodeAdministrative } from "../../src/core/governance/administrative-codec.ts";
import { executeAdministrativeBatch } from "../../src/core/governance/administrative-batch.ts";
import { parseBatch } from "../../src/core/ledger/batch-format.ts";
import { type BatchInput, type BatchTransaction, buildBatch } from "../../src/core/ledger/batch.ts";
import { LedgerKeys } from "../../src/core/ledger/keys.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import type { LedgerEntry, LedgerGovernance, VerifyLedgerOptions } from "../../src/core/ledger/verify-ledger.ts";
import {
  certificateDer,
  createServiceCertificate,
  generateKeyPairPem,
} from "../../src/enclave/manager/certificates.ts";
import {
  createGovernanceCrypto,
  createNodeCrypto,
  createVerifier,
  nodeEntropy,
  sha256,
} from "../../src/enclave/manager/node-crypto.ts";
import { chunkHeader, writeRecord } from "../../src/host/ledger-record.ts";
import { foundNetwork, TEST_TIME_MS, type TestNetwork } from "./founders.ts";

const DAY_MS = 86_400_000;

/** A ledger under construction: any node of the network may build the next batch. */
export class RealLedger {
  readonly network: TestNetwork;
  readonly tail = new LedgerTail(sha256);
  readonly keys: LedgerKeys;
  readonly entries: LedgerEntry[] = [];
  readonly #cryptos;
  readonly #salt = new Uint8Array(randomBytes(16));
  readonly #certificate: Bytes;
  #counter = 0;

  constructor(network = foundNetwork(2, 2)) {
    this.network = network;
    this.#cryptos = network.nodes.map(({ privateKey }) => createNodeCrypto(privateKey));
    const crypto = createNodeCrypto(this.network.nodes[0]!.privateKey);
    this.keys = new LedgerKeys(crypto, (epoch) => sha256(Uint8Array.of(epoch)));
    const { privateKey } = generateKeyPairPem();
    const issuance = { notBeforeMs: TEST_TIME_MS, days: 365, entropy: nodeEntropy };
    this.#certificate = certificateDer(createServiceCertificate(privateKey, issuance));
  }

  /** Another ledger of the same network that agrees with this one up to an index. */
  branch(index: number): RealLedger {
    const tail = new LedgerTail(sha256);
    const entries = this.entries.slice(0, index);
    for (const { data } of entries) tail.append(parseBatch(data));
    return Object.assign(new RealLedger(this.network), { tail, entries, keys: this.keys });
  }

  /** Adds a batch of node `signer`; an application batch of epoch 1 unless told otherwise. */
  add(transactions: readonly BatchTransaction[], changes: Partial<BatchInput> = {}, signer = 0): void {
    const input: BatchInput = {
      kind: "application",
      view: Math.max(2, this.tail.lastView),
      adapterId: 1,
      governanceVersion: 1,
      timeMs: TEST_TIME_MS + this.tail.lastIndex,
      epoch: 1,
      salt: this.#salt,
      nonceCounter: ++this.#counter,
      signer: fromHex(this.network.nodes[signer]!.request.nodeId),
      transactions,
      ...changes,
    };
    const { bytes, record } = buildBatch(input, this.tail, this.keys, this.#cryptos[signer]!);
    this.entries.push({ index: record.index, term: record.view, data: bytes });
  }

  /** Adds an administrative batch. */
  administrate(encoded: readonly Bytes[], changes: Partial<BatchInput> = {}): void {
    const transactions = encoded.map((publicPart) => transactionOf({ publicPart }));
    this.add(transactions, { kind: "administrative", adapterId: 0, epoch: 0, ...changes });
  }

  /** The transaction that opens an epoch. */
  epochTransaction(epoch: number): Bytes {
    const { nodes } = this.network.constitution;
    return encodeAdministrative({
      type: "epoch",
      epoch,
      wraps: nodes.map(({ nodeId }) => ({ nodeId, wrapped: nodeEntropy.bytes(80) })),
      serviceCertificate: this.#certificate,
      sealedServiceKey: nodeEntropy.bytes(154),
    });
  }

  /** Genesis and the first epoch. */
  found(): void {
    const genesis = encodeAdministrative({ type: "genesis", constitution: this.network.constitution });
    this.administrate([genesis, this.epochTransaction(1)], { governanceVersion: 0 });
  }
}

/** A transaction of the parts that are given. */
export function transactionOf(parts: Partial<BatchTransaction>): BatchTransaction {
  return { id: EMPTY, publicPart: EMPTY, privatePart: EMPTY, claimsDigest: undefined, ...parts };
}

/** The small ledger of this file's header: six batches. */
export function smallLedger(): RealLedger {
  const ledger = new RealLedger();
  ledger.found();
  ledger.add([
    transactionOf({
      id: nodeEntropy.bytes(32),
      privatePart: nodeEntropy.bytes(90),
      claimsDigest: nodeEntropy.bytes(32),
    }),
    transactionOf({ publicPart: nodeEntropy.bytes(20) }),
    transactionOf({ publicPart: nodeEntropy.bytes(7), privatePart: nodeEntropy.bytes(200) }),
  ]);
  ledger.add([], { kind: "empty", adapterId: 0, view: 3 }, 1);
  ledger.add([transactionOf({ privatePart: nodeEntropy.bytes(150) })], {}, 1);
  ledger.administrate([ledger.epochTransaction(2)], { timeMs: TEST_TIME_MS + 2 * DAY_MS });
  ledger.add([transactionOf({ id: nodeEntropy.bytes(16), privatePart: nodeEntropy.bytes(60) })], {
    epoch: 2,
    timeMs: TEST_TIME_MS + 2 * DAY_MS,
  });
  return ledger;
}

/** A ledger of `batches` batches of 50 transactions after the founding one. */
export function largeLedger(batches: number): RealLedger {
  const ledger = new RealLedger();
  ledger.found();
  for (let batch = 0; batch < batches; batch++) {
    const one = (): BatchTransaction =>
      transactionOf({
        id: nodeEntropy.bytes(32),
        privatePart: nodeEntropy.bytes(140),
        claimsDigest: nodeEntropy.bytes(32),
      });
    ledger.add(Array.from({ length: 50 }, one), {}, batch % 2);
  }
  return ledger;
}

/** The content of a chunk file. */
export function chunkOf(entries: readonly LedgerEntry[]): Bytes {
  const writer = new ByteWriter().bytes(chunkHeader(1));
  for (const entry of entries) writeRecord(writer, entry, { offset: writer.length, position: 0 });
  return writer.finish();
}

const governanceCrypto = createGovernanceCrypto();

/** Governance as validating nodes execute it. */
export const REAL_GOVERNANCE: LedgerGovernance<GovernanceState> = {
  execute: (before, batch) => executeAdministrativeBatch(before, batch, governanceCrypto),
  publicKeyOf: (state, nodeId) => state.constitution.nodes.find((node) => node.nodeId === nodeId)?.publicKey,
  versionOf: (state) => state?.constitution.version ?? 0,
  epochsOf: (state) => state?.epochs.length ?? 0,
  hasAdapter: (state, adapterId) => state?.constitution.adapters.some(({ id }) => id === adapterId) === true,
};

/** Options of `verifyLedger` for ledgers of this file. */
export const REAL_VERIFICATION: VerifyLedgerOptions<GovernanceState> = {
  crypto: { sha256, verify: createVerifier() },
  governance: REAL_GOVERNANCE,
};

/** Governance after each entry, the state before the first one first. */
export function statesOf(entries: readonly LedgerEntry[]): readonly (GovernanceState | undefined)[] {
  const states: (GovernanceState | undefined)[] = [undefined];
  for (const { data } of entries) {
    const batch = parseBatch(data);
    const before = states.at(-1);
    states.push(batch.header.kind === "administrative" ? REAL_GOVERNANCE.execute(before, batch) : before);
  }
  return states;
}
