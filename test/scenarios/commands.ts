/**
 * The language of the scenarios: one command a line, `#` begins a comment. docs of each command stand beside it; README.md of
 * this folder is for who writes scenarios. A line that cannot be read, or an expectation that does not hold, throws.
 */
import { strict as assert } from "node:assert/strict";
import { joint, simple } from "../exploration/core-options.ts";
import type { ConsensusMessage, NodeId, QuorumPolicy } from "../../src/core/consensus/types.ts";
import { invariant } from "../../src/errors.ts";
import { expectations } from "./expectations.ts";
import { type InFlight, type NodeOptions, World } from "./world.ts";

/** Time between two ticks while `run` lets time pass, in milliseconds. */
const RUN_STEP_MS = 10;

/** What a script has made so far. */
export interface Script {
  options: NodeOptions;
  quorum: QuorumPolicy | undefined;
  world: World | undefined;
  readonly kept: Map<string, readonly InFlight[]>;
  nextRead: number;
}

/** A script before its first line. */
export function newScript(): Script {
  return { options: {}, quorum: undefined, world: undefined, kept: new Map(), nextRead: 1 };
}

function worldOf(script: Script): World {
  invariant(script.world !== undefined, "a script begins with `nodes`");
  return script.world;
}

function linkOf(word: string | undefined): string {
  invariant(word !== undefined && /^\w+->\w+$/.test(word), `a link is written from->to, not ${word}`);
  return word;
}

function numberOf(word: string | undefined): number {
  const value = Number(word);
  invariant(word !== undefined && Number.isSafeInteger(value), `${word} is not a whole number`);
  return value;
}

/** The nodes after an arrow: `0 -> 1 2 3`. */
function afterArrow(words: readonly string[]): { readonly at: NodeId; readonly targets: readonly NodeId[] } {
  const [at, arrow, ...targets] = words;
  invariant(at !== undefined && arrow === "->", "this command is written NODE -> NODES");
  return { at, targets };
}

/** Defaults of the fields of a message written by hand. */
const MESSAGES: Readonly<Record<string, object>> = {
  append: { previousIndex: 0, previousTerm: 0, commitIndex: 0, round: 0, entries: [] },
  appendResponse: { success: true, matchIndex: 0, hintIndex: 0, hintTerm: 0, round: 0, recovering: false },
  vote: { preVote: false, transfer: false, lastIndex: 0, lastTerm: 0 },
  voteResponse: { preVote: false, granted: true },
  timeoutNow: {},
};

/** The value of a field as a script writes it. */
export function fieldValue(text: string): number | boolean {
  return text === "true" ? true : text === "false" ? false : numberOf(text);
}

function messageOf(type: string | undefined, words: readonly string[]): ConsensusMessage {
  const defaults = MESSAGES[type ?? ""];
  invariant(defaults !== undefined, `messages written by hand: ${Object.keys(MESSAGES).join(", ")}`);
  const fields = words.map((word) => word.split("=")).map(([name, value]) => [name, fieldValue(value ?? "")]);
  return { type, term: 1, ...defaults, ...Object.fromEntries(fields) } as ConsensusMessage;
}

type Command = (script: Script, words: readonly string[]) => void;

/** What sets a scenario up. */
const SETTINGS: Readonly<Record<string, Command>> = {
  /** `nodes 3`, or `nodes 5 voters 0 1 2`: makes and starts the nodes 0, 1, 2, ...; without `voters` all of them vote. */
  nodes: (script, [count, , ...voters]) => {
    const ids = Array.from({ length: numberOf(count) }, (_, at) => String(at));
    const members = simple(voters.length > 0 ? voters : ids);
    const { quorum } = script;
    const initial = quorum ? { ...members, current: { ...members.current, quorum } } : members;
    script.world = new World(ids, initial, script.options);
  },
  /** `quorum 3 2`: election and replication quorum of the first voters. */
  quorum: (script, [election, replication]) => {
    script.quorum = { type: "flexible", election: numberOf(election), replication: numberOf(replication) };
  },
  /** `groups 0+1+2 3 4`: a majority of the groups must agree, each by a majority of its own. */
  groups: (script, groups) => {
    script.quorum = { type: "grouped", groups: groups.map((group) => group.split("+")) };
  },
  /** `distrust disks`: every restarted node must first find out what it promised. */
  distrust: (script) => {
    script.options = { ...script.options, trustDisk: false };
  },
  /** `window 100`: bytes of entries kept in memory. */
  window: (script, [bytes]) => {
    script.options = { ...script.options, windowBytes: numberOf(bytes) };
  },
  /** `part 10`: bytes of one append, and of one part of a snapshot. */
  part: (script, [bytes]) => {
    script.options = { ...script.options, maxAppendBytes: numberOf(bytes) };
  },
};

/** What moves messages. */
const NETWORK: Readonly<Record<string, Command>> = {
  /** `settle`: everything on its way arrives, and what comes of it, until all is quiet. */
  settle: (script) => worldOf(script).settle(),
  /** `deliver 0->1` or `deliver`: what is on its way now on this link, or on all, arrives; answers wait. */
  deliver: (script, [link]) => {
    const world = worldOf(script);
    for (const item of world.take(link && linkOf(link))) world.deliver(item);
  },
  /** `reverse 0->1`: what is on its way on this link arrives in the opposite order. */
  reverse: (script, [link]) => {
    const world = worldOf(script);
    for (const item of world.take(linkOf(link)).reverse()) world.deliver(item);
  },
  /** `drop 0->1` or `drop`: what is on its way is lost. */
  drop: (script, [link]) => void worldOf(script).take(link && linkOf(link)),
  /** `keep 0->1 as NAME`: copies what is on its way on a link, for `replay NAME`. */
  keep: (script, [link, , name]) => {
    const items = worldOf(script).queue.filter(({ from, to }) => `${from}->${to}` === linkOf(link));
    invariant(items.length > 0, `nothing is on its way on ${link}`);
    script.kept.set(name ?? "", items);
  },
  /** `replay NAME`: what was kept arrives (again). */
  replay: (script, [name]) => {
    const items = script.kept.get(name ?? "");
    invariant(items !== undefined, `nothing was kept as ${name}`);
    for (const item of items) worldOf(script).deliver(item);
  },
  /** `hold 0->1`: messages of this link wait, also in `settle`. */
  hold: (script, [link]) => void worldOf(script).held.add(linkOf(link)),
  /** `release 0->1`: they need not wait any more. */
  release: (script, [link]) => void worldOf(script).held.delete(linkOf(link)),
  /** `cut 0 1` both ways, `cut 0->1` one way: messages are lost. */
  cut: (script, [first, second]) => {
    const world = worldOf(script);
    const links = second === undefined ? [linkOf(first)] : [`${first}->${second}`, `${second}->${first}`];
    for (const link of links) {
      world.cut.add(link);
      world.take(link);
    }
  },
  /** `isolate 0 1`: cuts every link between these nodes and the others. */
  isolate: (script, ids) => {
    const world = worldOf(script);
    for (const inside of ids)
      for (const outside of world.nodes.keys()) {
        if (!ids.includes(outside)) NETWORK["cut"]?.(script, [inside, outside]);
      }
  },
  /** `heal`: nothing is cut or held any more. */
  heal: (script) => {
    worldOf(script).cut.clear();
    worldOf(script).held.clear();
  },
  /** `send 2->0 vote term=5 lastIndex=3`: a message made by hand arrives. */
  send: (script, [link, type, ...fields]) => {
    const [from = "", to = ""] = linkOf(link).split("->");
    worldOf(script).deliver({ from, to, message: messageOf(type, fields) });
  },
  /** `channel 0 1 down`: node 0 is told about its channel to node 1. */
  channel: (script, [at = "", peer = "", state]) => {
    worldOf(script).step(at, { type: "channel", peer, up: state === "up" });
  },
};

/** What nodes do. */
const NODES: Readonly<Record<string, Command>> = {
  /** `elect 0`: 0's election timer runs out, everything settles, and it leads. */
  elect: (script, [id = ""]) => {
    const world = worldOf(script);
    world.timeout(id);
    world.settle();
    assert.equal(world.machine(id).status.role, "leader", `node ${id} was not elected`);
  },
  /** `timeout 0`: an election timeout passes, and only 0 acts upon it. */
  timeout: (script, [id = ""]) => worldOf(script).timeout(id),
  /** `tick 600` or `tick 600 1 2`: time passes in one go; all nodes, or these, look at their clocks. */
  tick: (script, [ms, ...ids]) => {
    const world = worldOf(script);
    world.nowMs += numberOf(ms);
    const ticking = ids.length > 0 ? ids : world.running.map(({ id }) => id);
    for (const id of ticking) world.step(id, { type: "tick" });
  },
  /** `run 600` or `run 600 1 2`: ordinary life; time passes in small steps, messages arrive. With nodes: only their clocks go. */
  run: (script, [ms, ...ids]) => {
    const world = worldOf(script);
    for (let passed = 0; passed < numberOf(ms); passed += RUN_STEP_MS) {
      world.nowMs += RUN_STEP_MS;
      for (const { id } of world.running) {
        if (ids.length > 0 && !ids.includes(id)) continue;
        world.step(id, { type: "tick" });
        world.settle();
      }
    }
  },
  /** `propose 0 x y`: 0 is asked to take the requests x and y. */
  propose: (script, [id = "", ...labels]) => {
    for (const label of labels) worldOf(script).act(id, (machine) => machine.propose(label));
  },
  /** `reconfigure 0 -> 1 2 3`: leader 0 begins to change the voters to these; learners that become voters are no learners. */
  reconfigure: (script, words) => {
    const { at, targets } = afterArrow(words);
    worldOf(script).act(at, (machine) => {
      const { configuration } = machine.status;
      const learners = configuration.learners.filter((id) => !targets.includes(id));
      return machine.configure(joint(configuration, targets, learners));
    });
  },
  /** `jump 0 -> 1 2`: leader 0 tries to change the voters in one step, which no leader may. */
  jump: (script, words) => {
    const { at, targets } = afterArrow(words);
    worldOf(script).act(at, (machine) => machine.configure(simple(targets)));
  },
  /** `learners 0 -> 3 4`: leader 0 changes the learners to these. */
  learners: (script, words) => {
    const { at, targets } = afterArrow(words);
    worldOf(script).act(at, (machine) => machine.configure({ ...machine.status.configuration, learners: targets }));
  },
  /** `stay joint`: leaders do not end a joint configuration by themselves. */
  stay: (script) => {
    worldOf(script).leavesJoint = false;
  },
  /** `leave 0`: leader 0 ends the joint configuration. */
  leave: (script, [id = ""]) => worldOf(script).act(id, (machine) => machine.leave()),
  /** `transfer 0 -> 2` or `transfer 0`: leader 0 hands over. */
  transfer: (script, [id = "", , to]) =>
    worldOf(script).step(id, { type: "transfer", ...(to !== undefined && { to }) }),
  /** `read 0`: a linearizable read at 0; `expect read 0: ...` is about the newest one. */
  read: (script, [id = ""]) => worldOf(script).step(id, { type: "read", id: script.nextRead++ }),
};

/** What happens to disks and processes. */
const MACHINES: Readonly<Record<string, Command>> = {
  /** `crash 1`: node 1 stops; what it had not written is lost. */
  crash: (script, ids) => {
    for (const id of ids) worldOf(script).crash(id);
  },
  /** `restart 1`: node 1 starts from its disk. */
  restart: (script, ids) => {
    for (const id of ids) worldOf(script).restart(id);
  },
  /** `disk 1 slow`: its writes wait for `persist 1`; `disk 1 fast` ends that. */
  disk: (script, [id = "", speed]) => {
    const world = worldOf(script);
    const node = world.node(id);
    if (speed === "full" || speed === "free") return world.step(id, { type: "diskFull", full: speed === "full" });
    node.slowDisk = speed === "slow";
    while (!node.slowDisk && (node.machine?.writes.length ?? 0) > 0) world.act(id, (machine) => machine.finishWrite());
  },
  /** `persist 1` or `persist 1 2`: the writes of node 1, or its first 2, become durable. */
  persist: (script, [id = "", count]) => {
    const world = worldOf(script);
    const waiting = count === undefined ? world.machine(id).writes.length : numberOf(count);
    invariant(waiting > 0, `node ${id} has nothing to write`);
    for (let done = 0; done < waiting; done++) world.act(id, (machine) => machine.finishWrite());
  },
  /** `wipe 1`: the disk of node 1, which is down, is empty. */
  wipe: (script, [id = ""]) => {
    worldOf(script).node(id).stable = { entries: [], hardState: undefined, tookPart: true };
  },
  /** `rollback 1 2`: the disk of node 1, which is down, is an older one: with the entries up to 2 and the term of that time. */
  rollback: (script, [id = "", last]) => {
    const node = worldOf(script).node(id);
    const entries = node.stable.entries.filter((entry) => entry.index <= numberOf(last));
    node.stable = { entries, hardState: { term: entries.at(-1)?.term ?? 1, votedFor: undefined }, tookPart: true };
  },
  /** `snapshot 0`: node 0 makes a snapshot of what it has applied and forgets that part of its log. */
  snapshot: (script, ids) => {
    for (const id of ids) worldOf(script).act(id, (machine) => machine.compact());
  },
  /** `resume 1`: the members decided that node 1 may take part again. */
  resume: (script, ids) => {
    for (const id of ids) worldOf(script).step(id, { type: "resume" });
  },
};

const COMMANDS: Readonly<Record<string, Command>> = {
  ...SETTINGS,
  ...NETWORK,
  ...NODES,
  ...MACHINES,
  /** `expect ...`: see expectations.ts. */
  expect: (script, words) => expectations(worldOf(script), words, script.nextRead - 1),
};

/** Runs one line of a script. */
export function runLine(script: Script, line: string): void {
  const [name = "", ...words] = (line.split("#")[0] === "" ? "" : line.replace(/(^|\s)#\s.*$/, ""))
    .split(/\s+/)
    .filter(Boolean);
  if (name === "") return;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  invariant(command !== undefined, `there is no command ${name}`);
  command(script, words);
}
