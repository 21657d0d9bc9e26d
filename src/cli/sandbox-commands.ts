/** `coco sandbox [start]`: a whole network on this machine, for development and tests. */
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { DEFAULT_NODES, DEFAULT_PORT, MAX_BASE_PORT, MAX_SANDBOX_NODES } from "../host/sandbox/limits.ts";
import type { WorkerLevel } from "../host/worker-settings.ts";
import { LOG_LEVELS, wholeNumber, workersOption } from "./arguments.ts";
import { type CommandContext, EXIT, printJson } from "./output.ts";
import { stopRequested } from "./stop-signals.ts";

const HELP = `
Examples:
  coco sandbox start                    three nodes; wallets at http://127.0.0.1:8545, :8546 and :8547
  coco sandbox start --port 9545        for base port P: wallets at P, clients (mutual TLS) at P+100, peers at P+200
  coco sandbox start --fresh --nodes 5  forget the old ledger; five nodes; without "start" it is the same
  coco sandbox start --json             one JSON object on standard output, once the network serves

State is kept: starting again resumes the same ledger, also after a change of the code. While the network serves,
endpoints.json in its folder says where everything is. Ctrl-C stops all nodes; twice: at once.
The virtual TEE of the sandbox protects nothing: use it with test data only.`;

interface StartOptions {
  readonly fresh?: boolean;
  readonly nodes?: number;
  readonly port?: number;
  readonly dir: string;
  readonly quiet?: boolean;
  readonly logLevel: string;
  readonly workers: WorkerLevel;
}

/** Adds `coco sandbox`. */
export function addSandboxCommands(program: Command, context: CommandContext): void {
  program
    .command("sandbox")
    .description("a network on this machine, for development and tests")
    .command("start")
    .description("start or resume a sandbox network; runs until Ctrl-C")
    .option("--fresh", "remove the network in the folder and begin a new one")
    .option("--nodes <number>", `validating nodes (default: ${DEFAULT_NODES})`, wholeNumber(1, MAX_SANDBOX_NODES))
    .option(
      "--port <port>",
      `base port; 0 takes any free ports (default: ${DEFAULT_PORT})`,
      wholeNumber(0, MAX_BASE_PORT),
    )
    .option("--dir <folder>", "folder of the network", join(".coco", "sandbox"))
    .option("--json", "print the endpoints as JSON instead of text")
    .option("-q, --quiet", "print nothing but errors")
    .addOption(
      new Option("--log-level <level>", "least severity of the nodes' log lines").choices(LOG_LEVELS).default("info"),
    )
    .addOption(
      workersOption("how adapters run: thread starts faster, process is what production has").default("thread"),
    )
    .addHelpText("after", HELP)
    .action((options: StartOptions, command: Command) =>
      start(context, options, command.optsWithGlobals()["json"] === true),
    );
}

async function start(context: CommandContext, options: StartOptions, asJson: boolean): Promise<void> {
  const { output } = context;
  const abort = new AbortController();
  const running: { sandbox?: { kill(): void; stop(): Promise<void> } } = {};
  const stopped = stopRequested(() => running.sandbox?.kill());
  void stopped.then(() => abort.abort());
  const talk = (line: string): void => output.talk(`${line}\n`);
  const isSilent = asJson || options.quiet === true;
  const [{ Sandbox }, { bannerOf }] = await Promise.all([
    import("../host/sandbox/sandbox.ts"),
    import("./sandbox-banner.ts"),
  ]);
  try {
    const sandbox = await Sandbox.start({
      dir: options.dir,
      nodes: options.nodes,
      port: options.port,
      fresh: options.fresh === true,
      logLevel: options.logLevel,
      workers: options.workers,
      entry: fileURLToPath(new URL("./main.js", import.meta.url)),
      onProgress: isSilent ? () => {} : talk,
      onProblem: talk,
      signal: abort.signal,
    });
    running.sandbox = sandbox;
    if (asJson) printJson(output, sandbox.endpoints);
    else if (!isSilent) output.data(await bannerOf(sandbox));
    await stopped;
    if (!isSilent) talk("stopping …");
    await sandbox.stop();
    if (!isSilent) talk(`stopped; the ledger is kept in ${options.dir}: run again to resume`);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    context.exitCode = EXIT.interrupted;
  }
}
