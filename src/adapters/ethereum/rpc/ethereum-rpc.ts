/**
 * The JSON-RPC half of the adapter: a request body to an answer, to transactions for the framework, or to the leader.
 *
 * A payload is decided as a whole. If any of its calls needs pending state and this node does not lead, it goes to the
 * leader. If it contains transactions they are submitted together, and the other calls run when the outcomes are known,
 * so that they see what the transactions did. Answers stand in the order of the calls.
 */
import type { Bytes } from "../../../core/codec/bytes.ts";
import type {
  AdapterComponents,
  ClientRequest,
  ClientResponse,
  RequestResult,
  RequestViews,
  StateReader,
  SubmissionOutcome,
} from "../../adapter.ts";
import { CocoError } from "../../../errors.ts";
import type { EthereumOptions } from "../types.ts";
import { BlockCache } from "./block-cache.ts";
import { type Calls, callMethods } from "./call-methods.ts";
import { chainMethods } from "./chain-methods.ts";
import { Parameters } from "./decode.ts";
import { decodeFault, INTERNAL_FAULT, RPC_CODES, RpcError } from "./fault.ts";
import { Filters } from "./filters.ts";
import {
  type Answer,
  type Message,
  MAX_RESPONSE_BYTES,
  parsePayload,
  type Payload,
  renderFault,
  renderPayload,
} from "./json-rpc.ts";
import { logMethods } from "./log-methods.ts";
import { committedQuery, type Method, type MethodTable, type Query, type Submission } from "./method.ts";
import { nodeMethods } from "./node-methods.ts";
import { STATE_METHODS } from "./state-methods.ts";
import { REPLAY_METHODS, SUBMIT_METHODS } from "./submit-methods.ts";

/** Time after which the remaining calls of a payload are not started any more, in milliseconds. */
export const PAYLOAD_TIME_LIMIT_MS = 5000;

/** What `web3_clientVersion` answers. */
export const CLIENT_VERSION = "coco-framework/v0.1.0/ethereum";

/** What the interface is made of. */
export interface EthereumRpcParts {
  readonly options: EthereumOptions;
  /** Calls without a transaction. */
  readonly calls: Calls;
  readonly components: AdapterComponents;
  /** Transaction id `view.seqno` of a committed transaction by its hash; undefined when it is not known. */
  readonly transactionId: (hash: Bytes) => string | undefined;
}

/** A call whose parameters decoded, or the reason it fails. */
type Planned = Query | Submission | { readonly type: "failed"; readonly answer: Answer };

/** A payload ready to be answered; `plans` stand in the order of its messages. */
interface Plan {
  readonly payload: Payload;
  readonly plans: readonly Planned[];
}

/** Serves Ethereum's JSON-RPC methods from one worker. */
export class EthereumRpc {
  readonly #components: AdapterComponents;
  readonly #filters: Filters;
  readonly #blocks = new BlockCache();
  readonly #methods: ReadonlyMap<string, Method>;

  constructor(parts: EthereumRpcParts) {
    this.#components = parts.components;
    this.#filters = new Filters(parts.components);
    this.#methods = methodsOf(parts, this.#filters, this.#blocks);
  }

  /** Answers a request. Never throws for bad input: every fault is a JSON-RPC error in a response with status 200. */
  request(request: ClientRequest, views: RequestViews): RequestResult | Promise<RequestResult> {
    let payload: Payload;
    try {
      payload = parsePayload(request.body);
    } catch (error) {
      return { type: "answer", response: renderFault(this.#toFault(error)) };
    }
    const plans = payload.messages.map((message) => this.#plan(message, views));
    if (views.pending === undefined && plans.some((call) => call.type === "query" && call.pending))
      return { type: "leader" };
    const transactions = plans.flatMap((call) => (call.type === "submission" ? [call.transaction] : []));
    if (transactions.length === 0) return this.#answer({ payload, plans }, views);
    return {
      type: "submit",
      transactions,
      finish: (outcomes, later) => this.#respond({ payload, plans }, outcomes, later),
    };
  }

  /** A batch is committed: filters nobody polls are dropped. The others read what is new when they are polled. */
  committed(_state: StateReader): void {
    this.#filters.dropExpired();
  }

  /**
   * The state was replaced as a whole by a later one of the same chain. Filters stay: the next block each has to report is
   * read from the new state.
   */
  restored(): void {
    this.#blocks.clear();
  }

  #plan(message: Message, views: RequestViews): Planned {
    if (message.type === "invalid") return { type: "failed", answer: { fault: message.fault } };
    try {
      const method = this.#methods.get(message.method);
      if (method === undefined)
        throw new RpcError(RPC_CODES.methodNotFound, `the method ${message.method} does not exist/is not available`);
      const call = method(message.parameters);
      const refusal = call.type === "submission" ? call.refusal(views) : undefined;
      if (refusal !== undefined) throw refusal;
      return call;
    } catch (error) {
      return { type: "failed", answer: { fault: this.#toFault(error) } };
    }
  }

  async #answer(plan: Plan, views: RequestViews): Promise<RequestResult> {
    return { type: "answer", response: await this.#respond(plan, [], views) };
  }

  async #respond(
    { payload, plans }: Plan,
    outcomes: readonly SubmissionOutcome[],
    views: RequestViews,
  ): Promise<ClientResponse> {
    const deadlineMs = this.#components.now() + PAYLOAD_TIME_LIMIT_MS;
    const answers: Answer[] = [];
    let submitted = 0;
    let bytes = 0;
    for (const call of plans) {
      if (call.type === "failed") answers.push(call.answer);
      else if (call.type === "submission") answers.push(answerOf(call, outcomes[submitted++]));
      else {
        const answer = bytes > MAX_RESPONSE_BYTES ? RESPONSE_TOO_LARGE : await this.#run(call, views, deadlineMs);
        bytes += "result" in answer ? answer.result.length : 0;
        answers.push(bytes > MAX_RESPONSE_BYTES ? RESPONSE_TOO_LARGE : answer);
      }
    }
    return renderPayload(payload, answers);
  }

  async #run(query: Query, views: RequestViews, deadlineMs: number): Promise<Answer> {
    if (this.#components.now() >= deadlineMs) return TIMED_OUT;
    try {
      return { result: JSON.stringify(await query.run(views)) };
    } catch (error) {
      return { fault: this.#toFault(error) };
    }
  }

  /** What the client sees of an error; a fault in this program stays in the log. */
  #toFault(error: unknown): ReturnType<RpcError["toFault"]> {
    if (error instanceof RpcError) return error.toFault();
    // Messages of foreign errors may quote what they choked on.
    const cause = error instanceof CocoError ? error.message : error instanceof Error ? error.name : typeof error;
    this.#components.log(`ethereum: a call failed: ${cause}`);
    return INTERNAL_FAULT;
  }
}

const RESPONSE_TOO_LARGE: Answer = { fault: { code: RPC_CODES.responseTooLarge, message: "response too large" } };
const TIMED_OUT: Answer = { fault: { code: RPC_CODES.timeout, message: "request timed out" } };

function methodsOf(
  { options, calls, transactionId }: EthereumRpcParts,
  filters: Filters,
  blocks: BlockCache,
): ReadonlyMap<string, Method> {
  const tables: readonly MethodTable[] = [
    nodeMethods(options, CLIENT_VERSION),
    chainMethods(blocks),
    STATE_METHODS,
    callMethods(calls, options.chainId),
    logMethods(filters),
    SUBMIT_METHODS,
    options.replay ? REPLAY_METHODS : {},
    { coco_getTransactionId: transactionIdMethod(transactionId) },
  ];
  return new Map(tables.flatMap((table) => Object.entries(table)));
}

function transactionIdMethod(transactionId: EthereumRpcParts["transactionId"]): Method {
  return (values) => {
    const hash = new Parameters(values, 1).hash(0);
    return committedQuery(() => transactionId(hash) ?? null);
  };
}

/** What its sender can do about a transaction whose outcome could not be had. */
function remedyOf(call: Submission, outcome: SubmissionOutcome | undefined): string {
  const neverSent = outcome?.type === "unavailable" && outcome.code === "NoLeader";
  return neverSent ? "it was not executed, send it again" : call.remedy;
}

/** The answer to a submitted transaction. */
function answerOf(call: Submission, outcome: SubmissionOutcome | undefined): Answer {
  switch (outcome?.type) {
    case "included":
    case "waiting":
      return { result: JSON.stringify(call.result(outcome.result)) };
    case "duplicate":
      return call.duplicate === undefined
        ? { result: JSON.stringify(call.result(outcome.result)) }
        : { fault: call.duplicate.toFault() };
    case "rejected":
    case "invalid":
      return { fault: decodeFault(outcome.error) };
    default:
      return {
        fault: {
          code: RPC_CODES.internal,
          message: `request not completed: ${outcome?.code ?? "Internal"}; ${remedyOf(call, outcome)}`,
        },
      };
  }
}
