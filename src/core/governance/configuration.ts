/**
 * Membership on its way (R9, R15): the voters of consensus follow the VN list of the constitution in steps of joint
 * consensus (Raft thesis 4.3). A vote changes the constitution; then the leader appends the steps, and every validating
 * node takes none but the next one.
 */
import { Quorum } from "../consensus/quorum.ts";
import type { NodeId, QuorumPolicy } from "../consensus/types.ts";
import { CocoError } from "../../errors.ts";
import { MAX_NODES, type Constitution } from "./constitution.ts";
import type { FieldReader, FieldTree } from "./fields.ts";
import { fromHex, toHex } from "../codec/bytes.ts";
import { refused } from "./refusal.ts";

/** The nodes that take part in consensus. */
export interface NodeConfiguration {
  /** Voters. */
  readonly current: readonly NodeId[];
  /** While membership changes: the voters before, whose quorum counts too. */
  readonly previous: readonly NodeId[] | undefined;
  /** Nodes that receive the log and decide nothing: newcomers that catch up. */
  readonly learners: readonly NodeId[];
}

/** The ids of a constitution's validating nodes, in the order of its VN list. */
export function listedNodes({ nodes }: Pick<Constitution, "nodes">): readonly NodeId[] {
  return nodes.map(({ nodeId }) => nodeId);
}

/** The configuration a network begins with: every listed node votes. */
export function genesisConfiguration(constitution: Constitution): NodeConfiguration {
  return { current: listedNodes(constitution), previous: undefined, learners: [] };
}

/** Whether two lists hold the same nodes, in whatever order. */
export function sameNodes(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  return left.length === right.length && left.every((node) => right.includes(node));
}

function sameList(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  return left.length === right.length && left.every((node, at) => right[at] === node);
}

/** Whether the voters are those of the VN list, and no change is under way. */
export function isSettled({ current, previous, learners }: NodeConfiguration, constitution: Constitution): boolean {
  return previous === undefined && learners.length === 0 && sameNodes(current, listedNodes(constitution));
}

/** Whether every voter stands in the VN list: nobody who was voted out still decides. */
export function allVotersListed({ current, previous }: NodeConfiguration, constitution: Constitution): boolean {
  const listed = new Set(listedNodes(constitution));
  return [...current, ...(previous ?? [])].every((node) => listed.has(node));
}

/** Listed nodes that are neither voters nor were before. */
export function newcomers({ current }: NodeConfiguration, constitution: Constitution): readonly NodeId[] {
  return listedNodes(constitution).filter((node) => !current.includes(node));
}

/** The joint configuration between the voters now and the VN list. */
export function jointConfiguration({ current }: NodeConfiguration, constitution: Constitution): NodeConfiguration {
  return { current: listedNodes(constitution), previous: current, learners: [] };
}

/**
 * Throws `ProposalInvalid` unless `next` is a step from `configuration` towards the VN list of the constitution: other
 * learners, or the joint configuration, or out of the joint configuration.
 */
export function checkNextConfiguration(
  configuration: NodeConfiguration,
  next: NodeConfiguration,
  constitution: Constitution,
): void {
  if (!isNextStep(configuration, next, constitution)) {
    throw refused("NotTheNextConfiguration", "the configuration is not the next step towards the VN list");
  }
  checkQuorumFits(next, constitution.settings.quorum);
}

function isNextStep(configuration: NodeConfiguration, next: NodeConfiguration, constitution: Constitution): boolean {
  if (configuration.previous !== undefined) {
    // Whatever was voted meanwhile: a joint configuration ends in its own new set first.
    const leaves = next.previous === undefined && sameList(next.current, configuration.current);
    return leaves && next.learners.length === 0;
  }
  if (next.previous === undefined) {
    const { current, learners } = next;
    return (
      sameList(current, configuration.current) &&
      new Set(learners).size === learners.length &&
      !sameNodes(learners, configuration.learners) &&
      learners.every((node) => newcomers(configuration, constitution).includes(node))
    );
  }
  return (
    sameList(next.previous, configuration.current) &&
    sameList(next.current, listedNodes(constitution)) &&
    !sameNodes(next.current, next.previous) &&
    next.learners.length === 0
  );
}

function checkQuorumFits({ current, previous }: NodeConfiguration, policy: QuorumPolicy): void {
  try {
    for (const voters of previous === undefined ? [current] : [current, previous]) new Quorum(voters, policy);
  } catch (error) {
    if (!(error instanceof CocoError)) throw error;
    throw refused("QuorumDoesNotFit", error.message);
  }
}

function readNodes(fields: FieldReader, name: string): readonly NodeId[] {
  return fields.values(name, MAX_NODES).map((node) => {
    if (!(node instanceof Uint8Array) || node.length !== 32)
      throw fields.invalid(name, "expected node ids of 32 bytes");
    return toHex(node);
  });
}

/** Reads the fields of a configuration. */
export function readConfiguration(fields: FieldReader): NodeConfiguration {
  return {
    current: readNodes(fields, "current"),
    previous: fields.has("previous") ? readNodes(fields, "previous") : undefined,
    learners: readNodes(fields, "learners"),
  };
}

/** The tree form of a configuration. */
export function configurationTree(configuration: NodeConfiguration): {
  readonly [name: string]: FieldTree | undefined;
} {
  const { current, previous, learners } = configuration;
  return { current: current.map(fromHex), previous: previous?.map(fromHex), learners: learners.map(fromHex) };
}
