/**
 * What scripts see of the constitution: everything that members decide on, without certificates, keys and options, which
 * are long and say nothing to a script that their names do not.
 */
import type { Constitution } from "./constitution.ts";
import type { FieldTree } from "./fields.ts";
import { treeToJson } from "./fields.ts";
import { readJsonValue, type JsonValue } from "./json-value.ts";
import { votingPoliciesTree } from "./policy-codec.ts";
import { settingsTree } from "./settings.ts";
import { invariant } from "../../errors.ts";

const views = new WeakMap<Constitution, JsonValue>();

function viewTree(constitution: Constitution): FieldTree {
  const { version, network, actors, nodes, codeManifest, policies, settings, adapters } = constitution;
  return {
    version,
    network: { name: network.name, open: network.open },
    actors: actors.map(({ id, name, role, restriction }) => ({ id, name, role, restriction: restriction?.type })),
    nodes: nodes.map(({ nodeId, owner, address }) => ({ nodeId, owner, address })),
    codeManifest: codeManifest.map(({ measurement, name, version: codeVersion }) => ({
      measurement,
      name,
      version: codeVersion,
    })),
    policies: votingPoliciesTree(policies),
    settings: settingsTree(settings),
    adapters: adapters.map(({ name, version: adapterVersion, mount }) => ({ name, version: adapterVersion, mount })),
  };
}

/** A constitution as scripts see it; made once per constitution. */
export function scriptView(constitution: Constitution): JsonValue {
  const known = views.get(constitution);
  if (known !== undefined) return known;
  const view = readJsonValue(treeToJson(viewTree(constitution)), Number.POSITIVE_INFINITY);
  // However many actors and weights it has: the bounds of a call refuse a view that is too large.
  invariant(view !== undefined, "a constitution has a form in JSON");
  views.set(constitution, view);
  return view;
}
