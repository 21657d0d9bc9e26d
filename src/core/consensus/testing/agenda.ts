/** Simulated time: what is to happen when, and which links between nodes are cut. */
import type { NodeId } from "../types.ts";

/** Actions by the millisecond in which they are due. */
export class Agenda {
  nowMs = 0;
  readonly #due = new Map<number, (() => void)[]>();

  /** Has something done after a delay of at least a millisecond. */
  later(delayMs: number, action: () => void): void {
    const atMs = this.nowMs + Math.max(1, delayMs);
    const due = this.#due.get(atMs);
    if (due === undefined) this.#due.set(atMs, [action]);
    else due.push(action);
  }

  /** Does what is due now. */
  perform(): void {
    const due = this.#due.get(this.nowMs);
    this.#due.delete(this.nowMs);
    for (const action of due ?? []) action();
  }
}

/** Links that are cut, in both directions. */
export class CutLinks {
  readonly #cut = new Set<string>();

  /** Whether nothing comes from one node to the other. */
  has(from: NodeId, to: NodeId): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  /** Cuts the link between two nodes. */
  add(left: NodeId, right: NodeId): void {
    this.#cut.add(`${left}>${right}`).add(`${right}>${left}`);
  }

  /** Mends all and returns what was cut, each direction by itself. */
  clear(): readonly (readonly [from: NodeId, to: NodeId])[] {
    const links = [...this.#cut].map((link) => link.split(">") as [NodeId, NodeId]);
    this.#cut.clear();
    return links;
  }
}
