/**
 * Administrative batches: what they do to the governance state as a whole, and the membership that consensus reads in them.
 */
import type { Bytes } from "../codec/bytes.ts";
import { toHex } from "../codec/bytes.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import { parseBatch, type ParsedBatch } from "../ledger/batch-format.ts";
import { batchKindOf } from "../ledger/batch-glance.ts";
import { executeAdministrative, type GovernanceState } from "./administrative.ts";
import { type AdministrativeTransaction, decodeAdministrative } from "./administrative-codec.ts";
import { listedNodes } from "./configuration.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { isQuarantined } from "./leases.ts";
import { refused } from "./refusal.ts";
import { CocoError, invariant } from "../../errors.ts";

/** The part of a batch that execution looks at. */
export type AdministrativeBatch = Pick<ParsedBatch, "transactions"> & {
  readonly header: Pick<ParsedBatch["header"], "index" | "firstSeqno" | "timeMs" | "previousDigest" | "signer">;
};

/**
 * Executes the transactions of an administrative batch in order. Throws, with nothing changed, when one does not hold, when
 * the batch changes the configuration twice, or when a node opens an epoch that was voted out or is quarantined: it would know
 * the key.
 */
export function executeAdministrativeBatch(
  before: GovernanceState | undefined,
  { header, transactions }: AdministrativeBatch,
  crypto: GovernanceCrypto,
): GovernanceState {
  let state = before;
  let configurations = 0;
  for (const { publicPart } of transactions) {
    const transaction = decodeAdministrative(publicPart);
    if (transaction.type === "configure" && ++configurations > 1)
      throw refused("TwoConfigurations", "a batch takes one step of a change of membership");
    if (transaction.type === "epoch" && state !== undefined) requireEpochMaker(state, toHex(header.signer));
    state = executeAdministrative(state, transaction, header, crypto);
  }
  invariant(state, "an administrative batch holds a transaction");
  return state;
}

/** Whoever opens an epoch knows its key. */
function requireEpochMaker(state: GovernanceState, signer: NodeId): void {
  if (!listedNodes(state.constitution).includes(signer))
    throw refused("EpochByRemovedNode", "an epoch is opened by a listed node");
  if (isQuarantined(state, signer))
    throw refused("EpochByQuarantinedNode", "an epoch is opened by a node that is not quarantined");
}

/** The transactions of an administrative batch, unverified; none when it is another or malformed: its execution refuses it. */
function transactionsOfBatch(data: Bytes): readonly AdministrativeTransaction[] {
  if (batchKindOf(data) !== "administrative") return [];
  try {
    return parseBatch(data).transactions.map(({ publicPart }) => decodeAdministrative(publicPart));
  } catch (error) {
    if (error instanceof CocoError && error.code !== "Internal") return [];
    throw error;
  }
}

/** The nodes that a batch quarantines. Nothing is verified here: a batch that is malformed quarantines nobody. */
export function quarantinedByBatch(data: Bytes): readonly NodeId[] {
  return transactionsOfBatch(data).flatMap((one) => (one.type === "quarantine" ? one.nodeIds : []));
}

/**
 * The configuration that a batch brings; undefined when it brings none, which its first two bytes tell for all batches but
 * administrative ones. Genesis brings none: consensus starts with it. Nothing is verified here: a batch that is malformed
 * brings none, and its execution refuses it.
 */
export function configurationOfBatch(data: Bytes): Configuration | undefined {
  const step = transactionsOfBatch(data).find((one) => one.type === "configure");
  if (step === undefined) return undefined;
  const { current, previous, learners } = step;
  return { current, previous, learners };
}
