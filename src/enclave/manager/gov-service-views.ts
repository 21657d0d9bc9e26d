/** Actors, nodes and the service as JSON, in CCF's shapes with more beside them. */
import { toHex, type Bytes, type HashFunction } from "../../core/codec/bytes.ts";
import type { GovernanceState } from "../../core/governance/administrative.ts";
import { criteriaTree } from "../../core/governance/automatic-votes.ts";
import type { Actor, Constitution, NodeEntry } from "../../core/governance/constitution.ts";
import { treeToJson } from "../../core/governance/fields.ts";
import { isQuarantined } from "../../core/governance/leases.ts";
import { pemOfDer } from "../../core/governance/pem.ts";
import { policyOf } from "../../core/governance/policy.ts";
import { votingPolicyTree } from "../../core/governance/policy-codec.ts";
import { explainPolicies } from "../../core/governance/policy-words.ts";

/** A certificate of the constitution and whose it is. */
export interface ListedCertificate {
  readonly actor: Actor;
  readonly certificate: Bytes;
}

const indexes = new WeakMap<Constitution["actors"], ReadonlyMap<string, ListedCertificate>>();

/** The listed certificates by their fingerprints (hex SHA-256). */
export function certificatesByFingerprint(
  { actors }: Pick<Constitution, "actors">,
  sha256: HashFunction,
): ReadonlyMap<string, ListedCertificate> {
  let index = indexes.get(actors);
  if (index === undefined) {
    const listed = actors.flatMap((actor) =>
      actor.certificates.map((certificate) => [toHex(sha256(certificate)), { actor, certificate }] as const),
    );
    index = new Map(listed);
    indexes.set(actors, index);
  }
  return index;
}

/** The actor of this id, or with a certificate of this fingerprint, which is how CCF names members. */
export function actorNamed(constitution: Constitution, name: string, sha256: HashFunction): Actor | undefined {
  const listed = constitution.actors.find(({ id }) => id === name);
  return listed ?? certificatesByFingerprint(constitution, sha256).get(name)?.actor;
}

/** A member or participant. */
export function actorView({ constitution, automaticVotes }: GovernanceState, actor: Actor, sha256: HashFunction) {
  const { id, name, role, certificates, revocations, restriction } = actor;
  const [first] = certificates;
  const votes = automaticVotes.find(({ member }) => member === id);
  return {
    memberId: id,
    status: "Active",
    certificate: first === undefined ? null : pemOfDer(first, "CERTIFICATE"),
    recoveryRole: "NonParticipant",
    name,
    role,
    certificates: certificates.map((der) => ({ memberId: toHex(sha256(der)), pem: pemOfDer(der, "CERTIFICATE") })),
    revocations: revocations.map((der) => pemOfDer(der, "X509 CRL")),
    ...(restriction !== undefined && { restriction }),
    nodes: constitution.nodes.filter(({ owner }) => owner === id).map(({ nodeId }) => nodeId),
    ...(role === "member" && { automaticVotes: treeToJson(criteriaTree(votes?.criteria ?? [])) }),
  };
}

/**
 * A validating node: `Pending` until it has caught up, `Quarantined` when its lease has ended, `Retired` from its removal until it
 * has lost its vote.
 */
export function nodeViews(state: GovernanceState) {
  const { constitution, departing, configuration, attested } = state;
  const { current, learners } = configuration;
  const voters = new Set(current.voters);
  const listed = constitution.nodes.map((node) => {
    const isPending = !voters.has(node.nodeId) || learners.includes(node.nodeId);
    const standing = isQuarantined(state, node.nodeId) ? "Quarantined" : "Trusted";
    return nodeView(node, isPending ? "Pending" : standing, attested);
  });
  return [...listed, ...departing.map((node) => nodeView(node, "Retired", attested))];
}

function nodeView(node: NodeEntry, status: string, attested: GovernanceState["attested"]) {
  const { nodeId, owner, address, clientAddress, publicKey } = node;
  const code = attested.get(nodeId);
  return {
    nodeId,
    status,
    owner,
    nodeAddress: address,
    clientAddress,
    publicKey: pemOfDer(publicKey, "PUBLIC KEY"),
    measurement: code?.measurement ?? null,
    tee: code?.tee ?? null,
    machineKey: code?.tee === "virtual" ? code.platform : null,
  };
}

/** Every policy, as data and in words. */
export function policyViews({ policies, actors }: Constitution) {
  return explainPolicies(policies, actors).map(({ action, words }) => ({
    action: action ?? "default",
    policy: treeToJson(votingPolicyTree(action === undefined ? policies.default : policyOf(policies, action))),
    words,
  }));
}
