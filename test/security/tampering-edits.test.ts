/**
 * Ten thousand random edits of a valid ledger made of whole, well-formed entries: cut out, doubled, swapped, reordered,
 * replayed, spliced in from another history or another network, renumbered. Every one is refused, at the first entry that
 * differs, and the verifier never fails in any other way. Signatures are cheap ones; chains and trees are real.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Bytes, bytesEqual, ByteWriter, concatBytes, EMPTY, toHex } from "../../src/core/codec/bytes.ts";
import { encodeHeader, parseBatch } from "../../src/core/ledger/batch-format.ts";
import { type BatchInput, buildBatch } from "../../src/core/ledger/batch.ts";
import { type LedgerCrypto, LedgerKeys } from "../../src/core/ledger/keys.ts";
import { LedgerTail } from "../../src/core/ledger/tail.ts";
import { type LedgerEntry, type LedgerGovernance, verifyLedger } from "../../src/core/ledger/verify-ledger.ts";
import { sha256 } from "../../src/enclave/manager/node-crypto.ts";
import { CocoError } from "../../src/errors.ts";
import { SimulatedCrypto } from "../simulation/simulated-crypto.ts";

const EDITS = 10_000;
const BATCHES = 16;

/** A generator of numbers that is the same in every run. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
}

/** Governance of these ledgers: the list of signers, to which an administrative transaction adds one. */
type Signers = readonly Bytes[];

const governance: LedgerGovernance<Signers> = {
  execute: (before, { transactions }) => {
    const added = transactions.map(({ publicPart }) => publicPart);
    const known = before?.find((key) => added.some((other) => bytesEqual(key, other)));
    if (known !== undefined) throw new CocoError("ProposalInvalid", "a signer is listed twice");
    return [...(before ?? []), ...added];
  },
  publicKeyOf: (state, nodeId) => state.find((key) => toHex(sha256(key)) === nodeId),
};

const crypto = new SimulatedCrypto();
const keyOf = (signer: number): Bytes => sha256(Uint8Array.of(7, signer));

interface Build {
  readonly batches: number;
  readonly tag: number;
  /** Entries to go on from. */
  readonly from?: readonly LedgerEntry[];
  readonly view?: number;
}

/** Builds a ledger, or goes on with one: another tag gives other contents, that is another history. */
function build({ batches, tag, from = [], view = 1 }: Build): readonly LedgerEntry[] {
  const tail = new LedgerTail(sha256);
  for (const { data } of from) tail.append(parseBatch(data));
  const entries = [...from];
  while (entries.length < batches) {
    const index = entries.length + 1;
    const signer = index === 1 ? 0 : index % 2;
    const ports: LedgerCrypto = { ...crypto.of(keyOf(signer)), sha256 };
    const keys = new LedgerKeys(ports, () => sha256(Uint8Array.of(tag)));
    const isAdministrative = index === 1 || index === 6;
    const part = (publicPart: Bytes) => ({ id: EMPTY, publicPart, privatePart: EMPTY, claimsDigest: undefined });
    const added = index === 1 ? [keyOf(0), keyOf(1)] : [keyOf(100 + tag)];
    const content = Array.from({ length: 1 + (index % 4) }, (_, at) => part(Uint8Array.of(tag, at, index)));
    const input: BatchInput = {
      kind: isAdministrative ? "administrative" : "application",
      view: Math.max(view, 1 + Math.floor(index / 5)),
      adapterId: isAdministrative ? 0 : 1,
      governanceVersion: 1,
      timeMs: 1000 * index,
      epoch: isAdministrative ? 0 : 1,
      salt: new Uint8Array(16).fill(tag),
      nonceCounter: 10_000 * tag + 100 * from.length + index,
      signer: sha256(keyOf(signer)),
      transactions: isAdministrative ? added.map(part) : content,
    };
    const { bytes, record } = buildBatch(input, tail, keys, ports);
    entries.push({ index, term: record.view, data: bytes });
  }
  return entries;
}

const valid = build({ batches: BATCHES, tag: 1 });
/** Other histories of the same network, forked off at an entry, longer and of a later view. */
const forks = [3, 7, 12].map((at) => build({ batches: BATCHES + 2, tag: 2, from: valid.slice(0, at), view: 4 }));
const otherNetwork = build({ batches: BATCHES, tag: 3 });

const check = (entries: readonly LedgerEntry[]) =>
  verifyLedger(entries, {
    crypto: { sha256, verify: crypto.of(EMPTY).verify },
    governance,
    expected: { index: BATCHES, digest: expectedDigest },
  });
let expectedDigest: Bytes = EMPTY;
{
  const tail = new LedgerTail(sha256);
  for (const { data } of valid) tail.append(parseBatch(data));
  expectedDigest = tail.lastDigest;
}

/** An entry under another index: record, header or both. */
function renumbered(entry: LedgerEntry, index: number, inHeader: boolean): LedgerEntry {
  if (!inHeader || index === 1 || entry.index === 1) return { ...entry, index };
  const { header, headerBytes } = parseBatch(entry.data);
  const firstSeqno = Math.max(header.firstSeqno, index);
  const changed = encodeHeader({ ...header, index, firstSeqno });
  return { ...entry, index, data: concatBytes(changed, entry.data.subarray(headerBytes.length)) };
}

type Edit = (entries: LedgerEntry[], random: Random) => void;

/** Numbers the entries anew from an edit on, as who hides one would. */
function renumberFrom(entries: LedgerEntry[], from: number, random: Random): void {
  const inHeader = random.below(2) === 0;
  for (let at = from; at < entries.length; at++) entries[at] = renumbered(entries[at]!, at + 1, inHeader);
}

const EDIT_KINDS: Readonly<Record<string, Edit>> = {
  cutOut: (entries, random) => {
    const at = random.below(entries.length);
    entries.splice(at, 1 + random.below(3));
    if (random.below(2) === 0) renumberFrom(entries, at, random);
  },
  replay: (entries, random) => {
    const entry = entries[random.below(entries.length)]!;
    const at = random.below(entries.length);
    entries.splice(at, 0, entry);
    if (random.below(2) === 0) renumberFrom(entries, at, random);
  },
  swap: (entries, random) => {
    const [left, right] = [random.below(entries.length), random.below(entries.length)];
    [entries[left], entries[right]] = [entries[right]!, entries[left]!];
    if (random.below(2) === 0) renumberFrom(entries, Math.min(left, right), random);
  },
  reorder: (entries, random) => {
    const at = random.below(entries.length - 2);
    const window = entries.slice(at, at + 2 + random.below(5));
    entries.splice(at, window.length, ...window.toReversed());
  },
  spliceFork: (entries, random) => {
    const fork = forks[random.below(forks.length)]!;
    const at = random.below(entries.length);
    const length = 1 + random.below(4);
    entries.splice(at, length, ...fork.slice(at, at + length));
  },
  continueAsFork: (entries, random) => {
    const fork = forks[random.below(forks.length)]!;
    const at = random.below(entries.length);
    entries.splice(at, entries.length, ...fork.slice(at));
  },
  spliceNetwork: (entries, random) => {
    const at = random.below(entries.length);
    entries.splice(at, 1 + random.below(4), ...otherNetwork.slice(at, at + 1 + random.below(3)));
  },
  otherSignature: (entries, random) => {
    const at = random.below(entries.length);
    const other = entries[random.below(entries.length)]!;
    const { data } = entries[at]!;
    entries[at] = { ...entries[at]!, data: concatBytes(data.subarray(0, -64), other.data.subarray(-64)) };
  },
  otherRoot: (entries, random) => {
    const at = random.below(entries.length);
    const other = entries[random.below(entries.length)]!;
    const { data } = entries[at]!;
    entries[at] = { ...entries[at]!, data: concatBytes(data.subarray(0, -96), other.data.subarray(-96)) };
  },
  otherTerm: (entries, random) => {
    const at = random.below(entries.length);
    entries[at] = { ...entries[at]!, term: entries[at]!.term + 1 + random.below(3) };
  },
  forgedHeader: (entries, random) => {
    const at = random.below(entries.length);
    const { header, headerBytes } = parseBatch(entries[at]!.data);
    const fields = [
      { timeMs: header.timeMs + 1 },
      { governanceVersion: header.governanceVersion + 1 },
      { nonceCounter: header.nonceCounter + 1 },
      { signer: sha256(keyOf(9)) },
      { signer: sha256(keyOf(1 - (entries[at]!.index % 2))) },
      { view: header.view + 1 },
    ];
    const forged = encodeHeader({ ...header, ...fields[random.below(fields.length)] });
    const term = Number(new DataView(forged.buffer, forged.byteOffset).getBigUint64(2));
    const data = concatBytes(forged, entries[at]!.data.subarray(headerBytes.length));
    entries[at] = { index: entries[at]!.index, term, data };
  },
  cutOff: (entries, random) => void entries.splice(random.below(entries.length)),
};

function isSame(left: LedgerEntry | undefined, right: LedgerEntry | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.index === right.index && left.term === right.term && bytesEqual(left.data, right.data);
}

describe("a ledger that was edited entry by entry", () => {
  test("is valid as it is, and so are the other histories by themselves", () => {
    assert.equal(check(valid).bad, undefined);
    for (const entries of [...forks, otherNetwork]) {
      const { bad } = verifyLedger(entries, { crypto: { sha256, verify: crypto.of(EMPTY).verify }, governance });
      assert.equal(bad, undefined);
    }
  });

  test("is refused in each of 10,000 cases at the first entry that differs", () => {
    const random = new Random(20_240_601);
    const names = Object.keys(EDIT_KINDS);
    const counts = new Map<string, number>();
    let edits = 0;
    while (edits < EDITS) {
      const name = names[random.below(names.length)]!;
      const entries = [...valid];
      for (let times = 1 + random.below(2); times > 0 && entries.length > 3; times--)
        EDIT_KINDS[name]!(entries, random);
      const first = valid.findIndex((entry, at) => !isSame(entry, entries[at]));
      // Some edits change nothing, or add after the end, where only more of the ledger could tell.
      if (first === -1) continue;
      edits++;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const { bad } = check(entries);
      const isFork = name === "continueAsFork" || name === "spliceFork" || name === "spliceNetwork";
      assert.ok(bad !== undefined, `${name} at entry ${first + 1} was not found`);
      // A whole other history is valid by itself: it shows where the ledger is known from outside, or where it ends.
      if (isFork) assert.ok(bad.index > first && bad.index <= BATCHES, `${name} at ${first + 1}: ${bad.index}`);
      else assert.equal(bad.index, first + 1, `${name}: ${bad.reason}`);
      assert.notEqual(bad.code, "Internal", bad.reason);
      assert.ok(bad.reason.length > 0 && bad.seqno >= bad.index);
    }
    assert.equal(counts.size, names.length);
    assert.ok([...counts.values()].every((count) => count > 100));
  });

  test("of entries that are no batches is refused without failing otherwise", () => {
    const random = new Random(5);
    for (let round = 0; round < 500; round++) {
      const length = random.below(400);
      const data = new ByteWriter(length);
      for (let at = 0; at < length; at++) data.u8(random.below(256));
      const at = random.below(valid.length);
      const entry = { index: at + 1, term: 1, data: data.finish() };
      assert.equal(check(valid.toSpliced(at, 1, entry)).bad?.index, at + 1);
    }
    assert.equal(check([]).bad?.index, 1);
  });
});
