/** Outcomes of a lane's transactions on their way to the nodes that asked for them. */
import { bytesEqual, bytesKey, type Bytes } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { FromWorker, ItemOutcome } from "../worker/protocol.ts";
import type { Queued } from "./transaction-queue.ts";

type Executed = Extract<FromWorker, { type: "executed" }>;

/** What became of a transaction, and the batch its outcome is judged by. */
export interface LaneOutcome {
  readonly id: Bytes;
  readonly key: string;
  readonly outcome: ItemOutcome;
  readonly index: number;
}

/** Keys of executed transactions: known for those of the batch, made for those an adapter kept or adds itself. */
export function keysOf(
  batch: readonly Queued[],
  { outcomes, transactions }: Pick<Executed, "outcomes" | "transactions">,
): readonly string[] {
  const keys = new Array<string>(transactions.length).fill("");
  batch.forEach(({ item, key }, at) => {
    const outcome = outcomes[at];
    if (outcome?.type !== "included") return;
    const executed = transactions[outcome.position];
    if (executed !== undefined && bytesEqual(executed.id, item.id)) keys[outcome.position] = key;
  });
  transactions.forEach(({ id }, position) => {
    if (id.length > 0 && keys[position] === "") keys[position] = bytesKey(id);
  });
  return keys;
}

/** Outcomes on their way, by the node that asked. */
export class OutcomesByOrigin extends Map<NodeId | undefined, LaneOutcome[]> {
  /** Adds an outcome for a node. */
  add(origin: NodeId | undefined, outcome: LaneOutcome): void {
    const list = this.get(origin);
    if (list === undefined) this.set(origin, [outcome]);
    else list.push(outcome);
  }
}
