/**
 * Endpoints as data: method, path and who may ask stand in one table per family, from which requests are routed, callers
 * are judged, `GET /node/api` is answered and tests are made.
 */
import type { Actor, Constitution } from "../../core/governance/constitution.ts";
import { utf8Encode } from "../../core/codec/bytes.ts";
import { CocoError } from "../../errors.ts";
import { errorResponse, type FrontendRequest, type FrontendResponse } from "./frontend.ts";

/**
 * Who may ask: whoever signed the body, with or without a client certificate; a node that is to join, by the evidence in the
 * body; any actor of the constitution or its staff by
 * its client certificate; members or participants only.
 */
export type Asker = "signed" | "newcomer" | "actor" | Actor["role"];

/** What is said of an endpoint. */
export interface EndpointRule {
  readonly method: "GET" | "POST";
  /** Such as `/gov/members/proposals/{proposalId}:withdraw`; what stands in braces is neither empty nor has `/` or `:`. */
  readonly path: string;
  readonly who: Asker;
}

/** Takes the answer to a request, once. */
export type Respond = (response: FrontendResponse) => void;

/** A request at its endpoint, with what the braces of the path stand for. */
export interface RoutedRequest extends FrontendRequest {
  readonly parameters: Readonly<Record<string, string>>;
}

/** An endpoint with its code. */
export interface Endpoint<Parts> extends EndpointRule {
  readonly handle: (parts: Parts, request: RoutedRequest, respond: Respond) => void | Promise<void>;
}

interface Route<Parts> {
  readonly endpoint: Endpoint<Parts>;
  readonly pattern: RegExp;
}

/** Finds endpoints by method and path. */
export class Endpoints<Parts> {
  readonly #routes: readonly Route<Parts>[];

  /** @param endpoints where two match, the first counts */
  constructor(endpoints: readonly Endpoint<Parts>[]) {
    this.#routes = endpoints.map((endpoint) => ({ endpoint, pattern: patternOf(endpoint.path) }));
  }

  /** What is said of each endpoint, in order. */
  get rules(): readonly EndpointRule[] {
    return this.#routes.map(({ endpoint: { method, path, who } }) => ({ method, path, who }));
  }

  /** The endpoint and the values in its path. Throws `NotFound`, or `MethodNotAllowed` naming the methods there are. */
  find(
    method: string,
    path: string,
  ): { readonly endpoint: Endpoint<Parts>; readonly parameters: RoutedRequest["parameters"] } {
    const at = this.#routes.filter(({ pattern }) => pattern.test(path));
    const route = at.find(({ endpoint }) => endpoint.method === method);
    if (route !== undefined) {
      const { groups = {} } = route.pattern.exec(path) ?? {};
      return { endpoint: route.endpoint, parameters: { ...groups } };
    }
    if (at.length === 0) throw new CocoError("NotFound", `nothing is served at ${path.slice(0, 256)}`);
    const allow = [...new Set(at.map(({ endpoint }) => endpoint.method))].join(", ");
    throw new CocoError("MethodNotAllowed", `${path} takes ${allow}`, { allow });
  }

  /** Whether a request is judged by what is in its body alone: a signature, or the evidence of a node. */
  isSigned(method: string, path: string): boolean {
    return this.#routes.some(
      ({ endpoint, pattern }) =>
        (endpoint.who === "signed" || endpoint.who === "newcomer") && endpoint.method === method && pattern.test(path),
    );
  }

  /** Answers a request: by its endpoint if its caller may ask that, or with an error. */
  answer(parts: Parts, request: FrontendRequest, constitution: () => Constitution | undefined, respond: Respond): void {
    const fail = (error: unknown): void =>
      respond(errorResponse(error instanceof CocoError ? error : new CocoError("Internal", "the request failed")));
    try {
      const { endpoint, parameters } = this.find(request.method, request.path);
      requireAsker(endpoint, request, constitution);
      const answer = endpoint.handle(parts, { ...request, parameters }, respond);
      if (answer !== undefined) answer.catch(fail);
    } catch (error) {
      fail(error);
    }
  }
}

function patternOf(path: string): RegExp {
  const escaped = path.replaceAll(/[.*+?^$()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/:]+)")}$`);
}

function requireAsker(
  { who }: EndpointRule,
  { caller }: FrontendRequest,
  constitution: () => Constitution | undefined,
): void {
  if (who === "signed" || who === "newcomer") return;
  if (caller === undefined) throw new CocoError("AuthenticationRequired", "no client certificate");
  if (who === "actor") return;
  const actor = constitution()?.actors.find(({ id }) => id === caller.actor);
  if (actor?.role !== who) throw new CocoError("NotAuthorized", `this is for a ${who} to ask`);
}

/** An answer in JSON. */
export function json(value: unknown, status = 200): FrontendResponse {
  return { status, contentType: "application/json", body: utf8Encode(JSON.stringify(value)) };
}
