/**
 * Configurations as values: equality, what may follow what, and their bytes.
 *
 * Membership goes from any set of voters to any other in two steps (joint consensus, Raft thesis 4.3): from a simple
 * configuration to a joint one, in which both sets must agree, and from there to the new set alone.
 */
import { CocoError } from "../../errors.ts";
import { type ByteReader, type ByteWriter, utf8Decode, utf8Encode } from "../codec/bytes.ts";
import { MAX_VOTERS, Quorum } from "./quorum.ts";
import type { Configuration, NodeId, QuorumPolicy, VoterSet } from "./types.ts";

/** The most learners one configuration may list. */
export const MAX_LEARNERS = 64;

/** The longest id of a node in an encoded configuration, in bytes. */
export const MAX_NODE_ID_BYTES = 128;

const POLICY = { majority: 0, flexible: 1, grouped: 2 } as const;

/** Throws `ConfigurationInvalid` unless quorums intersect, nobody is listed twice, and no learner is a voter of the current set. */
export function checkConfiguration(configuration: Configuration): void {
  const { current, previous, learners } = configuration;
  new Quorum(current.voters, current.quorum);
  if (previous !== undefined) new Quorum(previous.voters, previous.quorum);
  const different = new Set([...current.voters, ...learners]).size === current.voters.length + learners.length;
  if (learners.length > MAX_LEARNERS || !different) {
    throw new CocoError(
      "ConfigurationInvalid",
      `learners must be at most ${MAX_LEARNERS} different nodes that are no voters`,
    );
  }
}

/** Whether a configuration can be used at all; see {@link checkConfiguration}. */
export function isValidConfiguration(configuration: Configuration): boolean {
  try {
    checkConfiguration(configuration);
    return true;
  } catch (error) {
    if (error instanceof CocoError && error.code === "ConfigurationInvalid") return false;
    throw error;
  }
}

/** Whether two lists name the same nodes, in any order; each list names a node once. */
export function sameNodes(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  return left.length === right.length && left.every((id) => right.includes(id));
}

function samePolicy(left: QuorumPolicy, right: QuorumPolicy): boolean {
  if (left.type === "flexible" && right.type === "flexible")
    return left.election === right.election && left.replication === right.replication;
  if (left.type === "grouped" && right.type === "grouped") {
    const { groups } = right;
    return (
      left.groups.length === groups.length && left.groups.every((group) => groups.some((one) => sameNodes(group, one)))
    );
  }
  return left.type === right.type;
}

/** Whether two sets have the same voters and quorums. */
export function sameVoterSet(left: VoterSet | undefined, right: VoterSet | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return sameNodes(left.voters, right.voters) && samePolicy(left.quorum, right.quorum);
}

/** Whether two configurations mean the same. */
export function sameConfiguration(left: Configuration, right: Configuration): boolean {
  return (
    sameVoterSet(left.current, right.current) &&
    sameVoterSet(left.previous, right.previous) &&
    sameNodes(left.learners, right.learners)
  );
}

/** Whether a leader may propose `next` while `now` is active and committed: every other step could let two quorums miss each other. */
export function isSuccessor(now: Configuration, next: Configuration): boolean {
  if (!isValidConfiguration(next)) return false;
  if (now.previous !== undefined) return next.previous === undefined && sameVoterSet(next.current, now.current);
  return sameVoterSet(next.previous ?? next.current, now.current);
}

/** Writes a configuration; ids of nodes are at most {@link MAX_NODE_ID_BYTES} long. */
export function writeConfiguration(writer: ByteWriter, configuration: Configuration): void {
  writeVoterSet(writer, configuration.current);
  writer.u8(configuration.previous === undefined ? 0 : 1);
  if (configuration.previous !== undefined) writeVoterSet(writer, configuration.previous);
  writeNodes(writer, configuration.learners);
}

function writeVoterSet(writer: ByteWriter, { voters, quorum }: VoterSet): void {
  writeNodes(writer, voters);
  writer.u8(POLICY[quorum.type]);
  if (quorum.type === "flexible") writer.u8(quorum.election).u8(quorum.replication);
  if (quorum.type !== "grouped") return;
  writer.u8(quorum.groups.length);
  for (const group of quorum.groups) {
    writer.u8(group.length);
    for (const voter of group) writer.u8(voters.indexOf(voter));
  }
}

function writeNodes(writer: ByteWriter, nodes: readonly NodeId[]): void {
  writer.u8(nodes.length);
  for (const id of nodes) {
    const bytes = utf8Encode(id);
    writer.u8(bytes.length).bytes(bytes);
  }
}

/** Reads what {@link writeConfiguration} wrote; throws `MalformedInput` or `ConfigurationInvalid`. */
export function readConfiguration(reader: ByteReader): Configuration {
  const current = readVoterSet(reader);
  const joint = reader.u8();
  if (joint > 1) throw new CocoError("MalformedInput", `flag with value ${joint}`);
  const previous = joint === 1 ? readVoterSet(reader) : undefined;
  const configuration = { current, previous, learners: readNodes(reader, MAX_LEARNERS) };
  checkConfiguration(configuration);
  return configuration;
}

function readVoterSet(reader: ByteReader): VoterSet {
  const voters = readNodes(reader, MAX_VOTERS);
  const policy = reader.u8();
  if (policy > POLICY.grouped) throw new CocoError("MalformedInput", `unknown quorum policy ${policy}`);
  if (policy === POLICY.majority) return { voters, quorum: { type: "majority" } };
  if (policy === POLICY.grouped) return { voters, quorum: { type: "grouped", groups: readGroups(reader, voters) } };
  return { voters, quorum: { type: "flexible", election: reader.u8(), replication: reader.u8() } };
}

/** Groups name voters by their place in the list: each voter is in one of them, so that there is no more of either. */
function readGroups(reader: ByteReader, voters: readonly NodeId[]): NodeId[][] {
  const groups = readCount(reader, voters.length);
  return Array.from({ length: groups }, () =>
    Array.from({ length: readCount(reader, voters.length) }, () => {
      const voter = voters[reader.u8()];
      if (voter === undefined) throw new CocoError("MalformedInput", "a group names a voter that is not listed");
      return voter;
    }),
  );
}

function readCount(reader: ByteReader, limit: number): number {
  const count = reader.u8();
  if (count > limit) throw new CocoError("MalformedInput", `${count} nodes, ${limit} allowed`);
  return count;
}

function readNodes(reader: ByteReader, limit: number): NodeId[] {
  return Array.from({ length: readCount(reader, limit) }, () => {
    const length = reader.u8();
    if (length === 0 || length > MAX_NODE_ID_BYTES) throw new CocoError("MalformedInput", "node id of a wrong length");
    return utf8Decode(reader.bytes(length));
  });
}
