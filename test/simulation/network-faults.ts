/** What befalls the network: partitions of six kinds, broken channels, clogs, and times when frames fare badly. */
import type { FaultContext, FaultKind } from "./fault-context.ts";
import type { SimulatedNode } from "./simulated-node.ts";

const CUT_MIN_MS = 200;
const CUT_MAX_MS = 9_000;
const FLAP_MIN_MS = 40;
const FLAP_MAX_MS = 900;
const FLAPS_MAX = 12;
const BAD_TIMES_MIN_MS = 300;
const BAD_TIMES_MAX_MS = 6_000;
const LATENCY_MAX_MS = 300;
/** Most of the frames that are lost, doubled or overtaken. */
const LOSS_MAX = 0.3;
const DUPLICATION_MAX = 0.5;
const REORDERING_MAX = 0.5;

type Directions = (readonly [SimulatedNode, SimulatedNode])[];

function cutDuration({ random }: FaultContext): number {
  return random.magnitude(CUT_MIN_MS, CUT_MAX_MS);
}

/** Both directions between a node and all others. */
function around(context: FaultContext, node: SimulatedNode): Directions {
  return context.world.nodes.flatMap(
    (other): Directions => [
      [node, other],
      [other, node],
    ],
  );
}

function isolate(context: FaultContext, kind: string, node: SimulatedNode): void {
  context.note(kind, node.name);
  context.cut(around(context, node), cutDuration(context));
}

/** Both directions between two sides. */
function between(left: readonly SimulatedNode[], right: readonly SimulatedNode[]): Directions {
  return left.flatMap((one) =>
    right.flatMap(
      (other): Directions => [
        [one, other],
        [other, one],
      ],
    ),
  );
}

function split(context: FaultContext): void {
  const { nodes } = context.world;
  const left = context.random.sample(nodes, 1 + context.random.below(nodes.length - 1));
  const right = nodes.filter((node) => !left.includes(node));
  context.note("partition.split", "network", left.length);
  context.cut(between(left, right), cutDuration(context));
}

/** A node hears nobody, or nobody hears it. */
function oneWay(context: FaultContext): void {
  const node = context.random.chance(0.3) ? context.leader() : context.target();
  const outgoing = context.random.chance(0.5);
  context.note("partition.oneWay", node.name, outgoing ? 1 : 0);
  const directions = context.world.nodes.map((other): Directions[number] => (outgoing ? [node, other] : [other, node]));
  context.cut(directions, cutDuration(context));
}

/** Two sides that only one node can speak to. */
function bridge(context: FaultContext): void {
  const [middle, ...others] = context.random.sample(context.world.nodes, context.world.nodes.length);
  const half = Math.ceil(others.length / 2);
  context.note("partition.bridge", middle?.name ?? "");
  context.cut(between(others.slice(0, half), others.slice(half)), cutDuration(context));
}

/** A node that comes and goes. */
function flapping(context: FaultContext): void {
  const { random } = context;
  const node = random.chance(0.3) ? context.leader() : context.target();
  context.note("partition.flapping", node.name);
  const cutFor = random.between(FLAP_MIN_MS, FLAP_MAX_MS);
  const whole = cutFor + random.between(FLAP_MIN_MS, FLAP_MAX_MS);
  for (let flap = 1 + random.below(FLAPS_MAX); flap >= 0; flap--) {
    context.world.scheduler.after(flap * whole, () => {
      if (context.targets.includes(node)) context.cut(around(context, node), cutFor);
    });
  }
}

function breakChannel(context: FaultContext): void {
  const [left, right] = [context.target(), context.random.pick(context.world.nodes)];
  if (left === right) return;
  context.note("network.channelBroken", left.name);
  context.world.network.break(left.id, right.id);
}

function clog(context: FaultContext): void {
  const [left, right] = [context.target(), context.random.pick(context.world.nodes)];
  if (left === right) return;
  const [from, to] = context.random.chance(0.5) ? [left, right] : [right, left];
  context.note("network.clog", from.name);
  context.world.network.clog(from.id, to.id, context.random.magnitude(CUT_MIN_MS, CUT_MAX_MS));
}

/** For a while frames fare badly in one way. */
function badTimes(context: FaultContext, kind: "latencyMaxMs" | "loss" | "duplication" | "reordering"): void {
  const most = {
    latencyMaxMs: LATENCY_MAX_MS,
    loss: LOSS_MAX,
    duplication: DUPLICATION_MAX,
    reordering: REORDERING_MAX,
  };
  const { random } = context;
  context.worsen(kind, random.next() * most[kind], random.magnitude(BAD_TIMES_MIN_MS, BAD_TIMES_MAX_MS));
}

/** Faults of every network. */
export const NETWORK_FAULTS: readonly FaultKind[] = [
  { name: "partition.split", strike: split },
  { name: "partition.oneWay", strike: oneWay },
  { name: "partition.bridge", strike: bridge },
  { name: "partition.isolateOne", strike: (context) => isolate(context, "partition.isolateOne", context.target()) },
  {
    name: "partition.isolateLeader",
    strike: (context) => isolate(context, "partition.isolateLeader", context.leader()),
  },
  { name: "partition.flapping", strike: flapping },
  { name: "network.channelBroken", strike: breakChannel },
  { name: "network.clog", strike: clog },
  {
    name: "network.delay",
    strike: (context) => {
      context.note("network.delay", "network");
      badTimes(context, "latencyMaxMs");
    },
  },
  // Counted frame by frame.
  { name: "network.loss", strike: (context) => badTimes(context, "loss") },
];

/** Faults of networks in which frames travel alone; counted frame by frame. */
export const DATAGRAM_FAULTS: readonly FaultKind[] = [
  { name: "network.duplication", strike: (context) => badTimes(context, "duplication") },
  { name: "network.reordering", strike: (context) => badTimes(context, "reordering") },
];
