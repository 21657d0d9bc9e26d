/** `coco constitution`: making, checking and showing a constitution. */
import { type Command, InvalidArgumentError } from "commander";
import type { QuorumSetting } from "../core/governance/constitution.ts";
import { collect, collectNamed, wholeNumber } from "./arguments.ts";
import { addConnectionOptions, type ConnectionOptions, withEnvironment } from "./connection-options.ts";
import type { InitOptions } from "./constitution-options.ts";
import { collectMeasured, collectTee } from "./hardware-options.ts";
import type { CommandContext } from "./output.ts";
import { collectPolicy, RULE_FORMS } from "./policy-argument.ts";

const MAX_NUMBER = 999_999_999;
const MAX_NODES_PER_ACTOR = 64;

const INIT_HELP = `
Example:
  coco constitution init --name trade --member acme=acme_cert.pem --member globex=globex_cert.pem \\
    --node node0-signed.json --node node1-signed.json --adapter ethereum=ethereum.json \\
    --policy add_member=unanimous --policy remove_member=veto:acme,majority/delay=1d --out genesis.json

At a terminal it asks for what is missing. A change needs a majority of the members unless --policy says otherwise; rules
are ${RULE_FORMS}.
The code manifest lists this installation's own code unless --code names files of coco code measure --json. Every founder
compares the printed network id before putting genesis.json into a node's folder.

The machines of the nodes come with their entries. Hardware counts besides by --tee (snp, sgx, tdx, vsm), with a policy as
coco attest verify --policy takes it; what it measures of the code is listed by --measured:
  --tee snp=policy.json --measured snp=02c3…          policy.json: {"products": ["Milan"], "require": ["alias-check"]}
Confidential Azure machines attest through a virtual TPM: their policy says what they booted, {"pcrs": {"4": "9b1f…", "11": "07c2…"}}.
With more to compare than the measurement, a file for --code: {"name": "coco-framework", "version": "0.1.0", "measurement": "02c3…",
"reference": {"tee": "snp", "hostData": "9b1f…"}} (docs/reference/actions.md#code-and-tees).`;

const CHECK_HELP = `
Example:
  coco constitution check genesis.json

Ends with 1 for a constitution that does not hold, or under which some change could never pass, and names the field. What holds
and is probably a mistake is told in notes: certificates that speak for nobody, code and TEEs that no node can meet.`;

const SHOW_HELP = `
Example:
  coco constitution show
  coco constitution show --json > constitution.json`;

/** Adds `coco constitution`. */
export function addConstitutionCommands(program: Command, context: CommandContext): void {
  const constitution = program.command("constitution").description("the document a network is governed by");
  addInit(constitution, context);
  constitution
    .command("check")
    .description("check a constitution and explain it in words")
    .argument("<file>", "the constitution (JSON)")
    .option("--json", "print JSON")
    .addHelpText("after", CHECK_HELP)
    .action(async (file: string, options: { readonly json?: boolean }) =>
      (await import("./constitution-show.ts")).check(context, file, options.json === true),
    );
  const show = constitution.command("show").description("show the constitution in force");
  addConnectionOptions(show)
    .addHelpText("after", SHOW_HELP)
    .action(async (options: ConnectionOptions & { readonly json?: boolean }) =>
      (await import("./constitution-show.ts")).show(context, withEnvironment(options)),
    );
}

function addInit(constitution: Command, context: CommandContext): void {
  constitution
    .command("init")
    .description("assemble the constitution a network begins with")
    .option("--name <name>", "name of the network")
    .option("--member <id=file>", "a member and its certificate (PEM); repeatable", collectNamed, [])
    .option("--participant <id=file>", "a participant and its certificate (PEM); repeatable", collectNamed, [])
    .option("--node <file>", "a node's entry signed by its owner; repeatable", collect, [])
    .option("--adapter <name=file>", "an adapter and its options (JSON); repeatable", collectNamed, [])
    .option("--code <file>", "approved code, a file of coco code measure --json; repeatable", collect, [])
    .option("--tee <tee[=file]>", "hardware that counts, with its policy (JSON), or the strict one", collectTee, [])
    .option("--measured <tee=hex>", "this code as such hardware measures it; repeatable", collectMeasured, [])
    .option("--policy <action=rule>", "what an action needs, or default; repeatable", collectPolicy, [])
    .option("--policies <file>", "all voting policies (JSON); --policy goes before it")
    .option("--script <file>", "JavaScript that judges proposals where a policy says so")
    .option("--settings <file>", "settings that differ from the defaults (JSON)")
    .option("--epoch-length <ms>", "longest life of an epoch; 0: no epoch ends by time", wholeNumber(0, MAX_NUMBER))
    .option("--snapshot-every <number>", "transactions between snapshots; 0: none", wholeNumber(0, MAX_NUMBER))
    .option("--quorum <policy>", "majority, per-actor, or E/R: nodes an election and a commit need", quorumSetting)
    .option("--nodes-per-actor <number>", "most nodes one actor may own; 0: any", wholeNumber(0, MAX_NODES_PER_ACTOR))
    .option("--trust-disk", "a node that restarts trusts its own disk (default)")
    .option("--no-trust-disk", "a node that restarts does not vote before it has caught up")
    .option("--closed", "take governance only, until members open the network")
    .option("--out <file>", "file to write")
    .option("--json", "print JSON")
    .addHelpText("after", INIT_HELP)
    .action(async (options: InitOptions) => (await import("./constitution-init.ts")).init(context, options));
}

/** `majority`, `per-actor`, or the sizes of two quorums as `E/R`; whether they fit the nodes is checked with the constitution. */
function quorumSetting(text: string): QuorumSetting {
  if (text === "majority") return { type: "majority" };
  if (text === "per-actor") return { type: "perActor" };
  const [, election, replication] = /^([1-9][0-9]?)\/([1-9][0-9]?)$/.exec(text) ?? [];
  if (election === undefined || replication === undefined)
    throw new InvalidArgumentError("Expected majority, per-actor, or two numbers such as 3/2.");
  return { type: "flexible", election: Number(election), replication: Number(replication) };
}
