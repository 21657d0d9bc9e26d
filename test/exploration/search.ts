/**
 * The search through a model's states: breadth first, so that a violation is found by a shortest way; where the bound on
 * states ends that before the model is exhausted, the rest of the bound goes to random walks, which reach deep states.
 */
import { SeededRandom } from "../../src/core/consensus/testing/random.ts";
import { Network } from "./network.ts";
import type { Model } from "./model.ts";
import { StateTable } from "./state-table.ts";

/** Part of the states that random walks get when the model is larger than the bound. */
const WALK_SHARE = 0.5;

/** Longest random walk, in actions. */
const WALK_ACTIONS_MAX = 120;

/** Walks that find nothing new before the search gives up. */
const IDLE_WALKS_MAX = 5_000;

/** What broke, and how to get there. */
export interface Violation {
  readonly message: string;
  readonly trace: readonly string[];
}

/** What a search did. */
export interface SearchResult {
  readonly model: string;
  readonly states: number;
  /** Every state up to so many actions from the start was seen. */
  readonly depth: number;
  /** The deepest state seen. */
  readonly deepest: number;
  /** Whether every state within the bounds was seen. */
  readonly complete: boolean;
  /** Actions tried. */
  readonly actions: number;
  /** Actions whose outcome was beyond a bound. */
  readonly bounded: number;
  /** Different states of one machine. */
  readonly localStates: number;
  /** Events carried out by a real core. */
  readonly coreSteps: number;
  readonly violation: Violation | undefined;
}

class Search {
  readonly network: Network;
  readonly table: StateTable;
  readonly #row: Int32Array;
  readonly #next: Int32Array;
  readonly #actions: number[] = [];
  #tried = 0;
  #bounded = 0;
  #depth = 0;
  #complete = false;
  violation: Violation | undefined;

  constructor(model: Model, limit: number) {
    this.network = new Network(model);
    this.table = new StateTable(this.network.width, limit);
    this.#row = new Int32Array(this.network.width);
    this.#next = new Int32Array(this.network.width);
  }

  run(limit: number, seed: number): void {
    try {
      this.table.add(this.network.initial(), -1, 0);
    } catch (error) {
      this.violation = { message: error instanceof Error ? error.message : String(error), trace: [] };
      return;
    }
    this.#breadthFirst(Math.ceil(limit * (1 - WALK_SHARE)));
    if (!this.#complete && this.violation === undefined) this.#walk(new SeededRandom(seed));
  }

  #breadthFirst(limit: number): void {
    const { table } = this;
    for (let state = 0; state < table.count; state++) {
      table.read(state, this.#row);
      const count = this.network.actions(this.#row, this.#actions);
      for (let at = 0; at < count; at++) {
        if (table.count >= limit) return;
        if (this.#take(state, this.#actions[at] as number) === undefined && this.violation !== undefined) return;
      }
      this.#depth = table.depth(state);
    }
    this.#complete = true;
  }

  /** Takes one action; the number of the state it leads to, or undefined. */
  #take(state: number, action: number): number | undefined {
    this.#tried++;
    try {
      const outcome = this.network.apply(this.#row, action, this.#next);
      if (outcome === "bounded") this.#bounded++;
      if (outcome !== "row") return undefined;
    } catch (error) {
      this.violation = this.#explain(state, action, error);
      return undefined;
    }
    const added = this.table.add(this.#next, state, action);
    return added < 0 ? -1 - added : added;
  }

  #walk(random: SeededRandom): void {
    const { table, network } = this;
    const starts = table.count;
    for (let idle = 0; idle < IDLE_WALKS_MAX && !table.isFull; ) {
      const before = table.count;
      let state = random.between(0, starts - 1);
      for (let step = 0; step < WALK_ACTIONS_MAX && !table.isFull; step++) {
        table.read(state, this.#row);
        const count = network.actions(this.#row, this.#actions);
        if (count === 0) break;
        const next = this.#take(state, this.#actions[random.between(0, count - 1)] as number);
        if (this.violation !== undefined) return;
        state = next ?? state;
      }
      idle = table.count > before ? 0 : idle + 1;
    }
  }

  #explain(state: number, last: number, error: unknown): Violation {
    const actions = [last];
    for (let at = state; this.table.parent(at) >= 0; at = this.table.parent(at)) actions.push(this.table.action(at));
    const message = error instanceof Error ? error.message : String(error);
    const trace = shortened(this.network, actions.reverse());
    return { message: breaks(this.network, trace) ?? message, trace: trace.map((action) => this.network.show(action)) };
  }

  result(): SearchResult {
    const { table, network } = this;
    let deepest = 0;
    for (let state = 0; state < table.count; state++) deepest = Math.max(deepest, table.depth(state));
    return {
      model: network.model.name,
      states: table.count,
      depth: this.#depth,
      deepest,
      complete: this.#complete,
      actions: this.#tried,
      bounded: this.#bounded,
      localStates: network.locals.count,
      coreSteps: network.locals.transitionCount,
      violation: this.violation,
    };
  }
}

/** What breaks when the actions are carried out from the start; undefined when nothing does, or one is not possible. */
function breaks(network: Network, actions: readonly number[]): string | undefined {
  let row = network.initial();
  for (const action of actions) {
    if (!network.isPossible(row, action)) return undefined;
    const next = new Int32Array(network.width);
    try {
      if (network.apply(row, action, next) === "bounded") return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    row = next;
  }
  return undefined;
}

/** Leaves out every action without which it breaks all the same. */
function shortened(network: Network, actions: readonly number[]): readonly number[] {
  let shortest = actions;
  for (let changed = true; changed; ) {
    changed = false;
    for (let at = shortest.length - 1; at >= 0; at--) {
      const without = shortest.filter((_, position) => position !== at);
      if (breaks(network, without) === undefined) continue;
      shortest = without;
      changed = true;
    }
  }
  return shortest;
}

/** Searches a model through at most `limit` states; `seed` is for the walks. */
export function search(model: Model, limit: number, seed = 1): SearchResult {
  const run = new Search(model, limit);
  run.run(limit, seed);
  return run.result();
}
