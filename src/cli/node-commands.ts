/** `coco node`: making, vouching for and running a validating node. */
import { type Command, Option } from "commander";
import type { TeeName } from "../core/governance/manifest-entries.ts";
import { CocoError } from "../errors.ts";
import type { WorkerLevel } from "../host/worker-settings.ts";
import { LOG_LEVELS, createOutput, readText, workersOption } from "./arguments.ts";
import { addConnectionOptions, withEnvironment } from "./connection-options.ts";
import { addJoinCommand } from "./join-command.ts";
import type { NodeViewOptions } from "./node-views.ts";
import { type CommandContext, printJson } from "./output.ts";
import { runNode } from "./run-node.ts";
import { addTeeOptions, type TeeOptions, teeSettings, tellWhoIsAsked } from "./tee-options.ts";
import { stopRequested } from "./stop-signals.ts";

const MAX_KEY_FILE_BYTES = 16 * 1024;

const INIT_HELP = `
Example:
  coco node init --dir node0 --name node0 --listen 0.0.0.0:9000 --advertise node0.example.com:9000 \\
    --client-listen 0.0.0.0:8443 --client-advertise node0.example.com:8443 --machine-key /var/lib/coco/machine.key
  coco node init ... --tee snp --machine-key /run/coco/machine.key
  coco node init ... --tee sgx --seal-to enclave

A TEE of hardware makes one piece of evidence at once, so that what is missing shows. What it measures is printed; coco code
measure --tee TEE gives the entry for the code manifest. vn-entry.json asks for the strict policy: edit it before it is signed.

Then the owner signs the entry: coco node sign --entry node0/vn-entry.json ...`;

const SIGN_HELP = `
Example:
  coco node sign --entry node0/vn-entry.json --member acme --key acme_privk.pem --network trade --out node0-signed.json

Then whoever assembles the genesis constitution gets the file: coco constitution init --node node0-signed.json ...
In a network that runs, it goes into a proposal: coco member propose --action add_node --arg entry=@node0-signed.json`;

const START_HELP = `
Example:
  coco node start --dir node0

Adapters run in processes that reach neither files nor, on Linux, the network; --workers thread for development.
The node runs in the foreground and logs JSON lines to standard error. Ctrl-C or SIGTERM stops it in order.`;

const LIST_HELP = `
Example:
  coco node list`;

const STATE_HELP = `
Example:
  coco node state --url https://node0.example.com:8443`;

interface InitOptions extends TeeOptions {
  readonly dir: string;
  readonly name: string;
  readonly listen: string;
  readonly advertise: string;
  readonly clientListen: string;
  readonly clientAdvertise: string;
  readonly machineKey?: string;
}

interface SignOptions {
  readonly entry: string;
  readonly member: string;
  readonly key: string;
  readonly network: string;
  readonly out: string;
  readonly json?: boolean;
}

interface StartOptions extends TeeOptions {
  readonly dir: string;
  readonly logLevel: string;
  readonly workers?: WorkerLevel;
  readonly json?: boolean;
  readonly parentPipe?: boolean;
}

/** Adds `coco node`. */
export function addNodeCommands(program: Command, context: CommandContext): void {
  const node = program.command("node").description("validating nodes");
  addInit(node, context);
  node
    .command("sign")
    .description("sign a node's entry as its owner")
    .requiredOption("--entry <file>", "vn-entry.json of the node's folder")
    .requiredOption("--member <id>", "id of the owning member")
    .requiredOption("--key <file>", "private key of the member (PEM)")
    .requiredOption("--network <name>", "name of the network the node is for")
    .requiredOption("--out <file>", "file to write")
    .option("--json", "print JSON")
    .addHelpText("after", SIGN_HELP)
    .action((options: SignOptions) => sign(context, options));
  const startCommand = node
    .command("start")
    .description("run the validating node of a folder")
    .requiredOption("--dir <folder>", "folder made by coco node init, with genesis.json in it")
    .addOption(new Option("--log-level <level>", "least severity of log lines").choices(LOG_LEVELS).default("info"))
    .addOption(workersOption("how adapters run (default: what node.json says, or process)"));
  addTeeOptions(startCommand, "what the node runs on (default: what node.json says)")
    .option("--json", "print JSON once it serves clients")
    .addOption(new Option("--parent-pipe", "stop when standard input is closed").hideHelp())
    .addHelpText("after", START_HELP)
    .action((options: StartOptions) => start(context, options));
  addNodeViews(node, context);
  addJoinCommand(node, context);
}

function addInit(node: Command, context: CommandContext): void {
  const init = node
    .command("init")
    .description("make the keys and the folder of a validating node")
    .requiredOption("--dir <folder>", "folder to make")
    .requiredOption("--name <name>", "name of the node, for people")
    .requiredOption("--listen <host:port>", "where it listens for other validating nodes")
    .requiredOption("--advertise <host:port>", "where other validating nodes reach it")
    .requiredOption("--client-listen <host:port>", "where it listens for clients")
    .requiredOption("--client-advertise <host:port>", "where clients reach it")
    .option(
      "--machine-key <file>",
      "key of the virtual TEE, and what encrypts the node's keys where the TEE does not seal; made when it does not exist",
    );
  addTeeOptions(init, "what the node runs on (default: virtual)")
    .option("--json", "print JSON")
    .addHelpText("after", INIT_HELP)
    .action((options: InitOptions, command: Command) =>
      initialise(context, options, command.optsWithGlobals()["json"] === true),
    );
}

function addNodeViews(node: Command, context: CommandContext): void {
  const list = node.command("list").description("the validating nodes of a network");
  addConnectionOptions(list)
    .addHelpText("after", LIST_HELP)
    .action(async (options: NodeViewOptions) =>
      (await import("./node-views.ts")).listNodes(context, withEnvironment(options)),
    );
  const state = node.command("state").description("how a validating node stands in consensus");
  addConnectionOptions(state)
    .addHelpText("after", STATE_HELP)
    .action(async (options: NodeViewOptions) =>
      (await import("./node-views.ts")).showState(context, withEnvironment(options)),
    );
}

async function initialise({ output }: CommandContext, options: InitOptions, asJson: boolean): Promise<void> {
  const { initNode, nodeRequestToJson } = await import("../host/node-folder.ts");
  const { DEFAULT_TEE, sealsByMachineKey } = await import("../host/tee/tee-settings.ts");
  const { machineKey: machineKeyFile, dir, name, listen, advertise, clientListen, clientAdvertise } = options;
  const tee = teeSettings(options);
  const byMachineKey = sealsByMachineKey(tee ?? DEFAULT_TEE);
  if (machineKeyFile === undefined && byMachineKey)
    throw new CocoError("WrongUsage", "expected --machine-key: only the enclaves of --tee vsm and sgx seal without it");
  if (machineKeyFile !== undefined && !byMachineKey) {
    const instead = tee?.name === "sgx" ? ", or give --seal-to machine" : "";
    throw new CocoError("WrongUsage", `--machine-key: the enclave seals this node's keys; leave it out${instead}`);
  }
  const addresses = { name, listen, advertise, clientListen, clientAdvertise };
  tellWhoIsAsked(output, tee);
  const request = await initNode({ dir, ...addresses, machineKeyFile, tee });
  if (asJson) printJson(output, JSON.parse(nodeRequestToJson(request)));
  else output.data(`${request.nodeId}\n`);
  output.talk(secrecyOf(request.tee.tee, machineKeyFile, tee?.sealTo));
  output.talk(`next: its owner signs ${options.dir}/vn-entry.json with coco node sign\n`);
}

function secrecyOf(tee: TeeName, machineKeyFile: string | undefined, sealTo: string | undefined): string {
  if (machineKeyFile === undefined && tee === "vsm") return "The node's keys are sealed by the enclave.\n";
  if (machineKeyFile === undefined && sealTo === "signer")
    return "The node's keys are sealed to the enclave's signer: whatever code that one signs opens them on this machine.\n";
  if (machineKeyFile === undefined)
    return "The node's keys are sealed to the enclave's code: after a change of code, make a new node and let it join.\n";
  if (tee === "virtual")
    return `The virtual TEE protects nothing: whoever reads ${machineKeyFile} reads this node's secrets.\n`;
  return `No sealing: whoever reads ${machineKeyFile} reads this node's keys, so keep it where only the TEE can.\n`;
}

async function sign({ output }: CommandContext, options: SignOptions): Promise<void> {
  const [{ readNodeRequest }, { signedNodeToJson, signNodeEntry }] = await Promise.all([
    import("../host/node-folder.ts"),
    import("../host/genesis.ts"),
  ]);
  const request = await readNodeRequest(options.entry);
  const key = await readText(options.key, MAX_KEY_FILE_BYTES);
  const signed = signNodeEntry(request, key, options.member, options.network);
  await createOutput(output, options.out, signedNodeToJson(signed));
  if (options.json === true) printJson(output, { nodeId: request.nodeId, owner: options.member, file: options.out });
}

async function start(context: CommandContext, options: StartOptions): Promise<void> {
  const { dir, logLevel, workers, json = false, parentPipe } = options;
  const stop = parentPipe === true ? Promise.race([stopRequested(), inputClosed()]) : stopRequested();
  await runNode(context, { dir, logLevel, workers, tee: teeSettings(options), json }, stop);
}

/** Resolves when the process that holds the other end of standard input closes it or is gone. */
function inputClosed(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin
      .on("end", resolve)
      .on("close", resolve)
      .on("error", () => resolve());
    process.stdin.resume();
  });
}
