/**
 * Administrative batches: what they do to the governance state as a whole, and the membership that consensus reads in them.
 */
import type { Bytes } from "../codec/bytes.ts";
import { toHex } from "../codec/bytes.ts";
import type { Configuration, NodeId } from "../consensus/types.ts";
import { batchKindOf, parseBatch, type ParsedBatch } from "../ledger/batch-format.ts";
import { executeAdministrative, type GovernanceState } from "./administrative.ts";
import { decodeAdministrative } from "./administrative-codec.ts";
import { listedNodes } from "./configuration.ts";
import type { GovernanceCrypto } from "./governance-crypto.ts";
import { isQuarantined } from "./leases.ts";
import { refused } from "./refusal.ts";
import { CocoError, invariant } from "../../errors.ts";

/** The part of a batch that execution looks at. */
export type AdministrativeBatch = Pick<ParsedBatch, "transactions"> & {
  readonly header: Pick<ParsedBatch["header"], "index" | "firstSeqno" | "timeMs" | "signer">;
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

/**
 * The configuration that a batch brings; undefined when it brings none, which its first two bytes tell for all batches but
 * administrative ones. Genesis brings none: consensus starts with it. Nothing is verified here: a batch that is malformed
 * brings none, and its execution refuses it.
 */
export function configurationOfBatch(data: Bytes): Configuration | undefined {
  if (batchKindOf(data) !== "administrative") return undefined;
  try {
    for (const { publicPart } of parseBatch(data).transactions) {
      const transaction = decodeAdministrative(publicPart);
      if (transaction.type !== "configure") continue;
      const { current, previous, learners } = transaction;
      return { current, previous, learners };
    }
    return undefined;
  } catch (error) {
    if (error instanceof CocoError && error.code !== "Internal") return undefined;
    throw error;
  }
}
