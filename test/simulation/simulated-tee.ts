/**
 * The TEE of a simulated machine: evidence takes its time, now and then much of it. While it is silent it gives none, or holds
 * its answer back until it is not any more: what it then says was asked for long ago.
 */
import type { Bytes } from "../../src/core/codec/bytes.ts";
import type { AskTee } from "../../src/enclave/ports.ts";
import { CocoError } from "../../src/errors.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded-random.ts";

const FAST_MIN_MS = 0.5;
const FAST_MAX_MS = 30;
const SLOW_MAX_MS = 3_000;
const SLOW_CHANCE = 0.05;
/** How often it is seen whether the silence is over. */
const HELD_MS = 200;

/** What it is made of. */
export interface SimulatedTeeParts {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly isSilent: () => boolean;
  /** Evidence of the code that runs here. */
  readonly evidence: (reportData: Bytes) => Bytes;
}

/** See the module's header. */
export function simulatedTee({ scheduler, random, isSilent, evidence }: SimulatedTeeParts): AskTee {
  return (reportData, done) => {
    const holdsBack = random.chance(0.5);
    const answer = (): void => {
      if (!isSilent()) done(evidence(reportData));
      else if (holdsBack) scheduler.after(HELD_MS, answer);
      else done(new CocoError("AttestationFailed", "the TEE is silent"));
    };
    scheduler.after(random.magnitude(FAST_MIN_MS, random.chance(SLOW_CHANCE) ? SLOW_MAX_MS : FAST_MAX_MS), answer);
  };
}
