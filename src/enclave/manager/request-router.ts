/**
 * The ways of requests: those of members to the leader; those of clients to the worker of the adapter mounted at their path, if
 * they may come to it, to the leader when only it can answer, and behind an index when they ask for a linearizable answer.
 */
import type { Caller, ClientResponse } from "../../adapters/adapter.ts";
import type { NodeId, Ready } from "../../core/consensus/types.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { CocoError } from "../../errors.ts";
import { CarriedRequests, type CarriedRequestsParts } from "./carried-requests.ts";
import type { Frame } from "./frames.ts";
import { type GovernanceFrame, GovernanceRequests, type GovernanceRequestsParts } from "./governance-requests.ts";
import type { OwnStanding } from "./lease-watch.ts";
import type { Leadership } from "./leadership.ts";
import type { ArrivedRequest } from "./manager-parts.ts";
import { errorClientResponse, type OpenRequest, OpenRequests, type RoutedResponse } from "./open-requests.ts";
import { ReadIndex } from "./read-index.ts";
import type { WorkerMailbox } from "./worker-mailbox.ts";

/**
 * A request that its worker gives to the leader comes back to it when this node leads. One that comes so often is answered
 * `Internal`: while a node leads its worker has no reason to give it away, and a change of leader is rare.
 */
export const REQUEST_RETURNS_MAX = 8;

/** Where requests of one adapter go. */
export interface RoutedAdapter {
  readonly mount: string;
  readonly mailbox: WorkerMailbox;
  /** This node's code cannot run it. */
  readonly isUnable: boolean;
  /** Its worker was lost, the next is not there yet. */
  readonly isRestoring: boolean;
  /** The newest committed version of its state as the manager counts; a worker may not have taken it yet. */
  committedVersion(): number;
}

/** Frames between nodes about requests and reads. */
export type RequestFrame =
  | Extract<Frame, { type: "query" | "queryResponse" | "readIndex" | "readIndexResponse" }>
  | GovernanceFrame;

/** What routing needs of the node around it. */
export interface RequestRouterParts {
  readonly now: () => number;
  /** Where ids begin: see `firstIdOf`. */
  readonly firstId: number;
  readonly adapters: ReadonlyMap<number, RoutedAdapter>;
  readonly send: (peer: NodeId, frame: Frame) => boolean;
  /** Why a request of an actor is not passed on to an adapter; `counts`: it comes from a client of this node. */
  readonly refusalOf: (actorId: string, counts: boolean) => CocoError | undefined;
  /** How this node stands with its lease. */
  readonly ownStanding: () => OwnStanding;
  /** Asks this node's consensus for an index; the answer comes to `reads.confirmed`. */
  readonly confirmRead: (id: number) => void;
  readonly governance: Pick<GovernanceRequestsParts, "sha256" | "administration" | "lead">;
  /** Requests that this node carries. */
  readonly carried: Pick<CarriedRequestsParts, "approval" | "administration" | "sealing">;
}

/** See the module's header. */
export class RequestRouter {
  readonly #parts: RequestRouterParts;
  readonly #requests: OpenRequests;
  readonly reads: ReadIndex;
  /** Members' requests. */
  readonly governance: GovernanceRequests;
  /** Those that this node carries. */
  readonly carried: CarriedRequests;
  #leadership: Leadership = { leader: undefined, term: 0, leads: false, serving: false };

  constructor(parts: RequestRouterParts) {
    this.#parts = parts;
    this.#requests = new OpenRequests(parts.now, parts.firstId);
    this.governance = new GovernanceRequests({ ...parts.governance, now: parts.now, send: parts.send });
    const { approval, administration, sealing } = parts.carried;
    const offer = (message: SignedMessage) => this.governance.offer(message);
    this.carried = new CarriedRequests({ approval, administration, sealing, now: parts.now, offer });
    this.reads = new ReadIndex({
      now: parts.now,
      firstId: parts.firstId,
      confirm: parts.confirmRead,
      askLeader: (leader, id) => parts.send(leader, { type: "readIndex", id }),
      answerPeer: (peer, id, index) => void parts.send(peer, { type: "readIndexResponse", id, index }),
    });
  }

  /** Whether an adapter is mounted at a path. */
  serves(path: string): boolean {
    return this.#adapterAt(path) !== undefined;
  }

  /** The adapter mounted at a path; `/` reaches the only adapter of a network that has one. */
  #adapterAt(path: string): number | undefined {
    const { adapters } = this.#parts;
    let found: { readonly id: number; readonly length: number } | undefined;
    for (const [id, { mount }] of adapters) {
      // One mount may lie below another: the longest counts, in whatever order they came.
      const fits = path === mount || path.startsWith(`${mount}/`);
      if (fits && mount.length > (found?.length ?? 0)) found = { id, length: mount.length };
    }
    if (found !== undefined) return found.id;
    if (path === "/" && adapters.size === 1) return [...adapters.keys()][0];
    return undefined;
  }

  /** Takes an authenticated request; answered 404 when no adapter is mounted at its path, or why it may not come to it. */
  request(request: ArrivedRequest, fromPeer: boolean, respond: (response: RoutedResponse) => void): void {
    const adapterId = this.#adapterAt(request.path);
    if (adapterId === undefined) {
      respond(errorClientResponse(new CocoError("NotFound", `nothing is served at ${request.path}`)));
      return;
    }
    const { path, body, caller, linearizable } = request;
    const standing = this.#parts.ownStanding();
    const adapter = this.#parts.adapters.get(adapterId);
    const refusal =
      (standing === "quarantined" ? quarantined() : undefined) ??
      this.#parts.refusalOf(caller.actor, !fromPeer) ??
      (adapter?.isUnable === true ? unable() : adapter?.isRestoring === true ? lost() : undefined);
    if (refusal !== undefined) {
      respond(errorClientResponse(refusal));
      return;
    }
    const open = this.#requests.open({ adapterId, path, body, caller, fromPeer, respond });
    if (open === undefined) return;
    // The leader's answer brings the quarantine with it, if there is one.
    if (linearizable === true || standing === "unsure") this.#readFirst(open);
    else this.#toWorker(open);
  }

  /** A frame of a peer about requests and reads. */
  frame(peer: NodeId, frame: RequestFrame): void {
    switch (frame.type) {
      case "query":
        if (this.#isAhead(frame.path)) return;
        this.request(frame, true, (response) =>
          this.#parts.send(peer, { type: "queryResponse", id: frame.id, response }),
        );
        return;
      case "queryResponse":
        this.#requests.answerFromLeader(frame.id, frame.response, peer);
        return;
      case "readIndex":
        this.reads.fromPeer(peer, frame.id);
        return;
      case "readIndexResponse":
        this.reads.answerOfPeer(peer, frame.id, frame.index);
        return;
      default:
        this.governance.frame(peer, frame);
    }
  }

  /** Whether a peer, which asks nobody before it has a state of the adapter, has one that is still to come here: it asks again. */
  #isAhead(path: string): boolean {
    const adapter = this.#parts.adapters.get(this.#adapterAt(path) ?? 0);
    return adapter !== undefined && !adapter.isUnable && !adapter.isRestoring && adapter.committedVersion() === 0;
  }

  #readFirst(open: OpenRequest): void {
    try {
      this.reads.read(() => {
        if (this.#requests.get(open.id) === undefined) return;
        if (this.#parts.ownStanding() === "quarantined")
          this.#requests.answer(open.id, errorClientResponse(quarantined()));
        else this.#toWorker(open, true);
      });
    } catch (error) {
      this.#requests.answer(open.id, errorClientResponse(error as CocoError));
    }
  }

  /**
   * A worker may still be at the messages that bring the state: what has one by this node's count waits there for the first version.
   * @param fresh whether the worker must have taken every committed version first
   */
  #toWorker({ adapterId, id, path, body, caller }: OpenRequest, fresh = false): void {
    const adapter = this.#parts.adapters.get(adapterId);
    const version = adapter?.committedVersion() ?? 0;
    const minVersion = fresh ? version : Math.min(version, 1);
    adapter?.mailbox.request({ id, path, body, caller, ...(minVersion > 0 && { minVersion }) });
  }

  /** Consensus has answered about reads. */
  confirmed(reads: Ready["reads"]): void {
    for (const { id, index } of reads) this.reads.confirmed(id, index);
  }

  /** Who sent a request; undefined when it is answered already. */
  callerOf(id: number): Caller | undefined {
    return this.#requests.get(id)?.caller;
  }

  /** A worker answered. */
  answer(id: number, response: ClientResponse): void {
    this.#requests.answer(id, response);
  }

  /** A worker says that only the leader can answer. */
  forLeader(id: number): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    request.forLeader = "waiting";
    const { leader, leads, serving } = this.#leadership;
    if (serving) {
      request.forLeader = "no";
      if (++request.returns > REQUEST_RETURNS_MAX)
        this.#requests.answer(id, errorClientResponse(new CocoError("Internal", "the adapter does not answer")));
      else this.#toWorker(request);
    } else if (!leads && leader !== undefined && !request.fromPeer) {
      const { path, body, caller } = request;
      if (this.#parts.send(leader, { type: "query", id, path, body, caller })) this.#requests.sent(request, leader);
    }
  }

  /** An adapter ended on this node: its requests are answered so. */
  ended(adapterId: number, why: "removed" | "unable" | "lost"): void {
    const removed = () => new CocoError("NotFound", "the adapter is not mounted any more");
    const error = why === "unable" ? unable() : why === "lost" ? lost() : removed();
    this.#requests.answerAll(adapterId, errorClientResponse(error));
  }

  /** Who leads now. */
  leadershipChanged(leadership: Leadership): void {
    const before = this.#leadership;
    this.#leadership = leadership;
    if (before.leader !== leadership.leader || before.term !== leadership.term) this.leaderLost();
    this.reads.leaderChanged(leadership.leads ? "self" : leadership.leader);
    this.governance.leadershipChanged(leadership);
    this.leaderReachable();
  }

  /** The leader cannot be reached any more: what was sent to it waits again. */
  leaderLost(): void {
    this.#requests.leaderLost();
    this.governance.leaderLost();
  }

  /** A leader can be reached: what waits for one goes to it. */
  leaderReachable(): void {
    for (const request of this.#requests.waitingForLeader()) this.forLeader(request.id);
    this.governance.leaderReachable();
    this.carried.tick();
    this.reads.tick();
  }

  /** Tries again what waits, and answers what took too long. */
  tick(): void {
    for (const [adapterId, ids] of this.#requests.expire()) this.#parts.adapters.get(adapterId)?.mailbox.forget(ids);
    this.governance.tick();
    this.leaderReachable();
  }
}

/** The error of a node whose lease has ended. */
export function quarantined(): CocoError {
  return new CocoError("NodeQuarantined", "the lease of this node has ended: nothing shows any more what it runs");
}

function lost(): CocoError {
  return new CocoError("WorkerLost", "the worker of the adapter ended, the next one begins", { retryAfterSeconds: 1 });
}

function unable(): CocoError {
  return new CocoError("AdapterUnavailable", "the code of this node cannot run the adapter");
}
