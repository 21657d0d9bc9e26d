/**
 * Rules of the constitution that span fields: what must be unique and what must be listed.
 *
 * They are pure and need no cryptography, so every reader of a constitution gets them; errors name the field.
 */
import { toHex } from "../codec/bytes.ts";
import { codeKey, teeKey } from "./manifest-entries.ts";
import type { Constitution } from "./constitution.ts";
import type { InForce } from "./manifest-entries.ts";
import { checkPolicies } from "./policy-check.ts";
import { fieldInvalid, type FieldContext } from "./fields.ts";

/** Throws when something is listed twice, refers to nobody, or is missing for a network to run. */
export function checkReferences(constitution: Constitution, context: FieldContext): void {
  checkActors(constitution, context);
  checkNodes(constitution, context);
  checkOwnership(constitution, context);
  checkManifests(constitution, context);
  checkConsensus(constitution, context);
  const { policies, actors, script, adapters, lastAdapterId } = constitution;
  const [problem] = checkPolicies(policies, actors, script);
  if (problem !== undefined) throw fieldInvalid(context, problem.field, problem.problem);
  unique(
    context,
    "adapters",
    "id",
    adapters.map((adapter) => String(adapter.id)),
  );
  unique(
    context,
    "adapters",
    "name",
    adapters.map((adapter) => adapter.name),
  );
  unique(
    context,
    "adapters",
    "mount",
    adapters.map((adapter) => adapter.mount),
  );
  if (lastAdapterId !== undefined && adapters.some(({ id }) => id > lastAdapterId))
    throw fieldInvalid(context, "lastAdapterId", "is less than an id that an adapter has");
}

function unique(context: FieldContext, list: string, field: string, values: readonly string[]): void {
  const first = new Map<string, number>();
  for (const [at, value] of values.entries()) {
    const earlier = first.get(value);
    if (earlier !== undefined)
      throw fieldInvalid(context, `${list}[${at}].${field}`, `is the same as ${list}[${earlier}].${field}`);
    first.set(value, at);
  }
}

function notEmpty(context: FieldContext, list: string, length: number): void {
  if (length === 0) throw fieldInvalid(context, list, "needs at least one entry");
}

function checkActors({ actors }: Constitution, context: FieldContext): void {
  unique(
    context,
    "actors",
    "id",
    actors.map((actor) => actor.id),
  );
  const holders = new Map<string, string>();
  for (const [at, { role, certificates, restriction }] of actors.entries()) {
    for (const [index, certificate] of certificates.entries()) {
      const path = `actors[${at}].certificates[${index}]`;
      const other = holders.get(toHex(certificate));
      if (other !== undefined) throw fieldInvalid(context, path, `is the same as ${other}`);
      holders.set(toHex(certificate), path);
    }
    if (restriction !== undefined && role === "member")
      throw fieldInvalid(context, `actors[${at}].restriction`, "is of participants only");
  }
  if (!actors.some((actor) => actor.role === "member"))
    throw fieldInvalid(context, "actors", "needs at least one with the role member");
}

function checkOwnership({ nodes, settings }: Constitution, context: FieldContext): void {
  const { nodesPerActor } = settings;
  if (nodesPerActor === 0) return;
  const owned = new Map<string, number>();
  for (const [at, { owner }] of nodes.entries()) {
    const count = (owned.get(owner) ?? 0) + 1;
    owned.set(owner, count);
    if (count > nodesPerActor)
      throw fieldInvalid(context, `nodes[${at}].owner`, `owns more than the ${nodesPerActor} nodes of one actor`);
  }
}

function checkNodes({ actors, nodes }: Constitution, context: FieldContext): void {
  notEmpty(context, "nodes", nodes.length);
  unique(
    context,
    "nodes",
    "nodeId",
    nodes.map((node) => node.nodeId),
  );
  unique(
    context,
    "nodes",
    "publicKey",
    nodes.map((node) => toHex(node.publicKey)),
  );
  unique(
    context,
    "nodes",
    "encryptionKey",
    nodes.map((node) => toHex(node.encryptionKey)),
  );
  const owners = new Set(actors.map((actor) => actor.id));
  const users = new Map<string, string>();
  for (const [at, node] of nodes.entries()) {
    if (!owners.has(node.owner))
      throw fieldInvalid(context, `nodes[${at}].owner`, `is ${node.owner}, who is not listed under actors`);
    for (const field of ["address", "clientAddress"] as const) {
      const path = `nodes[${at}].${field}`;
      const address = node[field].toLowerCase();
      const other = users.get(address);
      if (other !== undefined) throw fieldInvalid(context, path, `is the same as ${other}`);
      users.set(address, path);
    }
  }
}

/** Quorums of the wrong size may lose what was committed, so they are refused by name before any node starts. */
function checkConsensus({ nodes, settings }: Constitution, context: FieldContext): void {
  const count = nodes.length;
  if (settings.consensus === "solo" && count !== 1) {
    throw fieldInvalid(context, "settings.consensus", `solo runs on one node, and the VN list has ${count}`);
  }
  if (settings.quorum.type !== "flexible") return;
  const { election, replication } = settings.quorum;
  const majority = Math.floor(count / 2) + 1;
  if (election < majority || election > count) {
    const problem = `expected a majority of the ${count} nodes at least: ${majority} to ${count}`;
    throw fieldInvalid(context, "settings.quorum.election", problem);
  }
  if (replication > count) {
    throw fieldInvalid(context, "settings.quorum.replication", `expected 1 to ${count}, the number of nodes`);
  }
  if (election + replication <= count) {
    const problem = `election and replication must add up to more than the ${count} nodes`;
    throw fieldInvalid(context, "settings.quorum.replication", problem);
  }
}

function checkManifests({ version, codeManifest, teeManifest }: Constitution, context: FieldContext): void {
  notEmpty(context, "codeManifest", codeManifest.length);
  notEmpty(context, "teeManifest", teeManifest.length);
  unique(context, "codeManifest", "measurement", codeManifest.map(codeKey));
  unique(context, "teeManifest", "machineKey", teeManifest.map(teeKey));
  checkDates(context, "codeManifest", codeManifest);
  checkDates(context, "teeManifest", teeManifest);
  for (const [at, { approvedAt }] of codeManifest.entries()) {
    if (approvedAt !== undefined && (approvedAt < 2 || approvedAt > version)) {
      throw fieldInvalid(
        context,
        `codeManifest[${at}].approvedAt`,
        "expected a version after genesis and up to this one",
      );
    }
  }
}

function checkDates(context: FieldContext, list: string, entries: readonly InForce[]): void {
  for (const [at, { inForceFrom = 0, inForceUntil }] of entries.entries()) {
    if (inForceUntil !== undefined && inForceUntil <= inForceFrom)
      throw fieldInvalid(context, `${list}[${at}].inForceUntil`, "expected a date after inForceFrom");
  }
}
