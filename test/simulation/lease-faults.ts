/** What befalls the TEEs of machines where nodes hold leases: one gives no evidence for a while. */
import type { FaultContext, FaultKind } from "./fault-context.ts";

const SILENT_MIN_MS = 500;
const SILENT_MAX_MS = 25_000;

function silence(context: FaultContext): void {
  const node = context.random.chance(0.3) ? context.leader() : context.target();
  if (node.teeIsSilent) return;
  context.note("tee.silent", node.name);
  node.teeIsSilent = true;
  context.endLater(context.random.magnitude(SILENT_MIN_MS, SILENT_MAX_MS), () => {
    node.teeIsSilent = false;
  });
}

/** Faults of TEEs. */
export const LEASE_FAULTS: readonly FaultKind[] = [{ name: "tee.silent", strike: silence }];
