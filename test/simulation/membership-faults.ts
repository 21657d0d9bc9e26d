/**
 * What members and operators do to a network at work: nodes come and go, one by one or all at once, and epochs are opened.
 * The leader takes a proposal or refuses it; nobody may notice but those concerned.
 */
import type { FaultContext, FaultKind } from "./fault-context.ts";
import type { SimulatedNode } from "./simulated-node.ts";

/** Fewest nodes a change leaves. */
const NODES_MIN = 3;
const START_MAX_MS = 2_000;

/** The next list of nodes: any set of machines, or a small step from the one now. */
function nextMembers({ random, world }: FaultContext): readonly SimulatedNode[] {
  const members = world.members();
  const others = world.nodes.filter((node) => !members.includes(node) && (world.readmits || node.boots === 0));
  const kind = random.below(4);
  const all = [...members, ...others];
  if (kind === 0) return random.sample(all, NODES_MIN + random.below(Math.max(1, all.length - NODES_MIN + 1)));
  const staying = kind === 1 ? members : random.sample(members, members.length - 1);
  return kind === 2 ? staying : [...staying, ...random.sample(others, 1)];
}

function changeMembers(context: FaultContext): void {
  const { world, random } = context;
  const next = nextMembers(context);
  const damaged = world.nodes.filter((node) => node.boots > 0 && !node.isSound).length;
  // Members who know of damage do not leave the network too small to bear it.
  if (next.length < NODES_MIN || damaged > Math.max(1, context.bearableLosses(next.length))) return;
  const entries = world.founded.machines.filter(({ nodeId }) => next.some(({ id }) => id === nodeId));
  const accepted = context.leader().govern((state, nowMs) => world.founded.changeNodes(state, entries, nowMs));
  if (!accepted) return;
  context.fewestNodes = Math.min(context.fewestNodes, next.length);
  context.note("membership.change", "network", next.length);
  world.trace.say(() => `the members vote for ${next.map(({ name }) => name).join(" ")}`);
  // Operators start the machines of a decision; those that are voted out go on until somebody stops them.
  for (const node of next) if (!node.isRunning) context.startLater(node, random.next() * START_MAX_MS);
}

function openEpoch(context: FaultContext): void {
  const { founded } = context.world;
  if (context.leader().govern((state, nowMs) => founded.askForEpoch(state, nowMs)))
    context.note("membership.epoch", "network");
}

/** What members and operators do. */
export const MEMBERSHIP_FAULTS: readonly FaultKind[] = [
  { name: "membership.change", strike: changeMembers },
  { name: "membership.epoch", strike: openEpoch },
];
