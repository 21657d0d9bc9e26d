/**
 * A proposal that mounts or configures an adapter is refused by a leader whose own code could not run it: a help against
 * mistakes, before anybody votes. It depends on the code of one node, so it is no rule of governance: what is in the ledger
 * counts, and who cannot run it says so (adapter-lanes.ts).
 */
import { utf8Decode } from "../../core/codec/bytes.ts";
import { readProposalPayload } from "../../core/governance/action-codec.ts";
import type { Action } from "../../core/governance/actions.ts";
import type { AdapterEntry, Constitution } from "../../core/governance/constitution.ts";
import { parseJson, readDocument } from "../../core/governance/fields.ts";
import type { SignedMessage } from "../../core/governance/proposal.ts";
import { refused } from "../../core/governance/refusal.ts";
import { parseSignedRequest } from "../../core/governance/signed-request.ts";

/** An adapter as a constitution would mount it. */
export type ProposedAdapter = Pick<AdapterEntry, "name" | "version" | "options">;

/** Why the code of this node cannot run an adapter; undefined when it can. */
export type AdapterProblem = (adapter: ProposedAdapter) => string | undefined;

/** Throws `ProposalInvalid` when a request is a proposal with an adapter that this node cannot run. The request is well formed. */
export function requireRunnable(
  { message }: SignedMessage,
  constitution: Constitution,
  problemOf: AdapterProblem,
): void {
  const { type, payload } = parseSignedRequest(message);
  if (type !== "proposal") return;
  const context = { form: "json", code: "ProposalInvalid", givesReasons: true } as const;
  const { actions } = readDocument(parseJson(utf8Decode(payload), context), context, readProposalPayload);
  actions.forEach((action, at) => {
    const proposed = adapterOf(action, constitution);
    const problem = proposed && problemOf(proposed);
    if (problem !== undefined) throw refused("AdapterNotRunnable", problem, { action: at, name: action.name });
  });
}

function adapterOf(action: Action, { adapters }: Constitution): ProposedAdapter | undefined {
  if (action.name === "mount_adapter") return action.args;
  if (action.name !== "configure_adapter") return undefined;
  const { name, options } = action.args;
  const mounted = adapters.find((adapter) => adapter.name === name);
  return mounted && { name, version: mounted.version, options };
}
