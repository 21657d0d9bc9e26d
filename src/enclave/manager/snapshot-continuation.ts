/** Whether a snapshot of the leader continues what this node knows: nobody undoes by one what is committed. */
import { bytesEqual } from "../../core/codec/bytes.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { ReceivedSnapshot } from "./snapshot-receiver.ts";

/** What a node holds when a snapshot comes. */
export interface HeldLedger {
  readonly administration: Administration;
  readonly tail: LedgerTail;
  readonly committedSeqno: number;
}

/** Throws `LedgerForked` when it does not. */
export function requireContinuation(held: HeldLedger, { tail, state }: Omit<ReceivedSnapshot, "digest">): void {
  const before = held.administration.committed;
  const sameEpochs = (before?.epochs ?? []).every(({ epoch, sealedServiceKey }, at) => {
    const other = state.epochs[at];
    return other?.epoch === epoch && bytesEqual(other.sealedServiceKey, sealedServiceKey);
  });
  const [version, later] = [before?.constitution.version ?? 0, state.constitution.version];
  const sameConstitution =
    before === undefined || version < later || bytesEqual(before.constitutionDigest, state.constitutionDigest);
  if (!sameEpochs || later < version || !sameConstitution || !held.tail.isContinuedBy(tail, held.committedSeqno))
    throw new CocoError("LedgerForked", "snapshot: it does not continue what is committed on this node");
}
