/**
 * Builds and opens batches on this node: keeps the per-boot salt and the nonce counter together, so that no (key, nonce)
 * pair is ever used twice (a counter is never set back, also when a batch is undone). Keys come from committed epochs only.
 */
import type { Bytes } from "../../core/codec/bytes.ts";
import { EMPTY } from "../../core/codec/bytes.ts";
import {
  type BatchTransaction,
  buildBatch,
  type BuiltBatch,
  type UnsealedBatch,
  unsealBatch,
} from "../../core/ledger/batch.ts";
import { MAX_BATCH_TIME_MS, type BatchKind, type ParsedBatch } from "../../core/ledger/batch-format.ts";
import { type LedgerCrypto, LedgerKeys } from "../../core/ledger/keys.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import type { Clock } from "../ports.ts";
import type { EpochKeySource } from "./epoch-keys.ts";

/** What distinguishes one batch from another when it is built. */
export interface BatchDescription {
  readonly kind: BatchKind;
  readonly view: number;
  readonly adapterId: number;
  readonly governanceVersion: number;
  readonly transactions: readonly BatchTransaction[];
  /** An outcome of {@link Sealing.batchTime} since the batch before; read anew when it is not given. */
  readonly timeMs?: number;
}

/** See the module's header. */
export class Sealing {
  readonly #tail: LedgerTail;
  readonly #crypto: LedgerCrypto;
  readonly #clock: Clock;
  readonly #signer: Bytes;
  readonly #salt: Bytes;
  readonly #epochKeys: EpochKeySource;
  readonly keys: LedgerKeys;
  #nonceCounter = 0;

  /**
   * @param identity signer: node id, 32 bytes; salt: 16 fresh random bytes
   */
  constructor(
    tail: LedgerTail,
    crypto: LedgerCrypto,
    clock: Clock,
    identity: { readonly signer: Bytes; readonly salt: Bytes; readonly epochKeys: EpochKeySource },
  ) {
    this.#tail = tail;
    this.#crypto = crypto;
    this.#clock = clock;
    this.#signer = identity.signer;
    this.#salt = identity.salt;
    this.#epochKeys = identity.epochKeys;
    this.keys = new LedgerKeys(crypto, (epoch) => this.#epochKeys.keyOf(epoch));
    this.#epochKeys.onWiped((epoch) => this.keys.forget(epoch));
  }

  /** The epoch under which batches are sealed; 0 before the first is committed. */
  get epoch(): number {
    return this.#epochKeys.newest;
  }

  /** Wall clock for a new batch: never before the previous batch's, and within what a batch may say. */
  batchTime(): number {
    return Math.min(Math.max(Math.floor(this.#clock.wallTime()), this.#tail.last?.timeMs ?? 0), MAX_BATCH_TIME_MS);
  }

  /** The bytes of {@link Sealing.buildBatch}. */
  build(description: BatchDescription): Bytes {
    return this.buildBatch(description).bytes;
  }

  /** Builds the next batch and extends the tail by it. Administrative batches are public, outside any epoch. */
  buildBatch(description: BatchDescription): BuiltBatch {
    this.#nonceCounter++;
    return buildBatch(
      {
        ...description,
        timeMs: description.timeMs ?? this.batchTime(),
        epoch: description.kind === "administrative" ? 0 : this.epoch,
        salt: this.#salt,
        nonceCounter: this.#nonceCounter,
        signer: this.#signer,
      },
      this.#tail,
      this.keys,
      this.#crypto,
    );
  }

  /** The transactions of a verified batch, opened. */
  open(batch: ParsedBatch): UnsealedBatch {
    return unsealBatch(batch, this.keys, this.#crypto);
  }
}

/** An administrative transaction as a batch holds it: public, without request id. */
export function administrativeTransaction(encoded: Bytes): BatchTransaction {
  return { id: EMPTY, publicPart: encoded, privatePart: EMPTY, claimsDigest: undefined };
}
