/** What members do to the adapters of a network at work: mount one beside the first, configure it, remove it. */
import type { Action } from "../../src/core/governance/actions.ts";
import type { AdapterEntry, Constitution } from "../../src/core/governance/constitution.ts";
import type { FaultContext, FaultKind } from "./fault-context.ts";
import { decideOn } from "./rights-faults.ts";

/** Where the second adapter is mounted, when it is. */
export const SECOND_MOUNT = "/second";
const NAME = "second";
const REMOVED_SHARE = 0.3;
const OPTIONS = 1_000_000;

/** The adapter beside the first one. */
export function secondAdapter({ adapters }: Constitution): AdapterEntry | undefined {
  return adapters.find(({ name }) => name === NAME);
}

function next({ random }: FaultContext, constitution: Constitution): Action {
  const options = { number: random.below(OPTIONS) };
  if (secondAdapter(constitution) === undefined)
    return { name: "mount_adapter", args: { name: NAME, version: "0", mount: SECOND_MOUNT, options } };
  if (random.chance(REMOVED_SHARE)) return { name: "remove_adapter", args: { name: NAME } };
  return { name: "configure_adapter", args: { name: NAME, options } };
}

/** What members do to adapters. */
export const ADAPTER_FAULTS: readonly FaultKind[] = [
  {
    name: "adapters.change",
    strike: (context) => decideOn(context, "adapters", (constitution) => next(context, constitution)),
  },
];
