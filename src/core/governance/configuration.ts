/**
 * Membership on its way (R9, R15): the voters of consensus follow the VN list of the constitution in steps of joint
 * consensus (Raft thesis 4.3). A vote changes the constitution; then the leader appends the steps, and every validating
 * node takes none but the next one.
 */
import { sameNodes, sameVoterSet } from "../consensus/configuration.ts";
import { MAJORITY, MAX_VOTERS, Quorum } from "../consensus/quorum.ts";
import type { Configuration, NodeId, QuorumPolicy, VoterSet } from "../consensus/types.ts";
import { CocoError } from "../../errors.ts";
import { MAX_NODES, type Constitution } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import { fromHex, toHex } from "../codec/bytes.ts";
import { refused } from "./refusal.ts";

const QUORUM_BOUNDS = { min: 1, max: MAX_VOTERS };

/** The ids of a constitution's validating nodes, in the order of its VN list. */
export function listedNodes({ nodes }: Pick<Constitution, "nodes">): readonly NodeId[] {
  return nodes.map(({ nodeId }) => nodeId);
}

/**
 * The voters that a constitution wants, with the quorum that its settings name for them. One node is a majority of itself,
 * whatever the settings say: consensus of one knows no other configuration.
 */
export function voterSetOf(constitution: Constitution): VoterSet {
  const { nodes, settings } = constitution;
  const voters = listedNodes(constitution);
  if (settings.consensus === "solo") return { voters, quorum: MAJORITY };
  if (settings.quorum.type !== "perActor") return { voters, quorum: settings.quorum };
  const groups = new Map<string, NodeId[]>();
  for (const { owner, nodeId } of nodes) groups.set(owner, [...(groups.get(owner) ?? []), nodeId]);
  return { voters, quorum: { type: "grouped", groups: [...groups.values()] } };
}

/** The configuration a network begins with: every listed node votes. */
export function genesisConfiguration(constitution: Constitution): Configuration {
  return { current: voterSetOf(constitution), previous: undefined, learners: [] };
}

/** Whether the voters and their quorum are those the constitution wants, and no change is under way. */
export function isSettled({ current, previous, learners }: Configuration, constitution: Constitution): boolean {
  return previous === undefined && learners.length === 0 && sameVoterSet(current, voterSetOf(constitution));
}

/** Every voter of the sets that count now; one that stands in both is named twice. */
export function votersOf({ current, previous }: Configuration): readonly NodeId[] {
  return [...current.voters, ...(previous?.voters ?? [])];
}

/** Whether every voter stands in the VN list: nobody who was voted out still decides. */
export function allVotersListed(configuration: Configuration, constitution: Constitution): boolean {
  const listed = new Set(listedNodes(constitution));
  return votersOf(configuration).every((node) => listed.has(node));
}

/** Listed nodes that are neither voters nor were before. */
export function newcomers({ current }: Configuration, constitution: Constitution): readonly NodeId[] {
  return listedNodes(constitution).filter((node) => !current.voters.includes(node));
}

/** The joint configuration between the voters now and those the constitution wants. */
export function jointConfiguration({ current }: Configuration, constitution: Constitution): Configuration {
  return { current: voterSetOf(constitution), previous: current, learners: [] };
}

/**
 * Throws `ProposalInvalid` unless `next` is a step from `configuration` towards the VN list of the constitution: other
 * learners, or the joint configuration, or out of the joint configuration.
 */
export function checkNextConfiguration(
  configuration: Configuration,
  next: Configuration,
  constitution: Constitution,
): void {
  if (!isNextStep(configuration, next, constitution)) {
    throw refused(
      "NotTheNextConfiguration",
      "the configuration is not the next step towards the VN list and its quorum",
    );
  }
  checkQuorumFits(next);
}

/** Whether a set is the other one, its voters in the same order: a step has one form. */
function isWritten(set: VoterSet, other: VoterSet): boolean {
  return sameVoterSet(set, other) && set.voters.every((voter, at) => other.voters[at] === voter);
}

function isNextStep(configuration: Configuration, next: Configuration, constitution: Constitution): boolean {
  if (configuration.previous !== undefined) {
    // Whatever was voted meanwhile: a joint configuration ends in its own new set first.
    const leaves = next.previous === undefined && isWritten(next.current, configuration.current);
    return leaves && next.learners.length === 0;
  }
  if (next.previous === undefined) {
    const { current, learners } = next;
    return (
      isWritten(current, configuration.current) &&
      new Set(learners).size === learners.length &&
      !sameNodes(learners, configuration.learners) &&
      learners.every((node) => newcomers(configuration, constitution).includes(node))
    );
  }
  return (
    isWritten(next.previous, configuration.current) &&
    isWritten(next.current, voterSetOf(constitution)) &&
    !sameVoterSet(next.current, next.previous) &&
    next.learners.length === 0
  );
}

function checkQuorumFits({ current, previous }: Configuration): void {
  try {
    for (const set of previous === undefined ? [current] : [current, previous]) new Quorum(set.voters, set.quorum);
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    throw refused("QuorumDoesNotFit", error.message);
  }
}

function nodeOf(value: unknown, fields: FieldReader, name: string): NodeId {
  if (!(value instanceof Uint8Array) || value.length !== 32)
    throw fields.invalid(name, "expected node ids of 32 bytes");
  return toHex(value);
}

/** Reads a list of node ids. */
export function readNodes(fields: FieldReader, name: string): readonly NodeId[] {
  return fields.values(name, MAX_NODES).map((node) => nodeOf(node, fields, name));
}

function readGroups(fields: FieldReader): readonly (readonly NodeId[])[] {
  return fields.values("groups", MAX_NODES).map((group) => {
    if (!Array.isArray(group) || group.length > MAX_NODES)
      throw fields.invalid("groups", `expected lists of at most ${MAX_NODES} node ids`);
    return group.map((node: unknown) => nodeOf(node, fields, "groups"));
  });
}

function readQuorum(fields: FieldReader): QuorumPolicy {
  const type = fields.choice("type", ["majority", "flexible", "grouped"]);
  if (type === "majority") return { type };
  if (type === "grouped") return { type, groups: readGroups(fields) };
  return {
    type,
    election: fields.integer("election", QUORUM_BOUNDS),
    replication: fields.integer("replication", QUORUM_BOUNDS),
  };
}

function readVoterSet(fields: FieldReader): VoterSet {
  return { voters: readNodes(fields, "voters"), quorum: fields.record("quorum", readQuorum) };
}

/** Reads the fields of a configuration. */
export function readConfiguration(fields: FieldReader): Configuration {
  return {
    current: fields.record("current", readVoterSet),
    previous: fields.has("previous") ? fields.record("previous", readVoterSet) : undefined,
    learners: readNodes(fields, "learners"),
  };
}

function quorumTree(quorum: QuorumPolicy): FieldTree {
  const { type } = quorum;
  if (type === "majority") return { type };
  if (type === "grouped") return { type, groups: quorum.groups.map((group) => group.map(fromHex)) };
  return { type, election: quorum.election, replication: quorum.replication };
}

function voterSetTree({ voters, quorum }: VoterSet): FieldTree {
  return { voters: voters.map(fromHex), quorum: quorumTree(quorum) };
}

/** The tree form of a configuration. */
export function configurationTree({ current, previous, learners }: Configuration): {
  readonly [name: string]: FieldTree | undefined;
} {
  return {
    current: voterSetTree(current),
    previous: previous && voterSetTree(previous),
    learners: learners.map(fromHex),
  };
}
