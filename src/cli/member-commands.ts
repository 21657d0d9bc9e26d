/** `coco member`: what an organisation does in the network's governance, and with its keys. */
import { type Command, Option } from "commander";
import { PROPOSAL_STATES } from "../core/governance/proposal.ts";
import { collect, wholeNumber } from "./arguments.ts";
import { addConnectionOptions, addSigningOptions, withEnvironment } from "./connection-options.ts";
import { addKeyCommands } from "./member-keys.ts";
import type { ResumeOptions } from "./member-resume.ts";
import type { StatusOptions } from "./member-status.ts";
import type { WatchOptions } from "./member-watch.ts";
import type { CommandContext } from "./output.ts";
import { addProposeCommand, addVoteCommands } from "./proposal-commands.ts";

const HELP = `
A node is named by --url and --service-cert, you are by --cert and --key; the environment variables COCO_URL,
COCO_SERVICE_CERT, COCO_CERT and COCO_KEY save typing them.`;

const STATUS_HELP = `
Examples:
  coco member status                     all proposals the network remembers
  coco member status --state open        those that can be voted on
  coco member status 3f9a0c21            one of them: its effect, its votes, who is missing
  coco member status 3f9a0c21 --wait 60  wait until it is decided: ends with 0 when it is in effect, else with 6; 7: not yet`;

const WATCH_HELP = `
Examples:
  coco member watch
  coco member watch --json | jq .type
  coco member watch --count 1            end after the next event

Ctrl-C ends it, with exit code 0. After a lost connection it goes on behind the event it saw last.`;

const RESUME_HELP = `
Examples:
  coco member resume --node-url https://node0:8443 --node-url https://node1:8443 --out acme-resume.cose
  coco member resume --node-url https://node0:8443 --node-url https://node1:8443 --signed acme-resume.cose \\
    --signed globex-resume.cose --send

Name all nodes that are to go on, each time the same ones. Whoever signs takes it upon them that nothing committed is missing
on these nodes together. As many members must sign as for replacing a node. A node that recovers shows its own certificate:
what counts is that its key is the one its node id is the SHA-256 of, which is checked here; compare the node ids with the
constitution.`;

function addStatusCommand(member: Command, context: CommandContext): void {
  const states = PROPOSAL_STATES.map((state) => state.toLowerCase());
  const command = member
    .command("status")
    .description("proposals and how their votes stand")
    .argument("[id]", "id of one proposal, or its first digits")
    .addOption(new Option("--state <state>", "only those in this state").choices(states))
    .option("--wait <seconds>", "wait until the proposal is decided, so long at most", wholeNumber(1, 999_999));
  addConnectionOptions(command)
    .addHelpText("after", STATUS_HELP)
    .action(async (id: string | undefined, options: StatusOptions) =>
      (await import("./member-status.ts")).status(context, id, withEnvironment(options)),
    );
}

function addWatchCommand(member: Command, context: CommandContext): void {
  const command = member
    .command("watch")
    .description("follow proposals and votes as they happen")
    .option("--count <number>", "end after so many events", wholeNumber(1, 999_999_999));
  addConnectionOptions(command)
    .addHelpText("after", WATCH_HELP)
    .action(async (options: WatchOptions) =>
      (await import("./member-watch.ts")).watch(context, withEnvironment(options)),
    );
}

function addResumeCommand(member: Command, context: CommandContext): void {
  const command = member
    .command("resume")
    .description("let nodes go on that may have forgotten what they promised")
    .requiredOption("--node-url <url>", "https://host:port of a node that recovers; repeatable", collect, [])
    .option("--signed <file>", "a member's signed resume; repeatable", collect, [])
    .option("--send", "send what is signed to the nodes")
    .option("-y, --yes", "do not ask before signing");
  addSigningOptions(command)
    .addHelpText("after", RESUME_HELP)
    .action(async (options: ResumeOptions) =>
      (await import("./member-resume.ts")).resume(context, withEnvironment(options)),
    );
}

/** Adds `coco member`. */
export function addMemberCommands(program: Command, context: CommandContext): void {
  const member = program
    .command("member")
    .description("governing a network, and keys for it")
    .addHelpText("after", HELP);
  addKeyCommands(member, context);
  addProposeCommand(member, context);
  addVoteCommands(member, context);
  addStatusCommand(member, context);
  addWatchCommand(member, context);
  addResumeCommand(member, context);
}
