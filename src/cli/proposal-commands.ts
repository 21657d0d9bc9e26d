/** `coco member propose`, `vote` and what else is signed about proposals: names, options and help. */
import { Argument, type Command } from "commander";
import type { Vote } from "../core/governance/policy.ts";
import { collectNamed } from "./arguments.ts";
import {
  addConnectionOptions,
  addSigningOptions,
  type ConnectionOptions,
  withEnvironment,
} from "./connection-options.ts";
import type { ProposeOptions } from "./member-propose.ts";
import type { FinishOptions, VoteOptions } from "./member-vote.ts";
import type { CommandContext } from "./output.ts";

const PROPOSE_HELP = `
Examples:
  coco member propose --action open_epoch
  coco member propose --action add_member --arg id=initech --arg name="Initech Ltd" \\
    --arg 'certificates=["@initech_cert.pem"]' --description "Initech joins"
  coco member propose change.json --dry-run
  coco member propose change.json --prepare request.json      sign it elsewhere: see coco member finish --help

A file holds {"actions": [{"name", "args"}, ...], "description"}; a text "@name" in it stands for a certificate in PEM, a
list of revoked ones, a JSON document (such as a signed node entry) or a script (.js) of that name beside it.
docs/reference/actions.md lists the actions.`;

const VOTE_HELP = `
Examples:
  coco member vote 3f9a0c21 yes
  coco member vote 3f9a0c21 --ballot ballot.js       a script that votes: export function vote (proposal, proposer) {...}
  coco member vote 3f9a0c21 no --prepare ballot.json sign it elsewhere: see coco member finish --help

What the proposal does is found out here, from the constitution, and the ballot counts for exactly that effect: when the
proposal comes to do something else, you are asked again.`;

const WITHDRAW_HELP = `
Example:
  coco member withdraw 3f9a0c21

Only the member that made a proposal can withdraw it.`;

const AUTOMATIC_HELP = `
Example:
  coco member automatic-votes criteria.json

The file holds {"criteria": [{"actions": ["add_node"], "existingActor": true, "nodesPerActor": 2,
"codeApprovedByMajority": true}]}: your vote is yes on each proposal that meets one of them, unless you cast a ballot. They
take the place of the earlier ones; an empty list ends them.`;

const SEND_HELP = `
Example:
  coco member vote 3f9a0c21 yes --out ballot.cose
  coco member send ballot.cose

Needs no certificate of yours: the request is judged by its signature.`;

const FINISH_HELP = `
Example:
  coco member vote 3f9a0c21 yes --prepare ballot.json
  openssl dgst -sha384 -sign key.pem -out ballot.sig ballot.json.tbs
  coco member finish ballot.json --signature ballot.sig --send

The signature is ECDSA in DER or as r and s together, by the key of the certificate that was named when it was prepared.
--send needs no certificate of yours: the request is judged by its signature.`;

const proposing = (): Promise<typeof import("./member-propose.ts")> => import("./member-propose.ts");
const voting = (): Promise<typeof import("./member-vote.ts")> => import("./member-vote.ts");

/** Adds `coco member propose`. */
export function addProposeCommand(member: Command, context: CommandContext): void {
  const command = member
    .command("propose")
    .description("propose a change of the network")
    .argument("[file]", "the proposal (JSON)")
    .option("--action <name>", "a single action instead of a file")
    .option(
      "--arg <name=value>",
      "an argument of the action; repeatable; a.b=value for fields inside",
      collectNamed,
      [],
    )
    .option("--description <text>", "what it is for, in words")
    .option("--dry-run", "only say what it would do and need")
    .option("-y, --yes", "do not ask before sending");
  addSigningOptions(command)
    .addHelpText("after", PROPOSE_HELP)
    .action(async (file: string | undefined, options: ProposeOptions) =>
      (await proposing()).propose(context, file, withEnvironment(options)),
    );
}

/** Adds the commands for votes. */
export function addVoteCommands(member: Command, context: CommandContext): void {
  const vote = member
    .command("vote")
    .description("vote on a proposal")
    .argument("<id>", "id of the proposal, or its first digits")
    .addArgument(new Argument("[vote]", "your vote").choices(["yes", "no", "abstain"]))
    .option("--ballot <script.js>", "a script in place of the vote, run on the state whenever votes are counted")
    .option("--effect <hex>", "digest of the effect you have seen, to prepare without asking a node")
    .option("-y, --yes", "do not ask before sending");
  addSigningOptions(vote)
    .addHelpText("after", VOTE_HELP)
    .action(async (id: string, choice: Vote | undefined, options: VoteOptions) =>
      (await voting()).castBallot(context, id, choice, withEnvironment(options)),
    );
  const withdraw = member
    .command("withdraw")
    .description("withdraw a proposal of your own")
    .argument("<id>", "id of the proposal, or its first digits");
  addSigningOptions(withdraw)
    .addHelpText("after", WITHDRAW_HELP)
    .action(async (id: string, options: VoteOptions) =>
      (await voting()).withdrawProposal(context, id, withEnvironment(options)),
    );
  const automatic = member
    .command("automatic-votes")
    .description("register criteria by which you vote yes without a ballot")
    .argument("<file>", "the criteria (JSON)");
  addSigningOptions(automatic)
    .addHelpText("after", AUTOMATIC_HELP)
    .action(async (file: string, options: VoteOptions) =>
      (await voting()).register(context, file, withEnvironment(options)),
    );
  const send = member.command("send").description("send a signed request").argument("<file>", "file of --out");
  addConnectionOptions(send)
    .addHelpText("after", SEND_HELP)
    .action(async (file: string, options: ConnectionOptions) =>
      (await voting()).sendFile(context, file, withEnvironment(options)),
    );
  const finish = member
    .command("finish")
    .description("make a prepared request of its signature")
    .argument("<prepared>", "file of --prepare")
    .requiredOption("--signature <file>", "the signature, DER or r and s together")
    .option("--send", "send it")
    .option("--out <file>", "write it, for whoever sends it");
  addConnectionOptions(finish)
    .addHelpText("after", FINISH_HELP)
    .action(async (file: string, options: FinishOptions) =>
      (await voting()).finishPrepared(context, file, withEnvironment(options)),
    );
}
