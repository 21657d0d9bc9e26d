/** Whether a node serves clients: what a load balancer is told. Whoever comes to a ready node is not answered that it has no state. */
import type { Manager } from "./manager.ts";

/** Why clients should not come to a node yet; undefined: it is ready. */
export function hindranceOf({
  status,
  waitsForKeys,
  adapters,
}: Pick<Manager, "status" | "waitsForKeys" | "adapters">): string | undefined {
  if (status.leader === undefined) return "no leader is known";
  return waitsForKeys ? "the key of an epoch is not on this node yet" : adapters.hindrance;
}
