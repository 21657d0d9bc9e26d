/**
 * The desk for nodes that want to join (R12, R14): challenges, each good for one request and a short time, and answers to
 * newcomers that are listed, run approved code and can show it. Whoever reaches the client port may ask, so everything is
 * bounded: challenges by number and age, work by a rate.
 */
import type { EvidenceCrypto } from "../../attestation/evidence.ts";
import { answerReportData, checkJoinRequest, type JoinAnswer, type JoinRequest } from "../../attestation/join.ts";
import { CHALLENGE_BYTES } from "../../attestation/report-data.ts";
import { type Bytes, bytesEqual, toHex } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { encodeConstitution } from "../../core/governance/constitution-codec.ts";
import type { Constitution, NodeTuple } from "../../core/governance/constitution.ts";
import { serviceCertificateOf } from "../../core/governance/service-chain.ts";
import { CocoError } from "../../errors.ts";
import type { Clock, Entropy, Tracer } from "../ports.ts";
import type { EvidenceMaker, TakeEvidence } from "./evidence-maker.ts";

/** Life of a challenge for a node that wants to join. */
export const JOIN_CHALLENGE_MS = 300_000;
/** Most challenges that are open; the oldest makes room. */
export const JOIN_CHALLENGES_MAX = 1_024;
/** Most requests of nodes that want to join in a row; beyond, {@link JOIN_REQUESTS_PER_SECOND}. */
export const JOIN_REQUESTS_BURST = 40;
/** Requests of nodes that want to join per second, all together; more are answered 503. */
export const JOIN_REQUESTS_PER_SECOND = 10;
/** Most newcomers for which this node's TEE is to make evidence at a time; more are answered 503. */
export const JOIN_ANSWERS_WAITING_MAX = 8;

/** What the desk is made of. */
export interface JoinDeskParts {
  readonly networkId: string;
  readonly genesis: Constitution;
  /** This node's keys. */
  readonly node: Pick<NodeTuple, "nodeId" | "publicKey" | "encryptionKey">;
  readonly committed: () => GovernanceState | undefined;
  readonly evidence: Pick<EvidenceMaker, "make">;
  readonly crypto: EvidenceCrypto;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly tracer: Tracer;
  /** The ledger's clock. */
  readonly ledgerTime: () => number;
}

/** See the module's header. */
export class JoinDesk {
  readonly #parts: JoinDeskParts;
  /** When each open challenge ends, by its hex; in the order they were given out. */
  readonly #challenges = new Map<string, number>();
  /** Ends the waiting of each newcomer whose answer the TEE still has to make evidence for. */
  readonly #waiting = new Map<NodeId, () => void>();
  #tokens = JOIN_REQUESTS_BURST;
  #countedAt: number;

  constructor(parts: JoinDeskParts) {
    this.#parts = parts;
    this.#countedAt = parts.clock.now();
  }

  /**
   * A new challenge, 32 bytes, and the network and constitution to bind evidence to. Throws `TooManyRequests` above the rate,
   * `NotReady` before this node knows the network.
   */
  challenge(): Pick<JoinRequest, "networkId" | "constitutionDigest" | "challenge"> {
    this.#count();
    const { networkId, constitutionDigest } = this.#state();
    const { clock, entropy } = this.#parts;
    const challenge = entropy.bytes(CHALLENGE_BYTES);
    const [oldest] = this.#challenges.keys();
    if (this.#challenges.size >= JOIN_CHALLENGES_MAX && oldest !== undefined) this.#challenges.delete(oldest);
    this.#challenges.set(toHex(challenge), clock.now() + JOIN_CHALLENGE_MS);
    return { networkId, constitutionDigest, challenge };
  }

  /**
   * The answer to a newcomer's request, once this node's TEE has made its evidence, or why there is none; a newer request of the
   * same newcomer takes the place of the one before. Throws a code of its own for each thing that does not hold.
   */
  join(request: JoinRequest, respond: (outcome: JoinAnswer | CocoError) => void): void {
    this.#count();
    const state = this.#state();
    this.#takeChallenge(request.challenge);
    checkJoinRequest(request, { ...state, nowMs: this.#parts.ledgerTime() }, this.#parts.crypto);
    const { nodeId } = request.node;
    if (!this.#waiting.has(nodeId) && this.#waiting.size >= JOIN_ANSWERS_WAITING_MAX)
      throw new CocoError("TooManyRequests", "too many nodes wait for this one's evidence");
    this.#parts.tracer.event("info", "node_joins", { nodeId });
    this.#answer(state, request, respond);
  }

  #answer(
    state: GovernanceState,
    { ownChallenge, node: newcomer }: JoinRequest,
    respond: (outcome: JoinAnswer | CocoError) => void,
  ): void {
    const { genesis, node, crypto } = this.#parts;
    const { networkId, constitution, constitutionDigest } = state;
    const serviceCertificate = serviceCertificateOf(state);
    if (serviceCertificate === undefined) throw new CocoError("NotReady", "the network has no service identity yet");
    const bound = { networkId, node, challenge: ownChallenge, constitutionDigest, serviceCertificate };
    const answer = {
      nodeId: node.nodeId,
      genesis: encodeConstitution(genesis),
      constitution: encodeConstitution(constitution),
      serviceCertificate,
      endorsements: state.services.toReversed().flatMap(({ endorsement }) => endorsement ?? []),
    };
    this.#wait(newcomer.nodeId, answerReportData(bound, crypto.sha256), (outcome) => {
      if (outcome instanceof CocoError) respond(outcome);
      else if (this.#isInForce(state)) respond({ ...answer, evidence: outcome });
      else respond(new CocoError("NotReady", "the constitution changed while this node's TEE made its evidence"));
    });
  }

  /** Has evidence made for a newcomer, and no more for what it asked before. */
  #wait(newcomer: NodeId, reportData: Bytes, take: TakeEvidence): void {
    this.#waiting.get(newcomer)?.();
    let isDone = false;
    const cancelMaking = this.#parts.evidence.make(reportData, (outcome) => {
      isDone = true;
      this.#waiting.delete(newcomer);
      take(outcome);
    });
    if (isDone) return;
    this.#waiting.set(newcomer, () => {
      cancelMaking();
      take(new CocoError("TooManyRequests", "the same node asked again"));
    });
  }

  /** Whether what a newcomer is to approve is still what the network lives under. */
  #isInForce({ constitutionDigest, services }: GovernanceState): boolean {
    const state = this.#parts.committed();
    if (state === undefined || !bytesEqual(state.constitutionDigest, constitutionDigest)) return false;
    return state.services.length === services.length;
  }

  #state(): GovernanceState {
    const state = this.#parts.committed();
    if (state === undefined) throw new CocoError("NotReady", "this node does not know the network's constitution yet");
    return state;
  }

  #takeChallenge(challenge: Bytes): void {
    const name = toHex(challenge);
    const endsAt = this.#challenges.get(name);
    if (endsAt === undefined)
      throw new CocoError("JoinChallengeUnknown", "the challenge was used, or not given out by this node");
    this.#challenges.delete(name);
    if (this.#parts.clock.now() >= endsAt) throw new CocoError("JoinChallengeExpired", "the challenge is too old");
  }

  #count(): void {
    const now = this.#parts.clock.now();
    const refill = ((now - this.#countedAt) / 1_000) * JOIN_REQUESTS_PER_SECOND;
    this.#tokens = Math.min(JOIN_REQUESTS_BURST, this.#tokens + refill);
    this.#countedAt = now;
    if (this.#tokens < 1) throw new CocoError("TooManyRequests", "too many nodes ask to join at a time");
    this.#tokens--;
  }
}
