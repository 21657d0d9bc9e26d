/**
 * Members' signed requests on their way into the ledger, from whichever node they reach. Each waits for a leader, goes to
 * it, goes again to the next one, and is answered when this node has applied the batch that holds it: whoever has the
 * answer reads the outcome here. That a leader has it already is no refusal: the request shows in the ledger.
 *
 * A request is known by its key, so that one that comes by several ways is one request.
 */
import type { HashFunction } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { decodeAdministrative } from "../../core/governance/administrative-codec.ts";
import { holdsRequest, requestKey } from "../../core/governance/held-requests.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import type { ParsedBatch } from "../../core/ledger/batch-format.ts";
import { CocoError } from "../../errors.ts";
import type { Administration } from "./administration.ts";
import type { Frame } from "./frames.ts";
import type { RequestOutcome } from "./leader-duties.ts";
import type { Leadership } from "./leadership.ts";
import { LEADER_WAIT_MS, OPEN_REQUEST_TIMEOUT_MS, QUERY_RESEND_AFTER_MS } from "./open-requests.ts";

/** Most clients of one node that wait for their governance requests; the next one is answered 503. */
export const GOVERNANCE_REQUESTS_MAX = 64;

/** What became of a request: `transactionId` undefined when a snapshot brought it. */
export type GovernanceAnswer =
  | { readonly type: "committed"; readonly transactionId: string | undefined }
  | { readonly type: "refused"; readonly error: CocoError };

type Done = (answer: GovernanceAnswer) => void;

interface OpenGovernance {
  readonly key: string;
  readonly message: SignedMessage;
  readonly since: number;
  readonly waiting: Done[];
  sentTo: NodeId | "self" | undefined;
  resendAt: number;
  resendAfterMs: number;
}

/** What it needs of the node around it. */
export interface GovernanceRequestsParts {
  readonly now: () => number;
  readonly sha256: HashFunction;
  readonly administration: Pick<Administration, "appended" | "committed">;
  /** Submits a request on this node, which leads; throws why it does not hold. */
  readonly lead: (message: SignedMessage, done: (outcome: RequestOutcome) => void) => void;
  readonly send: (peer: NodeId, frame: Frame) => boolean;
}

/** Frames between nodes about members' requests. */
export type GovernanceFrame = Extract<Frame, { type: "govern" | "governRefused" }>;

/** See the module's header. */
export class GovernanceRequests {
  readonly #parts: GovernanceRequestsParts;
  readonly #open = new Map<string, OpenGovernance>();
  /** Requests this node has taken as the leader, and the nodes that sent them: `self` is this one. */
  readonly #led = new Map<string, Set<NodeId | "self">>();
  #leadership: Leadership = { leader: undefined, term: 0, leads: false, serving: false };

  constructor(parts: GovernanceRequestsParts) {
    this.#parts = parts;
  }

  /** Clients that wait. */
  get waiting(): number {
    return [...this.#open.values()].reduce((total, { waiting }) => total + waiting.length, 0);
  }

  /** Takes a client's request; `done` is called once, perhaps at once. */
  submit(message: SignedMessage, done: Done): void {
    try {
      if (this.waiting >= GOVERNANCE_REQUESTS_MAX)
        throw new CocoError("TooManyRequests", "too many governance requests under way");
      const key = requestKey(message.message, this.#parts.sha256);
      const known = this.#open.get(key);
      if (known !== undefined) {
        known.waiting.push(done);
        return;
      }
      if (holds(this.#parts.administration.committed, message, this.#parts.sha256)) {
        // It came before, and whoever sent it did not hear: no batch will bring it again.
        done({ type: "committed", transactionId: undefined });
        return;
      }
      const since = this.#parts.now();
      const open = { key, message, since, waiting: [done], sentTo: undefined, resendAt: 0, resendAfterMs: 0 };
      this.#open.set(key, open);
      this.#forward(open);
    } catch (error) {
      if (!(error instanceof CocoError)) throw error;
      done({ type: "refused", error });
    }
  }

  /** A frame of a peer. */
  frame(peer: NodeId, frame: GovernanceFrame): void {
    if (frame.type === "governRefused") {
      const open = this.#open.get(frame.key);
      // Who does not lead any more knows too little to refuse.
      if (open?.sentTo === peer) this.#answer(open, { type: "refused", error: frame.error });
      return;
    }
    // A node that does not lead says nothing: whoever sent it will hear of the leader.
    if (this.#leadership.serving) this.#lead({ message: frame.message, chain: frame.chain }, peer);
  }

  /** Brings a request to whoever leads now, if there is one; what becomes of it shows in the ledger, and nobody waits for that. */
  offer(message: SignedMessage): boolean {
    const to = this.#toLeader(message);
    if (to === "self") this.#lead(message, "self");
    return to !== undefined;
  }

  /** Where a request was sent: a leader that can be reached, or this node, which then has to lead it. */
  #toLeader({ message, chain }: SignedMessage): NodeId | "self" | undefined {
    const { leader, leads, serving } = this.#leadership;
    if (serving) return "self";
    const isSent = !leads && leader !== undefined && this.#parts.send(leader, { type: "govern", message, chain });
    return isSent ? leader : undefined;
  }

  #forward(open: OpenGovernance): void {
    const to = this.#toLeader(open.message);
    if (to === undefined) return;
    open.resendAfterMs = open.sentTo === to ? 2 * open.resendAfterMs : QUERY_RESEND_AFTER_MS;
    open.resendAt = this.#parts.now() + open.resendAfterMs;
    open.sentTo = to;
    if (to === "self") this.#lead(open.message, "self");
  }

  #lead(message: SignedMessage, from: NodeId | "self"): void {
    const { sha256, administration } = this.#parts;
    const key = requestKey(message.message, sha256);
    const known = this.#led.get(key);
    if (known !== undefined) {
      known.add(from);
      return;
    }
    // What is in the log is answered when it is committed.
    if (holds(administration.appended, message, sha256)) return;
    this.#led.set(key, new Set([from]));
    try {
      this.#parts.lead(message, (outcome) => {
        if (outcome.type === "refused") this.#refuse(key, outcome.error);
        else this.#led.delete(key);
      });
    } catch (error) {
      if (!(error instanceof CocoError) || error.code === "Internal") throw error;
      this.#refuse(key, error);
    }
  }

  #refuse(key: string, error: CocoError): void {
    const askers = this.#led.get(key) ?? new Set();
    this.#led.delete(key);
    for (const asker of askers) {
      if (asker !== "self") this.#parts.send(asker, { type: "governRefused", key, error });
      else this.#answerKey(key, { type: "refused", error });
    }
  }

  #answerKey(key: string, answer: GovernanceAnswer): void {
    const open = this.#open.get(key);
    if (open !== undefined) this.#answer(open, answer);
  }

  #answer(open: OpenGovernance, answer: GovernanceAnswer): void {
    this.#open.delete(open.key);
    for (const done of open.waiting) done(answer);
  }

  /** A batch is committed and applied here. */
  committed(batch: ParsedBatch): void {
    const { header } = batch;
    if (this.#open.size === 0 || header.kind !== "administrative") return;
    for (const [at, { publicPart }] of batch.transactions.entries()) {
      const transaction = decodeAdministrative(publicPart);
      if (transaction.type !== "request") continue;
      const key = requestKey(transaction.message, this.#parts.sha256);
      this.#answerKey(key, { type: "committed", transactionId: `${header.view}.${header.firstSeqno + at}` });
    }
  }

  /** A snapshot took the place of batches this node did not see. */
  restored(): void {
    const { administration, sha256 } = this.#parts;
    for (const open of [...this.#open.values()])
      if (holds(administration.committed, open.message, sha256))
        this.#answer(open, { type: "committed", transactionId: undefined });
  }

  /** Who leads now. */
  leadershipChanged(leadership: Leadership): void {
    const before = this.#leadership;
    this.#leadership = leadership;
    if (before.leader !== leadership.leader || before.term !== leadership.term || before.serving !== leadership.serving)
      this.leaderLost();
    this.leaderReachable();
  }

  /** What was sent to the leader waits again. */
  leaderLost(): void {
    for (const open of this.#open.values()) open.sentTo = undefined;
  }

  /** A leader can be reached: what waits for one, or for its answer too long, goes to it. */
  leaderReachable(): void {
    const now = this.#parts.now();
    for (const open of [...this.#open.values()])
      if (open.sentTo === undefined || open.resendAt <= now) this.#forward(open);
  }

  /** Answers what took too long; it may still come into the ledger. */
  tick(): void {
    const now = this.#parts.now();
    for (const open of [...this.#open.values()]) {
      const age = now - open.since;
      const noLeader = open.sentTo === undefined && age > LEADER_WAIT_MS;
      if (age <= OPEN_REQUEST_TIMEOUT_MS && !noLeader) continue;
      const error = noLeader
        ? new CocoError("NoLeader", "no leader answers")
        : new CocoError("RequestTimeout", "no answer in time");
      this.#answer(open, { type: "refused", error });
    }
  }
}

function holds(state: GovernanceState | undefined, { message }: SignedMessage, sha256: HashFunction): boolean {
  return state !== undefined && holdsRequest(state, message, sha256);
}
