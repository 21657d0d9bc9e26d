/**
 * Where the members let a node take part again that may have forgotten what it promised: it shows what they have to sign,
 * and takes what they have signed. Judged by the constitution as the log on this disk tells it: without a leader a node does
 * not know what of it is committed, but whatever changed it carries the members' signatures.
 */
import { type Bytes, toHex } from "../../core/codec/bytes.ts";
import type { NodeId } from "../../core/consensus/types.ts";
import type { Constitution } from "../../core/governance/constitution.ts";
import type { GovernanceCrypto } from "../../core/governance/governance-crypto.ts";
import { decodeMessages } from "../../core/governance/proposal-codec.ts";
import { checkResume, RESUME_NONCE_BYTES, type ResumingNode } from "../../core/governance/resume.ts";
import type { LedgerTail } from "../../core/ledger/tail.ts";
import { CocoError } from "../../errors.ts";
import type { Tracer } from "../ports.ts";

/** What the desk needs of the node around it. */
export interface RecoveryDeskParts {
  readonly nodeId: NodeId;
  readonly networkId: string;
  readonly crypto: GovernanceCrypto;
  readonly randomBytes: (length: number) => Bytes;
  readonly tail: Pick<LedgerTail, "lastSeqno" | "lastView">;
  readonly constitution: () => Constitution;
  /** Wall clock, milliseconds since 1970: certificates are judged by it. */
  readonly now: () => number;
  /** Whether consensus waits for what only others, or the members, can tell it. */
  readonly recovering: () => boolean;
  /** Hands the members' decision to consensus. */
  readonly resume: () => void;
  readonly tracer: Tracer;
}

/** What members are shown; `waiting` undefined: there is nothing to resume. */
export interface RecoveryView {
  readonly networkId: string;
  readonly waiting: ResumingNode | undefined;
}

/** See the module's header. */
export class RecoveryDesk {
  readonly #parts: RecoveryDeskParts;
  #nonce: Bytes | undefined;

  constructor(parts: RecoveryDeskParts) {
    this.#parts = parts;
  }

  /** What the members have to sign for this node. */
  get view(): RecoveryView {
    const { networkId, recovering } = this.#parts;
    return { networkId, waiting: recovering() ? this.#node() : undefined };
  }

  #node(): ResumingNode {
    const { nodeId, tail, randomBytes } = this.#parts;
    this.#nonce ??= randomBytes(RESUME_NONCE_BYTES);
    return { nodeId, nonce: this.#nonce, view: tail.lastView, seqno: tail.lastSeqno };
  }

  /** Takes the members' resume, once. Throws `NotReady` when there is nothing to resume, `ProposalInvalid` when it does not hold. */
  take(encoded: Bytes): void {
    const { networkId, crypto, constitution, now, recovering, resume, tracer } = this.#parts;
    const signed = decodeMessages(encoded);
    if (!recovering()) throw new CocoError("NotReady", "this node is not waiting to be resumed");
    const node = this.#node();
    checkResume({ networkId, constitution: constitution() }, signed, node, { crypto, nowMs: now() });
    this.#nonce = undefined;
    tracer.event("warn", "resumed", { view: node.view, seqno: node.seqno, nonce: toHex(node.nonce) });
    resume();
  }
}
