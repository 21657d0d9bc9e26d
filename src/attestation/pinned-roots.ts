/**
 * The roots that hardware is trusted by in production: AMD's and Intel's, pinned in this program. They are measured with the code,
 * so that members approve them with it; no file, environment variable, option or constitution adds one.
 */
import { INTEL_SGX_ROOT } from "./dcap/chains.ts";
import type { HardwareRoots } from "./evidence.ts";
import { createAmdRoots } from "./snp/roots.ts";

/** Makes the pinned roots. */
export function pinnedRoots(): HardwareRoots {
  return { amd: createAmdRoots(), intel: [INTEL_SGX_ROOT] };
}
