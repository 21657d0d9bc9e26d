/** Bugs outside of the consensus core: sealing, ledger, disk. */
import type { SeededBug } from "./bug.ts";

/** Every bug outside of the consensus core. */
export const LEDGER_BUGS: readonly SeededBug[] = [];
