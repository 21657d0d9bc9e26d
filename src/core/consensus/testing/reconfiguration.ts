/** What a driver does to bring a network to another set of voters: learners first, then the joint step, then the new set. */
import { sameVoterSet } from "../configuration.ts";
import type { Configuration, ConsensusStatus, VoterSet } from "../types.ts";

/** The next configuration on the way to `goal`; undefined when it is reached or the leader must wait. */
export function nextConfiguration(
  status: ConsensusStatus,
  goal: VoterSet,
  patient: boolean,
): Configuration | undefined {
  const { configuration, configurationCommitted, learnersCaughtUp } = status;
  const { current, previous, learners } = configuration;
  if (!configurationCommitted) return undefined;
  if (previous !== undefined) return { current, previous: undefined, learners: [] };
  if (sameVoterSet(current, goal)) return learners.length === 0 ? undefined : { ...configuration, learners: [] };
  const newcomers = goal.voters.filter((id) => !current.voters.includes(id));
  const learning = newcomers.every((id) => learners.includes(id));
  if (patient && !learning) return { ...configuration, learners: newcomers };
  if (patient && !learnersCaughtUp) return undefined;
  return { current: goal, previous: current, learners: [] };
}
