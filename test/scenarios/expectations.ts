/** What a scenario can expect: `expect SUBJECT ...`, each explained where it stands. */
import { strict as assert } from "node:assert/strict";
import { labelOf } from "../exploration/core-options.ts";
import type { NodeId } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { scriptLog, type World } from "./world.ts";

type Expectation = (world: World, words: readonly string[], lastRead: number) => void;

const nodeOf = (word: string | undefined): NodeId => (word ?? "").replace(/:$/, "");

/** Messages on their way on a link; of a type, and with fields as told. */
function matching(world: World, [link, type, ...fields]: readonly string[]): number {
  invariant(/^\w+->\w+$/.test(link ?? ""), `a link is written from->to, not ${link}`);
  const found = world.queue.filter(({ from, to, message }) => {
    if (`${from}->${to}` !== link || (type !== undefined && message.type !== type)) return false;
    return fields.every((field) => {
      const [name = "", value] = field.split("=");
      const actual = (message as unknown as Record<string, unknown>)[name];
      return String(Array.isArray(actual) ? actual.length : actual) === value;
    });
  });
  return found.length;
}

function show(world: World): string {
  const { stringify } = JSON;
  const plain = world.queue.map(({ from, to, message }) => {
    const short = stringify(message, (_, value) => (value instanceof Uint8Array ? "..." : value));
    return `  ${from}->${to} ${short}`;
  });
  return `on the way:\n${plain.join("\n")}`;
}

const EXPECTATIONS: Readonly<Record<string, Expectation>> = {
  /** `expect leader 0`: it leads, and nobody else does in its term or a later one. */
  leader: (world, [id]) => {
    const leaders = world.running.filter(({ machine }) => machine?.status.role === "leader");
    leaders.sort((left, right) => (right.machine?.status.term ?? 0) - (left.machine?.status.term ?? 0));
    assert.equal(leaders[0]?.id, nodeOf(id));
  },
  /** `expect role 1 follower`. */
  role: (world, [id, role]) => assert.equal(world.machine(nodeOf(id)).status.role, role),
  /** `expect follows 1 0`: node 1 knows node 0 as leader; `expect follows 1 nobody`. */
  follows: (world, [id, leader]) => assert.equal(world.machine(nodeOf(id)).status.leader ?? "nobody", leader),
  /** `expect term 1 3`. */
  term: (world, [id, term]) => assert.equal(world.machine(nodeOf(id)).status.term, Number(term)),
  /** `expect commit 1 4`: the commit index. */
  commit: (world, [id, index]) => assert.equal(world.machine(nodeOf(id)).status.commitIndex, Number(index)),
  /** `expect log 1: #2 x y`: the log in memory, after its snapshot if it has one. */
  log: (world, [id, ...labels]) => assert.deepEqual(scriptLog(world.machine(nodeOf(id)).log.map(labelOf)), labels),
  /** `expect disk 1: #2 x`: the log on disk, also of a node that is down. */
  disk: (world, [id, ...labels]) => {
    const { machine, stable } = world.node(nodeOf(id));
    assert.deepEqual(scriptLog((machine?.disk ?? stable.entries).map(labelOf)), labels);
  },
  /** `expect committed 1: x y`: the requests that node 1 was told are committed; of a restarted node, since the restart. */
  committed: (world, [id, ...labels]) => {
    const requests = scriptLog(world.machine(nodeOf(id)).applied).filter((label) => !/^#|^members$/.test(label));
    assert.deepEqual(requests, labels);
  },
  /** `expect first 1 5`: index of the first entry that is not behind a snapshot. */
  first: (world, [id, index]) => assert.equal(world.machine(nodeOf(id)).status.firstIndex, Number(index)),
  /** `expect refused 0 x`: the proposal x came back from node 0. */
  refused: (world, [id, label]) => {
    assert.ok(
      world.node(nodeOf(id)).refused.some((each) => scriptLog([each])[0] === label),
      `${label} was not refused`,
    );
  },
  /** `expect read 0: 3`, `expect read 0: none` (refused) or `expect read 0: waiting`: about the newest read. */
  read: (world, [id, answer], lastRead) => {
    const { reads } = world.node(nodeOf(id));
    const actual = reads.has(lastRead) ? String(reads.get(lastRead) ?? "none") : "waiting";
    assert.equal(actual, answer);
  },
  /** `expect voters 1: 0 1 2`: the voters of the newest configuration in the log. */
  voters: (world, [id, ...voters]) => {
    assert.deepEqual([...world.machine(nodeOf(id)).status.configuration.current.voters].sort(), voters);
  },
  /** `expect joint 1`: two sets of voters are active on node 1. */
  joint: (world, [id]) => assert.ok(world.machine(nodeOf(id)).status.configuration.previous !== undefined),
  /** `expect simple 1`: one set of voters is active on node 1, and its entry is committed. */
  simple: (world, [id]) => {
    const { configuration, configurationCommitted } = world.machine(nodeOf(id)).status;
    assert.ok(configuration.previous === undefined && configurationCommitted);
  },
  /** `expect learners 1: 3`. */
  learners: (world, [id, ...learners]) => {
    assert.deepEqual([...world.machine(nodeOf(id)).status.configuration.learners].sort(), learners);
  },
  /** `expect recovering 1`: it does not take part until it knows what it promised. */
  recovering: (world, [id]) => assert.equal(world.machine(nodeOf(id)).status.recovering, true),
  /** `expect restored 1`: the opposite. */
  restored: (world, [id]) => assert.equal(world.machine(nodeOf(id)).status.recovering, false),
  /** `expect transferring 0`. */
  transferring: (world, [id]) => assert.equal(world.machine(nodeOf(id)).status.transferring, true),
  /** `expect match 0 1 3`: leader 0 knows that node 1 holds everything up to 3. */
  match: (world, [id, peer, index]) => {
    assert.equal(world.machine(nodeOf(id)).status.matchIndex.get(peer ?? ""), Number(index));
  },
  /** `expect durable 1 3`: node 1 knows that its disk holds its log up to 3. */
  durable: (world, [id, index]) => assert.equal(world.machine(nodeOf(id)).status.durableIndex, Number(index)),
  /** `expect message 0->1 append entries=1`: one like this is on its way. A list is given by its length. */
  message: (world, words) => assert.ok(matching(world, words) > 0, show(world)),
  /** `expect stopped 1 LedgerForked`: the node stopped with this error. */
  stopped: (world, [id, code]) => {
    const node = world.node(nodeOf(id));
    assert.equal(node.stoppedBy, code);
    node.stoppedBy = undefined;
  },
};

const NEGATIONS: Readonly<Record<string, Expectation>> = {
  /** `expect no leader`. */
  leader: (world) => {
    const leaders = world.running.filter(({ machine }) => machine?.status.role === "leader");
    assert.deepEqual(
      leaders.map(({ id }) => id),
      [],
    );
  },
  /** `expect no message 0->1 append`. */
  message: (world, words) => assert.equal(matching(world, words), 0, show(world)),
};

/** Checks one expectation; `lastRead` is the number of the newest read. */
export function expectations(world: World, words: readonly string[], lastRead: number): void {
  const negated = words[0] === "no";
  const [subject = "", ...rest] = negated ? words.slice(1) : words;
  const table = negated ? NEGATIONS : EXPECTATIONS;
  const expectation = Object.hasOwn(table, subject) ? table[subject] : undefined;
  invariant(expectation !== undefined, `there is no expectation ${words.join(" ")}`);
  expectation(world, rest, lastRead);
}
