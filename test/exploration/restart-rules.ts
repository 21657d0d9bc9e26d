/**
 * The restart rules for disks that may have been rolled back, by enumeration over the real core.
 *
 * A short history is played; then some nodes stop, some of their disks are set back to an earlier point of that history, and
 * they start again, at once or one after the other, while only some nodes can be reached and timers run out in some order.
 * As long as one holder of each committed entry keeps its disk, no committed entry may be lost and no term may have two
 * leaders (World throws), and once everybody is there, somebody leads and has it all.
 */
import { sameEntry } from "../../src/core/consensus/testing/invariants.ts";
import type { LogEntry, NodeId } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { newScript, runLine } from "../scenarios/commands.ts";
import type { World } from "../scenarios/world.ts";
import type { Stable } from "./machine.ts";

/** A history, as lines of a scenario. */
export interface RestartHistory {
  readonly name: string;
  readonly lines: readonly string[];
}

/** One way through a restart. */
export interface RestartCase {
  readonly history: RestartHistory;
  /** Nodes that restart, each with the point of its disk's past it starts from; undefined is the present. */
  readonly restarts: readonly (readonly [NodeId, number | undefined])[];
  /** Whether they stop at the same time. */
  readonly together: boolean;
  /** Nodes that reach one another at first; the others are cut off. */
  readonly connected: readonly NodeId[];
  /** Order in which timers run out. */
  readonly order: readonly NodeId[];
}

/** Time between the ticks of a case, and their number while the nodes are apart, and together. */
const TICK_MS = 60;
const ROUNDS_APART = 7;
const ROUNDS_TOGETHER = 14;

/** A played history, and what each disk held after each change. */
export interface Played {
  readonly world: World;
  readonly pasts: ReadonlyMap<NodeId, readonly Stable[]>;
}

/** Plays a history with disks that are not trusted. */
export function play(history: RestartHistory): Played {
  const script = newScript();
  const pasts = new Map<NodeId, Stable[]>();
  for (const line of ["distrust disks", ...history.lines]) {
    runLine(script, line);
    if (script.world === undefined) continue;
    script.world.onDisk = (id, stable) => {
      const past = pasts.get(id) ?? [];
      pasts.set(id, past);
      const last = past.at(-1);
      const same = last?.entries.length === stable.entries.length && last.hardState === stable.hardState;
      if (!same) past.push(stable);
    };
  }
  invariant(script.world !== undefined, "a history has nodes");
  return { world: script.world, pasts };
}

const holds = (stable: Stable, entry: LogEntry): boolean => sameEntry(stable.entries[entry.index - 1], entry);

function stableOf(world: World, id: NodeId): Stable {
  const { machine, stable } = world.node(id);
  return machine?.stable ?? stable;
}

/** Whether a holder of each committed entry keeps its disk: without that no rule could help. */
export function keepsHolders({ world, pasts }: Played, restarts: RestartCase["restarts"]): boolean {
  const chosen = new Map(restarts);
  return world.committed.every((entry) =>
    [...world.nodes.keys()].some((id) => {
      const present = stableOf(world, id);
      const point = chosen.get(id);
      const kept = point === undefined ? present : pasts.get(id)?.[point];
      return kept !== undefined && holds(present, entry) && holds(kept, entry);
    }),
  );
}

function stop(world: World, id: NodeId, past: Stable | undefined): void {
  if (world.node(id).machine !== undefined) world.crash(id);
  if (past !== undefined) world.node(id).stable = past;
}

function tickAll(world: World, order: readonly NodeId[], rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    world.nowMs += TICK_MS;
    for (const id of order) {
      world.step(id, { type: "tick" });
      world.settle();
    }
    const leader = world.running.find(({ machine }) => machine?.status.role === "leader");
    if (leader === undefined) continue;
    world.act(leader.id, (machine) => machine.propose(`after ${round}`));
    world.settle();
  }
}

function isolate(world: World, connected: readonly NodeId[]): void {
  for (const inside of world.nodes.keys())
    for (const outside of world.nodes.keys()) {
      if (connected.includes(inside) !== connected.includes(outside)) world.cut.add(`${inside}->${outside}`);
    }
}

/** Whether something committed is on no disk any more: while nodes restart one after the other, more is committed, and set back. */
function isGone(world: World): boolean {
  const ids = [...world.nodes.keys()];
  return world.committed.some((entry) => !ids.some((id) => holds(stableOf(world, id), entry)));
}

/**
 * Plays one case; throws when an entry is lost or a term has two leaders, or when the whole network does not come back
 * although everything is still on some disk. Where it is not, the network must halt, and false comes back.
 */
export function playRestart(restart: RestartCase): boolean {
  const { world, pasts } = play(restart.history);
  const pastOf = (id: NodeId, point: number | undefined) => (point === undefined ? undefined : pasts.get(id)?.[point]);
  isolate(world, restart.connected);
  if (restart.together) for (const [id, point] of restart.restarts) stop(world, id, pastOf(id, point));
  for (const [id, point] of restart.restarts) {
    if (!restart.together) stop(world, id, pastOf(id, point));
    world.restart(id);
    if (!restart.together) tickAll(world, restart.order, 2);
  }
  const gone = isGone(world);
  tickAll(world, restart.order, ROUNDS_APART);
  world.cut.clear();
  world.held.clear();
  for (const { id, machine } of world.nodes.values()) if (machine === undefined) world.restart(id);
  tickAll(world, restart.order, ROUNDS_TOGETHER);
  for (const { id, stoppedBy } of world.nodes.values()) invariant(stoppedBy === undefined, `node ${id}: ${stoppedBy}`);
  const leaders = world.running.filter(({ machine }) => machine?.status.role === "leader");
  invariant(leaders.length > 0 || gone, "with everybody there, somebody leads");
  if (leaders.length === 0) return false;
  const log = leaders[0]?.machine?.log ?? [];
  invariant(
    world.committed.every((entry) => sameEntry(log[entry.index - 1], entry)),
    "the leader has all that was committed",
  );
  return true;
}

/** Every subset of a list. */
export function subsets<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  let all: (readonly Item[])[] = [[]];
  for (const item of items) all = all.concat(all.map((chosen) => [...chosen, item]));
  return all;
}

/** What of a history's cases is tried. */
export interface Reach {
  /** Points of the past tried for one disk, the oldest first. */
  readonly points: number;
  /** Sizes of the groups that reach one another at first. */
  readonly groups: readonly number[];
  readonly orders: readonly (readonly NodeId[])[];
}

function pointsOf(past: readonly Stable[] | undefined, limit: number): readonly (number | undefined)[] {
  const count = Math.max(0, (past?.length ?? 0) - 1);
  const chosen = new Set<number>();
  for (let at = 0; at < Math.min(limit, count); at++) {
    chosen.add(limit >= count ? at : Math.round((at * (count - 1)) / (limit - 1)));
  }
  return [undefined, ...chosen];
}

/** Every case of a history within the reach, as long as a holder of each committed entry keeps its disk. */
export function* casesOf(history: RestartHistory, reach: Reach): Generator<RestartCase> {
  const played = play(history);
  const ids = [...played.world.nodes.keys()];
  for (const restarting of subsets(ids)) {
    if (restarting.length === 0) continue;
    let choices: (readonly (readonly [NodeId, number | undefined])[])[] = [[]];
    for (const id of restarting) {
      const points = pointsOf(played.pasts.get(id), reach.points);
      choices = choices.flatMap((chosen) => points.map((point) => [...chosen, [id, point] as const]));
    }
    for (const restarts of choices) {
      if (!keepsHolders(played, restarts)) continue;
      for (const connected of subsets(ids).filter((group) => reach.groups.includes(group.length)))
        for (const order of reach.orders)
          for (const together of restarts.length > 1 ? [true, false] : [true]) {
            yield { history, restarts, together, connected, order };
          }
    }
  }
}

/** A case as text. */
export function showCase({ history, restarts, together, connected, order }: RestartCase): string {
  const points = restarts.map(([id, point]) => `${id}${point === undefined ? "" : ` set back to ${point}`}`).join(", ");
  const how = together ? "at once" : "one after the other";
  return `${history.name}: ${points} restart ${how}; ${connected.join(" ")} connected; timers ${order.join(" ")}`;
}
